//! The identifiers by which an IOMMU keeps the translations of one space apart from those of others. It may have fewer of
//! them than there can be spaces.

use crate::ram::RamPage;
use kernel_core::{SPACES_MAX, SpaceId};

static_assertions::const_assert!(SPACES_MAX <= crate::ram::WORDS);

/// The most identifiers that are used, whatever a unit has: more devices do not have spaces at once.
const MOST: usize = 256;

/// Which identifier each space has, in a page of its own: a word for each space, 0 without one.
#[derive(Clone, Copy, Debug)]
pub struct Domains {
    page: RamPage,
    limit: u64,
}

impl Domains {
    /// Identifiers below `limit`, of which none is given yet.
    pub const fn new(page: RamPage, limit: u64) -> Self {
        Domains { page, limit }
    }

    /// One more unit is told of them, which knows those below `limit` only.
    pub fn limit(&mut self, limit: u64) {
        self.limit = self.limit.min(limit);
    }

    /// The identifier of a space that has one.
    pub fn of(&self, space: SpaceId) -> u16 {
        self.page.word(space.index()) as u16
    }

    /// One that no space has. Identifier 0 is never given: units may keep it for themselves (VT-d 9.3).
    pub fn free(&self) -> Option<u16> {
        let mut given = [1, 0, 0, 0];
        for index in 0..SPACES_MAX {
            let id = self.page.word(index) as usize % MOST;
            given[id / 64] |= 1_u64 << (id % 64);
        }
        let free = (0_u16..).zip(given).find(|(_, bits)| *bits != u64::MAX);
        free.map(|(word, bits)| 64 * word + bits.trailing_ones() as u16).filter(|id| u64::from(*id) < self.limit)
    }

    /// Gives a space one, if there is one.
    pub fn give(&self, space: SpaceId) {
        self.page.set_word(space.index(), self.free().unwrap_or(0).into());
    }

    /// Takes it back, when the units know nothing of the space any more.
    pub fn take_back(&self, space: SpaceId) {
        self.page.set_word(space.index(), 0);
    }
}
