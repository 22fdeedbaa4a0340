//! Registers between the forms in which the kernel, the loader and the decoder have them.

use crate::boot::{ProcessorState, Segment, TableRegister};
use crate::instruction::{Mode, Registers};
use abi::vcpu::{self, VcpuState};

/// Where each general register of an instruction's numbering lies in a [`VcpuState`].
const PLACES: [usize; 16] = [0, 2, 3, 1, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15];
/// EFER: long mode is active.
const LONG_MODE_ACTIVE: u64 = 1 << 10;
/// Attributes of a code segment: 64-bit mode, and 32 bits.
const LONG: u16 = 1 << 9;
const WIDE: u16 = 1 << 10;
/// Debug registers after reset (AMD64 APM volume 2, table 14-1).
const RESET_DR6: u64 = 0xffff_0ff0;
const RESET_DR7: u64 = 0x400;

fn segment(from: Segment) -> vcpu::Segment {
    let Segment { selector, attributes, limit, base } = from;
    vcpu::Segment { selector, attributes, limit, base }
}

fn table(from: TableRegister) -> vcpu::Segment {
    vcpu::Segment { limit: from.limit.into(), base: from.base, ..vcpu::Segment::default() }
}

/// Puts a processor into the state in which it begins. Its clock goes on.
pub fn begin(from: &ProcessorState, state: &mut VcpuState) {
    let [es, cs, ss, ds, fs, gs] = from.segments.map(segment);
    *state = VcpuState {
        rip: from.instruction,
        rflags: from.flags,
        cr0: from.cr0,
        cr3: from.cr3,
        cr4: from.cr4,
        efer: from.efer,
        dr6: RESET_DR6,
        dr7: RESET_DR7,
        es,
        cs,
        ss,
        ds,
        fs,
        gs,
        gdtr: table(from.descriptors),
        ldtr: segment(from.local),
        idtr: table(from.interrupts),
        tr: segment(from.task),
        xcr0: 1,
        tsc_offset: state.tsc_offset,
        ..VcpuState::default()
    };
    for (place, value) in PLACES.into_iter().zip(from.general) {
        state.general[place] = value;
    }
}

/// The registers of an instruction.
#[must_use]
pub fn read_registers(state: &VcpuState) -> Registers {
    Registers {
        general: PLACES.map(|place| state.general[place]),
        instruction: state.rip,
        flags: state.rflags,
        segments: [state.es, state.cs, state.ss, state.ds, state.fs, state.gs].map(|segment| segment.base),
    }
}

/// What an instruction has made of them.
pub fn write_registers(registers: &Registers, state: &mut VcpuState) {
    for (place, value) in PLACES.into_iter().zip(registers.general) {
        state.general[place] = value;
    }
    state.rip = registers.instruction;
    state.rflags = registers.flags;
}

/// How the processor understands instructions.
#[must_use]
pub fn mode(state: &VcpuState) -> Mode {
    if state.efer & LONG_MODE_ACTIVE != 0 && state.cs.attributes & LONG != 0 {
        Mode::Bits64
    } else if state.cs.attributes & WIDE != 0 {
        Mode::Bits32
    } else {
        Mode::Bits16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_survive_the_way_to_an_instruction_and_back() {
        let mut state = VcpuState { general: core::array::from_fn(|place| place as u64 + 1), ..VcpuState::default() };
        let registers = read_registers(&state);
        // rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi
        assert_eq!(registers.general[..8], [1, 3, 4, 2, 8, 7, 5, 6]);
        let before = state;
        write_registers(&registers, &mut state);
        assert_eq!(state, before);
    }

    #[test]
    fn a_processor_that_starts_in_real_mode_understands_16_bits() {
        let mut state = VcpuState { tsc_offset: 7, ..VcpuState::default() };
        begin(&ProcessorState::starting_at(0x9a), &mut state);
        assert_eq!(mode(&state), Mode::Bits16);
        assert_eq!((state.cs.base, state.rip, state.tsc_offset), (0x9_a000, 0, 7));
    }
}
