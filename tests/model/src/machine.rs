//! The shell's part, played on the fake world.

mod peer;

pub use peer::{PEER_PAGES, Peer, PeerPlan, SLICE};

use crate::fingerprint::Recorder;
use crate::sizes::SmallTables;
use crate::world::FakeWorld;
use abi::device::Stray;
use abi::message::{MessageInfo, REGISTER_WORDS, offset};
use abi::syscall::{MapAccess, RECEIVED_BITS, RECEIVED_MESSAGE, Registers, Statistics};
use abi::time::NEVER;
use abi::{Handle, Syscall, root};
use kernel_core::{
    CopyFault, CpuId, Effect, FaultReport, Frame, FrameState, InBuffers, InRegisters, InterruptId, Interrupted,
    IommuInfo, Kernel, LeaseCopy, Next, Received, Refusal, Request, Resume, Root, RootPlan, Signal, Slot, Slots, Stay,
    Thread, ThreadId, Transfer, TransferSource, Tree, Woken, is_plain,
};
use std::hash::{Hash, Hasher};

/// A thread's registers, as far as the core's effects touch them.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The message registers.
    pub words: [u64; REGISTER_WORDS],
    /// A message has come since the last system call.
    filled: bool,
    /// The result of the last system call, once the thread runs again.
    pub result: Option<[u64; 4]>,
    /// The system call that it executes.
    request: Option<(u64, [u64; 6])>,
    /// It executes the same system call again.
    pub again: bool,
    /// Instruction pointer, stack pointer and argument with which it was started.
    pub start: Option<(u64, u64, u64)>,
    /// Base of FS.
    pub fs_base: u64,
    /// Root table of its space, since it ran for the first time.
    pub root: Option<Frame>,
    /// It goes on after a fault.
    pub repaired: bool,
    /// Its guest runs in its place.
    pub in_guest: bool,
}

/// Why guests are left: they halt.
const GUEST_EXIT: u64 = abi::vcpu::code::HLT;

/// Who goes on after the short way, and what it finds.
#[derive(Clone, Copy, Debug)]
enum GoesOn {
    /// A thread, which finds this.
    Finds(ThreadId, [u64; 4]),
    /// A thread, as it was.
    Just(ThreadId),
    /// As the core has chosen.
    As(Next),
}

/// How a system call ended for the thread that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The thread goes on with this result.
    Done([u64; 4]),
    /// Another thread runs, or none.
    Away,
}

/// A machine: the real core and a fake everything else.
#[derive(Debug)]
pub struct Machine<T: SmallTables> {
    /// The core.
    pub kernel: Kernel<T>,
    /// The rest.
    pub world: FakeWorld,
    /// Nanoseconds since boot.
    pub now: u64,
    /// The processor in whose name everything below happens.
    pub cpu: CpuId,
    /// When the timer of each processor is to interrupt.
    pub timers: [u64; CpuId::MAX],
    /// What the last entry has chosen.
    next: Option<Next>,
    /// Whether processors that are asked to enter the kernel do so at once. If not, that is an event like others.
    pub obedient: bool,
    /// The root domain.
    pub root: Root,
    /// The capability of all free RAM.
    pub ram: Handle,
    /// The capability of some device registers.
    pub device: Handle,
    /// Whether every entry is followed by a check of every invariant.
    pub checking: bool,
    /// Nanoseconds that an entry takes. None in a search: then time is just what events let pass, and states do not
    /// differ by how many entries led to them.
    pub entry_time: u64,
    contexts: Vec<Context>,
}

impl<T: SmallTables> Clone for Machine<T>
where
    Kernel<T>: Clone,
{
    fn clone(&self) -> Self {
        Machine {
            kernel: self.kernel.clone(),
            world: self.world.clone(),
            now: self.now,
            cpu: self.cpu,
            timers: self.timers,
            next: self.next,
            obedient: self.obedient,
            root: self.root,
            ram: self.ram,
            device: self.device,
            checking: self.checking,
            entry_time: self.entry_time,
            contexts: self.contexts.clone(),
        }
    }
}

/// Sizes of a machine.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Frames of RAM.
    pub frames: u32,
    /// Frames for the root's page tables.
    pub tables: u8,
    /// Length of the root's capability table.
    pub table_length: u16,
}

/// Frames that the kernel's image has.
const IMAGE: u32 = 4;
/// Where device registers are.
pub const DEVICE_FRAME: Frame = Frame(0x1000);
/// Pages of device registers.
pub const DEVICE_PAGES: u32 = 16;
/// Where every domain of a test has a page of its own, readable and writable.
pub const DATA: u64 = 0x40_0000;
/// Where every domain of a test has the message buffer of its first thread.
pub const BUFFER: u64 = 0x40_2000;

impl<T: SmallTables> Machine<T>
where
    Kernel<T>: Clone,
{
    /// Boots: the root domain runs, with a data page at [`DATA`] (page 0 of [`Machine::ram`]) and a message buffer at
    /// [`BUFFER`] (page 1).
    pub fn boot(plan: Plan) -> Self {
        let mut kernel = Kernel::<T>::EMPTY;
        kernel.attach_frames(vec![kernel_core::FrameEntry::default(); plan.frames as usize]);
        for frame in 0..plan.frames {
            let state = if frame < IMAGE { FrameState::Kernel } else { FrameState::User };
            kernel.declare_ram(Frame(frame), state);
        }
        let tables = Frame(IMAGE);
        let (root, effect) = kernel
            .create_root(RootPlan { tables, table_count: plan.tables, table_length: plan.table_length })
            .expect("the plan fits");
        let first = IMAGE + u32::from(plan.tables);
        let ram = kernel.root_extent(root, Frame(first), plan.frames - first);
        let device = kernel.root_extent(root, DEVICE_FRAME, DEVICE_PAGES);
        let contexts = vec![Context::default(); <T::Threads as Slots<Slot<Thread>>>::LENGTH];
        let mut world = FakeWorld::default();
        world.lines.extend(0..16);
        world.iommu = Some(IommuInfo { address_bits: 39, remaps_interrupts: true, reports_refusals: true });
        let mut machine = Machine {
            kernel,
            world,
            now: 1,
            cpu: CpuId::BOOT,
            timers: [NEVER; CpuId::MAX],
            next: None,
            obedient: true,
            root,
            ram,
            device,
            checking: true,
            entry_time: 1,
            contexts,
        };
        machine.carry_out(effect);
        for (page, address) in [(0, DATA), (1, BUFFER)] {
            let effect = machine
                .kernel
                .root_map(&machine.world, root, ram, address, page, 1, MapAccess::ReadWrite)
                .expect("the root's pages can be mapped");
            machine.carry_out(effect);
        }
        machine.kernel.root_buffer(root, ram, 1, BUFFER).expect("the root's buffer can be pinned");
        let effect = machine.kernel.start_root(root, 0x1000, 0x2000, abi::root::INFO_ADDRESS);
        machine.settle(effect);
        machine
    }

    // ---- looking ----

    /// The thread that runs on the processor of [`Machine::cpu`].
    pub fn current(&self) -> Option<ThreadId> {
        self.kernel.current(self.cpu)
    }

    /// When the timer of this processor is to interrupt.
    pub fn timer(&self) -> u64 {
        self.timers[self.cpu.index()]
    }

    /// Another processor starts to run threads.
    pub fn start_cpu(&mut self, number: usize) -> CpuId {
        let cpu = CpuId::from_index(number).expect("a processor of this number");
        self.kernel.start_cpu(cpu);
        let before = core::mem::replace(&mut self.cpu, cpu);
        self.settle(Effect::None);
        self.cpu = before;
        cpu
    }

    /// What follows happens on this processor.
    pub fn on(&mut self, cpu: CpuId) -> &mut Self {
        self.cpu = cpu;
        self
    }

    /// A thread's registers.
    pub fn context(&self, thread: ThreadId) -> &Context {
        &self.contexts[thread.index()]
    }

    /// The same, to change, as the thread itself could.
    pub fn context_mut(&mut self, thread: ThreadId) -> &mut Context {
        &mut self.contexts[thread.index()]
    }

    fn current_context(&mut self) -> &mut Context {
        let thread = self.current().expect("a thread runs");
        &mut self.contexts[thread.index()]
    }

    /// Feeds what the machine adds to the core's state to a hasher: who executes which call again, and what the
    /// interrupt controller does.
    pub fn canonical(&self, hasher: &mut impl Hasher) {
        for thread in self.kernel.living_threads() {
            let context = self.context(thread);
            if let Some((number, arguments)) = context.request
                && (context.again || self.kernel.will_repeat(thread))
            {
                let handle = self.kernel.canonical_handle(thread, Handle(arguments[0]));
                (thread, number, handle, context.again).hash(hasher);
            }
        }
        self.world.connected.hash(hasher);
        self.world.processors.hash(hasher);
        self.cpu.hash(hasher);
        // The core counts page tables; where they are, and of which space, only they tell.
        for (root, tables) in &self.world.spaces {
            root.hash(hasher);
            tables.places().for_each(|place| place.hash(hasher));
        }
    }

    // ---- entries ----

    /// The running thread makes a system call: one entry into the kernel.
    pub fn enter(&mut self, number: u64, arguments: [u64; 6]) -> Result<(), Refusal> {
        self.now += self.entry_time;
        let request = Request { cpu: self.cpu, number, arguments, now: self.now };
        let context = self.current_context();
        context.request = Some((number, arguments));
        context.again = false;
        context.result = None;
        let (shortened, armed) = (self.shortened(&request), self.timers[self.cpu.index()]);
        match self.kernel.decode(&self.world, &request) {
            Ok(command) => {
                let refused = self.kernel.refusal_at_once(self.cpu, arguments[0]);
                assert!(number != Syscall::Call as u64 || refused.is_none(), "the short way refuses with {refused:?}");
                let effect = self.kernel.perform(self.cpu, &command, self.now);
                self.settle(effect);
                if let Some((kernel, goes_on)) = shortened {
                    self.agrees(kernel, goes_on, armed);
                }
                Ok(())
            }
            Err(refusal) => {
                if number == Syscall::Call as u64
                    && let Some(error) = self.kernel.refusal_at_once(self.cpu, arguments[0])
                {
                    assert_eq!(Refusal::from(error), refusal, "both ways refuse alike");
                }
                assert!(shortened.is_none(), "what is refused is no simple call: {refusal:?}");
                if let Some(syscall) = abi::Syscall::from_number(number) {
                    let error = refusal.error;
                    assert!(
                        syscall.can_fail_with(error),
                        "{syscall:?} says nothing of {error:?}, `abi::refusal` should"
                    );
                }
                match self.kernel.refuse(self.cpu, refusal, self.now) {
                    Some(result) => self.current_context().result = Some(result),
                    None => self.settle(Effect::None),
                }
                Err(refusal)
            }
        }
    }

    /// What the kernel comes to in the short way, if a system call is simple enough, and who goes on with what.
    fn shortened(&self, request: &Request) -> Option<(Box<Kernel<T>>, GoesOn)> {
        let [handle, info, deadline, fourth, accepts, _] = request.arguments;
        let cpu = request.cpu;
        match Syscall::from_number(request.number)? {
            Syscall::Notify => {
                let mut kernel = self.copy_of_core();
                let armed = self.timers[cpu.index()];
                let goes_on = match kernel.signal_at_once(cpu, handle, info)? {
                    Signal::Done => GoesOn::Finds(self.current()?, [0; 4]),
                    Signal::Awaited(name) => {
                        match kernel.wake_at_once(cpu, name, info, Resume::Value(0), || armed, || request.now)? {
                            Woken::Later => GoesOn::Finds(self.current()?, [0; 4]),
                            Woken::AtOnce(next) => GoesOn::As(next),
                        }
                    }
                };
                return Some((kernel, goes_on));
            }
            Syscall::Receive => {
                let mut kernel = self.copy_of_core();
                let goes_on = match kernel.receive_at_once(cpu, [handle, info, deadline], || request.now)? {
                    Received::Bits(bits) => GoesOn::Finds(self.current()?, [RECEIVED_BITS, bits, 0, 0]),
                    Received::Away(next) => GoesOn::As(next),
                };
                return Some((kernel, goes_on));
            }
            Syscall::Wait if info == NEVER => {
                let mut kernel = self.copy_of_core();
                let goes_on = match kernel.wait_at_once(cpu, handle, || request.now)? {
                    Received::Bits(bits) => GoesOn::Finds(self.current()?, [bits, 0, 0, 0]),
                    Received::Away(next) => GoesOn::As(next),
                };
                return Some((kernel, goes_on));
            }
            _ => {}
        }
        let message = MessageInfo(info);
        if !is_plain(message, deadline) {
            return None;
        }
        let mut kernel = self.copy_of_core();
        let long = message.words() > REGISTER_WORDS;
        let (thread, result) = match Syscall::from_number(request.number)? {
            Syscall::Call => {
                let (server, badge, token) = if long {
                    let delivery = kernel.call_at_once::<InBuffers>(cpu, handle, message, fourth)?;
                    (delivery.server, delivery.badge, delivery.token)
                } else {
                    let delivery = kernel.call_at_once::<InRegisters>(cpu, handle, message, fourth)?;
                    (delivery.server, delivery.badge, delivery.token)
                };
                (ThreadId::from_index(server)?, [RECEIVED_MESSAGE, badge, info, token.0])
            }
            Syscall::ReplyReceive => {
                let caller = if long {
                    kernel.answer_at_once::<InBuffers>(cpu, handle, fourth, accepts)?.0
                } else {
                    kernel.answer_at_once::<InRegisters>(cpu, handle, fourth, accepts)?.0
                };
                (ThreadId::from_index(caller)?, [0, 0, info, 0])
            }
            _ => return None,
        };
        Some((kernel, GoesOn::Finds(thread, result)))
    }

    /// The long way has come to the same as the short one, once that has caught up.
    fn agrees(&self, mut short: Box<Kernel<T>>, goes_on: GoesOn, armed: u64) {
        let thread = match goes_on {
            // Its turn has ended on the way in: the timer interrupts as soon as the short way has let it go on.
            GoesOn::Finds(thread, _) | GoesOn::Just(thread) if self.current() != Some(thread) && armed <= self.now => {
                return;
            }
            GoesOn::Finds(thread, result) => {
                assert_eq!(self.current(), Some(thread), "both ways let the same thread go on");
                assert_eq!(self.context(thread).result, Some(result), "it finds the same");
                Some(thread)
            }
            GoesOn::Just(thread) => {
                assert_eq!(self.current(), Some(thread), "both ways let the same thread go on");
                Some(thread)
            }
            GoesOn::As(next) => {
                assert_eq!(self.next, Some(next), "both ways choose the same");
                self.current()
            }
        };
        let undisturbed = Kernel::<T>::INVARIANTS.iter().find(|one| one.name == "who_is_undisturbed_comes_first");
        let found = undisturbed.map(|invariant| (invariant.check)(&short));
        assert_eq!(found, Some(Ok(())), "the short way leaves what the next one relies on");
        short.look(self.cpu, self.now);
        match (short.schedule(self.cpu, self.now), thread) {
            (Next::Run { thread: chosen, root, resume, timer, .. }, Some(thread)) => {
                assert_eq!((chosen, resume), (thread, Resume::Continue), "an entry lets it go on");
                assert_eq!(self.context(thread).root, Some(root), "in the same space");
                let armed = if let GoesOn::As(_) = goes_on { self.timers[self.cpu.index()] } else { armed };
                assert!(armed <= timer, "the timer interrupts at {armed}, and no later than at {timer}");
            }
            (Next::Idle { .. }, None) => {}
            (next, thread) => panic!("the short way comes to {next:?}, the long one to {thread:?}"),
        }
        short.check_invariants().unwrap_or_else(|violation| panic!("the short way: {violation}"));
        self.is_same(&short, "the short way");
    }

    /// The system call that a thread has made last.
    pub fn request_of(&self, thread: ThreadId) -> Option<(u64, [u64; 6])> {
        self.context(thread).request
    }

    /// The system call that the running thread executes again, if that is what it does next.
    pub fn repeated(&self) -> Option<(u64, [u64; 6])> {
        let context = self.context(self.current()?);
        context.request.filter(|_| context.again)
    }

    /// The running thread executes its system call again, if that is what it does next. What was possible may have
    /// become impossible: then this entry refuses.
    pub fn repeat(&mut self) -> bool {
        let Some((number, arguments)) = self.repeated() else { return false };
        let _ = self.enter(number, arguments);
        true
    }

    /// The running thread makes a system call, and makes it again for as long as the kernel wants.
    pub fn call(&mut self, syscall: Syscall, arguments: &[u64]) -> Outcome {
        let thread = self.current().expect("a thread runs");
        let mut registers = [0; 6];
        registers[..arguments.len()].copy_from_slice(arguments);
        // The result of a refusal is in the registers too.
        let _ = self.enter(syscall as u64, registers);
        let mut entries = 0;
        while self.current() == Some(thread) && self.context(thread).again {
            self.repeat();
            entries += 1;
            assert!(entries < 100_000, "{syscall:?} comes to an end");
        }
        if self.current() == Some(thread)
            && let Some(result) = self.context(thread).result
        {
            return Outcome::Done(result);
        }
        Outcome::Away
    }

    /// The running thread faults.
    pub fn fault(&mut self, report: FaultReport) {
        self.now += self.entry_time;
        self.current_context().repaired = false;
        let effect = self.kernel.fault(self.cpu, report, self.now);
        self.settle(effect);
    }

    /// A device raises an interrupt.
    pub fn interrupt(&mut self, interrupt: InterruptId) {
        self.now += self.entry_time;
        let armed = self.timers[self.cpu.index()];
        let shortened = self.interrupted_at_once(interrupt);
        let effect = self.kernel.interrupt(self.cpu, interrupt, self.now);
        self.settle(effect);
        if let Some((kernel, goes_on)) = shortened {
            self.agrees(kernel, goes_on, armed);
        }
    }

    /// What the kernel comes to when an interrupt goes the short way, and who goes on.
    fn interrupted_at_once(&self, interrupt: InterruptId) -> Option<(Box<Kernel<T>>, GoesOn)> {
        let Interrupted { name, bits, .. } = self.kernel.interrupted_at_once(interrupt)?;
        let mut kernel = self.copy_of_core();
        let armed = || self.timers[self.cpu.index()];
        let goes_on = match kernel.wake_at_once(self.cpu, name, bits, Resume::Continue, armed, || self.now)? {
            Woken::Later => GoesOn::Just(self.current()?),
            Woken::AtOnce(next) => GoesOn::As(next),
        };
        Some((kernel, goes_on))
    }

    /// The IOMMU refuses a device something.
    pub fn stray(&mut self, stray: Stray) {
        self.now += self.entry_time;
        self.kernel.stray(self.cpu, stray, self.now);
        self.settle(Effect::None);
    }

    /// The guest that runs does something that is its monitor's business.
    pub fn leave_guest(&mut self) {
        self.now += self.entry_time;
        self.kernel.guest_left(self.cpu, [GUEST_EXIT, 0, 0], self.now);
        self.settle(Effect::None);
    }

    /// Time passes, and the timer interrupts if it is due.
    pub fn pass(&mut self, nanoseconds: u64) {
        self.now += nanoseconds;
        let mut interrupts = 0;
        while self.timers[self.cpu.index()] <= self.now {
            self.kernel.tick(self.cpu, self.now);
            self.settle(Effect::None);
            interrupts += 1;
            assert!(interrupts < 1000, "the timer comes to rest");
        }
    }

    /// The timer interrupts once, after this much time.
    pub fn tick(&mut self, nanoseconds: u64) {
        self.now += nanoseconds;
        self.kernel.tick(self.cpu, self.now);
        self.settle(Effect::None);
    }

    /// The processor enters the kernel because another one has asked it to.
    pub fn look(&mut self) {
        self.now += self.entry_time;
        self.kernel.look(self.cpu, self.now);
        self.settle(Effect::None);
    }

    // ---- effects ----

    fn settle(&mut self, effect: Effect) {
        self.carry_out(effect);
        let next = self.leave();
        self.next = Some(next);
        match next {
            Next::Run { thread, root, resume, timer, forgets } => {
                self.world.run_in(self.cpu, root, forgets);
                assert!(self.world.spaces.contains_key(&root), "{thread:?} runs in a space that has page tables");
                self.timers[self.cpu.index()] = timer;
                let context = &mut self.contexts[thread.index()];
                context.root = Some(root);
                assert!(
                    resume != Resume::LeaveGuest || context.in_guest,
                    "{thread:?} shows the state of a guest that it was not let in yet"
                );
                context.in_guest = match resume {
                    Resume::EnterGuest => true,
                    Resume::LeaveGuest => false,
                    _ => context.in_guest,
                };
                assert_eq!(context.in_guest, self.kernel.is_in_guest(thread), "{thread:?} runs where the core says");
                let result = match resume {
                    Resume::LeaveGuest => Some(self.kernel.result_of_guest(thread)),
                    resume => resume.result(),
                };
                match (resume, result) {
                    (Resume::Again, _) => context.again = true,
                    (_, None) => context.repaired = true,
                    (_, Some(result)) => {
                        context.result = Some(result);
                        context.again = false;
                        if !context.filled {
                            context.words = [0; REGISTER_WORDS];
                        }
                        context.filled = false;
                    }
                }
            }
            Next::Idle { timer } => {
                self.world.idle(self.cpu);
                self.timers[self.cpu.index()] = timer;
            }
        }
        let kicked = self.kernel.take_kicks();
        if self.checking
            && let Err(violation) = self.check()
        {
            panic!("{violation}");
        }
        if self.obedient {
            let before = self.cpu;
            for cpu in kicked.iter() {
                self.cpu = cpu;
                self.look();
            }
            self.cpu = before;
        }
    }

    /// Who runs next: the same thread, if nothing has changed that, as whoever asks at length finds as well.
    fn leave(&mut self) -> Next {
        let asked = self.checking.then(|| self.copy_of_core());
        let Some(Stay { resume, timer }) = self.kernel.stay(self.cpu) else {
            return self.kernel.schedule(self.cpu, self.now);
        };
        let thread = self.current().expect("somebody stays");
        let root = self.context(thread).root.expect("whoever stays has run");
        let next = Next::Run { thread, root, resume, timer, forgets: false };
        if let Some(mut asked) = asked {
            assert_eq!(asked.schedule(self.cpu, self.now), next, "whoever stays would be chosen");
            self.is_same(&asked, "whoever stays");
        }
        next
    }

    /// A copy of the core, made where no stack has room for several.
    #[inline(never)]
    fn copy_of_core(&self) -> Box<Kernel<T>> {
        Box::new(self.kernel.clone())
    }

    /// Two ways have come to the same state.
    fn is_same(&self, other: &Kernel<T>, way: &str) {
        let [mut own_form, mut other_form] = [Recorder::default(), Recorder::default()];
        self.kernel.normal(self.now, &mut own_form);
        other.normal(self.now, &mut other_form);
        let difference = self.kernel.difference(other);
        assert!(own_form.0 == other_form.0, "{way}: the state is the same: {difference:?}");
    }

    /// Checks every invariant of the core, and that page tables and core agree.
    ///
    /// # Errors
    /// A sentence that names the invariant that is violated.
    pub fn check(&self) -> Result<(), String> {
        self.kernel.check_invariants().map_err(|violation| violation.to_string())?;
        self.world.agrees_with(&self.kernel).map_err(|found| format!("page_tables_agree: {found}"))
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::None => {}
            Effect::Deliver(transfers) => transfers.into_iter().flatten().for_each(|transfer| self.deliver(&transfer)),
            Effect::Copy(copy) => {
                let result = self.copy(&copy);
                self.kernel.copied(&copy, result);
            }
            Effect::Map(piece) => self.world.map(&piece),
            Effect::Unmap(piece) => self.world.unmap(self.cpu, &piece),
            Effect::MakeRoot(frame) | Effect::MakeGuestRoot(frame) => self.world.make_root(frame),
            Effect::MakeVcpu { .. } => {}
            Effect::ReturnTables(frames) => {
                frames.into_iter().flatten().for_each(|frame| self.world.return_table(self.cpu, frame));
            }
            Effect::StartThread { thread, instruction, stack, argument } => {
                self.contexts[thread.index()] =
                    Context { start: Some((instruction, stack, argument)), ..Context::default() };
            }
            Effect::WriteRegisters { thread, runtime, root, address } => {
                let mut words = [0u64; size_of::<Registers>() / 8];
                words[16..20].copy_from_slice(&[
                    self.context(thread).start.map_or(0, |start| start.0),
                    0,
                    self.context(thread).fs_base,
                    runtime,
                ]);
                self.write_words(root, address, &words);
            }
            Effect::WriteWords { root, address, count, words } => {
                self.write_words(root, address, &words[..count as usize]);
            }
            Effect::WriteStatistics { root, address, statistics } => {
                let mut words = vec![statistics.frames, statistics.kernel_frames, statistics.mapped_frames];
                words.extend(statistics.objects);
                words.extend([statistics.idle, 1, 1]);
                assert_eq!(words.len() * 8, size_of::<Statistics>());
                self.write_words(root, address, &words);
            }
            Effect::WriteTimes { root, address } => {
                self.write_words(root, address, &[0; abi::syscall::ENTRY_KINDS / 2]);
            }
            Effect::ReadLog { root, address, length, position } => {
                let text: Vec<u8> = b"log".iter().copied().take(length as usize).collect();
                self.world.write(root, address, &text).expect("decoding has checked the address");
                self.kernel.log_read(text.len() as u64, position + text.len() as u64);
            }
            Effect::SetThreadLocal(base) => self.current_context().fs_base = base,
            Effect::PortIn { port, width } => {
                let value = self.world.ports.get(&port).copied().unwrap_or(u32::MAX);
                let mask = (u64::MAX >> (64 - 8 * u32::from(width))) as u32;
                self.kernel.port_read(value & mask);
            }
            Effect::PortOut { port, value, .. } => {
                self.world.ports.insert(port, value);
            }
            Effect::ConnectInterrupt { interrupt, .. } => {
                let earlier = self.world.connected.insert(interrupt, false);
                assert!(earlier.is_none(), "{interrupt:?} is connected already");
            }
            Effect::DisconnectInterrupt { interrupt, .. } => {
                let gone = self.world.connected.remove(&interrupt);
                assert!(gone.is_some(), "{interrupt:?} was connected");
            }
            Effect::AttachDevices { sources, space, root } => {
                self.world.attach(sources, Tree { root, device: Some(space) });
            }
            Effect::DetachDevices { sources, .. } => self.world.detach(sources),
            Effect::RouteInterrupt { interrupt, .. } => {
                assert!(self.world.connected.contains_key(&interrupt), "{interrupt:?} is connected");
            }
            Effect::HearStrays => {}
            Effect::UnmaskInterrupt { interrupt, .. } => self.set_unmasked(interrupt, true),
            Effect::MaskInterrupt { interrupt, .. } => self.set_unmasked(interrupt, false),
        }
    }

    fn set_unmasked(&mut self, interrupt: InterruptId, unmasked: bool) {
        *self.world.connected.get_mut(&interrupt).expect("a connected interrupt") = unmasked;
    }

    fn write_words(&mut self, root: Frame, address: u64, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.world.write(root, address, &bytes).expect("decoding has checked the address");
    }

    fn deliver(&mut self, transfer: &Transfer) {
        let mut words = [0; REGISTER_WORDS];
        let count = transfer.words as usize;
        match transfer.source {
            TransferSource::Thread(source, buffer) => {
                let registers = self.context(source).words;
                for (word, sent) in words.iter_mut().zip(registers).take(count) {
                    *word = sent;
                }
                for index in REGISTER_WORDS..count {
                    let (from, to) = (buffer.expect("the sender's buffer"), transfer.target_buffer);
                    let to = to.expect("the receiver's buffer");
                    let place = (offset::WORDS + 8 * index) as u64;
                    let word = self.world.word(from.address() + place);
                    self.world.set_word(to.address() + place, word);
                }
            }
            TransferSource::Fault(source, report) => {
                let start = self.context(source).start.unwrap_or_default();
                words = [report.address, start.0, start.1, report.code, 0, source.index() as u64];
            }
        }
        for (index, handle) in transfer.handles.iter().enumerate().take(transfer.caps as usize) {
            let buffer = transfer.target_buffer.expect("capabilities arrive in a buffer");
            self.world.set_word(buffer.address() + (offset::CAPS_IN + 8 * index) as u64, *handle);
        }
        let context = &mut self.contexts[transfer.target.index()];
        context.words = words;
        context.filled = true;
    }

    fn copy(&mut self, copy: &LeaseCopy) -> Result<(), CopyFault> {
        let bytes = self.world.read(copy.source_root, copy.source, copy.length).ok_or(CopyFault::Source)?;
        self.world.write(copy.target_root, copy.target, &bytes).ok_or(CopyFault::Target)
    }
}

/// The fixed capabilities of the root, by short names.
pub mod own {
    use super::{Handle, root};
    /// Its account.
    pub const ACCOUNT: Handle = root::ACCOUNT;
    /// Its domain.
    pub const DOMAIN: Handle = root::DOMAIN;
    /// Its space.
    pub const SPACE: Handle = root::SPACE;
    /// Its thread.
    pub const THREAD: Handle = root::THREAD;
    /// All free RAM of a machine.
    pub const RAM: Handle = Handle::new(root::FIRST_EXTENT, 1);
    /// Its device registers.
    pub const DEVICE: Handle = Handle::new(root::FIRST_EXTENT + 1, 1);
    /// Its budget.
    pub const BUDGET: Handle = root::BUDGET;
    /// All I/O ports.
    pub const PORTS: Handle = root::PORTS;
    /// The kernel's log and statistics.
    pub const SYSTEM: Handle = root::SYSTEM;
}
