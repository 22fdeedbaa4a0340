//! The status page: what a domain tells its supervisor without ever calling it.
//!
//! One page is mapped by both. The domain writes its phase, a heartbeat counter, the message of a panic, and a ring of
//! log records; the supervisor reads them and believes nothing: whatever bytes a broken domain leaves there, reading
//! them gives some answer and no harm.
//!
//! | offset | contents |
//! | --- | --- |
//! | 0 | magic |
//! | 8 | [`Phase`] |
//! | 16 | heartbeats answered |
//! | 24 | bytes ever logged |
//! | 32 | position of the oldest record that is still there |
//! | 40 | length of the panic message |
//! | 64 | panic message, at most [`PANIC_MAX`] bytes |
//! | 576 | the ring of log records, [`LOG_LENGTH`] bytes |
//! | behind it | the last messages, [`message_log::LENGTH`] bytes |
//!
//! A record is a word of time (nanoseconds since boot), a word with its level and its length, and its text, filled up
//! to a multiple of eight bytes. Positions count bytes from the start of the domain and never fall; the byte at position
//! `p` lies at `p % LOG_LENGTH` of the ring. Before the writer goes over a record, it moves the position of the oldest
//! one, so a reader that finds that position behind its own copy afterwards knows that the copy is good.

use crate::memory::SharedMemory;
use crate::message_log;
use crate::time::Instant;
use abi::PAGE_SIZE;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering};

/// Bit of a domain's notification by which the supervisor asks for a sign of life.
pub const HEARTBEAT_BIT: u32 = 61;
/// Bit by which the supervisor asks the domain to come to rest: quiesce devices, write back what is unwritten, and then
/// say [`Phase::Stopped`].
pub const SHUTDOWN_BIT: u32 = 60;

/// Bit by which the kernel tells that a call which the domain works on is over without its answer.
pub const CALLERS_BIT: u32 = 56;
/// Bit by which the supervisor tells that a client is dead.
pub const CLIENTS_BIT: u32 = 55;

/// "BULKSTAT" in little-endian bytes.
pub const MAGIC: u64 = u64::from_le_bytes(*b"BULKSTAT");
/// Most bytes of a panic message.
pub const PANIC_MAX: usize = 512;
/// Bytes of the ring of log records.
pub const LOG_LENGTH: usize = MESSAGES - LOG;
/// Most bytes of one record's text.
pub const RECORD_MAX: usize = 480;

const PHASE: usize = 8;
const HEARTBEATS: usize = 16;
const WRITTEN: usize = 24;
const OLDEST: usize = 32;
const PANIC_LENGTH: usize = 40;
const PANIC: usize = 64;
const LOG: usize = PANIC + PANIC_MAX;
const MESSAGES: usize = PAGE_SIZE as usize - message_log::LENGTH;
const RECORD_HEADER: usize = 16;

const _: () = assert!(LOG_LENGTH.is_multiple_of(8) && LOG_LENGTH > 2 * (RECORD_HEADER + RECORD_MAX));

/// How far a domain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Phase {
    /// It runs, but does not serve yet.
    Starting = 0,
    /// It serves.
    Ready = 1,
    /// It was asked to come to rest and is about to.
    Stopping = 2,
    /// It is at rest: nothing is lost if it is destroyed.
    Stopped = 3,
    /// It has panicked.
    Panicked = 4,
}

impl Phase {
    /// The phase with this number.
    pub const fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            0 => Phase::Starting,
            1 => Phase::Ready,
            2 => Phase::Stopping,
            3 => Phase::Stopped,
            4 => Phase::Panicked,
            _ => return None,
        })
    }

    /// One word for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Ready => "ready",
            Phase::Stopping => "stopping",
            Phase::Stopped => "stopped",
            Phase::Panicked => "panicked",
        }
    }
}

/// The domain's side of the page.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    page: SharedMemory<'a>,
}

impl<'a> Writer<'a> {
    /// Starts a new page; `None` if `page` is shorter than one.
    pub fn start(page: SharedMemory<'a>) -> Option<Self> {
        let page = page.part(0..PAGE_SIZE as usize)?;
        for word in page.words() {
            word.store(0, Ordering::Relaxed);
        }
        let writer = Self { page };
        writer.set(0, MAGIC);
        Some(writer)
    }

    fn set(self, offset: usize, value: u64) {
        // The offsets are constants in a page whose length was checked.
        let _ = self.page.store(offset, value, Ordering::Release);
    }

    fn get(self, offset: usize) -> u64 {
        self.page.load(offset, Ordering::Relaxed).unwrap_or(0)
    }

    /// Says how far the domain has come.
    pub fn set_phase(self, phase: Phase) {
        self.set(PHASE, phase as u64);
    }

    /// Answers a heartbeat.
    pub fn beat(self) {
        self.set(HEARTBEATS, self.get(HEARTBEATS).wrapping_add(1));
    }

    /// Leaves the message of a panic and says [`Phase::Panicked`]. What is longer than [`PANIC_MAX`] is cut.
    pub fn panic(self, message: fmt::Arguments<'_>) {
        let mut text = Cut::<PANIC_MAX>::new();
        // Cutting is no failure.
        let _ = text.write_fmt(message);
        let _ = self.page.write(PANIC, text.as_bytes());
        self.set(PANIC_LENGTH, text.as_bytes().len() as u64);
        self.set_phase(Phase::Panicked);
    }

    /// Appends a log record; text beyond [`RECORD_MAX`] bytes is cut.
    pub fn log(self, time: Instant, level: log::Level, text: fmt::Arguments<'_>) {
        let mut cut = Cut::<RECORD_MAX>::new();
        let _ = cut.write_fmt(text);
        let bytes = cut.as_bytes();
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

    fn put(self, position: u64, word: u64) {
        let _ = self.page.store(ring_offset(position), word, Ordering::Relaxed);
    }

    /// Moves the position of the oldest record until `end` does not go over it.
    fn make_room(self, end: u64) {
        let mut oldest = self.get(OLDEST);
        if end <= oldest + LOG_LENGTH as u64 {
            return;
        }
        while end > oldest + LOG_LENGTH as u64 {
            let header = self.page.load(ring_offset(oldest + 8), Ordering::Relaxed);
            oldest += record_length(header.unwrap_or(0));
        }
        self.set(OLDEST, oldest);
        // Nobody may see a word of the new record and still the old position.
        core::sync::atomic::fence(Ordering::SeqCst);
    }
}

/// Where the word at a position lies in the page.
fn ring_offset(position: u64) -> usize {
    LOG + (position % LOG_LENGTH as u64) as usize
}

/// Length of a record in the ring, from its second word.
fn record_length(header: u64) -> u64 {
    let text = (header & 0xffff_ffff).min(RECORD_MAX as u64);
    RECORD_HEADER as u64 + text.next_multiple_of(8)
}

/// A text that is cut where it gets too long.
struct Cut<const N: usize> {
    bytes: [u8; N],
    used: usize,
}

impl<const N: usize> Cut<N> {
    fn new() -> Self {
        Self { bytes: [0; N], used: 0 }
    }

    fn as_bytes(&self) -> &[u8] {
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

/// The supervisor's side of the page: reads it, whatever is in it.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    page: SharedMemory<'a>,
}

impl<'a> Reader<'a> {
    /// Reads `page`; `None` if it is shorter than a page.
    pub fn new(page: SharedMemory<'a>) -> Option<Self> {
        let page = page.part(0..PAGE_SIZE as usize)?;
        Some(Self { page })
    }

    fn get(self, offset: usize) -> u64 {
        self.page.load(offset, Ordering::Acquire).unwrap_or(0)
    }

    /// Whether a domain has written the page at all.
    pub fn is_started(self) -> bool {
        self.get(0) == MAGIC
    }

    /// How far the domain says it has come; a number that means nothing reads as [`Phase::Starting`].
    pub fn phase(self) -> Phase {
        Phase::from_number(self.get(PHASE)).unwrap_or(Phase::Starting)
    }

    /// Heartbeats answered.
    pub fn heartbeats(self) -> u64 {
        self.get(HEARTBEATS)
    }

    /// The message of a panic, if there is one.
    pub fn panic_message(self) -> Option<String> {
        let length = self.get(PANIC_LENGTH) as usize;
        if length == 0 {
            return None;
        }
        let mut bytes = [0; PANIC_MAX];
        let bytes = &mut bytes[..length.min(PANIC_MAX)];
        self.page.read(PANIC, bytes).ok()?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    /// The domain's last messages, the oldest first.
    pub fn messages(self) -> Vec<message_log::Message> {
        self.page.part(MESSAGES..PAGE_SIZE as usize).map(message_log::read).unwrap_or_default()
    }

    /// The records from `position` on, oldest first, and the position behind the last of them, from which to go on the
    /// next time. Begin with 0. Records that were gone over meanwhile are left out.
    pub fn records(self, position: u64) -> (Vec<Record>, u64) {
        let length = LOG_LENGTH as u64;
        let written = self.get(WRITTEN);
        let from = self.get(OLDEST).max(position);
        // Whoever wrote this page may lie: such positions mean an empty log, read from its start again.
        if written > u64::MAX / 2
            || !from.is_multiple_of(8)
            || !written.is_multiple_of(8)
            || from > written
            || written - from > length
        {
            return (Vec::new(), written.min(u64::MAX / 2) & !7);
        }
        let words: Vec<u64> = (from..written)
            .step_by(8)
            .map(|position| self.page.load(ring_offset(position), Ordering::Relaxed).unwrap_or(0))
            .collect();
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

/// Address of the domain's own status page; 0 as long as there is none.
static OWN_PAGE: AtomicU64 = AtomicU64::new(0);

/// The domain's own page, if it has one.
pub fn own() -> Option<Writer<'static>> {
    let address = OWN_PAGE.load(Ordering::Acquire);
    if address == 0 {
        return None;
    }
    // SAFETY: `install` has got the address from whoever promised that the page stays mapped.
    let page = unsafe { SharedMemory::from_address(address, PAGE_SIZE as usize) };
    Some(Writer { page })
}

/// What the domain itself has logged and what is still there.
pub fn own_records() -> Vec<Record> {
    own().and_then(|writer| Reader::new(writer.page)).map(|reader| reader.records(0).0).unwrap_or_default()
}

/// Makes `page` the domain's own status page, and the `log` crate write to it.
pub fn install(page: SharedMemory<'static>) -> Option<Writer<'static>> {
    let writer = Writer::start(page)?;
    OWN_PAGE.store(page.address(), Ordering::Release);
    if let Some(ring) = page.part(MESSAGES..PAGE_SIZE as usize) {
        message_log::install(ring);
    }
    // A second installation only changes the page.
    if log::set_logger(&StatusLog).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
    Some(writer)
}

/// Says how far the domain has come.
pub fn set_phase(phase: Phase) {
    if let Some(page) = own() {
        page.set_phase(phase);
    }
}

/// Answers a heartbeat. The executor does this by itself; a server that blocks elsewhere calls it when it is told of
/// [`HEARTBEAT_BIT`].
pub fn beat() {
    if let Some(page) = own() {
        page.beat();
    }
}

/// Writes log records to the own status page. No call is needed for that, so that everybody may log, at any level.
struct StatusLog;

impl log::Log for StatusLog {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if let Some(page) = own() {
            page.log(Instant::now(), record.level(), *record.args());
        }
    }

    fn flush(&self) {}
}
