//! Changes to the code of a running domain, as the supervisor takes them from whoever the manifest grants `debug`.
//!
//! A list of them travels as bytes: of each the address (eight, the least first), how many bytes there are (one), and those.

use alloc::vec::Vec;

/// Most bytes that one changes: those of the longest instruction (Intel SDM volume 2, 2.3.11).
pub const BYTES_MAX: usize = 15;
/// Most of them at a time.
pub const MUTATIONS_MAX: usize = 256;
/// Most bytes of a list.
pub const LIST_MAX: usize = MUTATIONS_MAX * (BYTES_BEFORE + BYTES_MAX);
/// Bytes of one before those that it puts in place.
const BYTES_BEFORE: usize = 9;

/// A change of one instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// The address of the instruction's first byte.
    pub address: u64,
    /// What takes the place of its bytes, from 1 to [`BYTES_MAX`].
    pub bytes: Vec<u8>,
}

impl Mutation {
    /// Whether it makes sense, wherever the code lies.
    fn is_sound(&self) -> bool {
        (1..=BYTES_MAX).contains(&self.bytes.len()) && self.address.checked_add(BYTES_MAX as u64).is_some()
    }

    /// The addresses that it changes.
    pub fn range(&self) -> core::ops::Range<u64> {
        self.address..self.address + self.bytes.len() as u64
    }
}

/// A list as bytes.
pub fn encode(list: &[Mutation]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for mutation in list {
        bytes.extend(mutation.address.to_le_bytes());
        bytes.push(mutation.bytes.len() as u8);
        bytes.extend(&mutation.bytes);
    }
    bytes
}

/// The list that bytes stand for; `None` if they stand for none, if two change the same byte, or if they are too many.
pub fn decode(mut bytes: &[u8]) -> Option<Vec<Mutation>> {
    let mut list = Vec::new();
    while !bytes.is_empty() {
        let (address, rest) = bytes.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first()?;
        let (new, rest) = rest.split_at_checked((*length).into())?;
        let mutation = Mutation { address: u64::from_le_bytes(*address), bytes: new.to_vec() };
        if !mutation.is_sound() || list.len() == MUTATIONS_MAX {
            return None;
        }
        list.push(mutation);
        bytes = rest;
    }
    let mut sorted: Vec<_> = list.iter().map(Mutation::range).collect();
    sorted.sort_by_key(|range| range.start);
    sorted.is_sorted_by(|one, next| one.end <= next.start).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn mutation(address: u64, bytes: &[u8]) -> Mutation {
        Mutation { address, bytes: bytes.to_vec() }
    }

    #[test]
    fn a_list_comes_back_as_it_was() {
        let list = vec![mutation(0x20_1000, &[0x90; 15]), mutation(0x20_0fff, &[0xcc])];
        assert_eq!(decode(&encode(&list)), Some(list));
        assert_eq!(decode(&[]), Some(vec![]));
    }

    #[test]
    fn what_is_no_list_is_none() {
        let good = encode(&[mutation(0x1000, &[1, 2])]);
        for short in 1..good.len() {
            assert_eq!(decode(&good[..short]), None);
        }
        for bad in [mutation(0x1000, &[]), mutation(0x1000, &[0; 16]), mutation(u64::MAX - 3, &[0; 2])] {
            assert_eq!(decode(&encode(&[bad])), None);
        }
    }

    #[test]
    fn no_byte_is_changed_by_two() {
        let overlapping = [mutation(0x1004, &[0]), mutation(0x1000, &[0; 5])];
        assert_eq!(decode(&encode(&overlapping)), None);
        let many: Vec<_> = (0..=MUTATIONS_MAX as u64).map(|number| mutation(number, &[0])).collect();
        assert_eq!(decode(&encode(&many)), None);
        assert!(decode(&encode(&many[1..])).is_some());
    }
}
