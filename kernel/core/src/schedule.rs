//! Queues, priorities and time: who runs next.

use crate::domain::Budget;
use crate::effect::{Next, Resume};
use crate::identity::{DomainId, EndpointId, NotificationId, ThreadId};
use crate::kernel::{Kernel, Tables};
use crate::thread::State;
use abi::message::CallerToken;
use abi::time::NEVER;

/// Where threads queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    Ready(u8),
    Callers(EndpointId),
    Receivers(EndpointId),
    Waiters(NotificationId),
    Taken(DomainId),
}

/// How many deadlines one timer interrupt ends. If more have passed, the next interrupt follows at once.
const EXPIRIES_PER_TICK: usize = 8;

/// How far a change of budget follows a chain of calls. Levels fall strictly along it, so it cannot be longer.
const LONGEST_CHAIN: usize = 256;

impl<T: Tables> Kernel<T> {
    // ---- queues: linked by `next`; `previous` of the first is the last ----

    pub(crate) fn queue_head(&self, queue: Queue) -> Option<ThreadId> {
        match queue {
            Queue::Ready(priority) => self.ready[priority as usize],
            Queue::Callers(id) => self.endpoints.at(id.index()).callers,
            Queue::Receivers(id) => self.endpoints.at(id.index()).receivers,
            Queue::Waiters(id) => self.notifications.at(id.index()).waiters,
            Queue::Taken(id) => self.domains.at(id.index()).taken,
        }
    }

    fn set_queue_head(&mut self, queue: Queue, head: Option<ThreadId>) {
        match queue {
            Queue::Ready(priority) => {
                self.ready[priority as usize] = head;
                let bit = 1 << (priority % 64);
                let word = &mut self.ready_bits[(priority / 64) as usize];
                *word = if head.is_some() { *word | bit } else { *word & !bit };
            }
            Queue::Callers(id) => self.endpoints.at_mut(id.index()).callers = head,
            Queue::Receivers(id) => self.endpoints.at_mut(id.index()).receivers = head,
            Queue::Waiters(id) => self.notifications.at_mut(id.index()).waiters = head,
            Queue::Taken(id) => self.domains.at_mut(id.index()).taken = head,
        }
    }

    /// Inserts behind everybody of at least the same priority. Ready queues and lists of taken calls hold one class
    /// only, so there it is the end.
    pub(crate) fn enqueue(&mut self, queue: Queue, thread: ThreadId) {
        let Some(head) = self.queue_head(queue) else {
            let entry = self.thread_mut(thread);
            entry.next = None;
            entry.previous = Some(thread);
            self.set_queue_head(queue, Some(thread));
            return;
        };
        let tail = self.thread(head).previous.unwrap_or(head);
        let priority = self.thread(thread).priority;
        let by_priority = !matches!(queue, Queue::Taken(_));
        let mut before = Some(tail);
        while let Some(candidate) = before {
            if !by_priority || self.thread(candidate).priority >= priority {
                break;
            }
            before = if candidate == head { None } else { self.thread(candidate).previous };
        }
        match before {
            None => {
                let entry = self.thread_mut(thread);
                entry.next = Some(head);
                entry.previous = Some(tail);
                self.thread_mut(head).previous = Some(thread);
                self.set_queue_head(queue, Some(thread));
            }
            Some(before) => {
                let next = self.thread(before).next;
                let entry = self.thread_mut(thread);
                entry.next = next;
                entry.previous = Some(before);
                self.thread_mut(before).next = Some(thread);
                self.thread_mut(next.unwrap_or(head)).previous = Some(thread);
            }
        }
    }

    pub(crate) fn dequeue(&mut self, queue: Queue, thread: ThreadId) {
        let Some(head) = self.queue_head(queue) else { return };
        let (next, previous) = (self.thread(thread).next, self.thread(thread).previous);
        if head == thread {
            if let Some(next) = next {
                self.thread_mut(next).previous = previous;
            }
            self.set_queue_head(queue, next);
        } else {
            if let Some(previous) = previous {
                self.thread_mut(previous).next = next;
            }
            self.thread_mut(next.unwrap_or(head)).previous = previous;
        }
        let entry = self.thread_mut(thread);
        entry.next = None;
        entry.previous = None;
    }

    /// The queue in which a thread is, by its state.
    pub(crate) fn queue_of(&self, thread: ThreadId) -> Option<Queue> {
        let entry = self.thread(thread);
        match entry.state {
            State::Ready => Some(Queue::Ready(entry.priority)),
            State::Sending(endpoint) => Some(Queue::Callers(endpoint)),
            State::Replying(domain) => Some(Queue::Taken(domain)),
            State::Receiving(Some(endpoint)) => Some(Queue::Receivers(endpoint)),
            State::Waiting(notification) => Some(Queue::Waiters(notification)),
            State::Stopped | State::Receiving(None) | State::Sleeping => None,
        }
    }

    /// Takes a thread from what it does now to another state, with its queues and its timer.
    pub(crate) fn set_state(&mut self, thread: ThreadId, state: State, deadline: u64) {
        if let Some(queue) = self.queue_of(thread) {
            self.dequeue(queue, thread);
        }
        self.cancel_timer(thread);
        let priority = self.priority_of(thread);
        let entry = self.thread_mut(thread);
        entry.state = state;
        entry.priority = priority;
        if let Some(queue) = self.queue_of(thread) {
            self.enqueue(queue, thread);
        }
        self.start_timer(thread, deadline);
    }

    /// Lets a thread run, with this result. One that is ready, because it runs, keeps its turn.
    pub(crate) fn wake(&mut self, thread: ThreadId, resume: Resume) {
        self.thread_mut(thread).resume = resume;
        if self.thread(thread).state != State::Ready {
            self.set_state(thread, State::Ready, NEVER);
        }
    }

    // ---- budgets ----

    fn priority_of(&self, thread: ThreadId) -> u8 {
        let entry = self.thread(thread);
        let budget = entry.budget.map_or(0, |budget| self.budgets.at(budget.index()).priority);
        budget.max(entry.ceiling)
    }

    /// Puts a thread where its priority, which may have changed, wants it.
    fn settle_priority(&mut self, thread: ThreadId) {
        let priority = self.priority_of(thread);
        if priority == self.thread(thread).priority {
            return;
        }
        let queue = self.queue_of(thread);
        if let Some(queue) = queue {
            self.dequeue(queue, thread);
        }
        self.thread_mut(thread).priority = priority;
        if let Some(queue) = self.queue_of(thread) {
            self.enqueue(queue, thread);
        }
    }

    /// The server of a call runs on its caller's budget from now on, at the endpoint's ceiling at least.
    pub(crate) fn lend_budget(&mut self, caller: ThreadId, server: ThreadId, ceiling: u8) {
        let budget = self.thread(caller).budget;
        let token = self.token_of(caller);
        self.thread_mut(caller).server = Some(server);
        let entry = self.thread_mut(server);
        entry.serving = Some(token);
        entry.budget = budget;
        entry.ceiling = ceiling;
        self.settle_priority(server);
    }

    /// A server goes back to its own budget, and so does everybody to whom it has lent the loan on.
    pub(crate) fn end_loan(&mut self, server: ThreadId) {
        let entry = self.thread_mut(server);
        if entry.serving.take().is_none() {
            return;
        }
        entry.budget = entry.reserve;
        entry.ceiling = 0;
        self.settle_priority(server);
        let budget = self.thread(server).budget;
        let mut caller = server;
        for _ in 0..LONGEST_CHAIN {
            let Some(next) = self.borrower_of(caller) else { return };
            self.thread_mut(next).budget = budget;
            self.settle_priority(next);
            caller = next;
        }
    }

    /// Who runs on the budget that this caller's pending call lends.
    pub(crate) fn borrower_of(&self, caller: ThreadId) -> Option<ThreadId> {
        let State::Replying(_) = self.thread(caller).state else { return None };
        let server = self.thread(caller).server?;
        (self.thread(server).serving == Some(self.token_of(caller))).then_some(server)
    }

    /// Gives a thread's next call its number. Numbers begin again after as many as fit into a token.
    pub(crate) fn number_call(&mut self, thread: ThreadId) {
        let entry = self.thread_mut(thread);
        entry.call_number = CallerToken::new(0, entry.call_number + 1).number();
    }

    /// The name of a thread's latest call.
    pub(crate) fn token_of(&self, thread: ThreadId) -> CallerToken {
        CallerToken::new(thread.index() as u16, self.thread(thread).call_number)
    }

    /// Charges the time since the last entry to whoever ran. Every entry begins with this.
    pub(crate) fn charge_time(&mut self, now: u64) {
        let elapsed = now.saturating_sub(self.charged_until);
        self.charged_until = self.charged_until.max(now);
        let Some(thread) = self.current else { return };
        self.thread_mut(thread).runtime += elapsed;
        let Some(budget) = self.thread(thread).budget else { return };
        let Budget { remaining, slice, .. } = *self.budgets.at(budget.index());
        let left = remaining.saturating_sub(elapsed);
        self.budgets.at_mut(budget.index()).remaining = if left == 0 { slice } else { left };
        if left == 0 && self.thread(thread).state == State::Ready {
            self.give_way(thread);
        }
    }

    /// Lets others of the same priority go first.
    pub(crate) fn give_way(&mut self, thread: ThreadId) {
        let queue = Queue::Ready(self.thread(thread).priority);
        self.dequeue(queue, thread);
        self.enqueue(queue, thread);
    }

    // ---- events and the choice ----

    /// The timer interrupt: ends the waits whose deadline has passed, a bounded number at a time.
    pub fn tick(&mut self, now: u64) {
        self.charge_time(now);
        for _ in 0..EXPIRIES_PER_TICK {
            let Some(thread) = self.timers.first() else { return };
            if self.thread(thread).deadline > now {
                return;
            }
            self.expire(thread);
        }
    }

    /// Chooses who runs next. Every entry ends with this.
    pub fn schedule(&mut self, now: u64) -> Next {
        self.charged_until = self.charged_until.max(now);
        let first_deadline = self.timers.first().map_or(NEVER, |thread| self.thread(thread).deadline);
        let Some(thread) = self.highest_ready() else {
            self.current = None;
            return Next::Idle { timer: first_deadline };
        };
        self.current = Some(thread);
        let resume = core::mem::replace(&mut self.thread_mut(thread).resume, Resume::Continue);
        // Nobody else of the same priority is ready: no need to interrupt it for the sake of its slice.
        let shares = self.thread(thread).next.is_some();
        let slice_end = match self.thread(thread).budget {
            Some(budget) if shares => now.saturating_add(self.budgets.at(budget.index()).remaining),
            _ => NEVER,
        };
        Next::Run { thread, root: self.root_of(thread), resume, timer: first_deadline.min(slice_end) }
    }

    fn highest_ready(&self) -> Option<ThreadId> {
        for (index, word) in self.ready_bits.iter().enumerate().rev() {
            if *word != 0 {
                let priority = index * 64 + 63 - word.leading_zeros() as usize;
                return self.ready[priority];
            }
        }
        None
    }
}
