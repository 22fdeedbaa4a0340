//! What came of one call, and whether two outcomes are the same as far as they can be.

use abi::{Error, Syscall};
use core::fmt;

/// What came of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What the call left in `rax`, `rdi`, `rsi` and `rdx`.
    pub results: [u64; 4],
    /// A checksum of what the call wrote to memory, where that is compared; else 0.
    pub written: u64,
}

/// Which results of a call that succeeded are the same on every machine. Not among them: handles of the root's table
/// and ids of mappings, which depend on what else there is, the time, places in memory, and what devices say.
const fn compared(syscall: Syscall) -> [bool; 4] {
    use Syscall as S;
    match syscall {
        S::CapCopy | S::CapGrant | S::CapMove | S::MemorySplit | S::PortsSplit | S::Map => [false, true, true, true],
        S::AccountCreate | S::EndpointCreate | S::NotificationCreate | S::BudgetCreate => [false, true, true, true],
        S::SpaceCreate | S::DomainCreate | S::ThreadCreate | S::InterruptCreate => [false, true, true, true],
        S::MemoryInfo => [false, true, true, true],
        S::CapInspect => [true, true, true, false],
        S::Clock | S::LogRead | S::InterruptMessage | S::PortIn => [false, false, false, false],
        _ => [true; 4],
    }
}

impl Outcome {
    /// Why the call was refused, if it was.
    pub fn error(&self) -> Option<Error> {
        Error::from_register(self.results[0]).err()
    }

    /// Whether this and another outcome of the same call are the same, but for what depends on the machine.
    pub fn agrees_with(&self, other: &Outcome, syscall: Syscall) -> bool {
        if self.error().is_some() || other.error().is_some() {
            return self == other;
        }
        let same = |place: usize| !compared(syscall)[place] || self.results[place] == other.results[place];
        (0..4).all(same) && self.written == other.written
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error() {
            Some(Error::NeedTables) => write!(f, "NeedTables {}", self.results[1]),
            Some(error) => write!(f, "{error:?}"),
            None => {
                let last = self.results.iter().rposition(|result| *result != 0).unwrap_or(0);
                for (place, result) in self.results.iter().take(last + 1).enumerate() {
                    write!(f, "{}{result:#x}", if place > 0 { " " } else { "" })?;
                }
                if self.written == 0 { Ok(()) } else { write!(f, " wrote {:#x}", self.written) }
            }
        }
    }
}
