//! What was sent, as far as it is kept.

use alloc::collections::VecDeque;

/// How much is kept.
const KEPT: usize = 64 << 10;

/// The last bytes that were sent, by position.
#[derive(Clone, Debug, Default)]
pub(super) struct Transcript {
    bytes: VecDeque<u8>,
    /// Position of the first byte that is kept.
    start: u64,
}

/// A part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Bytes.
    pub(super) length: usize,
    /// Position of what follows.
    pub(super) next: u64,
    /// Bytes before it that are not kept any more.
    pub(super) lost: u64,
}

impl Transcript {
    /// Position of the next byte to be sent.
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// How many bytes can be added before one is forgotten that lies at `reader` or behind.
    pub(super) fn room_for(&self, reader: u64) -> usize {
        let waiting = self.end().saturating_sub(reader.max(self.start));
        KEPT.saturating_sub(usize::try_from(waiting).unwrap_or(KEPT))
    }

    /// Adds bytes. The oldest ones are forgotten.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let excess = (self.bytes.len() + bytes.len()).saturating_sub(KEPT);
        // Room is made first, so that no more is ever taken of the heap.
        let forgotten = excess.min(self.bytes.len());
        self.bytes.drain(..forgotten);
        self.bytes.extend(&bytes[excess - forgotten..]);
        self.start += excess as u64;
    }

    /// Forgets everything: what follows is somebody else's.
    pub(super) fn forget(&mut self) {
        self.start = self.end();
        self.bytes.clear();
    }

    /// Fills `into` from a position on. One behind the end is the end.
    pub(super) fn read(&self, from: u64, into: &mut [u8]) -> Part {
        let first = from.clamp(self.start, self.end());
        let lost = self.start.saturating_sub(from);
        let skipped = (first - self.start) as usize;
        let length = into.len().min(self.bytes.len() - skipped);
        for (place, byte) in into.iter_mut().zip(self.bytes.range(skipped..skipped + length)) {
            *place = *byte;
        }
        Part { length, next: first + length as u64, lost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_gets_every_byte_in_its_order() {
        let mut transcript = Transcript::default();
        transcript.add(b"hello");
        let mut bytes = [0; 3];
        assert_eq!(transcript.read(0, &mut bytes), Part { length: 3, next: 3, lost: 0 });
        assert_eq!(transcript.read(3, &mut bytes), Part { length: 2, next: 5, lost: 0 });
        assert_eq!(&bytes[..2], b"lo");
        assert_eq!(transcript.read(99, &mut bytes), Part { length: 0, next: 5, lost: 0 });
    }

    #[test]
    fn whoever_comes_late_is_told_how_much_is_gone() {
        let mut transcript = Transcript::default();
        transcript.add(&[b'a'; KEPT]);
        assert_eq!(transcript.room_for(0), 0);
        assert_eq!(transcript.room_for(100), 100);
        transcript.add(b"bcd");
        assert!(transcript.bytes.capacity() <= KEPT, "it takes no more of the heap than it keeps");
        let mut bytes = [0; 2];
        assert_eq!(transcript.read(1, &mut bytes), Part { length: 2, next: 5, lost: 2 });
        assert_eq!(transcript.room_for(u64::MAX), KEPT);
        transcript.forget();
        transcript.add(b"e");
        assert_eq!(transcript.read(5, &mut bytes), Part { length: 1, next: KEPT as u64 + 4, lost: KEPT as u64 - 2 });
    }
}
