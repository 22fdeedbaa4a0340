//! The side that takes values out.

use super::{
    AttachError, Broken, CONSUMED, Cells, Element, Layout, PRODUCED, ROOM_WANTED, SHAPE, VALUES_WANTED, passes,
    wanted_beyond,
};
use core::sync::atomic::Ordering;

/// The side of a ring that takes values out.
#[derive(Debug)]
pub struct Consumer<T, C> {
    layout: Layout<T, C>,
    consumed: u64,
    /// Up to where the producer was told.
    told: u64,
    /// What the producer was seen to have put in.
    produced: u64,
}

impl<T: Element, C: Cells> Consumer<T, C> {
    /// Attaches to a ring, and goes on where a former instance stood. There may be one consumer at a time. A ring to which
    /// no producer has attached yet is empty.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn attach(cells: C) -> Result<Self, AttachError> {
        let layout = Layout::new(cells)?;
        let shape = layout.cells.load(SHAPE, Ordering::Acquire);
        if shape != 0 && shape != layout.shape() {
            return Err(AttachError::OtherShape);
        }
        let consumed = layout.cells.load(CONSUMED, Ordering::Acquire);
        // The former instance may have died before it could tell: what fills the ring was put in before that.
        let told = consumed.wrapping_sub(layout.slots);
        Ok(Self { layout, consumed, told, produced: consumed })
    }

    /// Values that the ring can hold.
    pub fn capacity(&self) -> usize {
        self.layout.slots as usize
    }

    /// How many values can be taken out now.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn available(&mut self) -> Result<usize, Broken> {
        let produced = self.layout.cells.load(PRODUCED, Ordering::Acquire);
        let filled = self.layout.filled(produced, self.consumed)?;
        // What was put in stays in.
        if filled < self.produced.wrapping_sub(self.consumed) {
            return Err(Broken);
        }
        self.produced = produced;
        Ok(filled as usize)
    }

    /// Takes a value out, if there is one. The producer is then to be notified if [`Consumer::must_notify`] says so, once
    /// for a whole burst.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn pop(&mut self) -> Result<Option<T>, Broken> {
        if self.available()? == 0 {
            return Ok(None);
        }
        let value = self.layout.read(self.consumed);
        self.consumed = self.consumed.wrapping_add(1);
        // Whoever sees the count may write over the value.
        self.layout.cells.store(CONSUMED, self.consumed, Ordering::Release);
        Ok(Some(value))
    }

    /// Whether the producer waits for the room that was made since this was last asked.
    pub fn must_notify(&mut self) -> bool {
        let before = core::mem::replace(&mut self.told, self.consumed);
        // Either this sees that the producer waits, or the producer sees the count.
        self.layout.cells.fence();
        passes(self.layout.cells.load(ROOM_WANTED, Ordering::Relaxed), before, self.consumed)
    }

    /// Says that the consumer is about to wait for values, and tells whether it may: if there are none. It will be notified.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn may_wait(&mut self) -> Result<bool, Broken> {
        if self.available()? > 0 {
            return Ok(false);
        }
        self.layout.cells.store(VALUES_WANTED, wanted_beyond(self.consumed), Ordering::Relaxed);
        self.layout.cells.fence();
        Ok(self.available()? == 0)
    }
}
