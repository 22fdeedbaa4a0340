//! Which physical memory the root domain gets, and as what.

use abi::boot::{BootInfo, Region, RegionKind};
use abi::root::{Extent, ExtentKind, MAX_EXTENTS};
use abi::{PAGE_SIZE, boot};
use kernel_core::FrameState;

/// No frame number has more bits than this.
const FRAME_BITS: u32 = 32;

/// A bounded list of extents.
pub struct Extents {
    items: [Extent; MAX_EXTENTS],
    used: usize,
    /// How many had no place.
    dropped: usize,
}

impl Extents {
    /// No extents.
    pub const fn new() -> Self {
        let none = Extent { frame: 0, pages: 0, kind: ExtentKind::None as u32, reserved: 0 };
        Extents { items: [none; MAX_EXTENTS], used: 0, dropped: 0 }
    }

    /// Adds the bytes from `start` to `end`, as far as they are whole pages, to the last extent if they continue it.
    pub fn add(&mut self, start: u64, end: u64, kind: ExtentKind) {
        let (frame, frame_end) = (start.div_ceil(PAGE_SIZE), end / PAGE_SIZE);
        if frame >= frame_end {
            return;
        }
        let pages = frame_end - frame;
        if let Some(last) = self.items[..self.used].last_mut()
            && last.kind == kind as u32
            && last.frame + last.pages == frame
            && last.pages + pages <= u64::from(u32::MAX)
        {
            last.pages += pages;
            return;
        }
        match self.items.get_mut(self.used) {
            Some(place) => {
                *place = Extent { frame, pages, kind: kind as u32, reserved: 0 };
                self.used += 1;
            }
            None => self.dropped += 1,
        }
    }

    /// The extents in the order in which they were added.
    pub fn as_slice(&self) -> &[Extent] {
        &self.items[..self.used]
    }

    /// How many extents had no place in the list.
    pub fn dropped(&self) -> usize {
        self.dropped
    }
}

impl Default for Extents {
    fn default() -> Self {
        Self::new()
    }
}

/// Whose a region is once the kernel has started. `None` if it is no RAM that the kernel manages.
pub const fn owner(kind: RegionKind) -> Option<FrameState> {
    match kind {
        RegionKind::Free | RegionKind::Loader | RegionKind::Archive | RegionKind::BootInfo | RegionKind::RootImage => {
            Some(FrameState::User)
        }
        RegionKind::KernelImage | RegionKind::FrameTable | RegionKind::PageTables | RegionKind::LowMemory => {
            Some(FrameState::Kernel)
        }
        RegionKind::Reserved | RegionKind::AcpiReclaim | RegionKind::AcpiNvs => None,
    }
}

/// As what the root domain gets RAM. `None` if it does not get it.
const fn root_kind(kind: RegionKind) -> Option<ExtentKind> {
    match kind {
        RegionKind::Free | RegionKind::Loader => Some(ExtentKind::Free),
        RegionKind::Archive => Some(ExtentKind::Archive),
        RegionKind::BootInfo | RegionKind::RootImage => Some(ExtentKind::Root),
        _ => None,
    }
}

/// Adds the RAM of the memory map, but for the bytes of `taken`.
pub fn add_memory(extents: &mut Extents, regions: &[Region], taken: boot::Extent) {
    for region in regions {
        let (start, end) = (region.extent.start, region.extent.end());
        let Some(kind) = root_kind(region.kind) else { continue };
        if region.extent.overlaps(&taken) {
            extents.add(start, taken.start.max(start), kind);
            extents.add(taken.end().min(end), end, kind);
        } else {
            extents.add(start, end, kind);
        }
    }
}

/// Adds every address behind which a device may be: all that is no RAM of the kernel's or the root's and no register
/// of `owned`, which are whole pages, up to the end of what the processor can address.
pub fn add_devices(extents: &mut Extents, regions: &[Region], owned: &[boot::Extent], address_bits: u32) {
    let end = 1 << address_bits.min(FRAME_BITS + PAGE_SIZE.trailing_zeros());
    let mut from = 0;
    loop {
        // What begins next at or after `from` that is not a device's: the memory map is sorted, the pages need not be.
        let ram = regions
            .iter()
            .filter(|region| owner(region.kind).is_some())
            .map(|region| (region.extent.start, region.extent.end()));
        let registers = owned.iter().map(|pages| (pages.start, pages.end()));
        let next = ram.chain(registers).filter(|(_, end)| *end > from).min();
        let Some((start, next_from)) = next else { break };
        add_device(extents, from, start.min(end));
        from = next_from;
    }
    add_device(extents, from, end);
}

/// Adds a hole of the memory map, in pieces that an extent can describe.
fn add_device(extents: &mut Extents, mut start: u64, end: u64) {
    const PIECE: u64 = u32::MAX as u64 * PAGE_SIZE;
    while start < end {
        let piece_end = end.min(start.saturating_add(PIECE));
        extents.add(start, piece_end, ExtentKind::Device);
        start = piece_end;
    }
}

/// Most devices whose registers the kernel keeps to itself.
const OWNED_MAX: usize = boot::IO_APICS_MAX + boot::IOMMUS_MAX + 2;

/// The registers that the kernel keeps to itself, in whole pages, and how many devices they are of. Whoever reached an
/// IOMMU's could let any device reach all memory.
pub fn owned_registers(info: &BootInfo) -> ([boot::Extent; OWNED_MAX], usize) {
    let platform = &info.platform;
    let mut owned = [boot::Extent::default(); OWNED_MAX];
    let mut used = 0;
    let io_apics = platform.io_apics.as_slice().iter().map(|controller| controller.registers);
    let pages = [platform.local_apic, platform.hpet]
        .into_iter()
        .chain(io_apics)
        .filter(|registers| registers.is_present())
        .map(|registers| boot::Extent { start: registers.phys & !(PAGE_SIZE - 1), len: PAGE_SIZE });
    let iommus = platform.iommus.as_slice().iter().map(boot::Iommu::extent);
    for (place, extent) in owned.iter_mut().zip(pages.chain(iommus)) {
        *place = extent;
        used += 1;
    }
    (owned, used)
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::boot::{IoApic, Iommu, Registers};
    use std::vec::Vec;

    const MIB: u64 = 1 << 20;

    fn regions() -> [Region; 5] {
        [
            Region::new(0, 0xa0000, RegionKind::LowMemory),
            Region::new(MIB, 2 * MIB, RegionKind::Loader),
            Region::new(2 * MIB, 4 * MIB, RegionKind::KernelImage),
            Region::new(4 * MIB, 64 * MIB, RegionKind::Free),
            Region::new(64 * MIB, 65 * MIB, RegionKind::AcpiReclaim),
        ]
    }

    fn ranges(extents: &Extents) -> Vec<(u64, u64)> {
        let bytes = |extent: &Extent| (extent.frame * PAGE_SIZE, (extent.frame + extent.pages) * PAGE_SIZE);
        extents.as_slice().iter().map(bytes).collect()
    }

    #[test]
    fn the_root_gets_free_memory_but_for_what_was_taken_for_itself() {
        let mut extents = Extents::new();
        add_memory(&mut extents, &regions(), boot::Extent { start: 5 * MIB, len: MIB });
        assert_eq!(ranges(&extents), [(MIB, 2 * MIB), (4 * MIB, 5 * MIB), (6 * MIB, 64 * MIB)]);
    }

    #[test]
    fn devices_are_everywhere_but_in_managed_memory_and_in_the_kernels_registers() {
        let mut extents = Extents::new();
        let owned = [0xfee0_0000, 0xfec0_0000].map(|start| boot::Extent { start, len: PAGE_SIZE });
        add_devices(&mut extents, &regions(), &owned, 36);
        let expected = [(0xa0000, MIB), (64 * MIB, 0xfec0_0000), (0xfec0_1000, 0xfee0_0000), (0xfee0_1000, 1 << 36)];
        assert_eq!(ranges(&extents), expected);
    }

    #[test]
    fn the_registers_of_interrupt_controllers_timer_and_iommus_are_no_devices() {
        let mut info = BootInfo::EMPTY;
        let registers = |phys| Registers { phys, virt: 0 };
        let platform = &mut info.platform;
        platform.local_apic = registers(0xfee0_0000);
        platform.hpet = registers(0xfed0_0040);
        let io_apic = IoApic { registers: registers(0xfec0_0000), gsi_base: 0, id: 0, source: 0, reserved: 0 };
        assert_eq!(platform.io_apics.push(io_apic), Ok(()));
        // The runs of two IOMMUs may overlap: each has pages of its own at least.
        for (phys, pages) in [(0xfed9_0000, 2), (0xfed9_1000, 2), (0xfed8_0000, 4)] {
            let unit = Iommu { registers: registers(phys), pages, ..Iommu::NONE };
            assert_eq!(platform.iommus.push(unit), Ok(()));
        }
        let (owned, count) = owned_registers(&info);
        let mut extents = Extents::new();
        add_devices(&mut extents, &regions(), &owned[..count], 36);
        let expected = [
            (0xa0000, MIB),
            (64 * MIB, 0xfec0_0000),
            (0xfec0_1000, 0xfed0_0000),
            (0xfed0_1000, 0xfed8_0000),
            (0xfed8_4000, 0xfed9_0000),
            (0xfed9_3000, 0xfee0_0000),
            (0xfee0_1000, 1 << 36),
        ];
        assert_eq!(ranges(&extents), expected);
    }

    #[test]
    fn a_machine_full_of_controllers_and_iommus_keeps_the_registers_of_all() {
        let mut info = BootInfo::EMPTY;
        let registers = |index: u64| Registers { phys: 0xfe00_0000 + index * PAGE_SIZE, virt: 0 };
        let platform = &mut info.platform;
        (platform.local_apic, platform.hpet) = (registers(0), registers(1));
        let io_apic = |index| IoApic { registers: registers(index), gsi_base: 0, id: 0, source: 0, reserved: 0 };
        let unit = |index| Iommu { registers: registers(index), pages: 1, ..Iommu::NONE };
        (2..).map_while(|index| platform.io_apics.push(io_apic(index)).ok()).for_each(drop);
        (10..).map_while(|index| platform.iommus.push(unit(index)).ok()).for_each(drop);
        let (owned, count) = owned_registers(&info);
        let mut extents = Extents::new();
        add_devices(&mut extents, &[], &owned[..count], 36);
        assert_eq!(ranges(&extents), [(0, 0xfe00_0000), (0xfe00_0000 + 18 * PAGE_SIZE, 1 << 36)]);
    }

    #[test]
    fn no_page_is_memory_and_device_at_once() {
        let mut memory = Extents::new();
        add_memory(&mut memory, &regions(), boot::Extent::default());
        let mut devices = Extents::new();
        add_devices(&mut devices, &regions(), &[], 48);
        for (start, end) in ranges(&devices) {
            assert!(ranges(&memory).iter().all(|ram| ram.1 <= start || end <= ram.0));
        }
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut extents = Extents::new();
        for index in 0..MAX_EXTENTS as u64 + 3 {
            extents.add(2 * index * PAGE_SIZE, (2 * index + 1) * PAGE_SIZE, ExtentKind::Free);
        }
        assert_eq!((extents.as_slice().len(), extents.dropped()), (MAX_EXTENTS, 3));
    }
}
