//! Records of deaths: what was known of a domain when it died, as bytes that fit into a message's lease and into a file.
//!
//! | bytes | contents |
//! | --- | --- |
//! | 0 to 7 | magic |
//! | 8 to 15 | FNV-1a (64 bits) of all bytes behind |
//! | 16 to 23 | number of the death since the supervisor's start, from 1 on |
//! | 24 to 31 | when, in nanoseconds since boot |
//! | 32 to 35 | number of the life that ended, from 0 on |
//! | 36 to 43 | lengths: name (8 bits), cause (16), registers (8), frames (8), messages (8) |
//! | behind | name, cause, and words of 8 bytes: registers, return addresses, two for each message |
//!
//! All numbers have the least significant byte first.

use alloc::string::String;
use alloc::vec::Vec;
use userlib::message_log::{self, Message};

use crate::supervision::NAME_MAX;

/// "BULKCRSH" in little-endian bytes.
pub const MAGIC: u64 = u64::from_le_bytes(*b"BULKCRSH");
/// Most bytes of a cause; what is longer is cut.
pub const CAUSE_MAX: usize = 640;
/// Most addresses of a backtrace.
pub const FRAMES_MAX: usize = 32;
/// Registers of a record: those of [`REGISTER_NAMES`].
pub const REGISTERS: usize = REGISTER_NAMES.len();
/// Most bytes of a record.
pub const RECORD_MAX: usize = HEADER + NAME_MAX + CAUSE_MAX + 8 * (REGISTERS + FRAMES_MAX + 2 * message_log::CAPACITY);

/// The registers of a record, in their order.
pub const REGISTER_NAMES: [&str; 18] = [
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
    "rip", "flags",
];

const HEADER: usize = 44;
const SUMMED: usize = 16;

/// What was known of a domain when it died.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrashRecord {
    /// Number of the death since the supervisor's start, from 1 on.
    pub number: u64,
    /// When it died, in nanoseconds since boot.
    pub time: u64,
    /// Which of its lives that was, from 0 on.
    pub instance: u32,
    /// Its name.
    pub domain: String,
    /// Why it died, for people.
    pub cause: String,
    /// Registers of its first thread, if that did not run on another processor at that moment.
    pub registers: Option<[u64; REGISTERS]>,
    /// Where it was, and from where that was called, the innermost first. All but the first are return addresses.
    pub frames: Vec<u64>,
    /// The last messages, the oldest first.
    pub messages: Vec<Message>,
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// What is left of bytes that are read piece by piece.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number<const N: usize>(&mut self) -> Option<u64> {
        let mut word = [0; 8];
        word[..N].copy_from_slice(self.bytes(N)?);
        Some(u64::from_le_bytes(word))
    }

    fn words(&mut self, count: usize) -> Option<Vec<u64>> {
        (0..count).map(|_| self.number::<8>()).collect()
    }

    fn text(&mut self, count: usize) -> Option<String> {
        Some(String::from_utf8_lossy(self.bytes(count)?).into_owned())
    }
}

impl CrashRecord {
    /// Its bytes, at most [`RECORD_MAX`]: what is too long is cut.
    pub fn encode(&self) -> Vec<u8> {
        let domain = &self.domain[..self.domain.floor_char_boundary(NAME_MAX)];
        let cause = &self.cause[..self.cause.floor_char_boundary(CAUSE_MAX)];
        let frames = &self.frames[..self.frames.len().min(FRAMES_MAX)];
        let messages = &self.messages[self.messages.len().saturating_sub(message_log::CAPACITY)..];
        let registers = self.registers.as_ref().map_or(&[][..], |registers| registers);
        let lengths = domain.len() as u64
            | (cause.len() as u64) << 8
            | (registers.len() as u64) << 24
            | (frames.len() as u64) << 32
            | (messages.len() as u64) << 40;
        let mut bytes = Vec::with_capacity(RECORD_MAX);
        for word in [MAGIC, 0, self.number, self.time] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(self.instance.to_le_bytes());
        bytes.extend(lengths.to_le_bytes());
        bytes.extend(domain.as_bytes());
        bytes.extend(cause.as_bytes());
        let words = registers.iter().chain(frames).copied();
        for word in words.chain(messages.iter().flat_map(|message| message.to_words())) {
            bytes.extend(word.to_le_bytes());
        }
        let sum = sum(&bytes[SUMMED..]);
        bytes[8..SUMMED].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The record at the start of bytes, whoever has written them; `None` if there is none or it was damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Input(bytes);
        let (magic, expected) = (input.number::<8>()?, input.number::<8>()?);
        let (number, time) = (input.number::<8>()?, input.number::<8>()?);
        let instance = input.number::<4>()? as u32;
        let lengths = input.number::<8>()?;
        let length = |shift: u32, bits: u32| (lengths >> shift & ((1 << bits) - 1)) as usize;
        let domain = input.text(length(0, 8))?;
        let cause = input.text(length(8, 16))?;
        let registers = match length(24, 8) {
            0 => None,
            count => Some(<[u64; REGISTERS]>::try_from(input.words(count)?).ok()?),
        };
        let frames = input.words(length(32, 8))?;
        let messages = input.words(2 * length(40, 8))?;
        let used = bytes.len() - input.0.len();
        if magic != MAGIC || used > RECORD_MAX || sum(bytes.get(SUMMED..used)?) != expected {
            return None;
        }
        let messages = messages.chunks_exact(2).filter_map(|words| Message::from_words([words[0], words[1]])).collect();
        Some(Self { number, time, instance, domain, cause, registers, frames, messages })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use proptest::prelude::*;
    use userlib::abi::Error;
    use userlib::message_log::{Direction, Outcome};

    fn record() -> CrashRecord {
        CrashRecord {
            number: 7,
            time: 12_345_678,
            instance: 3,
            domain: "virtio-blk".to_string(),
            cause: "wrote at 0xdeadbeef000, at 0x212dce".to_string(),
            registers: Some(core::array::from_fn(|number| number as u64 * 3)),
            frames: vec![0x21_2dce, 0x20_1234],
            messages: vec![Message {
                direction: Direction::Called,
                label: 5,
                peer: 9,
                outcome: Outcome::Error(Error::PeerDied),
            }],
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        assert_eq!(CrashRecord::decode(&record().encode()), Some(record()));
        let bare = CrashRecord { registers: None, frames: vec![], messages: vec![], ..record() };
        assert_eq!(CrashRecord::decode(&bare.encode()), Some(bare));
    }

    #[test]
    fn what_is_too_long_is_cut_and_the_rest_is_read() {
        let long = CrashRecord {
            cause: "ä".repeat(CAUSE_MAX),
            frames: vec![1; 500],
            messages: record().messages.repeat(300),
            ..record()
        };
        let bytes = long.encode();
        assert!(bytes.len() <= RECORD_MAX, "{}", bytes.len());
        let read = CrashRecord::decode(&bytes).unwrap();
        assert_eq!((read.cause.len(), read.frames.len()), (CAUSE_MAX, FRAMES_MAX));
        assert_eq!(read.messages.len(), message_log::CAPACITY);
    }

    #[test]
    fn a_record_of_which_any_bit_was_changed_is_none() {
        let bytes = record().encode();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(CrashRecord::decode(&changed), None, "bit {bit}");
        }
        assert_eq!(CrashRecord::decode(&bytes[..bytes.len() - 1]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_as_some_record_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut begun = MAGIC.to_le_bytes().to_vec();
            begun.extend(&bytes);
            let _ = CrashRecord::decode(&bytes);
            let _ = CrashRecord::decode(&begun);
        }
    }
}
