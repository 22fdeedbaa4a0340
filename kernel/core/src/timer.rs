//! Deadlines: a binary heap of the threads that wait for a limited time, the earliest first.

use crate::identity::ThreadId;
use crate::kernel::{Kernel, Tables};
use crate::table::Slots;
use abi::time::NEVER;

/// The heap. Places count from 1; the children of place `i` are `2i` and `2i + 1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Timers<S> {
    places: S,
    length: u16,
}

impl<S: Slots<Option<ThreadId>>> Timers<S> {
    pub(crate) const fn new(places: S) -> Self {
        Timers { places, length: 0 }
    }

    /// The thread whose deadline is the earliest.
    pub(crate) fn first(&self) -> Option<ThreadId> {
        self.at(1)
    }

    pub(crate) fn length(&self) -> usize {
        self.length as usize
    }

    pub(crate) fn at(&self, place: usize) -> Option<ThreadId> {
        if place >= 1 && place <= self.length as usize { *self.places.at(place) } else { None }
    }
}

impl<T: Tables> Kernel<T> {
    fn place_timer(&mut self, place: usize, thread: ThreadId) {
        *self.timers.places.at_mut(place) = Some(thread);
        self.thread_mut(thread).timer_place = place as u16;
    }

    fn deadline_at(&self, place: usize) -> u64 {
        self.timers.at(place).map_or(NEVER, |thread| self.thread(thread).deadline)
    }

    /// Puts a thread into the heap, unless its deadline is never.
    pub(crate) fn start_timer(&mut self, thread: ThreadId, deadline: u64) {
        self.thread_mut(thread).deadline = deadline;
        if deadline == NEVER {
            return;
        }
        self.timers.length += 1;
        let place = self.timers.length();
        self.place_timer(place, thread);
        self.sift_up(place);
    }

    /// Takes a thread out of the heap, if it is there.
    pub(crate) fn cancel_timer(&mut self, thread: ThreadId) {
        let place = self.thread(thread).timer_place as usize;
        if place == 0 {
            return;
        }
        self.thread_mut(thread).timer_place = 0;
        let last = self.timers.length();
        let moved = self.timers.at(last);
        *self.timers.places.at_mut(last) = None;
        self.timers.length -= 1;
        if let Some(moved) = moved
            && place != last
        {
            self.place_timer(place, moved);
            self.sift_up(place);
            let place = self.thread(moved).timer_place as usize;
            self.sift_down(place);
        }
    }

    fn swap_timers(&mut self, a: usize, b: usize) {
        if let (Some(first), Some(second)) = (self.timers.at(a), self.timers.at(b)) {
            self.place_timer(a, second);
            self.place_timer(b, first);
        }
    }

    fn sift_up(&mut self, mut place: usize) {
        while place > 1 && self.deadline_at(place) < self.deadline_at(place / 2) {
            self.swap_timers(place, place / 2);
            place /= 2;
        }
    }

    fn sift_down(&mut self, mut place: usize) {
        loop {
            let (left, right) = (2 * place, 2 * place + 1);
            let mut least = place;
            if left <= self.timers.length() && self.deadline_at(left) < self.deadline_at(least) {
                least = left;
            }
            if right <= self.timers.length() && self.deadline_at(right) < self.deadline_at(least) {
                least = right;
            }
            if least == place {
                return;
            }
            self.swap_timers(place, least);
            place = least;
        }
    }
}
