//! The client's side of a ring.

use super::windows::{Window, WindowTable, Windows};
use super::{
    BUFFER_OFFSET, CLIENT_WAITS, COMPLETED, Counter, DRIVER_WAITS, Layout, Request, RingError, SLOTS, SUBMITTED, Slot,
    Statistics, Status, slots,
};
use crate::environment::RingResources;
use crate::executor;
use crate::memory::SharedMemory;
use crate::sync::Event;
use crate::time::Duration;
use abi::PAGE_SIZE;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::poll_fn;
use core::task::{Poll, Waker};

/// After so long without a completion a notification may have been lost. Disks that take longer are asked for no harm.
const LOST: Duration = Duration::from_millis(250);

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
    /// It names no window that is open to the ring.
    NoWindow,
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
            RequestError::NoWindow => "the request names no part of the disk that may be read",
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

/// How many sectors of a request were read or written, by the word of its status.
fn outcome(word: u64, request: &Request) -> Result<u32, RequestError> {
    let sectors = (word >> 32) as u32;
    match Status::from_number(word & u64::from(u32::MAX)) {
        Some(Status::Done) if sectors <= request.count => Ok(sectors),
        Some(Status::Refused) => Err(RequestError::Refused),
        Some(Status::OutOfRange) => Err(RequestError::OutOfRange),
        Some(Status::ReadOnly) => Err(RequestError::ReadOnly),
        Some(Status::DeviceError) => Err(RequestError::DeviceError),
        Some(Status::NoDevice) => Err(RequestError::NoDevice),
        Some(Status::NoWindow) => Err(RequestError::NoWindow),
        Some(Status::Done) | None => Err(RequestError::Misbehaved),
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
    buffer_pages: usize,
    /// Of a ring that is not lent itself.
    windows: Option<WindowTable<'a>>,
    places: [Place; SLOTS],
    /// The slots whose places are not free.
    busy: u128,
    orphans: usize,
    /// How many of those in flight write: nothing else stands in the way of a request that reads.
    writes: usize,
}

impl<'a> ClientCore<'a> {
    /// Attaches to a ring, whatever a former instance has left in it: windows that it had opened are closed. Nothing is
    /// submitted until the driver has completed what that one had submitted, and what was under way through its windows,
    /// since the data may still be on the way.
    ///
    /// # Errors
    /// [`RingError::TooShort`].
    pub fn attach(memory: SharedMemory<'a>) -> Result<Self, RingError> {
        Self::look(memory, Some(WindowTable::attach(Windows::new(memory))))
    }

    /// Attaches to a ring that the own server lends to its driver: requests in it name windows, and there are none into it.
    /// Whatever a former instance has written there, it can be used again when nothing of it is under way.
    ///
    /// # Errors
    /// [`RingError::TooShort`].
    pub fn attach_lent(memory: SharedMemory<'a>) -> Result<Self, RingError> {
        let core = Self::look(memory, None)?;
        // What is both is over for the driver and under way for the client, for ever.
        slots(core.busy).for_each(|slot| core.layout.bitmap(COMPLETED).clear(slot));
        Ok(core)
    }

    fn look(memory: SharedMemory<'a>, windows: Option<WindowTable<'a>>) -> Result<Self, RingError> {
        let layout = Layout::new(memory)?;
        layout.publish_header();
        let (buffer_pages, places) = (layout.buffer_pages(), [Place::Free; SLOTS]);
        let mut core = Self { layout, buffer_pages, windows, places, busy: 0, orphans: 0, writes: 0 };
        for slot in slots(layout.bitmap(SUBMITTED).load()) {
            if let Some(place) = core.places.get_mut(slot.index()) {
                *place = Place::Orphan;
                core.busy |= slot.mask();
                core.orphans += 1;
            }
        }
        // Whatever a former instance has said of itself, this one is not awake yet.
        layout.set_waiting(CLIENT_WAITS, true);
        Ok(core)
    }

    /// Sets the last pages of the buffer area aside for what windows need; one page is left at least.
    pub fn reserve_for_windows(&mut self, pages: usize) {
        let end = self.layout.memory.len() / PAGE_SIZE as usize * PAGE_SIZE as usize;
        self.buffer_pages = self.layout.buffer_pages().saturating_sub(pages).max(1);
        if let Some(windows) = &mut self.windows {
            windows.set_room(BUFFER_OFFSET + self.buffer_pages * PAGE_SIZE as usize..end);
        }
    }

    /// Lets requests in the lent ring with number `area` read `sectors` of the disk, which lie in these extents: for each the
    /// first sector as those requests count them, in order and from 0 on, and where that one lies. `None` if there is no room
    /// for one more window, or for its extents, or a former client's are in use.
    pub fn open_window(
        &mut self,
        area: u16,
        sectors: u64,
        extents: impl ExactSizeIterator<Item = (u64, u64)>,
    ) -> Option<Window> {
        self.windows.as_mut()?.open(area, sectors, extents)
    }

    /// Lets no further request through a window. Those under way go on until it is [over](ClientCore::is_window_over).
    pub fn close_window(&mut self, window: Window) {
        if let Some(windows) = &self.windows {
            windows.close(window);
        }
    }

    /// Whether nothing is under way any more through a window that was closed. Its number is used again then.
    pub fn is_window_over(&mut self, window: Window) -> bool {
        self.windows.as_mut().is_none_or(|windows| windows.is_over(window))
    }

    /// Puts a request into the ring. The driver is then to be notified if it [waits](ClientCore::driver_waits).
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn submit(&mut self, request: Request) -> Result<Slot, Unavailable> {
        if !request.is_sound(self.buffer_pages) {
            return Err(Unavailable::Never(RequestError::Refused));
        }
        let stands_in_the_way =
            |place: &Place| matches!(place, Place::InFlight(other) if request.conflicts_with(other));
        let may_conflict = self.writes > 0 || request.is_write();
        if self.has_orphans() || may_conflict && self.places.iter().any(stands_in_the_way) {
            return Err(Unavailable::Later);
        }
        // A slot that the driver claims to be busy is left alone until it says otherwise.
        let busy = self.layout.bitmap(SUBMITTED).load() | self.layout.bitmap(COMPLETED).load() | self.busy;
        let slot = slots(!busy).next().ok_or(Unavailable::Later)?;
        if let Some(place) = self.places.get_mut(slot.index()) {
            *place = Place::InFlight(request);
        }
        self.busy |= slot.mask();
        self.writes += usize::from(request.is_write());
        self.layout.write_request(slot, &request);
        self.layout.count(Counter::Submitted, 1);
        self.layout.bitmap(SUBMITTED).set(slot);
        Ok(slot)
    }

    /// Collects completions: for each request that is no longer in flight, what became of it, and how many of its sectors were
    /// read or written: all of them, but if it went through a window.
    pub fn collect(&mut self, mut completed: impl FnMut(Slot, Result<u32, RequestError>)) {
        if let Some(windows) = &mut self.windows {
            windows.look_for_former();
        }
        // In this order: a driver sets the one bit before it clears the other.
        let submitted = self.layout.bitmap(SUBMITTED).load();
        let done = self.layout.bitmap(COMPLETED).load();
        for slot in slots((done | self.busy) & !submitted) {
            let is_done = done & slot.mask() != 0;
            let status = self.layout.load(Layout::status_offset(slot));
            if is_done {
                self.layout.bitmap(COMPLETED).clear(slot);
            }
            let Some(place) = self.places.get_mut(slot.index()) else { continue };
            match core::mem::replace(place, Place::Free) {
                Place::Free => {}
                Place::Orphan => self.orphans -= 1,
                Place::InFlight(request) => {
                    self.writes -= usize::from(request.is_write());
                    if is_done {
                        self.layout.count(Counter::Completed, 1);
                        completed(slot, outcome(status, &request));
                    } else {
                        // What is gone from the ring without ever having been completed is over, too.
                        completed(slot, Err(RequestError::Misbehaved));
                    }
                }
            }
            self.busy &= !slot.mask();
        }
    }

    /// Whether requests of a former client are still under way, or some through its windows.
    pub fn has_orphans(&self) -> bool {
        self.orphans > 0 || self.windows.as_ref().is_some_and(WindowTable::has_former)
    }

    /// Whether the driver is to be notified of what was submitted: it waits for that.
    pub fn driver_waits(&self) -> bool {
        self.layout.is_waiting(DRIVER_WAITS)
    }

    /// Says that the client is about to wait, so that it is notified of what is completed from now on, or that it is awake.
    /// After the former it collects once more.
    pub fn set_waiting(&self, waits: bool) {
        self.layout.set_waiting(CLIENT_WAITS, waits);
    }

    /// How many requests are in flight, a former client's included.
    pub fn in_flight(&self) -> usize {
        self.busy.count_ones() as usize
    }

    /// The buffer area.
    pub fn buffer(&self) -> SharedMemory<'a> {
        let memory = self.layout.memory;
        // The area begins inside, which `Layout::new` has checked.
        memory.part(BUFFER_OFFSET..memory.len()).unwrap_or(SharedMemory::new(&[]))
    }

    /// Pages of the buffer area.
    pub fn buffer_pages(&self) -> usize {
        self.buffer_pages
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
/// [`BlockRing::run`] must run as a task of its own, to collect completions, and [`BlockRing::watch`] should.
pub struct BlockRing {
    core: RefCell<ClientCore<'static>>,
    resources: RingResources,
    waiters: RefCell<Vec<Waiter>>,
    tickets: Cell<u64>,
    /// Completions were collected, and windows may be over.
    collected: Event,
}

impl fmt::Debug for BlockRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockRing").field("core", &self.core).field("waiters", &self.waiters).finish_non_exhaustive()
    }
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
            collected: Event::new(),
        })
    }

    /// Collects completions for ever, whenever the driver tells of some.
    pub async fn run(&self) {
        loop {
            self.core.borrow().set_waiting(true);
            self.collect();
            executor::bits(self.resources.bits).await;
            self.core.borrow().set_waiting(false);
            self.collect();
        }
    }

    /// Sees to it for ever that no request waits because a notification was lost, the driver's or the own one: as a task of its
    /// own, too. A ring in which nothing was completed for a while although requests are under way is looked at, and its driver
    /// is told of them once more.
    pub async fn watch(&self) {
        loop {
            let completed = self.statistics().completed;
            executor::sleep(LOST).await;
            if self.in_flight() == 0 || self.statistics().completed != completed {
                continue;
            }
            self.collect();
            // Whether it waits for that or not: it may believe that it was told.
            if self.in_flight() > 0
                && let Err(error) = self.resources.peer.notify()
            {
                log::debug!("the driver could not be notified: {error}");
            }
        }
    }

    fn collect(&self) {
        let mut waiters = self.waiters.borrow_mut();
        self.core.borrow_mut().collect(|slot, outcome| {
            if let Some(waiter) = waiters.iter_mut().find(|waiter| waiter.slot == Some(slot)) {
                waiter.outcome = Some(outcome.map(|_| ()));
                waiter.slot = None;
                if let Some(waker) = waiter.waker.take() {
                    waker.wake();
                }
            }
        });
        drop(waiters);
        self.start_waiting();
        self.collected.signal();
    }

    /// As [`ClientCore::reserve_for_windows`], before anything else.
    pub fn reserve_for_windows(&self, pages: usize) {
        self.core.borrow_mut().reserve_for_windows(pages);
    }

    /// As [`ClientCore::open_window`].
    pub fn open_window(
        &self,
        area: u16,
        sectors: u64,
        extents: impl ExactSizeIterator<Item = (u64, u64)>,
    ) -> Option<Window> {
        self.core.borrow_mut().open_window(area, sectors, extents)
    }

    /// Lets no further request through a window, and waits until nothing is under way through it. Whoever asks for this
    /// again, or after others have got the number, is answered at once.
    pub async fn close_window(&self, window: Window) {
        self.core.borrow_mut().close_window(window);
        loop {
            let collected = self.collected.next();
            if self.core.borrow_mut().is_window_over(window) {
                return;
            }
            collected.await;
        }
    }

    /// Tells the driver of requests, if it waits for some.
    fn tell_driver(&self) {
        // A driver that is not there finds the requests when it comes back.
        if self.core.borrow().driver_waits()
            && let Err(error) = self.resources.peer.notify()
        {
            log::debug!("the driver could not be notified: {error}");
        }
    }

    /// Submits what waits and can be submitted now: in the order of arrival, as far as requests overlap.
    fn start_waiting(&self) {
        let mut waiters = self.waiters.borrow_mut();
        if waiters.is_empty() {
            return;
        }
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
        drop((waiters, core));
        if submitted {
            self.tell_driver();
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

    /// Whether requests of a former client are still under way.
    pub fn has_orphans(&self) -> bool {
        self.core.borrow().has_orphans()
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
