//! Memory that the device reads and writes.

use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, Ordering};
use userlib::memory::SharedMemory;

/// A mapped range of memory that is contiguous on the bus. It is read and written through atomics only; the slices that a queue
/// wants of it are addresses in disguise, which nobody reads or writes through.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    address: usize,
    bus: u64,
    length: usize,
}

impl Region {
    /// `memory`, which a device finds at `bus`.
    pub fn new(memory: SharedMemory<'static>, bus: u64) -> Self {
        Self { address: memory.address() as usize, bus, length: memory.len() }
    }

    /// Bytes.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether it has no bytes.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// A part; `None` if it is not all inside.
    pub fn part(&self, range: Range<usize>) -> Option<Region> {
        let length = range.end.checked_sub(range.start)?;
        let inside = range.end <= self.length;
        inside.then(|| Region { address: self.address + range.start, bus: self.bus + range.start as u64, length })
    }

    /// Where the device finds the byte at `address`; `None` if `length` bytes from there on are not all inside.
    pub fn bus(&self, address: usize, length: usize) -> Option<u64> {
        let offset = address.checked_sub(self.address)?;
        let inside = offset.checked_add(length).is_some_and(|end| end <= self.length);
        inside.then(|| self.bus + offset as u64)
    }

    /// The first byte.
    pub fn start(&self) -> Option<NonNull<u8>> {
        NonNull::new(self.address as *mut u8)
    }

    fn byte(&self, offset: usize) -> Option<&AtomicU8> {
        // SAFETY: the region was made of shared memory, which is mapped for ever and accessed through atomics only.
        (offset < self.length).then(|| unsafe { AtomicU8::from_ptr((self.address + offset) as *mut u8) })
    }

    /// Reads a byte; all ones outside of the region.
    pub fn read(&self, offset: usize) -> u8 {
        self.byte(offset).map_or(u8::MAX, |byte| byte.load(Ordering::Acquire))
    }

    /// Writes bytes, as far as they fit.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        for (index, value) in bytes.iter().enumerate() {
            if let Some(byte) = self.byte(offset + index) {
                byte.store(*value, Ordering::Release);
            }
        }
    }

    /// Fills it with zeros.
    pub fn zero(&self) {
        (0..self.length).for_each(|offset| self.write(offset, &[0]));
    }

    /// The region as a queue wants it if the device reads it.
    ///
    /// # Safety
    /// The slice is only turned into an address, and dropped before the region is accessed again.
    pub unsafe fn readable<'a>(&self) -> &'a [u8] {
        // SAFETY: the range is mapped for ever; nobody reads through the slice, by the contract of this function.
        unsafe { core::slice::from_raw_parts(self.address as *const u8, self.length) }
    }

    /// The region as a queue wants it if the device writes it.
    ///
    /// # Safety
    /// As for [`Region::readable`].
    pub unsafe fn writable<'a>(&self) -> &'a mut [u8] {
        // SAFETY: the range is mapped for ever; nobody reads or writes through the slice, by the contract of this
        // function, so that it excludes nobody.
        unsafe { core::slice::from_raw_parts_mut(self.address as *mut u8, self.length) }
    }
}
