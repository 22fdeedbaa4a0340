//! The guest's memory, as far as the models need it.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// An access reached beyond the guest's memory; nothing was read or written by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutsideMemory {
    /// The guest-physical address at which the access begins.
    pub address: u64,
    /// Its length in bytes.
    pub length: u64,
}

impl fmt::Display for OutsideMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, length } = self;
        write!(f, "{length} bytes at guest-physical {address:#x} do not lie in the guest's memory")
    }
}

impl core::error::Error for OutsideMemory {}

/// The guest's memory, by guest-physical address. Who implements it checks every access.
///
/// The guest runs meanwhile and may change what is read at any time: read once, check the copy, use the copy.
pub trait GuestMemory {
    /// Fills `into` from `address`.
    ///
    /// # Errors
    /// If not all of it lies in the guest's memory; `into` then holds nothing of meaning.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), OutsideMemory>;

    /// Writes all of `bytes` to `address`.
    ///
    /// # Errors
    /// If not all of it lies in the guest's memory; nothing is then written.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), OutsideMemory>;

    /// Whether all of these bytes lie in the guest's memory.
    fn contains(&self, address: u64, length: u64) -> bool;

    /// A little-endian value of 16 bits.
    ///
    /// # Errors
    /// As [`GuestMemory::read`].
    fn read_u16(&self, address: u64) -> Result<u16, OutsideMemory> {
        let mut bytes = [0; 2];
        self.read(address, &mut bytes)?;
        Ok(u16::from_le_bytes(bytes))
    }

    /// A little-endian value of 32 bits.
    ///
    /// # Errors
    /// As [`GuestMemory::read`].
    fn read_u32(&self, address: u64) -> Result<u32, OutsideMemory> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// A little-endian value of 64 bits.
    ///
    /// # Errors
    /// As [`GuestMemory::read`].
    fn read_u64(&self, address: u64) -> Result<u64, OutsideMemory> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

/// Guest memory that is a vector, beginning at address 0: for tests, and for building what a guest is to find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatMemory(Vec<u8>);

impl FlatMemory {
    /// Zeroes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(vec![0; bytes])
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn range(&self, address: u64, length: usize) -> Result<core::ops::Range<usize>, OutsideMemory> {
        let outside = OutsideMemory { address, length: length as u64 };
        let start = usize::try_from(address).map_err(|_| outside)?;
        let end = start.checked_add(length).filter(|end| *end <= self.0.len()).ok_or(outside)?;
        Ok(start..end)
    }
}

impl GuestMemory for FlatMemory {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), OutsideMemory> {
        into.copy_from_slice(&self.0[self.range(address, into.len())?]);
        Ok(())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), OutsideMemory> {
        let range = self.range(address, bytes.len())?;
        self.0[range].copy_from_slice(bytes);
        Ok(())
    }

    fn contains(&self, address: u64, length: u64) -> bool {
        address.checked_add(length).is_some_and(|end| end <= self.0.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_beyond_the_end_says_where_and_changes_nothing() {
        let mut memory = FlatMemory::new(16);
        assert_eq!(memory.write(14, &[1, 2, 3]), Err(OutsideMemory { address: 14, length: 3 }));
        assert_eq!(memory.read_u64(u64::MAX - 3), Err(OutsideMemory { address: u64::MAX - 3, length: 8 }));
        assert_eq!(memory.bytes(), [0; 16]);
        assert_eq!(memory.write(13, &[1, 2, 3]), Ok(()));
        assert_eq!(memory.read_u16(14), Ok(0x0302));
    }
}
