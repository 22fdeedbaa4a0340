//! A ring of log records in shared memory, which one writes and others read at any moment.
//!
//! A record is a word of time (nanoseconds since boot), a word with its level and its length, and its text, filled up
//! to a multiple of eight bytes. Positions count bytes from the first record on and never fall; the byte at position `p`
//! lies at `p % length` of the ring. Before the writer goes over a record, it moves the position of the oldest one, so a
//! reader that finds that position behind its own copy afterwards knows that the copy is good.

use crate::memory::SharedMemory;
use crate::time::Instant;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::sync::atomic::Ordering;

/// Most bytes of one record's text.
pub const RECORD_MAX: usize = 480;
/// Bytes of the two positions: behind the newest record, and of the oldest one.
pub const POSITIONS: usize = 16;

const WRITTEN: usize = 0;
const OLDEST: usize = 8;
const RECORD_HEADER: usize = 16;
/// Most bytes that a record takes in the ring.
pub const RECORD_LENGTH_MAX: usize = RECORD_HEADER + RECORD_MAX;

/// A ring of records. Memory that is all zero is an empty one.
#[derive(Clone, Copy, Debug)]
pub struct LogRing<'a> {
    positions: SharedMemory<'a>,
    ring: SharedMemory<'a>,
}

/// A log record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it was written, as the domain says.
    pub time: Instant,
    /// How important it is.
    pub level: log::Level,
    /// Its text. What was no UTF-8 is replaced.
    pub text: String,
}

impl<'a> LogRing<'a> {
    /// A ring with its positions apart from it. `None` if there are not [`POSITIONS`] bytes for these, or the ring is too
    /// short for a record.
    pub fn new(positions: SharedMemory<'a>, ring: SharedMemory<'a>) -> Option<Self> {
        let positions = positions.part(0..POSITIONS)?;
        (ring.len() >= RECORD_LENGTH_MAX).then_some(Self { positions, ring })
    }

    /// A ring with its positions in front. `None` if the memory is too short for a record.
    pub fn in_memory(memory: SharedMemory<'a>) -> Option<Self> {
        Self::new(memory.part(0..POSITIONS)?, memory.part(POSITIONS..memory.len())?)
    }

    fn get(self, offset: usize) -> u64 {
        self.positions.load(offset, Ordering::Acquire).unwrap_or(0)
    }

    fn set(self, offset: usize, value: u64) {
        // The offsets are constants in memory whose length was checked.
        let _ = self.positions.store(offset, value, Ordering::Release);
    }

    /// Where the word at a position lies in the ring.
    fn place(self, position: u64) -> usize {
        (position % self.length()) as usize
    }

    fn length(self) -> u64 {
        self.ring.len() as u64
    }

    fn word(self, position: u64) -> u64 {
        self.ring.load(self.place(position), Ordering::Relaxed).unwrap_or(0)
    }

    fn put(self, position: u64, word: u64) {
        let _ = self.ring.store(self.place(position), word, Ordering::Relaxed);
    }

    /// Whether records can lie between these positions, whoever has written them.
    fn is_sound(self, oldest: u64, written: u64) -> bool {
        let aligned = oldest.is_multiple_of(8) && written.is_multiple_of(8);
        aligned && written <= u64::MAX / 2 && oldest <= written && written - oldest <= self.length()
    }

    /// Appends a record; text beyond [`RECORD_MAX`] bytes is cut. A ring that makes no sense begins anew.
    pub fn append(self, time: Instant, level: log::Level, text: fmt::Arguments<'_>) {
        let mut cut = Cut::<RECORD_MAX>::new();
        // Cutting is no failure.
        let _ = cut.write_fmt(text);
        let bytes = cut.as_bytes();
        if !self.is_sound(self.get(OLDEST), self.get(WRITTEN)) {
            self.set(OLDEST, 0);
            self.set(WRITTEN, 0);
        }
        let position = self.get(WRITTEN);
        let end = position + (RECORD_HEADER + bytes.len().next_multiple_of(8)) as u64;
        self.make_room(end);
        self.put(position, time.nanoseconds());
        self.put(position + 8, (level as u64) << 32 | bytes.len() as u64);
        for (index, chunk) in bytes.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.put(position + (RECORD_HEADER + 8 * index) as u64, u64::from_le_bytes(word));
        }
        self.set(WRITTEN, end);
    }

    /// Moves the position of the oldest record until `end` does not go over it.
    fn make_room(self, end: u64) {
        let mut oldest = self.get(OLDEST);
        if end <= oldest + self.length() {
            return;
        }
        while end > oldest + self.length() {
            oldest += record_length(self.word(oldest + 8));
        }
        self.set(OLDEST, oldest);
        // Nobody may see a word of the new record and still the old position.
        core::sync::atomic::fence(Ordering::SeqCst);
    }

    /// The records from `position` on, oldest first, and the position behind the last of them, from which to go on the
    /// next time. Begin with 0. Records that were gone over meanwhile are left out.
    pub fn records(self, position: u64) -> (Vec<Record>, u64) {
        let written = self.get(WRITTEN);
        let from = self.get(OLDEST).max(position);
        // Whoever wrote this may lie: such positions mean an empty log, read from its start again.
        if !self.is_sound(from, written) {
            return (Vec::new(), written.min(u64::MAX / 2) & !7);
        }
        let words: Vec<u64> = (from..written).step_by(8).map(|position| self.word(position)).collect();
        core::sync::atomic::fence(Ordering::SeqCst);
        // What lies before the oldest record as it is now may have been gone over while it was copied.
        let mut at = self.get(OLDEST).max(from);
        let mut records = Vec::new();
        while at < written {
            let index = ((at - from) / 8) as usize;
            let Some((record, size)) = parse(words.get(index..).unwrap_or_default()) else {
                break;
            };
            records.push(record);
            at += size;
        }
        (records, written)
    }
}

/// Length of a record in the ring, from its second word.
fn record_length(header: u64) -> u64 {
    let text = (header & 0xffff_ffff).min(RECORD_MAX as u64);
    RECORD_HEADER as u64 + text.next_multiple_of(8)
}

/// The record at the start of `words` and its size in bytes.
fn parse(words: &[u64]) -> Option<(Record, u64)> {
    let [time, header, rest @ ..] = words else {
        return None;
    };
    let size = record_length(*header);
    let length = ((header & 0xffff_ffff) as usize).min(RECORD_MAX);
    let text = rest.get(..length.div_ceil(8))?;
    let bytes: Vec<u8> = text.iter().flat_map(|word| word.to_le_bytes()).take(length).collect();
    let record =
        Record { time: Instant(*time), level: level(header >> 32), text: String::from_utf8_lossy(&bytes).into_owned() };
    Some((record, size))
}

/// The level with this number; the nearest one if there is none.
fn level(number: u64) -> log::Level {
    match number {
        0 | 1 => log::Level::Error,
        2 => log::Level::Warn,
        3 => log::Level::Info,
        4 => log::Level::Debug,
        _ => log::Level::Trace,
    }
}

/// A text that is cut where it gets too long.
pub(crate) struct Cut<const N: usize> {
    bytes: [u8; N],
    used: usize,
}

impl<const N: usize> Cut<N> {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; N], used: 0 }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.used]
    }
}

impl<const N: usize> Write for Cut<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let length = text.floor_char_boundary(N - self.used);
        self.bytes[self.used..self.used + length].copy_from_slice(&text.as_bytes()[..length]);
        self.used += length;
        if length == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}
