//! Why a guest is not switched on.

use core::fmt;
use interfaces::guest::GuestError;
use userlib::abi::Error;
use userlib::guest::VcpuError;
use vmm::boot::BootError;

/// Why a guest is not switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartFailure {
    /// It is on already.
    On,
    /// The machine runs no guests.
    NoHardware,
    /// The kernel has not made its space.
    Space(Error),
    /// A processor was not made.
    Processor(VcpuError),
    /// What is to be started cannot be.
    Boot(BootError),
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartFailure::On => write!(f, "it runs already"),
            StartFailure::NoHardware => GuestError::NoHardware.fmt(f),
            StartFailure::Space(error) => write!(f, "the kernel did not make its space: {error}"),
            StartFailure::Processor(error) => error.fmt(f),
            StartFailure::Boot(error) => error.fmt(f),
        }
    }
}

impl From<StartFailure> for GuestError {
    fn from(failure: StartFailure) -> Self {
        match failure {
            StartFailure::On => GuestError::On,
            StartFailure::NoHardware => GuestError::NoHardware,
            StartFailure::Space(_) | StartFailure::Processor(_) => GuestError::NoResources,
            StartFailure::Boot(_) => GuestError::BadKernel,
        }
    }
}
