//! Numbers that look random and come out the same from the same seed.

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// Those of one batch of a campaign: batches do not depend on one another, so that any can be made again alone.
    pub(super) fn of(seed: u64, batch: u64) -> Self {
        let mut random = Self(seed);
        let base = random.next();
        Self(base ^ batch.wrapping_mul(0xd605_1ccb_7a4e_2a17))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut output = self.0;
        output = (output ^ (output >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        output = (output ^ (output >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        output ^ (output >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// One of several.
    pub(super) fn of_all<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}
