//! A split queue (Virtual I/O Device 1.2, 2.7): descriptors, what is available to the device, what it has used.
//!
//! Neither side tells the other more than that one wants to know (2.7.10, `VIRTIO_F_EVENT_IDX`), if the device has that.
//! All memory is accessed through atomics; what the device writes is copied once, and what follows from it is the caller's
//! to check.

use crate::region::Region;
use core::sync::atomic::{Ordering, fence};

/// Places of a queue at most.
pub const PLACES_MAX: u16 = 256;
/// Bytes of memory that a queue needs.
pub const QUEUE_BYTES: usize = 8192;

const DESCRIPTOR_BYTES: usize = 16;
const AVAILABLE: usize = DESCRIPTOR_BYTES * PLACES_MAX as usize;
/// Behind the indices and [`PLACES_MAX`] elements of what is available, in a cache line of its own.
const USED: usize = AVAILABLE + 1024;
const INDEX: usize = 2;
const RING: usize = 4;

/// The chain goes on.
const NEXT: u64 = 1;
/// The device writes to the part.
const WRITABLE: u64 = 2;
/// The device does not want to be notified, where there are no event indices.
const NO_NOTIFY: u16 = 1;

/// A part of a request's memory, as the device finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Address on the bus.
    pub bus: u64,
    /// Bytes.
    pub length: u32,
    /// Whether the device writes to it, instead of reading it.
    pub writable: bool,
}

/// What the device says of a request that it has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// First descriptor, as the device says.
    pub head: u32,
    /// Bytes that it has written, as it says.
    pub written: u32,
}

/// Where the parts of a queue lie on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The table of descriptors.
    pub descriptors: u64,
    /// What is available to the device.
    pub available: u64,
    /// What it has used.
    pub used: u64,
}

/// A queue.
#[derive(Debug)]
pub struct Queue {
    memory: Region,
    places: u16,
    event_index: bool,
    /// The driver's own copy of the chains: the device can write to the table if nothing confines it.
    next: [u16; PLACES_MAX as usize],
    free: u16,
    free_count: u16,
    available: u16,
    /// Up to where the device was told.
    told: u16,
    used: u16,
}

/// Whether somebody who wants to be told of `event` is to be, now that a count went from `before` to `after` (2.7.10).
const fn passes(event: u16, before: u16, after: u16) -> bool {
    after.wrapping_sub(event).wrapping_sub(1) < after.wrapping_sub(before)
}

impl Queue {
    /// An empty queue of `places` (a power of two, [`PLACES_MAX`] at most) in the first [`QUEUE_BYTES`] of `memory`, which
    /// no device uses at this time.
    pub fn new(memory: Region, places: u16, event_index: bool) -> Self {
        memory.zero();
        let mut next = [0; PLACES_MAX as usize];
        for (place, next) in (1..).zip(&mut next) {
            *next = place;
        }
        let free_count = places.min(PLACES_MAX);
        Self { memory, places: free_count, event_index, next, free: 0, free_count, available: 0, told: 0, used: 0 }
    }

    /// Where the device finds its parts.
    pub fn addresses(&self) -> Addresses {
        let start = self.memory.bus();
        Addresses { descriptors: start, available: start + AVAILABLE as u64, used: start + USED as u64 }
    }

    /// How many places are free.
    pub fn room(&self) -> usize {
        self.free_count.into()
    }

    /// Makes a request available to the device: the parts that it reads come first. It is then to be told, if
    /// [`Queue::must_notify`] says so, once for a whole burst. The first descriptor; `None` if there is no room.
    pub fn add(&mut self, parts: &[Part]) -> Option<u16> {
        let count = u16::try_from(parts.len()).ok().filter(|count| *count > 0 && *count <= self.free_count)?;
        let head = self.free;
        let mut place = head;
        for (number, part) in (1..).zip(parts) {
            let next = *self.next.get(usize::from(place))?;
            let goes_on = if number < count { NEXT } else { 0 };
            let flags = goes_on | if part.writable { WRITABLE } else { 0 };
            let offset = usize::from(place) * DESCRIPTOR_BYTES;
            self.memory.set::<u64>(offset, part.bus);
            self.memory.set::<u64>(offset + 8, u64::from(part.length) | flags << 32 | u64::from(next) << 48);
            place = next;
        }
        self.free = place;
        self.free_count -= count;
        self.memory.set::<u16>(AVAILABLE + RING + usize::from(self.available % self.places) * 2, head);
        self.available = self.available.wrapping_add(1);
        // Whoever sees the index sees what was written before.
        self.memory.set::<u16>(AVAILABLE + INDEX, self.available);
        Some(head)
    }

    /// Whether the device wants to be notified of what was made available since this was last asked.
    pub fn must_notify(&mut self) -> bool {
        // The index must be visible before the device's wish is read: the device does it the other way round.
        fence(Ordering::SeqCst);
        let before = core::mem::replace(&mut self.told, self.available);
        if self.event_index {
            let event = self.memory.get::<u16>(USED + RING + usize::from(self.places) * 8);
            passes(event, before, self.available)
        } else {
            before != self.available && self.memory.get::<u16>(USED) & NO_NOTIFY == 0
        }
    }

    /// The next request that the device has used, if there is one.
    pub fn next_used(&mut self) -> Option<Used> {
        if self.memory.get::<u16>(USED + INDEX) == self.used {
            return None;
        }
        let offset = USED + RING + usize::from(self.used % self.places) * 8;
        let used = Used { head: self.memory.get(offset), written: self.memory.get(offset + 4) };
        self.used = self.used.wrapping_add(1);
        Some(used)
    }

    /// Takes the `count` places of a request back that began at `head`, and that the device has used.
    pub fn take_back(&mut self, head: u16, count: usize) {
        let mut last = head;
        for _ in 1..count {
            last = self.next.get(usize::from(last)).copied().unwrap_or(last);
        }
        if let Some(next) = self.next.get_mut(usize::from(last)) {
            *next = self.free;
            self.free = head;
            self.free_count += count as u16;
        }
    }

    /// Says that the driver is about to wait until the device has used `count` more requests, of those that it has: one at
    /// least. Whether they are there already; then it must not wait.
    pub fn await_used(&mut self, count: u16) -> bool {
        let count = count.max(1);
        if self.event_index {
            let event = self.used.wrapping_add(count - 1);
            self.memory.set::<u16>(AVAILABLE + RING + usize::from(self.places) * 2, event);
        }
        // As above, the other way round.
        fence(Ordering::SeqCst);
        self.memory.get::<u16>(USED + INDEX).wrapping_sub(self.used) >= count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicU64;
    use std::vec::Vec;
    use userlib::memory::SharedMemory;

    fn queue(places: u16, event_index: bool) -> Queue {
        let words = Vec::leak((0..QUEUE_BYTES / 8).map(|_| AtomicU64::new(u64::MAX)).collect());
        Queue::new(Region::new(SharedMemory::new(words), 0x1000), places, event_index)
    }

    const PART: Part = Part { bus: 0x5000, length: 16, writable: false };

    #[test]
    fn places_come_back_and_never_serve_two_requests() {
        let mut queue = queue(8, true);
        let first = queue.add(&[PART; 3]).unwrap();
        let second = queue.add(&[PART; 5]).unwrap();
        assert_eq!((queue.room(), queue.add(&[PART])), (0, None));
        queue.take_back(first, 3);
        assert_eq!(queue.add(&[PART; 4]), None);
        let third = queue.add(&[PART; 3]).unwrap();
        assert_eq!(third, first);
        queue.take_back(second, 5);
        queue.take_back(third, 3);
        assert_eq!(queue.room(), 8);
        let mut heads: Vec<_> = (0..8).map(|_| queue.add(&[PART]).unwrap()).collect();
        heads.sort_unstable();
        assert_eq!(heads, (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn the_device_is_told_exactly_when_it_wants_to_be_however_often_indices_wrap_around() {
        let mut queue = queue(8, true);
        let wants = USED + RING + 8 * 8;
        for round in 0..70_000u32 {
            // A device that has seen everything wants to be told of the next; one that is at work, of none for long.
            let wanted = if round % 3 == 0 { round as u16 } else { (round as u16).wrapping_sub(1) };
            queue.memory.set::<u16>(wants, wanted);
            let head = queue.add(&[PART]).unwrap();
            assert_eq!(queue.must_notify(), round % 3 == 0, "round {round}");
            assert!(!queue.must_notify(), "nothing new since");
            queue.take_back(head, 1);
        }
    }

    #[test]
    fn the_driver_waits_for_as_many_as_it_says() {
        let mut queue = queue(8, true);
        assert!(!queue.await_used(3));
        assert_eq!(queue.memory.get::<u16>(AVAILABLE + RING + 16), 2, "told when the third is used");
        queue.memory.set::<u16>(USED + INDEX, 2);
        assert!(!queue.await_used(3));
        assert!(queue.await_used(2));
        assert!(queue.next_used().is_some() && queue.next_used().is_some() && queue.next_used().is_none());
        assert!(!queue.await_used(1));
        assert_eq!(queue.memory.get::<u16>(AVAILABLE + RING + 16), 2);
    }

    #[test]
    fn without_event_indices_the_flag_decides() {
        let mut queue = queue(8, false);
        queue.add(&[PART]).unwrap();
        assert!(queue.must_notify());
        queue.memory.set::<u16>(USED, NO_NOTIFY);
        queue.add(&[PART]).unwrap();
        assert!(!queue.must_notify());
    }
}
