//! A server of values by their keys: provides `stream`, in which clients ask by lines (`keyvalue_store`).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::cell::RefCell;
use interfaces::stream::{Outlet, Received, StreamError, StreamServer};
use keyvalue_store::{Conversation, READY, Store};
use userlib::ipc::{Caller, ReadLease, WriteLease};

/// Bytes of what is asked that are heard at once: some ten lines.
const PIECE: usize = 64;
/// Most bytes that are taken at once.
const MOST: usize = 4096;
/// Bytes that the answers to these have at most, if each is of the longest.
const ANSWERS: usize = 16 << 10;

/// The server.
#[derive(Debug, Default)]
pub struct Server {
    /// All clients share one conversation, as they would a line to another machine.
    asked: RefCell<(Conversation, Store)>,
    answers: Outlet,
}

impl Server {
    /// One that says that it is ready, to whoever comes.
    pub fn new() -> Self {
        let server = Self::default();
        server.answers.send(READY.as_bytes());
        server.answers.send(b"\n");
        server
    }
}

impl StreamServer for Server {
    async fn send(&self, _: &Caller, bytes: ReadLease) -> Result<u32, StreamError> {
        // The rest is sent again: others wait, too.
        let length = bytes.length()?.min(MOST);
        let (mut done, mut piece) = (0, [0; PIECE]);
        while done < length && !self.answers.is_full_for(ANSWERS) {
            let count = PIECE.min(length - done);
            bytes.read(done, &mut piece[..count])?;
            let mut answers = Vec::new();
            let (conversation, store) = &mut *self.asked.borrow_mut();
            conversation.hear(&piece[..count], store, &mut answers);
            self.answers.send(&answers);
            done += count;
        }
        Ok(done as u32)
    }

    async fn receive(&self, _: &Caller, from: u64, bytes: WriteLease) -> Result<Received, StreamError> {
        Ok(self.answers.receive(from, &bytes, || {}).await?)
    }
}
