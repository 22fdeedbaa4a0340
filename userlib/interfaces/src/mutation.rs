//! Changes to the code of a running domain, as the supervisor takes them from whoever the manifest grants `debug`.
//!
//! A list of them travels as bytes: of each the address (eight, the least first), when it is made (one: 0 at once, 1 when it is
//! reached), how many bytes there are (one), and those.

use alloc::vec::Vec;

/// Most bytes that one changes when it is reached: those of the longest instruction (Intel SDM volume 2, 2.3.11).
pub const REACHED_MAX: usize = 15;
/// Most bytes that one changes at once.
pub const BYTES_MAX: usize = u8::MAX as usize;
/// Most of them at a time.
pub const MUTATIONS_MAX: usize = 640;
/// Most bytes of a list.
pub const LIST_MAX: usize = 48 << 10;

/// When a change is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At once: for instructions that nothing leads to yet.
    AtOnce,
    /// When a thread comes to its first byte for the first time, in whose place an instruction stands until then that faults.
    Reached,
}

/// A change of instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// The address of the first byte.
    pub address: u64,
    /// What takes the place of what is there: at least a byte, and at most [`BYTES_MAX`] or [`REACHED_MAX`] of them.
    pub bytes: Vec<u8>,
    /// When.
    pub when: When,
}

impl Mutation {
    /// Whether it makes sense, wherever the code lies.
    fn is_sound(&self) -> bool {
        let most = match self.when {
            When::AtOnce => BYTES_MAX,
            When::Reached => REACHED_MAX,
        };
        (1..=most).contains(&self.bytes.len()) && self.address.checked_add(BYTES_MAX as u64).is_some()
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
        bytes.push(match mutation.when {
            When::AtOnce => 0,
            When::Reached => 1,
        });
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
        let ([when, length], rest) = rest.split_first_chunk::<2>()?;
        let when = match when {
            0 => When::AtOnce,
            1 => When::Reached,
            _ => return None,
        };
        let (new, rest) = rest.split_at_checked((*length).into())?;
        let mutation = Mutation { address: u64::from_le_bytes(*address), bytes: new.to_vec(), when };
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

    fn reached(address: u64, bytes: &[u8]) -> Mutation {
        Mutation { address, bytes: bytes.to_vec(), when: When::Reached }
    }

    fn at_once(address: u64, bytes: &[u8]) -> Mutation {
        Mutation { when: When::AtOnce, ..reached(address, bytes) }
    }

    #[test]
    fn a_list_comes_back_as_it_was() {
        let list =
            vec![reached(0x20_1000, &[0x90; 15]), reached(0x20_0fff, &[0xcc]), at_once(0x30_0000, &[0xc3; BYTES_MAX])];
        assert_eq!(decode(&encode(&list)), Some(list));
        assert_eq!(decode(&[]), Some(vec![]));
    }

    #[test]
    fn what_is_no_list_is_none() {
        let good = encode(&[reached(0x1000, &[1, 2])]);
        for short in 1..good.len() {
            assert_eq!(decode(&good[..short]), None);
        }
        let mut of_no_time = good;
        of_no_time[8] = 2;
        assert_eq!(decode(&of_no_time), None);
        for bad in
            [reached(0x1000, &[]), at_once(0x1000, &[]), reached(0x1000, &[0; 16]), reached(u64::MAX - 3, &[0; 2])]
        {
            assert_eq!(decode(&encode(&[bad])), None);
        }
    }

    #[test]
    fn no_byte_is_changed_by_two() {
        let overlapping = [reached(0x1004, &[0]), at_once(0x1000, &[0; 5])];
        assert_eq!(decode(&encode(&overlapping)), None);
        let many: Vec<_> = (0..=MUTATIONS_MAX as u64).map(|number| reached(number, &[0])).collect();
        assert_eq!(decode(&encode(&many)), None);
        assert!(decode(&encode(&many[1..])).is_some());
    }
}
