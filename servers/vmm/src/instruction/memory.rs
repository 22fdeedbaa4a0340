//! Instructions with an operand in memory.

use super::flags::{Arithmetic, with_carry};
use super::registers::{Mode, Registers, mask};
use super::{Refusal, decode, unsupported};
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

const PAGE: u64 = 4096;
const ACCUMULATOR: usize = 0;
const COUNT: usize = 1;
const SOURCE: usize = 6;
const DESTINATION: usize = 7;

/// The device that is accessed.
pub trait Target {
    /// Reads 1, 2, 4 or 8 bytes. `address` is the linear address: the device is where the processor said that it is.
    fn read(&mut self, address: u64, size: usize) -> u64;

    /// Writes 1, 2, 4 or 8 bytes.
    fn write(&mut self, address: u64, size: usize, value: u64);
}

/// Carries out the instruction of which `bytes` are the beginning, with `target` in place of memory.
///
/// A string instruction that repeats is carried out for one element and stays the current one until none is left: the
/// guest comes back for the next.
///
/// # Errors
/// If it was not carried out; nothing has changed then.
pub fn emulate(bytes: &[u8], mode: Mode, registers: &mut Registers, target: &mut dyn Target) -> Result<(), Refusal> {
    let instruction = decode(bytes, mode, registers)?;
    let refusal = unsupported(bytes);
    match instruction.mnemonic() {
        Mnemonic::Stosb | Mnemonic::Stosw | Mnemonic::Stosd | Mnemonic::Stosq => {
            return string(&instruction, mode, registers, DESTINATION, &mut |registers, address, size| {
                target.write(address, size, registers.general[ACCUMULATOR] & mask(size));
            });
        }
        Mnemonic::Lodsb | Mnemonic::Lodsw | Mnemonic::Lodsd | Mnemonic::Lodsq => {
            return string(&instruction, mode, registers, SOURCE, &mut |registers, address, size| {
                let value = target.read(address, size);
                registers.set_part(ACCUMULATOR, value & mask(size), size);
            });
        }
        _ => {}
    }
    let access = Access::find(&instruction, mode, registers).ok_or(refusal)??;
    let changed = access.carry_out(&instruction, registers, target).ok_or(refusal)?;
    *registers = changed;
    registers.step(&instruction, mode);
    Ok(())
}

/// One element of a string.
fn string(
    instruction: &Instruction,
    mode: Mode,
    registers: &mut Registers,
    index: usize,
    element: &mut dyn FnMut(&mut Registers, u64, usize),
) -> Result<(), Refusal> {
    let operand = u32::from(instruction.op0_kind() == OpKind::Register);
    let size = instruction.memory_size().size();
    let address = registers.address(instruction, operand, mode).ok_or(Refusal::NoInstruction)?;
    check_page(address, size)?;
    let width = index_width(instruction.op_kind(operand));
    let repeats = instruction.has_rep_prefix() || instruction.has_repne_prefix();
    let left = registers.general[COUNT] & mask(width);
    if repeats && left == 0 {
        registers.step(instruction, mode);
        return Ok(());
    }
    element(registers, address, size);
    registers.advance(index, size, width);
    if repeats {
        registers.set_part(COUNT, left - 1, width);
    }
    if !repeats || left == 1 {
        registers.step(instruction, mode);
    }
    Ok(())
}

/// Bytes of the registers that address a string.
pub(super) fn index_width(kind: OpKind) -> usize {
    match kind {
        OpKind::MemorySegSI | OpKind::MemorySegDI | OpKind::MemoryESDI => 2,
        OpKind::MemorySegESI | OpKind::MemorySegEDI | OpKind::MemoryESEDI => 4,
        _ => 8,
    }
}

fn check_page(address: u64, size: usize) -> Result<(), Refusal> {
    if address % PAGE + size as u64 > PAGE { Err(Refusal::CrossesPage { address }) } else { Ok(()) }
}

/// Where an instruction accesses memory.
#[derive(Clone, Copy, Debug)]
struct Access {
    operand: u32,
    address: u64,
    size: usize,
}

impl Access {
    /// The only operand in memory, of an instruction that has one of a size that devices know.
    fn find(instruction: &Instruction, mode: Mode, registers: &Registers) -> Option<Result<Self, Refusal>> {
        let mut operands = (0..instruction.op_count()).filter(|at| instruction.op_kind(*at) == OpKind::Memory);
        let operand = operands.next()?;
        let size = instruction.memory_size().size();
        if operands.next().is_some() || !matches!(size, 1 | 2 | 4 | 8) {
            return None;
        }
        let address = registers.address(instruction, operand, mode)?;
        Some(check_page(address, size).map(|()| Self { operand, address, size }))
    }

    /// Carries it out. Returns the registers after it, but for the instruction pointer; None if it is none of ours, and
    /// then nothing was accessed.
    fn carry_out(self, instruction: &Instruction, registers: &Registers, target: &mut dyn Target) -> Option<Registers> {
        let mut after = *registers;
        let Self { operand, address, size } = self;
        let other = Other::of(instruction, operand, size, registers);
        let into_memory = operand == 0;
        match instruction.mnemonic() {
            Mnemonic::Mov if into_memory => target.write(address, size, other?.value),
            Mnemonic::Mov | Mnemonic::Movzx => {
                let register = other?.register?;
                after.set(register, target.read(address, size));
            }
            Mnemonic::Movsx | Mnemonic::Movsxd => {
                let register = other?.register?;
                let shift = 64 - 8 * size as u32;
                let value = ((target.read(address, size) << shift) as i64 >> shift) as u64;
                after.set(register, value);
            }
            Mnemonic::Xchg => {
                let (register, value) = (other?.register?, other?.value);
                after.set(register, target.read(address, size));
                target.write(address, size, value);
            }
            Mnemonic::Not if into_memory => {
                let value = target.read(address, size);
                target.write(address, size, !value & mask(size));
            }
            Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc => {
                // A bit that a register names may lie anywhere in memory.
                let bit = 1 << (other.filter(|other| other.register.is_none())?.value % (8 * size as u64));
                let value = target.read(address, size);
                after.flags = with_carry(after.flags, value & bit != 0);
                match instruction.mnemonic() {
                    Mnemonic::Bts => target.write(address, size, value | bit),
                    Mnemonic::Btr => target.write(address, size, value & !bit),
                    Mnemonic::Btc => target.write(address, size, value ^ bit),
                    _ => {}
                }
            }
            mnemonic => {
                let (arithmetic, keeps) = Self::arithmetic(mnemonic)?;
                let with = match arithmetic {
                    Arithmetic::Increment | Arithmetic::Decrement => Other { value: 1, register: None },
                    _ => other?,
                };
                let value = target.read(address, size);
                let (a, b) = if into_memory { (value, with.value) } else { (with.value, value) };
                let (result, flags) = arithmetic.compute(a, b, size, after.flags);
                after.flags = flags;
                match with.register.filter(|_| !into_memory) {
                    _ if !keeps => {}
                    Some(register) => after.set(register, result),
                    None => target.write(address, size, result),
                }
            }
        }
        Some(after)
    }

    /// What an instruction computes, and whether it keeps the result.
    fn arithmetic(mnemonic: Mnemonic) -> Option<(Arithmetic, bool)> {
        Some(match mnemonic {
            Mnemonic::Add => (Arithmetic::Add, true),
            Mnemonic::Sub => (Arithmetic::Subtract, true),
            Mnemonic::And => (Arithmetic::And, true),
            Mnemonic::Or => (Arithmetic::Or, true),
            Mnemonic::Xor => (Arithmetic::Xor, true),
            Mnemonic::Inc => (Arithmetic::Increment, true),
            Mnemonic::Dec => (Arithmetic::Decrement, true),
            Mnemonic::Cmp => (Arithmetic::Subtract, false),
            Mnemonic::Test => (Arithmetic::And, false),
            _ => return None,
        })
    }
}

/// The operand that is not in memory.
#[derive(Clone, Copy, Debug)]
struct Other {
    value: u64,
    register: Option<Register>,
}

impl Other {
    fn of(instruction: &Instruction, memory: u32, size: usize, registers: &Registers) -> Option<Self> {
        let operand = (0..instruction.op_count()).find(|at| *at != memory)?;
        match instruction.op_kind(operand) {
            OpKind::Register => {
                let register = instruction.op_register(operand);
                register.is_gpr().then(|| Self { value: registers.get(register), register: Some(register) })
            }
            OpKind::Immediate8
            | OpKind::Immediate16
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to16
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64 => {
                Some(Self { value: instruction.immediate(operand) & mask(size), register: None })
            }
            _ => None,
        }
    }
}
