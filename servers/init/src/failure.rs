//! Why the system cannot be assembled.

use alloc::string::String;
use archive::ArchiveError;
use core::fmt;
use manifest::DecodeError;
use spawn::BuildError;
use userlib::abi::Error;
use userlib::memory::MapError;

/// Why the system cannot be assembled.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The boot archive is broken although the loader accepted it.
    Archive(ArchiveError),
    /// The boot archive has no compiled manifest.
    NoManifest,
    /// The compiled manifest cannot be read.
    Manifest(DecodeError),
    /// There is not enough contiguous memory, in pages.
    OutOfMemory {
        /// For what.
        purpose: String,
        /// How many pages.
        pages: u64,
    },
    /// The kernel refused a step.
    Refused {
        /// The step.
        step: &'static str,
        /// For which part of the manifest.
        part: String,
        /// Why.
        error: Error,
    },
    /// Memory could not be mapped to be cleared.
    OwnMapping {
        /// For what.
        purpose: String,
        /// Why.
        error: MapError,
    },
    /// The supervisor cannot be built.
    Supervisor(BuildError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Archive(error) => write!(f, "the boot archive is damaged: {error}"),
            Failure::NoManifest => f.write_str("the boot archive has no manifest; build the image again"),
            Failure::Manifest(error) => write!(f, "the manifest cannot be read: {error}"),
            Failure::OutOfMemory { purpose, pages } => write!(
                f,
                "there are no {} KiB of contiguous memory left for {purpose}; give the machine more memory or the \
                 manifest's domains less",
                pages * 4
            ),
            Failure::Refused { step, part, error } => write!(f, "the kernel refused to {step} for '{part}': {error}"),
            Failure::OwnMapping { purpose, error } => write!(f, "memory for '{purpose}' cannot be cleared: {error}"),
            Failure::Supervisor(error) => write!(f, "the supervisor cannot be started: {error}"),
        }
    }
}

impl core::error::Error for Failure {}

/// Says at which step, and for what, the kernel refused.
pub(crate) trait AtStep<T> {
    /// Names the step and the part of the manifest.
    ///
    /// # Errors
    /// [`Failure::Refused`].
    fn at(self, step: &'static str, part: &str) -> Result<T, Failure>;
}

impl<T> AtStep<T> for Result<T, Error> {
    fn at(self, step: &'static str, part: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::Refused { step, part: part.into(), error })
    }
}
