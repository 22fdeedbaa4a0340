//! Entries, events and the choice: who runs next.

use crate::effect::{Next, Resume};
use crate::identity::{CpuId, CpuSet, ThreadId};
use crate::kernel::{Kernel, Tables};
use crate::thread::State;
use abi::time::NEVER;

/// How many deadlines one timer interrupt ends. If more have passed, the next interrupt follows at once.
const EXPIRIES_PER_TICK: usize = 8;

impl<T: Tables> Kernel<T> {
    // ---- processors ----

    /// A processor is ready to run threads. The one that boots is from the start.
    pub fn start_cpu(&mut self, cpu: CpuId) {
        self.cpu_mut(cpu).online = true;
        self.online.insert(cpu);
    }

    /// The processors that run threads.
    pub fn online(&self) -> impl Iterator<Item = CpuId> + use<T> {
        self.online.iter()
    }

    /// Asks a processor to enter the kernel.
    pub(crate) fn kick(&mut self, cpu: CpuId) {
        let entry = self.cpu_mut(cpu);
        if !entry.kicked {
            entry.kicked = true;
            self.kicks.insert(cpu);
        }
    }

    /// The processors to which the shell is to send an interrupt, so that they enter the kernel through
    /// [`Kernel::look`]. To be asked after [`Kernel::schedule`], before the lock is given back.
    pub fn take_kicks(&mut self) -> CpuSet {
        core::mem::take(&mut self.kicks)
    }

    /// Every entry begins with this: time is charged, and a thread that another processor has stopped is let go.
    pub(crate) fn enter(&mut self, cpu: CpuId, now: u64) {
        self.active = cpu;
        self.now = self.now.max(now);
        self.charge_cpu(cpu);
        if let Some(thread) = self.current(cpu)
            && self.thread(thread).state != State::Ready
        {
            self.thread_mut(thread).turn_over = false;
            self.cpu_mut(cpu).current = None;
        }
        self.take_part(cpu);
    }

    /// A processor has been asked to enter the kernel by another one.
    pub fn look(&mut self, cpu: CpuId, now: u64) {
        self.enter(cpu, now);
    }

    // ---- events and the choice ----

    /// Lets a thread run, with this result. One that is ready, because it runs, keeps its turn.
    pub(crate) fn wake(&mut self, thread: ThreadId, resume: Resume) {
        self.thread_mut(thread).resume = resume;
        if self.thread(thread).state != State::Ready {
            self.make_ready(thread);
        }
    }

    /// The timer interrupt: ends the waits whose deadline has passed, a bounded number at a time.
    pub fn tick(&mut self, cpu: CpuId, now: u64) {
        self.enter(cpu, now);
        for _ in 0..EXPIRIES_PER_TICK {
            let Some(thread) = self.cpu(cpu).timers.first() else { return };
            if self.thread(thread).deadline > self.now || seeded!(DeadlineIgnored) {
                return;
            }
            self.expire(thread);
        }
    }

    /// Chooses who runs next on a processor. Every entry ends with this.
    pub fn schedule(&mut self, cpu: CpuId, now: u64) -> Next {
        self.active = cpu;
        self.now = self.now.max(now);
        // The kernel's own time is charged to whom it worked for.
        self.charge_cpu(cpu);
        if let Some(thread) = self.current(cpu) {
            if self.thread(thread).turn_over {
                self.end_turn(thread);
            } else if self.thread(thread).state == State::Ready {
                // Its registers are saved now: it can go to the processor whose time it uses.
                self.settle(thread);
            }
        }
        let entry = self.cpu_mut(cpu);
        // Whoever still owes something has an interrupt on its way.
        entry.kicked = entry.owes.is_some();
        entry.current = entry.highest_ready();
        let (current, first) = (entry.current, entry.timers.first());
        let first_deadline = first.map_or(NEVER, |thread| self.thread(thread).deadline);
        let Some(thread) = current else { return Next::Idle { timer: first_deadline } };
        let forgets = core::mem::take(&mut self.cpu_mut(cpu).forgets);
        let resume = core::mem::replace(&mut self.thread_mut(thread).resume, Resume::Continue);
        Next::Run {
            thread,
            root: self.root_of(thread),
            resume,
            timer: first_deadline.min(self.turn_end(thread)),
            forgets,
        }
    }

    /// When a thread that runs from now on has to give way. Nobody interrupts a turn for nobody's sake.
    fn turn_end(&self, thread: ThreadId) -> u64 {
        let entry = self.thread(thread);
        let Some(budget) = entry.budget else { return NEVER };
        let budget = self.budgets.at(budget.index());
        let shares = self.thread(thread).next.is_some();
        if budget.is_turn() && !shares { NEVER } else { self.now.saturating_add(budget.lasts()) }
    }
}
