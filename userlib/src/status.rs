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
//! | 576 | the ring of log records ([`LogRing`]), [`LOG_LENGTH`] bytes |
//! | behind it | the last messages, [`message_log::LENGTH`] bytes |

pub use crate::log_ring::{RECORD_MAX, Record};

use crate::log_ring::{Cut, LogRing, POSITIONS, RECORD_LENGTH_MAX};
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

const PHASE: usize = 8;
const HEARTBEATS: usize = 16;
const LOG_POSITIONS: usize = 24;
const PANIC_LENGTH: usize = 40;
const PANIC: usize = 64;
const LOG: usize = PANIC + PANIC_MAX;
const MESSAGES: usize = PAGE_SIZE as usize - message_log::LENGTH;

const _: () = assert!(LOG_LENGTH.is_multiple_of(8) && LOG_LENGTH > 2 * RECORD_LENGTH_MAX);

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
    log: LogRing<'a>,
}

/// The log in a status page.
fn log_of(page: SharedMemory<'_>) -> Option<LogRing<'_>> {
    LogRing::new(page.part(LOG_POSITIONS..LOG_POSITIONS + POSITIONS)?, page.part(LOG..MESSAGES)?)
}

impl<'a> Writer<'a> {
    /// Starts a new page; `None` if `page` is shorter than one.
    pub fn start(page: SharedMemory<'a>) -> Option<Self> {
        let page = page.part(0..PAGE_SIZE as usize)?;
        for word in page.words() {
            word.store(0, Ordering::Relaxed);
        }
        let writer = Self { page, log: log_of(page)? };
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
        self.log.append(time, level, text);
    }
}

/// The supervisor's side of the page: reads it, whatever is in it.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    page: SharedMemory<'a>,
    log: LogRing<'a>,
}

impl<'a> Reader<'a> {
    /// Reads `page`; `None` if it is shorter than a page.
    pub fn new(page: SharedMemory<'a>) -> Option<Self> {
        let page = page.part(0..PAGE_SIZE as usize)?;
        Some(Self { page, log: log_of(page)? })
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
        self.log.records(position)
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
    Some(Writer { page, log: log_of(page)? })
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
