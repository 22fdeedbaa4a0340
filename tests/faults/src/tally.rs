//! How far the workloads of a campaign have come.

use userlib::{Value, interface};

/// What a workload has done since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Value)]
pub struct Progress {
    /// Rounds that came to their end, each of which used every service that the workload uses.
    pub rounds: u64,
    /// Operations that succeeded, and whose results were as they should be.
    pub operations: u64,
    /// Operations that ended with an error.
    pub errors: u64,
    /// Operations that seemed to succeed, and whose results were wrong.
    pub wrong: u64,
}

impl Progress {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            rounds: self.rounds + other.rounds,
            operations: self.operations + other.operations,
            errors: self.errors + other.errors,
            wrong: self.wrong + other.wrong,
        }
    }
}

/// Keeps what workloads report.
#[interface(name = "tally", version = 1)]
pub trait Tally {
    /// This is how far the calling workload has come; takes the place of what it last reported.
    #[idempotent]
    fn report(progress: Progress);

    /// All workloads together.
    #[idempotent]
    fn read() -> Progress;
}
