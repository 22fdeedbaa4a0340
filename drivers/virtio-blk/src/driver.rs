//! From the request rings to the disk and back, and what to do when the disk lies.

use crate::disk::{Disk, Fault, Geometry, StartError, TAGS};
use crate::protocol::Outcome;
use crate::region::{Region, Span};
use crate::transport::{Device, Vectors};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use userlib::abi::PAGE_SIZE;
use userlib::block_ring::{HEADER_PAGES, Limits, Operation, RingError, RingServer, SLOTS, Statistics, Status, Taken};
use userlib::log;
use userlib::memory::SharedMemory;
use userlib::time::{Duration, Instant};

/// How long a device may take for a request.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How often a request is given to the device, with a reset in between, before it is given up.
pub const ATTEMPTS: u8 = 3;

/// How often a device is reset without completing anything in between before it is given up.
pub const RESETS: u32 = 8;

/// What a disk that is not there accepts: everything, so that each request is answered with the reason.
const NO_LIMITS: Limits = Limits { sectors: u64::MAX, request_sectors: u32::MAX, read_only: false };

/// So often the device is looked after before others are let in again.
const ROUNDS: usize = 32;
/// So many requests are taken from a ring before it is the next one's turn.
const TURN: usize = 16;

/// A request that was taken from a ring.
#[derive(Clone, Copy, Debug)]
struct Pending {
    /// From which.
    ring: usize,
    taken: Taken,
    /// How often it was given to the device.
    attempts: u8,
    /// Whether the device has it.
    is_given: bool,
    /// Since when, as far as that was noted.
    since: Option<Instant>,
}

/// Requests that are not complete, by the tag that the device knows.
#[derive(Debug)]
struct Table {
    places: [Option<Pending>; TAGS],
    /// Which tags are in use.
    busy: u128,
}

const _: () = assert!(TAGS == u128::BITS as usize);

impl Table {
    /// Finds a tag for a request; `None` if all are in use.
    fn insert(&mut self, pending: Pending) -> Option<(usize, &mut Pending)> {
        let tag = self.busy.trailing_ones() as usize;
        let place = self.places.get_mut(tag)?;
        self.busy |= 1 << tag;
        Some((tag, place.insert(pending)))
    }

    fn take(&mut self, tag: usize) -> Option<Pending> {
        let pending = self.places.get_mut(tag)?.take()?;
        self.busy &= !(1 << tag);
        Some(pending)
    }

    /// The tags in use: few of all there are, as a rule.
    fn tags(&self) -> impl Iterator<Item = usize> + use<> {
        let mut left = self.busy;
        core::iter::from_fn(move || {
            let tag = (left != 0).then_some(left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(tag)
        })
    }

    fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.tags().filter_map(|tag| self.places.get(tag)?.as_ref())
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Pending)> {
        self.places.iter_mut().enumerate().filter_map(|(tag, place)| Some((tag, place.as_mut()?)))
    }

    fn count(&self) -> usize {
        self.busy.count_ones() as usize
    }
}

/// The device, or what to answer instead.
#[derive(Debug)]
enum State<T: Device> {
    Working(Box<Disk<T>>),
    /// While the device is being reset.
    Between,
    /// There is none, or it does not work.
    Without(Status),
    /// It was taken out while it worked. Requests stay where they are: another instance of this driver gives them to the device
    /// when that is back.
    Gone,
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

/// A ring whose requests are carried out.
#[derive(Debug)]
struct Served<'r> {
    ring: RingServer<'r>,
    /// Its memory, as the device finds it.
    memory: Span,
}

/// The driver of one disk for the client of one ring, and for those to whose rings that lends it.
#[derive(Debug)]
pub struct Driver<'r, T: Device> {
    /// The client's own first.
    rings: Vec<Served<'r>>,
    state: State<T>,
    control: Region,
    vectors: Vectors,
    pending: Table,
    /// The ring whose turn it is.
    turn: usize,
    /// How many of those pending the device does not have, because it was reset.
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
        Self {
            rings: vec![Served { ring, memory }],
            state,
            control,
            vectors,
            pending: Table { places: [None; TAGS], busy: 0 },
            turn: 0,
            held_count: 0,
            counts: Counts::default(),
            resets: 0,
            accepting: true,
        }
    }

    /// Carries out the requests of a further ring, too, which the client lends under the number `area`. `header` is what stands
    /// before its buffer area; the device finds all of it at `memory`. Rings are numbered as they come, from 1 on.
    ///
    /// # Errors
    /// [`RingError`].
    pub fn serve(&mut self, header: SharedMemory<'r>, memory: Span, area: u16) -> Result<(), RingError> {
        let buffer_pages = (memory.length / PAGE_SIZE as usize).saturating_sub(HEADER_PAGES);
        // The client's own ring is there always.
        let Some(own) = self.rings.first_mut() else { return Ok(()) };
        let ring = own.ring.attach_lent(header, buffer_pages, area)?;
        self.rings.push(Served { ring, memory });
        Ok(())
    }

    /// What the disk is; the status with which requests are answered if there is none.
    ///
    /// # Errors
    /// `NoDevice` or `DeviceError`.
    pub fn geometry(&self) -> Result<Geometry, Status> {
        match &self.state {
            State::Working(disk) => Ok(disk.geometry()),
            State::Between | State::Gone => Err(Status::DeviceError),
            State::Without(status) => Err(*status),
        }
    }

    /// Counts since the start.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What has happened in the rings.
    pub fn statistics(&self) -> Statistics {
        self.rings.first().map(|own| own.ring.statistics()).unwrap_or_default()
    }

    /// Says that the driver is about to wait, so that it is told of what comes from now on, or that it is awake. Whether
    /// something has come that it must look after before it waits.
    pub fn set_waiting(&self, waits: bool) -> bool {
        self.rings.iter().for_each(|served| served.ring.set_waiting(waits));
        waits && self.has_room() && self.rings.iter().any(|served| served.ring.has_waiting())
    }

    /// The numbers of the rings whose clients are to be notified now.
    pub fn take_notifications(&mut self) -> impl Iterator<Item = usize> {
        let mut is_window_over = false;
        for served in &mut self.rings {
            is_window_over |= served.ring.take_lenders_notification();
        }
        if is_window_over && let Some(own) = self.rings.first_mut() {
            own.ring.notify_soon();
        }
        let numbered = self.rings.iter_mut().enumerate();
        numbered.filter_map(|(number, served)| served.ring.take_notification().then_some(number))
    }

    /// Collects completions and gives the device what clients have asked for, as far as there is room. `wait` passes some time
    /// while a device that broke its rules is reset, and says whether to go on waiting. Whether there is more to do already.
    pub fn advance(&mut self, wait: &mut dyn FnMut() -> bool) -> bool {
        for _ in 0..ROUNDS {
            let outcome = self.collect().and_then(|()| self.give());
            match outcome {
                Ok(()) if self.may_wait() => {
                    self.refuse_all();
                    return false;
                }
                Ok(()) => {}
                Err(fault) => self.recover(fault, wait),
            }
        }
        true
    }

    /// The moment at which the device has had a request for too long, if it has any. It counts from when this was first asked
    /// while the device had the request: the clock is not read for each.
    pub fn deadline(&mut self, clock: impl Fn() -> Instant) -> Option<Instant> {
        let (mut now, mut first) = (None, None);
        for tag in self.pending.tags() {
            if let Some(Some(pending)) = self.pending.places.get_mut(tag)
                && pending.is_given
            {
                let since = *pending.since.get_or_insert_with(|| *now.get_or_insert_with(&clock));
                first = Some(first.map_or(since, |first: Instant| first.min(since)));
            }
        }
        first.map(|since| since + PATIENCE)
    }

    /// Looks whether the device is silent for too long, and resets it then.
    pub fn check_silence(&mut self, now: Instant, wait: &mut dyn FnMut() -> bool) {
        // It is not to blame for what is complete and was not collected.
        if let Err(fault) = self.collect() {
            return self.recover(fault, wait);
        }
        let first = self.pending.iter().filter_map(|pending| pending.since).min();
        if first.is_some_and(|since| since + PATIENCE <= now) {
            self.recover(Fault::Silent, wait);
        }
    }

    /// Looks whether the device is still there.
    pub fn check_presence(&mut self) {
        if let State::Working(disk) = &self.state
            && disk.is_gone()
        {
            self.lose();
        }
    }

    /// Takes note of a changed configuration.
    pub fn take_config(&mut self, wait: &mut dyn FnMut() -> bool) {
        let State::Working(disk) = &mut self.state else {
            return;
        };
        match disk.take_config() {
            Ok(geometry) => self.set_limits(geometry.limits()),
            Err(fault) => self.recover(fault, wait),
        }
    }

    fn set_limits(&mut self, limits: Limits) {
        self.rings.iter_mut().for_each(|served| served.ring.set_limits(limits));
    }

    /// Takes no more requests from the rings; those under way go on.
    pub fn stop_accepting(&mut self) {
        self.accepting = false;
    }

    /// Whether a request that came now would be carried out.
    pub fn has_room(&self) -> bool {
        match &self.state {
            State::Working(disk) => self.accepting && disk.has_room(),
            State::Between | State::Without(_) => self.accepting,
            State::Gone => false,
        }
    }

    /// How many requests were taken from the rings and are not complete.
    pub fn in_flight(&self) -> usize {
        self.pending.count()
    }

    /// Whether no request is under way.
    pub fn is_idle(&self) -> bool {
        self.pending.busy == 0
    }

    /// Resets the device for good. Requests that come later are left in the ring for another driver.
    ///
    /// # Errors
    /// [`StartError::NoReset`].
    pub fn quiesce(&mut self, wait: &mut dyn FnMut() -> bool) -> Result<(), StartError> {
        self.accepting = false;
        match core::mem::replace(&mut self.state, State::Between) {
            State::Working(disk) => disk.stop(wait).map(drop).map_err(|(_, error)| error),
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
            State::Between | State::Without(_) | State::Gone => true,
        }
    }

    fn collect(&mut self) -> Result<(), Fault> {
        let State::Working(disk) = &mut self.state else {
            return Ok(());
        };
        while let Some(completion) = disk.next_completion()? {
            let pending = self.pending.take(completion.tag).ok_or(Fault::Full)?;
            let status = match completion.outcome {
                Outcome::Done => Status::Done,
                Outcome::Failed | Outcome::Unsupported => Status::DeviceError,
            };
            complete(&mut self.rings, &mut self.counts, &pending, status);
            self.resets = 0;
        }
        Ok(())
    }

    fn give(&mut self) -> Result<(), Fault> {
        let State::Working(disk) = &mut self.state else {
            return Ok(());
        };
        let mut is_given = false;
        // First what the device had when it was reset.
        if self.held_count > 0 {
            for (tag, pending) in self.pending.iter_mut().filter(|(_, pending)| !pending.is_given) {
                if !disk.has_room() {
                    break;
                }
                submit(disk, &self.rings, tag, pending)?;
                is_given = true;
                self.held_count -= 1;
            }
        }
        // Each ring in turn, until as many as there are have nothing left one after the other.
        let mut empty = 0;
        while empty < self.rings.len() && self.accepting && disk.has_room() {
            let number = self.turn % self.rings.len();
            self.turn = number + 1;
            empty += 1;
            let mut left = TURN;
            while left > 0
                && disk.has_room()
                && let Some(taken) = self.rings.get_mut(number).and_then(|served| served.ring.take())
            {
                left -= 1;
                let pending = Pending { ring: number, taken, attempts: 0, is_given: false, since: None };
                if taken.request.operation == Operation::Flush && !disk.geometry().has_cache {
                    // What is complete is on the disk already.
                    complete(&mut self.rings, &mut self.counts, &pending, Status::Done);
                    continue;
                }
                let (tag, place) = self.pending.insert(pending).ok_or(Fault::Full)?;
                // Until the device has it, it is one that is to be given.
                self.held_count += 1;
                submit(disk, &self.rings, tag, place)?;
                is_given = true;
                self.held_count -= 1;
            }
            if left == 0 {
                empty = 0;
            }
        }
        if is_given {
            disk.notify();
        }
        Ok(())
    }

    /// The device has broken its rules: resets it, and gives up what it was given too often.
    fn recover(&mut self, fault: Fault, wait: &mut dyn FnMut() -> bool) {
        let State::Working(disk) = core::mem::replace(&mut self.state, State::Between) else {
            return;
        };
        if disk.is_gone() {
            return self.lose();
        }
        log::error!("the disk broke its rules: {fault}. It is reset, and what was under way is repeated");
        self.counts.resets += 1;
        self.resets += 1;
        let restarted = disk.stop(wait).and_then(|transport| Disk::start(transport, self.control, self.vectors));
        match restarted {
            Ok(disk) if self.resets > RESETS => {
                log::error!("the disk is given up: it was reset {RESETS} times and has not completed anything");
                // Whether it comes to rest or not, nobody uses it any more.
                let _ = disk.stop(wait);
                self.set_limits(NO_LIMITS);
                self.state = State::Without(Status::DeviceError);
            }
            Ok(disk) => {
                self.set_limits(disk.geometry().limits());
                self.state = State::Working(Box::new(disk));
            }
            // It may have gone while it was reset.
            Err((transport, _)) if transport.is_gone() => return self.lose(),
            Err((_, error)) => {
                log::error!("the disk is given up: {error}");
                self.set_limits(NO_LIMITS);
                self.state = State::Without(Status::DeviceError);
            }
        }
        for tag in 0..TAGS {
            if self
                .pending
                .places
                .get(tag)
                .is_some_and(|place| place.is_some_and(|pending| pending.attempts >= ATTEMPTS))
                && let Some(pending) = self.pending.take(tag)
            {
                log::error!("a request for sector {} is given up", pending.taken.request.sector);
                complete(&mut self.rings, &mut self.counts, &pending, Status::DeviceError);
            }
        }
        self.pending.iter_mut().for_each(|(_, pending)| (pending.is_given, pending.since) = (false, None));
        self.held_count = self.pending.count();
    }

    /// The device is gone: nothing is given to it, and nothing is answered.
    fn lose(&mut self) {
        log::error!("the disk does not answer any more; {} requests wait for its return", self.pending.count());
        self.accepting = false;
        self.state = State::Gone;
    }

    /// Whether the device was taken out: this instance has nothing to do any more.
    pub fn has_lost_device(&self) -> bool {
        matches!(self.state, State::Gone)
    }

    /// Without a disk, answers every request with the reason.
    fn refuse_all(&mut self) {
        let State::Without(status) = self.state else {
            return;
        };
        let left: Vec<Pending> = (0..TAGS).filter_map(|tag| self.pending.take(tag)).collect();
        for pending in left {
            complete(&mut self.rings, &mut self.counts, &pending, status);
        }
        self.held_count = 0;
        for number in 0..self.rings.len() {
            for _ in 0..SLOTS {
                let Some(served) = self.rings.get_mut(number).filter(|_| self.accepting) else { break };
                let Some(taken) = served.ring.take() else { break };
                let pending = Pending { ring: number, taken, attempts: 0, is_given: false, since: None };
                complete(&mut self.rings, &mut self.counts, &pending, status);
            }
        }
    }
}

/// Gives the device a request.
fn submit<T: Device>(disk: &mut Disk<T>, rings: &[Served<'_>], tag: usize, pending: &mut Pending) -> Result<(), Fault> {
    let request = pending.taken.request;
    let data = match request.operation {
        Operation::Flush => None,
        // The ring has checked that it is inside.
        Operation::Read | Operation::Write => {
            let memory = rings.get(pending.ring).map(|served| served.memory);
            Some(memory.and_then(|memory| memory.part(request.buffer_offset(), request.bytes())).ok_or(Fault::Full)?)
        }
    };
    pending.attempts += 1;
    disk.submit(tag, request.operation, request.sector, data)?;
    pending.is_given = true;
    Ok(())
}

fn complete(rings: &mut [Served<'_>], counts: &mut Counts, pending: &Pending, status: Status) {
    counts.completed += 1;
    counts.failed += u64::from(status != Status::Done);
    if let Some(served) = rings.get_mut(pending.ring) {
        served.ring.complete(pending.taken.slot, status);
    }
}
