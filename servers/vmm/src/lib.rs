//! What a virtual-machine monitor shows its guest, without the machine that runs it: models of devices, emulation of
//! the instructions that reach them, and how Linux is started.
//!
//! Everything here is a state machine of safe code. Accesses of the guest come in as calls, time as a parameter in
//! nanoseconds, and what follows (an interrupt, a deadline, a request to a disk) is asked for by the caller. The guest
//! is not trusted: no access, no queue and no image makes the library panic, loop without end, or hold more memory
//! than it says.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

pub mod board;
pub mod boot;
pub mod instruction;
pub mod interrupt;
pub mod memory;
pub mod pci;
pub mod power;
pub mod processor;
pub mod serial;
pub mod timer;
pub mod virtio;
