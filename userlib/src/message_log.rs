//! The last messages of a domain, in its status page: what it had called and what it worked on when it died.
//!
//! Each call that is made and each that is received takes two words of a ring, which the supervisor reads when the
//! domain is dead. Writing is a few instructions and no system call. Threads of one domain share the ring: where two write
//! at the same moment, one of the two messages may be lost.
//!
//! | offset | contents |
//! | --- | --- |
//! | 0 | messages ever noted, times the 16 bytes of an entry |
//! | 16 | [`CAPACITY`] entries of two words: the message's description ([`MessageInfo`]) with its fate, and the other side |
//!
//! The fate stands in bits 16 to 31, which are zero in every description: which way it went, and what became of it.

use crate::memory::SharedMemory;
use abi::Error;
use abi::message::MessageInfo;
use alloc::vec::Vec;
use core::mem::size_of;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// Messages that are remembered.
pub const CAPACITY: usize = 32;
/// Bytes of the ring.
pub const LENGTH: usize = size_of::<Ring>();

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// A call of the domain's own.
    Called,
    /// A call that it received.
    Received,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing that was noted.
    Pending,
    /// It was answered, with this verdict ([`crate::ipc::verdict`]).
    Verdict(u16),
    /// The kernel refused it or reported this.
    Error(Error),
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// Which way it went.
    pub direction: Direction,
    /// The method.
    pub label: u32,
    /// The handle of the endpoint that was called, or the badge of who called.
    pub peer: u64,
    /// What became of it, if it is a call of the domain's own.
    pub outcome: Outcome,
}

/// Where a description has room for what became of the message: bits 16 to 31.
const OUTCOME_SHIFT: u32 = 16;
/// Values there: a call that was received, one that was made and has no outcome, and the first with a verdict.
const RECEIVED: u16 = 0;
const PENDING: u16 = 1;
const VERDICTS: u16 = 2;
/// From here on they are errors' codes.
const ERRORS: u16 = 1 << 15;

impl Message {
    /// The two words that stand for it.
    pub fn to_words(self) -> [u64; 2] {
        let fate = match (self.direction, self.outcome) {
            (Direction::Received, _) => RECEIVED,
            (Direction::Called, Outcome::Pending) => PENDING,
            (Direction::Called, Outcome::Verdict(verdict)) => verdict.saturating_add(VERDICTS).min(ERRORS - 1),
            (Direction::Called, Outcome::Error(error)) => ERRORS | error as u16,
        };
        [u64::from(self.label) << 32 | u64::from(fate) << OUTCOME_SHIFT, self.peer]
    }

    /// The message for which two words stand, whoever has written them.
    pub fn from_words([info, peer]: [u64; 2]) -> Option<Self> {
        let (direction, outcome) = match (info >> OUTCOME_SHIFT) as u16 {
            RECEIVED => (Direction::Received, Outcome::Pending),
            PENDING => (Direction::Called, Outcome::Pending),
            code if code & ERRORS != 0 => (Direction::Called, Outcome::Error(Error::from_code(code & !ERRORS)?)),
            verdict => (Direction::Called, Outcome::Verdict(verdict - VERDICTS)),
        };
        Some(Self { direction, label: MessageInfo(info).label(), peer, outcome })
    }
}

/// The ring as it lies in the page.
#[repr(C)]
pub(crate) struct Ring {
    /// Where the next entry goes, but for the turns of the ring.
    written: AtomicU64,
    _reserved: AtomicU64,
    entries: [Entry; CAPACITY],
}

#[repr(C)]
struct Entry {
    info: AtomicU64,
    peer: AtomicU64,
}

impl Entry {
    const fn new() -> Self {
        Self { info: AtomicU64::new(0), peer: AtomicU64::new(0) }
    }
}

impl Ring {
    const fn new() -> Self {
        Self { written: AtomicU64::new(0), _reserved: AtomicU64::new(0), entries: [const { Entry::new() }; CAPACITY] }
    }

    #[inline(always)]
    fn note(&self, info: u64, peer: u64) -> &AtomicU64 {
        let written = self.written.load(Ordering::Relaxed);
        // Read once more: the processor has an instruction that adds to memory.
        let step = size_of::<Entry>() as u64;
        self.written.store(self.written.load(Ordering::Relaxed).wrapping_add(step), Ordering::Relaxed);
        let entry = &self.entries[written as usize / size_of::<Entry>() % CAPACITY];
        entry.info.store(info, Ordering::Relaxed);
        entry.peer.store(peer, Ordering::Relaxed);
        &entry.info
    }

    #[inline(always)]
    fn note_call(&self, info: MessageInfo, peer: u64) -> Noted<'_> {
        Noted { entry: self.note(info.0 | u64::from(PENDING) << OUTCOME_SHIFT, peer), info }
    }
}

/// The ring of a program whose messages nobody looks at.
static UNSEEN: Ring = Ring::new();

static OWN: AtomicPtr<Ring> = AtomicPtr::new((&raw const UNSEEN).cast_mut());

/// A call that was noted, to add what becomes of it.
#[derive(Clone, Copy)]
pub(crate) struct Noted<'a> {
    entry: &'a AtomicU64,
    info: MessageInfo,
}

#[inline(always)]
fn own() -> &'static Ring {
    // SAFETY: `OWN` points to `UNSEEN` or to where `install` was promised that there is a ring for ever; it is made of atomics.
    unsafe { &*OWN.load(Ordering::Relaxed) }
}

/// Notes a call that the domain is about to make.
#[inline(always)]
pub(crate) fn called(info: MessageInfo, endpoint: u64) -> Noted<'static> {
    own().note_call(info, endpoint)
}

/// Notes a call that it has received.
#[inline(always)]
pub(crate) fn received(info: MessageInfo, badge: u64) {
    own().note(info.0, badge);
}

impl Noted<'_> {
    /// Adds the verdict of the answer.
    #[inline(always)]
    pub(crate) fn verdict(self, verdict: u32) {
        // What servers answer otherwise than with one of the few verdicts is cut.
        let fate = (verdict.wrapping_add(VERDICTS.into()) & u32::from(ERRORS - 1)) << OUTCOME_SHIFT;
        self.entry.store(self.info.0 | u64::from(fate), Ordering::Relaxed);
    }

    /// Adds why there is no answer.
    #[cold]
    pub(crate) fn error(self, error: Error) {
        self.entry.store(self.info.0 | u64::from(ERRORS | error as u16) << OUTCOME_SHIFT, Ordering::Relaxed);
    }
}

/// Makes `memory`, of which [`LENGTH`] bytes are used, the domain's own ring.
pub(crate) fn install(memory: SharedMemory<'static>) {
    if memory.len() >= LENGTH {
        OWN.store(memory.address() as *mut Ring, Ordering::Release);
    }
}

/// The messages in a ring, the oldest first: whatever is in it, at most [`CAPACITY`] of them.
pub fn read(memory: SharedMemory<'_>) -> Vec<Message> {
    let word = |place: usize| memory.load(8 * place, Ordering::Acquire).unwrap_or(0);
    let written = word(0) / size_of::<Entry>() as u64;
    let first = written.saturating_sub(CAPACITY as u64);
    let entries = (first..written).map(|number| 2 + 2 * (number as usize % CAPACITY));
    entries.filter_map(|place| Message::from_words([word(place), word(place + 1)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn memory(words: &[u64]) -> Vec<AtomicU64> {
        words.iter().map(|word| AtomicU64::new(*word)).collect()
    }

    fn read_words(words: &[u64]) -> Vec<Message> {
        let words = memory(words);
        // SAFETY: the words live as long as they are read.
        read(unsafe { SharedMemory::from_address(words.as_ptr() as u64, words.len() * 8) })
    }

    #[test]
    fn a_message_is_read_as_it_was_noted() {
        for outcome in [Outcome::Pending, Outcome::Verdict(0), Outcome::Verdict(3), Outcome::Error(Error::PeerDied)] {
            let message = Message { direction: Direction::Called, label: 0xdead_beef, peer: 7, outcome };
            assert_eq!(Message::from_words(message.to_words()), Some(message));
        }
    }

    #[test]
    fn the_last_messages_are_left_and_the_oldest_of_them_comes_first() {
        let mut words = vec![0; LENGTH / 8];
        words[0] = (CAPACITY as u64 + 3) * size_of::<Entry>() as u64;
        for number in 3..CAPACITY as u64 + 3 {
            let place = 2 + 2 * (number as usize % CAPACITY);
            let message =
                Message { direction: Direction::Received, label: number as u32, peer: 1, outcome: Outcome::Pending };
            words[place..place + 2].copy_from_slice(&message.to_words());
        }
        let labels: Vec<u32> = read_words(&words).iter().map(|message| message.label).collect();
        assert_eq!(labels, (3..CAPACITY as u32 + 3).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_noted_gets_its_outcome_behind_it() {
        let ring = Ring::new();
        ring.note_call(MessageInfo::new(5, 3), 9).error(Error::TimedOut);
        ring.note_call(MessageInfo::new(6, 0).with_leases(2), 9).verdict(1);
        ring.note_call(MessageInfo::new(7, 0), 9);
        ring.note(MessageInfo::new(8, 120).0, 11);
        // SAFETY: the ring lives as long as it is read.
        let memory = unsafe { SharedMemory::from_address(&raw const ring as u64, LENGTH) };
        let made = |label, outcome| Message { direction: Direction::Called, label, peer: 9, outcome };
        let expected = [
            made(5, Outcome::Error(Error::TimedOut)),
            made(6, Outcome::Verdict(1)),
            made(7, Outcome::Pending),
            Message { direction: Direction::Received, label: 8, peer: 11, outcome: Outcome::Pending },
        ];
        assert_eq!(read(memory), expected);
    }

    proptest! {
        #[test]
        fn any_words_are_read_as_some_messages(words in proptest::collection::vec(any::<u64>(), 0..80)) {
            prop_assert!(read_words(&words).len() <= CAPACITY);
        }
    }
}
