//! The serial port as a console.
//!
//! * [`registers`]: the 16550's registers, by I/O ports or by a test's double;
//! * [`device`]: what is done with them: start, interrupt service, back-pressure;
//! * [`queue`]: bytes on their way;
//! * [`delivery`]: which of the typed ones have arrived at their reader;
//! * [`console`]: the console that clients call.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod console;
pub mod delivery;
pub mod device;
pub mod queue;
pub mod registers;
