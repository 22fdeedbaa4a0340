//! Memory that the device reads and writes.

use core::ops::Range;
use userlib::device::Width;
use userlib::memory::SharedMemory;

/// A mapped range of memory that is contiguous on the bus. It is read and written through atomics only.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    memory: SharedMemory<'static>,
    bus: u64,
}

impl Region {
    /// `memory`, which a device finds at `bus`.
    pub const fn new(memory: SharedMemory<'static>, bus: u64) -> Self {
        Self { memory, bus }
    }

    /// Bytes.
    pub const fn len(&self) -> usize {
        self.memory.len()
    }

    /// Whether it has no bytes.
    pub const fn is_empty(&self) -> bool {
        self.memory.is_empty()
    }

    /// Where the device finds the first byte.
    pub const fn bus(&self) -> u64 {
        self.bus
    }

    /// The same range as the device has it.
    pub const fn span(&self) -> Span {
        Span { bus: self.bus, length: self.memory.len() }
    }

    /// A part, whose bounds are multiples of eight bytes; `None` if it is not all inside.
    pub fn part(&self, range: Range<usize>) -> Option<Region> {
        let bus = self.bus + range.start as u64;
        self.memory.part(range).map(|memory| Region { memory, bus })
    }

    /// Reads a value; all ones outside of the region. What was written before it was is seen afterwards.
    #[inline]
    pub fn get<T: Width>(&self, offset: usize) -> T {
        self.memory.get(offset).unwrap_or_else(|_| T::from_u64(u64::MAX))
    }

    /// Writes a value, if it is inside, after everything that was written before.
    #[inline]
    pub fn set<T: Width>(&self, offset: usize, value: T) {
        let written = self.memory.set(offset, value);
        debug_assert!(written.is_ok(), "the driver's own offsets are inside of its memory");
    }

    /// Fills it with zeros.
    pub fn zero(&self) {
        self.memory.fill_zero();
    }
}

/// A range of memory as a device has it; whether this domain has it, too, does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where the device finds the first byte.
    pub bus: u64,
    /// Bytes.
    pub length: usize,
}

impl Span {
    /// A part; `None` if it is not all inside.
    pub fn part(&self, offset: usize, length: usize) -> Option<Span> {
        let inside = offset.checked_add(length).is_some_and(|end| end <= self.length);
        inside.then(|| Span { bus: self.bus + offset as u64, length })
    }
}
