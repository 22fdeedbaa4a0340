//! What the programs of a fault-injection campaign have in common.
//!
//! * `injector` takes batches of changes from the host through a serial line of its own, has the supervisor make them, and tells
//!   what became of them;
//! * `work` uses the system's services without end and checks everything it reads: any workload may take its place that
//!   reports to `tally`;
//! * `tally` keeps what workloads report, so that the injector, who must not wait for them, can look.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod order;
pub mod pattern;
pub mod tally;
