//! Why a driver has no device.

use crate::TooShort;
use core::fmt;
use interfaces::pci::PciError;
use userlib::environment::{InterruptError, NotGiven};
use userlib::ipc::RetriedError;
use userlib::memory::MapError;

/// Why a driver cannot use its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// The manifest does not give the domain something that its driver needs.
    NotGiven(NotGiven),
    /// The manifest gives the domain fewer interrupts, or ranges of ports, than its driver needs.
    TooFew {
        /// What there is too little of.
        what: &'static str,
        /// The number that was asked for, counted from 0.
        number: usize,
        /// How many there are.
        given: usize,
    },
    /// The PCI server refused, or could not be reached.
    Pci {
        /// What it was asked for.
        step: &'static str,
        /// Why not.
        error: RetriedError<PciError>,
    },
    /// Registers or memory cannot be mapped.
    Map {
        /// What.
        what: &'static str,
        /// Why not.
        error: MapError,
    },
    /// An interrupt cannot be used.
    Interrupt(InterruptError),
    /// The device has fewer registers than its driver needs.
    TooShort(TooShort),
    /// Less memory is left that may be shared with the device.
    NoMemory {
        /// Bytes that were asked for.
        bytes: usize,
    },
    /// The memory that may be shared with the device lies where it cannot reach it.
    OutOfReach {
        /// Where it lies.
        address: u64,
        /// Bits of an address that the device can use.
        bits: u32,
    },
    /// The device does not answer any more: it was taken out, or has lost its power.
    Gone,
    /// The device is not what its driver is for, or is out of order: what is wrong with it.
    Unfit(&'static str),
}

impl AttachError {
    /// Whether another start may succeed at once: what went wrong lies with another domain, which may answer otherwise then. The
    /// supervisor starts no driver whose device is not there, so that goes for an answer that says so, and for a device that
    /// has gone meanwhile, too.
    pub fn may_pass(&self) -> bool {
        matches!(self, AttachError::Pci { .. } | AttachError::Gone)
    }
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttachError::NotGiven(missing) => missing.fmt(f),
            AttachError::TooFew { what, number, given } => write!(
                f,
                "the driver needs {what} {number} (counted from 0) and has {given}: the manifest says what it is given"
            ),
            AttachError::Pci { step, error } => write!(f, "the PCI server could not {step}: {error}"),
            AttachError::Map { what, error } => write!(f, "{what} cannot be mapped: {error}"),
            AttachError::Interrupt(error) => error.fmt(f),
            AttachError::TooShort(error) => error.fmt(f),
            AttachError::NoMemory { bytes } => {
                write!(f, "no {bytes} bytes are left of the memory that may be shared with the device")
            }
            AttachError::OutOfReach { address, bits } => {
                write!(f, "the shared memory at {address:#x} is beyond the {bits} bits that the device can address")
            }
            AttachError::Gone => f.write_str("the device does not answer any more: it was taken out"),
            AttachError::Unfit(reason) => write!(f, "the device cannot be used: {reason}"),
        }
    }
}

impl core::error::Error for AttachError {}

impl From<NotGiven> for AttachError {
    fn from(missing: NotGiven) -> Self {
        AttachError::NotGiven(missing)
    }
}

impl From<InterruptError> for AttachError {
    fn from(error: InterruptError) -> Self {
        AttachError::Interrupt(error)
    }
}

impl From<TooShort> for AttachError {
    fn from(error: TooShort) -> Self {
        AttachError::TooShort(error)
    }
}
