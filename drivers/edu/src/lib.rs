//! The driver of `edu`, a device that QEMU has for teaching (QEMU, docs/specs/edu). It computes factorials and copies
//! memory, and raises an interrupt when it is done.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod device;
mod registers;

pub use device::{ADDRESS_BITS, Device, FACTORIAL_MAX, PIECE};
pub use registers::{COMPUTING, RUN, Registers};

use userlib::ipc::{Caller, ReadLease, WriteLease};
use userlib::{Value, interface};

/// What the driver can be asked for.
#[interface(name = "edu", version = 1)]
pub trait Edu {
    /// The factorial of `n`, at most [`FACTORIAL_MAX`].
    #[idempotent]
    fn factorial(n: u32) -> Result<u32, EduError>;

    /// Sends at most [`PIECE`] bytes to the device's memory and back to `copied`, which is as long.
    #[idempotent]
    fn copy(bytes: &[u8], copied: &mut [u8]) -> Result<(), EduError>;
}

/// Why the device has not done it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub enum EduError {
    /// The factorial has more than 32 bits.
    TooLarge,
    /// So many bytes do not fit, or what was lent cannot be used.
    BadLease,
    /// The device is still at work on something that was given up.
    Busy,
    /// The device does not say that it is done.
    Silent,
    /// Other bytes came back than were sent.
    Garbled,
}

impl core::fmt::Display for EduError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            EduError::TooLarge => "its factorial has more than 32 bits",
            EduError::BadLease => "so many bytes do not fit, or they cannot be reached",
            EduError::Busy => "the device is still at work on something else",
            EduError::Silent => "the device does not answer",
            EduError::Garbled => "the device has changed the bytes",
        })
    }
}

impl core::error::Error for EduError {}

impl EduServer for Device {
    async fn factorial(&self, _: &Caller, n: u32) -> Result<u32, EduError> {
        self.compute(n).await
    }

    async fn copy(&self, _: &Caller, bytes: ReadLease, copied: WriteLease) -> Result<(), EduError> {
        let bytes = bytes.to_vec(PIECE).map_err(|_| EduError::BadLease)?;
        let back = self.there_and_back(&bytes).await?;
        copied.write(0, &back).map_err(|_| EduError::BadLease)
    }
}
