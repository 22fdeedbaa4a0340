//! A ring of values of one type in memory that two domains share: one puts them in, the other takes them out.
//!
//! There is one [`Producer`] and one [`Consumer`]. Neither believes the other: what stands in the memory is copied once,
//! counts are checked, and each side goes by its own. Garbage there is an [`Broken`] error or a value that was never put in,
//! and nothing else; so a consumer checks what it takes out like any other input. Values are plain bytes (`zerocopy`), which
//! makes every pattern of them a value.
//!
//! A side that finds nothing to do says up to which count it has looked, and is notified when the other one goes beyond: a
//! burst costs one notification, and none if the other side is awake. The memory outlives both sides; a new instance of
//! either goes on where the counts stand.
//!
//! [`Sender`] and [`Receiver`] are the two sides as a task uses them, with the ring that the manifest gives a domain.
//!
//! # Layout
//!
//! In words of eight bytes; each side writes a cache line of its own.
//!
//! | word | contents | written by |
//! | --- | --- | --- |
//! | 0 | what the slots are: their number and their size | producer |
//! | 8 | how many were put in | producer |
//! | 9 | producer wants to be told when as many as this were taken out; 0 if it does not | producer |
//! | 16 | how many were taken out | consumer |
//! | 17 | consumer wants to be told when as many as this were put in; 0 if it does not | consumer |
//! | 32 | slots | producer |

mod channel;
mod consumer;
mod producer;

pub use channel::{Receiver, Sender};
pub use consumer::Consumer;
pub use producer::{Producer, PushError};

use crate::memory::SharedMemory;
use core::fmt;
use core::marker::PhantomData;
use core::sync::atomic::Ordering;
use zerocopy::{FromBytes, Immutable, IntoBytes};

const SHAPE: usize = 0;
const PRODUCED: usize = 8;
const ROOM_WANTED: usize = 9;
const CONSUMED: usize = 16;
const VALUES_WANTED: usize = 17;
/// Words before the first slot.
pub const HEADER_WORDS: usize = 32;

/// What can be in a ring: plain bytes.
pub trait Element: FromBytes + IntoBytes + Immutable {}

impl<T: FromBytes + IntoBytes + Immutable> Element for T {}

/// Words that somebody else may change at any time. It is a trait so that every order of accesses of both sides can be
/// explored.
pub trait Cells {
    /// How many there are.
    fn count(&self) -> usize;
    /// Reads one; 0 beyond the last.
    fn load(&self, word: usize, ordering: Ordering) -> u64;
    /// Writes one; nothing beyond the last.
    fn store(&self, word: usize, value: u64, ordering: Ordering);
    /// Lets neither a write before it nor a read behind it pass (`SeqCst`).
    fn fence(&self);
}

impl Cells for SharedMemory<'_> {
    fn count(&self) -> usize {
        self.words().len()
    }

    fn load(&self, word: usize, ordering: Ordering) -> u64 {
        self.words().get(word).map_or(0, |cell| cell.load(ordering))
    }

    fn store(&self, word: usize, value: u64, ordering: Ordering) {
        if let Some(cell) = self.words().get(word) {
            cell.store(value, ordering);
        }
    }

    fn fence(&self) {
        core::sync::atomic::fence(Ordering::SeqCst);
    }
}

/// Why memory cannot be used as a ring of this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// It is too short for even one value.
    TooShort,
    /// The producer puts in values of another size, or has memory of another length.
    OtherShape,
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AttachError::TooShort => "the ring's memory has no room for one value",
            AttachError::OtherShape => "producer and consumer do not mean the same ring",
        })
    }
}

impl core::error::Error for AttachError {}

/// The counts in the ring make no sense: the other side, or whoever else has the memory, does not keep to the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the other side of the ring does not keep to its rules")
    }
}

impl core::error::Error for Broken {}

/// The memory of a ring of `T`.
#[derive(Debug)]
struct Layout<T, C> {
    cells: C,
    slots: u64,
    element: PhantomData<fn() -> T>,
}

impl<T: Element, C: Cells> Layout<T, C> {
    const SLOT_WORDS: usize = {
        assert!(size_of::<T>() > 0, "a ring of nothing would be a notification");
        size_of::<T>().div_ceil(8)
    };

    fn new(cells: C) -> Result<Self, AttachError> {
        let slots = cells.count().saturating_sub(HEADER_WORDS) / Self::SLOT_WORDS;
        // Counts fit into half a word of the shape.
        let slots = slots.min(u32::MAX as usize) as u64;
        if slots == 0 {
            return Err(AttachError::TooShort);
        }
        Ok(Self { cells, slots, element: PhantomData })
    }

    /// What the slots are, as the producer says.
    fn shape(&self) -> u64 {
        self.slots << 32 | size_of::<T>() as u64 & 0xffff_ffff
    }

    /// How many values are in the ring, by these counts.
    fn filled(&self, produced: u64, consumed: u64) -> Result<u64, Broken> {
        let filled = produced.wrapping_sub(consumed);
        if filled <= self.slots { Ok(filled) } else { Err(Broken) }
    }

    fn slot(&self, number: u64) -> usize {
        HEADER_WORDS + (number % self.slots) as usize * Self::SLOT_WORDS
    }

    fn write(&self, number: u64, value: &T) {
        let first = self.slot(number);
        for (index, bytes) in value.as_bytes().chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            self.cells.store(first + index, u64::from_le_bytes(word), Ordering::Relaxed);
        }
    }

    fn read(&self, number: u64) -> T
    where
        T: FromBytes,
    {
        let first = self.slot(number);
        let mut value = T::new_zeroed();
        for (index, bytes) in value.as_mut_bytes().chunks_mut(8).enumerate() {
            let word = self.cells.load(first + index, Ordering::Relaxed).to_le_bytes();
            bytes.copy_from_slice(&word[..bytes.len()]);
        }
        value
    }
}

/// What somebody writes who has looked up to a count and is to be told when it goes on. 0 means nobody.
const fn wanted_beyond(count: u64) -> u64 {
    count.wrapping_add(1)
}

/// Whether somebody who wrote `wanted` is to be told that a count went from `before` to `after`.
const fn passes(wanted: u64, before: u64, after: u64) -> bool {
    wanted != 0 && wanted.wrapping_sub(1).wrapping_sub(before) < after.wrapping_sub(before)
}
