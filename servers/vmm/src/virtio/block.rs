//! A disk (virtio 1.2, section 5.2), over whatever carries its requests out: many at a time, in any order.

use super::device::{Device, Kind, read_bytes};
use super::queue::{Chain, Queue, QueueError};
use crate::memory::GuestMemory;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

/// Bytes of a sector.
pub const SECTOR_BYTES: u64 = 512;

/// Features.
const SIZE_MAX: u64 = 1 << 1;
const SEGMENTS_MAX: u64 = 1 << 2;
const READ_ONLY: u64 = 1 << 5;
const FLUSH: u64 = 1 << 9;
/// A request has at most so many segments of at most so many bytes.
const MAX_SEGMENTS: u32 = 32;
const MAX_SEGMENT_BYTES: u32 = 4 * 1024;
/// The most bytes of a request.
pub const MAX_REQUEST_BYTES: u64 = MAX_SEGMENTS as u64 * MAX_SEGMENT_BYTES as u64;
const QUEUE_SIZES: &[u16] = &[128];
/// Bytes of what precedes a request's data.
const HEADER_BYTES: usize = 16;
/// Types of requests.
const TYPE_IN: u32 = 0;
const TYPE_OUT: u32 = 1;
const TYPE_FLUSH: u32 = 4;
const TYPE_GET_ID: u32 = 8;
const IDENTIFIER_BYTES: u64 = 20;
/// How a request has ended.
const STATUS_OK: u8 = 0;
const STATUS_ERROR: u8 = 1;
const STATUS_UNSUPPORTED: u8 = 2;

/// The name of a request. It means nothing any more after the guest has reset the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// How often the device was reset before.
    life: u32,
    head: u16,
}

/// What a request is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Sectors are read; [`Block::fill`] takes what they hold.
    Read,
    /// Sectors are written, with what [`Request::data`] gives.
    Write,
    /// Everything that was written is to last.
    Flush,
}

/// A request to the disk: it lies within it, and is at most [`MAX_REQUEST_BYTES`] long.
pub struct Request<'a> {
    /// By which it is completed.
    pub tag: Tag,
    /// What it does.
    pub operation: Operation,
    /// The first sector.
    pub sector: u64,
    /// Bytes, a multiple of [`SECTOR_BYTES`].
    pub length: u64,
    chain: &'a Chain,
    memory: &'a dyn GuestMemory,
}

impl Request<'_> {
    /// Fills `into` with what is to be written from `offset` bytes inside the request on.
    ///
    /// # Errors
    /// If the guest's memory is not there any more; the request is then completed with [`DiskError`].
    pub fn data(&self, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        let within = self.operation == Operation::Write && offset.saturating_add(into.len() as u64) <= self.length;
        let read = self.chain.readable.read(self.memory, HEADER_BYTES as u64 + offset, into).map_err(|_| DiskError)?;
        if within && read == into.len() { Ok(()) } else { Err(DiskError) }
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tag, operation, sector, length, .. } = self;
        write!(f, "Request {{ {tag:?}, {operation:?}, sector {sector}, {length} bytes }}")
    }
}

/// The disk cannot take a request now. It is offered again at the next [`Device::process`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskBusy;

/// A request has failed: what it was to read or write is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskError;

/// The request of this name is over: it was completed, or the guest has reset the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale;

/// What carries requests out. It does not wait: [`Block::complete`] is called when one is done.
pub trait Disk {
    /// Sectors that it has.
    fn sectors(&self) -> u64;

    /// Whether it refuses to be written.
    fn is_read_only(&self) -> bool;

    /// Begins to carry a request out, whose data is to be copied before this returns.
    ///
    /// # Errors
    /// If it can take no more now.
    fn submit(&mut self, request: &Request<'_>) -> Result<(), DiskBusy>;
}

/// A request that is not complete.
#[derive(Debug)]
struct Outstanding {
    tag: Tag,
    chain: Chain,
    operation: Operation,
    length: u64,
}

/// A disk.
#[derive(Debug)]
pub struct Block<D> {
    disk: D,
    identifier: [u8; IDENTIFIER_BYTES as usize],
    life: u32,
    /// Whether the driver knows flush: without, every write is to last by itself.
    flushes: bool,
    /// The chain that the disk had no room for.
    waiting: Option<Chain>,
    outstanding: Vec<Outstanding>,
    /// Requests that are over, their status and the bytes written, for the used ring.
    completed: VecDeque<(Chain, u8, u64)>,
}

impl<D: Disk> Block<D> {
    /// A disk with a name, of which the first 20 bytes count.
    #[must_use]
    pub fn new(disk: D, name: &str) -> Self {
        let mut identifier = [0; IDENTIFIER_BYTES as usize];
        let length = name.len().min(identifier.len());
        identifier[..length].copy_from_slice(&name.as_bytes()[..length]);
        Self {
            disk,
            identifier,
            life: 0,
            flushes: false,
            waiting: None,
            outstanding: Vec::new(),
            completed: VecDeque::new(),
        }
    }

    /// What carries the requests out.
    pub fn disk(&mut self) -> &mut D {
        &mut self.disk
    }

    /// Whether the driver asks for what it has written to last by requests of their own. If not, a write is to be
    /// completed only when it lasts.
    #[must_use]
    pub fn has_flushes(&self) -> bool {
        self.flushes
    }

    /// Puts what was read into the guest's memory, from `offset` bytes inside the request on.
    ///
    /// # Errors
    /// If there is no such request, or it reads nothing there: nothing was written.
    pub fn fill(&mut self, tag: Tag, offset: u64, bytes: &[u8], memory: &mut dyn GuestMemory) -> Result<(), Stale> {
        let outstanding = self.outstanding.iter().find(|outstanding| outstanding.tag == tag).ok_or(Stale)?;
        let within = offset.saturating_add(bytes.len() as u64) <= outstanding.length;
        if outstanding.operation != Operation::Read || !within {
            return Err(Stale);
        }
        outstanding.chain.writable.write(memory, offset, bytes).map(|_| ()).map_err(|_| Stale)
    }

    /// A request is over. The guest hears of it at the next [`Device::process`].
    ///
    /// # Errors
    /// If there is no such request.
    pub fn complete(&mut self, tag: Tag, outcome: Result<(), DiskError>) -> Result<(), Stale> {
        let index = self.outstanding.iter().position(|outstanding| outstanding.tag == tag).ok_or(Stale)?;
        let outstanding = self.outstanding.swap_remove(index);
        let (status, written) = match (outcome, outstanding.operation) {
            (Ok(()), Operation::Read) => (STATUS_OK, outstanding.length),
            (Ok(()), _) => (STATUS_OK, 0),
            (Err(DiskError), _) => (STATUS_ERROR, 0),
        };
        self.completed.push_back((outstanding.chain, status, written));
        Ok(())
    }

    /// How many requests the disk works on.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Gives finished requests back to the driver.
    fn give_back(&mut self, queue: &mut Queue, memory: &mut dyn GuestMemory) -> Result<(), QueueError> {
        while let Some((chain, status, written)) = self.completed.pop_front() {
            // The status is the last byte (section 5.2.6), which was seen to be there.
            let at = chain.writable.length().saturating_sub(1);
            chain.writable.write(memory, at, &[status]).map_err(QueueError::BufferOutside)?;
            queue.push(chain.head, u32::try_from(written + 1).unwrap_or(u32::MAX), memory)?;
        }
        Ok(())
    }

    /// Begins with one chain. Returns it if the disk is busy.
    fn begin(&mut self, chain: Chain, memory: &mut dyn GuestMemory) -> Result<Option<Chain>, QueueError> {
        let malformed = QueueError::Malformed { head: chain.head };
        let mut header = [0; HEADER_BYTES];
        let read = chain.readable.read(memory, 0, &mut header).map_err(QueueError::BufferOutside)?;
        if read < HEADER_BYTES || chain.writable.length() == 0 {
            return Err(malformed);
        }
        let [t0, t1, t2, t3, _, _, _, _, sector @ ..] = header;
        let sector = u64::from_le_bytes(sector);
        let room = chain.writable.length() - 1;
        let (operation, length) = match u32::from_le_bytes([t0, t1, t2, t3]) {
            TYPE_IN => (Operation::Read, room),
            TYPE_OUT => (Operation::Write, chain.readable.length() - HEADER_BYTES as u64),
            TYPE_FLUSH => (Operation::Flush, 0),
            TYPE_GET_ID => {
                let length = (room.min(IDENTIFIER_BYTES)) as usize;
                let name = &self.identifier[..length];
                chain.writable.write(memory, 0, name).map_err(QueueError::BufferOutside)?;
                self.completed.push_back((chain, STATUS_OK, length as u64));
                return Ok(None);
            }
            _ => {
                self.completed.push_back((chain, STATUS_UNSUPPORTED, 0));
                return Ok(None);
            }
        };
        let sectors = length / SECTOR_BYTES;
        let inside = sector.checked_add(sectors).is_some_and(|end| end <= self.disk.sectors());
        let sound = length.is_multiple_of(SECTOR_BYTES)
            && length <= MAX_REQUEST_BYTES
            && (operation == Operation::Flush || length > 0 && inside)
            && (operation != Operation::Write || !self.disk.is_read_only());
        if !sound {
            self.completed.push_back((chain, STATUS_ERROR, 0));
            return Ok(None);
        }
        let tag = Tag { life: self.life, head: chain.head };
        let sector = if operation == Operation::Flush { 0 } else { sector };
        let request = Request { tag, operation, sector, length, chain: &chain, memory };
        if self.disk.submit(&request).is_err() {
            return Ok(Some(chain));
        }
        self.outstanding.push(Outstanding { tag, chain, operation, length });
        Ok(None)
    }
}

impl<D: Disk> Device for Block<D> {
    fn kind(&self) -> Kind {
        Kind::Block
    }

    fn features(&self) -> u64 {
        SIZE_MAX | SEGMENTS_MAX | FLUSH | if self.disk.is_read_only() { READ_ONLY } else { 0 }
    }

    fn queue_sizes(&self) -> &'static [u16] {
        QUEUE_SIZES
    }

    fn read_config(&self, offset: usize, into: &mut [u8]) {
        let mut image = [0; 16];
        image[..8].copy_from_slice(&self.disk.sectors().to_le_bytes());
        image[8..12].copy_from_slice(&MAX_SEGMENT_BYTES.to_le_bytes());
        image[12..].copy_from_slice(&MAX_SEGMENTS.to_le_bytes());
        read_bytes(&image, offset, into);
    }

    fn start(&mut self, features: u64) {
        self.flushes = features & FLUSH != 0;
    }

    fn reset(&mut self) {
        self.life = self.life.wrapping_add(1);
        self.waiting = None;
        self.outstanding.clear();
        self.completed.clear();
    }

    fn process(&mut self, queues: &mut [Queue], memory: &mut dyn GuestMemory) -> Result<(), QueueError> {
        let Some(queue) = queues.first_mut() else { return Ok(()) };
        self.give_back(queue, memory)?;
        while let Some(chain) = match self.waiting.take() {
            Some(chain) => Some(chain),
            None => queue.pop(memory)?,
        } {
            self.waiting = self.begin(chain, memory)?;
            // What ended at once is over before the next one, so that these do not pile up.
            self.give_back(queue, memory)?;
            if self.waiting.is_some() {
                break;
            }
        }
        Ok(())
    }
}
