//! Reading files directly, many parts at a time: a ring between a client of the file server and the disk's driver.
//!
//! The manifest gives a client a ring with its use of `filesystem`, and the file server lends it to the disk's driver. It is a
//! [`userlib::block_ring`] whose requests see files only, through windows: a file has one while it is open for direct
//! reading. What the client asks for goes from the disk to the ring's buffer area without being copied or kept by anybody on
//! the way, and without the file server.
//!
//! A client [joins](Client::join) first, by a call that is answered when nothing is under way any more of what a former life
//! of the client has asked for. If the server dies, its next instance takes its mark away before it closes the windows, and
//! the client finds the ring [`Gone`]: it joins again and opens its files again.
//!
//! Requests are answered in any order. Sectors are read whole, and what is behind a file's last whole sector is read by a
//! call.

use crate::filesystem::{FilesystemClient, FsError};
use crate::sentences;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use userlib::block_ring::{
    self, ClientCore, LENDERS_WORD, RequestError, RingError, SECTORS_PER_PAGE, SLOTS, Unavailable,
};
use userlib::environment::RingResources;
use userlib::executor;
use userlib::ipc::RetriedError;
use userlib::memory::SharedMemory;
use userlib::{Value, log};

/// Bytes of a sector, the unit in which parts of files are counted.
pub const SECTOR: usize = block_ring::SECTOR_SIZE;
/// Bytes of a page of the buffer area.
pub const PAGE: usize = 4096;
/// Requests that can be under way at a time.
pub const REQUESTS: usize = SLOTS;

/// A request to read a part of a file that was opened for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What the client calls it.
    pub number: u64,
    /// The file's window, as the server said when the file was opened.
    pub window: u16,
    /// First sector.
    pub sector: u64,
    /// Sectors, one at least.
    pub count: u32,
    /// Page of the buffer area in which they begin.
    pub page: u32,
}

/// The end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// What the client called it.
    pub number: u64,
    /// How many sectors were read: fewer than asked for at the file's end only.
    pub sectors: Result<u32, ReadError>,
}

/// Why a part of a file was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub enum ReadError {
    /// The file is not open for this.
    UnknownFile,
    /// No sectors were asked for, or they would not all be in the buffer area.
    OutsideOfBuffer,
    /// The disk could not read.
    DeviceFailed,
    /// There is no disk.
    NoDisk,
}

sentences!(ReadError {
    UnknownFile => "the file is not open for direct reading",
    OutsideOfBuffer => "the sectors would lie outside of the ring's buffer area",
    DeviceFailed => "the disk could not read",
    NoDisk => "there is no disk",
});

impl From<RequestError> for ReadError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::NoWindow => ReadError::UnknownFile,
            RequestError::NoDevice => ReadError::NoDisk,
            RequestError::Refused => ReadError::OutsideOfBuffer,
            RequestError::OutOfRange
            | RequestError::ReadOnly
            | RequestError::DeviceError
            | RequestError::Misbehaved => ReadError::DeviceFailed,
        }
    }
}

/// Why a request was not put into the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitError {
    /// As many as can be are under way: some have to complete first.
    Full,
    /// It could never be carried out.
    Failed(ReadError),
}

impl core::fmt::Display for SubmitError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            SubmitError::Full => f.write_str("as many requests as can be are under way"),
            SubmitError::Failed(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SubmitError {}

/// In a ring's memory, which instance of the file server its client has joined: that, plus one; 0 if it has joined none.
fn joined(memory: SharedMemory<'_>) -> u64 {
    memory.load(LENDERS_WORD, Ordering::Acquire).unwrap_or(0)
}

/// The file server says that the ring's client has joined this instance of it, or `None`.
pub fn set_joined(memory: SharedMemory<'_>, instance: Option<u32>) {
    let mark = instance.map_or(0, |instance| u64::from(instance) + 1);
    if memory.store(LENDERS_WORD, mark, Ordering::Release).is_err() {
        log::error!("a ring is too short to be joined");
    }
}

/// The file server is gone. What was asked for may still be answered or not; nothing of it is under way any more once the
/// ring is joined again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl core::fmt::Display for Gone {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the file server was restarted: join the ring and open the files again")
    }
}

impl core::error::Error for Gone {}

/// What is left of a request, and how much was read.
#[derive(Clone, Copy, Debug)]
struct Part {
    number: u64,
    rest: block_ring::Request,
    done: u32,
}

impl Part {
    /// What is left when so many more sectors were read; `None` if that is nothing.
    fn after(mut self, sectors: u32) -> Option<Self> {
        let place = u32::from(self.rest.skip) + sectors;
        self.done += sectors;
        self.rest = block_ring::Request {
            sector: self.rest.sector + u64::from(sectors),
            count: self.rest.count - sectors,
            page: self.rest.page + place / SECTORS_PER_PAGE,
            skip: (place % SECTORS_PER_PAGE) as u16,
            ..self.rest
        };
        (self.rest.count > 0).then_some(self)
    }
}

/// The client's side of a ring.
#[derive(Debug)]
pub struct Client {
    core: ClientCore<'static>,
    resources: RingResources,
    mark: u64,
    /// By slot.
    under_way: [Option<Part>; SLOTS],
    finished: VecDeque<Completion>,
    /// Requests were submitted of which the driver was not told.
    untold: bool,
}

impl Client {
    /// Joins the ring that the manifest gives this domain with its use of `filesystem`. What was open before for direct
    /// reading is not open any more.
    ///
    /// # Errors
    /// What the server says; `Unsupported` also if the ring cannot be used.
    pub async fn join(files: &FilesystemClient, resources: RingResources) -> Result<Self, RetriedError<FsError>> {
        files.join_ring()?;
        Self::attach(resources).await.map_err(|_| RetriedError::Failed(FsError::Unsupported))
    }

    /// Attaches to a ring that was joined just now, when nothing is under way any more of what a former life has asked for.
    ///
    /// # Errors
    /// [`RingError`].
    pub async fn attach(resources: RingResources) -> Result<Self, RingError> {
        let core = ClientCore::attach_lent(resources.shared)?;
        let (under_way, finished, mark) = ([None; SLOTS], VecDeque::new(), joined(resources.shared));
        let mut client = Self { core, resources, mark, under_way, finished, untold: false };
        // A former life may have died before it could tell the driver of what it had submitted.
        client.untold = client.core.has_orphans();
        client.tell();
        loop {
            client.core.collect(|_, _| {});
            if !client.core.has_orphans() {
                client.core.set_waiting(false);
                return Ok(client);
            }
            executor::bits(resources.bits).await;
        }
    }

    /// The buffer area, into which the disk writes.
    pub fn buffer(&self) -> SharedMemory<'static> {
        self.core.buffer()
    }

    /// Pages of the buffer area.
    pub fn buffer_pages(&self) -> usize {
        self.core.buffer_pages()
    }

    /// Puts a request into the ring; the driver is told of it, and of all others since, by [`Client::tell`]. Its part of the
    /// buffer area belongs to the disk until it is complete.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub fn submit(&mut self, request: &Request) -> Result<(), SubmitError> {
        let rest = block_ring::Request::read(request.sector, request.count, request.page).through(request.window);
        self.pass(Part { number: request.number, rest, done: 0 })
    }

    fn pass(&mut self, part: Part) -> Result<(), SubmitError> {
        let slot = self.core.submit(part.rest).map_err(|error| match error {
            Unavailable::Later => SubmitError::Full,
            Unavailable::Never(error) => SubmitError::Failed(error.into()),
        })?;
        if let Some(place) = self.under_way.get_mut(slot.index()) {
            *place = Some(part);
        }
        self.untold = true;
        Ok(())
    }

    /// Tells the driver of new requests, if it waits for some.
    pub fn tell(&mut self) {
        // A driver that is not there finds them when it comes back.
        if core::mem::take(&mut self.untold)
            && self.core.driver_waits()
            && let Err(error) = self.resources.peer.notify()
        {
            log::debug!("the disk's driver could not be notified: {error}");
        }
    }

    /// Takes what is complete, and asks for what is missing of it.
    fn collect(&mut self) {
        let mut unfinished = Vec::new();
        let Self { core, under_way, finished, .. } = self;
        core.collect(|slot, outcome| {
            let Some(part) = under_way.get_mut(slot.index()).and_then(Option::take) else { return };
            let (number, before) = (part.number, part.done);
            let sectors = match outcome {
                // What does not lie together on the disk is read bit by bit; nothing more comes behind the file's end.
                Ok(sectors) => match part.after(sectors).filter(|_| sectors > 0) {
                    Some(rest) => return unfinished.push(rest),
                    None => Ok(before + sectors),
                },
                Err(error) => Err(error.into()),
            };
            finished.push_back(Completion { number, sectors });
        });
        for part in unfinished {
            if self.pass(part).is_err() {
                let sectors = Err(ReadError::DeviceFailed);
                self.finished.push_back(Completion { number: part.number, sectors });
            }
        }
        self.tell();
    }

    /// The next request that is complete, if there is one.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn completion(&mut self) -> Result<Option<Completion>, Gone> {
        if self.finished.is_empty() {
            self.collect();
        }
        // What is complete was read from the file as long as it was read at all.
        match self.finished.pop_front() {
            Some(completion) if completion.sectors.is_ok() => Ok(Some(completion)),
            // Without a mark the server had died before it was read.
            _ if self.mark == 0 || joined(self.resources.shared) != self.mark => Err(Gone),
            other => Ok(other),
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
            self.core.set_waiting(true);
            let completion = self.completion();
            if completion == Ok(None) {
                executor::bits(self.resources.bits).await;
            }
            self.core.set_waiting(false);
            if let Some(completion) = completion? {
                return Ok(completion);
            }
        }
    }
}
