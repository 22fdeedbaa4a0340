//! From a guest's linear addresses to its memory, by the page tables that it has made (AMD64 APM volume 2, chapter 5).

use crate::memory::GuestMemory;
use abi::vcpu::VcpuState;

const PAGING: u64 = 1 << 31;
const LARGE_PAGES: u64 = 1 << 4;
const WIDE_ENTRIES: u64 = 1 << 5;
const FIVE_LEVELS: u64 = 1 << 12;
const LONG_MODE_ACTIVE: u64 = 1 << 10;
const WRITE_PROTECT: u64 = 1 << 16;
/// The kernel has no business in users' pages (SMAP), unless a flag says that it has.
const KERNEL_KEEPS_OFF: u64 = 1 << 21;
const ALIGNMENT_CHECK: u64 = 1 << 18;
/// Where the privilege level of a segment's attributes is.
const PRIVILEGE_AT: u32 = 5;
const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const LARGE: u64 = 1 << 7;
const FRAME: u64 = 0x000f_ffff_ffff_f000;

/// What an instruction does with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// It reads.
    Read,
    /// It writes.
    Write,
}

/// Why memory is not reached: the error code of a page fault (volume 2, section 8.2.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageFault {
    /// The code.
    pub(super) code: u32,
}

/// A page that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    address: u64,
    /// What every table on the way to it allows: bits of an entry.
    rights: u64,
}

/// The guest-physical address behind a linear one, whatever may be done there; `None` if nothing is.
#[must_use]
pub fn translate(state: &VcpuState, memory: &dyn GuestMemory, linear: u64) -> Option<u64> {
    find(state, memory, linear).map(|found| found.address)
}

/// The guest-physical address behind a linear one that an instruction accesses, if the processor would let it in its present state.
/// Pages are not marked as accessed or written to.
///
/// # Errors
/// [`PageFault`].
pub(super) fn reach(
    state: &VcpuState,
    memory: &dyn GuestMemory,
    linear: u64,
    access: Access,
) -> Result<u64, PageFault> {
    let is_user = state.ss.attributes >> PRIVILEGE_AT & 3 == 3;
    let writes = access == Access::Write;
    let refused =
        |present: bool| PageFault { code: u32::from(present) | u32::from(writes) << 1 | u32::from(is_user) << 2 };
    let found = find(state, memory, linear).ok_or(refused(false))?;
    if state.cr0 & PAGING == 0 {
        return Ok(found.address);
    }
    let (is_for_users, is_writable) = (found.rights & USER != 0, found.rights & WRITABLE != 0);
    let is_kept_from_kernel = is_for_users && state.cr4 & KERNEL_KEEPS_OFF != 0 && state.rflags & ALIGNMENT_CHECK == 0;
    let is_protected = !is_writable && (is_user || state.cr0 & WRITE_PROTECT != 0);
    if is_user && !is_for_users || !is_user && is_kept_from_kernel || writes && is_protected {
        return Err(refused(true));
    }
    Ok(found.address)
}

fn find(state: &VcpuState, memory: &dyn GuestMemory, linear: u64) -> Option<Found> {
    if state.cr0 & PAGING == 0 {
        return Some(Found { address: linear & 0xffff_ffff, rights: u64::MAX });
    }
    if state.cr4 & WIDE_ENTRIES == 0 {
        return find_narrow(state, memory, linear as u32);
    }
    let (levels, root) = if state.efer & LONG_MODE_ACTIVE == 0 {
        (3, state.cr3 & 0xffff_ffe0)
    } else {
        (if state.cr4 & FIVE_LEVELS == 0 { 4 } else { 5 }, state.cr3 & FRAME)
    };
    let (mut table, mut rights) = (root, u64::MAX);
    for level in (0..levels).rev() {
        let shift = 12 + 9 * level;
        // The topmost of three levels has four entries, which allow everything.
        let is_short = levels == 3 && level == 2;
        let mask = if is_short { 0b11 } else { 0x1ff };
        let entry = memory.read_u64(table + 8 * (linear >> shift & mask)).ok()?;
        if entry & PRESENT == 0 {
            return None;
        }
        if !is_short {
            rights &= entry;
        }
        if level == 0 || entry & LARGE != 0 && (level == 1 || level == 2 && levels > 3) {
            let inside = (1 << shift) - 1;
            return Some(Found { address: entry & FRAME & !inside | linear & inside, rights });
        }
        table = entry & FRAME;
    }
    None
}

/// Two levels of 32-bit entries.
fn find_narrow(state: &VcpuState, memory: &dyn GuestMemory, linear: u32) -> Option<Found> {
    let table = state.cr3 & 0xffff_f000;
    let directory = memory.read_u32(table + u64::from(linear >> 22) * 4).ok()?;
    if u64::from(directory) & PRESENT == 0 {
        return None;
    }
    if u64::from(directory) & LARGE != 0 && state.cr4 & LARGE_PAGES != 0 {
        let address = u64::from(directory & 0xffc0_0000 | linear & 0x3f_ffff);
        return Some(Found { address, rights: directory.into() });
    }
    let entry = memory.read_u32(u64::from(directory & 0xffff_f000) + u64::from(linear >> 12 & 0x3ff) * 4).ok()?;
    let address = u64::from(entry & 0xffff_f000 | linear & 0xfff);
    (u64::from(entry) & PRESENT != 0).then_some(Found { address, rights: (entry & directory).into() })
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

    #[test]
    fn an_access_is_let_to_what_the_tables_allow() {
        let mut memory = FlatMemory::new(0x8000);
        let (all, kernel, read_only) = (PRESENT | WRITABLE | USER, PRESENT | WRITABLE, PRESENT | USER);
        put(&mut memory, 0x1000, 0x2000 | all);
        put(&mut memory, 0x2000, 0x3000 | all);
        put(&mut memory, 0x3000, 0x4000 | all);
        put(&mut memory, 0x3000 + 8, 0x5000 | kernel);
        put(&mut memory, 0x4000, 0xa000 | all);
        put(&mut memory, 0x4000 + 8, 0xb000 | kernel);
        put(&mut memory, 0x4000 + 16, 0xc000 | read_only);
        // What a table on the way forbids is forbidden.
        put(&mut memory, 0x5000, 0xd000 | all);
        let mut state =
            VcpuState { cr0: PAGING, cr3: 0x1000, cr4: WIDE_ENTRIES, efer: 1 << 10, ..VcpuState::default() };
        let (page, inner) = (0x1000, 0x20_0000);
        let fault = |code| Err(PageFault { code });
        state.ss.attributes = 3 << PRIVILEGE_AT;
        assert_eq!(reach(&state, &memory, 8, Access::Write), Ok(0xa008));
        assert_eq!(reach(&state, &memory, page, Access::Read), fault(0b101));
        assert_eq!(reach(&state, &memory, 2 * page, Access::Read), Ok(0xc000));
        assert_eq!(reach(&state, &memory, 2 * page, Access::Write), fault(0b111));
        assert_eq!(reach(&state, &memory, 3 * page, Access::Write), fault(0b110));
        assert_eq!(reach(&state, &memory, inner, Access::Read), fault(0b101));
        state.ss.attributes = 0;
        assert_eq!(reach(&state, &memory, page, Access::Write), Ok(0xb000));
        assert_eq!(reach(&state, &memory, 2 * page, Access::Write), Ok(0xc000), "nothing protects it from the kernel");
        state.cr0 |= WRITE_PROTECT;
        assert_eq!(reach(&state, &memory, 2 * page, Access::Write), fault(0b011));
        state.cr4 |= KERNEL_KEEPS_OFF;
        assert_eq!(reach(&state, &memory, 0, Access::Read), fault(0b001));
        state.rflags |= ALIGNMENT_CHECK;
        assert_eq!(reach(&state, &memory, 0, Access::Read), Ok(0xa000));
    }
}
