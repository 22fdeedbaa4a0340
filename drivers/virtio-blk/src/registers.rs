//! Device registers.

/// Access to a structure of registers. Offsets are multiples of the width; outside of the structure reads give all ones
/// and writes are lost.
pub trait Registers {
    /// Bytes.
    fn length(&self) -> usize;
    /// Reads 8 bits.
    fn read8(&self, offset: usize) -> u8;
    /// Reads 16 bits.
    fn read16(&self, offset: usize) -> u16;
    /// Reads 32 bits.
    fn read32(&self, offset: usize) -> u32;
    /// Writes 8 bits.
    fn write8(&self, offset: usize, value: u8);
    /// Writes 16 bits.
    fn write16(&self, offset: usize, value: u16);
    /// Writes 32 bits.
    fn write32(&self, offset: usize, value: u32);
}
