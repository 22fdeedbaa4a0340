//! What the supervisor answers and decides, apart from what it does: so that it is tested on the host.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod backtrace;
mod escalation;
mod line;
mod mutations;
mod notes;
mod records;
mod service;
mod topology;

pub use backtrace::{Place, backtrace};
pub use escalation::{Escalation, Life, Verdict};
pub use line::Line;
pub use mutations::Mutations;
pub use notes::{Adoption, Notes, OwnNotes, Standing, shortened};
pub use records::CrashRecords;
pub use service::{Household, Requests};
pub use topology::{BusRegisters, Topology, express_capability};
