//! The kernel's state: the core behind one big lock, and what the shell knows of the machine.

use crate::clock::Clock;
use crate::context::{Context, ContextAccess, Contexts};
use crate::entry_time::EntryTimes;
use crate::interrupt_line::InterruptLines;
use crate::iommu::{Iommu, Remapping};
use crate::local_apic::LocalApic;
use crate::per_cpu::PerCpu;
use crate::processor;
use crate::processor::Protections;
use abi::boot::{CPUS_MAX, Cpu, List, Measure, PartialTable};
use abi::time::NEVER;
use core::mem::offset_of;
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
    /// They can run guests.
    pub has_guests: bool,
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
    /// The time for which the timer is armed, 0 if it is not.
    armed: u64,
    /// Nanoseconds without anything to do.
    pub idle: u64,
    /// For how many nanoseconds without anything to do it does not halt.
    pub patience: u64,
    /// The longest entries.
    pub times: EntryTimes,
}

impl Processor {
    const EMPTY: Processor = Processor { armed: 0, idle: 0, patience: 0, times: EntryTimes::NONE };

    /// Arms the timer for a time, unless it is armed for an earlier one: that interrupt comes for nothing and arms the
    /// timer anew, which is cheaper than a device access on each switch.
    pub fn arm_timer(&mut self, machine: &Machine, time: u64) {
        if time == NEVER || (self.armed != 0 && self.armed <= time) {
            return;
        }
        let lasts = time.saturating_sub(machine.clock.now());
        machine.local_apic.start_timer(machine.clock.timer_ticks(lasts));
        self.armed = time.max(1);
    }

    /// It had nothing to do for so many nanoseconds. A halted processor comes back late, by a deep sleep's end on hardware and
    /// by the host's on an emulated one: after a short rest it stays awake for as long again, since another short one may
    /// follow, as while somebody waits for a fast device again and again.
    pub fn rested(&mut self, lasted: u64) {
        const SHORT: u64 = 200_000;
        self.idle += lasted;
        self.patience = if lasted < SHORT { 2 * lasted } else { 0 };
    }

    /// When the timer interrupts at the latest.
    pub fn armed(&self) -> u64 {
        if self.armed == 0 { NEVER } else { self.armed }
    }

    /// The timer has interrupted.
    pub fn timer_fired(&mut self) {
        self.armed = 0;
    }
}

/// What becomes of the selectors of data segments when another thread runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selectors {
    /// They are null.
    Reset,
    /// They stay, between threads that signal to each other.
    Kept,
}

/// Everything that changes.
#[repr(C)]
pub struct State {
    /// The core.
    pub kernel: Kernel<MachineTables>,
    /// The right to use saved registers.
    pub contexts: ContextAccess,
    /// What each processor is doing.
    pub processors: [Processor; CpuId::MAX],
}

impl State {
    /// What a processor is doing.
    pub fn processor(&mut self, cpu: CpuId) -> &mut Processor {
        &mut self.processors[cpu.index() % CpuId::MAX]
    }

    /// Makes this processor, `cpu`, run a thread in the space with this root table. Returns where its registers are.
    ///
    /// # Safety
    /// The table's kernel half is the kernel's own.
    #[inline(always)]
    pub unsafe fn run(&mut self, cpu: CpuId, thread: ThreadId, root: Frame, selectors: Selectors) -> *const Context {
        let own = PerCpu::current();
        let pointer = self.contexts.pointer(thread);
        let context = self.contexts.get_mut(thread);
        let is_other = own.set_context(pointer);
        let is_new = context.load_on(cpu, root);
        if is_new | (is_other && selectors == Selectors::Reset) {
            processor::load_user_segments(context.thread_local);
        } else if is_other {
            processor::load_thread_local(context.thread_local);
        }
        // SAFETY: the caller vouches for it.
        unsafe { own.use_root(root) };
        pointer
    }

    /// Lets the thread with this index go on in the place of another, with a message of it in the registers that both have for
    /// that. It ran on this processor last and has left by a system call; so the address behind that is canonical, since no
    /// memory is mapped at the very end of the lower half.
    #[inline(always)]
    pub fn go_on(&mut self, thread: usize) -> *mut Context {
        let context = self.contexts.pointer_at(thread);
        // SAFETY: the core has named the thread, and has let it run before.
        unsafe { PerCpu::switch_to(context) };
        context
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

#[unsafe(link_section = ".bss.tables.state")]
static STATE: FairLock<State> = FairLock::new(State {
    kernel: Kernel::EMPTY,
    // SAFETY: this is the state behind the big lock, and there is one.
    contexts: unsafe { ContextAccess::new() },
    processors: [const { Processor::EMPTY }; CpuId::MAX],
});

/// The tables of which the loader provides a part, in its words.
#[repr(transparent)]
struct TableList([PartialTable<*const u8>; Kernel::PARTIAL_TABLES.len() + 1]);

// SAFETY: it does not change, and nobody uses its pointers but the loader, which knows them as numbers.
unsafe impl Sync for TableList {}

#[used]
#[unsafe(link_section = ".table_list")]
static TABLE_LIST: TableList = TableList({
    let kernel = (&raw const STATE).cast::<u8>().wrapping_add(FairLock::<State>::VALUE + offset_of!(State, kernel));
    let contexts =
        PartialTable { start: Contexts::start(), len: size_of::<Contexts>() as u64, measure: Measure::Memory };
    let mut list = [contexts; _];
    let mut index = 0;
    while index < Kernel::PARTIAL_TABLES.len() {
        let (offset, len, measure) = Kernel::PARTIAL_TABLES[index];
        list[index] = PartialTable { start: kernel.wrapping_add(offset), len: len as u64, measure };
        index += 1;
    }
    list
});

/// The big lock, held.
pub type Held = FairGuard<'static, State>;

/// Takes the big lock. Processors are served in the order in which they come.
pub fn lock() -> Held {
    STATE.lock()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_stays_awake_after_short_rests_only() {
        let mut processor = Processor::EMPTY;
        processor.rested(60_000);
        assert_eq!(processor.patience, 120_000);
        processor.rested(10_000_000);
        assert_eq!((processor.patience, processor.idle), (0, 10_060_000));
    }
}
