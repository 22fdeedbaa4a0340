//! MSI-X (PCI Local Bus specification 3.0, section 6.8.2): a table of messages, one a cause.

use alloc::vec;
use alloc::vec::Vec;

/// Length of an entry of the table.
const ENTRY_BYTES: usize = 16;
const MASKED: u32 = 1;

/// A write to memory that is an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptMessage {
    /// Where.
    pub address: u64,
    /// What.
    pub data: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Vector {
    bytes: [u8; ENTRY_BYTES],
    pending: bool,
}

impl Vector {
    fn word(&self, index: usize) -> u32 {
        let mut word = [0; 4];
        word.copy_from_slice(&self.bytes[index * 4..index * 4 + 4]);
        u32::from_le_bytes(word)
    }
}

/// The table and the pending bits of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Msix {
    vectors: Vec<Vector>,
}

impl Msix {
    /// A table of so many vectors, all masked.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[12] = MASKED as u8;
        Self { vectors: vec![Vector { bytes, pending: false }; count] }
    }

    /// How many vectors there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.vectors.len()
    }

    /// Fills `into` from the table. What is behind its end reads as 0.
    pub fn read_table(&self, offset: usize, into: &mut [u8]) {
        for (index, byte) in into.iter_mut().enumerate() {
            let at = offset + index;
            *byte = self.vectors.get(at / ENTRY_BYTES).map_or(0, |vector| vector.bytes[at % ENTRY_BYTES]);
        }
    }

    /// The guest writes to the table.
    pub fn write_table(&mut self, offset: usize, bytes: &[u8]) {
        for (index, byte) in bytes.iter().enumerate() {
            let at = offset + index;
            if let Some(vector) = self.vectors.get_mut(at / ENTRY_BYTES) {
                vector.bytes[at % ENTRY_BYTES] = *byte;
            }
        }
    }

    /// Fills `into` from the pending bits.
    pub fn read_pending(&self, offset: usize, into: &mut [u8]) {
        for (index, byte) in into.iter_mut().enumerate() {
            let first = (offset + index) * 8;
            let bits = self.vectors.iter().skip(first).take(8).enumerate();
            *byte = bits.map(|(bit, vector)| u8::from(vector.pending) << bit).sum();
        }
    }

    /// The cause of this vector has occurred. A vector that does not exist is none.
    pub fn raise(&mut self, vector: u16) {
        if let Some(vector) = self.vectors.get_mut(usize::from(vector)) {
            vector.pending = true;
        }
    }

    /// Takes a message that is to be sent now: of a vector that is pending and not masked.
    pub fn take_message(&mut self) -> Option<InterruptMessage> {
        let vector = self.vectors.iter_mut().find(|vector| vector.pending && vector.word(3) & MASKED == 0)?;
        vector.pending = false;
        let address = u64::from(vector.word(1)) << 32 | u64::from(vector.word(0));
        Some(InterruptMessage { address, data: vector.word(2) })
    }

    /// Forgets what is pending.
    pub fn clear(&mut self) {
        self.vectors.iter_mut().for_each(|vector| vector.pending = false);
    }
}
