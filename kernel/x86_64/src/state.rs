//! The kernel's state: the core behind one big lock, and what the shell knows of the machine.

use crate::clock::Clock;
use crate::context::ContextAccess;
use crate::entry_time::EntryTimes;
use crate::interrupt_line::InterruptLines;
use crate::iommu::{Iommu, Remapping};
use crate::local_apic::LocalApic;
use crate::per_cpu::PerCpu;
use crate::processor;
use crate::processor::Protections;
use abi::boot::{CPUS_MAX, Cpu, List};
use abi::time::NEVER;
use kernel_core::{CpuId, Frame, Kernel, MachineTables, ThreadId};
use kernel_sync::{FairGuard, FairLock};
use spin::once::Once;

/// What the shell knows of the machine. It does not change after boot.
pub struct Machine {
    /// Its clock: the time-stamp counters of all processors count together.
    pub clock: Clock,
    /// The interrupt controller of whichever processor uses it.
    pub local_apic: LocalApic,
    /// Its interrupt lines. Only used while the big lock is held.
    pub lines: InterruptLines,
    /// Its IOMMU. Only used while the big lock is held.
    pub iommu: Option<Iommu>,
    /// The processors' identifiers for interrupts, in the order of their numbers.
    pub processors: List<Cpu, CPUS_MAX>,
    /// What the processors can do.
    pub protections: Protections,
    /// The kernel's own root table.
    pub root: Frame,
}

impl Machine {
    /// The IOMMU, if it remaps interrupts.
    pub fn remapping(&self) -> Option<&dyn Remapping> {
        self.iommu.as_ref().map(Iommu::get).filter(|iommu| iommu.info().remaps_interrupts)
    }

    /// Identifier to which interrupts for a processor are sent.
    pub fn apic_id(&self, cpu: CpuId) -> u8 {
        self.processors.as_slice().get(cpu.index()).map_or(0, |processor| processor.apic_id as u8)
    }

    /// Identifier to which devices send their interrupts: the boot processor's.
    pub fn interrupted(&self) -> u8 {
        self.apic_id(CpuId::BOOT)
    }
}

static MACHINE: Once<Machine> = Once::new();

/// Makes the machine known. Called once, at boot.
pub fn set_machine(machine: Machine) -> &'static Machine {
    MACHINE.call_once(|| machine)
}

/// What the shell knows of the machine, if boot has come that far.
pub fn known() -> Option<&'static Machine> {
    MACHINE.get()
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
    /// The longest entries.
    pub times: EntryTimes,
}

impl Processor {
    const EMPTY: Processor = Processor { running: None, root: Frame(0), armed: 0, idle: 0, times: EntryTimes::NONE };

    /// Makes this the root table in use.
    ///
    /// # Safety
    /// This is the processor that executes it, and the table's kernel half is the kernel's own.
    pub unsafe fn use_root(&mut self, root: Frame) {
        if self.root != root {
            // SAFETY: the caller vouches for the table.
            unsafe { processor::load_root_table(root) };
            self.root = root;
        }
    }

    /// Forgets every translation of user space.
    pub fn forget_translations(&self) {
        // SAFETY: it is in use already.
        unsafe { processor::load_root_table(self.root) };
    }

    /// Whether this is the root table in use.
    pub fn uses_root(&self, root: Frame) -> bool {
        self.root == root
    }

    /// Makes the entry code of this processor, `cpu`, save registers for this thread from now on.
    pub fn run(&mut self, cpu: CpuId, thread: ThreadId, contexts: &mut ContextAccess) {
        let context = contexts.get_mut(thread);
        if context.load_on(cpu) || self.running != Some(thread) {
            processor::load_user_segments(context.thread_local);
            PerCpu::current().set_context(contexts.pointer(thread));
            self.running = Some(thread);
        }
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
    /// What each processor is doing.
    processors: [Processor; CpuId::MAX],
}

impl State {
    /// What a processor is doing.
    pub fn processor(&mut self, cpu: CpuId) -> &mut Processor {
        &mut self.processors[cpu.index() % CpuId::MAX]
    }

    /// What a processor is doing, beside the registers of threads.
    pub fn processor_and_contexts(&mut self, cpu: CpuId) -> (&mut Processor, &mut ContextAccess) {
        (&mut self.processors[cpu.index() % CpuId::MAX], &mut self.contexts)
    }

    /// Nanoseconds for which processors had nothing to do, all together.
    pub fn idle(&self) -> u64 {
        self.processors.iter().map(|processor| processor.idle).sum()
    }

    /// The longest entries on any processor; measuring begins anew.
    pub fn take_times(&mut self) -> EntryTimes {
        let mut longest = EntryTimes::NONE;
        for processor in &mut self.processors {
            longest.merge(&processor.times);
            processor.times = EntryTimes::NONE;
        }
        longest
    }
}

static STATE: FairLock<State> = FairLock::new(State {
    kernel: Kernel::machine(),
    // SAFETY: this is the state behind the big lock, and there is one.
    contexts: unsafe { ContextAccess::new() },
    processors: [const { Processor::EMPTY }; CpuId::MAX],
});

/// The big lock, held.
pub type Held = FairGuard<'static, State>;

/// Takes the big lock. Processors are served in the order in which they come.
pub fn lock() -> Held {
    STATE.lock()
}
