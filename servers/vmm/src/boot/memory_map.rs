//! Which addresses are memory.

use alloc::vec;
use alloc::vec::Vec;

/// Below 4 GiB, from here on there are devices and no memory.
pub const HOLE: u64 = 0xc000_0000;
const FOUR_GIGABYTES: u64 = 1 << 32;
/// From here to 1 MiB a PC has its firmware; here the tables are.
const FIRMWARE: u64 = 0x9_fc00;
const MEGABYTE: u64 = 0x10_0000;

/// What a range of addresses is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeKind {
    /// Memory for the guest to use.
    Usable,
    /// Memory that holds what the guest was told, or none.
    Reserved,
}

impl RangeKind {
    /// The number that e820 and PVH have for it.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            RangeKind::Usable => 1,
            RangeKind::Reserved => 2,
        }
    }
}

/// A range of guest-physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first one.
    pub start: u64,
    /// Bytes.
    pub length: u64,
    /// What it is.
    pub kind: RangeKind,
}

/// The memory of a guest: from address 0 on, with a hole for devices below 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryMap {
    bytes: u64,
}

impl MemoryMap {
    /// The least memory of a guest: its first megabyte, and one more.
    pub const LEAST: u64 = 2 * MEGABYTE;

    /// So many bytes, rounded down to pages; at least [`MemoryMap::LEAST`], at most 1 TiB.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self { bytes: bytes.clamp(Self::LEAST, 1 << 40) / 4096 * 4096 }
    }

    /// The end of the memory below the hole.
    #[must_use]
    pub fn low_end(&self) -> u64 {
        self.bytes.min(HOLE)
    }

    /// The ranges that a firmware would tell, in order.
    #[must_use]
    pub fn ranges(&self) -> Vec<Range> {
        let range = |start, end, kind| Range { start, length: end - start, kind };
        let mut ranges = vec![
            range(0, FIRMWARE, RangeKind::Usable),
            range(FIRMWARE, MEGABYTE, RangeKind::Reserved),
            range(MEGABYTE, self.low_end(), RangeKind::Usable),
        ];
        if self.bytes > HOLE {
            ranges.push(range(FOUR_GIGABYTES, FOUR_GIGABYTES + self.bytes - HOLE, RangeKind::Usable));
        }
        ranges
    }
}
