//! From the entry code to the core and back: what came, who runs next.

use crate::context::Context;
use crate::entry::KernelFrame;
use crate::interrupt_table::{EXCEPTIONS, Exception, LEGACY_FIRST, LEGACY_LAST};
use crate::local_apic::{KICK_VECTOR, SPURIOUS_VECTOR, STRAY_VECTOR, TIMER_VECTOR};
use crate::per_cpu::PerCpu;
use crate::ram::RamPage;
use crate::state::{self, Held, Machine, Selectors, State};
use crate::world::View;
use crate::{clock, emergency, processor};
use abi::Error;
use abi::fault::FaultKind;
use abi::message::{MessageInfo, REGISTER_WORDS, offset};
use abi::syscall::{EntryKind, InterruptSource, RECEIVED_BITS, Syscall};
use abi::time::NEVER;
use bitflags::bitflags;
use core::sync::atomic::{AtomicU32, Ordering};
use kernel_core::{
    CpuId, Delivery, Effect, FaultReport, Frame, InBuffers, InRegisters, InterruptId, Interrupted, Next, ObjectName,
    Received, Request, Resume, Signal, ThreadId, Woken,
};

bitflags! {
    /// Error code of a page fault (AMD64 manual volume 2, 8.4.2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct PageFaultError: u64 {
        const WRITE = 1 << 1;
        const RESERVED_BIT = 1 << 3;
        const FETCH = 1 << 4;
    }
}

/// The flag that lets interrupts come.
const INTERRUPT_FLAG: u64 = 1 << 9;

/// Non-maskable interrupts that nobody has spoken of yet: they come at any instruction, so the log must wait.
static NON_MASKABLE: AtomicU32 = AtomicU32::new(0);

/// What the entry code does after the short way.
#[repr(C)]
pub(crate) struct GoesOn {
    /// The context to go on with, whose message registers hold the message already; null if the system call was not simple
    /// enough.
    context: *const Context,
    /// The name of the call, for its server.
    token: u64,
}

/// A plain system call `Call`, with words in registers or in message buffers: if it is a simple one, the server goes on. The entry
/// code passes the arguments as they came, and gives `info` to the server.
#[unsafe(link_section = ".text.entry")]
pub(crate) extern "C" fn call_at_once<M: Medium>(handle: u64, info: u64, _: u64, _: u64, interface: u64) -> GoesOn {
    let mut state = state::lock();
    match state.kernel.call_at_once::<M>(PerCpu::own_cpu(), handle, MessageInfo(info), interface) {
        Some(Delivery { server, badge, token, way }) => {
            M::carry(way, MessageInfo(info));
            let context = state.go_on(server);
            // SAFETY: as the core says, the thread does not run, and the lock is held.
            unsafe { (*context).set_badge(badge) };
            GoesOn { context, token: token.0 }
        }
        None => {
            try_at_length([info, NEVER, interface]);
            GoesOn { context: core::ptr::null(), token: 0 }
        }
    }
}

/// A plain call that was not a simple one: why it is refused, as a register, if that is because its handle names nothing, or 0.
pub(crate) extern "C" fn refuse_call(handle: u64) -> u64 {
    let state = state::lock();
    state.kernel.refusal_at_once(PerCpu::own_cpu(), handle).map_or(0, Error::to_register)
}

/// A plain system call `ReplyReceive`, the same way: if it is a simple one, the caller goes on.
#[unsafe(link_section = ".text.entry")]
pub(crate) extern "C" fn answer_at_once<M: Medium>(
    handle: u64,
    info: u64,
    _: u64,
    _: u64,
    token: u64,
    accepts: u64,
) -> *const Context {
    let mut state = state::lock();
    match state.kernel.answer_at_once::<M>(PerCpu::own_cpu(), handle, token, accepts) {
        Some((caller, way)) => {
            M::carry(way, MessageInfo(info));
            state.go_on(caller)
        }
        None => {
            try_at_length([info, NEVER, token]);
            core::ptr::null()
        }
    }
}

/// What [`notify_at_once`] returns if the thread goes on: no context lies there.
pub(crate) const DONE: usize = 1;

/// A system call `Notify`. Returns [`DONE`], or the context to go on with, or null if it was not a simple one.
pub(crate) extern "C" fn notify_at_once(handle: u64, bits: u64) -> *const Context {
    let mut state = state::lock();
    let cpu = PerCpu::own_cpu();
    match state.kernel.signal_at_once(cpu, handle, bits) {
        None => core::ptr::null(),
        Some(Signal::Done) => core::ptr::without_provenance(DONE),
        Some(Signal::Awaited(name)) => wake(state, cpu, name, bits),
    }
}

/// Wakes the thread that waits for a notification.
#[inline(never)]
fn wake(mut state: Held, cpu: CpuId, name: ObjectName, bits: u64) -> *const Context {
    let machine = state::machine();
    let State { kernel, processors, .. } = &mut *state;
    let armed = || processors[cpu.index() % CpuId::MAX].armed();
    match kernel.wake_at_once(cpu, name, bits, Resume::Value(0), armed, || machine.clock.now()) {
        None => core::ptr::null(),
        Some(Woken::Later) => core::ptr::without_provenance(DONE),
        Some(Woken::AtOnce(next)) => {
            go_on(&mut state, machine, cpu, next, Selectors::Kept).unwrap_or_else(|| idle(state, machine, cpu))
        }
    }
}

/// A system call `Wait` without a deadline. Returns the context to go on with, or null if it was not a simple one.
pub(crate) extern "C" fn wait_at_once(handle: u64) -> *const Context {
    let mut state = state::lock();
    let cpu = PerCpu::own_cpu();
    let received = state.kernel.wait_at_once(cpu, handle, || state::machine().clock.now());
    received_at_once(received, |bits| [bits, 0, 0, 0], state, cpu)
}

/// The same for a system call `Receive`.
pub(crate) extern "C" fn receive_at_once(handle: u64, accepts: u64, deadline: u64) -> *const Context {
    let mut state = state::lock();
    let cpu = PerCpu::own_cpu();
    let received = state.kernel.receive_at_once(cpu, [handle, accepts, deadline], || state::machine().clock.now());
    received_at_once(received, |bits| [RECEIVED_BITS, bits, 0, 0], state, cpu)
}

#[inline(always)]
fn received_at_once(
    received: Option<Received>,
    found: impl FnOnce(u64) -> [u64; 4],
    mut state: Held,
    cpu: CpuId,
) -> *const Context {
    match received {
        None => core::ptr::null(),
        Some(Received::Bits(bits)) => {
            let context = PerCpu::current().context();
            // SAFETY: it is the context of the thread that runs on this processor, and the lock is held.
            unsafe { (*context).set_result(found(bits)) };
            context
        }
        Some(Received::Away(next)) => {
            let machine = state::machine();
            go_on(&mut state, machine, cpu, next, Selectors::Reset).unwrap_or_else(|| idle(state, machine, cpu))
        }
    }
}

/// Carries the words of a message that registers do not.
pub(crate) trait Medium: kernel_core::Medium {
    fn carry(way: Self::Way, info: MessageInfo);
}

impl Medium for InRegisters {
    #[inline(always)]
    fn carry((): (), _: MessageInfo) {}
}

impl Medium for InBuffers {
    #[inline(always)]
    fn carry([from, to]: [Frame; 2], info: MessageInfo) {
        // SAFETY: the core has named two pinned message buffers: RAM of users.
        let [from, to] = [from, to].map(|frame| unsafe { RamPage::new(frame) });
        to.copy_words(from, offset::WORDS / 8 + REGISTER_WORDS, info.words().saturating_sub(REGISTER_WORDS));
    }
}

/// Keeps those arguments of a system call that is not simple which the entry code has not kept, for [`syscall`].
fn try_at_length(arguments: [u64; 3]) {
    // SAFETY: the context is that of the thread that runs on this processor, and the lock is held.
    unsafe { (*PerCpu::current().context()).keep_arguments(arguments) };
}

/// A system call: `context` holds the calling thread's registers. Returns the context to go on with.
pub(crate) extern "C" fn syscall(context: *mut Context) -> *const Context {
    let entry = Entry::begin();
    let machine = state::machine();
    let mut state = state::lock();
    let now = machine.clock.now();
    // SAFETY: the entry code passes the context of the thread that ran on this processor; the lock is held.
    let (number, arguments) = unsafe { (*context).request() };
    match state.kernel.decode(&View(machine), &Request { cpu: entry.cpu, number, arguments, now }) {
        Ok(ref command) => {
            let effect = state.kernel.perform(entry.cpu, command, now);
            if !matches!(effect, Effect::None) {
                state.carry_out(machine, effect);
            }
        }
        Err(refusal) => {
            if let Some(result) = state.kernel.refuse(entry.cpu, refusal, now) {
                // SAFETY: as above.
                unsafe { (*context).set_result(result) };
                PerCpu::current().leave();
                return context;
            }
        }
    }
    entry.end(state, machine, EntryKind::of_syscall(number))
}

/// An exception or interrupt in user mode: `context` holds the thread's registers. Returns the context to go on with.
pub(crate) extern "C" fn trap(context: *mut Context, vector: u64, error: u64) -> *const Context {
    debug_assert!(!context.is_null());
    if vector >= u64::from(EXCEPTIONS)
        && let Some(context) = interrupt_at_once(vector as u8)
    {
        return context;
    }
    let entry = Entry::begin();
    let machine = state::machine();
    let fault_address = processor::fault_address();
    let mut state = state::lock();
    let now = machine.clock.now();
    let kind = if vector < u64::from(EXCEPTIONS) {
        let report = report(vector as u8, error, fault_address);
        let effect = state.kernel.fault(entry.cpu, report, now);
        state.carry_out(machine, effect);
        EntryKind::Exception
    } else {
        interrupt(&mut state, machine, entry.cpu, vector as u8, now)
    };
    // SAFETY: it is the context of the thread that ran on this processor, and the lock is held.
    if unsafe { (*context).has_canonical_instruction() } {
        entry.end(state, machine, kind)
    } else {
        entry.end_at_length(state, machine, kind)
    }
}

/// The guest of the thread that runs on this processor has done something that is its monitor's business. Returns the context to
/// go on with.
pub(crate) fn guest_left(exit: [u64; 3]) -> *const Context {
    let entry = Entry::begin();
    let machine = state::machine();
    let mut state = state::lock();
    let now = machine.clock.now();
    state.kernel.guest_left(entry.cpu, exit, now);
    entry.end(state, machine, EntryKind::of_syscall(Syscall::VcpuRun as u64))
}

/// A stay of this processor in the kernel.
struct Entry {
    cpu: CpuId,
    /// When it began, by the time-stamp counter.
    begun: u64,
}

impl Entry {
    fn begin() -> Self {
        let begun = clock::time_stamp();
        let own = PerCpu::current();
        own.enter();
        Entry { cpu: own.cpu(), begun }
    }

    /// Notes how long it took and leaves the kernel.
    #[inline(always)]
    fn end(self, mut state: Held, machine: &'static Machine, kind: EntryKind) -> *const Context {
        if let Some(stay) = state.kernel.stay(self.cpu) {
            let own = PerCpu::current();
            let context = own.context();
            if let Some(result) = stay.resume.result() {
                // SAFETY: this is the context of the thread that has entered and stays; the lock is held.
                unsafe { (*context).set_result(result) };
            }
            state.processor(self.cpu).arm_timer(machine, stay.timer);
            call_others(&mut state, machine, self.cpu);
            self.note(&mut state, kind);
            own.leave();
            return context;
        }
        self.end_at_length(state, machine, kind)
    }

    /// The same, if the thread may not be able to stay.
    fn end_at_length(self, mut state: Held, machine: &'static Machine, kind: EntryKind) -> *const Context {
        let now = machine.clock.now();
        let context = choose(&mut state, machine, self.cpu, now);
        self.note(&mut state, kind);
        leave_with(context, state, machine, self.cpu)
    }

    /// Notes how long it took.
    fn note(&self, state: &mut State, kind: EntryKind) {
        let ticks = clock::time_stamp().wrapping_sub(self.begun);
        state.processor(self.cpu).times.note(kind, ticks);
    }
}

/// An exception or interrupt in kernel mode, or one that is the kernel's in any mode.
pub(crate) extern "C" fn trap_in_kernel(frame: &mut KernelFrame) {
    if frame.vector == Exception::NonMaskableInterrupt as u64 {
        if emergency::has_begun() {
            processor::stop();
        }
        NON_MASKABLE.fetch_add(1, Ordering::Relaxed);
    } else if frame.vector >= u64::from(EXCEPTIONS) && PerCpu::current().wake_by(frame.vector as u8) {
        // The idle loop takes one interrupt at a time.
        frame.rflags &= !INTERRUPT_FLAG;
    } else {
        emergency::exception(frame)
    }
}

/// What the core is told of an exception.
fn report(vector: u8, error: u64, fault_address: u64) -> FaultReport {
    let (kind, address) = match vector {
        v if v == Exception::PageFault as u8 => {
            let cause = PageFaultError::from_bits_truncate(error);
            let kind = if cause.contains(PageFaultError::RESERVED_BIT) {
                FaultKind::Exception
            } else if cause.contains(PageFaultError::FETCH) {
                FaultKind::Execute
            } else if cause.contains(PageFaultError::WRITE) {
                FaultKind::Write
            } else {
                FaultKind::Read
            };
            (kind, fault_address)
        }
        v if v == Exception::DivideError as u8 => (FaultKind::Divide, 0),
        v if v == Exception::Debug as u8 || v == Exception::Breakpoint as u8 => (FaultKind::Breakpoint, 0),
        v if v == Exception::InvalidOpcode as u8 => (FaultKind::IllegalInstruction, 0),
        v if v == Exception::DeviceNotAvailable as u8 => (FaultKind::FloatingPoint, 0),
        _ => (FaultKind::Exception, 0),
    };
    FaultReport { kind, address, code: u64::from(vector) << 32 | (error & 0xffff_ffff) }
}

/// An interrupt that has reached this processor: an entry of the core, whatever it is. Tells what it was.
fn interrupt(state: &mut State, machine: &Machine, cpu: CpuId, vector: u8, now: u64) -> EntryKind {
    let kind = match vector {
        TIMER_VECTOR => {
            state.processor(cpu).timer_fired();
            state.kernel.tick(cpu, now);
            EntryKind::Timer
        }
        KICK_VECTOR => {
            state.kernel.look(cpu, now);
            EntryKind::Kick
        }
        STRAY_VECTOR => {
            state.kernel.look(cpu, now);
            state.hear_strays(machine, cpu, now);
            EntryKind::Interrupt
        }
        // Withdrawn interrupts are not in service, and neither are the legacy controllers' in this controller; but a device
        // that is not confined may send the same vector, and would silence the processor if that stayed in service.
        SPURIOUS_VECTOR | LEGACY_FIRST..=LEGACY_LAST if !machine.local_apic.is_in_service(vector) => {
            state.kernel.look(cpu, now);
            return EntryKind::Interrupt;
        }
        _ => {
            match InterruptId::from_vector(vector) {
                Some(id) => {
                    let effect = state.kernel.interrupt(cpu, id, now);
                    if !leaves_line_open(machine, &effect) {
                        state.carry_out(machine, effect);
                    }
                }
                None => state.kernel.look(cpu, now),
            }
            EntryKind::Interrupt
        }
    };
    machine.local_apic.end_of_interrupt();
    let unspoken = NON_MASKABLE.swap(0, Ordering::Relaxed);
    if unspoken > 0 {
        log::warn!("{unspoken} non-maskable interrupts without a known cause");
    }
    kind
}

/// A device's interrupt that wakes one thread which waits for it on this processor. Returns the context to go on with.
#[inline(always)]
fn interrupt_at_once(vector: u8) -> Option<*const Context> {
    let id = InterruptId::from_vector(vector)?;
    let machine = state::machine();
    let mut state = state::lock();
    let context = PerCpu::current().context();
    // SAFETY: it is the context of the thread that ran on this processor, and the lock is held.
    if !unsafe { (*context).has_canonical_instruction() } {
        return None;
    }
    let cpu = PerCpu::own_cpu();
    let Interrupted { name, bits, source } = state.kernel.interrupted_at_once(id)?;
    let State { kernel, processors, .. } = &mut *state;
    let armed = || processors[cpu.index() % CpuId::MAX].armed();
    let woken = kernel.wake_at_once(cpu, name, bits, Resume::Continue, armed, || machine.clock.now())?;
    let effect = Effect::MaskInterrupt { interrupt: id, source };
    if source != InterruptSource::Message && !leaves_line_open(machine, &effect) {
        state.carry_out(machine, effect);
    }
    machine.local_apic.end_of_interrupt();
    match woken {
        Woken::Later => Some(context),
        Woken::AtOnce(next) => {
            let context = go_on(&mut state, machine, cpu, next, Selectors::Reset);
            context.or_else(|| Some(idle(state, machine, cpu)))
        }
    }
}

/// An edge-triggered line stays open while its interrupt is served: an edge that came meanwhile would be lost.
fn leaves_line_open(machine: &Machine, effect: &Effect) -> bool {
    match effect {
        Effect::MaskInterrupt { source: abi::syscall::InterruptSource::Isa(line), .. } => {
            !machine.lines.is_level_triggered(*line)
        }
        _ => false,
    }
}

/// Leaves the kernel for the first time on this processor.
pub(crate) fn leave(mut state: Held, machine: &'static Machine, now: u64) -> *const Context {
    let cpu = PerCpu::current().cpu();
    let context = choose(&mut state, machine, cpu, now);
    leave_with(context, state, machine, cpu)
}

/// Leaves the kernel with a context, or waits if nobody runs.
#[inline(always)]
fn leave_with(context: Option<*const Context>, state: Held, machine: &'static Machine, cpu: CpuId) -> *const Context {
    match context {
        Some(context) => {
            PerCpu::current().leave();
            context
        }
        None => idle(state, machine, cpu),
    }
}

/// Asks the core who runs next on this processor and prepares that; `None` if nobody does. Calls the processors for which
/// there is something to do.
fn choose(state: &mut State, machine: &'static Machine, cpu: CpuId, now: u64) -> Option<*const Context> {
    let next = state.kernel.schedule(cpu, now);
    let chosen = go_on(state, machine, cpu, next, Selectors::Reset);
    call_others(state, machine, cpu);
    chosen
}

/// Prepares what the core has chosen.
#[inline(always)]
fn go_on(
    state: &mut State,
    machine: &'static Machine,
    cpu: CpuId,
    next: Next,
    selectors: Selectors,
) -> Option<*const Context> {
    match next {
        Next::Run { thread, root, resume, timer, forgets } => {
            if forgets {
                // At once: the core takes it for done, whoever runs in the end.
                PerCpu::current().forget_translations();
            }
            state.prepare(thread, resume);
            if !state.contexts.get(thread).has_canonical_instruction() {
                return blame(state, machine, cpu, thread);
            }
            state.processor(cpu).arm_timer(machine, timer);
            // SAFETY: the core names root tables of living spaces, which have the kernel's half.
            Some(unsafe { state.run(cpu, thread, root, selectors) })
        }
        Next::Idle { timer } => {
            // No space is used while nobody runs, so that another processor can take it apart. If there is no other, whoever
            // ran last often runs next.
            if !state.kernel.is_alone() {
                // SAFETY: this is the kernel's own table.
                unsafe { PerCpu::current().use_root(machine.root) };
            }
            state.processor(cpu).arm_timer(machine, timer);
            None
        }
    }
}

/// A thread cannot go on where it would: the processor would fault in kernel mode, and the thread is to blame. Prepares somebody
/// else.
#[cold]
fn blame(state: &mut State, machine: &'static Machine, cpu: CpuId, thread: ThreadId) -> Option<*const Context> {
    let mut thread = thread;
    let next = loop {
        let address = state.contexts.get(thread).instruction;
        let report = FaultReport { kind: FaultKind::Execute, address, code: 0 };
        let now = machine.clock.now();
        let effect = state.kernel.fault(cpu, report, now);
        state.carry_out(machine, effect);
        let next = state.kernel.schedule(cpu, now);
        match next {
            Next::Run { thread: chosen, .. } if !state.contexts.get(chosen).has_canonical_instruction() => {
                thread = chosen;
            }
            _ => break next,
        }
    };
    call_others(state, machine, cpu);
    go_on(state, machine, cpu, next, Selectors::Reset)
}

/// Calls the processors for which there is something to do.
fn call_others(state: &mut State, machine: &Machine, cpu: CpuId) {
    for called in state.kernel.take_kicks().iter() {
        if called == cpu || PerCpu::needs_interrupt(called) {
            machine.local_apic.interrupt(machine.apic_id(called), KICK_VECTOR);
        }
    }
}

/// Halts until there is somebody to run.
fn idle(mut state: Held, machine: &'static Machine, cpu: CpuId) -> *const Context {
    let mut now = machine.clock.now();
    let own = PerCpu::current();
    loop {
        let awake_until = now + state.processor(cpu).patience;
        own.leave();
        drop(state);
        let vector = own.wait_for_interrupt(|| machine.clock.now() >= awake_until);
        own.enter();
        state = state::lock();
        let since = now;
        now = machine.clock.now();
        state.processor(cpu).rested(now.saturating_sub(since));
        interrupt(&mut state, machine, cpu, vector, now);
        if let Some(context) = choose(&mut state, machine, cpu, now) {
            own.leave();
            return context;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_fault_tells_what_was_tried_and_where() {
        for (error, kind) in [
            (0b00100, FaultKind::Read),
            (0b00101, FaultKind::Read),
            (0b00111, FaultKind::Write),
            (0b10101, FaultKind::Execute),
            (0b01101, FaultKind::Exception),
        ] {
            let report = report(14, error, 0x1234);
            assert_eq!((report.kind, report.address), (kind, 0x1234));
        }
    }

    #[test]
    fn an_exception_carries_vector_and_error_code() {
        let report = report(13, 0x18, 0x1234);
        assert_eq!(report, FaultReport { kind: FaultKind::Exception, address: 0, code: 13 << 32 | 0x18 });
    }
}
