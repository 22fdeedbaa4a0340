//! Bytes in both directions between a client and somebody behind a server, who need not know what they mean.

mod outlet;
mod transcript;

pub use outlet::Outlet;

use crate::sentences;
use userlib::ipc::LeaseError;
use userlib::{Value, interface};

/// Why bytes did not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub enum StreamError {
    /// Nobody is at the other end.
    Closed,
    /// What was lent could not be read or written.
    BadLease,
}

sentences!(StreamError {
    Closed => "nobody is at the other end of the stream",
    BadLease => "the lent memory could not be read or written",
});

impl From<LeaseError> for StreamError {
    fn from(_: LeaseError) -> Self {
        StreamError::BadLease
    }
}

/// A piece of what came from the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub struct Received {
    /// Bytes that were put into the caller's memory; 0 if nothing came for a while.
    pub length: u32,
    /// Position of the next byte, in all that ever came.
    pub next: u64,
    /// Bytes that came before and are forgotten, because nobody asked for them in time.
    pub lost: u64,
}

/// A stream.
#[interface(name = "stream", version = 1)]
pub trait Stream {
    /// Sends bytes to the other end, in order. Returns how many were taken: the rest is to be sent again. 0 were taken if the
    /// other end has to read first, or the caller has to receive what it was answered.
    fn send(bytes: &[u8]) -> Result<u32, StreamError>;

    /// What the other end has sent, from the position `from` on, which counts all bytes since the server started: waits for a
    /// byte, for up to half a second. A position behind the end stands for the end, and is answered at once if there is no room in
    /// `bytes`: so one finds where what comes next begins. While the client that has asked last asks again and again nothing is lost: the
    /// other end waits instead.
    #[idempotent]
    fn receive(from: u64, bytes: &mut [u8]) -> Result<Received, StreamError>;
}
