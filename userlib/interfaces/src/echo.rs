//! A server to try things out with: it answers, counts, copies, and breaks in every way on request.

use crate::sentences;
use userlib::ipc::LeaseError;
use userlib::{Value, interface};

/// Why bytes were not echoed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub enum EchoError {
    /// The output is shorter than the input.
    TooShort,
    /// What was lent could not be read or written.
    BadLease,
}

sentences!(EchoError {
    TooShort => "the output is shorter than the input",
    BadLease => "the lent memory could not be read or written",
});

impl From<LeaseError> for EchoError {
    fn from(_: LeaseError) -> Self {
        EchoError::BadLease
    }
}

/// A way to break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub enum Misbehaviour {
    /// Panics.
    Panic,
    /// Writes through a wild pointer.
    WildPointer,
    /// Loops for ever, so that heartbeats are missed.
    Hang,
    /// Ends its thread.
    Exit,
    /// Never answers this call, but goes on with others.
    Silence,
    /// Blames the caller for breaking the protocol.
    BlameCaller,
}

/// Echo.
#[interface(name = "echo", version = 1)]
pub trait Echo {
    /// Returns the value.
    #[idempotent]
    fn ping(value: u64) -> u64;

    /// How often this instance of the server was asked this, the present time included.
    fn count() -> u64;

    /// Copies the input to the output and returns its length.
    fn echo(input: &[u8], output: &mut [u8]) -> Result<usize, EchoError>;

    /// Answers with the value after a number of milliseconds, and serves others meanwhile.
    #[idempotent]
    fn later(milliseconds: u64, value: u64) -> u64;

    /// Breaks in the given way.
    fn misbehave(kind: Misbehaviour);
}
