//! The supervisor: builds every domain as the manifest says, watches it, and builds it again when it dies.
//!
//! It is at the bottom: it calls nobody, so nobody can make it wait. It hears of faults as messages, asks for signs of
//! life by notification, and reads what domains tell from their status pages, of which it believes nothing.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

#[cfg(target_os = "none")]
mod bus;
#[cfg(target_os = "none")]
mod death;
#[cfg(target_os = "none")]
mod fault;
#[cfg(target_os = "none")]
mod heartbeat;
#[cfg(target_os = "none")]
mod lifecycle;
#[cfg(target_os = "none")]
mod log_reader;
#[cfg(target_os = "none")]
mod power;
#[cfg(target_os = "none")]
mod program;
#[cfg(target_os = "none")]
mod service;
#[cfg(target_os = "none")]
mod state;

/// A build for the host only checks the package; there is nothing to run.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the supervisor runs in a Bulkhead domain only");
    std::process::exit(2);
}
