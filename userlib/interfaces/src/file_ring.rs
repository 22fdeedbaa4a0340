//! Reading files directly, many parts at a time: a ring between a client and the file server.
//!
//! The manifest gives a client a ring with its use of `filesystem`. What the client asks for there goes from the disk to
//! the ring's buffer area without being copied or kept by anybody on the way. The ring is two queues of plain values
//! ([`userlib::ring`]), each side of which is notified only while it waits, and the buffer area.
//!
//! | offset | contents | written by |
//! | --- | --- | --- |
//! | 0 | the server's instance that has joined, plus one; 0 if none has | server |
//! | 64 | queue of [`Request`] | client |
//! | 4096 | queue of [`Completion`] | server |
//! | 8192 | buffer area, in pages | the disk |
//!
//! A client [joins](Client::join) first, by a call that is answered when nothing is under way any more of what a former life
//! of the client has asked for. If the server dies, its next instance takes its mark away when nothing is under way of what
//! its predecessor has asked the disk for, and the client finds the ring [`Gone`]: it joins again and opens its files again.
//!
//! Requests are answered in any order. Sectors are read whole: offset and length are multiples of [`SECTOR`], and what is
//! behind a file's last whole sector is read by a call.

use crate::filesystem::{FilesystemClient, FsError};
use crate::sentences;
use core::sync::atomic::Ordering;
use userlib::environment::RingResources;
use userlib::executor;
use userlib::ipc::RetriedError;
use userlib::memory::SharedMemory;
use userlib::ring::{Broken, Consumer, Producer, PushError};
use userlib::{Value, log};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Bytes of a sector, the unit of offsets and lengths.
pub const SECTOR: usize = 512;
/// Bytes of a page of the buffer area.
pub const PAGE: usize = 4096;
/// Where the buffer area begins, in bytes.
pub const BUFFER_OFFSET: usize = 2 * PAGE;
/// Pages that are not buffer area.
pub const HEADER_PAGES: usize = 2;
/// Where the queue of requests lies, in bytes.
pub const REQUESTS: core::ops::Range<usize> = 64..PAGE;
/// Where the queue of completions lies, in bytes.
pub const COMPLETIONS: core::ops::Range<usize> = PAGE..2 * PAGE;

/// A request to read a part of a file that was opened for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Request {
    /// What the client calls it.
    pub number: u64,
    /// The file's id.
    pub file: u64,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u32,
    /// Page of the buffer area in which the bytes begin.
    pub page: u32,
}

/// The end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Completion {
    /// What the client called it.
    pub number: u64,
    result: u64,
}

/// Why a part of a file was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub enum ReadError {
    /// The file is not open for this.
    UnknownFile,
    /// Offset or length is no multiple of the sector size.
    Unaligned,
    /// The bytes would not all be in the buffer area.
    OutsideOfBuffer,
    /// The disk could not read.
    DeviceFailed,
    /// There is no disk.
    NoDisk,
}

sentences!(ReadError {
    UnknownFile => "the file is not open for direct reading",
    Unaligned => "only whole sectors of 512 bytes are read directly",
    OutsideOfBuffer => "the bytes would lie outside of the ring's buffer area",
    DeviceFailed => "the disk could not read",
    NoDisk => "there is no disk",
});

const ERRORS: [ReadError; 5] = [
    ReadError::UnknownFile,
    ReadError::Unaligned,
    ReadError::OutsideOfBuffer,
    ReadError::DeviceFailed,
    ReadError::NoDisk,
];
/// The upper half of a result that is an error.
const IS_ERROR: u64 = 1 << 63;

impl Completion {
    /// The end of the request that the client calls `number`.
    pub fn new(number: u64, result: Result<u32, ReadError>) -> Self {
        let result = match result {
            Ok(bytes) => bytes.into(),
            Err(error) => IS_ERROR | ERRORS.iter().position(|other| *other == error).unwrap_or(0) as u64,
        };
        Self { number, result }
    }

    /// How many bytes were read: fewer than asked for at the file's end only.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn bytes(&self) -> Result<usize, ReadError> {
        if self.result & IS_ERROR == 0 {
            return Ok(self.result as usize);
        }
        Err(ERRORS.get((self.result & !IS_ERROR) as usize).copied().unwrap_or(ReadError::DeviceFailed))
    }
}

/// The memory of a ring, with its parts by name.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    mark: SharedMemory<'static>,
    /// The queue of requests.
    pub requests: SharedMemory<'static>,
    /// The queue of completions.
    pub completions: SharedMemory<'static>,
    /// The buffer area.
    pub buffer: SharedMemory<'static>,
}

impl Parts {
    /// The parts of a ring's memory; `None` if it has no room for even one page of data.
    pub fn of(memory: SharedMemory<'static>) -> Option<Self> {
        let buffer = memory.part(BUFFER_OFFSET..memory.len() / PAGE * PAGE).filter(|buffer| !buffer.is_empty())?;
        Some(Self {
            mark: memory.part(0..8)?,
            requests: memory.part(REQUESTS)?,
            completions: memory.part(COMPLETIONS)?,
            buffer,
        })
    }

    /// Which instance of the server has joined.
    fn joined(&self) -> u64 {
        self.mark.load(0, Ordering::Acquire).unwrap_or(0)
    }

    /// The server has joined in this instance of it, or `None` has.
    pub fn set_joined(&self, instance: Option<u32>) {
        let mark = instance.map_or(0, |instance| u64::from(instance) + 1);
        let written = self.mark.store(0, mark, Ordering::Release);
        debug_assert!(written.is_ok());
    }
}

/// The other side is gone, or does not keep to the ring's rules. What was asked for will not be answered; nothing of it is
/// under way any more once the ring is joined again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl core::fmt::Display for Gone {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the file server was restarted: join the ring and open the files again")
    }
}

impl core::error::Error for Gone {}

impl From<Broken> for Gone {
    fn from(_: Broken) -> Self {
        Gone
    }
}

/// The client's side of a ring.
#[derive(Debug)]
pub struct Client {
    parts: Parts,
    requests: Producer<Request, SharedMemory<'static>>,
    completions: Consumer<Completion, SharedMemory<'static>>,
    resources: RingResources,
    mark: u64,
}

impl Client {
    /// Joins the ring that the manifest gives this domain with its use of `filesystem`. What was open before for direct
    /// reading is not open any more.
    ///
    /// # Errors
    /// What the server says; `Unsupported` also if the ring cannot be used.
    pub fn join(files: &FilesystemClient, resources: RingResources) -> Result<Self, RetriedError<FsError>> {
        let unusable = RetriedError::Failed(FsError::Unsupported);
        let parts = Parts::of(resources.shared).ok_or(unusable)?;
        files.join_ring()?;
        let requests = Producer::attach(parts.requests).map_err(|_| unusable)?;
        let completions = Consumer::attach(parts.completions).map_err(|_| unusable)?;
        Ok(Self { parts, requests, completions, resources, mark: parts.joined() })
    }

    /// The buffer area, into which the disk writes.
    pub fn buffer(&self) -> SharedMemory<'static> {
        self.parts.buffer
    }

    /// Pages of the buffer area.
    pub fn buffer_pages(&self) -> usize {
        self.parts.buffer.len() / PAGE
    }

    /// Puts a request into the ring; the server is told of it, and of all others since, by [`Client::tell`]. Its part of the
    /// buffer area belongs to the server until it is complete.
    ///
    /// # Errors
    /// [`PushError`]: `Full` until completions have been taken.
    pub fn submit(&mut self, request: &Request) -> Result<(), PushError> {
        self.requests.push(request)
    }

    /// Tells the server of new requests, if it waits for some.
    pub fn tell(&mut self) {
        if self.requests.must_notify() {
            self.notify();
        }
    }

    /// The next request that is complete, if there is one.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn completion(&mut self) -> Result<Option<Completion>, Gone> {
        if let Some(completion) = self.completions.pop()? {
            return Ok(Some(completion));
        }
        // A server whose queue was full waits for room.
        if self.completions.must_notify() {
            self.notify();
        }
        if self.parts.joined() == self.mark { Ok(None) } else { Err(Gone) }
    }

    fn notify(&self) {
        if let Err(error) = self.resources.peer.notify() {
            log::debug!("the file server could not be notified: {error}");
        }
    }

    /// Waits for the next request that is complete.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn next(&mut self) -> Result<Completion, Gone> {
        loop {
            if let Some(completion) = self.completion()? {
                return Ok(completion);
            }
            if self.completions.may_wait()? && self.parts.joined() == self.mark {
                executor::bits(self.resources.bits).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_completion_tells_what_it_was_made_of() {
        for result in ERRORS.map(Err).into_iter().chain([Ok(0), Ok(u32::MAX)]) {
            assert_eq!(Completion::new(7, result).bytes(), result.map(|bytes| bytes as usize));
        }
    }

    #[test]
    fn any_bytes_are_some_completion() {
        let completion = Completion { number: 1, result: u64::MAX };
        assert_eq!(completion.bytes(), Err(ReadError::DeviceFailed));
    }
}
