//! Model-specific registers that a guest does not reach by itself (AMD64 APM volume 2, appendix A).

use abi::vcpu::VcpuState;

const TSC: u32 = 0x10;
const APIC_BASE: u32 = 0x1b;
const MICROCODE: u32 = 0x8b;
const PAT: u32 = 0x277;
/// When the local APIC's timer interrupts, by the time-stamp counter (Intel SDM volume 3, section 11.5.4.1).
pub(super) const DEADLINE: u32 = 0x6e0;
const EFER: u32 = 0xc000_0080;
/// Hardware configuration and others of AMD's that Linux reads without asking whether they are there.
const SYSTEM_CONFIG: u32 = 0xc001_0010;
const HARDWARE_CONFIG: u32 = 0xc001_0015;
const INTERRUPT_PENDING: u32 = 0xc001_0055;
const VM_CONTROL: u32 = 0xc001_0114;
const NORTH_BRIDGE: u32 = 0xc001_001f;
const DECODER: u32 = 0xc001_1029;
const LOAD_STORE: u32 = 0xc001_1020;

/// Where the local APIC is, and that it is on; and that the processor is the first.
const APIC: u64 = 0xfee0_0000 | 1 << 11;
const FIRST: u64 = 1 << 8;
/// After reset (AMD64 APM volume 2, section 7.8.2).
const PAT_RESET: u64 = 0x0007_0406_0007_0406;
/// Virtual machines are switched off, and that cannot be changed.
const VM_DISABLED: u64 = 1 << 4 | 1 << 3;
/// What of EFER a guest may change: system calls, long mode, no-execute, fast save.
const EFER_WRITABLE: u64 = 1 | 1 << 8 | 1 << 11 | 1 << 14;
const LONG_MODE: u64 = 1 << 8;
const PAGING: u64 = 1 << 31;

/// There is no such register, or it does not take that value: a general protection exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRegister;

/// The registers of one processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpecific {
    first: bool,
    pat: u64,
}

impl ModelSpecific {
    /// Those of the processor with this number, after reset.
    #[must_use]
    pub fn new(processor: u8) -> Self {
        Self { first: processor == 0, pat: PAT_RESET }
    }

    /// What the guest reads. `timestamp` is the machine's counter.
    ///
    /// # Errors
    /// If there is no such register.
    pub fn read(&self, register: u32, state: &VcpuState, timestamp: u64) -> Result<u64, NoRegister> {
        Ok(match register {
            TSC => timestamp.wrapping_add(state.tsc_offset),
            APIC_BASE => APIC | if self.first { FIRST } else { 0 },
            PAT => self.pat,
            EFER => state.efer,
            VM_CONTROL => VM_DISABLED,
            MICROCODE | SYSTEM_CONFIG | HARDWARE_CONFIG | INTERRUPT_PENDING | NORTH_BRIDGE | DECODER | LOAD_STORE => 0,
            _ => return Err(NoRegister),
        })
    }

    /// The guest writes.
    ///
    /// # Errors
    /// If there is no such register, or it does not take that.
    pub fn write(
        &mut self,
        register: u32,
        value: u64,
        state: &mut VcpuState,
        timestamp: u64,
    ) -> Result<(), NoRegister> {
        match register {
            TSC => state.tsc_offset = value.wrapping_sub(timestamp),
            // The APIC stays where it is, and on.
            APIC_BASE if value & !FIRST == APIC => {}
            PAT => self.pat = value,
            EFER => {
                let kept = state.efer & !EFER_WRITABLE;
                let changes_mode = (value ^ state.efer) & LONG_MODE != 0;
                if value & !(EFER_WRITABLE | kept) != 0 || changes_mode && state.cr0 & PAGING != 0 {
                    return Err(NoRegister);
                }
                state.efer = kept | value & EFER_WRITABLE;
            }
            // What would change how the processor works changes nothing.
            MICROCODE | SYSTEM_CONFIG | HARDWARE_CONFIG | INTERRUPT_PENDING | NORTH_BRIDGE | DECODER | LOAD_STORE => {}
            _ => return Err(NoRegister),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_the_machines_and_what_the_guest_has_added() {
        let (mut registers, mut state) = (ModelSpecific::new(0), VcpuState::default());
        registers.write(TSC, 5, &mut state, 1000).unwrap();
        assert_eq!(registers.read(TSC, &state, 1010), Ok(15));
    }

    #[test]
    fn long_mode_is_not_changed_while_paging_is_on() {
        let (mut registers, mut state) = (ModelSpecific::new(0), VcpuState::default());
        assert_eq!(registers.write(EFER, LONG_MODE | 1, &mut state, 0), Ok(()));
        assert_eq!(state.efer, LONG_MODE | 1);
        state.cr0 = PAGING;
        assert_eq!(registers.write(EFER, 1, &mut state, 0), Err(NoRegister));
        assert_eq!(registers.write(EFER, LONG_MODE | 1 << 12, &mut state, 0), Err(NoRegister), "no virtual machines");
    }

    #[test]
    fn only_the_first_processor_says_that_it_is() {
        let state = VcpuState::default();
        assert_eq!(ModelSpecific::new(0).read(APIC_BASE, &state, 0), Ok(0xfee0_0900));
        assert_eq!(ModelSpecific::new(1).read(APIC_BASE, &state, 0), Ok(0xfee0_0800));
        assert_eq!(ModelSpecific::new(1).read(0x1234, &state, 0), Err(NoRegister));
    }
}
