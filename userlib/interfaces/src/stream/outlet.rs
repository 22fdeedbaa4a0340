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
