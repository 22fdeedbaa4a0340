//! IOMMUs and the memory that the firmware keeps for devices behind them.

use super::{Extent, Registers};
use crate::PAGE_SIZE;
use crate::device::SourceId;

/// Most IOMMUs.
pub const IOMMUS_MAX: usize = 8;
/// Most pages of registers that are mapped of one IOMMU.
pub const IOMMU_PAGES_MAX: u32 = 8;
/// Most pieces of memory that the firmware has reserved for devices.
pub const DEVICE_REGIONS_MAX: usize = 16;

/// How an IOMMU is programmed.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IommuKind {
    /// Intel Virtualization Technology for Directed I/O.
    IntelVtd = 1,
    /// AMD I/O Virtualization Technology.
    AmdVi = 2,
}

/// An IOMMU of PCI segment group 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Iommu {
    /// How it is programmed.
    pub kind: IommuKind,
    /// AMD: the PCI function as which it appears itself. Intel: zero.
    pub source: SourceId,
    /// AMD: where in this function's configuration space its capability block begins. Intel: zero.
    pub capability_offset: u16,
    /// Its registers, from a page boundary on.
    pub registers: Registers,
    /// Pages of registers that are mapped, one after the other, 1 to [`IOMMU_PAGES_MAX`]. Offsets that the registers
    /// themselves name may lie beyond.
    pub pages: u32,
    /// Flags as the firmware's table has them: of a DRHD (Intel Virtualization Technology for Directed I/O
    /// Specification 4.1, 8.3) or of the first IVHD block that describes it (AMD I/O Virtualization Technology
    /// Specification 3.08, 5.2).
    pub flags: u32,
}

impl Iommu {
    /// An unused entry.
    pub const NONE: Self = Self {
        kind: IommuKind::IntelVtd,
        source: SourceId::FIRST,
        capability_offset: 0,
        registers: Registers::NONE,
        pages: 0,
        flags: 0,
    };

    /// The physical memory of the registers that are mapped.
    pub const fn extent(&self) -> Extent {
        Extent { start: self.registers.phys, len: self.pages as u64 * PAGE_SIZE }
    }
}

/// Memory that the firmware has reserved for devices, which they may use at any time: it must stay mapped for them, to
/// the same addresses. It is not RAM of the memory map.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRegion {
    /// The first device that may use it.
    pub source: SourceId,
    /// The last one: it is for all from `source` to this one, often the same.
    pub last: SourceId,
    /// Always zero.
    pub reserved: u32,
    /// Where it lies, in whole pages.
    pub extent: Extent,
}

impl DeviceRegion {
    /// An unused entry.
    pub const NONE: Self =
        Self { source: SourceId::FIRST, last: SourceId::FIRST, reserved: 0, extent: Extent { start: 0, len: 0 } };

    /// Whether it is reserved for this device, among others.
    pub const fn is_for(&self, source: SourceId) -> bool {
        self.source.0 <= source.0 && source.0 <= self.last.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_region_is_for_every_device_from_the_first_to_the_last() {
        let region = DeviceRegion { source: SourceId(8), last: SourceId(10), ..DeviceRegion::NONE };
        let devices = [7, 8, 9, 10, 11].map(|source| region.is_for(SourceId(source)));
        assert_eq!(devices, [false, true, true, true, false]);
    }
}
