//! From the request ring to the disk and back, and what to do when the disk lies.

use crate::disk::{Disk, Fault, Geometry, StartError};
use crate::protocol::Outcome;
use crate::region::{Region, Span};
use crate::transport::{Device, Vectors};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use userlib::abi::PAGE_SIZE;
use userlib::block_ring::{AREAS, Limits, Operation, RingServer, SLOTS, Slot, Status, Taken};
use userlib::log;
use userlib::time::{Duration, Instant};

/// How long a device may take for a request.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How often a request is given to the device, with a reset in between, before it is given up.
pub const ATTEMPTS: u8 = 3;

/// How often a device is reset without completing anything in between before it is given up.
pub const RESETS: u32 = 8;

/// What a disk that is not there accepts: everything, so that each request is answered with the reason.
const NO_LIMITS: Limits = Limits { sectors: u64::MAX, request_sectors: u32::MAX, read_only: false };

/// A request that was taken from the ring.
#[derive(Clone, Copy, Debug)]
struct Pending {
    taken: Taken,
    /// How often it was given to the device.
    attempts: u8,
    /// Since when the device has it; `None` if it does not.
    since: Option<Instant>,
}

/// The device, or what to answer instead.
#[derive(Debug)]
enum State<T: Device> {
    Working(Box<Disk<T>>),
    /// While the device is being reset.
    Between,
    /// There is none, or it does not work.
    Without(Status),
}

/// Counts since the driver's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests completed.
    pub completed: u64,
    /// Of these, those that failed.
    pub failed: u64,
    /// How often the device was reset because it broke its rules.
    pub resets: u64,
}

/// The driver of one disk for the client of one ring.
#[derive(Debug)]
pub struct Driver<'r, T: Device> {
    ring: RingServer<'r>,
    state: State<T>,
    /// By number, the memory of each area as the device finds it: the ring's first.
    areas: Vec<Option<Span>>,
    control: Region,
    vectors: Vectors,
    pending: [Option<Pending>; SLOTS],
    /// How many there are.
    pending_count: usize,
    /// How many of them the device does not have, because it was reset.
    held_count: usize,
    counts: Counts,
    /// Resets since the last completion.
    resets: u32,
    accepting: bool,
}

impl<'r, T: Device> Driver<'r, T> {
    /// Works for the client of `ring`, whose memory is `memory`, on `disk`, or answers every request with the status.
    /// Requests that a predecessor has left in the ring are carried out like new ones.
    pub fn new(
        mut ring: RingServer<'r>,
        memory: Span,
        control: Region,
        vectors: Vectors,
        disk: Result<Disk<T>, Status>,
    ) -> Self {
        let limits = disk.as_ref().map_or(NO_LIMITS, |disk| disk.geometry().limits());
        ring.set_limits(limits);
        let state = match disk {
            Ok(disk) => State::Working(Box::new(disk)),
            Err(status) => State::Without(status),
        };
        let mut areas = vec![None; AREAS];
        areas[0] = Some(memory);
        Self {
            ring,
            state,
            areas,
            control,
            vectors,
            pending: [None; SLOTS],
            pending_count: 0,
            held_count: 0,
            counts: Counts::default(),
            resets: 0,
            accepting: true,
        }
    }

    /// Lets requests name a further area of memory. A number that cannot be is left alone.
    pub fn lend(&mut self, area: u16, memory: Span) {
        if let Some(place) = self.areas.get_mut(usize::from(area)).filter(|_| area != 0) {
            *place = Some(memory);
            self.ring.lend(area, memory.length / PAGE_SIZE as usize);
        }
    }

    /// What the disk is; the status with which requests are answered if there is none.
    ///
    /// # Errors
    /// `NoDevice` or `DeviceError`.
    pub fn geometry(&self) -> Result<Geometry, Status> {
        match &self.state {
            State::Working(disk) => Ok(disk.geometry()),
            State::Between => Err(Status::DeviceError),
            State::Without(status) => Err(*status),
        }
    }

    /// Counts since the start.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The ring.
    pub fn ring(&self) -> &RingServer<'r> {
        &self.ring
    }

    /// Whether the client is to be notified now.
    pub fn take_notification(&mut self) -> bool {
        self.ring.take_notification()
    }

    /// Collects completions and gives the device what the client has asked for, as far as there is room. `wait` passes
    /// some time while a device that broke its rules is reset, and says whether to go on waiting; the clock is read only when
    /// the device is given something.
    pub fn advance(&mut self, clock: &mut dyn FnMut() -> Instant, wait: &mut dyn FnMut() -> bool) {
        loop {
            let outcome = self.collect().and_then(|()| self.give(clock));
            match outcome {
                Ok(()) if self.may_wait() => break,
                Ok(()) => {}
                Err(fault) => self.recover(fault, wait),
            }
        }
        self.refuse_all();
    }

    /// The moment at which the device has had a request for too long, if it has any.
    pub fn deadline(&self) -> Option<Instant> {
        self.pending.iter().flatten().filter_map(|pending| pending.since).min().map(|since| since + PATIENCE)
    }

    /// Looks whether the device is silent for too long, and resets it then.
    pub fn check_silence(&mut self, now: Instant, wait: &mut dyn FnMut() -> bool) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.recover(Fault::Silent, wait);
        }
        self.advance(&mut || now, wait);
    }

    /// Takes note of a changed configuration.
    pub fn take_config(&mut self, now: Instant, wait: &mut dyn FnMut() -> bool) {
        let State::Working(disk) = &mut self.state else {
            return;
        };
        match disk.take_config() {
            Ok(geometry) => self.ring.set_limits(geometry.limits()),
            Err(fault) => self.recover(fault, wait),
        }
        self.advance(&mut || now, wait);
    }

    /// Takes no more requests from the ring; those under way go on.
    pub fn stop_accepting(&mut self) {
        self.accepting = false;
    }

    /// Whether a request that came now would be carried out.
    pub fn has_room(&self) -> bool {
        match &self.state {
            State::Working(disk) => self.accepting && disk.has_room(),
            State::Between | State::Without(_) => self.accepting,
        }
    }

    /// Whether no request is under way.
    pub fn is_idle(&self) -> bool {
        self.pending_count == 0
    }

    /// Resets the device for good. Requests that come later are left in the ring for another driver.
    ///
    /// # Errors
    /// [`StartError::NoReset`].
    pub fn quiesce(&mut self, wait: &mut dyn FnMut() -> bool) -> Result<(), StartError> {
        self.accepting = false;
        match core::mem::replace(&mut self.state, State::Between) {
            State::Working(disk) => disk.stop(wait).map(drop),
            other => {
                self.state = other;
                Ok(())
            }
        }
    }

    /// Whether nothing is complete that would be worth the while.
    fn may_wait(&mut self) -> bool {
        match &mut self.state {
            State::Working(disk) => !disk.await_completions(),
            State::Between | State::Without(_) => true,
        }
    }

    fn collect(&mut self) -> Result<(), Fault> {
        let State::Working(disk) = &mut self.state else {
            return Ok(());
        };
        while let Some(completion) = disk.next_completion()? {
            let pending = self.pending.get_mut(completion.tag).and_then(Option::take);
            let slot = pending.ok_or(Fault::Full)?.taken.slot;
            self.pending_count -= 1;
            let status = match completion.outcome {
                Outcome::Done => Status::Done,
                Outcome::Failed | Outcome::Unsupported => Status::DeviceError,
            };
            complete(&mut self.ring, &mut self.counts, slot, status);
            self.resets = 0;
        }
        Ok(())
    }

    fn give(&mut self, clock: &mut dyn FnMut() -> Instant) -> Result<(), Fault> {
        let State::Working(disk) = &mut self.state else {
            return Ok(());
        };
        let mut since = None;
        let mut now = || *since.get_or_insert_with(&mut *clock);
        // First what the device had when it was reset.
        if self.held_count > 0 {
            for pending in self.pending.iter_mut().flatten().filter(|pending| pending.since.is_none()) {
                if !disk.has_room() {
                    break;
                }
                submit(disk, &self.areas, pending, now())?;
                self.held_count -= 1;
            }
        }
        while self.accepting && disk.has_room() {
            let Some(taken) = self.ring.take() else { break };
            if taken.request.operation == Operation::Flush && !disk.geometry().has_cache {
                // What is complete is on the disk already.
                complete(&mut self.ring, &mut self.counts, taken.slot, Status::Done);
                continue;
            }
            let Some(place) = self.pending.get_mut(taken.slot.index()) else { break };
            // Until the device has it, it is one that is to be given.
            (self.pending_count, self.held_count) = (self.pending_count + 1, self.held_count + 1);
            submit(disk, &self.areas, place.insert(Pending { taken, attempts: 0, since: None }), now())?;
            self.held_count -= 1;
        }
        if since.is_some() {
            disk.notify();
        }
        Ok(())
    }

    /// The device has broken its rules: resets it, and gives up what it was given too often.
    fn recover(&mut self, fault: Fault, wait: &mut dyn FnMut() -> bool) {
        let State::Working(disk) = core::mem::replace(&mut self.state, State::Between) else {
            return;
        };
        log::error!("the disk broke its rules: {fault}. It is reset, and what was under way is repeated");
        self.counts.resets += 1;
        self.resets += 1;
        let restarted = disk
            .stop(wait)
            .and_then(|transport| Disk::start(transport, self.control, self.vectors).map_err(|(_, error)| error));
        match restarted {
            Ok(disk) if self.resets > RESETS => {
                log::error!("the disk is given up: it was reset {RESETS} times and has not completed anything");
                // Whether it comes to rest or not, nobody uses it any more.
                let _ = disk.stop(wait);
                self.ring.set_limits(NO_LIMITS);
                self.state = State::Without(Status::DeviceError);
            }
            Ok(disk) => {
                self.ring.set_limits(disk.geometry().limits());
                self.state = State::Working(Box::new(disk));
            }
            Err(error) => {
                log::error!("the disk is given up: {error}");
                self.ring.set_limits(NO_LIMITS);
                self.state = State::Without(Status::DeviceError);
            }
        }
        self.held_count = self.pending_count;
        for place in &mut self.pending {
            let Some(pending) = place else { continue };
            pending.since = None;
            if pending.attempts >= ATTEMPTS {
                log::error!("a request for sector {} is given up", pending.taken.request.sector);
                complete(&mut self.ring, &mut self.counts, pending.taken.slot, Status::DeviceError);
                *place = None;
                (self.pending_count, self.held_count) = (self.pending_count - 1, self.held_count - 1);
            }
        }
    }

    /// Without a disk, answers every request with the reason.
    fn refuse_all(&mut self) {
        let State::Without(status) = self.state else {
            return;
        };
        for pending in self.pending.iter_mut().filter_map(Option::take) {
            complete(&mut self.ring, &mut self.counts, pending.taken.slot, status);
        }
        (self.pending_count, self.held_count) = (0, 0);
        while self.accepting
            && let Some(taken) = self.ring.take()
        {
            complete(&mut self.ring, &mut self.counts, taken.slot, status);
        }
    }
}

fn submit<T: Device>(
    disk: &mut Disk<T>,
    areas: &[Option<Span>],
    pending: &mut Pending,
    now: Instant,
) -> Result<(), Fault> {
    let request = pending.taken.request;
    let data = match request.operation {
        Operation::Flush => None,
        // The ring has checked that it is inside.
        Operation::Read | Operation::Write => {
            let area = areas.get(usize::from(request.area)).copied().flatten();
            Some(area.and_then(|area| area.part(request.buffer_offset(), request.bytes())).ok_or(Fault::Full)?)
        }
    };
    pending.attempts += 1;
    disk.submit(pending.taken.slot.index(), request.operation, request.sector, data)?;
    pending.since = Some(now);
    Ok(())
}

fn complete(ring: &mut RingServer<'_>, counts: &mut Counts, slot: Slot, status: Status) {
    counts.completed += 1;
    counts.failed += u64::from(status != Status::Done);
    ring.complete(slot, status);
}
