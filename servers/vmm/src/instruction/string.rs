//! Strings of bytes between ports and memory: INS and OUTS.

use super::memory::index_width;
use super::registers::{Mode, Registers, mask};
use super::{Refusal, decode, unsupported};
use iced_x86::{Mnemonic, OpKind};

/// At most so many elements are carried out at once; the guest comes back for the rest.
pub const STRING_LIMIT: usize = 256;

const COUNT: usize = 1;
const PORT: usize = 2;
const SOURCE: usize = 6;
const DESTINATION: usize = 7;

/// The port that is accessed, and the guest's memory.
pub trait PortTarget {
    /// Reads 1, 2 or 4 bytes from a port.
    fn input(&mut self, port: u16, size: usize) -> u32;

    /// Writes 1, 2 or 4 bytes to a port.
    fn output(&mut self, port: u16, size: usize, value: u32);

    /// Fills `into` from a linear address, as the guest would. Returns whether it could.
    fn load(&mut self, address: u64, into: &mut [u8]) -> bool;

    /// Whether so many bytes can be written to a linear address: asked before a port is read, which may not give the same again.
    fn can_store(&mut self, address: u64, size: usize) -> bool;

    /// Writes `bytes` to a linear address, as the guest would. Returns whether it could.
    fn store(&mut self, address: u64, bytes: &[u8]) -> bool;
}

/// Carries out the INS or OUTS of which `bytes` are the beginning, for up to [`STRING_LIMIT`] elements. If there are more,
/// it stays the current instruction.
///
/// # Errors
/// [`Refusal::NoMemory`] if the guest's memory is not there: what was done before is kept, and the instruction can be
/// carried out again when it is. With the others nothing has changed.
pub fn emulate_port_string(
    bytes: &[u8],
    mode: Mode,
    registers: &mut Registers,
    target: &mut dyn PortTarget,
) -> Result<(), Refusal> {
    let instruction = decode(bytes, mode, registers)?;
    let (index, operand) = match instruction.mnemonic() {
        Mnemonic::Insb | Mnemonic::Insw | Mnemonic::Insd => (DESTINATION, 0),
        Mnemonic::Outsb | Mnemonic::Outsw | Mnemonic::Outsd => (SOURCE, 1),
        _ => return Err(unsupported(bytes)),
    };
    let kind: OpKind = instruction.op_kind(operand);
    let (width, size) = (index_width(kind), instruction.memory_size().size());
    let repeats = instruction.has_rep_prefix() || instruction.has_repne_prefix();
    let port = registers.general[PORT] as u16;
    for _ in 0..STRING_LIMIT {
        let left = registers.general[COUNT] & mask(width);
        if repeats && left == 0 {
            break;
        }
        let address = registers.address(&instruction, operand, mode).ok_or(Refusal::NoInstruction)?;
        let mut element = [0; 4];
        let element = &mut element[..size.min(4)];
        let reached = if index == DESTINATION && !target.can_store(address, size) {
            false
        } else if index == DESTINATION {
            element.copy_from_slice(&target.input(port, size).to_le_bytes()[..size.min(4)]);
            target.store(address, element)
        } else {
            target.load(address, element)
        };
        if !reached {
            return Err(Refusal::NoMemory { address });
        }
        if index == SOURCE {
            let mut value = [0; 4];
            value[..element.len()].copy_from_slice(element);
            target.output(port, size, u32::from_le_bytes(value));
        }
        registers.advance(index, size, width);
        if !repeats {
            registers.step(&instruction, mode);
            return Ok(());
        }
        registers.set_part(COUNT, left - 1, width);
    }
    if registers.general[COUNT] & mask(width) == 0 {
        registers.step(&instruction, mode);
    }
    Ok(())
}
