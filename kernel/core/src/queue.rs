//! Where threads queue.
//!
//! A queue is a list through `next`; `previous` of the first is the last. Queues by priority consist of runs of equals:
//! the first and the last of a run know each other, so that a newcomer steps over a run at a time. A queue has at most
//! as many runs as there are priorities, however many threads wait in it.
//!
//! Whoever is alone, in a queue or in a run, knows nobody there: a thread can be put into an empty queue, or taken out of
//! one that it has for itself, without a word written about its neighbours.

use crate::effect::Resume;
use crate::identity::{CpuId, DomainId, EndpointId, NotificationId, ThreadId};
use crate::kernel::{Kernel, Tables};
use crate::standing::{ObjectName, Standing};
use crate::thread::State;

/// A queue of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// Ready on this processor, at this priority.
    Ready(CpuId, u8),
    /// Has called and waits to be received.
    Callers(EndpointId),
    /// Waits to receive.
    Receivers(EndpointId),
    /// Waits for bits.
    Waiters(NotificationId),
    /// Its call was taken and put aside: nobody works on it just now.
    Taken(DomainId),
    /// Waits for shootdowns to be over.
    Forgetting,
}

impl Queue {
    /// Whether who has a higher priority goes first. The others hold one class only: first come, first served.
    pub(crate) const fn is_by_priority(self) -> bool {
        matches!(self, Queue::Callers(_) | Queue::Receivers(_) | Queue::Waiters(_))
    }
}

impl<T: Tables> Kernel<T> {
    pub(crate) fn queue_head(&self, queue: Queue) -> Option<ThreadId> {
        match queue {
            Queue::Ready(cpu, priority) => self.cpu(cpu).ready.get(usize::from(priority)).copied().flatten(),
            Queue::Callers(id) => self.endpoints.at(id.index()).callers,
            Queue::Receivers(id) => self.endpoints.at(id.index()).receivers,
            Queue::Waiters(id) => self.notifications.at(id.index()).waiters,
            Queue::Taken(id) => self.domains.at(id.index()).taken,
            Queue::Forgetting => self.forgetting,
        }
    }

    fn set_queue_head(&mut self, queue: Queue, head: Option<ThreadId>) {
        match queue {
            Queue::Ready(cpu, priority) => self.cpu_mut(cpu).set_ready(priority, head),
            Queue::Callers(id) => self.endpoints.at_mut(id.index()).callers = head,
            Queue::Receivers(id) => self.endpoints.at_mut(id.index()).receivers = head,
            Queue::Waiters(id) => self.notifications.at_mut(id.index()).waiters = head,
            Queue::Taken(id) => self.domains.at_mut(id.index()).taken = head,
            Queue::Forgetting => self.forgetting = head,
        }
    }

    /// Inserts behind everybody who goes before.
    pub(crate) fn enqueue(&mut self, queue: Queue, thread: ThreadId) {
        self.insert(queue, thread);
        self.stand_at(queue);
    }

    fn insert(&mut self, queue: Queue, thread: ThreadId) {
        let Some(head) = self.queue_head(queue) else {
            self.set_queue_head(queue, Some(thread));
            return;
        };
        if !queue.is_by_priority() {
            let tail = self.thread(head).previous.unwrap_or(head);
            self.insert_between(Some(tail), None, head, thread);
            return;
        }
        let priority = self.thread(thread).priority;
        let (mut before, mut run) = (None, Some(head));
        while let Some(first) = run
            && self.thread(first).priority >= priority.saturating_add(u8::from(seeded!(QueueReversed)))
        {
            let last = self.thread(first).run.unwrap_or(first);
            if self.thread(first).priority == priority {
                // The run gets a new last member.
                self.thread_mut(first).run = Some(thread);
                if last != first {
                    self.thread_mut(last).run = None;
                }
                self.thread_mut(thread).run = Some(first);
                let next = self.thread(last).next;
                self.insert_between(Some(last), next, head, thread);
                return;
            }
            before = Some(last);
            run = self.thread(last).next;
        }
        self.insert_between(before, run, head, thread);
        if before.is_none() {
            self.set_queue_head(queue, Some(thread));
        }
    }

    /// Links a thread in between two neighbours; without the first one, before the head.
    fn insert_between(&mut self, before: Option<ThreadId>, after: Option<ThreadId>, head: ThreadId, thread: ThreadId) {
        match before {
            Some(before) => {
                let entry = self.thread_mut(thread);
                entry.next = after;
                entry.previous = Some(before);
                self.thread_mut(before).next = Some(thread);
                self.thread_mut(after.unwrap_or(head)).previous = Some(thread);
            }
            None => {
                let tail = self.thread(head).previous.unwrap_or(head);
                let entry = self.thread_mut(thread);
                entry.next = Some(head);
                entry.previous = Some(tail);
                self.thread_mut(head).previous = Some(thread);
            }
        }
    }

    pub(crate) fn dequeue(&mut self, queue: Queue, thread: ThreadId) {
        let Some(head) = self.queue_head(queue) else { return };
        let (next, previous) = (self.thread(thread).next, self.thread(thread).previous);
        if queue.is_by_priority() {
            self.leave_run(thread, next, previous);
        }
        if head == thread {
            if let Some(next) = next {
                self.thread_mut(next).previous = previous.filter(|last| *last != next);
            }
            self.set_queue_head(queue, next);
        } else {
            if let Some(previous) = previous {
                self.thread_mut(previous).next = next;
            }
            let alone = next.is_none() && previous == Some(head);
            self.thread_mut(next.unwrap_or(head)).previous = previous.filter(|_| !alone);
        }
        let entry = self.thread_mut(thread);
        entry.next = None;
        entry.previous = None;
        entry.run = None;
        self.stand_at(queue);
    }

    /// Takes the first one of a ready queue out of it.
    #[inline(always)]
    pub(crate) fn leave_ready(&mut self, cpu: CpuId, priority: u8, first: ThreadId) {
        let entry = self.thread_mut(first);
        let (next, last) = (entry.next.take(), entry.previous.take());
        if let Some(next) = next {
            self.thread_mut(next).previous = last.filter(|last| *last != next);
        }
        self.cpu_mut(cpu).set_ready(priority, next);
    }

    fn stand_at(&mut self, queue: Queue) {
        match queue {
            Queue::Callers(endpoint) | Queue::Receivers(endpoint) => self.stand(endpoint),
            Queue::Waiters(notification) => self.stand_for(notification),
            Queue::Ready(..) | Queue::Taken(_) | Queue::Forgetting => {}
        }
    }

    /// Notes who waits for a notification. Follows whatever changes that, or whether it lives.
    pub(crate) fn stand_for(&mut self, id: NotificationId) {
        self.notifications.at_mut(id.index()).standing = self.standing_for(id);
    }

    /// Who waits for a notification. Whoever would receive its bits with a call is another matter.
    pub(crate) fn standing_for(&self, id: NotificationId) -> Standing {
        let entry = self.notifications.at(id.index());
        if !self.notifications.is_live(id.index()) || entry.bound.is_some() {
            return Standing::OTHER;
        }
        let name = ObjectName::of_notification(id, self.notifications.generation(id.index()));
        let Some(waiter) = entry.waiters else { return Standing::quiet(name) };
        self.standing_with(name, waiter)
    }

    /// Notes who waits at an endpoint. Follows whatever changes that, or whether it lives.
    pub(crate) fn stand(&mut self, id: EndpointId) {
        self.endpoints.at_mut(id.index()).standing = self.standing_of(id);
    }

    /// Who waits at an endpoint.
    pub(crate) fn standing_of(&self, id: EndpointId) -> Standing {
        let entry = self.endpoints.at(id.index());
        if !self.endpoints.is_live(id.index()) || entry.callers.is_some() {
            return Standing::OTHER;
        }
        let name = self.endpoint_name(id);
        let Some(receiver) = entry.receivers else { return Standing::quiet(name) };
        self.standing_with(name, receiver)
    }

    /// How an object stands for which this thread waits, and maybe others behind it.
    fn standing_with(&self, name: ObjectName, first: ThreadId) -> Standing {
        let first = self.thread(first);
        if first.next.is_some() || first.place.timer() != 0 || !first.rest.is_steady() {
            return Standing::OTHER;
        }
        Standing::awaited(name, first.place.cpu())
    }

    /// An endpoint in its present generation.
    pub(crate) fn endpoint_name(&self, id: EndpointId) -> ObjectName {
        ObjectName::of_endpoint(id, self.endpoints.generation(id.index()))
    }

    /// Takes a thread out of its run of equals: if it is the first or the last, its neighbour becomes that.
    fn leave_run(&mut self, thread: ThreadId, next: Option<ThreadId>, previous: Option<ThreadId>) {
        // Nobody but the first and the last of a run of several knows anybody.
        let Some(other) = self.thread(thread).run else { return };
        let priority = self.thread(thread).priority;
        let is_equal = |neighbour: &ThreadId| self.thread(*neighbour).priority == priority;
        // The first one's next is of the same run; the last one's next is not.
        let heir = match next.filter(is_equal) {
            Some(next) => Some(next),
            None => previous,
        };
        if let Some(heir) = heir {
            let alone = heir == other;
            self.thread_mut(heir).run = Some(other).filter(|_| !alone);
            self.thread_mut(other).run = Some(heir).filter(|_| !alone);
        }
    }

    /// The queue in which a thread is, by its state.
    pub(crate) fn queue_of(&self, thread: ThreadId) -> Option<Queue> {
        let entry = self.thread(thread);
        match entry.state {
            State::Ready => Some(Queue::Ready(entry.place.cpu(), entry.priority)),
            State::Sending(endpoint) => Some(Queue::Callers(endpoint)),
            State::Replying(domain) if self.borrower_of(thread).is_none() => Some(Queue::Taken(domain)),
            State::Receiving(Some(endpoint)) => Some(Queue::Receivers(endpoint)),
            State::Waiting(notification) => Some(Queue::Waiters(notification)),
            State::Forgetting => Some(Queue::Forgetting),
            State::Stopped | State::Replying(_) | State::Receiving(None) | State::Sleeping | State::Exhausted => None,
        }
    }

    /// Takes a thread from what it does now to another state, with its queues and its timer. It becomes
    /// [`State::Ready`] through [`Kernel::make_ready`] only.
    pub(crate) fn set_state(&mut self, thread: ThreadId, state: State, deadline: u64) {
        if let Some(queue) = self.queue_of(thread) {
            self.dequeue(queue, thread);
        }
        self.cancel_timer(thread);
        let elsewhere = self.runs_elsewhere(thread);
        let priority = self.priority_of(thread);
        let entry = self.thread_mut(thread);
        entry.state = state;
        entry.priority = priority;
        // What it finds is told when its wait ends.
        if let State::Sending(_) | State::Replying(_) | State::Receiving(_) | State::Waiting(_) | State::Sleeping =
            state
        {
            entry.resume = Resume::Continue;
        }
        if let Some(cpu) = elsewhere {
            // It must not run on there.
            self.kick(cpu);
        }
        self.start_timer(thread, deadline);
        if let Some(queue) = self.queue_of(thread) {
            self.enqueue(queue, thread);
        }
    }
}
