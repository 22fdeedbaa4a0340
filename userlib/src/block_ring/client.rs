//! The client's side of a ring.

use super::{
    BUFFER_OFFSET, COMPLETED, Counter, Layout, Request, RingError, SLOTS, SUBMITTED, Slot, Statistics, Status, slots,
};
use crate::environment::RingResources;
use crate::executor;
use crate::memory::SharedMemory;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::poll_fn;
use core::task::{Poll, Waker};

/// Why a request was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestError {
    /// It is no request: no sectors, or its data lies outside of the buffer area; or the driver says so.
    Refused,
    /// It reaches behind the disk's last sector.
    OutOfRange,
    /// The disk can only be read.
    ReadOnly,
    /// The disk reported an error.
    DeviceError,
    /// There is no disk.
    NoDevice,
    /// The driver did not keep to the ring's rules. Whether the request was carried out is not known.
    Misbehaved,
}

impl RequestError {
    /// The cause as a sentence for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            RequestError::Refused => "the request to the disk makes no sense",
            RequestError::OutOfRange => "the request reaches behind the end of the disk",
            RequestError::ReadOnly => "the disk can only be read",
            RequestError::DeviceError => "the disk reported an error",
            RequestError::NoDevice => "there is no disk",
            RequestError::Misbehaved => "the disk's driver broke the rules of the request ring",
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for RequestError {}

fn outcome(status: Option<Status>) -> Result<(), RequestError> {
    match status {
        Some(Status::Done) => Ok(()),
        Some(Status::Refused) => Err(RequestError::Refused),
        Some(Status::OutOfRange) => Err(RequestError::OutOfRange),
        Some(Status::ReadOnly) => Err(RequestError::ReadOnly),
        Some(Status::DeviceError) => Err(RequestError::DeviceError),
        Some(Status::NoDevice) => Err(RequestError::NoDevice),
        None => Err(RequestError::Misbehaved),
    }
}

/// Why a request cannot be submitted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// It would never be carried out.
    Never(RequestError),
    /// It overlaps a request that is in flight, or no slot is free, or a former client's requests are not yet complete.
    Later,
}

/// What the client knows of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Free,
    InFlight(Request),
    /// A former instance of the client has submitted it; nobody waits for it.
    Orphan,
}

/// A ring as its client sees it, without waiting: for [`BlockRing`] and for tests.
#[derive(Debug)]
pub struct ClientCore<'a> {
    layout: Layout<'a>,
    places: [Place; SLOTS],
}

impl<'a> ClientCore<'a> {
    /// Attaches to a ring, whatever a former instance has left in it. Nothing is submitted until the driver has completed
    /// what that one had submitted, since its data may still be on the way.
    ///
    /// # Errors
    /// [`RingError::TooShort`].
    pub fn attach(memory: SharedMemory<'a>) -> Result<Self, RingError> {
        let layout = Layout::new(memory)?;
        layout.publish_header();
        let mut core = Self { layout, places: [Place::Free; SLOTS] };
        for slot in slots(layout.bitmap(SUBMITTED).load()) {
            if let Some(place) = core.places.get_mut(slot.index()) {
                *place = Place::Orphan;
            }
        }
        Ok(core)
    }

    /// Whether the request could ever be carried out, as far as the client knows.
    fn check(&self, request: &Request) -> Result<(), Unavailable> {
        if request.is_sound(self.layout.buffer_pages()) {
            Ok(())
        } else {
            Err(Unavailable::Never(RequestError::Refused))
        }
    }

    /// Puts a request into the ring. The driver is then to be notified.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn submit(&mut self, request: Request) -> Result<Slot, Unavailable> {
        self.check(&request)?;
        let stands_in_the_way = |place: &Place| match place {
            Place::Free => false,
            Place::InFlight(other) => request.conflicts_with(other),
            Place::Orphan => true,
        };
        if self.places.iter().any(stands_in_the_way) {
            return Err(Unavailable::Later);
        }
        // A slot that the driver claims to be busy is left alone until it says otherwise.
        let busy = self.layout.bitmap(SUBMITTED).load() | self.layout.bitmap(COMPLETED).load();
        let free = slots(!busy).find(|slot| self.places.get(slot.index()) == Some(&Place::Free));
        let slot = free.ok_or(Unavailable::Later)?;
        if let Some(place) = self.places.get_mut(slot.index()) {
            *place = Place::InFlight(request);
        }
        self.layout.write_request(slot, &request);
        self.layout.count(Counter::Submitted, 1);
        self.layout.bitmap(SUBMITTED).set(slot);
        Ok(slot)
    }

    /// Collects completions: for each request that is no longer in flight, what became of it.
    pub fn collect(&mut self, mut completed: impl FnMut(Slot, Result<(), RequestError>)) {
        // In this order: a driver sets the one bit before it clears the other.
        let submitted = self.layout.bitmap(SUBMITTED).load();
        let done = self.layout.bitmap(COMPLETED).load();
        for (index, place) in self.places.iter_mut().enumerate() {
            let Some(slot) = Slot::new(index) else {
                continue;
            };
            let is_submitted = submitted & slot.mask() != 0;
            let is_done = done & slot.mask() != 0;
            if is_submitted {
                continue;
            }
            if is_done {
                let status = Status::from_number(self.layout.load(Layout::status_offset(slot)));
                self.layout.bitmap(COMPLETED).clear(slot);
                if let Place::InFlight(_) = place {
                    self.layout.count(Counter::Completed, 1);
                    completed(slot, outcome(status));
                }
                *place = Place::Free;
            } else if *place != Place::Free {
                // It is gone from the ring without ever having been completed.
                if let Place::InFlight(_) = place {
                    completed(slot, Err(RequestError::Misbehaved));
                }
                *place = Place::Free;
            }
        }
    }

    /// How many requests are in flight, a former client's included.
    pub fn in_flight(&self) -> usize {
        self.places.iter().filter(|place| **place != Place::Free).count()
    }

    /// The buffer area.
    pub fn buffer(&self) -> SharedMemory<'a> {
        let memory = self.layout.memory;
        // The area begins inside, which `Layout::new` has checked.
        memory.part(BUFFER_OFFSET..memory.len()).unwrap_or(SharedMemory::new(&[]))
    }

    /// Pages of the buffer area.
    pub fn buffer_pages(&self) -> usize {
        self.layout.buffer_pages()
    }

    /// What has happened in the ring.
    pub fn statistics(&self) -> Statistics {
        self.layout.statistics()
    }
}

/// A request that somebody waits for.
#[derive(Debug)]
struct Waiter {
    ticket: u64,
    request: Request,
    slot: Option<Slot>,
    outcome: Option<Result<(), RequestError>>,
    waker: Option<Waker>,
}

/// A ring as a file server uses it: requests are futures.
///
/// [`BlockRing::run`] must run as a task of its own, to collect completions.
#[derive(Debug)]
pub struct BlockRing {
    core: RefCell<ClientCore<'static>>,
    resources: RingResources,
    waiters: RefCell<Vec<Waiter>>,
    tickets: Cell<u64>,
}

/// Takes a request off the list when nobody waits for it any more. If it is in flight it stays so in the core, which
/// keeps others off its sectors until the driver is done with it.
struct Ticket<'a> {
    ring: &'a BlockRing,
    number: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.ring.waiters.borrow_mut().retain(|waiter| waiter.ticket != self.number);
        self.ring.start_waiting();
    }
}

impl BlockRing {
    /// Attaches to the ring that the domain was given.
    ///
    /// # Errors
    /// [`RingError`].
    pub fn attach(resources: RingResources) -> Result<Self, RingError> {
        Ok(Self {
            core: RefCell::new(ClientCore::attach(resources.shared)?),
            resources,
            waiters: RefCell::new(Vec::new()),
            tickets: Cell::new(0),
        })
    }

    /// Collects completions for ever, whenever the driver tells of some.
    pub async fn run(&self) {
        loop {
            self.collect();
            executor::bits(self.resources.bits).await;
        }
    }

    fn collect(&self) {
        let mut waiters = self.waiters.borrow_mut();
        self.core.borrow_mut().collect(|slot, outcome| {
            if let Some(waiter) = waiters.iter_mut().find(|waiter| waiter.slot == Some(slot)) {
                waiter.outcome = Some(outcome);
                waiter.slot = None;
                if let Some(waker) = waiter.waker.take() {
                    waker.wake();
                }
            }
        });
        drop(waiters);
        self.start_waiting();
    }

    /// Submits what waits and can be submitted now: in the order of arrival, as far as requests overlap.
    fn start_waiting(&self) {
        let mut waiters = self.waiters.borrow_mut();
        let mut core = self.core.borrow_mut();
        let mut submitted = false;
        for index in 0..waiters.len() {
            let (before, rest) = waiters.split_at_mut(index);
            let Some(waiter) = rest.first_mut().filter(|w| w.slot.is_none() && w.outcome.is_none()) else {
                continue;
            };
            let is_behind_another =
                before.iter().any(|other| other.outcome.is_none() && waiter.request.conflicts_with(&other.request));
            if is_behind_another {
                continue;
            }
            match core.submit(waiter.request) {
                Ok(slot) => {
                    waiter.slot = Some(slot);
                    submitted = true;
                }
                Err(Unavailable::Never(error)) => {
                    waiter.outcome = Some(Err(error));
                    if let Some(waker) = waiter.waker.take() {
                        waker.wake();
                    }
                }
                Err(Unavailable::Later) => {}
            }
        }
        // A driver that is not there finds the request when it comes back.
        if submitted && let Err(error) = self.resources.peer.notify() {
            log::debug!("the driver could not be notified: {error}");
        }
    }

    /// Carries out a request: waits for its turn, for a slot and for the driver, however often that dies meanwhile.
    ///
    /// If this future is dropped while the request is in flight, the request goes on, and its pages of the buffer area
    /// are not to be used until [`BlockRing::in_flight`] is 0.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn submit(&self, request: Request) -> Result<(), RequestError> {
        let number = self.tickets.get();
        self.tickets.set(number + 1);
        self.waiters.borrow_mut().push(Waiter { ticket: number, request, slot: None, outcome: None, waker: None });
        let ticket = Ticket { ring: self, number };
        self.start_waiting();
        let outcome = poll_fn(|context| {
            let mut waiters = self.waiters.borrow_mut();
            let Some(waiter) = waiters.iter_mut().find(|waiter| waiter.ticket == number) else {
                return Poll::Ready(Err(RequestError::Misbehaved));
            };
            if let Some(outcome) = waiter.outcome {
                return Poll::Ready(outcome);
            }
            waiter.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        drop(ticket);
        outcome
    }

    /// Reads sectors into the buffer area, from page `page` on.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn read(&self, sector: u64, count: u32, page: u32) -> Result<(), RequestError> {
        self.submit(Request::read(sector, count, page)).await
    }

    /// Writes sectors from the buffer area, from page `page` on.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn write(&self, sector: u64, count: u32, page: u32) -> Result<(), RequestError> {
        self.submit(Request::write(sector, count, page)).await
    }

    /// Brings everything that was written before to the disk itself.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn flush(&self) -> Result<(), RequestError> {
        self.submit(Request::flush()).await
    }

    /// How many requests are in flight.
    pub fn in_flight(&self) -> usize {
        self.core.borrow().in_flight()
    }

    /// The buffer area.
    pub fn buffer(&self) -> SharedMemory<'static> {
        self.core.borrow().buffer()
    }

    /// Pages of the buffer area.
    pub fn buffer_pages(&self) -> usize {
        self.core.borrow().buffer_pages()
    }

    /// What has happened in the ring.
    pub fn statistics(&self) -> Statistics {
        self.core.borrow().statistics()
    }
}
