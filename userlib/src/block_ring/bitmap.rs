//! A set of slots in shared memory.

use super::Slot;
use crate::memory::SharedMemory;
use core::sync::atomic::{AtomicU64, Ordering};

/// 128 bits, each set and cleared for itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bitmap<'a> {
    words: Option<&'a [AtomicU64]>,
}

impl<'a> Bitmap<'a> {
    /// The bitmap at a byte offset; an empty one that stays empty if it is not all inside.
    pub(super) fn new(memory: SharedMemory<'a>, offset: usize) -> Self {
        Self { words: memory.part(offset..offset + 16).map(SharedMemory::words) }
    }

    /// All bits. What the other side did before it set one of them is seen after this.
    pub(super) fn load(self) -> u128 {
        let word = |index: usize| {
            let word = self.words.and_then(|words| words.get(index));
            u128::from(word.map_or(0, |word| word.load(Ordering::Acquire)))
        };
        word(1) << 64 | word(0)
    }

    fn word(self, slot: Slot) -> Option<(&'a AtomicU64, u64)> {
        let words = self.words?;
        Some((words.get(slot.index() / 64)?, 1 << (slot.index() % 64)))
    }

    /// Sets a bit. Who sees it, sees what was done before, too.
    pub(super) fn set(self, slot: Slot) {
        if let Some((word, mask)) = self.word(slot) {
            word.fetch_or(mask, Ordering::AcqRel);
        }
    }

    /// Clears a bit.
    pub(super) fn clear(self, slot: Slot) {
        if let Some((word, mask)) = self.word(slot) {
            word.fetch_and(!mask, Ordering::AcqRel);
        }
    }
}
