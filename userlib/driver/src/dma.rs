//! Memory that a device reads and writes.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::marker::PhantomData;
use core::ops::Range;
use userlib::abi::PAGE_SIZE;
use userlib::device::Width;
use userlib::memory::SharedMemory;
use zerocopy::{FromBytes, Immutable, IntoBytes};

const PAGE: usize = PAGE_SIZE as usize;
/// Parts are multiples of this, a line of the processors' caches: two of them never have one in common.
const GRAIN: usize = 64;

/// The memory that a driver shares with its device, given out in parts.
///
/// A part that is dropped is used again only when the device is known not to use it any more: at once if it may not use
/// memory by itself, otherwise when it was stopped or reset.
#[derive(Clone)]
pub struct DmaMemory(Rc<Pool>);

struct Pool {
    memory: SharedMemory<'static>,
    bus: u64,
    free: RefCell<Vec<Range<usize>>>,
    /// Dropped while the device might still have used it.
    waiting: RefCell<Vec<Range<usize>>>,
    in_use: Cell<bool>,
}

impl fmt::Debug for DmaMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DmaMemory({} bytes at {:#x} on the bus)", self.0.memory.len(), self.0.bus)
    }
}

impl DmaMemory {
    /// `memory`, which the device finds at `bus`, a multiple of the page size.
    pub(crate) fn new(memory: SharedMemory<'static>, bus: u64) -> Self {
        let whole = 0..memory.len() / GRAIN * GRAIN;
        Self(Rc::new(Pool {
            memory,
            bus,
            free: RefCell::new(alloc::vec![whole]),
            waiting: RefCell::new(Vec::new()),
            in_use: Cell::new(false),
        }))
    }

    /// Takes a part for `count` values, all zero. It is aligned to its own length, at most to a page, so that only what
    /// is longer than a page crosses one. `None` if no part is left that is long enough.
    pub fn take<T: FromBytes + IntoBytes + Immutable>(&self, count: usize) -> Option<Dma<T>> {
        let bytes = count.checked_mul(size_of::<T>())?;
        let length = bytes.max(1).checked_next_multiple_of(GRAIN)?;
        let alignment = length.checked_next_power_of_two()?.min(PAGE);
        let mut free = self.0.free.borrow_mut();
        let (index, start) = free.iter().enumerate().find_map(|(index, range)| {
            let start = range.start.checked_next_multiple_of(alignment)?;
            (start.checked_add(length)? <= range.end).then_some((index, start))
        })?;
        let range = free.swap_remove(index);
        free.extend([range.start..start, start + length..range.end].into_iter().filter(|rest| !rest.is_empty()));
        let memory = self.0.memory.part(start..start + length)?;
        memory.fill_zero();
        Some(Dma { pool: self.0.clone(), memory, range: start..start + length, count, kind: PhantomData })
    }

    /// Whether the device may use the memory by itself from now on; `false` says that it does not any more, and whatever
    /// was dropped can be used again.
    pub(crate) fn set_in_use(&self, in_use: bool) {
        self.0.in_use.set(in_use);
        if !in_use {
            self.reclaim();
        }
    }

    /// What was dropped can be used again.
    pub(crate) fn reclaim(&self) {
        for range in self.0.waiting.take() {
            self.0.give_back(range);
        }
    }

    #[cfg(not(target_os = "none"))]
    pub(crate) fn place(&self, bus: u64, length: usize) -> Option<(SharedMemory<'static>, usize)> {
        let offset = usize::try_from(bus.checked_sub(self.0.bus)?).ok()?;
        (offset.checked_add(length)? <= self.0.memory.len()).then_some((self.0.memory, offset))
    }
}

impl Pool {
    fn give_back(&self, mut range: Range<usize>) {
        let mut free = self.free.borrow_mut();
        while let Some(index) = free.iter().position(|free| free.end == range.start || free.start == range.end) {
            let neighbour = free.swap_remove(index);
            range = range.start.min(neighbour.start)..range.end.max(neighbour.end);
        }
        free.push(range);
    }
}

/// A number of values in memory that the device reads and writes. It changes them whenever it likes, so they are copied
/// in and out and nothing points at them.
///
/// A value of 1, 2, 4 or 8 bytes that is aligned is read and written in one access; a larger one in several, in the
/// order of addresses.
pub struct Dma<T> {
    pool: Rc<Pool>,
    memory: SharedMemory<'static>,
    range: Range<usize>,
    count: usize,
    kind: PhantomData<T>,
}

impl<T> fmt::Debug for Dma<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dma({} values at {:#x} on the bus)", self.count, self.bus_address())
    }
}

/// The index of a value lies behind the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchValue;

impl fmt::Display for NoSuchValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the memory that is shared with the device has fewer values")
    }
}

impl core::error::Error for NoSuchValue {}

impl<T> Dma<T> {
    /// Where the device finds the first value.
    pub fn bus_address(&self) -> u64 {
        self.pool.bus + self.range.start as u64
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The memory itself, for code that has its own way with it.
    pub fn shared(&self) -> SharedMemory<'static> {
        self.memory
    }
}

impl<T: FromBytes + IntoBytes + Immutable> Dma<T> {
    /// Where `count` values from `first` on lie.
    fn offset(&self, first: usize, count: usize) -> Result<usize, NoSuchValue> {
        let end = first.checked_add(count).ok_or(NoSuchValue)?;
        if end <= self.count { Ok(first * size_of::<T>()) } else { Err(NoSuchValue) }
    }

    /// Reads values from `first` on, as many as `values` has.
    ///
    /// # Errors
    /// [`NoSuchValue`], without reading any.
    pub fn read(&self, first: usize, values: &mut [T]) -> Result<(), NoSuchValue> {
        let mut at = self.offset(first, values.len())?;
        let mut rest = values.as_mut_bytes();
        while !rest.is_empty() {
            let width = width(at, rest.len());
            let (now, later) = rest.split_at_mut(width);
            match width {
                1 => copy_out::<u8>(self.memory, at, now),
                2 => copy_out::<u16>(self.memory, at, now),
                4 => copy_out::<u32>(self.memory, at, now),
                _ => copy_out::<u64>(self.memory, at, now),
            }
            at += width;
            rest = later;
        }
        Ok(())
    }

    /// Writes values from `first` on.
    ///
    /// # Errors
    /// [`NoSuchValue`], without writing any.
    pub fn write(&self, first: usize, values: &[T]) -> Result<(), NoSuchValue> {
        let mut at = self.offset(first, values.len())?;
        let mut rest = values.as_bytes();
        while !rest.is_empty() {
            let width = width(at, rest.len());
            let (now, later) = rest.split_at(width);
            match width {
                1 => copy_in::<u8>(self.memory, at, now),
                2 => copy_in::<u16>(self.memory, at, now),
                4 => copy_in::<u32>(self.memory, at, now),
                _ => copy_in::<u64>(self.memory, at, now),
            }
            at += width;
            rest = later;
        }
        Ok(())
    }

    /// Reads one value.
    ///
    /// # Errors
    /// [`NoSuchValue`].
    pub fn get(&self, index: usize) -> Result<T, NoSuchValue> {
        let mut value = T::new_zeroed();
        self.read(index, core::slice::from_mut(&mut value))?;
        Ok(value)
    }

    /// Writes one value.
    ///
    /// # Errors
    /// [`NoSuchValue`].
    pub fn set(&self, index: usize, value: &T) -> Result<(), NoSuchValue> {
        self.write(index, core::slice::from_ref(value))
    }
}

/// The widest access at an offset that touches nothing behind the next `length` bytes.
fn width(offset: usize, length: usize) -> usize {
    [8, 4, 2].into_iter().find(|width| offset.is_multiple_of(*width) && length >= *width).unwrap_or(1)
}

fn copy_out<W: Width>(memory: SharedMemory<'_>, offset: usize, bytes: &mut [u8]) {
    // The offset was compared with the length, and is aligned.
    let value = memory.get::<W>(offset).map_or(0, W::to_u64);
    bytes.copy_from_slice(&value.to_le_bytes()[..W::BYTES]);
}

fn copy_in<W: Width>(memory: SharedMemory<'_>, offset: usize, bytes: &[u8]) {
    let mut value = [0; 8];
    value[..W::BYTES].copy_from_slice(bytes);
    // As in `copy_out`.
    let _ = memory.set(offset, W::from_u64(u64::from_le_bytes(value)));
}

impl<T> Drop for Dma<T> {
    fn drop(&mut self) {
        if self.pool.in_use.get() {
            self.pool.waiting.borrow_mut().push(self.range.clone());
        } else {
            self.pool.give_back(self.range.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::double;

    #[test]
    fn parts_do_not_overlap_and_are_aligned_to_their_length() {
        let memory = double::memory(4 * PAGE, 0x10_0000);
        let small = memory.take::<u8>(1).unwrap();
        let page = memory.take::<u64>(512).unwrap();
        let medium = memory.take::<u32>(50).unwrap();
        assert_eq!(small.bus_address(), 0x10_0000);
        assert_eq!(page.bus_address(), 0x10_1000);
        assert_eq!(medium.bus_address() % 256, 0);
        assert!(medium.bus_address() + 256 <= page.bus_address() && medium.bus_address() >= 0x10_0040);
        assert!(memory.take::<u8>(2 * PAGE + 1).is_none());
        assert_eq!(memory.take::<u8>(2 * PAGE).unwrap().bus_address(), 0x10_2000);
    }

    #[test]
    fn what_is_dropped_while_the_device_may_use_it_comes_back_when_it_was_stopped() {
        let memory = double::memory(PAGE, 0);
        memory.set_in_use(true);
        let all = memory.take::<u8>(PAGE).unwrap();
        all.set(7, &7).unwrap();
        drop(all);
        assert!(memory.take::<u8>(1).is_none(), "the device might still write to it");
        memory.set_in_use(false);
        let again = memory.take::<u8>(PAGE).unwrap();
        assert_eq!(again.get(7), Ok(0), "it comes zeroed");
        drop(again);
        assert!(memory.take::<u8>(PAGE).is_some(), "a device at rest uses nothing");
    }

    #[test]
    fn values_are_copied_exactly_and_none_behind_the_last() {
        let memory = double::memory(PAGE, 0x8000);
        let values = memory.take::<[u8; 3]>(5).unwrap();
        values.write(1, &[[1, 2, 3], [4, 5, 6]]).unwrap();
        assert_eq!((values.get(0), values.get(1), values.get(2)), (Ok([0; 3]), Ok([1, 2, 3]), Ok([4, 5, 6])));
        assert_eq!(values.set(5, &[0; 3]), Err(NoSuchValue));
        assert_eq!(values.write(4, &[[9; 3]; 2]), Err(NoSuchValue));
        assert_eq!(values.get(4), Ok([0; 3]), "nothing was written");
        assert_eq!(values.read(usize::MAX, &mut [[0; 3]]), Err(NoSuchValue));
        let mut seen = [0; 6];
        assert!(double::device_reads(&memory, 0x8003, &mut seen));
        assert_eq!(seen, [1, 2, 3, 4, 5, 6]);
        assert!(double::device_writes(&memory, 0x8003, &[7]));
        assert_eq!(values.get(1), Ok([7, 2, 3]));
    }
}
