//! The driver's side of a ring.

use super::windows::Windows;
use super::{
    ACCEPTED, CLIENT_WAITS, COMPLETED, Counter, DRIVER_WAITS, Layout, Operation, Request, RingError, SLOTS, SUBMITTED,
    Slot, Statistics, Status, slots,
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

/// The most sectors that are read at a time for the owner of a lent ring: a full queue of such does not keep a slow disk for so
/// long that it seems to be silent.
const LENT_SECTORS: u32 = 2048;

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
    buffer_pages: usize,
    /// Of a lent ring: the windows of whose client it is, and its number among those lent.
    windows: Option<(Windows<'a>, u16)>,
    in_flight: [Option<Request>; SLOTS],
    taken: u128,
    /// How many of those taken write: nothing else stands in the way of a request that reads.
    writes: usize,
    must_notify: bool,
    /// The last request is over that was under way through a window which is closed.
    must_tell_lender: bool,
    /// Requests that a predecessor had taken.
    repeated: u64,
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
        Windows::new(memory).forget_requests();
        let ring = Self::serve(layout, layout.buffer_pages(), limits, None);
        ring.layout.count(Counter::Generations, 1);
        ring.count_repeated(0, ring.repeated);
        Ok(ring)
    }

    /// Attaches to a ring that the client of this one lends: `header` is its memory but for the buffer area, which has so
    /// many pages, and `area` its number among those lent, from 1 on. Its requests go through windows of this ring. It is
    /// served whatever stands in it; else as [`RingServer::attach`], and what is repeated is counted in this ring.
    ///
    /// # Errors
    /// [`RingError::TooShort`].
    pub fn attach_lent(
        &mut self,
        header: SharedMemory<'a>,
        buffer_pages: usize,
        area: u16,
    ) -> Result<RingServer<'a>, RingError> {
        let windows = Windows::new(self.layout.memory);
        let ring = Self::serve(Layout::of_header(header)?, buffer_pages, self.limits, Some((windows, area)));
        self.count_repeated(self.repeated, ring.repeated);
        self.repeated += ring.repeated;
        Ok(ring)
    }

    fn count_repeated(&self, before: u64, more: u64) {
        self.layout.count(Counter::Repeated, more);
        self.layout.count(Counter::RestartsInFlight, (before == 0 && more > 0).into());
    }

    fn serve(layout: Layout<'a>, buffer_pages: usize, limits: Limits, windows: Option<(Windows<'a>, u16)>) -> Self {
        layout.set_waiting(DRIVER_WAITS, false);
        let submitted = layout.bitmap(SUBMITTED).load();
        let completed = layout.bitmap(COMPLETED).load();
        for slot in slots(submitted & completed) {
            layout.bitmap(SUBMITTED).clear(slot);
        }
        let accepted = layout.bitmap(ACCEPTED).load();
        for slot in slots(accepted) {
            layout.bitmap(ACCEPTED).clear(slot);
        }
        Self {
            layout,
            limits,
            buffer_pages,
            windows,
            in_flight: [None; SLOTS],
            taken: 0,
            writes: 0,
            must_notify: true,
            must_tell_lender: false,
            repeated: (accepted & submitted & !completed).count_ones().into(),
        }
    }

    /// Takes the next request that is to be carried out, if there is any. Requests that make no sense are completed with
    /// the reason by themselves: each slot's at most once a time, so that nobody who goes on submitting such is heard for ever.
    pub fn take(&mut self) -> Option<Taken> {
        for slot in slots(self.waiting()) {
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
                Err(status) => self.finish(slot, status, 0),
            }
        }
        None
    }

    fn waiting(&self) -> u128 {
        let submitted = self.layout.bitmap(SUBMITTED).load() & !self.taken;
        // A bit in `completed` that the client has not yet cleared keeps the slot busy, whatever the client claims.
        if submitted == 0 { 0 } else { submitted & !self.layout.bitmap(COMPLETED).load() }
    }

    /// Whether there are requests that were not taken yet.
    pub fn has_waiting(&self) -> bool {
        self.waiting() != 0
    }

    fn check(&mut self, request: Request) -> Result<Request, Status> {
        if !request.is_sound(self.buffer_pages) {
            return Err(Status::Refused);
        }
        let Some((windows, area)) = self.windows else {
            let is_of_the_disk = request.window == 0;
            return if is_of_the_disk { self.check_on_disk(request) } else { Err(Status::Refused) };
        };
        if request.operation != Operation::Read {
            return Err(Status::Refused);
        }
        if !windows.enter(request.window, area) {
            return Err(Status::NoWindow);
        }
        let most = self.limits.request_sectors.min(LENT_SECTORS);
        let found = windows.find(&request, area, most).and_then(|found| self.check_on_disk(found));
        if found.is_err() {
            self.must_tell_lender |= windows.leave(request.window);
        }
        found
    }

    fn check_on_disk(&self, request: Request) -> Result<Request, Status> {
        if request.count > self.limits.request_sectors {
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
            if let Some((windows, _)) = self.windows {
                self.must_tell_lender |= windows.leave(request.window);
            }
            self.finish(slot, status, if status == Status::Done { request.count } else { 0 });
        }
    }

    fn finish(&mut self, slot: Slot, status: Status, sectors: u32) {
        self.layout.store(Layout::status_offset(slot), u64::from(sectors) << 32 | status as u64);
        self.layout.bitmap(COMPLETED).set(slot);
        self.layout.bitmap(SUBMITTED).clear(slot);
        self.must_notify = true;
    }

    /// Whether the client is to be notified of something that happened since this was last asked: it waits for that.
    pub fn take_notification(&mut self) -> bool {
        core::mem::take(&mut self.must_notify) && self.layout.is_waiting(CLIENT_WAITS)
    }

    /// Whether the client that lends this ring is to be told that a window which it has closed is not used any more: the last
    /// request through it is over. Its own ring is to [tell it so](RingServer::notify_soon).
    pub fn take_lenders_notification(&mut self) -> bool {
        core::mem::take(&mut self.must_tell_lender)
    }

    /// Something has happened that the client may wait for.
    pub fn notify_soon(&mut self) {
        self.must_notify = true;
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
