//! The server itself.

use core::cell::Cell;
use interfaces::echo::{EchoError, EchoServer, Misbehaviour};
use userlib::ipc::{Caller, ReadLease, WriteLease};
use userlib::time::Duration;
use userlib::{executor, log, thread};

/// Bytes that are copied at once.
const PIECE: usize = 4096;

/// The server's state.
#[derive(Default)]
pub(crate) struct Echo {
    counted: Cell<u64>,
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
        log::warn!("asked to misbehave: {kind:?}");
        match kind {
            Misbehaviour::Panic => panic!("asked to panic"),
            Misbehaviour::WildPointer => userlib::mishap::wild_pointer(),
            Misbehaviour::Hang => userlib::mishap::hang(),
            Misbehaviour::Exit => thread::exit(7),
            Misbehaviour::Silence => core::future::pending().await,
            Misbehaviour::BlameCaller => {
                // A caller that is gone cannot be blamed; one that was blamed gets no answer.
                let _ = caller.fault(7);
            }
        }
    }
}
