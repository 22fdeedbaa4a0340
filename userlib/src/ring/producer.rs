//! The side that puts values in.

use super::{
    AttachError, Broken, CONSUMED, Cells, Element, Layout, PRODUCED, ROOM_WANTED, SHAPE, VALUES_WANTED, passes,
    wanted_beyond,
};
use core::fmt;
use core::sync::atomic::Ordering;

/// Why a value was not put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// There is no room.
    Full,
    /// See [`Broken`].
    Broken,
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PushError::Full => f.write_str("the ring is full"),
            PushError::Broken => Broken.fmt(f),
        }
    }
}

impl core::error::Error for PushError {}

impl From<Broken> for PushError {
    fn from(_: Broken) -> Self {
        PushError::Broken
    }
}

/// The side of a ring that puts values in.
#[derive(Debug)]
pub struct Producer<T, C> {
    layout: Layout<T, C>,
    produced: u64,
    /// Up to where the consumer was told.
    told: u64,
    /// What the consumer was seen to have taken out.
    consumed: u64,
}

impl<T: Element, C: Cells> Producer<T, C> {
    /// Attaches to a ring, and goes on where a former instance stood. There may be one producer at a time.
    ///
    /// # Errors
    /// [`AttachError::TooShort`].
    pub fn attach(cells: C) -> Result<Self, AttachError> {
        let layout = Layout::new(cells)?;
        let produced = layout.cells.load(PRODUCED, Ordering::Acquire);
        let consumed = layout.cells.load(CONSUMED, Ordering::Acquire);
        layout.cells.store(SHAPE, layout.shape(), Ordering::Release);
        // The former instance may have died before it could tell: this one does, whatever was told before.
        Ok(Self { layout, produced, told: consumed, consumed })
    }

    /// Values that the ring can hold.
    pub fn capacity(&self) -> usize {
        self.layout.slots as usize
    }

    /// How many values can be put in now.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn room(&mut self) -> Result<usize, Broken> {
        let consumed = self.layout.cells.load(CONSUMED, Ordering::Acquire);
        let filled = self.layout.filled(self.produced, consumed)?;
        // What was taken out stays out.
        if filled > self.produced.wrapping_sub(self.consumed) {
            return Err(Broken);
        }
        self.consumed = consumed;
        Ok((self.layout.slots - filled) as usize)
    }

    /// Puts a value in. The consumer is then to be notified if [`Producer::must_notify`] says so, once for a whole burst.
    ///
    /// # Errors
    /// [`PushError`].
    pub fn push(&mut self, value: &T) -> Result<(), PushError> {
        if self.room()? == 0 {
            return Err(PushError::Full);
        }
        self.layout.write(self.produced, value);
        self.produced = self.produced.wrapping_add(1);
        // Whoever sees the count sees the value.
        self.layout.cells.store(PRODUCED, self.produced, Ordering::Release);
        Ok(())
    }

    /// Whether the consumer waits for what was put in since this was last asked.
    pub fn must_notify(&mut self) -> bool {
        let before = core::mem::replace(&mut self.told, self.produced);
        // Either this sees that the consumer waits, or the consumer sees the count.
        self.layout.cells.fence();
        passes(self.layout.cells.load(VALUES_WANTED, Ordering::Relaxed), before, self.produced)
    }

    /// Says that the producer is about to wait for room, and tells whether it may: if there is none. It will be notified.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn may_wait(&mut self) -> Result<bool, Broken> {
        if self.room()? > 0 {
            return Ok(false);
        }
        self.layout.cells.store(ROOM_WANTED, wanted_beyond(self.consumed), Ordering::Relaxed);
        self.layout.cells.fence();
        Ok(self.room()? == 0)
    }
}
