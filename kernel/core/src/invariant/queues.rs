//! Queues, priorities and timers.

use super::{Contradiction, expect};
use crate::identity::{CpuId, DomainId, EndpointId, NotificationId, ThreadId};
use crate::kernel::{Kernel, Tables};
use crate::queue::Queue;
use crate::table::Slots;
use crate::thread::State;
use abi::time::NEVER;

impl<T: Tables> Kernel<T> {
    pub(super) fn live_threads(&self) -> impl Iterator<Item = ThreadId> + '_ {
        self.threads.live_indices().filter_map(ThreadId::from_index)
    }

    pub(super) fn queues_agree_with_states(&self) -> Result<(), Contradiction> {
        let mut queued = 0;
        for cpu in self.online() {
            for priority in 0..=u8::MAX {
                queued += self.check_queue(Queue::Ready(cpu, priority), priority as usize)?;
            }
        }
        queued += self.check_queue(Queue::Forgetting, 0)?;
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
                    let linked = entry.next.is_some() || entry.previous.is_some() || entry.run.is_some();
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
            let ordered = !queue.is_by_priority() || self.thread(next).priority <= entry.priority;
            expect(ordered, "a queue out of order", at)?;
            expect(self.thread(next).previous == Some(member), "a queue with a wrong link", at)?;
            count += 1;
            let ends = usize::try_from(count).is_ok_and(|count| count < self.threads.length());
            expect(ends, "a queue without an end", at)?;
            member = next;
        }
        let last = Some(member).filter(|last| *last != head);
        expect(self.thread(head).previous == last, "a queue whose head does not know its tail", at)?;
        if queue.is_by_priority() {
            self.check_runs(head)?;
        }
        Ok(count)
    }

    /// Checks that the first and the last of each run of equals know each other, and nobody else anybody.
    fn check_runs(&self, head: ThreadId) -> Result<(), Contradiction> {
        let (mut first, mut member) = (head, head);
        loop {
            let priority = self.thread(member).priority;
            let next = self.thread(member).next;
            if next.is_none_or(|next| self.thread(next).priority != priority) {
                let [others, own] = [first, member].map(|end| Some(end).filter(|_| first != member));
                let mutual = self.thread(first).run == own && self.thread(member).run == others;
                expect(mutual, "a run whose ends do not know each other", first.index())?;
            } else if member != first {
                expect(self.thread(member).run.is_none(), "the middle of a run knows somebody", member.index())?;
            }
            let Some(next) = next else { return Ok(()) };
            if self.thread(next).priority != priority {
                first = next;
            }
            member = next;
        }
    }

    pub(super) fn ready_bits_agree(&self) -> Result<(), Contradiction> {
        for entry in self.online().map(|cpu| self.cpu(cpu)) {
            for (priority, queue) in entry.ready.iter().enumerate() {
                let word = entry.ready_bits.get(priority / 64).copied().unwrap_or(0);
                let bit = word & (1 << (priority % 64)) != 0;
                expect(bit == queue.is_some(), "a wrong bit", priority)?;
            }
        }
        Ok(())
    }

    pub(super) fn the_highest_runs(&self) -> Result<(), Contradiction> {
        for cpu in self.online() {
            let entry = self.cpu(cpu);
            let highest = entry.ready.iter().rev().flatten().next().copied();
            expect(entry.kicked || entry.current == highest, "another thread runs", cpu.index())?;
        }
        Ok(())
    }

    pub(super) fn threads_run_in_one_place(&self) -> Result<(), Contradiction> {
        for index in 0..CpuId::MAX {
            let Some(cpu) = CpuId::from_index(index).filter(|_| index < T::Cpus::LENGTH) else { continue };
            let entry = self.cpu(cpu);
            let Some(thread) = entry.current else { continue };
            expect(entry.online, "a thread runs on a processor that has not started", index)?;
            expect(self.threads.is_live(thread.index()), "a dead thread runs", index)?;
            expect(self.thread(thread).place.cpu() == cpu, "a thread runs that belongs elsewhere", index)?;
        }
        for thread in self.live_threads() {
            let entry = self.thread(thread);
            let runs = self.current(entry.place.cpu()) == Some(thread);
            expect(runs || !entry.turn_over, "a turn is over that nobody has", thread.index())?;
            if entry.state == State::Ready {
                let at_home = self.home_of(thread) == entry.place.cpu();
                let leaves = runs && self.cpu(entry.place.cpu()).kicked;
                expect(at_home || leaves, "a thread on a processor whose time it does not use", thread.index())?;
            }
        }
        Ok(())
    }

    pub(super) fn shootdowns_come_to_an_end(&self) -> Result<(), Contradiction> {
        for cpu in self.online() {
            let entry = self.cpu(cpu);
            let asked = entry.owes.is_none() || entry.kicked;
            expect(asked, "a processor owes what nobody asks of it", cpu.index())?;
            expect(entry.owes.is_none() || entry.forgets, "a processor is to take part and does not", cpu.index())?;
        }
        for thread in self.live_threads() {
            let entry = self.thread(thread);
            if entry.state == State::Forgetting {
                let pending = entry.shootdown.is_some_and(|shootdown| !self.is_over(shootdown));
                expect(pending, "a thread waits for a shootdown that is over", thread.index())?;
            }
        }
        Ok(())
    }

    pub(super) fn priorities_agree(&self) -> Result<(), Contradiction> {
        for thread in self.live_threads() {
            let entry = self.thread(thread);
            let expected = self.priority_of(thread);
            expect(entry.priority == expected, "a thread with another priority", thread.index())?;
        }
        Ok(())
    }

    pub(super) fn timers_agree(&self) -> Result<(), Contradiction> {
        let deadline = |thread: ThreadId| self.thread(thread).deadline;
        let mut watched = 0;
        for cpu in self.online() {
            let timers = &self.cpu(cpu).timers;
            watched += timers.length();
            for place in 1..=timers.length() {
                let Some(thread) = timers.at(place) else { return expect(false, "a hole in the heap", place) };
                let entry = self.thread(thread);
                expect(entry.place.timer() as usize == place, "a thread elsewhere in the heap", place)?;
                expect(entry.place.cpu() == cpu, "a thread in another processor's heap", place)?;
                expect(self.threads.is_live(thread.index()), "a dead thread in the heap", place)?;
                if let Some(above) = timers.at(place / 2) {
                    expect(deadline(above) <= deadline(thread), "a heap out of order", place)?;
                }
            }
        }
        let mut timed = 0;
        for thread in self.live_threads() {
            let entry = self.thread(thread);
            let waits = !matches!(entry.state, State::Ready | State::Stopped | State::Forgetting);
            let has_timer = entry.place.timer() != 0;
            timed += usize::from(has_timer);
            expect(waits || !has_timer, "a thread with a deadline that does not wait", thread.index())?;
            let over = entry.state != State::Ready || entry.deadline == NEVER;
            expect(over, "a thread that runs with the deadline of a wait that is over", thread.index())?;
            expect(!waits || has_timer == (entry.deadline != NEVER), "a deadline that nobody watches", thread.index())?;
        }
        expect(timed == watched, "a thread twice in the heap", 0)
    }
}
