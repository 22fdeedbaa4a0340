//! Who runs on whose time: budgets, and the loan along a call.
//!
//! A server runs on its caller's budget from taking a call until it answers, or receives again. When that runs dry it
//! goes on on its own, the reserve, and what it uses is charged to the caller as well: the debt is the caller's. When
//! both are dry, it waits for the first of them.

use crate::cpu::Undisturbed;
use crate::identity::{BudgetId, CpuId, ThreadId};
use crate::kernel::{Kernel, Tables};
use crate::queue::Queue;
use crate::table::{Slots, Vacant};
use crate::thread::{Place, Serving, State};
use abi::message::CallerToken;
use abi::time::NEVER;

/// How far a change of budget follows a chain of calls. Levels fall strictly along it, so it cannot be longer.
const LONGEST_CHAIN: usize = 256;

impl<T: Tables> Kernel<T> {
    // ---- where and how urgently a thread runs ----

    pub(crate) fn priority_of(&self, thread: ThreadId) -> u8 {
        let entry = self.thread(thread);
        entry.place.base().max(entry.ceiling)
    }

    /// The processor whose time a thread uses.
    pub(crate) fn home_of(&self, thread: ThreadId) -> CpuId {
        self.thread(thread).place.budget().map_or(CpuId::BOOT, |budget| self.budgets.at(budget.index()).cpu)
    }

    /// The processor on which a thread runs right now, if that is another one than the kernel works for: its registers
    /// are there, so it stays there until that processor has entered the kernel.
    pub(crate) fn runs_elsewhere(&self, thread: ThreadId) -> Option<CpuId> {
        let cpu = self.thread(thread).place.cpu();
        (cpu != self.active && self.current(cpu) == Some(thread)).then_some(cpu)
    }

    /// Puts a thread where its budget, which may have changed, wants it.
    pub(crate) fn settle(&mut self, thread: ThreadId) {
        let priority = self.priority_of(thread);
        if self.thread(thread).state == State::Ready {
            let (cpu, home) = (self.thread(thread).place.cpu(), self.home_of(thread));
            let stays = self.runs_elsewhere(thread).is_some();
            if priority == self.thread(thread).priority && (home == cpu || stays) {
                if home != cpu {
                    self.kick(cpu);
                }
                return;
            }
            self.dequeue(Queue::Ready(cpu, self.thread(thread).priority), thread);
            let entry = self.thread_mut(thread);
            entry.priority = priority;
            if stays {
                self.kick(cpu);
            } else {
                entry.move_to(home);
            }
            self.enqueue_ready(thread);
            return;
        }
        if priority == self.thread(thread).priority {
            return;
        }
        match self.queue_of(thread).filter(|queue| queue.is_by_priority()) {
            Some(queue) => {
                self.dequeue(queue, thread);
                self.thread_mut(thread).priority = priority;
                self.enqueue(queue, thread);
            }
            None => self.thread_mut(thread).priority = priority,
        }
    }

    /// Queues a thread that is ready, and tells its processor if it should run it at once.
    fn enqueue_ready(&mut self, thread: ThreadId) {
        let (cpu, priority) = (self.thread(thread).place.cpu(), self.thread(thread).priority);
        self.enqueue(Queue::Ready(cpu, priority), thread);
        if cpu == self.active {
            return;
        }
        let entry = self.undisturbed.at_mut(cpu.index());
        match priority.checked_add(1) {
            Some(above) => entry.above_others = entry.above_others.max(above),
            None => *entry = Undisturbed::EMPTY,
        }
        let precedes = match self.current(cpu) {
            Some(current) => {
                let current = self.thread(current);
                current.state != State::Ready || current.priority < priority || self.shares_turn(cpu, priority)
            }
            None => true,
        };
        if precedes {
            self.kick(cpu);
        }
    }

    /// Whether the thread that runs on a processor has just got somebody to share its priority with, so that the end of
    /// its turn begins to matter.
    fn shares_turn(&self, cpu: CpuId, priority: u8) -> bool {
        self.current(cpu).is_some_and(|current| {
            let entry = self.thread(current);
            let turn = entry.place.budget().is_none_or(|budget| self.budgets.at(budget.index()).is_turn());
            entry.priority == priority && turn
        })
    }

    // ---- budgets ----

    /// What a thread's place is on one of its budgets, but for processor, timer and endpoint.
    pub(crate) fn place_on(&self, budget: Option<BudgetId>, is_first_choice: bool) -> Place {
        let Some(id) = budget else { return Place::NOWHERE };
        let entry = self.budgets.at(id.index());
        Place::on(id, entry.priority, is_first_choice && entry.is_turn())
    }

    /// A thread runs on this budget of its two. Its priority is still to be changed.
    fn use_budget(&mut self, thread: ThreadId, budget: Option<BudgetId>) {
        let entry = self.thread(thread);
        let is_first_choice = budget == self.loan_of(thread).or(entry.rest.budget());
        let new = self.place_on(budget, is_first_choice);
        let entry = self.thread_mut(thread);
        let (cpu, timer) = (entry.place.cpu(), entry.place.timer());
        entry.place = new.moved_to(cpu).beside(entry.rest);
        entry.place.set_timer(timer);
    }

    /// The budget on which a thread can run now: the one that is lent to it, else its own. Or when it can again.
    fn choose_budget(&self, thread: ThreadId) -> Result<Option<BudgetId>, u64> {
        let entry = self.thread(thread);
        let mut earliest = NEVER;
        for budget in [self.loan_of(thread), entry.rest.budget()].into_iter().flatten() {
            let found = self.budgets.at(budget.index());
            if found.is_usable(self.now) {
                return Ok(Some(budget));
            }
            earliest = earliest.min(found.usable_from());
        }
        if earliest == NEVER { Ok(entry.rest.budget()) } else { Err(earliest) }
    }

    /// Lets a thread run as soon as one of its budgets allows it.
    pub(crate) fn make_ready(&mut self, thread: ThreadId) {
        match self.choose_budget(thread) {
            Ok(budget) => {
                if let Some(budget) = budget {
                    let now = self.now;
                    self.budgets.at_mut(budget.index()).begin(now);
                }
                self.use_budget(thread, budget);
                if self.thread(thread).state == State::Ready {
                    self.settle(thread);
                    return;
                }
                let home = self.runs_elsewhere(thread).unwrap_or_else(|| self.home_of(thread));
                // The queues and the timer that it leaves are found through its state, processor and priority.
                self.set_state(thread, State::Stopped, NEVER);
                let priority = self.priority_of(thread);
                let entry = self.thread_mut(thread);
                entry.move_to(home);
                entry.priority = priority;
                entry.state = State::Ready;
                self.enqueue_ready(thread);
            }
            Err(until) => {
                self.use_budget(thread, self.thread(thread).rest.budget());
                self.set_state(thread, State::Exhausted, until);
            }
        }
    }

    /// Charges the time since a processor's last entry to whoever ran on it.
    #[inline(always)]
    pub(crate) fn charge_cpu(&mut self, cpu: CpuId) {
        let now = self.now;
        let entry = self.cpu_mut(cpu);
        let elapsed = now.saturating_sub(entry.charged_until);
        entry.charged_until = entry.charged_until.max(now);
        let Some(thread) = entry.current else { return };
        let entry = self.thread_mut(thread);
        entry.runtime += elapsed;
        let budget = entry.place.budget();
        let loan = self.loan_of(thread);
        if let Some(budget) = budget
            && self.budgets.at_mut(budget.index()).charge(elapsed, now)
            && self.thread(thread).state == State::Ready
        {
            self.thread_mut(thread).turn_over = true;
            *self.undisturbed.at_mut(cpu.index()) = Undisturbed::EMPTY;
        }
        if let Some(lent) = loan
            && loan != budget
        {
            // The reserve works on the caller's behalf.
            self.budgets.at_mut(lent.index()).charge(elapsed, now);
        }
    }

    /// The same to a thread that runs on its first choice, which is a turn among equals.
    #[inline(always)]
    pub(crate) fn charge_turn(&mut self, cpu: CpuId, running: ThreadId) {
        let now = self.now;
        let entry = self.cpu_mut(cpu);
        let elapsed = now.saturating_sub(entry.charged_until);
        entry.charged_until = entry.charged_until.max(now);
        let entry = self.thread_mut(running);
        entry.runtime += elapsed;
        if let Some(budget) = entry.place.budget()
            && self.budgets.at_mut(budget.index()).charge_turn(elapsed)
        {
            self.thread_mut(running).turn_over = true;
        }
    }

    /// The turn of a thread is over, or its budget is dry: others go first.
    pub(crate) fn end_turn(&mut self, thread: ThreadId) {
        self.thread_mut(thread).turn_over = false;
        if self.thread(thread).state != State::Ready {
            return;
        }
        self.make_ready(thread);
        if self.thread(thread).state == State::Ready {
            self.give_way(thread);
        }
    }

    /// Lets others of the same priority go first.
    pub(crate) fn give_way(&mut self, thread: ThreadId) {
        let entry = self.thread(thread);
        let queue = Queue::Ready(entry.place.cpu(), entry.priority);
        self.dequeue(queue, thread);
        self.enqueue(queue, thread);
    }

    /// Gives a budget, and whoever runs on it, to another processor.
    pub(crate) fn move_budget(&mut self, budget: BudgetId, cpu: CpuId) {
        let Some(mut thread) = self.budgets.at(budget.index()).thread else {
            self.budgets.at_mut(budget.index()).cpu = cpu;
            return;
        };
        for _ in 0..LONGEST_CHAIN {
            match self.borrower_of(thread) {
                Some(borrower) if self.thread(borrower).place.budget() == Some(budget) => thread = borrower,
                _ => break,
            }
        }
        if let Some(running) = self.runs_elsewhere(thread) {
            self.charge_cpu(running);
        }
        self.budgets.at_mut(budget.index()).cpu = cpu;
        self.settle(thread);
    }

    // ---- loans ----

    /// The server of a call runs on its caller's budget from now on, at the endpoint's ceiling at least. It is about to
    /// be made ready.
    pub(crate) fn lend_budget(&mut self, caller: ThreadId, server: ThreadId, ceiling: u8) {
        let token = self.token_of(caller);
        let entry = self.thread_mut(server);
        entry.serving = Serving::of(token);
        entry.ceiling = ceiling;
    }

    /// The budget that the caller of the call on which a thread works lends it: the one that the caller runs on.
    pub(crate) fn loan_of(&self, server: ThreadId) -> Option<BudgetId> {
        let token = self.thread(server).serving.token()?;
        self.thread(ThreadId::from_index(token.thread().into())?).place.budget()
    }

    /// A server goes back to its own budget, and so does everybody to whom it has lent the loan on.
    pub(crate) fn end_loan(&mut self, server: ThreadId) {
        let Some(token) = self.thread(server).serving.token() else { return };
        let mut last = server;
        for _ in 0..LONGEST_CHAIN {
            let Some(next) = self.borrower_of(last) else { break };
            last = next;
        }
        // Everybody before the last one waits.
        self.charge_where_it_runs(last);
        let entry = self.thread_mut(server);
        entry.serving = Serving::NOBODY;
        entry.ceiling = 0;
        if let Some(lender) = self.any_caller(token.0)
            && let Some(queue) = self.queue_of(lender)
        {
            // The call is put aside, even if only for a moment.
            self.enqueue(queue, lender);
        }
        let mut changed = Some(server);
        for _ in 0..LONGEST_CHAIN {
            let Some(thread) = changed else { return };
            let before = self.thread(thread).place.budget();
            self.change_loan(thread);
            changed = self.borrower_of(thread).filter(|_| self.thread(thread).place.budget() != before);
        }
    }

    /// What a thread has used so far is charged to the budgets that it had until now.
    fn charge_where_it_runs(&mut self, thread: ThreadId) {
        if let Some(cpu) = self.runs_elsewhere(thread) {
            self.charge_cpu(cpu);
        }
    }

    /// A thread's loan has changed: it uses what it has now.
    fn change_loan(&mut self, thread: ThreadId) {
        let (runs, before) = (self.runs_elsewhere(thread), self.thread(thread).place.budget());
        if let State::Ready | State::Exhausted = self.thread(thread).state {
            self.make_ready(thread);
        } else {
            let budget = self.loan_of(thread).or(self.thread(thread).rest.budget());
            self.use_budget(thread, budget);
            self.settle(thread);
        }
        if let Some(cpu) = runs
            && self.thread(thread).place.budget() != before
        {
            // Its timer is armed for the end of the other one, if at all.
            self.kick(cpu);
        }
    }

    /// Who runs on the budget that this caller's pending call lends.
    pub(crate) fn borrower_of(&self, caller: ThreadId) -> Option<ThreadId> {
        let State::Replying(_) = self.thread(caller).state else { return None };
        let server = self.thread(caller).server?;
        (self.thread(server).serving == Serving::of(self.token_of(caller))).then_some(server)
    }

    /// Gives a thread's next call its number. Numbers begin again after as many as fit into a token.
    pub(crate) fn number_call(&mut self, thread: ThreadId) {
        let entry = self.thread_mut(thread);
        entry.call = entry.call.next();
    }

    /// The name of a thread's latest call.
    pub(crate) fn token_of(&self, thread: ThreadId) -> CallerToken {
        self.thread(thread).call
    }
}
