//! The kernel's decisions on a machine made of maps.
//!
//! [`Machine`] plays the hardware shell: it brings system calls, faults, interrupts and time to the real core and
//! carries its effects out on [`world::FakeWorld`]. Tests drive it by hand; [`search`] drives it exhaustively.
#![forbid(unsafe_code)]

pub mod alphabet;
pub mod depth_first;
pub mod event;
pub mod fingerprint;
pub mod law;
pub mod machine;
pub mod reference;
pub mod scenarios;
pub mod script;
pub mod search;
pub mod sizes;
pub mod table;
pub mod tree;
pub mod view;
pub mod walk;
mod watch;
pub mod world;

pub use machine::{Machine, Outcome};
pub use watch::explain_panics;
