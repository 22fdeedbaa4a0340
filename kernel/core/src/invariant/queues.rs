//! Queues, priorities and timers.

use super::{Contradiction, expect};
use crate::identity::{DomainId, EndpointId, NotificationId, ThreadId};
use crate::kernel::{Kernel, PRIORITIES, Tables};
use crate::schedule::Queue;
use crate::thread::State;
use abi::time::NEVER;

impl<T: Tables> Kernel<T> {
    pub(super) fn live_threads(&self) -> impl Iterator<Item = ThreadId> + '_ {
        self.threads.live_indices().filter_map(ThreadId::from_index)
    }

    pub(super) fn queues_agree_with_states(&self) -> Result<(), Contradiction> {
        let mut queued = 0;
        for priority in 0..=u8::MAX {
            queued += self.check_queue(Queue::Ready(priority), priority as usize)?;
        }
        for index in self.endpoints.present_indices() {
            if let Some(id) = EndpointId::from_index(index) {
                queued += self.check_queue(Queue::Callers(id), index)?;
                queued += self.check_queue(Queue::Receivers(id), index)?;
            }
        }
        for index in self.notifications.present_indices() {
            if let Some(id) = NotificationId::from_index(index) {
                queued += self.check_queue(Queue::Waiters(id), index)?;
            }
        }
        for index in self.domains.present_indices() {
            if let Some(id) = DomainId::from_index(index) {
                queued += self.check_queue(Queue::Taken(id), index)?;
            }
        }
        for thread in self.live_threads() {
            match self.queue_of(thread) {
                Some(_) => queued -= 1,
                None => {
                    let entry = self.thread(thread);
                    let linked = entry.next.is_some() || entry.previous.is_some();
                    expect(!linked, "a thread that waits nowhere has neighbours", thread.index())?;
                }
            }
        }
        expect(queued == 0, "a thread is not in the queue of its state", 0)
    }

    /// Checks one queue; returns how many are in it.
    fn check_queue(&self, queue: Queue, at: usize) -> Result<isize, Contradiction> {
        let Some(head) = self.queue_head(queue) else { return Ok(0) };
        let (mut member, mut count) = (head, 1);
        loop {
            let entry = self.thread(member);
            expect(self.threads.is_live(member.index()), "a dead thread in a queue", member.index())?;
            expect(self.queue_of(member) == Some(queue), "a thread in another's queue", member.index())?;
            let Some(next) = entry.next else { break };
            let ordered = matches!(queue, Queue::Taken(_)) || self.thread(next).priority <= entry.priority;
            expect(ordered, "a queue out of order", at)?;
            expect(self.thread(next).previous == Some(member), "a queue with a wrong link", at)?;
            count += 1;
            expect(count < self.threads.length() as isize, "a queue without an end", at)?;
            member = next;
        }
        expect(self.thread(head).previous == Some(member), "a queue whose head does not know its tail", at)?;
        Ok(count)
    }

    pub(super) fn ready_bits_agree(&self) -> Result<(), Contradiction> {
        for priority in 0..PRIORITIES {
            let bit = self.ready_bits[priority / 64] & (1 << (priority % 64)) != 0;
            expect(bit == self.ready[priority].is_some(), "a wrong bit", priority)?;
        }
        Ok(())
    }

    pub(super) fn the_highest_runs(&self) -> Result<(), Contradiction> {
        let highest = self.ready.iter().rev().flatten().next().copied();
        expect(self.current == highest, "another thread runs", self.current.map_or(0, ThreadId::index))
    }

    pub(super) fn priorities_agree(&self) -> Result<(), Contradiction> {
        for thread in self.live_threads() {
            let entry = self.thread(thread);
            let budget = entry.budget.map_or(0, |budget| self.budgets.at(budget.index()).priority);
            let expected = budget.max(entry.ceiling);
            expect(entry.priority == expected, "a thread with another priority", thread.index())?;
        }
        Ok(())
    }

    pub(super) fn timers_agree(&self) -> Result<(), Contradiction> {
        let deadline = |thread: ThreadId| self.thread(thread).deadline;
        for place in 1..=self.timers.length() {
            let Some(thread) = self.timers.at(place) else { return expect(false, "a hole in the heap", place) };
            expect(self.thread(thread).timer_place as usize == place, "a thread elsewhere in the heap", place)?;
            expect(self.threads.is_live(thread.index()), "a dead thread in the heap", place)?;
            if let Some(above) = self.timers.at(place / 2) {
                expect(deadline(above) <= deadline(thread), "a heap out of order", place)?;
            }
        }
        let mut timed = 0;
        for thread in self.live_threads() {
            let entry = self.thread(thread);
            let waits = !matches!(entry.state, State::Ready | State::Stopped);
            let has_timer = entry.timer_place != 0;
            timed += usize::from(has_timer);
            expect(waits || !has_timer, "a thread with a deadline that does not wait", thread.index())?;
            expect(!waits || has_timer == (entry.deadline != NEVER), "a deadline that nobody watches", thread.index())?;
        }
        expect(timed == self.timers.length(), "a thread twice in the heap", 0)
    }
}
