//! Access to physical memory.

use abi::boot::{BootInfo, Extent};

/// Physical memory below the limit that the loader can address.
///
/// Addresses come from the firmware and from files, so every access is checked: `None` means that the extent, or a part
/// of it, is out of reach or belongs to the loader itself.
pub trait PhysicalMemory {
    /// First physical address that is out of reach.
    fn limit(&self) -> u64;

    /// The bytes of an extent.
    fn bytes(&self, extent: Extent) -> Option<&[u8]>;

    /// The bytes of an extent, to be changed.
    fn bytes_mut(&mut self, extent: Extent) -> Option<&mut [u8]>;

    /// Copies `from` to the memory that starts at `to`; the two must not overlap.
    fn copy(&mut self, from: Extent, to: u64) -> Option<()>;

    /// Writes the boot information to `at`, which is a multiple of the page size.
    fn store(&mut self, at: u64, info: &BootInfo) -> Option<()>;
}

/// The eight bytes at `at`.
pub fn read_u64(memory: &impl PhysicalMemory, at: u64) -> Option<u64> {
    let bytes = memory.bytes(Extent { start: at, len: 8 })?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// Changes the eight bytes at `at`.
pub fn write_u64(memory: &mut impl PhysicalMemory, at: u64, value: u64) -> Option<()> {
    let bytes = memory.bytes_mut(Extent { start: at, len: 8 })?;
    bytes.copy_from_slice(&value.to_le_bytes());
    Some(())
}
