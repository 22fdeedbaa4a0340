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

/// What an answer holds of what was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub struct Typed {
    /// Bytes that were put into the caller's memory. 0 only if there is no room in it, or if this instance of the server
    /// knows nothing of the position that was asked from.
    pub length: u32,
    /// Where in all that was typed the next byte lies: from there the next call asks.
    pub next: u64,
}

/// A terminal.
#[interface(name = "console", version = 2)]
pub trait Console {
    /// Writes all the bytes, in order and not mixed with those of other calls; answers when the device, or its queue, has
    /// them all. If the server dies, an unknown part of them was written.
    fn write(bytes: &[u8]) -> Result<(), ConsoleError>;

    /// Reads what was typed, as it was typed, from the position `from` on, which counts typed bytes: waits for at least one.
    /// To ask from `next` of an answer on says that what lies before has arrived, and is forgotten; until then the same client
    /// gets the same bytes again if it asks again from the same position, so that nothing is lost with an answer that came too
    /// late. Another client, or another life of the same one, gets none of them: when it asks, they count as arrived.
    ///
    /// A reader begins at 0, or anywhere. What was forgotten is passed over. Each instance of the server counts from a position
    /// of its own; where it knows nothing of `from`, it answers at once, with no bytes and the position from which to ask.
    #[idempotent]
    fn read(from: u64, bytes: &mut [u8]) -> Result<Typed, ConsoleError>;

    /// Waits until everything written so far has left the device.
    #[idempotent]
    fn flush() -> Result<(), ConsoleError>;

    /// The terminal's size, if the device knows it.
    #[idempotent]
    fn size() -> Option<ConsoleSize>;
}
