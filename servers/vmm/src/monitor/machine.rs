//! The guest's machine while it is on: its processors take turns with its devices, all in one thread of the monitor.

use super::clock::Reading;
use super::disk::{Backing, Job, RingDisk};
use super::network::Uplink;
use super::ram::Ram;
use super::resources::Resources;
use super::terminal::Terminal;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use interfaces::guest::GuestState;
use interfaces::stream::Outlet;
use userlib::abi::vcpu::{VcpuState, code};
use userlib::guest::{self, GuestSpace, Kicker, Left, Vcpu};
use userlib::sync::{Either, Event, either};
use userlib::time::Instant;
use userlib::{Environment, executor, log};
use vmm::board::Board;
use vmm::boot::ProcessorState;
use vmm::interrupt::Signal;
use vmm::power::PowerRequest;
use vmm::processor::{GuestClock, Outcome, Processor, begin};
use vmm::virtio::{CONSOLE_BYTES, EntropySource};

/// Names of disks.
const DISKS: [&str; manifest::MAX_DISKS] = ["disk0", "disk1", "disk2", "disk3", "disk4", "disk5", "disk6", "disk7"];

/// Where the guest's random bytes come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source;

impl EntropySource for Source {
    fn fill(&mut self, into: &mut [u8]) {
        for piece in into.chunks_mut(8) {
            // A source that gives nothing for so long is broken: the guest gets the rest of the request as it is, which its
            // driver credits no more than the rest of its pool.
            let word = guest::random_word().unwrap_or_else(guest::timestamp);
            piece.copy_from_slice(&word.to_le_bytes()[..piece.len()]);
        }
    }
}

/// The devices of this monitor's guests.
pub(super) type Devices = Board<RingDisk, Source>;

/// What is known of one of the guest's processors.
#[derive(Debug, Default)]
struct Seat {
    /// There is something for it to look at.
    changed: Event,
    /// How it is called out of the guest, if it is in there.
    inside: Cell<Option<Kicker>>,
    /// The guest has started it.
    is_started: Cell<bool>,
}

/// The machine.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) resources: Resources,
    /// When the monitor began.
    pub(super) began: Reading,
    /// Nobody was told yet how long the first start took.
    pub(super) is_new: Cell<bool>,
    pub(super) ram: Ram,
    pub(super) disks: RefCell<Vec<Backing>>,
    /// All of them were asked for.
    are_disks_known: Cell<bool>,
    found: Event,
    /// The link on which the guest is, if it is on one.
    pub(super) uplink: RefCell<Option<Rc<Uplink>>>,
    /// None while the machine is off.
    pub(super) board: RefCell<Option<Devices>>,
    seats: Vec<Seat>,
    pub(super) state: Cell<GuestState>,
    /// Counts the times that the machine was switched on: what belongs to an earlier one ends.
    life: Cell<u64>,
    /// Tasks that work for the machine.
    busy: Cell<usize>,
    /// One of them has ended.
    ended: Event,
    /// When the next deadline may have become another one.
    rescheduled: Event,
    armed: Cell<Option<u64>>,
    /// The serial port.
    pub(super) serial: Terminal,
    /// The terminal beside it, which is a stream to others.
    pub(super) stream: Terminal,
    /// There is something to move between the stream and the guest.
    stream_stirred: Event,
    pub(super) exits: Cell<u64>,
    pub(super) since: Cell<u64>,
    pub(super) resets: Cell<u32>,
}

impl Machine {
    /// One that is off.
    pub(super) fn new(resources: Resources, began: Reading) -> Self {
        let settings = &resources.settings;
        let ram = Ram::new(resources.memory, settings.memory, resources.own_space.clone());
        let seats = (0..settings.processors).map(|_| Seat::default()).collect();
        Self {
            began,
            is_new: Cell::new(true),
            ram,
            disks: RefCell::default(),
            are_disks_known: Cell::new(false),
            found: Event::new(),
            uplink: RefCell::default(),
            board: RefCell::new(None),
            seats,
            state: Cell::new(GuestState::Off),
            life: Cell::new(0),
            busy: Cell::new(0),
            ended: Event::new(),
            rescheduled: Event::new(),
            armed: Cell::new(None),
            serial: Terminal::default(),
            stream: Terminal::default(),
            stream_stirred: Event::new(),
            exits: Cell::new(0),
            since: Cell::new(0),
            resets: Cell::new(0),
            resources,
        }
    }

    /// Finds the disks that the manifest names.
    pub(super) async fn find_disks(&self, environment: &'static Environment) {
        for name in &self.resources.settings.disks {
            let Some(name) = DISKS.into_iter().find(|known| known == name) else { continue };
            if let Some(disk) = Backing::find(environment, name).await {
                self.disks.borrow_mut().push(disk);
            }
        }
        self.are_disks_known.set(true);
        self.found.signal();
    }

    /// Whether the machine is on.
    pub(super) fn is_on(&self) -> bool {
        matches!(self.state.get(), GuestState::Running | GuestState::Stopping)
    }

    /// How many processors the guest has started.
    pub(super) fn started(&self) -> u8 {
        self.seats.iter().filter(|seat| seat.is_started.get()).count() as u8
    }

    /// The machine is on from now on. Returns the number of its life.
    pub(super) fn begin_life(&self, board: Devices, now: Reading) -> u64 {
        *self.board.borrow_mut() = Some(board);
        self.life.set(self.life.get() + 1);
        self.state.set(GuestState::Running);
        self.exits.set(0);
        self.serial.begin();
        self.stream.begin();
        self.since.set(now.at);
        for (number, seat) in self.seats.iter().enumerate() {
            seat.is_started.set(number == 0);
        }
        self.life.get()
    }

    /// The machine is off from now on: every task of this life ends.
    pub(super) fn end_life(&self, state: GuestState) {
        if let Some(board) = self.board.borrow_mut().as_mut() {
            self.serial.end(&board.take_serial_output());
            self.stream.end(&board.console().take_output());
        }
        self.state.set(state);
        self.life.set(self.life.get() + 1);
        for seat in &self.seats {
            if let Some(kicker) = seat.inside.get() {
                kicker.kick();
            }
            seat.changed.signal();
        }
        self.rescheduled.signal();
        self.stream_stirred.signal();
        *self.board.borrow_mut() = None;
    }

    /// The number of the present life.
    pub(super) fn life(&self) -> u64 {
        self.life.get()
    }

    /// Waits until it is known which disks there are.
    pub(super) async fn disks_found(&self) {
        while !self.are_disks_known.get() {
            self.found.next().await;
        }
    }

    /// Waits until no task of an earlier life is left.
    pub(super) async fn quiet(&self) {
        while self.busy.get() > 0 {
            self.ended.next().await;
        }
    }

    /// Has `work` done as a task of the machine's.
    pub(super) fn spawn(self: &Rc<Self>, work: impl Future<Output = ()> + 'static) {
        let machine = self.clone();
        self.busy.set(self.busy.get() + 1);
        executor::spawn(async move {
            work.await;
            machine.busy.set(machine.busy.get() - 1);
            machine.ended.signal();
        });
    }

    /// Lets devices' time pass for as long as a life lasts.
    pub(super) async fn keep_time(self: Rc<Self>, life: u64) {
        while self.life.get() == life {
            let rescheduled = self.rescheduled.next();
            let next = self.board.borrow().as_ref().and_then(Board::next_deadline);
            self.armed.set(next);
            match next {
                Some(at) => {
                    let _: Either<(), ()> = either(rescheduled, executor::sleep_until(Instant(at))).await;
                }
                None => rescheduled.await,
            }
            if let Some(board) = self.board.borrow_mut().as_mut() {
                board.advance(Instant::now().nanoseconds());
            }
            self.tell();
        }
    }

    /// A processor, for as long as a life lasts. `first` is how it begins; one without that waits for being started.
    pub(super) async fn run_processor(
        self: Rc<Self>,
        life: u64,
        number: u8,
        space: Rc<GuestSpace>,
        mut vcpu: Vcpu,
        first: Option<ProcessorState>,
        clock: GuestClock,
    ) {
        let Some(seat) = self.seats.get(usize::from(number)) else { return };
        let count = self.resources.settings.processors;
        let mut processor = Processor::new(number, count, guest::identification, clock);
        let mut is_waiting = first.is_none();
        let mut is_halted = false;
        if let Some(first) = first {
            begin(&first, vcpu.state());
        }
        while self.life.get() == life {
            let changed = seat.changed.next();
            match self.take_signal(number) {
                Some(Signal::Init) => {
                    processor.initialise();
                    (is_waiting, is_halted) = (true, false);
                }
                Some(Signal::StartUp { page }) if is_waiting => {
                    begin(&ProcessorState::starting_at(page), vcpu.state());
                    seat.is_started.set(true);
                    (is_waiting, is_halted) = (false, false);
                }
                Some(Signal::StartUp { .. }) => {}
                None => {
                    if is_waiting || is_halted && !self.is_awake(&processor, vcpu.state()) {
                        changed.await;
                        continue;
                    }
                    is_halted = false;
                    self.prepare(&mut processor, vcpu.state());
                    seat.inside.set(Some(vcpu.kicker()));
                    let (back, left) = vcpu.run().await;
                    vcpu = back;
                    seat.inside.set(None);
                    self.returned(&mut processor);
                    if self.life.get() == life {
                        is_halted = self.left(&space, &mut processor, left, vcpu.state());
                    }
                }
            }
        }
        drop(vcpu);
        drop(space);
    }

    fn take_signal(&self, number: u8) -> Option<Signal> {
        self.board.borrow_mut().as_mut()?.fabric().take_signal(number.into())
    }

    fn is_awake(&self, processor: &Processor, state: &VcpuState) -> bool {
        self.board.borrow_mut().as_mut().is_some_and(|board| processor.is_awake(state, board))
    }

    fn prepare(&self, processor: &mut Processor, state: &mut VcpuState) {
        if let Some(board) = self.board.borrow_mut().as_mut() {
            processor.prepare(state, board, &mut &self.ram);
        }
    }

    fn returned(&self, processor: &mut Processor) {
        if let Some(board) = self.board.borrow_mut().as_mut() {
            processor.returned(board, &mut &self.ram);
        }
    }

    /// A processor was left. Returns whether it halts.
    fn left(self: &Rc<Self>, space: &GuestSpace, processor: &mut Processor, left: Left, state: &mut VcpuState) -> bool {
        let (exit, info) = match left {
            Left::Exit { code, info } => (code, info),
            Left::Kicked => return false,
            Left::Refused(error) => {
                log::error!("the kernel does not enter the guest: {error}");
                self.end_life(GuestState::Failed);
                return false;
            }
        };
        self.exits.set(self.exits.get() + 1);
        if exit == code::NESTED_FAULT {
            match self.ram.give(space, info[1]) {
                Ok(true) => return false,
                Ok(false) => {}
                Err(error) => {
                    log::error!("the guest cannot be given its memory at {:#x}: {error}", info[1]);
                    self.end_life(GuestState::Failed);
                    return false;
                }
            }
        }
        let now = Instant::now().nanoseconds();
        let outcome = {
            let mut board = self.board.borrow_mut();
            let Some(board) = board.as_mut() else { return false };
            let mut memory = &self.ram;
            let outcome = processor.left((exit, info), state, board, &mut memory, (guest::timestamp(), now));
            if board.has_work() {
                board.work(&mut memory);
                self.stream_stirred.signal();
            }
            board.advance(now);
            outcome
        };
        self.start_jobs();
        self.feed_serial();
        self.drain_serial();
        self.obey();
        self.tell();
        match outcome {
            Outcome::Run => false,
            Outcome::Halt => true,
            Outcome::Stop(reason) => {
                log::warn!("the guest cannot go on: {reason}");
                self.end_life(GuestState::Crashed);
                false
            }
        }
    }

    /// Does what the guest wants to happen to its machine.
    fn obey(self: &Rc<Self>) {
        let request = self.board.borrow_mut().as_mut().and_then(Board::take_power_request);
        match request {
            Some(PowerRequest::Off) => {
                log::info!("the guest has switched itself off");
                self.end_life(GuestState::PoweredOff);
            }
            Some(PowerRequest::Reset) => {
                // To others it runs on.
                self.end_life(self.state.get());
                self.resets.set(self.resets.get().saturating_add(1));
                executor::spawn(super::power::begin_again(self.clone()));
            }
            None => {}
        }
    }

    /// Calls processors that have something to look at, and sees to it that the next deadline is kept.
    pub(super) fn tell(&self) {
        let mut board = self.board.borrow_mut();
        let Some(board) = board.as_mut() else { return };
        for (number, seat) in self.seats.iter().enumerate() {
            if board.fabric().take_changed(number) {
                seat.changed.signal();
                if let Some(kicker) = seat.inside.get() {
                    kicker.kick();
                }
            }
        }
        if board.next_deadline() != self.armed.get() {
            self.rescheduled.signal();
        }
    }

    /// Has the requests carried out that disks have taken.
    fn start_jobs(self: &Rc<Self>) {
        loop {
            let mut taken = None;
            if let Some(board) = self.board.borrow_mut().as_mut() {
                for index in 0..self.disks.borrow().len() {
                    let Some(disk) = board.disk(index) else { break };
                    let lasts = !disk.has_flushes();
                    if let Some(job) = disk.disk().take_job() {
                        taken = Some((index, job, lasts));
                        break;
                    }
                }
            }
            let Some((index, job, lasts)) = taken else { return };
            let (machine, life) = (self.clone(), self.life.get());
            self.spawn(async move { machine.carry_out(life, index, job, lasts).await });
        }
    }

    async fn carry_out(self: Rc<Self>, life: u64, index: usize, job: Job, lasts: bool) {
        let Some(backing) = self.disks.borrow().get(index).cloned() else { return };
        let mut outcome = backing.carry_out(&job, lasts).await;
        if self.life.get() != life {
            return;
        }
        if let Some(board) = self.board.borrow_mut().as_mut()
            && let Some(disk) = board.disk(index)
        {
            let mut memory = &self.ram;
            if outcome.is_ok() && job.operation == vmm::virtio::Operation::Read {
                let mut bytes = [0; 4096];
                for offset in (0..job.length).step_by(bytes.len()) {
                    let bytes = &mut bytes[..(job.length - offset).min(4096) as usize];
                    outcome = outcome.and_then(|()| backing.read(&job, offset as usize, bytes));
                    // A request of a former driver of the guest's gets nothing.
                    let _ = disk.fill(job.tag, offset, bytes, &mut memory);
                }
            }
            let _ = disk.complete(job.tag, outcome);
            drop(job);
            board.work_on_disk(index, &mut memory);
        }
        self.start_jobs();
        self.tell();
    }

    /// Moves what was typed to the serial port, and what the guest has written away from it.
    pub(super) fn work_on_serial(&self) {
        self.feed_serial();
        self.drain_serial();
        self.tell();
    }

    fn feed_serial(&self) {
        if let Some(board) = self.board.borrow_mut().as_mut() {
            self.serial.feed(|typed| board.type_at_serial(typed));
        }
    }

    fn drain_serial(&self) {
        if let Some(board) = self.board.borrow_mut().as_mut() {
            self.serial.drain(vmm::serial::OUTPUT_BYTES, || board.take_serial_output());
        }
    }

    /// Says that there may be something to move between the stream and the guest.
    pub(super) fn stir_stream(&self) {
        self.stream_stirred.signal();
    }

    /// Moves bytes between the stream and the guest, for as long as a life lasts: a piece at a time, for the guest can offer as much as
    /// it likes in one go, and others wait for this thread too.
    pub(super) async fn carry_stream(self: Rc<Self>, life: u64) {
        while self.life.get() == life {
            let stirred = self.stream_stirred.next();
            if self.work_on_stream() {
                self.tell();
                executor::yield_now().await;
            } else {
                stirred.await;
            }
        }
    }

    /// Moves a piece in each direction. Returns whether there was one.
    fn work_on_stream(&self) -> bool {
        let mut board = self.board.borrow_mut();
        let Some(board) = board.as_mut() else { return false };
        let typed = self.stream.feed(|typed| board.console().receive(typed));
        let written = self.stream.drain(CONSOLE_BYTES, || board.console().take_output());
        if typed + written == 0 {
            return false;
        }
        // What has made room for more.
        board.work_on_console(&mut &self.ram);
        true
    }

    /// Takes for ever what the guest has written and nobody reads any more: the guest is not to wait
    /// for whoever has gone.
    pub(super) async fn listen(self: Rc<Self>) {
        loop {
            executor::sleep(Outlet::PATIENCE).await;
            self.work_on_serial();
            self.stir_stream();
        }
    }
}
