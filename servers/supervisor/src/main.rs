//! The supervisor: builds every domain as the manifest says, watches it, and builds it again when it dies.
//!
//! It is at the bottom: it calls nobody, so nobody can make it wait. It hears of faults as messages, asks for signs of
//! life by notification, and reads what domains tell from their status pages, of which it believes nothing.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod adoption;
mod bus;
mod code;
mod crash;
mod death;
mod devices;
mod fault;
mod heartbeat;
mod household;
mod lifecycle;
mod log_reader;
mod power;
mod program;
mod removal;
mod state;

userlib::entry!(program::main);
