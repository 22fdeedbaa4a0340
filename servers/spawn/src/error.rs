//! Why a domain could not be built.

use abi::Error;
use abi::program::BuiltFor;
use alloc::string::String;
use core::fmt;
use userlib::memory::MapError;

/// Why a domain could not be built. What had been made of it is gone again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// The archive has no such program.
    NoProgram(String),
    /// The archive lacks another file.
    NoFile(String),
    /// The program's file cannot be loaded.
    BadProgram(&'static str),
    /// The program was built for another ABI than this system's.
    OtherAbi {
        /// What the program was built for.
        built_for: BuiltFor,
        /// What the system is.
        system: BuiltFor,
    },
    /// The domain's memory is too small for the program; both in pages.
    TooSmall {
        /// What it needs.
        needed: u64,
        /// What the manifest gives it.
        given: u64,
    },
    /// More is to be given to the domain than its start page can name.
    TooManyThings,
    /// The builder could not map memory into its own space.
    OwnMapping(MapError),
    /// The kernel refused a step.
    Refused {
        /// The step.
        step: &'static str,
        /// Why.
        error: Error,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::NoProgram(name) => write!(f, "the boot archive has no program '{name}'"),
            BuildError::NoFile(name) => write!(f, "the boot archive has no file '{name}': rebuild the image"),
            BuildError::BadProgram(why) => write!(f, "its program cannot be loaded: {why}"),
            BuildError::OtherAbi { built_for, system } => {
                write!(f, "its program was built for {built_for}, this system has {system}: rebuild it")
            }
            BuildError::TooSmall { needed, given } => {
                write!(f, "its program needs {} KiB of memory and the manifest gives it {} KiB", needed * 4, given * 4)
            }
            BuildError::TooManyThings => f.write_str("it is given more things than a start page can name"),
            BuildError::OwnMapping(error) => write!(f, "its memory could not be prepared: {error}"),
            BuildError::Refused { step, error } => write!(f, "the kernel refused to {step}: {error}"),
        }
    }
}

impl core::error::Error for BuildError {}

impl From<MapError> for BuildError {
    fn from(error: MapError) -> Self {
        BuildError::OwnMapping(error)
    }
}

/// Says at which step the kernel refused.
pub(crate) trait AtStep<T> {
    fn at(self, step: &'static str) -> Result<T, BuildError>;
}

impl<T> AtStep<T> for Result<T, Error> {
    fn at(self, step: &'static str) -> Result<T, BuildError> {
        self.map_err(|error| BuildError::Refused { step, error })
    }
}
