//! A guest's processor, as its monitor sees it between two runs: registers, what it says of itself, and what becomes of each
//! reason to leave the guest.

mod clock;
mod end_of_interrupt;
mod exit;
mod identification;
mod model_specific;
mod paging;
mod registers;

pub use clock::GuestClock;
pub use exit::{Fatal, Outcome, Processor};
pub use identification::{Host, Identification};
pub use model_specific::ModelSpecific;
pub use paging::translate;
pub use registers::{begin, mode, read_registers, write_registers};
