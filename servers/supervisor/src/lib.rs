//! What the supervisor answers and decides, apart from what it does: so that it is tested on the host.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod backtrace;
mod mutations;
mod service;
mod topology;

pub use backtrace::{Place, backtrace};
pub use mutations::{ARM, Mutations};
pub use service::{Household, Line, Requests};
pub use topology::{BusRegisters, Topology, express_capability};
