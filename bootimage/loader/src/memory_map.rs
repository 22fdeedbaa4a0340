//! The memory map: from what the firmware says to what the kernel gets, and the loader's own allocations in it.

use crate::error::LoadError;
use abi::PAGE_SIZE;
use abi::boot::{Extent, List, RAM_END_MAX, REGIONS_MAX, Region, RegionKind};

/// RAM below this address is kept out of general use (1 MiB).
const LOW_MEMORY_END: u64 = 1 << 20;

/// What the firmware says about a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirmwareKind {
    /// RAM for general use.
    Ram,
    /// ACPI tables.
    AcpiReclaim,
    /// RAM of the firmware.
    AcpiNvs,
    /// Anything else.
    Reserved,
}

/// A region as the firmware describes it: of any alignment, in any order, possibly overlapping others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirmwareRegion {
    /// Where it lies.
    pub extent: Extent,
    /// What it is.
    pub kind: FirmwareKind,
}

/// Regions of physical memory: sorted, page aligned, without overlap, neighbours of different kinds.
#[derive(Clone, Debug)]
pub struct MemoryMap {
    regions: List<Region, REGIONS_MAX>,
}

impl MemoryMap {
    /// A map without regions.
    pub const EMPTY: Self = Self { regions: List::new(Region::new(0, 0, RegionKind::Reserved)) };

    /// The map that the firmware's regions make. Where they overlap, what is not RAM wins; a page that is only partly
    /// RAM is not RAM.
    ///
    /// # Errors
    /// If there is no RAM above 1 MiB, or there are more regions than the kernel takes.
    pub fn from_firmware(regions: impl Iterator<Item = FirmwareRegion> + Clone) -> Result<Self, LoadError> {
        let mut map = Self::EMPTY;
        let order = [
            (FirmwareKind::Ram, RegionKind::Free),
            (FirmwareKind::AcpiReclaim, RegionKind::AcpiReclaim),
            (FirmwareKind::AcpiNvs, RegionKind::AcpiNvs),
            (FirmwareKind::Reserved, RegionKind::Reserved),
        ];
        for (wanted, kind) in order {
            for region in regions.clone().filter(|region| region.kind == wanted) {
                let extent = if wanted == FirmwareKind::Ram {
                    pages_within(region.extent)
                } else {
                    pages_touched(region.extent)
                };
                map.assign(extent, kind)?;
            }
        }
        map.restrict(&[RegionKind::Free], Extent::between(0, LOW_MEMORY_END), RegionKind::LowMemory)?;
        map.restrict(&[RegionKind::Free], Extent::between(RAM_END_MAX, u64::MAX), RegionKind::Reserved)?;
        if map.largest_free() == 0 {
            return Err(LoadError::NoMemory);
        }
        Ok(map)
    }

    /// The regions in ascending order.
    pub fn regions(&self) -> &[Region] {
        self.regions.as_slice()
    }

    /// The regions as the kernel gets them.
    pub fn list(&self) -> List<Region, REGIONS_MAX> {
        self.regions
    }

    /// Bytes of the RAM that the kernel manages.
    pub fn ram(&self) -> u64 {
        let regions = self.regions().iter().filter(|region| region.kind.is_managed_ram());
        regions.map(|region| region.extent.len).sum()
    }

    /// First address after the RAM that the kernel manages.
    pub fn ram_end(&self) -> u64 {
        self.regions()
            .iter()
            .filter(|region| region.kind.is_managed_ram())
            .map(|region| region.extent.end())
            .max()
            .unwrap_or(0)
    }

    /// Whether all of an extent is free.
    pub fn is_free(&self, extent: Extent) -> bool {
        self.regions().iter().any(|region| region.kind == RegionKind::Free && region.extent.contains(&extent))
    }

    /// Makes an extent, of whole pages, a region of `kind`, whatever was there before.
    ///
    /// # Errors
    /// If there are then more regions than the kernel takes; the map is unchanged.
    pub fn assign(&mut self, extent: Extent, kind: RegionKind) -> Result<(), LoadError> {
        if extent.len == 0 {
            return Ok(());
        }
        let mut next = Self::EMPTY;
        let mut placed = false;
        for region in self.regions() {
            let (start, end) = (region.extent.start, region.extent.end());
            next.append(start, end.min(extent.start), region.kind)?;
            if !placed && end > extent.start {
                next.append(extent.start, extent.end(), kind)?;
                placed = true;
            }
            next.append(start.max(extent.end()), end, region.kind)?;
        }
        if !placed {
            next.append(extent.start, extent.end(), kind)?;
        }
        *self = next;
        Ok(())
    }

    /// Takes RAM out of use that devices use on behalf of the firmware, which should have said so in its map.
    ///
    /// # Errors
    /// If there are then more regions than the kernel takes.
    pub fn reserve(&mut self, extent: Extent) -> Result<(), LoadError> {
        self.restrict(&[RegionKind::Free, RegionKind::LowMemory], pages_touched(extent), RegionKind::Reserved)
    }

    /// Takes `len` bytes, rounded up to pages, from the highest free region that ends below `limit` and has them.
    ///
    /// # Errors
    /// If there is no such region.
    pub fn allocate(
        &mut self,
        what: &'static str,
        len: u64,
        kind: RegionKind,
        limit: u64,
    ) -> Result<Extent, LoadError> {
        let refused = LoadError::OutOfMemory { what, len };
        let len = len.checked_next_multiple_of(PAGE_SIZE).ok_or(refused)?;
        let extent = self
            .regions()
            .iter()
            .rev()
            .filter(|region| region.kind == RegionKind::Free)
            .map(|region| Extent::between(region.extent.start, region.extent.end().min(limit)))
            .find(|room| room.len >= len)
            .map(|room| Extent { start: room.end() - len, len })
            .ok_or(refused)?;
        self.assign(extent, kind)?;
        Ok(extent)
    }

    /// Turns what is of one of the kinds `from` within `within` into `kind`.
    fn restrict(&mut self, from: &[RegionKind], within: Extent, kind: RegionKind) -> Result<(), LoadError> {
        let before = self.clone();
        for region in before.regions() {
            if from.contains(&region.kind) && region.extent.overlaps(&within) {
                let start = region.extent.start.max(within.start);
                let end = region.extent.end().min(within.end());
                self.assign(Extent::between(start, end), kind)?;
            }
        }
        Ok(())
    }

    fn largest_free(&self) -> u64 {
        self.regions()
            .iter()
            .filter(|region| region.kind == RegionKind::Free)
            .map(|region| region.extent.len)
            .max()
            .unwrap_or(0)
    }

    /// Adds a region after all others, or makes the last one longer if it is of the same kind and touches.
    fn append(&mut self, start: u64, end: u64, kind: RegionKind) -> Result<(), LoadError> {
        if start >= end {
            return Ok(());
        }
        if let Some(last) = self.regions.as_mut_slice().last_mut()
            && last.kind == kind
            && last.extent.end() == start
        {
            last.extent.len = end - last.extent.start;
            return Ok(());
        }
        self.regions.push(Region::new(start, end, kind)).map_err(|_| LoadError::TooManyRegions)
    }
}

/// The whole pages in an extent.
fn pages_within(extent: Extent) -> Extent {
    let end = extent.end() & !(PAGE_SIZE - 1);
    match extent.start.checked_next_multiple_of(PAGE_SIZE) {
        Some(start) => Extent::between(start, end),
        None => Extent::default(),
    }
}

/// All pages of which an extent has a part.
fn pages_touched(extent: Extent) -> Extent {
    if extent.len == 0 {
        return Extent::default();
    }
    let start = extent.start & !(PAGE_SIZE - 1);
    // The last page of the address space has no end that could be written down.
    let last = !(PAGE_SIZE - 1);
    let end = extent.end().checked_next_multiple_of(PAGE_SIZE).unwrap_or(last);
    Extent::between(start, end)
}

#[cfg(test)]
mod tests;
