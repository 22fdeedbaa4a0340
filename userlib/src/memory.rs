//! Memory of one's own space: mappings and shared memory.

use crate::cap::{Cap, MapFailure, MappingId, Memory, Space};
use crate::device::Width;
use abi::syscall::{DONATION_MAX, MapAccess};
use abi::{Error, PAGE_SIZE};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Range;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// A mapping lies within one window of this size.
const WINDOW: u64 = 2 << 20;

/// Memory that others may change at any moment, as words. It is read and written by atomic operations only, so that
/// no change of a peer ever breaks a rule of the language; and every access is checked against the length.
///
/// Offsets are in bytes.
#[derive(Clone, Copy)]
pub struct SharedMemory<'a> {
    words: &'a [AtomicU64],
}

impl fmt::Debug for SharedMemory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedMemory({} bytes)", self.len())
    }
}

/// An access lies outside of shared memory, or is not aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfBounds;

impl fmt::Display for OutOfBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the access lies outside of the shared memory")
    }
}

impl core::error::Error for OutOfBounds {}

impl From<OutOfBounds> for Error {
    fn from(_: OutOfBounds) -> Error {
        Error::BadAddress
    }
}

impl<'a> SharedMemory<'a> {
    /// Uses words that are there already.
    pub const fn new(words: &'a [AtomicU64]) -> Self {
        Self { words }
    }

    /// The `length` bytes at `address`; both are multiples of eight.
    ///
    /// # Safety
    /// The range is mapped readable and writable as long as `'a` lasts, and this domain uses it through
    /// [`SharedMemory`] only.
    pub const unsafe fn from_address(address: u64, length: usize) -> Self {
        // SAFETY: the range is mapped and aligned; atomics allow that others write to it.
        let words = unsafe { core::slice::from_raw_parts(address as *const AtomicU64, length / 8) };
        Self { words }
    }

    /// Length in bytes.
    pub const fn len(self) -> usize {
        self.words.len() * 8
    }

    /// Whether it has no bytes.
    pub const fn is_empty(self) -> bool {
        self.words.is_empty()
    }

    /// Address of the first byte.
    pub fn address(self) -> u64 {
        self.words.as_ptr() as u64
    }

    /// The words.
    pub const fn words(self) -> &'a [AtomicU64] {
        self.words
    }

    /// A part, whose bounds are multiples of eight bytes; `None` if it is not all inside.
    pub fn part(self, range: Range<usize>) -> Option<SharedMemory<'a>> {
        if !range.start.is_multiple_of(8) || !range.end.is_multiple_of(8) {
            return None;
        }
        let words = self.words.get(range.start / 8..range.end / 8)?;
        Some(SharedMemory { words })
    }

    /// The word at a byte offset.
    ///
    /// # Errors
    /// [`OutOfBounds`].
    #[inline]
    pub fn word(self, offset: usize) -> Result<&'a AtomicU64, OutOfBounds> {
        if !offset.is_multiple_of(8) {
            return Err(OutOfBounds);
        }
        self.words.get(offset / 8).ok_or(OutOfBounds)
    }

    /// Reads the word at a byte offset.
    ///
    /// # Errors
    /// [`OutOfBounds`].
    #[inline]
    pub fn load(self, offset: usize, ordering: Ordering) -> Result<u64, OutOfBounds> {
        self.word(offset).map(|word| word.load(ordering))
    }

    /// Writes the word at a byte offset.
    ///
    /// # Errors
    /// [`OutOfBounds`].
    #[inline]
    pub fn store(self, offset: usize, value: u64, ordering: Ordering) -> Result<(), OutOfBounds> {
        self.word(offset).map(|word| word.store(value, ordering))
    }

    fn covering(self, offset: usize, length: usize) -> Result<&'a [AtomicU64], OutOfBounds> {
        let end = offset.checked_add(length).ok_or(OutOfBounds)?;
        self.words.get(offset / 8..end.div_ceil(8)).ok_or(OutOfBounds)
    }

    /// Copies bytes out. What a peer writes meanwhile arrives in part, in whole words.
    ///
    /// # Errors
    /// [`OutOfBounds`].
    pub fn read(self, offset: usize, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        let words = self.covering(offset, bytes.len())?;
        let mut skip = offset % 8;
        let mut rest = bytes;
        for word in words {
            let value = word.load(Ordering::Relaxed).to_le_bytes();
            let count = rest.len().min(8 - skip);
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(&value[skip..skip + count]);
            rest = later;
            skip = 0;
        }
        Ok(())
    }

    /// The place of a value of type `T` at a byte offset, a multiple of its width.
    fn place<T: Width>(self, offset: usize) -> Result<*mut u8, OutOfBounds> {
        let end = offset.checked_add(T::BYTES).ok_or(OutOfBounds)?;
        if !offset.is_multiple_of(T::BYTES) || end > self.len() {
            return Err(OutOfBounds);
        }
        Ok(self.words.as_ptr().cast::<u8>().cast_mut().wrapping_add(offset))
    }

    /// Reads a value of 1, 2, 4 or 8 bytes in one access of exactly that width. What others have written before they
    /// wrote the value is seen afterwards.
    ///
    /// # Errors
    /// [`OutOfBounds`], also if `offset` is no multiple of the width.
    #[inline]
    pub fn get<T: Width>(self, offset: usize) -> Result<T, OutOfBounds> {
        let place = self.place::<T>(offset)?;
        // SAFETY: the place is aligned and lies in words that stay mapped as long as `'a` lasts, and nobody uses them but
        // through atomics.
        let value = unsafe {
            match T::BYTES {
                1 => AtomicU8::from_ptr(place).load(Ordering::Acquire).into(),
                2 => AtomicU16::from_ptr(place.cast()).load(Ordering::Acquire).into(),
                4 => AtomicU32::from_ptr(place.cast()).load(Ordering::Acquire).into(),
                _ => AtomicU64::from_ptr(place.cast()).load(Ordering::Acquire),
            }
        };
        Ok(T::from_u64(value))
    }

    /// Writes a value of 1, 2, 4 or 8 bytes in one access of exactly that width, after everything that was written
    /// before.
    ///
    /// # Errors
    /// As [`SharedMemory::get`].
    #[inline]
    pub fn set<T: Width>(self, offset: usize, value: T) -> Result<(), OutOfBounds> {
        let place = self.place::<T>(offset)?;
        let value = value.to_u64();
        // SAFETY: as in `get`.
        unsafe {
            match T::BYTES {
                1 => AtomicU8::from_ptr(place).store(value as u8, Ordering::Release),
                2 => AtomicU16::from_ptr(place.cast()).store(value as u16, Ordering::Release),
                4 => AtomicU32::from_ptr(place.cast()).store(value as u32, Ordering::Release),
                _ => AtomicU64::from_ptr(place.cast()).store(value, Ordering::Release),
            }
        }
        Ok(())
    }

    /// Sets every byte to zero.
    pub fn fill_zero(self) {
        words::clear(self.words);
    }

    /// Copies bytes in. A word that is written only in part must not be written by a peer meanwhile.
    ///
    /// # Errors
    /// [`OutOfBounds`].
    pub fn write(self, offset: usize, bytes: &[u8]) -> Result<(), OutOfBounds> {
        let mut words = self.covering(offset, bytes.len())?;
        let mut skip = offset % 8;
        let mut rest = bytes;
        if skip == 0 {
            let (whole, last) = words.split_at(bytes.len() / 8);
            rest = words::fill(whole, bytes);
            words = last;
        }
        for word in words {
            let count = rest.len().min(8 - skip);
            let (now, later) = rest.split_at(count);
            let mut value = if count == 8 { [0; 8] } else { word.load(Ordering::Relaxed).to_le_bytes() };
            value[skip..skip + count].copy_from_slice(now);
            word.store(u64::from_le_bytes(value), Ordering::Relaxed);
            rest = later;
            skip = 0;
        }
        Ok(())
    }
}

/// Many words at once. A string instruction stores word by word, as a loop of relaxed stores would, at an eighth of the
/// instructions of one that is rolled out.
#[cfg(target_arch = "x86_64")]
mod words {
    use core::arch::asm;
    use core::sync::atomic::AtomicU64;

    /// Makes every word zero.
    pub(super) fn clear(words: &[AtomicU64]) {
        // SAFETY: the words are mapped and writable, and may be written while others use them. Aligned stores of eight bytes
        // are single accesses (Intel SDM volume 3A, 9.1.1), which `rep` repeats; the direction flag is clear by convention.
        unsafe {
            asm!("rep stosq", inout("rcx") words.len() => _, inout("rdi") words.as_ptr() => _, in("rax") 0_u64,
                 options(nostack, preserves_flags));
        }
    }

    /// Stores bytes, as many as fill all words; there are so many. Returns what is left of them.
    pub(super) fn fill<'b>(words: &[AtomicU64], bytes: &'b [u8]) -> &'b [u8] {
        let count = words.len().min(bytes.len() / 8);
        // SAFETY: as in `clear`, and `count` words are read of bytes that have so many.
        unsafe {
            asm!("rep movsq", inout("rcx") count => _, inout("rsi") bytes.as_ptr() => _,
                 inout("rdi") words.as_ptr() => _, options(nostack, preserves_flags));
        }
        bytes.get(count * 8..).unwrap_or_default()
    }
}

/// Many words at once.
#[cfg(not(target_arch = "x86_64"))]
mod words {
    use core::sync::atomic::{AtomicU64, Ordering};

    /// Makes every word zero.
    pub(super) fn clear(words: &[AtomicU64]) {
        words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// Stores bytes, as many as fill all words; there are so many. Returns what is left of them.
    pub(super) fn fill<'b>(words: &[AtomicU64], bytes: &'b [u8]) -> &'b [u8] {
        let (whole, rest) = bytes.as_chunks::<8>();
        for (word, bytes) in words.iter().zip(whole) {
            word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
        }
        bytes.get(words.len().min(whole.len()) * 8..).unwrap_or(rest)
    }
}

/// A part of the address space in which nothing is mapped, given out in pages.
#[derive(Debug)]
struct Window {
    free: Vec<Range<u64>>,
}

impl Window {
    /// Takes a range of `pages` pages. It is aligned to 2 MiB if it is that long, so that it needs few mappings.
    fn take(&mut self, pages: u64) -> Option<u64> {
        let length = pages.checked_mul(PAGE_SIZE)?;
        for index in 0..self.free.len() {
            let range = self.free[index].clone();
            let mut start = range.start;
            let crosses = start / WINDOW != (start + length.saturating_sub(1)) / WINDOW;
            if crosses {
                start = start.next_multiple_of(WINDOW);
            }
            let end = start.checked_add(length)?;
            if end > range.end {
                continue;
            }
            self.free.remove(index);
            if range.start < start {
                self.free.push(range.start..start);
            }
            if end < range.end {
                self.free.push(end..range.end);
            }
            return Some(start);
        }
        None
    }

    fn give_back(&mut self, mut range: Range<u64>) {
        while let Some(index) = self.free.iter().position(|free| free.end == range.start || free.start == range.end) {
            let neighbour = self.free.swap_remove(index);
            range = range.start.min(neighbour.start)..range.end.max(neighbour.end);
        }
        self.free.push(range);
    }
}

/// Pages for page tables, donated one after the other.
#[derive(Debug)]
struct TablePages {
    memory: Cap<Memory>,
    next: u64,
    end: u64,
}

#[derive(Debug)]
struct SpaceState {
    space: Cap<Space>,
    window: RefCell<Window>,
    tables: RefCell<Option<TablePages>>,
}

/// One's own address space: where mappings are made at addresses that it picks.
#[derive(Clone, Debug)]
pub struct AddressSpace(Rc<SpaceState>);

/// Why memory could not be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// The window of addresses for mappings has no range of that length left.
    NoAddresses,
    /// The space needs more pages for page tables than it was given.
    NoTables,
    /// The pages are not all in the extent.
    OutOfExtent,
    /// The memory is not, or not only, what was asked for (RAM instead of device registers, no right to DMA).
    WrongMemory,
    /// The kernel refused.
    Refused(Error),
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapError::NoAddresses => f.write_str("no free addresses are left for the mapping"),
            MapError::NoTables => f.write_str("no pages are left for the page tables of the mapping"),
            MapError::OutOfExtent => f.write_str("the pages lie outside of the memory"),
            MapError::WrongMemory => f.write_str("the memory is of the wrong nature for this use"),
            MapError::Refused(error) => write!(f, "the kernel refused the mapping: {error}"),
        }
    }
}

impl core::error::Error for MapError {}

impl From<Error> for MapError {
    fn from(error: Error) -> Self {
        MapError::Refused(error)
    }
}

impl AddressSpace {
    /// The space `space`, in whose addresses `window` nothing is or will be mapped by anybody else.
    pub fn new(space: Cap<Space>, window: Range<u64>) -> Self {
        let start = window.start.next_multiple_of(PAGE_SIZE);
        let end = window.end & !(PAGE_SIZE - 1);
        let free = if start < end { alloc::vec![start..end] } else { Vec::new() };
        Self(Rc::new(SpaceState { space, window: RefCell::new(Window { free }), tables: RefCell::new(None) }))
    }

    /// Pages `pages` of `memory` are there to be donated when the space needs page tables.
    pub fn use_tables(&self, memory: Cap<Memory>, pages: Range<u64>) {
        *self.0.tables.borrow_mut() = Some(TablePages { memory, next: pages.start, end: pages.end });
    }

    /// The space's capability.
    pub fn space(&self) -> Cap<Space> {
        self.0.space
    }

    /// Maps pages `first .. first + pages` of `memory` wherever there is room.
    ///
    /// # Errors
    /// [`MapError`]; nothing stays mapped then.
    pub fn map(&self, memory: Cap<Memory>, first: u64, pages: u64, access: MapAccess) -> Result<Mapping, MapError> {
        if pages == 0 {
            return Err(MapError::OutOfExtent);
        }
        let address = self.0.window.borrow_mut().take(pages).ok_or(MapError::NoAddresses)?;
        let mut mapping =
            Mapping { space: self.clone(), address, pages, access, ids: Vec::new(), not_send: PhantomData };
        let mut done = 0;
        while done < pages {
            let at = address + done * PAGE_SIZE;
            let in_window = (WINDOW - at % WINDOW) / PAGE_SIZE;
            let count = in_window.min(pages - done);
            // What is mapped so far is unmapped when `mapping` is dropped on the way out.
            mapping.ids.push(self.map_piece(memory, at, first + done, count, access)?);
            done += count;
        }
        Ok(mapping)
    }

    /// Maps a whole extent.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn map_all(&self, memory: Cap<Memory>, access: MapAccess) -> Result<Mapping, MapError> {
        let info = memory.memory_info()?;
        self.map(memory, 0, info.pages, access)
    }

    fn map_piece(
        &self,
        memory: Cap<Memory>,
        address: u64,
        first: u64,
        pages: u64,
        access: MapAccess,
    ) -> Result<MappingId, MapError> {
        loop {
            match self.0.space.map(memory, address, first, pages, access) {
                Ok(id) => return Ok(id),
                Err(MapFailure::Refused(error)) => return Err(MapError::Refused(error)),
                Err(MapFailure::NeedTables(missing)) => self.donate(missing)?,
            }
        }
    }

    /// Donates `missing` pages for page tables.
    fn donate(&self, missing: u64) -> Result<(), MapError> {
        let mut tables = self.0.tables.borrow_mut();
        let tables = tables.as_mut().ok_or(MapError::NoTables)?;
        if missing == 0 || tables.end.saturating_sub(tables.next) < missing {
            return Err(MapError::NoTables);
        }
        let mut left = missing;
        while left > 0 {
            let count = left.min(DONATION_MAX);
            self.0.space.donate(tables.memory, tables.next, count)?;
            tables.next += count;
            left -= count;
        }
        Ok(())
    }
}

/// Memory that is mapped as long as this value lives.
#[derive(Debug)]
pub struct Mapping {
    space: AddressSpace,
    address: u64,
    pages: u64,
    access: MapAccess,
    ids: Vec<MappingId>,
    not_send: PhantomData<*const ()>,
}

impl Mapping {
    /// Address of the first byte.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        (self.pages * PAGE_SIZE) as usize
    }

    /// Never: a mapping has at least one page.
    pub fn is_empty(&self) -> bool {
        self.pages == 0
    }

    /// The memory, which others may have mapped too.
    ///
    /// # Panics
    /// If the mapping is not writable: atomic accesses are promised to be possible in both directions.
    pub fn shared(&self) -> SharedMemory<'_> {
        assert!(self.access.writes(), "shared memory needs a writable mapping");
        // SAFETY: the range stays mapped, readable and writable, as long as `self` is borrowed, and no other method
        // gives out ordinary references to it.
        unsafe { SharedMemory::from_address(self.address, self.len()) }
    }

    /// Copies bytes out of memory that is mapped readable.
    ///
    /// # Errors
    /// [`OutOfBounds`].
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        let end = offset.checked_add(bytes.len()).ok_or(OutOfBounds)?;
        if end > self.len() {
            return Err(OutOfBounds);
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            // SAFETY: the range stays mapped as long as `self` lives; a volatile read copes with changes by others.
            *byte = unsafe { ((self.address as usize + offset + index) as *const u8).read_volatile() };
        }
        Ok(())
    }

    /// Keeps the mapping for the rest of the domain's life.
    pub fn leak(self) -> Range<u64> {
        let mapping = core::mem::ManuallyDrop::new(self);
        mapping.address..mapping.address + mapping.pages * PAGE_SIZE
    }

    /// Keeps the mapping for the rest of the domain's life, as shared memory.
    ///
    /// # Panics
    /// As [`Mapping::shared`].
    pub fn leak_shared(self) -> SharedMemory<'static> {
        assert!(self.access.writes(), "shared memory needs a writable mapping");
        let length = self.len();
        let range = self.leak();
        // SAFETY: the mapping is never removed, it is writable, and nobody else in this domain knows its address.
        unsafe { SharedMemory::from_address(range.start, length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let mut unmapped = true;
        for id in self.ids.drain(..) {
            // SAFETY: all references to the memory borrow `self`, which ends here.
            unmapped &= unsafe { self.space.0.space.unmap(id) }.is_ok();
        }
        // Addresses behind which something may still be mapped are not used again.
        if unmapped {
            let range = self.address..self.address + self.pages * PAGE_SIZE;
            self.space.0.window.borrow_mut().give_back(range);
        }
    }
}
