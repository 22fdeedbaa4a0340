//! The control block of a virtual processor: what is intercepted, and the guest's state as the processor keeps it (AMD64 manual
//! volume 2, appendix B).

use super::extended::ExtendedState;
use super::permission;
use crate::processor::PAT_RESET;
use crate::ram::RamPage;
use abi::vcpu::{VcpuState, interrupt, offset};
use core::mem::offset_of;
use kernel_core::Frame;

/// Byte offsets in a control block.
mod field {
    pub(super) const INTERCEPT_DEBUG: usize = 0x004;
    pub(super) const INTERCEPT_EXCEPTIONS: usize = 0x008;
    pub(super) const INTERCEPT_FIRST: usize = 0x00c;
    pub(super) const INTERCEPT_SECOND: usize = 0x010;
    pub(super) const PORT_MAP: usize = 0x040;
    pub(super) const REGISTER_MAP: usize = 0x048;
    pub(super) const TSC_OFFSET: usize = 0x050;
    /// Address-space identifier, and what of the translations is to be forgotten.
    pub(super) const SPACE: usize = 0x058;
    pub(super) const VIRTUAL_INTERRUPT: usize = 0x060;
    pub(super) const SHADOW: usize = 0x068;
    /// Code and information: three words.
    pub(super) const EXIT: usize = 0x070;
    pub(super) const EXIT_EVENT: usize = 0x088;
    pub(super) const NESTED_PAGING: usize = 0x090;
    pub(super) const EVENT: usize = 0x0a8;
    pub(super) const NESTED_ROOT: usize = 0x0b0;
    pub(super) const CLEAN: usize = 0x0c0;
    pub(super) const NEXT_RIP: usize = 0x0c8;
    /// Ten segment registers.
    pub(super) const SEGMENTS: usize = 0x400;
    /// Of the third, whose privilege level is the guest's.
    pub(super) const SS: usize = 0x420;
    /// The word in which byte 3 is the guest's privilege level.
    pub(super) const LEVEL: usize = 0x4c8;
    pub(super) const EFER: usize = 0x4d0;
    pub(super) const CR4: usize = 0x548;
    pub(super) const CR3: usize = 0x550;
    pub(super) const CR0: usize = 0x558;
    pub(super) const DR7: usize = 0x560;
    pub(super) const DR6: usize = 0x568;
    pub(super) const RFLAGS: usize = 0x570;
    pub(super) const RIP: usize = 0x578;
    pub(super) const RSP: usize = 0x5d8;
    pub(super) const RAX: usize = 0x5f8;
    /// Eight model-specific registers.
    pub(super) const STAR: usize = 0x600;
    pub(super) const CR2: usize = 0x640;
    pub(super) const PAT: usize = 0x668;
}

/// What the host could not do without: everything by which a guest would learn or change something of the machine's, or keep
/// a processor for itself.
mod intercept {
    /// Debug registers that an entry does not switch: 0 to 3, read or written.
    pub(super) const DEBUG: u32 = 0x000f_000f;
    /// Debug, alignment check and machine check: the first two can follow each other without end (CVE-2015-5307 and 8104).
    pub(super) const EXCEPTIONS: u32 = 1 << 1 | 1 << 17 | 1 << 18;
    /// Interrupts of four kinds; RDPMC, CPUID, RSM, INVD, HLT, INVLPGA, ports, registers, task switch, freeze, shutdown.
    pub(super) const FIRST: u32 = 0xf | 1 << 15 | 1 << 18 | 1 << 19 | 1 << 22 | 1 << 24 | 0x3f << 26;
    /// The guest can take an interrupt.
    pub(super) const WINDOW: u32 = 1 << 4;
    /// VMRUN, VMMCALL, VMLOAD, VMSAVE, STGI, CLGI, SKINIT, WBINVD, MONITOR, MWAIT (twice), XSETBV, RDPRU.
    pub(super) const SECOND: u32 = 0x7f | 0x7e << 8;
}

/// The host's interrupt flag, not the guest's, says whether interrupts come.
const MASK_BY_HOST: u64 = 1 << 24;
/// An interrupt is there for the guest: the window.
const VIRTUAL_REQUEST: u64 = 1 << 8;
/// Its priority, the highest, and that the task priority does not matter.
const VIRTUAL_URGENT: u64 = 0xf << 16 | 1 << 20;
/// Address-space identifier of every guest, and that nothing is remembered from run to run. (One identifier for each guest, and
/// to forget only what has changed, is what hardware would thank for.)
const SPACE: u64 = 1 | 1 << 32;
/// The event word has an event.
const EVENT_VALID: u64 = 1 << 31;
/// `EFER`: system calls, long mode enabled and active, no-execute, fast save.
const EFER_GUEST: u64 = 1 | 1 << 8 | 1 << 10 | 1 << 11 | 1 << 14;
/// `EFER`: virtual machines, without which a guest cannot be entered.
const EFER_SVME: u64 = 1 << 12;

/// Whether what was being delivered is to be delivered again. An instruction that interrupts (INT, INT3, INTO) is executed again
/// instead: the guest is still in front of it (AMD64 manual volume 2, 15.20).
const fn comes_again(event: u64) -> bool {
    let by_instruction = matches!((event >> 8 & 7, event & 0xff), (4, _) | (3, 3 | 4));
    event & EVENT_VALID != 0 && !by_instruction
}

/// Registers whose place in the control block does not follow from that of their neighbours.
const SINGLE: [(usize, usize); 10] = [
    (offset_of!(VcpuState, rip), field::RIP),
    (offset_of!(VcpuState, rflags), field::RFLAGS),
    (offset_of!(VcpuState, cr0), field::CR0),
    (offset_of!(VcpuState, cr2), field::CR2),
    (offset_of!(VcpuState, cr3), field::CR3),
    (offset_of!(VcpuState, cr4), field::CR4),
    (offset_of!(VcpuState, dr6), field::DR6),
    (offset_of!(VcpuState, dr7), field::DR7),
    (offset_of!(VcpuState, general), field::RAX),
    (offset_of!(VcpuState, general) + 7 * 8, field::RSP),
];

/// Runs of words: ten segment registers, and eight model-specific ones.
const RUNS: [(usize, usize, usize); 2] = [(offset::SEGMENTS, field::SEGMENTS, 20), (offset::STAR, field::STAR, 8)];

/// A control block.
#[derive(Clone, Copy, Debug)]
pub struct ControlBlock(RamPage);

impl ControlBlock {
    /// The one in this frame.
    ///
    /// # Safety
    /// The frame was donated for it.
    pub const unsafe fn at(frame: Frame) -> Self {
        // SAFETY: a donated frame is RAM without Rust objects.
        ControlBlock(unsafe { RamPage::new(frame) })
    }

    fn get(self, field: usize) -> u64 {
        self.0.word(field / 8)
    }

    fn set(self, field: usize, value: u64) {
        self.0.set_word(field / 8, value);
    }

    /// Two fields of 32 bits, of which the first is in the lower half.
    fn set_pair(self, field: usize, low: u32, high: u32) {
        self.set(field, u64::from(high) << 32 | u64::from(low));
    }

    /// Writes what never changes.
    pub fn prepare(self) {
        self.0.zero();
        self.set_pair(field::INTERCEPT_DEBUG & !7, 0, intercept::DEBUG);
        self.set_first(0);
        self.set_pair(field::INTERCEPT_SECOND, intercept::SECOND, 0);
        self.set(field::PORT_MAP, permission::ports().address());
        self.set(field::REGISTER_MAP, permission::registers().address());
        self.set(field::SPACE, SPACE);
        self.set(field::NESTED_PAGING, 1);
        self.set(field::VIRTUAL_INTERRUPT, MASK_BY_HOST);
        self.set(field::PAT, PAT_RESET);
    }

    fn set_first(self, more: u32) {
        const {
            assert!(
                field::INTERCEPT_EXCEPTIONS.is_multiple_of(8)
                    && field::INTERCEPT_FIRST == field::INTERCEPT_EXCEPTIONS + 4
            )
        };
        self.set_pair(field::INTERCEPT_EXCEPTIONS, intercept::EXCEPTIONS, intercept::FIRST | more);
    }

    /// Lets the guest have the memory below this root table, and no other.
    pub fn confine(self, root: Frame) {
        self.set(field::NESTED_ROOT, root.address());
    }

    /// Takes the guest's state over from its monitor. Whatever it is: what the processor cannot run is an exit.
    pub fn import(self, state: RamPage, extended: ExtendedState) {
        let word = |place: usize| state.word((offset::STATE + place) / 8);
        for (place, field) in SINGLE {
            self.set(field, word(place));
        }
        for (place, field, count) in RUNS {
            for index in 0..count {
                self.set(field + 8 * index, word(place + 8 * index));
            }
        }
        extended.import(word);
        self.set(field::EFER, word(offset_of!(VcpuState, efer)) & EFER_GUEST | EFER_SVME);
        // The privilege level is that of the stack segment: bits 5 and 6 of its attributes.
        self.set(field::LEVEL, (self.get(field::SS) >> 21 & 3) << 24);
        self.set(field::TSC_OFFSET, word(offset::TSC_OFFSET));
        self.set(field::EVENT, word(offset::EVENT));
        let interrupts = word(offset::INTERRUPTS);
        let window = interrupts & interrupt::WINDOW != 0;
        self.set_first(if window { intercept::WINDOW } else { 0 });
        let request = if window { VIRTUAL_REQUEST | VIRTUAL_URGENT } else { 0 };
        self.set(field::VIRTUAL_INTERRUPT, interrupts & 0xf | MASK_BY_HOST | request);
        self.set(field::SHADOW, u64::from(interrupts & interrupt::SHADOW != 0));
        self.set(field::CLEAN, 0);
    }

    /// Shows the guest's state to its monitor.
    pub fn export(self, state: RamPage, extended: ExtendedState) {
        let set = |place: usize, value: u64| state.set_word((offset::STATE + place) / 8, value);
        extended.export(set);
        for (place, field) in SINGLE {
            set(place, self.get(field));
        }
        for (place, field, count) in RUNS {
            for index in 0..count {
                set(place + 8 * index, self.get(field + 8 * index));
            }
        }
        // SYSRET need not have left the privilege level there.
        let stack = self.get(field::SS) & !(3 << 21) | (self.get(field::LEVEL) >> 24 & 3) << 21;
        set(offset_of!(VcpuState, ss), stack);
        set(offset_of!(VcpuState, efer), self.get(field::EFER) & !EFER_SVME);
        set(offset::EVENT, self.get(field::EVENT));
        let shadow = if self.get(field::SHADOW) & 1 != 0 { interrupt::SHADOW } else { 0 };
        set(offset::INTERRUPTS, self.get(field::VIRTUAL_INTERRUPT) & 0xf | shadow);
        for index in 0..3 {
            set(offset::EXIT + 8 * index, self.get(field::EXIT + 8 * index));
        }
        set(offset::EXIT + 24, self.get(field::NEXT_RIP));
    }

    /// Why the guest was left: code and information. An event that was being delivered is to be delivered again.
    pub fn exit(self) -> [u64; 3] {
        let event = self.get(field::EXIT_EVENT);
        self.set(field::EVENT, if comes_again(event) { event } else { 0 });
        core::array::from_fn(|index| self.get(field::EXIT + 8 * index))
    }

    /// Its physical address.
    pub fn address(self) -> u64 {
        self.0.frame().address()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_instruction_has_raised_is_left_to_the_instruction() {
        let event = |kind: u64, vector: u64| EVENT_VALID | kind << 8 | vector;
        for (kind, vector) in [(0, 0x30), (2, 2), (3, 14), (3, 1)] {
            assert!(comes_again(event(kind, vector)));
        }
        for (kind, vector) in [(4, 0x80), (4, 3), (3, 3), (3, 4)] {
            assert!(!comes_again(event(kind, vector)));
        }
        assert!(!comes_again(0x30));
    }
}
