//! The registers that an instruction reads and changes.

use iced_x86::{Instruction, Register};

/// The flag that makes strings go downwards.
const DIRECTION: u64 = 1 << 10;
/// The flag that keeps a breakpoint from stopping an instruction twice.
const RESUME: u64 = 1 << 16;

/// How a processor understands instructions (AMD64 APM volume 1, section 2.1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Real mode, and protected mode with a code segment of 16 bits.
    Bits16,
    /// Protected mode, or compatibility mode, with a code segment of 32 bits.
    Bits32,
    /// 64-bit mode.
    Bits64,
}

impl Mode {
    pub(super) fn bits(self) -> u32 {
        match self {
            Mode::Bits16 => 16,
            Mode::Bits32 => 32,
            Mode::Bits64 => 64,
        }
    }

    fn mask(self) -> u64 {
        mask(self.bits() as usize / 8)
    }

    /// The width of linear addresses.
    pub(super) fn linear(self, address: u64) -> u64 {
        if self == Mode::Bits64 { address } else { address & 0xffff_ffff }
    }
}

/// A value of so many bytes (1 to 8) has these bits.
pub(super) fn mask(bytes: usize) -> u64 {
    u64::MAX >> (64 - 8 * bytes.clamp(1, 8))
}

/// Registers of a processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 to r15.
    pub general: [u64; 16],
    /// The instruction pointer.
    pub instruction: u64,
    /// The flags.
    pub flags: u64,
    /// Base addresses of es, cs, ss, ds, fs, gs. In 64-bit mode, all but the last two are taken as 0.
    pub segments: [u64; 6],
}

impl Registers {
    /// A register's value, without what is beyond its size.
    pub(super) fn get(&self, register: Register) -> u64 {
        let whole = self.general[register.full_register().number() & 15];
        let value = if is_high_byte(register) { whole >> 8 } else { whole };
        value & mask(register.size())
    }

    /// Changes a register. What is beyond 32 bits becomes 0, what is beyond 8 or 16 bits stays.
    pub(super) fn set(&mut self, register: Register, value: u64) {
        let whole = &mut self.general[register.full_register().number() & 15];
        let size = register.size();
        *whole = if is_high_byte(register) {
            *whole & !0xff00 | (value & 0xff) << 8
        } else if size >= 4 {
            value & mask(size)
        } else {
            *whole & !mask(size) | value & mask(size)
        };
    }

    /// The base address of a segment.
    pub(super) fn base(&self, segment: Register, mode: Mode) -> u64 {
        if mode == Mode::Bits64 && !matches!(segment, Register::FS | Register::GS) {
            return 0;
        }
        self.segments.get(segment.number()).copied().unwrap_or(0)
    }

    /// The linear address of an operand in memory.
    pub(super) fn address(&self, instruction: &Instruction, operand: u32, mode: Mode) -> Option<u64> {
        let value = |register: Register, _, _| {
            Some(if register.is_segment_register() { self.base(register, mode) } else { self.get(register) })
        };
        Some(mode.linear(instruction.virtual_address(operand, 0, value)?))
    }

    /// The instruction is over.
    pub(super) fn step(&mut self, instruction: &Instruction, mode: Mode) {
        self.instruction = self.instruction.wrapping_add(instruction.len() as u64) & mode.mask();
        self.flags &= !RESUME;
    }

    /// How far a string's index moves for an element of so many bytes, in registers of `width` bytes.
    pub(super) fn advance(&mut self, index: usize, size: usize, width: usize) {
        let by = if self.flags & DIRECTION == 0 { size as u64 } else { (size as u64).wrapping_neg() };
        let moved = self.general[index].wrapping_add(by);
        self.set_part(index, moved, width);
    }

    /// Changes `width` bytes of a register as an address of that width does: 32 bits clear what is above.
    pub(super) fn set_part(&mut self, index: usize, value: u64, width: usize) {
        let whole = &mut self.general[index];
        *whole = if width >= 4 { value & mask(width) } else { *whole & !mask(width) | value & mask(width) };
    }
}

fn is_high_byte(register: Register) -> bool {
    matches!(register, Register::AH | Register::CH | Register::DH | Register::BH)
}
