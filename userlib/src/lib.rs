//! What every domain is written against.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`sys`] | the kernel's system calls as they are |
//! | [`cap`] | capabilities by kind, with a method for every call |
//! | [`start`], [`environment`] | what a domain is given when it starts, for its builder and for itself |
//! | [`status`] | the page by which a supervisor watches it: phase, heartbeat, panic message, log |
//! | [`ipc`] | messages, clients and servers; [`macro@interface`] writes them from a trait |
//! | [`executor`] | one thread on which calls, bits, interrupts and timers are futures |
//! | [`memory`] | mappings, shared memory, device registers, memory for DMA |
//! | [`time`] | time since boot |
//!
//! A domain's program looks like this:
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//! userlib::entry!(main);
//!
//! fn main(environment: &'static userlib::Environment) -> ! {
//!     let endpoint = environment.provides("echo").expect("the manifest lets echo provide itself");
//!     userlib::executor::serve(endpoint, EchoService::new(Echo::default())).expect("it is the only one");
//!     userlib::executor::run_forever()
//! }
//! ```
#![cfg_attr(target_os = "none", no_std)]

extern crate alloc;
// The macros name this crate, within itself too.
extern crate self as userlib;

pub mod cap;
pub mod environment;
pub mod executor;
#[cfg(not(target_os = "none"))]
pub mod host;
pub mod ipc;
pub mod memory;
#[cfg(target_os = "none")]
pub mod program;
pub mod start;
pub mod status;
pub mod sys;
pub mod thread;
pub mod time;

pub use abi;
pub use environment::Environment;
pub use log;
