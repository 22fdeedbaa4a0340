//! From a guest's linear addresses to its memory, by the page tables that it has made (AMD64 APM volume 2, chapter 5).

use crate::memory::GuestMemory;
use abi::vcpu::VcpuState;

const PAGING: u64 = 1 << 31;
const LARGE_PAGES: u64 = 1 << 4;
const WIDE_ENTRIES: u64 = 1 << 5;
const FIVE_LEVELS: u64 = 1 << 12;
const LONG_MODE_ACTIVE: u64 = 1 << 10;
const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
const FRAME: u64 = 0x000f_ffff_ffff_f000;

/// The guest-physical address behind a linear one, whatever may be done there; `None` if nothing is.
#[must_use]
pub fn translate(state: &VcpuState, memory: &dyn GuestMemory, linear: u64) -> Option<u64> {
    if state.cr0 & PAGING == 0 {
        return Some(linear & 0xffff_ffff);
    }
    if state.cr4 & WIDE_ENTRIES == 0 {
        return translate_narrow(state, memory, linear as u32);
    }
    let (levels, root) = if state.efer & LONG_MODE_ACTIVE == 0 {
        (3, state.cr3 & 0xffff_ffe0)
    } else {
        (if state.cr4 & FIVE_LEVELS == 0 { 4 } else { 5 }, state.cr3 & FRAME)
    };
    let mut table = root;
    for level in (0..levels).rev() {
        let shift = 12 + 9 * level;
        // The topmost of three levels has four entries.
        let mask = if levels == 3 && level == 2 { 0b11 } else { 0x1ff };
        let entry = memory.read_u64(table + 8 * (linear >> shift & mask)).ok()?;
        if entry & PRESENT == 0 {
            return None;
        }
        if level == 0 || entry & LARGE != 0 && (level == 1 || level == 2 && levels > 3) {
            let inside = (1 << shift) - 1;
            return Some(entry & FRAME & !inside | linear & inside);
        }
        table = entry & FRAME;
    }
    None
}

/// Two levels of 32-bit entries.
fn translate_narrow(state: &VcpuState, memory: &dyn GuestMemory, linear: u32) -> Option<u64> {
    let table = state.cr3 & 0xffff_f000;
    let directory = memory.read_u32(table + u64::from(linear >> 22) * 4).ok()?;
    if u64::from(directory) & PRESENT == 0 {
        return None;
    }
    if u64::from(directory) & LARGE != 0 && state.cr4 & LARGE_PAGES != 0 {
        return Some(u64::from(directory & 0xffc0_0000 | linear & 0x3f_ffff));
    }
    let entry = memory.read_u32(u64::from(directory & 0xffff_f000) + u64::from(linear >> 12 & 0x3ff) * 4).ok()?;
    (u64::from(entry) & PRESENT != 0).then_some(u64::from(entry & 0xffff_f000 | linear & 0xfff))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::FlatMemory;

    fn put(memory: &mut FlatMemory, at: u64, entry: u64) {
        memory.write(at, &entry.to_le_bytes()).unwrap();
    }

    #[test]
    fn without_paging_addresses_are_what_they_are() {
        assert_eq!(translate(&VcpuState::default(), &FlatMemory::new(0), 0xfee0_0020), Some(0xfee0_0020));
    }

    #[test]
    fn four_levels_are_walked_to_pages_of_every_size() {
        let mut memory = FlatMemory::new(0x8000);
        put(&mut memory, 0x1000 + 8 * 511, 0x2000 | 3);
        put(&mut memory, 0x2000, 0x3000 | 3);
        put(&mut memory, 0x2000 + 8, 0x4000_0000 | 0x83);
        put(&mut memory, 0x3000, 0x4000 | 3);
        put(&mut memory, 0x3000 + 8, 0x60_0000 | 0x83);
        put(&mut memory, 0x4000 + 8 * 5, 0xfee0_0000 | 1 << 63 | 3);
        let state = VcpuState { cr0: PAGING, cr3: 0x1000, cr4: WIDE_ENTRIES, efer: 1 << 10, ..VcpuState::default() };
        let top = 0xffff_ff80_0000_0000;
        assert_eq!(translate(&state, &memory, top + 0x5020), Some(0xfee0_0020));
        assert_eq!(translate(&state, &memory, top + 0x20_1234), Some(0x60_1234));
        assert_eq!(translate(&state, &memory, top + 0x4012_3456), Some(0x4012_3456));
        assert_eq!(translate(&state, &memory, top + 0x6000), None);
        assert_eq!(translate(&state, &memory, 0x5000), None);
    }

    #[test]
    fn tables_outside_of_the_memory_lead_nowhere() {
        let mut memory = FlatMemory::new(0x2000);
        put(&mut memory, 0x1000, 0x000f_ffff_ffff_f000 | 3);
        let state = VcpuState { cr0: PAGING, cr3: 0x1000, cr4: WIDE_ENTRIES, efer: 1 << 10, ..VcpuState::default() };
        assert_eq!(translate(&state, &memory, 0), None);
    }

    #[test]
    fn three_and_two_levels_are_walked_too() {
        let mut memory = FlatMemory::new(0x5000);
        put(&mut memory, 0x1020 + 8 * 3, 0x2000 | 1);
        put(&mut memory, 0x2000 + 8 * 511, 0x3000 | 3);
        put(&mut memory, 0x3000 + 8, 0xabc_d000 | 3);
        let state = VcpuState { cr0: PAGING, cr3: 0x1020, cr4: WIDE_ENTRIES, ..VcpuState::default() };
        assert_eq!(translate(&state, &memory, 0xffe0_1678), Some(0xabc_d678));
        put(&mut memory, 0x4000, 0x3000 | 3);
        let state = VcpuState { cr0: PAGING, cr3: 0x4000, ..VcpuState::default() };
        assert_eq!(translate(&state, &memory, 0x2678), Some(0xabc_d678));
        assert_eq!(translate(&state, &memory, 0x40_0000), None);
    }
}
