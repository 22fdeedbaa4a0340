//! The device's side of a split virtqueue (virtio 1.2, section 2.7).
//!
//! Nothing that the driver writes is believed: a chain is followed for at most as many descriptors as the queue has, every
//! address is looked up, and a round of work takes no more chains than the queue has places. What breaks the rules is a
//! [`QueueError`], after which the device needs a reset.

use super::buffers::{Buffers, Segment};
use crate::memory::{GuestMemory, OutsideMemory};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{Ordering, fence};

/// Flags of a descriptor (section 2.7.5).
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
const DESCRIPTOR_BYTES: u64 = 16;
/// Flag of the available ring: the driver looks by itself (section 2.7.6).
const NO_INTERRUPT: u16 = 1;

/// How a driver broke the rules of a queue. It, not the device, is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueError {
    /// The size is no power of two or more than the device offers, or a ring is not aligned.
    BadLayout,
    /// A ring does not lie in memory.
    RingOutside(OutsideMemory),
    /// More is available than the queue has places.
    TooManyAvailable {
        /// So many.
        available: u16,
    },
    /// A descriptor is named that the queue does not have.
    NoSuchDescriptor {
        /// This one.
        index: u16,
    },
    /// A chain has more descriptors than the queue: it loops.
    EndlessChain {
        /// Its first descriptor.
        head: u16,
    },
    /// A chain is available that the device already works on.
    AlreadyInFlight {
        /// Its first descriptor.
        head: u16,
    },
    /// What a descriptor describes does not lie in memory.
    BufferOutside(OutsideMemory),
    /// A descriptor to read follows one to write.
    ReadAfterWrite {
        /// This one.
        index: u16,
    },
    /// A table of descriptors, which was not negotiated.
    Indirect {
        /// The descriptor that names it.
        index: u16,
    },
    /// A chain lacks what every request of the device has.
    Malformed {
        /// Its first descriptor.
        head: u16,
    },
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the guest's driver broke the rules of a virtqueue: ")?;
        match self {
            Self::BadLayout => write!(f, "its size or the alignment of its rings is not allowed"),
            Self::RingOutside(error) => write!(f, "a ring is not in memory: {error}"),
            Self::TooManyAvailable { available } => {
                write!(f, "{available} chains are available, more than it has places")
            }
            Self::NoSuchDescriptor { index } => write!(f, "there is no descriptor {index}"),
            Self::EndlessChain { head } => write!(f, "the chain from descriptor {head} on has no end"),
            Self::AlreadyInFlight { head } => write!(f, "the chain from descriptor {head} on is in flight already"),
            Self::BufferOutside(error) => write!(f, "a buffer is not in memory: {error}"),
            Self::ReadAfterWrite { index } => write!(f, "descriptor {index} is to be read but follows one to write"),
            Self::Indirect { index } => write!(f, "descriptor {index} is indirect, which was not negotiated"),
            Self::Malformed { head } => write!(f, "the chain from descriptor {head} on is no request of this device"),
        }
    }
}

impl core::error::Error for QueueError {}

/// What a driver has made available as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its first descriptor, which is its name.
    pub head: u16,
    /// What the device reads.
    pub readable: Buffers,
    /// What the device writes.
    pub writable: Buffers,
}

/// A virtqueue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    max_size: u16,
    /// What the driver has chosen.
    pub(super) size: u16,
    pub(super) descriptors: u64,
    pub(super) available: u64,
    pub(super) used: u64,
    pub(super) vector: u16,
    enabled: bool,
    next_available: u16,
    next_used: u16,
    /// By head: which chains the device works on.
    in_flight: Vec<bool>,
    /// How many chains this round may still take.
    budget: u16,
    /// The driver is to be interrupted.
    interrupt: bool,
}

impl Queue {
    /// A queue of at most so many descriptors, a power of two up to 32768.
    #[must_use]
    pub fn new(max_size: u16) -> Self {
        Self {
            max_size,
            size: max_size,
            descriptors: 0,
            available: 0,
            used: 0,
            vector: u16::MAX,
            enabled: false,
            next_available: 0,
            next_used: 0,
            in_flight: Vec::new(),
            budget: 0,
            interrupt: false,
        }
    }

    /// Whether the driver has enabled it.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Enables it with the layout that was set.
    ///
    /// # Errors
    /// [`QueueError::BadLayout`], and it stays disabled.
    pub fn enable(&mut self) -> Result<(), QueueError> {
        let aligned =
            self.descriptors.is_multiple_of(16) && self.available.is_multiple_of(2) && self.used.is_multiple_of(4);
        // Rings that reach beyond the end of all addresses would wrap around later.
        let far = [self.descriptors, self.available, self.used].iter().any(|base| *base > 1 << 60);
        if !self.size.is_power_of_two() || self.size > self.max_size || !aligned || far {
            return Err(QueueError::BadLayout);
        }
        self.in_flight = vec![false; usize::from(self.size)];
        self.enabled = true;
        Ok(())
    }

    /// A round of work begins: it takes as many chains as the queue has places, and no more.
    pub fn begin_round(&mut self) {
        self.budget = self.size;
    }

    /// Whether the round has ended before the queue was empty: there is to be another one.
    #[must_use]
    pub fn is_starved(&self) -> bool {
        self.enabled && self.budget == 0
    }

    /// Takes the next chain, if there is one and the round has not ended.
    ///
    /// # Errors
    /// If the driver broke the rules.
    pub fn pop(&mut self, memory: &dyn GuestMemory) -> Result<Option<Chain>, QueueError> {
        if !self.enabled || self.budget == 0 {
            return Ok(None);
        }
        let index = memory.read_u16(self.available + 2).map_err(QueueError::RingOutside)?;
        // The index is written after what it makes available (section 2.7.13).
        fence(Ordering::Acquire);
        let available = index.wrapping_sub(self.next_available);
        if available == 0 {
            return Ok(None);
        }
        if available > self.size {
            return Err(QueueError::TooManyAvailable { available });
        }
        let place = self.available + 4 + 2 * u64::from(self.next_available % self.size);
        let head = memory.read_u16(place).map_err(QueueError::RingOutside)?;
        let chain = self.follow(head, memory)?;
        match self.in_flight.get_mut(usize::from(head)) {
            Some(in_flight) if !*in_flight => *in_flight = true,
            _ => return Err(QueueError::AlreadyInFlight { head }),
        }
        self.next_available = self.next_available.wrapping_add(1);
        self.budget -= 1;
        Ok(Some(chain))
    }

    /// Gives a chain back, of which the device has written so many bytes.
    ///
    /// # Errors
    /// If the used ring is not in memory. A chain that is not in flight is not given back.
    pub fn push(&mut self, head: u16, written: u32, memory: &mut dyn GuestMemory) -> Result<(), QueueError> {
        match self.in_flight.get_mut(usize::from(head)) {
            Some(in_flight) if *in_flight => *in_flight = false,
            _ => return Ok(()),
        }
        let mut element = [0; 8];
        element[..4].copy_from_slice(&u32::from(head).to_le_bytes());
        element[4..].copy_from_slice(&written.to_le_bytes());
        let place = self.used + 4 + 8 * u64::from(self.next_used % self.size);
        memory.write(place, &element).map_err(QueueError::RingOutside)?;
        self.next_used = self.next_used.wrapping_add(1);
        // The element before the index (section 2.7.14).
        fence(Ordering::Release);
        memory.write(self.used + 2, &self.next_used.to_le_bytes()).map_err(QueueError::RingOutside)?;
        // The index before the flag: the driver sets the flag, then looks at the index.
        fence(Ordering::SeqCst);
        let flags = memory.read_u16(self.available).map_err(QueueError::RingOutside)?;
        self.interrupt |= flags & NO_INTERRUPT == 0;
        Ok(())
    }

    /// Whether the driver is to be interrupted for what was given back since this was last asked.
    pub fn take_interrupt(&mut self) -> bool {
        core::mem::take(&mut self.interrupt)
    }

    /// How many chains the device works on.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.iter().filter(|in_flight| **in_flight).count()
    }

    fn follow(&self, head: u16, memory: &dyn GuestMemory) -> Result<Chain, QueueError> {
        let mut chain = Chain { head, readable: Buffers::default(), writable: Buffers::default() };
        let mut index = head;
        for _ in 0..self.size {
            if index >= self.size {
                return Err(QueueError::NoSuchDescriptor { index });
            }
            let mut bytes = [0; 16];
            let place = self.descriptors + DESCRIPTOR_BYTES * u64::from(index);
            memory.read(place, &mut bytes).map_err(QueueError::RingOutside)?;
            let [address @ .., l0, l1, l2, l3, f0, f1, n0, n1] = bytes;
            let address = u64::from_le_bytes(address);
            let length = u32::from_le_bytes([l0, l1, l2, l3]);
            let flags = u16::from_le_bytes([f0, f1]);
            if flags & INDIRECT != 0 {
                return Err(QueueError::Indirect { index });
            }
            if !memory.contains(address, u64::from(length)) {
                return Err(QueueError::BufferOutside(OutsideMemory { address, length: u64::from(length) }));
            }
            let segment = Segment { address, length };
            if flags & WRITE != 0 {
                chain.writable.push(segment);
            } else if chain.writable.segments().is_empty() {
                chain.readable.push(segment);
            } else {
                return Err(QueueError::ReadAfterWrite { index });
            }
            if flags & NEXT == 0 {
                return Ok(chain);
            }
            index = u16::from_le_bytes([n0, n1]);
        }
        Err(QueueError::EndlessChain { head })
    }
}
