//! The identifiers by which an IOMMU keeps the translations of one space apart from those of others. It may have fewer of
//! them than there can be spaces.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use kernel_core::{SPACES_MAX, SpaceId};

/// Words of the set of identifiers that are given.
const WORDS: usize = 4;

/// Which identifier each space has, 0 without one. Only used while the big lock is held, as the next.
static OF_SPACES: [AtomicU8; SPACES_MAX] = [const { AtomicU8::new(0) }; SPACES_MAX];
/// The identifiers that some space has, one bit each. There are 256, whatever a unit has: more devices do not have spaces
/// at once.
static GIVEN: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

/// Which identifiers there are.
#[derive(Clone, Copy, Debug)]
pub struct Domains {
    limit: u64,
}

impl Domains {
    /// Identifiers below `limit`.
    pub const fn new(limit: u64) -> Self {
        Domains { limit }
    }

    /// One more unit is told of them, which knows those below `limit` only.
    pub fn limit(&mut self, limit: u64) {
        self.limit = self.limit.min(limit);
    }

    /// The identifier of a space that has one.
    pub fn of(&self, space: SpaceId) -> u16 {
        OF_SPACES[space.index() % SPACES_MAX].load(Ordering::Relaxed).into()
    }

    /// One that no space has. Identifier 0 is never given: units may keep it for themselves (VT-d 9.3).
    pub fn free(&self) -> Option<u8> {
        let given = |word: usize| GIVEN[word].load(Ordering::Relaxed) | u64::from(word == 0);
        let word = (0..WORDS).find(|word| given(*word) != u64::MAX)?;
        let id = 64 * word as u64 + u64::from(given(word).trailing_ones());
        (id < self.limit).then_some(id as u8)
    }

    /// Gives a space one, if there is one.
    pub fn give(&self, space: SpaceId) {
        let id = self.free().unwrap_or(0);
        OF_SPACES[space.index() % SPACES_MAX].store(id, Ordering::Relaxed);
        GIVEN[usize::from(id) / 64].fetch_or(1 << (id % 64), Ordering::Relaxed);
    }

    /// Takes it back, when the units know nothing of the space any more.
    pub fn take_back(&self, space: SpaceId) {
        let id = OF_SPACES[space.index() % SPACES_MAX].swap(0, Ordering::Relaxed);
        GIVEN[usize::from(id) / 64].fetch_and(!(1 << (id % 64)), Ordering::Relaxed);
    }
}
