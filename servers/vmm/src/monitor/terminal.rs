//! A terminal of the guest's: what it writes there, and what was typed and it has not taken yet.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cell::RefCell;
use interfaces::stream::{Outlet, Received};
use userlib::ipc::{LeaseError, ReadLease, WriteLease};

/// How many bytes that were typed wait for the guest.
const TYPED: usize = 4096;
/// Bytes that are moved at once.
const PIECE: usize = 512;

/// A terminal.
#[derive(Debug, Default)]
pub(super) struct Terminal {
    output: Outlet,
    typed: RefCell<VecDeque<u8>>,
}

impl Terminal {
    /// A machine was switched on: what was typed before was not for it.
    pub(super) fn begin(&self) {
        self.typed.borrow_mut().clear();
    }

    /// Forgets what was written.
    pub(super) fn forget(&self) {
        self.output.forget();
    }

    /// Takes what the guest has written, at most so many bytes, unless somebody reads who has not come so far yet. Returns how many
    /// they were.
    pub(super) fn drain(&self, most: usize, take: impl FnOnce() -> Vec<u8>) -> usize {
        if self.output.is_full_for(most) {
            return 0;
        }
        let written = take();
        self.output.send(&written);
        written.len()
    }

    /// Takes the last that the guest has written, whoever reads: who has not come so far loses the oldest of it.
    pub(super) fn end(&self, written: &[u8]) {
        self.output.send(written);
    }

    /// Gives the guest what was typed. `offer` returns how many bytes it has taken; and so does this.
    pub(super) fn feed(&self, offer: impl FnOnce(&[u8]) -> usize) -> usize {
        let mut typed = self.typed.borrow_mut();
        if typed.is_empty() {
            return 0;
        }
        let taken = offer(typed.make_contiguous());
        typed.drain(..taken);
        taken
    }

    /// Types what a client has lent. Returns how many bytes were taken.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub(super) fn type_in(&self, bytes: &ReadLease) -> Result<usize, LeaseError> {
        let mut typed = self.typed.borrow_mut();
        let length = bytes.length()?.min(TYPED.saturating_sub(typed.len()));
        let (mut done, mut piece) = (0, [0; PIECE]);
        while done < length {
            let count = PIECE.min(length - done);
            bytes.read(done, &mut piece[..count])?;
            typed.extend(&piece[..count]);
            done += count;
        }
        Ok(length)
    }

    /// Gives a client what was written ([`Outlet::receive`]).
    ///
    /// # Errors
    /// [`LeaseError`].
    pub(super) async fn read(&self, from: u64, bytes: &WriteLease, refill: impl Fn()) -> Result<Received, LeaseError> {
        self.output.receive(from, bytes, refill).await
    }
}
