//! Fault-injection campaigns: the machine code of running domains is changed while a workload uses them and checks everything
//! it reads, and it is seen who notices.
//!
//! * [`operator`]: the kinds of fault; `program`: the instructions they are applied to; `crossing`: those of system calls,
//!   `profile`: which of these are made;
//! * `subject`: a machine with the line to its injector, `answer`: what that tells;
//! * [`verdict`]: what became of a batch of faults;
//! * `campaign`: many batches in several machines at once; `culprit`: which fault of a batch it was;
//! * [`record`]: what is kept; `report`: what is told.

mod answer;
mod campaign;
mod crossing;
mod culprit;
pub mod operator;
mod profile;
mod program;
mod random;
pub mod record;
mod report;
mod subject;
pub mod verdict;

use std::io;
use std::path::PathBuf;

use crate::build::BuildError;
use crate::console::ConsoleError;
use crate::disk::DiskError;
use crate::setup::SetupError;

pub use campaign::{Outcome, Plan, WORKLOAD, replay, run};

/// Why a campaign could not be carried out. That faults were not survived is none of these.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// Something is missing.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The system could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// No disk could be made.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The machine could not be started.
    #[error(transparent)]
    Console(#[from] ConsoleError),
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A record could not be written.
    #[error("a record cannot be written: {0}")]
    Format(#[from] serde_json::Error),
    /// There is no such domain whose code could be changed.
    #[error("there is no domain `{name}` whose code can be changed; there are: {known}")]
    NoTarget {
        /// The name that was given.
        name: String,
        /// Those that can be.
        known: String,
    },
    /// A program has no code that could be changed.
    #[error("{}: {why}", path.display())]
    Program {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing of a program has a fault of the chosen kinds.
    #[error("no instruction of `{0}` can have a fault of the chosen kinds; choose more of them")]
    NoSite(String),
    /// The system does not come up without any fault.
    #[error("the system does not work even without faults: {why}; it has shown:\n{shown}")]
    NoBoot {
        /// What was missing.
        why: String,
        /// What the machine showed.
        shown: String,
    },
    /// The injector refuses a batch.
    #[error("the injector in the machine refuses a batch for `{target}`: {reason}")]
    Refused {
        /// The domain.
        target: String,
        /// Its reason.
        reason: String,
    },
    /// The folder has another campaign.
    #[error("{} has another campaign, or one of another system: choose another folder with --report, or remove it", .0.display())]
    OtherCampaign(PathBuf),
    /// A record cannot be read.
    #[error("{}: no record of a batch: {why}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A record is of another build of the program.
    #[error(
        "the record is of another build of `{target}`: at {address:#x} there is {found}, not {recorded}; build the sources that it was made with"
    )]
    OtherProgram {
        /// The domain.
        target: String,
        /// Where they differ.
        address: u64,
        /// What is there.
        found: String,
        /// What was there.
        recorded: String,
    },
}

impl FaultError {
    /// Whether it is the command that has to be changed, not the system.
    pub const fn is_argument(&self) -> bool {
        matches!(
            self,
            Self::NoTarget { .. }
                | Self::NoSite(_)
                | Self::OtherCampaign(_)
                | Self::Record { .. }
                | Self::OtherProgram { .. }
        )
    }
}
