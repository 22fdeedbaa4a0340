//! What the supervisor answers, apart from what it does: so that its answers are tested on the host.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod service;

pub use service::{Household, Line, Requests};
