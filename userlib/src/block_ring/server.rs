//! The driver's side of a ring.

use super::{
    ACCEPTED, Areas, CLIENT_WAITS, COMPLETED, Counter, DRIVER_WAITS, Layout, Operation, Request, RingError, SLOTS,
    SUBMITTED, Slot, Statistics, Status, slots,
};
use crate::memory::SharedMemory;
use core::sync::atomic::Ordering;

/// What a disk can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sectors that it has.
    pub sectors: u64,
    /// The most sectors in one request.
    pub request_sectors: u32,
    /// Whether it can only be read.
    pub read_only: bool,
}

/// A request that the driver has taken: checked, and its own copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Where it came from, to complete it.
    pub slot: Slot,
    /// What is to be done.
    pub request: Request,
}

/// A ring as its driver sees it.
#[derive(Debug)]
pub struct RingServer<'a> {
    layout: Layout<'a>,
    limits: Limits,
    areas: Areas,
    in_flight: [Option<Request>; SLOTS],
    taken: u128,
    /// How many of those taken write: nothing else stands in the way of a request that reads.
    writes: usize,
    must_notify: bool,
}

impl<'a> RingServer<'a> {
    /// Attaches to a ring, whatever a predecessor has left in it: completions that it had begun are finished; requests
    /// that it had taken will be [taken](RingServer::take) again. Afterwards the client is to be notified, since the
    /// predecessor may not have come to that.
    ///
    /// A ring to which no client has attached yet is empty.
    ///
    /// # Errors
    /// [`RingError`].
    pub fn attach(memory: SharedMemory<'a>, limits: Limits) -> Result<Self, RingError> {
        let layout = Layout::new(memory)?;
        layout.check_header()?;
        let areas = Areas::new(layout.buffer_pages());
        let ring = Self { layout, limits, areas, in_flight: [None; SLOTS], taken: 0, writes: 0, must_notify: true };
        ring.layout.set_waiting(DRIVER_WAITS, false);
        let submitted = ring.layout.bitmap(SUBMITTED).load();
        let completed = ring.layout.bitmap(COMPLETED).load();
        for slot in slots(submitted & completed) {
            ring.layout.bitmap(SUBMITTED).clear(slot);
        }
        let accepted = ring.layout.bitmap(ACCEPTED).load();
        for slot in slots(accepted) {
            ring.layout.bitmap(ACCEPTED).clear(slot);
        }
        let repeated = (accepted & submitted & !completed).count_ones();
        ring.layout.count(Counter::Generations, 1);
        ring.layout.count(Counter::Repeated, repeated.into());
        ring.layout.count(Counter::RestartsInFlight, (repeated > 0).into());
        Ok(ring)
    }

    /// Notes a further area of so many pages, which the device can reach. A number that cannot be is left alone.
    pub fn lend(&mut self, area: u16, pages: usize) {
        self.areas.lend(area, pages);
    }

    /// Takes the next request that is to be carried out, if there is any. Requests that make no sense are completed with
    /// the reason by themselves.
    pub fn take(&mut self) -> Option<Taken> {
        loop {
            // A bit in `completed` that the client has not yet cleared keeps the slot busy, whatever the client claims.
            let waiting = self.layout.bitmap(SUBMITTED).load() & !self.taken & !self.layout.bitmap(COMPLETED).load();
            let slot = slots(waiting).next()?;
            // The one copy: what the client writes into the slot from here on does not matter.
            let request = self.layout.read_request(slot);
            match request.ok_or(Status::Refused).and_then(|request| self.check(request)) {
                Ok(request) => {
                    if let Some(place) = self.in_flight.get_mut(slot.index()) {
                        *place = Some(request);
                    }
                    self.taken |= slot.mask();
                    self.writes += usize::from(request.is_write());
                    self.layout.bitmap(ACCEPTED).set(slot);
                    return Some(Taken { slot, request });
                }
                Err(status) => self.finish(slot, status),
            }
        }
    }

    /// Whether there are requests that were not taken yet.
    pub fn has_waiting(&self) -> bool {
        self.layout.bitmap(SUBMITTED).load() & !self.taken & !self.layout.bitmap(COMPLETED).load() != 0
    }

    fn check(&self, request: Request) -> Result<Request, Status> {
        if !request.is_sound(&self.areas) || request.count > self.limits.request_sectors {
            return Err(Status::Refused);
        }
        let may_conflict = self.writes > 0 || request.is_write();
        if may_conflict && self.in_flight.iter().flatten().any(|other| request.conflicts_with(other)) {
            return Err(Status::Refused);
        }
        if request.sector.saturating_add(request.count.into()) > self.limits.sectors {
            return Err(Status::OutOfRange);
        }
        if self.limits.read_only && request.operation == Operation::Write {
            return Err(Status::ReadOnly);
        }
        Ok(request)
    }

    /// Completes a request that was taken. (One that was not is left alone.)
    pub fn complete(&mut self, slot: Slot, status: Status) {
        let taken = self.in_flight.get_mut(slot.index()).and_then(Option::take);
        if let Some(request) = taken {
            self.taken &= !slot.mask();
            self.writes -= usize::from(request.is_write());
            self.layout.bitmap(ACCEPTED).clear(slot);
            self.finish(slot, status);
        }
    }

    fn finish(&mut self, slot: Slot, status: Status) {
        self.layout.store(Layout::status_offset(slot), status as u64);
        self.layout.bitmap(COMPLETED).set(slot);
        self.layout.bitmap(SUBMITTED).clear(slot);
        self.must_notify = true;
    }

    /// Whether the client is to be notified of something that happened since this was last asked: it waits for that.
    pub fn take_notification(&mut self) -> bool {
        core::mem::take(&mut self.must_notify) && self.layout.is_waiting(CLIENT_WAITS)
    }

    /// Says that the driver is about to wait, so that it is notified of what comes from now on, or that it is awake. After
    /// the former it looks once more for what has come meanwhile.
    pub fn set_waiting(&self, waits: bool) {
        self.layout.set_waiting(DRIVER_WAITS, waits);
    }

    /// How many requests are taken and not complete.
    pub fn in_flight(&self) -> usize {
        self.taken.count_ones() as usize
    }

    /// Changes what the disk can do, for requests that are taken from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The ring's memory: data of a request lies at [`Request::buffer_offset`].
    pub fn memory(&self) -> SharedMemory<'a> {
        self.layout.memory
    }

    /// What has happened in the ring.
    pub fn statistics(&self) -> Statistics {
        core::sync::atomic::fence(Ordering::Acquire);
        self.layout.statistics()
    }
}
