//! The kernel's state: the core behind one big lock, and what the shell knows of the machine.

use crate::clock::Clock;
use crate::context::ContextAccess;
use crate::interrupt_line::InterruptLines;
use crate::local_apic::LocalApic;
use crate::per_cpu::PerCpu;
use crate::processor;
use abi::time::NEVER;
use kernel_core::{Frame, Kernel, MachineTables, ThreadId};
use spin::mutex::{TicketMutex, TicketMutexGuard};
use spin::once::Once;

/// What the shell knows of the machine. It does not change after boot.
pub struct Machine {
    /// Its clock.
    pub clock: Clock,
    /// The boot processor's interrupt controller.
    pub local_apic: LocalApic,
    /// Its interrupt lines. Only used while the big lock is held.
    pub lines: InterruptLines,
    /// Identifier to which interrupts are sent: the boot processor's.
    pub processor: u8,
    /// How many processors the loader has found.
    pub processors: u64,
    /// The kernel's own root table.
    pub root: Frame,
}

static MACHINE: Once<Machine> = Once::new();

/// Makes the machine known. Called once, at boot.
pub fn set_machine(machine: Machine) -> &'static Machine {
    MACHINE.call_once(|| machine)
}

/// What the shell knows of the machine.
pub fn machine() -> &'static Machine {
    match MACHINE.get() {
        Some(machine) => machine,
        None => panic!("the kernel was entered before it knew its machine"),
    }
}

/// What a processor is doing.
pub struct Processor {
    /// The thread whose registers the entry code saves.
    running: Option<ThreadId>,
    /// The root table in use.
    root: Frame,
    /// The time for which the timer is armed, 0 if it is not.
    armed: u64,
    /// Nanoseconds without anything to do.
    pub idle: u64,
}

impl Processor {
    /// Makes this the root table in use.
    ///
    /// # Safety
    /// The table's kernel half is the kernel's own.
    pub unsafe fn use_root(&mut self, root: Frame) {
        if self.root != root {
            // SAFETY: the caller vouches for the table.
            unsafe { processor::load_root_table(root) };
            self.root = root;
        }
    }

    /// Whether this is the root table in use.
    pub fn uses_root(&self, root: Frame) -> bool {
        self.root == root
    }

    /// Makes the entry code save registers for this thread from now on.
    pub fn run(&mut self, thread: ThreadId, contexts: &ContextAccess) {
        if self.running != Some(thread) {
            processor::load_user_segments(contexts.get(thread).thread_local);
            PerCpu::current().set_context(contexts.pointer(thread));
            self.running = Some(thread);
        }
    }

    /// Forgets which thread ran last, so that the next one is loaded completely.
    pub fn forget_thread(&mut self) {
        self.running = None;
    }

    /// Arms the timer for a time, unless it is armed for an earlier one: that interrupt comes for nothing and arms the
    /// timer anew, which is cheaper than a device access on each switch.
    pub fn arm_timer(&mut self, machine: &Machine, time: u64, now: u64) {
        if time == NEVER || (self.armed != 0 && self.armed <= time) {
            return;
        }
        machine.local_apic.start_timer(machine.clock.timer_ticks(time.saturating_sub(now)));
        self.armed = time.max(1);
    }

    /// The timer has interrupted.
    pub fn timer_fired(&mut self) {
        self.armed = 0;
    }
}

/// Everything that changes.
pub struct State {
    /// The core.
    pub kernel: Kernel<MachineTables>,
    /// The right to use saved registers.
    pub contexts: ContextAccess,
    /// What the one processor that runs threads is doing.
    pub processor: Processor,
}

static STATE: TicketMutex<State> = TicketMutex::new(State {
    kernel: Kernel::machine(),
    // SAFETY: this is the state behind the big lock, and there is one.
    contexts: unsafe { ContextAccess::new() },
    processor: Processor { running: None, root: Frame(0), armed: 0, idle: 0 },
});

/// Takes the big lock. Processors are served in the order in which they come.
pub fn lock() -> TicketMutexGuard<'static, State> {
    STATE.lock()
}
