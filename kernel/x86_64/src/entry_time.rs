//! How long the kernel keeps a processor, by what it was entered for.

use abi::syscall::{ENTRY_KINDS, EntryKind};

/// The longest entries by [`EntryKind`], in ticks of the time-stamp counter, from the first instruction of Rust to the
/// last. What the entry code does before and after, about fifty instructions, is not in it.
pub struct EntryTimes([u32; ENTRY_KINDS]);

impl EntryTimes {
    /// No entries.
    pub const NONE: Self = EntryTimes([0; ENTRY_KINDS]);

    /// Notes an entry.
    pub fn note(&mut self, kind: EntryKind, ticks: u64) {
        let longest = &mut self.0[kind.index() % ENTRY_KINDS];
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
        if ticks > *longest {
            *longest = ticks;
        }
    }

    /// Takes the longer one of each kind.
    pub fn merge(&mut self, other: &EntryTimes) {
        for (longest, ticks) in self.0.iter_mut().zip(other.0) {
            *longest = (*longest).max(ticks);
        }
    }

    /// As they lie in memory: two of 32 bits in a word, the first one in its lower half.
    pub fn words(&self) -> [u64; ENTRY_KINDS / 2] {
        core::array::from_fn(|place| u64::from(self.0[2 * place]) | u64::from(self.0[2 * place + 1]) << 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_longest_entry_of_a_kind_counts() {
        let mut times = EntryTimes::NONE;
        times.note(EntryKind::Timer, 7);
        times.note(EntryKind::Timer, 5);
        times.note(EntryKind::Syscall(1), u64::MAX);
        let words = times.words();
        assert_eq!(words[EntryKind::Timer.index() / 2] >> (32 * (EntryKind::Timer.index() % 2)) & 0xffff_ffff, 7);
        assert_eq!(words[0] >> 32, u64::from(u32::MAX));
    }
}
