//! A server that answers, counts, copies, and breaks in every way on request: the smallest example of a server, and what
//! tests of supervision break.
#![no_std]
#![forbid(unsafe_code)]

use core::cell::Cell;
use interfaces::echo::{EchoError, EchoServer, Misbehaviour};
use userlib::executor;
use userlib::ipc::{Caller, ReadLease, WriteLease};
use userlib::time::Duration;

/// Bytes that are copied at once.
const PIECE: usize = 4096;

/// The server's state.
#[derive(Debug)]
pub struct Echo {
    counted: Cell<u64>,
    break_down: fn(Misbehaviour),
}

impl Echo {
    /// A server that has not been asked anything. `break_down` does what ends or stops a domain; it may return where
    /// there is none.
    pub const fn new(break_down: fn(Misbehaviour)) -> Self {
        Self { counted: Cell::new(0), break_down }
    }
}

impl EchoServer for Echo {
    async fn ping(&self, _: &Caller, value: u64) -> u64 {
        value
    }

    async fn count(&self, _: &Caller) -> u64 {
        self.counted.set(self.counted.get() + 1);
        self.counted.get()
    }

    async fn echo(&self, _: &Caller, input: ReadLease, output: WriteLease) -> Result<usize, EchoError> {
        let length = input.length()?;
        if output.length()? < length {
            return Err(EchoError::TooShort);
        }
        let mut piece = [0; PIECE];
        let mut done = 0;
        while done < length {
            let count = PIECE.min(length - done);
            input.read(done, &mut piece[..count])?;
            output.write(done, &piece[..count])?;
            done += count;
            executor::yield_now().await;
        }
        Ok(length)
    }

    async fn later(&self, _: &Caller, milliseconds: u64, value: u64) -> u64 {
        executor::sleep(Duration::from_millis(milliseconds)).await;
        value
    }

    async fn misbehave(&self, caller: &Caller, kind: Misbehaviour) {
        match kind {
            Misbehaviour::Silence => core::future::pending().await,
            Misbehaviour::BlameCaller => {
                // A caller that is gone cannot be blamed; one that was blamed gets no answer.
                let _ = caller.fault(7);
            }
            kind => (self.break_down)(kind),
        }
    }
}
