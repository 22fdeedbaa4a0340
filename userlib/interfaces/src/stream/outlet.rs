//! The server's end of what clients receive.

use super::Received;
use super::transcript::Transcript;
use core::cell::{Cell, RefCell};
use userlib::executor;
use userlib::ipc::{LeaseError, WriteLease};
use userlib::sync::{Event, either};
use userlib::time::{Duration, Instant};

/// How long a client waits for a byte.
const WAIT: Duration = Duration::from_millis(500);
/// Bytes that are moved at once.
const PIECE: usize = 512;

/// What was sent to a client who reads it by position: the last 64 KiB of it, whether somebody reads or not.
#[derive(Debug, Default)]
pub struct Outlet {
    transcript: RefCell<Transcript>,
    /// Something was sent.
    sent: Event,
    /// How far the last client has read, and when that was.
    reader: Cell<Option<(u64, Instant)>>,
}

impl Outlet {
    /// Nothing has been sent yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// After so long without being asked a client is not waited for any more.
    pub const PATIENCE: Duration = Duration::from_millis(1500);

    /// Whether so many bytes have to wait, because somebody reads who would lose others by them.
    pub fn is_full_for(&self, bytes: usize) -> bool {
        let reader = self.reader.get().filter(|(_, at)| at.elapsed() < Self::PATIENCE);
        reader.is_some_and(|(position, _)| self.transcript.borrow().room_for(position) < bytes)
    }

    /// Sends bytes.
    pub fn send(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.transcript.borrow_mut().add(bytes);
            self.sent.signal();
        }
    }

    /// Forgets what was sent: what follows is somebody else's.
    pub fn forget(&self) {
        self.transcript.borrow_mut().forget();
    }

    /// Gives a client what was sent from a position on; waits for a byte, but not for long. `refill` is called before each look: it
    /// may send what had to wait.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn receive(&self, from: u64, bytes: &WriteLease, refill: impl Fn()) -> Result<Received, LeaseError> {
        let (room, mut from, mut lost) = (bytes.length()?, from, None);
        let until = Instant::now() + WAIT;
        loop {
            let sent = self.sent.next();
            self.reader.set(Some((from, Instant::now())));
            refill();
            let (mut done, mut next) = (0, from);
            loop {
                let mut piece = [0; PIECE];
                let part = self.transcript.borrow().read(next, &mut piece[..PIECE.min(room - done)]);
                lost.get_or_insert(part.lost);
                next = part.next;
                if part.length == 0 {
                    break;
                }
                bytes.write(done, &piece[..part.length])?;
                done += part.length;
            }
            // What was given has arrived when the client asks for what lies behind it.
            if done > 0 || room == 0 || Instant::now() >= until {
                return Ok(Received { length: done as u32, next, lost: lost.unwrap_or(0) });
            }
            // A position behind the end was the end.
            from = next;
            either(sent, executor::sleep_until(until)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{StreamDouble, StreamError, StreamServer};
    use super::*;
    use alloc::rc::Rc;
    use userlib::ipc::{Caller, ReadLease};

    /// Says a word, a moment after it was asked for one.
    #[derive(Default)]
    struct Hesitant(Rc<Outlet>);

    impl StreamServer for Hesitant {
        async fn send(&self, _: &Caller, _: ReadLease) -> Result<u32, StreamError> {
            Ok(0)
        }

        async fn receive(&self, _: &Caller, from: u64, bytes: WriteLease) -> Result<Received, StreamError> {
            let outlet = self.0.clone();
            executor::spawn(async move {
                executor::yield_now().await;
                outlet.send(b"word");
            });
            Ok(self.0.receive(from, &bytes, || {}).await?)
        }
    }

    #[test]
    fn whoever_waits_behind_the_end_gets_what_comes_next() {
        let double = StreamDouble::new(Hesitant::default());
        let mut bytes = [0; 8];
        for round in 1..4 {
            let received = double.client().receive(u64::MAX, &mut bytes).unwrap();
            assert_eq!(received, Received { length: 4, next: 4 * round, lost: 0 });
            assert_eq!(&bytes[..4], b"word");
        }
    }

    #[test]
    fn what_would_push_out_what_a_reader_has_not_seen_has_to_wait() {
        let outlet = Rc::new(Outlet::new());
        let double = StreamDouble::new(Hesitant(outlet.clone()));
        let all = 64 << 10;
        assert!(!outlet.is_full_for(usize::MAX), "nobody reads");
        double.client().receive(0, &mut [0; 8]).unwrap();
        assert!(outlet.is_full_for(all), "the client has not said that it has the word");
        assert!(!outlet.is_full_for(all - 4));
    }
}
