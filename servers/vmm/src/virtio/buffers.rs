//! Memory that a driver has put into a chain.

use crate::memory::{GuestMemory, OutsideMemory};
use alloc::vec::Vec;

/// A piece of the guest's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Guest-physical address.
    pub address: u64,
    /// Bytes.
    pub length: u32,
}

/// Pieces of the guest's memory that are one run of bytes to a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buffers(Vec<Segment>);

impl Buffers {
    /// Appends a piece.
    pub(super) fn push(&mut self, segment: Segment) {
        self.0.push(segment);
    }

    /// Bytes in all of them.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.0.iter().map(|segment| u64::from(segment.length)).sum()
    }

    /// The pieces, in their order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Fills `into` with what begins `offset` bytes inside. Returns how many bytes there were.
    ///
    /// # Errors
    /// If a piece does not lie in the guest's memory.
    pub fn read(&self, memory: &dyn GuestMemory, offset: u64, into: &mut [u8]) -> Result<usize, OutsideMemory> {
        let mut done = 0;
        for (address, length) in self.pieces(offset, into.len()) {
            memory.read(address, &mut into[done..done + length])?;
            done += length;
        }
        Ok(done)
    }

    /// Writes `bytes` from `offset` bytes inside on. Returns how many bytes there was room for.
    ///
    /// # Errors
    /// If a piece does not lie in the guest's memory.
    pub fn write(&self, memory: &mut dyn GuestMemory, offset: u64, bytes: &[u8]) -> Result<usize, OutsideMemory> {
        let mut done = 0;
        for (address, length) in self.pieces(offset, bytes.len()) {
            memory.write(address, &bytes[done..done + length])?;
            done += length;
        }
        Ok(done)
    }

    /// Addresses and lengths of what `length` bytes from `offset` on consist of.
    fn pieces(&self, offset: u64, length: usize) -> impl Iterator<Item = (u64, usize)> {
        let (mut skip, mut left) = (offset, length);
        self.0.iter().filter_map(move |segment| {
            let whole = u64::from(segment.length);
            let skipped = skip.min(whole);
            skip -= skipped;
            let length = usize::try_from(whole - skipped).unwrap_or(usize::MAX).min(left);
            left -= length;
            (length > 0).then(|| (segment.address.wrapping_add(skipped), length))
        })
    }
}
