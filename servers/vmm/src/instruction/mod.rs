//! Instructions by which a guest accesses a device, carried out in its place.
//!
//! The processor stops the guest in front of an instruction that reaches for memory that is not there, and says where. The
//! rest, which register holds or gets the value and what becomes of the flags, is in the instruction's bytes.

mod flags;
mod memory;
mod registers;
mod string;

pub use memory::{Target, emulate};
pub use registers::{Mode, Registers};
pub use string::{PortTarget, STRING_LIMIT, emulate_port_string};

use core::fmt;
use iced_x86::{Decoder, DecoderOptions, Instruction};

/// The most bytes that an instruction has.
pub const MAX_BYTES: usize = 15;

/// Why an instruction was not carried out. Registers and device are as they were before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The bytes are no instruction, or only the beginning of one.
    NoInstruction,
    /// It is none of those that are carried out here. The guest is to blame: devices are not for it.
    Unsupported {
        /// Its first bytes.
        bytes: [u8; 4],
    },
    /// It accesses memory across the border of a page.
    CrossesPage {
        /// The linear address of the access.
        address: u64,
    },
    /// The guest's own memory is not there, at this linear address: a page fault in the guest.
    NoMemory {
        /// The linear address.
        address: u64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInstruction => write!(f, "what the guest executes for a device is no instruction"),
            Self::Unsupported { bytes } => {
                write!(f, "the guest's instruction for a device, which begins with {bytes:02x?}, is not emulated")
            }
            Self::CrossesPage { address } => {
                write!(f, "the guest accesses a device across a page border, at {address:#x}")
            }
            Self::NoMemory { address } => write!(f, "the guest's memory at linear address {address:#x} is not there"),
        }
    }
}

impl core::error::Error for Refusal {}

fn decode(bytes: &[u8], mode: Mode, registers: &Registers) -> Result<Instruction, Refusal> {
    let bytes = &bytes[..bytes.len().min(MAX_BYTES)];
    let mut decoder = Decoder::with_ip(mode.bits(), bytes, registers.instruction, DecoderOptions::NONE);
    let instruction = decoder.decode();
    if instruction.is_invalid() { Err(Refusal::NoInstruction) } else { Ok(instruction) }
}

fn unsupported(bytes: &[u8]) -> Refusal {
    let mut first = [0; 4];
    first.iter_mut().zip(bytes).for_each(|(first, byte)| *first = *byte);
    Refusal::Unsupported { bytes: first }
}
