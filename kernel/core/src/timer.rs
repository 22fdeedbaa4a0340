//! Deadlines: a binary heap of the threads that wait for a limited time, the earliest first.

use crate::identity::{CpuId, ThreadId};
use crate::kernel::{Kernel, Tables};
use crate::table::{Slots, Vacant, short};
use abi::time::NEVER;

/// The heap. Places count from 1; the children of place `i` are `2i` and `2i + 1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Timers<S> {
    places: S,
    length: u16,
}

impl Vacant for Option<ThreadId> {
    const EMPTY: Self = None;
}

impl<S: Slots<Option<ThreadId>>> Timers<S> {
    /// Without a deadline.
    pub(crate) const EMPTY: Self = Timers { places: S::EMPTY, length: 0 };

    /// The thread whose deadline is the earliest.
    pub(crate) fn first(&self) -> Option<ThreadId> {
        self.at(1)
    }

    pub(crate) fn length(&self) -> usize {
        usize::from(self.length)
    }

    /// Whether two heaps are the same.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.length == other.length && (1..=self.length()).all(|place| self.at(place) == other.at(place))
    }

    pub(crate) fn at(&self, place: usize) -> Option<ThreadId> {
        if place >= 1 && place <= usize::from(self.length) { *self.places.at(place) } else { None }
    }
}

/// A thread's deadline is in the heap of the processor on which it ran last.
impl<T: Tables> Kernel<T> {
    fn heap(&self, cpu: CpuId) -> &Timers<T::Timers> {
        &self.cpu(cpu).timers
    }

    fn heap_mut(&mut self, cpu: CpuId) -> &mut Timers<T::Timers> {
        &mut self.cpu_mut(cpu).timers
    }

    fn place_timer(&mut self, cpu: CpuId, place: usize, thread: ThreadId) {
        *self.heap_mut(cpu).places.at_mut(place) = Some(thread);
        self.thread_mut(thread).place.set_timer(short(place));
    }

    fn deadline_at(&self, cpu: CpuId, place: usize) -> u64 {
        self.heap(cpu).at(place).map_or(NEVER, |thread| self.thread(thread).deadline)
    }

    /// Puts a thread into the heap, unless its deadline is never.
    pub(crate) fn start_timer(&mut self, thread: ThreadId, deadline: u64) {
        let entry = self.thread_mut(thread);
        entry.deadline = deadline;
        let cpu = entry.place.cpu();
        if deadline == NEVER {
            return;
        }
        let heap = self.heap_mut(cpu);
        heap.length += 1;
        let place = heap.length();
        self.place_timer(cpu, place, thread);
        self.sift_up(cpu, place);
        if cpu != self.active && self.heap(cpu).first() == Some(thread) {
            // That processor's timer comes too late.
            self.kick(cpu);
        }
    }

    /// Takes a thread out of the heap, if it is there.
    pub(crate) fn cancel_timer(&mut self, thread: ThreadId) {
        let entry = self.thread_mut(thread);
        let (cpu, place) = (entry.place.cpu(), usize::from(entry.place.timer()));
        if place == 0 {
            return;
        }
        entry.place.set_timer(0);
        let heap = self.heap_mut(cpu);
        let last = heap.length();
        let moved = heap.at(last);
        *heap.places.at_mut(last) = None;
        heap.length -= 1;
        if let Some(moved) = moved
            && place != last
        {
            self.place_timer(cpu, place, moved);
            self.sift_up(cpu, place);
            let place = usize::from(self.thread(moved).place.timer());
            self.sift_down(cpu, place);
        }
    }

    fn swap_timers(&mut self, cpu: CpuId, a: usize, b: usize) {
        if let (Some(first), Some(second)) = (self.heap(cpu).at(a), self.heap(cpu).at(b)) {
            self.place_timer(cpu, a, second);
            self.place_timer(cpu, b, first);
        }
    }

    fn sift_up(&mut self, cpu: CpuId, mut place: usize) {
        while place > 1 && self.deadline_at(cpu, place) < self.deadline_at(cpu, place / 2) {
            self.swap_timers(cpu, place, place / 2);
            place /= 2;
        }
    }

    fn sift_down(&mut self, cpu: CpuId, mut place: usize) {
        loop {
            let (left, right) = (2 * place, 2 * place + 1);
            let length = self.heap(cpu).length();
            let mut least = place;
            if left <= length && self.deadline_at(cpu, left) < self.deadline_at(cpu, least) {
                least = left;
            }
            if right <= length && self.deadline_at(cpu, right) < self.deadline_at(cpu, least) {
                least = right;
            }
            if least == place {
                return;
            }
            self.swap_timers(cpu, place, least);
            place = least;
        }
    }
}
