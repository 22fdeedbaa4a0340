//! Contents that look random and can be made again: what `fill` writes.
//!
//! The bytes are the outputs of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
//! 2014), begun with the seed, each as eight bytes in little-endian order. So anybody can compute what a file holds.

/// The bytes of a seed.
#[derive(Clone, Debug)]
pub struct Pattern {
    state: u64,
    /// The rest of a number of which not all bytes were used.
    left: [u8; 8],
    used: usize,
}

impl Pattern {
    /// The bytes of `seed`, from the first on.
    pub fn new(seed: u64) -> Self {
        Self { state: seed, left: [0; 8], used: 8 }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Writes the next bytes.
    pub fn fill(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            if self.used == 8 {
                self.left = self.next().to_le_bytes();
                self.used = 0;
            }
            let count = bytes.len().min(8 - self.used);
            let (now, rest) = bytes.split_at_mut(count);
            now.copy_from_slice(&self.left[self.used..self.used + count]);
            self.used += count;
            bytes = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_published_generator() {
        let mut bytes = [0; 24];
        Pattern::new(1_234_567).fill(&mut bytes);
        let expected: [u64; 3] = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        let expected: alloc::vec::Vec<u8> = expected.iter().flat_map(|number| number.to_le_bytes()).collect();
        assert_eq!(bytes, expected.as_slice());
    }

    #[test]
    fn the_pieces_do_not_matter() {
        let mut whole = [0; 100];
        Pattern::new(7).fill(&mut whole);
        let mut pieces = [0; 100];
        let mut pattern = Pattern::new(7);
        for piece in pieces.chunks_mut(7) {
            pattern.fill(piece);
        }
        assert_eq!(whole, pieces);
    }
}
