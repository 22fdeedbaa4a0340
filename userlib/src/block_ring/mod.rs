//! The request ring of a disk, between a file server (client) and a block driver (server), in memory that both map and that
//! outlives either of them.
//!
//! A request stays in the ring until it is complete. A driver that comes back after a crash finds every request that its
//! predecessor has left and carries it out again; the client notices only that it took longer. For that to be right, two
//! requests that overlap, unless both read, are never in the ring together: the client holds the later one back, the
//! driver refuses it. So a repeated request never undoes a later one.
//!
//! Neither side believes the other. The driver copies a slot once and checks the copy; whatever it then knows of the
//! request is its own. The client checks each completion against its own table. Garbage in the memory makes requests
//! fail, and nothing else.
//!
//! A client that is a file server itself can lend its own clients' rings to the driver: rings like this one, whose requests
//! name a *window* ([`Window`]) instead of the disk, and whose data goes to their own buffer area. The client says in its own
//! ring which lent ring may read which sectors; who owns a lent ring can reach nothing else. Only the first pages of such a
//! ring are known to the driver itself; the rest is for its device. A request through a window may end before all of it is
//! read, at the latest where the sectors do not lie together any more: the status says how far it came.
//!
//! Neither side is notified while it is awake: each says in a word of its own whether it wants to be, before it waits.
//!
//! # Layout
//!
//! | offset | contents | written by |
//! | --- | --- | --- |
//! | 0 | magic | client |
//! | 8 | version, and slots in the upper half | client |
//! | 64 | [`Statistics`], a word each | see there |
//! | 128 | bitmap: submitted | client sets, driver clears once the request is complete |
//! | 192 | bitmap: completed | driver sets, client clears |
//! | 256 | bitmap: accepted | driver; tells a successor which requests were under way |
//! | 320 | the driver waits and wants to be notified | driver |
//! | 384 | the client waits and wants to be notified | client |
//! | 448 | of a lent ring: left to who lends it | |
//! | 512 | table of windows | client, and the driver what is under way |
//! | 4096 | slots, 32 bytes each | client, and the driver the status |
//! | 8192 | buffer area, in pages | both, and the device |
//!
//! A completion is: status, bit in `completed`, no bit in `submitted`, notification, in this order. A driver that finds
//! both bits at its start finishes the completion and does not repeat the request.

mod area;
mod bitmap;
mod client;
mod server;
mod windows;

pub use area::{BufferArea, Run};
pub use client::{BlockRing, ClientCore, RequestError, Unavailable};
pub use server::{Limits, RingServer, Taken};
pub use windows::{WINDOWS, Window};

use crate::memory::{OutOfBounds, SharedMemory};
use abi::PAGE_SIZE;
use core::fmt;
use core::sync::atomic::Ordering;

/// "BULKRING" in little-endian bytes.
pub const MAGIC: u64 = u64::from_le_bytes(*b"BULKRING");
/// Version of the layout.
pub const VERSION: u32 = 3;
/// Slots of a ring, which is the most requests that can be in flight.
pub const SLOTS: usize = 128;
/// Bytes of a sector, the unit of addresses and lengths on the disk.
pub const SECTOR_SIZE: usize = 512;
/// Sectors in a page of the buffer area.
pub const SECTORS_PER_PAGE: u32 = (PAGE_SIZE as usize / SECTOR_SIZE) as u32;
/// Where the buffer area begins, in bytes.
pub const BUFFER_OFFSET: usize = 2 * PAGE_SIZE as usize;
/// Pages that are not buffer area.
pub const HEADER_PAGES: usize = BUFFER_OFFSET / PAGE_SIZE as usize;

/// Version and slots, as they stand in the header.
const LAYOUT: u64 = (SLOTS as u64) << 32 | VERSION as u64;

const MAGIC_OFFSET: usize = 0;
const VERSION_OFFSET: usize = 8;
const STATISTICS: usize = 64;
const SUBMITTED: usize = 128;
const COMPLETED: usize = 192;
const ACCEPTED: usize = 256;
const DRIVER_WAITS: usize = 320;
const CLIENT_WAITS: usize = 384;
/// Where a lent ring has a word for who lends it, in bytes.
pub const LENDERS_WORD: usize = 448;
const SLOT_TABLE: usize = PAGE_SIZE as usize;
const SLOT_SIZE: usize = 32;

/// One of the slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u8);

impl Slot {
    fn new(index: usize) -> Option<Self> {
        (index < SLOTS).then_some(Self(index as u8))
    }

    /// Its number, below [`SLOTS`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    const fn mask(self) -> u128 {
        1 << self.0
    }

    const fn offset(self) -> usize {
        SLOT_TABLE + self.0 as usize * SLOT_SIZE
    }
}

/// The slots in a bitmap, lowest first.
fn slots(mut mask: u128) -> impl Iterator<Item = Slot> {
    core::iter::from_fn(move || {
        let slot = Slot::new(mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(slot)
    })
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Operation {
    /// From the disk to the buffer area.
    Read = 1,
    /// From the buffer area to the disk.
    Write = 2,
    /// Everything that was complete before is on the disk itself afterwards.
    Flush = 3,
}

impl Operation {
    const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Operation::Read,
            2 => Operation::Write,
            3 => Operation::Flush,
            _ => return None,
        })
    }
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// What is to be done.
    pub operation: Operation,
    /// First sector.
    pub sector: u64,
    /// Number of sectors; 0 for [`Operation::Flush`] only.
    pub count: u32,
    /// Page of the buffer area in which the data begins; it goes on in the pages that follow.
    pub page: u32,
    /// Sectors of that page before the data: less than [`SECTORS_PER_PAGE`].
    pub skip: u16,
    /// Through which window the sectors are seen, if it is one of a lent ring; 0 for the disk itself.
    pub window: u16,
}

impl Request {
    /// A request to read.
    pub const fn read(sector: u64, count: u32, page: u32) -> Self {
        Self { operation: Operation::Read, sector, count, page, skip: 0, window: 0 }
    }

    /// A request to write.
    pub const fn write(sector: u64, count: u32, page: u32) -> Self {
        Self { operation: Operation::Write, sector, count, page, skip: 0, window: 0 }
    }

    /// A request to flush.
    pub const fn flush() -> Self {
        Self { operation: Operation::Flush, sector: 0, count: 0, page: 0, skip: 0, window: 0 }
    }

    /// The same request through a window.
    pub const fn through(self, window: u16) -> Self {
        Self { window, ..self }
    }

    /// The same request with its data so many sectors behind the begin of its page.
    pub const fn behind(self, skip: u16) -> Self {
        Self { skip, ..self }
    }

    /// Bytes of data.
    pub const fn bytes(&self) -> usize {
        self.count as usize * SECTOR_SIZE
    }

    /// Offset of the data in the memory of the ring, in bytes.
    pub const fn buffer_offset(&self) -> usize {
        BUFFER_OFFSET + self.page as usize * PAGE_SIZE as usize + self.skip as usize * SECTOR_SIZE
    }

    const fn is_write(&self) -> bool {
        matches!(self.operation, Operation::Write)
    }

    /// Whether the two may not be in flight together: they touch a common sector, and not both only read it.
    pub const fn conflicts_with(&self, other: &Self) -> bool {
        if matches!((self.operation, other.operation), (Operation::Read, Operation::Read)) {
            return false;
        }
        let (start, end) = (self.sector, self.sector.saturating_add(self.count as u64));
        let (other_start, other_end) = (other.sector, other.sector.saturating_add(other.count as u64));
        start < other_end && other_start < end
    }

    /// Whether its data lies within a buffer area of so many pages, and it is a request at all.
    fn is_sound(&self, buffer_pages: usize) -> bool {
        match self.operation {
            Operation::Flush => self.count == 0,
            Operation::Read | Operation::Write => {
                let per_page = u64::from(SECTORS_PER_PAGE);
                let end = u64::from(self.page) * per_page + u64::from(self.skip) + u64::from(self.count);
                self.count > 0
                    && end <= buffer_pages as u64 * per_page
                    && u64::from(self.skip) < per_page
                    && self.sector.checked_add(self.count.into()).is_some()
            }
        }
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Status {
    /// It was carried out.
    Done = 1,
    /// It is no request, its data lies outside of the buffer area, or it overlaps one that is in flight.
    Refused = 2,
    /// It reaches behind the last sector.
    OutOfRange = 3,
    /// The disk can only be read.
    ReadOnly = 4,
    /// The disk reported an error.
    DeviceError = 5,
    /// There is no disk.
    NoDevice = 6,
    /// It names no window that is open to its ring.
    NoWindow = 7,
}

impl Status {
    const fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            1 => Status::Done,
            2 => Status::Refused,
            3 => Status::OutOfRange,
            4 => Status::ReadOnly,
            5 => Status::DeviceError,
            6 => Status::NoDevice,
            7 => Status::NoWindow,
            _ => return None,
        })
    }
}

/// What has happened in the ring since it was made. Both sides can write these words: they are for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Requests submitted; counted by the client.
    pub submitted: u64,
    /// Completions collected; counted by the client.
    pub completed: u64,
    /// Requests that a driver found under way at its start and carried out again; counted by the driver.
    pub repeated: u64,
    /// How often a driver found any such request at its start; counted by the driver.
    pub restarts_in_flight: u64,
    /// How many drivers have attached to the ring; counted by the driver.
    pub generations: u64,
}

/// Which of the statistics.
#[derive(Clone, Copy)]
enum Counter {
    Submitted = 0,
    Completed = 1,
    Repeated = 2,
    RestartsInFlight = 3,
    Generations = 4,
}

/// The memory cannot be used as a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingError {
    /// It is too short for even one page of data.
    TooShort,
    /// The client uses another layout.
    OtherLayout,
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RingError::TooShort => "the ring's memory has no room for data: give it three pages or more",
            RingError::OtherLayout => "client and driver use different layouts of the ring",
        })
    }
}

impl core::error::Error for RingError {}

/// The memory of a ring, with its parts by name.
#[derive(Clone, Copy, Debug)]
struct Layout<'a> {
    memory: SharedMemory<'a>,
}

impl<'a> Layout<'a> {
    fn new(memory: SharedMemory<'a>) -> Result<Self, RingError> {
        if memory.len() < BUFFER_OFFSET + PAGE_SIZE as usize {
            return Err(RingError::TooShort);
        }
        Self::of_header(memory)
    }

    /// That of a ring whose buffer area is not seen.
    fn of_header(memory: SharedMemory<'a>) -> Result<Self, RingError> {
        if memory.len() < BUFFER_OFFSET { Err(RingError::TooShort) } else { Ok(Self { memory }) }
    }

    /// Says which layout this is. A driver may attach at the same moment, so the magic number comes last: whoever sees it
    /// sees the version as well.
    fn publish_header(self) {
        self.store(VERSION_OFFSET, LAYOUT);
        let stored = self.memory.store(MAGIC_OFFSET, MAGIC, Ordering::Release);
        debug_assert!(stored.is_ok());
    }

    /// Whether a client uses this layout, or none has attached yet.
    fn check_header(self) -> Result<(), RingError> {
        match self.memory.load(MAGIC_OFFSET, Ordering::Acquire) {
            Ok(0) => Ok(()),
            Ok(MAGIC) if self.load(VERSION_OFFSET) == LAYOUT => Ok(()),
            _ => Err(RingError::OtherLayout),
        }
    }

    /// Pages of the buffer area. Known from the memory's length, whatever is written in it.
    fn buffer_pages(self) -> usize {
        (self.memory.len() - BUFFER_OFFSET) / PAGE_SIZE as usize
    }

    fn load(self, offset: usize) -> u64 {
        // The header is inside, which `new` has checked.
        self.memory.load(offset, Ordering::Relaxed).unwrap_or(0)
    }

    fn store(self, offset: usize, value: u64) {
        let stored: Result<(), OutOfBounds> = self.memory.store(offset, value, Ordering::Relaxed);
        debug_assert!(stored.is_ok());
    }

    fn bitmap(self, offset: usize) -> bitmap::Bitmap<'a> {
        bitmap::Bitmap::new(self.memory, offset)
    }

    /// Says that this side is about to wait and wants to be notified, or that it is awake. It looks again after the former.
    fn set_waiting(self, side: usize, waits: bool) {
        self.store(side, waits.into());
        core::sync::atomic::fence(Ordering::SeqCst);
    }

    /// Whether the other side wants to be notified of what was done before.
    fn is_waiting(self, side: usize) -> bool {
        core::sync::atomic::fence(Ordering::SeqCst);
        self.load(side) != 0
    }

    fn count(self, counter: Counter, by: u64) {
        if let Ok(word) = self.memory.word(STATISTICS + 8 * counter as usize) {
            word.fetch_add(by, Ordering::Relaxed);
        }
    }

    fn statistics(self) -> Statistics {
        let get = |counter: Counter| self.load(STATISTICS + 8 * counter as usize);
        Statistics {
            submitted: get(Counter::Submitted),
            completed: get(Counter::Completed),
            repeated: get(Counter::Repeated),
            restarts_in_flight: get(Counter::RestartsInFlight),
            generations: get(Counter::Generations),
        }
    }

    fn write_request(self, slot: Slot, request: &Request) {
        let offset = slot.offset();
        self.store(offset, u64::from(request.count) << 32 | request.operation as u64);
        self.store(offset + 8, request.sector);
        self.store(
            offset + 16,
            u64::from(request.window) << 48 | u64::from(request.skip) << 32 | u64::from(request.page),
        );
        self.store(offset + 24, 0);
    }

    /// Copies a slot; `None` if it names no operation.
    fn read_request(self, slot: Slot) -> Option<Request> {
        let offset = slot.offset();
        let (first, place) = (self.load(offset), self.load(offset + 16));
        Some(Request {
            operation: Operation::from_number(first as u32)?,
            sector: self.load(offset + 8),
            count: (first >> 32) as u32,
            page: place as u32,
            skip: (place >> 32) as u16,
            window: (place >> 48) as u16,
        })
    }

    fn status_offset(slot: Slot) -> usize {
        slot.offset() + 24
    }
}

/// Reads the statistics of a ring that somebody else uses.
///
/// # Errors
/// [`RingError::TooShort`].
pub fn statistics(memory: SharedMemory<'_>) -> Result<Statistics, RingError> {
    Layout::new(memory).map(Layout::statistics)
}
