//! Addresses for the registers of devices that are put in while the machine runs: firmware has given them none.
//!
//! They come out of the windows of addresses that the port before them passes on (PCI-to-PCI Bridge Architecture 1.2, 3.2.5),
//! which the firmware has set up for what might be put in.

use crate::bar::Bar;
use crate::config::{ConfigSpace, FunctionAddress, Width, read16};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::ops::Range;
use userlib::abi::PAGE_SIZE;

/// Offsets of a bridge's registers: base and limit, in units of 1 MiB, of two windows; bits 32 to 63 of the second one.
const MEMORY_BASE: u16 = 0x20;
const MEMORY_LIMIT: u16 = 0x22;
const PREFETCHABLE_BASE: u16 = 0x24;
const PREFETCHABLE_LIMIT: u16 = 0x26;
const PREFETCHABLE_BASE_HIGH: u16 = 0x28;
const PREFETCHABLE_LIMIT_HIGH: u16 = 0x2c;
/// Bits of the address in base and limit, and what the others of the second window say: the upper half counts.
const ADDRESS: u16 = 0xfff0;
const WIDE: u16 = 1;
const MIB: u64 = 1 << 20;
/// Addresses below can be held by every register.
const FOUR_GIB: u64 = 1 << 32;

/// The addresses that a bridge passes on to what is behind it. A window whose end is not behind its start is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgeWindows {
    memory: Option<Range<u64>>,
    prefetchable: Option<Range<u64>>,
}

impl BridgeWindows {
    /// Reads those of a bridge.
    pub fn read(config: &impl ConfigSpace, bridge: FunctionAddress) -> Self {
        let word = |offset| read16(config, bridge, offset);
        let high = |offset| u64::from(config.read(bridge, offset, Width::Long)) << 32;
        let window = |base: u16, limit: u16, (base_high, limit_high): (u64, u64)| {
            let start = u64::from(base & ADDRESS) << 16 | base_high;
            let last = u64::from(limit & ADDRESS) << 16 | limit_high;
            let end = last.checked_add(MIB)?;
            // No device has registers at 0, or up to the end of all addresses.
            (start > 0 && start < end).then_some(start..end)
        };
        let (base, limit) = (word(PREFETCHABLE_BASE), word(PREFETCHABLE_LIMIT));
        let upper = if base & limit & WIDE != 0 {
            (high(PREFETCHABLE_BASE_HIGH), high(PREFETCHABLE_LIMIT_HIGH))
        } else {
            (0, 0)
        };
        BridgeWindows {
            memory: window(word(MEMORY_BASE), word(MEMORY_LIMIT), (0, 0)),
            prefetchable: window(base, limit, upper),
        }
    }

    /// Whether a register that is in its place lies in one of them.
    pub fn contain(&self, bar: &Bar) -> bool {
        let Some(end) = bar.end().filter(|_| bar.is_placed()) else { return false };
        let windows = self.memory.iter().chain(self.prefetchable.iter().filter(|_| bar.prefetchable));
        windows.into_iter().any(|window| window.start <= bar.base && end <= window.end)
    }
}

/// A register that wants an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The register as it was measured.
    pub bar: Bar,
    /// Whether it holds 64 bits.
    pub is_wide: bool,
}

/// Finds an address for each register, in the order of `wishes`: aligned to its length, and to a page, so that no two drivers'
/// registers share one. `taken` is what others have there. `None` if there is not enough room, or one has no length.
///
/// Reading memory that may be prefetched has no side effects, so that it can be in the other window as well, and in the range of
/// addresses that every register can hold it is there first: firmware leaves that room for every slot.
pub fn allocate(windows: &BridgeWindows, taken: &[Range<u64>], wishes: &[Wish]) -> Option<Vec<u64>> {
    let mut taken = taken.to_vec();
    let mut found = alloc::vec![0; wishes.len()];
    let mut order: Vec<usize> = (0..wishes.len()).collect();
    // The longest first: then those behind it need no gaps.
    order.sort_by_key(|&index| Reverse(wishes.get(index).and_then(|wish| wish.bar.length)));
    for index in order {
        let wish = wishes.get(index)?;
        let length = wish.bar.length.filter(|length| length.is_power_of_two())?.max(PAGE_SIZE);
        let prefetchable = windows.prefetchable.iter().filter(|_| wish.bar.prefetchable);
        let reachable = |window: &&Range<u64>| wish.is_wide || window.end <= FOUR_GIB;
        let base = windows.memory.iter().chain(prefetchable).filter(reachable);
        let base = base.into_iter().find_map(|window| fit(window, &taken, length))?;
        taken.push(base..base + length);
        *found.get_mut(index)? = base;
    }
    Some(found)
}

/// The first place of a window that is as long as wanted, aligned to that and free.
fn fit(window: &Range<u64>, taken: &[Range<u64>], length: u64) -> Option<u64> {
    let mut start = window.start;
    loop {
        start = start.checked_next_multiple_of(length)?;
        let end = start.checked_add(length).filter(|end| *end <= window.end)?;
        // Each turn is behind the end of another one that is taken.
        match taken.iter().find(|taken| taken.start < end && start < taken.end) {
            Some(taken) => start = taken.end,
            None => return Some(start),
        }
    }
}
