//! A terminal: a stream of bytes in each direction.

use crate::sentences;
use userlib::ipc::LeaseError;
use userlib::{Value, interface};

/// Why a console did not read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub enum ConsoleError {
    /// What was lent could not be read or written.
    BadLease,
    /// The device does not answer.
    DeviceFailed,
    /// Somebody else is reading already.
    ReaderBusy,
}

sentences!(ConsoleError {
    BadLease => "the lent memory could not be read or written",
    DeviceFailed => "the console's device does not answer",
    ReaderBusy => "another client is reading from the console already",
});

impl From<LeaseError> for ConsoleError {
    fn from(_: LeaseError) -> Self {
        ConsoleError::BadLease
    }
}

/// How large a terminal is, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub struct ConsoleSize {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// A terminal.
#[interface(name = "console", version = 1)]
pub trait Console {
    /// Writes all the bytes, in order and not mixed with those of other calls; answers when the device, or its queue, has
    /// them all. If the server dies, an unknown part of them was written.
    fn write(bytes: &[u8]) -> Result<(), ConsoleError>;

    /// Reads what was typed, as it was typed: waits for at least one byte, and returns how many there are.
    fn read(bytes: &mut [u8]) -> Result<usize, ConsoleError>;

    /// Waits until everything written so far has left the device.
    #[idempotent]
    fn flush() -> Result<(), ConsoleError>;

    /// The terminal's size, if the device knows it.
    #[idempotent]
    fn size() -> Option<ConsoleSize>;
}
