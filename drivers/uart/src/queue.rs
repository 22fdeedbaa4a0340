//! Bytes on their way, in order and of a bounded number.

use alloc::collections::VecDeque;

/// A queue of at most `limit` bytes.
#[derive(Debug)]
pub struct Queue {
    bytes: VecDeque<u8>,
    limit: usize,
}

impl Queue {
    /// An empty queue.
    pub fn new(limit: usize) -> Self {
        Self { bytes: VecDeque::with_capacity(limit), limit }
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many more fit.
    pub fn room(&self) -> usize {
        self.limit - self.bytes.len()
    }

    /// Appends as many of the bytes as fit, and says how many.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        self.bytes.extend(&bytes[..count]);
        count
    }

    /// Takes the oldest byte.
    pub fn pop(&mut self) -> Option<u8> {
        self.bytes.pop_front()
    }

    /// Copies the oldest bytes, as many as fit, without taking them.
    pub fn peek(&self, bytes: &mut [u8]) -> usize {
        let count = bytes.len().min(self.len());
        for (place, byte) in bytes.iter_mut().zip(&self.bytes) {
            *place = *byte;
        }
        count
    }

    /// Drops the oldest `count` bytes.
    pub fn drop_first(&mut self, count: usize) {
        self.bytes.drain(..count.min(self.bytes.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_and_no_more_go_in_than_fit() {
        let mut queue = Queue::new(4);
        assert_eq!(queue.push(b"abcdef"), 4);
        assert_eq!((queue.pop(), queue.room()), (Some(b'a'), 1));
        assert_eq!(queue.push(b"xy"), 1);
        let mut seen = [0; 8];
        assert_eq!(queue.peek(&mut seen), 4);
        assert_eq!(&seen[..4], b"bcdx");
        queue.drop_first(3);
        assert_eq!((queue.pop(), queue.pop()), (Some(b'x'), None));
        queue.drop_first(3);
        assert!(queue.is_empty());
    }
}
