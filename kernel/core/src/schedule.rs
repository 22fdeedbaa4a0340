//! Entries, events and the choice: who runs next.

use crate::cpu::Undisturbed;
use crate::effect::{Next, Resume, Stay};
use crate::identity::{CpuId, CpuSet, ThreadId};
use crate::kernel::{Kernel, Tables};
use crate::table::{Slots, Vacant};
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

    /// Whether just one processor runs threads.
    pub fn is_alone(&self) -> bool {
        self.online.0.is_power_of_two()
    }

    /// Asks a processor to enter the kernel.
    pub(crate) fn kick(&mut self, cpu: CpuId) {
        *self.undisturbed.at_mut(cpu.index()) = Undisturbed::EMPTY;
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
        for other in self.online.iter() {
            self.catch_up(other);
        }
        *self.undisturbed.at_mut(cpu.index()) = Undisturbed::EMPTY;
        self.charge_cpu(cpu);
        if let Some(thread) = self.current(cpu)
            && self.thread(thread).state != State::Ready
        {
            self.thread_mut(thread).turn_over = false;
            self.cpu_mut(cpu).current = None;
        }
        self.take_part(cpu);
    }

    /// The short way leaves the ready queues alone: whoever it has let run takes the place of who stands there still.
    pub(crate) fn catch_up(&mut self, cpu: CpuId) {
        let entry = self.cpu(cpu);
        let runs = self.undisturbed.at(cpu.index()).thread;
        let Some(runs) = runs else { return };
        let left = entry.current_priority;
        let priority = self.thread(runs).priority;
        let Some(stands) = entry.current.filter(|stands| *stands != runs || left != priority) else { return };
        self.leave_ready(cpu, left, stands);
        let entry = self.cpu_mut(cpu);
        entry.set_ready(priority, Some(runs));
        entry.current = Some(runs);
        entry.current_priority = priority;
    }

    /// Whether the thread that runs can go on without an entry: nothing that has happened since it was let run concerns its
    /// processor.
    pub(crate) fn goes_on(&self, cpu: CpuId) -> bool {
        let entry = self.cpu(cpu);
        let Some(thread) = self.current(cpu) else { return false };
        let running = self.thread(thread);
        let undisturbed = !entry.kicked && entry.owes.is_none() && !entry.forgets;
        undisturbed && running.state == State::Ready && !running.turn_over && running.resume == Resume::Continue
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

    /// Whether the thread that has entered the kernel goes on because nothing has changed who runs: then an entry can end with
    /// this instead of [`Kernel::schedule`]. Its time is charged at the next entry, as it would be had it not entered.
    pub fn stay(&mut self, cpu: CpuId) -> Option<Stay> {
        let entry = self.cpu(cpu);
        let thread = entry.current?;
        if entry.kicked || entry.forgets || entry.highest_ready() != Some(thread) {
            return None;
        }
        let deadline = self.first_deadline_of(cpu);
        let running = self.thread_mut(thread);
        if running.turn_over || running.resume.is_more_than_a_result() {
            return None;
        }
        let resume = core::mem::replace(&mut running.resume, Resume::Continue);
        self.leave_undisturbed(cpu, thread);
        Some(Stay { resume, timer: deadline.min(self.turn_end(thread)) })
    }

    fn first_deadline_of(&self, cpu: CpuId) -> u64 {
        self.cpu(cpu).timers.first().map_or(NEVER, |thread| self.thread(thread).deadline)
    }

    /// Chooses who runs next on a processor. Every entry ends with this, unless the same thread stays.
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
        let mut next = self.let_run(cpu);
        if let Next::Run { forgets, .. } = &mut next {
            *forgets = core::mem::take(&mut self.cpu_mut(cpu).forgets);
        }
        next
    }

    /// Lets the first one of the highest priority run, on a processor that is to forget nothing.
    #[inline(always)]
    pub(crate) fn let_run(&mut self, cpu: CpuId) -> Next {
        let entry = self.cpu_mut(cpu);
        entry.current = entry.highest_ready();
        let current = entry.current;
        let first_deadline = self.first_deadline_of(cpu);
        let Some(thread) = current else { return Next::Idle { timer: first_deadline } };
        let resume = core::mem::replace(&mut self.thread_mut(thread).resume, Resume::Continue);
        self.leave_undisturbed(cpu, thread);
        Next::Run {
            thread,
            root: self.root_of(thread),
            resume,
            timer: first_deadline.min(self.turn_end(thread)),
            forgets: false,
        }
    }

    /// Notes whether calls and answers of the thread that runs from now on may go the short way.
    #[inline(always)]
    fn leave_undisturbed(&mut self, cpu: CpuId, thread: ThreadId) {
        let entry = self.thread(thread);
        let priority = entry.priority;
        let lives = entry.domain.is_some_and(|domain| self.domains.is_live(domain.index()));
        // Others behind it are as urgent.
        let above_others = priority.checked_add(u8::from(entry.next.is_some()));
        let steady = entry.place.is_steady() && entry.rest.is_steady();
        let may = lives && entry.shootdown.is_none() && steady && !self.cpu(cpu).kicked;
        let entry = self.cpu_mut(cpu);
        entry.current_priority = priority;
        if may && let Some(above_others) = above_others {
            *self.undisturbed.at_mut(cpu.index()) = Undisturbed { thread: Some(thread), above_others };
        }
    }

    /// When a thread that runs from now on has to give way. Nobody interrupts a turn for nobody's sake.
    #[inline(always)]
    pub(crate) fn turn_end(&self, thread: ThreadId) -> u64 {
        let entry = self.thread(thread);
        let Some(budget) = entry.place.budget() else { return NEVER };
        let budget = self.budgets.at(budget.index());
        let shares = entry.next.is_some();
        if !shares && (entry.place.is_steady() || budget.is_turn()) {
            NEVER
        } else {
            self.now.saturating_add(budget.lasts())
        }
    }
}
