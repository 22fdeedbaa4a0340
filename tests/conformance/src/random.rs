//! Random numbers that are the same ones each time.

/// Marsaglia's xorshift, from a seed.
#[derive(Clone, Copy)]
pub(crate) struct Random(u64);

impl Random {
    /// Any seed will do, but those that differ little should not begin alike.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.next();
        random
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit.max(1)
    }

    /// Whether something happens that happens once in so many times.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of these, or 0 if there is none.
    pub(crate) fn one_of(&mut self, numbers: &[u64]) -> u64 {
        numbers.get(self.below(numbers.len() as u64) as usize).copied().unwrap_or(0)
    }
}
