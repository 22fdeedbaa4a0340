//! What the loader hands to the kernel, and the address-space layout in which it does so.
//!
//! The loader enters the kernel once, on the boot CPU, in this state of the CPU:
//!
//! * `rdi` holds the direct-map address of a [`BootInfo`], `rbp` and `rsp` are zero, the other general registers hold
//!   nothing of meaning: the kernel sets its own stack first;
//! * interrupts are off, the direction flag is clear, no interrupt table is loaded, and the segment registers refer to
//!   a flat 64-bit table in memory of kind [`RegionKind::Loader`], which the kernel replaces before it reuses that
//!   memory;
//! * `CR0.WP`, `CR4.PGE` and `EFER.NXE` are on (Intel SDM volume 3A, 2.5 and 2.2.1);
//! * `CR3` holds page tables with the kernel image at its linked addresses (of its tables, only the part for which there is memory:
//!   [`PartialTable`]), the direct map, the device window, and one
//!   identity-mapped page of the loader under entry 0 of the top table, from which the jump was made. The kernel clears
//!   that entry; the three tables below it lie in memory of kind [`RegionKind::Loader`].
//!
//! All mappings of the upper half are global. Nothing is both writable and executable, and the frames of the kernel's
//! code and constants are read-only in the direct map too.

use crate::device::SourceId;

mod iommu;
mod tables;

pub use iommu::{DEVICE_REGIONS_MAX, DeviceRegion, IOMMU_PAGES_MAX, IOMMUS_MAX, Iommu, IommuKind};
pub use tables::{Measure, PARTIAL_TABLES_MAX, PT_TABLES, PartialTable, RAM_OF_SHARE, TABLE_SHARES, table_shares};

/// First address of the direct map: physical address `p` is visible at `DIRECT_MAP_BASE + p`.
pub const DIRECT_MAP_BASE: u64 = 0xffff_8000_0000_0000;

/// First address at which the kernel may be linked.
pub const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;

/// First address above the kernel image's window; the uncached mappings of device registers start here.
pub const DEVICE_BASE: u64 = 0xffff_ffff_c000_0000;

/// RAM at or above this physical address is not used (64 GiB).
pub const RAM_END_MAX: u64 = 64 << 30;

/// Bytes of one entry of the frame table.
pub const FRAME_ENTRY_SIZE: u64 = 16;

/// Most regions in the memory map.
pub const REGIONS_MAX: usize = 128;
/// Most CPUs.
pub const CPUS_MAX: usize = 32;
/// Most I/O APICs.
pub const IO_APICS_MAX: usize = 8;
/// Most overrides of ISA interrupts.
pub const OVERRIDES_MAX: usize = 16;
/// Most windows of PCI Express configuration space.
pub const ECAM_WINDOWS_MAX: usize = 4;
/// Most bytes of the command line.
pub const COMMAND_LINE_MAX: usize = 256;
/// Segments of the root domain's image at most.
pub const ROOT_SEGMENTS_MAX: usize = 8;

/// A list of bounded length that lies in memory as it is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct List<T, const N: usize> {
    items: [T; N],
    len: u64,
}

/// A [`List`] had no room for another item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListFull;

impl<T: Copy, const N: usize> List<T, N> {
    /// An empty list; `blank` fills the unused places.
    pub const fn new(blank: T) -> Self {
        Self { items: [blank; N], len: 0 }
    }

    /// Adds an item at the end.
    ///
    /// # Errors
    /// [`ListFull`] when `N` items are already there; the list is unchanged.
    pub fn push(&mut self, item: T) -> Result<(), ListFull> {
        let place = self.items.get_mut(self.len as usize).ok_or(ListFull)?;
        *place = item;
        self.len += 1;
        Ok(())
    }

    /// The items in order.
    pub fn as_slice(&self) -> &[T] {
        self.items.get(..self.len as usize).unwrap_or(&self.items)
    }

    /// The items in order, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        let len = (self.len as usize).min(N);
        &mut self.items[..len]
    }
}

impl<T: Copy + core::fmt::Debug, const N: usize> core::fmt::Debug for List<T, N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

/// A stretch of physical memory, in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Physical address of the first byte.
    pub start: u64,
    /// Number of bytes.
    pub len: u64,
}

impl Extent {
    /// The extent that ends just before `end`; empty if `end` lies below `start`.
    pub const fn between(start: u64, end: u64) -> Self {
        Self { start, len: end.saturating_sub(start) }
    }

    /// Physical address just above the last byte.
    pub const fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }

    /// Whether the two extents share a byte.
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end() && other.start < self.end()
    }

    /// Whether `other` lies in this extent completely.
    pub const fn contains(&self, other: &Self) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }
}

/// What a region of physical memory is for.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionKind {
    /// RAM that nobody uses.
    Free = 0,
    /// RAM of the loader: free once the kernel runs on its own stack, segment table and without the identity map.
    Loader = 1,
    /// RAM that holds the kernel's code and data.
    KernelImage = 2,
    /// RAM set aside, zeroed, for the frame table.
    FrameTable = 3,
    /// RAM that holds the boot archive.
    Archive = 4,
    /// RAM that holds this [`BootInfo`].
    BootInfo = 5,
    /// RAM that holds the page tables the kernel was entered with.
    PageTables = 6,
    /// RAM below 1 MiB. It stays out of general use: firmware keeps data there, and other CPUs start in it.
    LowMemory = 7,
    /// Not RAM for general use: firmware, device registers, or RAM above [`RAM_END_MAX`].
    Reserved = 8,
    /// RAM that holds ACPI tables (ACPI 6.4, 15.2), reusable once nobody reads them any more.
    AcpiReclaim = 9,
    /// RAM that the firmware uses while the system sleeps or wakes; never to be touched.
    AcpiNvs = 10,
    /// RAM that holds the image of the root domain, the first one in user space.
    RootImage = 11,
}

impl RegionKind {
    /// Whether the region is RAM that the kernel manages, so that it is writable in the direct map (but for the
    /// kernel's own code and constants).
    pub const fn is_managed_ram(self) -> bool {
        matches!(
            self,
            Self::Free
                | Self::Loader
                | Self::KernelImage
                | Self::FrameTable
                | Self::Archive
                | Self::BootInfo
                | Self::PageTables
                | Self::LowMemory
                | Self::RootImage
        )
    }
}

/// One region of the memory map. Start and length are multiples of the page size.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Where it lies.
    pub extent: Extent,
    /// What it is for.
    pub kind: RegionKind,
    /// Always zero.
    pub reserved: u32,
}

impl Region {
    /// A region of the given kind.
    pub const fn new(start: u64, end: u64, kind: RegionKind) -> Self {
        Self { extent: Extent::between(start, end), kind, reserved: 0 }
    }
}

/// A CPU that can be used.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Identifier of its local APIC, by which it is addressed.
    pub apic_id: u32,
}

/// A page of device registers, mapped uncached and not executable.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// Physical address; 0 if the machine has no such device.
    pub phys: u64,
    /// Virtual address at which the kernel reaches it; 0 if the machine has no such device.
    pub virt: u64,
}

impl Registers {
    /// No such device.
    pub const NONE: Self = Self { phys: 0, virt: 0 };

    /// Whether the machine has the device.
    pub const fn is_present(&self) -> bool {
        self.phys != 0
    }
}

/// An interrupt controller for device interrupts.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Its registers.
    pub registers: Registers,
    /// First global system interrupt that it serves.
    pub gsi_base: u32,
    /// Its own APIC identifier.
    pub id: u32,
    /// The [`SourceId`] with which its interrupts arrive at the IOMMU, or [`NO_SOURCE`].
    pub source: u32,
    /// Always zero.
    pub reserved: u32,
}

impl IoApic {
    /// The source with which its interrupts arrive at the IOMMU, if the firmware says so.
    pub const fn source(&self) -> Option<SourceId> {
        source_of(self.source)
    }
}

/// In the place of a [`SourceId`]: the firmware does not say which.
pub const NO_SOURCE: u32 = u32::MAX;

/// The source in a field that may hold [`NO_SOURCE`].
const fn source_of(field: u32) -> Option<SourceId> {
    if field <= SourceId::LAST.0 as u32 { Some(SourceId(field as u16)) } else { None }
}

/// Electrical meaning of an interrupt line.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polarity {
    /// Asserted when high.
    ActiveHigh = 0,
    /// Asserted when low.
    ActiveLow = 1,
}

/// How an interrupt line signals.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// By a change of the line.
    Edge = 0,
    /// By the state of the line, until the device is served.
    Level = 1,
}

/// An ISA interrupt that is wired differently from "same number, edge, active high" (ACPI 6.4, 5.2.12.5).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptOverride {
    /// Global system interrupt at which it arrives.
    pub gsi: u32,
    /// Number of the ISA interrupt, 0 to 15.
    pub isa: u8,
    /// Polarity of the line.
    pub polarity: Polarity,
    /// Trigger mode of the line.
    pub trigger: Trigger,
    /// Always zero.
    pub reserved: u8,
}

/// A window of PCI Express configuration space (ECAM): 1 MiB a bus, 4 KiB a function. Not mapped for the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EcamWindow {
    /// Physical address of the page of bus `first_bus`, device 0, function 0.
    pub phys: u64,
    /// PCI segment group.
    pub segment: u16,
    /// First bus in the window.
    pub first_bus: u8,
    /// Last bus in the window.
    pub last_bus: u8,
    /// Always zero.
    pub reserved: u32,
}

impl EcamWindow {
    /// Bytes of the window.
    pub const fn len(&self) -> u64 {
        ((self.last_bus.saturating_sub(self.first_bus)) as u64 + 1) << 20
    }

    /// Never: a window has at least one bus.
    pub const fn is_empty(&self) -> bool {
        false
    }
}

/// The ACPI power-management timer, which counts at 3,579,545 Hz (ACPI 6.4, 4.8.2.1).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PmTimer {
    /// I/O port, read as 32 bits; 0 if the machine has none.
    pub port: u16,
    /// Bits that count: 24 or 32; 0 if the machine has none.
    pub bits: u16,
}

/// How to power off: write `(sleep_type << 10) | (1 << 13)` to each control port (ACPI 6.4, 4.8.3.2.1).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PowerOff {
    /// I/O port of the PM1a control register, 16 bits wide; 0 if the machine cannot be powered off this way.
    pub pm1a_port: u16,
    /// I/O port of the PM1b control register; 0 if there is none.
    pub pm1b_port: u16,
    /// `SLP_TYPa` of state S5.
    pub sleep_type_a: u8,
    /// `SLP_TYPb` of state S5.
    pub sleep_type_b: u8,
    /// Always zero.
    pub reserved: u16,
}

/// Where the reset register lies (ACPI 6.4, 4.8.3.6).
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResetSpace {
    /// The machine has no reset register.
    #[default]
    None = 0,
    /// At an I/O port.
    Port = 1,
    /// In physical memory.
    Memory = 2,
}

/// How to reset the machine: write the byte `value` to `address`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResetRegister {
    /// I/O port or physical address.
    pub address: u64,
    /// Which of the two `address` is.
    pub space: ResetSpace,
    /// Byte to write.
    pub value: u8,
    /// Always zero.
    pub reserved: [u8; 6],
}

/// Interrupt controllers, timers and power control, as the firmware's tables describe them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Platform {
    /// Physical address of the ACPI root pointer; 0 if there is none.
    pub rsdp: u64,
    /// The CPUs; the first is the one that runs.
    pub cpus: List<Cpu, CPUS_MAX>,
    /// The local APIC's registers, the same address on every CPU.
    pub local_apic: Registers,
    /// The I/O APICs.
    pub io_apics: List<IoApic, IO_APICS_MAX>,
    /// ISA interrupts that are wired differently from the default.
    pub overrides: List<InterruptOverride, OVERRIDES_MAX>,
    /// PCI Express configuration space; none on machines that have only the port-based mechanism.
    pub ecam: List<EcamWindow, ECAM_WINDOWS_MAX>,
    /// The HPET's registers.
    pub hpet: Registers,
    /// The power-management timer.
    pub pm_timer: PmTimer,
    /// The [`SourceId`] with which the HPET's own interrupts arrive at the IOMMU, or [`NO_SOURCE`].
    pub hpet_source: u32,
    /// How to power off.
    pub power_off: PowerOff,
    /// How to reset.
    pub reset: ResetRegister,
    /// The IOMMUs. What the firmware says of each one's devices is not kept.
    pub iommus: List<Iommu, IOMMUS_MAX>,
    /// Memory that the firmware has reserved for devices.
    pub device_regions: List<DeviceRegion, DEVICE_REGIONS_MAX>,
    /// 1 if the firmware says that the machine can remap interrupts, otherwise 0. Each IOMMU says for itself too.
    pub interrupt_remapping: u32,
    /// Always zero.
    pub reserved: u32,
}

impl Platform {
    /// A machine about which nothing is known.
    pub const EMPTY: Self = Self {
        rsdp: 0,
        cpus: List::new(Cpu { apic_id: 0 }),
        local_apic: Registers::NONE,
        io_apics: List::new(IoApic { registers: Registers::NONE, gsi_base: 0, id: 0, source: NO_SOURCE, reserved: 0 }),
        overrides: List::new(InterruptOverride {
            gsi: 0,
            isa: 0,
            polarity: Polarity::ActiveHigh,
            trigger: Trigger::Edge,
            reserved: 0,
        }),
        ecam: List::new(EcamWindow { phys: 0, segment: 0, first_bus: 0, last_bus: 0, reserved: 0 }),
        hpet: Registers::NONE,
        pm_timer: PmTimer { port: 0, bits: 0 },
        hpet_source: NO_SOURCE,
        power_off: PowerOff { pm1a_port: 0, pm1b_port: 0, sleep_type_a: 0, sleep_type_b: 0, reserved: 0 },
        reset: ResetRegister { address: 0, space: ResetSpace::None, value: 0, reserved: [0; 6] },
        iommus: List::new(Iommu::NONE),
        device_regions: List::new(DeviceRegion::NONE),
        interrupt_remapping: 0,
        reserved: 0,
    };

    /// The source with which the HPET's own interrupts arrive at the IOMMU, if the firmware says so.
    pub const fn hpet_source(&self) -> Option<SourceId> {
        source_of(self.hpet_source)
    }
}

/// One segment of the root domain's image.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootSegment {
    /// Address in user space at which it is to be mapped, a multiple of the page size.
    pub address: u64,
    /// The physical memory that holds it, in whole pages: file contents, then zeros.
    pub extent: Extent,
    /// A [`crate::syscall::MapAccess`] as a number.
    pub access: u32,
    /// Always zero.
    pub reserved: u32,
}

impl RootSegment {
    /// An unused entry.
    pub const NONE: Self = Self { address: 0, extent: Extent { start: 0, len: 0 }, access: 0, reserved: 0 };
}

/// The root domain's image: the file `init` of the boot archive, loaded.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RootImage {
    /// Where its first thread starts, in user space.
    pub entry: u64,
    /// All the memory that it takes, of kind [`RegionKind::RootImage`].
    pub extent: Extent,
    /// Its segments.
    pub segments: List<RootSegment, ROOT_SEGMENTS_MAX>,
}

impl RootImage {
    /// No image.
    pub const EMPTY: Self =
        Self { entry: 0, extent: Extent { start: 0, len: 0 }, segments: List::new(RootSegment::NONE) };
}

/// Everything the kernel learns about the machine it runs on.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct BootInfo {
    /// [`BootInfo::MAGIC`].
    pub magic: u64,
    /// [`BootInfo::VERSION`].
    pub version: u32,
    /// Bytes of this structure.
    pub size: u32,
    /// Value of the time-stamp counter when the loader was entered.
    pub entry_tsc: u64,
    /// Virtual address at which physical address 0 would be: [`DIRECT_MAP_BASE`].
    pub direct_map_base: u64,
    /// Bytes of the direct map. RAM is mapped in it; holes between are not.
    pub direct_map_len: u64,
    /// Memory for the frame table: [`FRAME_ENTRY_SIZE`] bytes for every frame from 0 to the highest one of RAM. It is
    /// zeroed and starts and ends at a page boundary.
    pub frame_table: Extent,
    /// Number of frames the frame table has room for.
    pub frames: u64,
    /// Memory of the kernel's image.
    pub kernel_image: Extent,
    /// How many shares there are of the kernel's tables, of [`TABLE_SHARES`].
    pub table_shares: usize,
    /// The boot archive, checked by the loader. It starts and ends at a page boundary.
    pub archive: Extent,
    /// The root domain's image.
    pub root: RootImage,
    /// The memory map: sorted, without overlap, page aligned. What it does not mention is not RAM.
    pub memory: List<Region, REGIONS_MAX>,
    /// The machine.
    pub platform: Platform,
    /// Bytes of the command line that are used.
    pub command_line_len: u64,
    /// The command line: UTF-8, not terminated.
    pub command_line: [u8; COMMAND_LINE_MAX],
}

impl BootInfo {
    /// First field of every boot information, `BULKHEAD` in ASCII.
    pub const MAGIC: u64 = u64::from_le_bytes(*b"BULKHEAD");
    /// Version of this structure. It rises with every change.
    pub const VERSION: u32 = 3;

    /// Boot information that says nothing yet, but is well-formed.
    pub const EMPTY: Self = Self {
        magic: Self::MAGIC,
        version: Self::VERSION,
        size: size_of::<Self>() as u32,
        entry_tsc: 0,
        direct_map_base: DIRECT_MAP_BASE,
        direct_map_len: 0,
        frame_table: Extent { start: 0, len: 0 },
        frames: 0,
        kernel_image: Extent { start: 0, len: 0 },
        table_shares: TABLE_SHARES,
        archive: Extent { start: 0, len: 0 },
        root: RootImage::EMPTY,
        memory: List::new(Region::new(0, 0, RegionKind::Reserved)),
        platform: Platform::EMPTY,
        command_line_len: 0,
        command_line: [0; COMMAND_LINE_MAX],
    };

    /// Whether this was written by a loader that agrees with this definition.
    pub const fn is_compatible(&self) -> bool {
        self.magic == Self::MAGIC && self.version == Self::VERSION && self.size as usize == size_of::<Self>()
    }

    /// The command line, as far as it is UTF-8.
    pub fn command_line(&self) -> &str {
        let bytes = self.command_line.get(..self.command_line_len as usize).unwrap_or(&self.command_line);
        match core::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""),
        }
    }
}

// Loader and kernel are built apart: a change of layout must not go unnoticed.
const _: () = {
    assert!(size_of::<Extent>() == 16);
    assert!(size_of::<Region>() == 24);
    assert!(size_of::<Registers>() == 16);
    assert!(size_of::<IoApic>() == 32);
    assert!(size_of::<Iommu>() == 32);
    assert!(size_of::<DeviceRegion>() == 24);
    assert!(size_of::<InterruptOverride>() == 8);
    assert!(size_of::<EcamWindow>() == 16);
    assert!(size_of::<PowerOff>() == 8);
    assert!(size_of::<ResetRegister>() == 16);
    assert!(size_of::<List<Region, REGIONS_MAX>>() == REGIONS_MAX * 24 + 8);
    assert!(size_of::<Platform>() == 616 + 8 * 8 + (8 * 32 + 8) + (16 * 24 + 8) + 8);
    assert!(size_of::<RootSegment>() == 32);
    assert!(size_of::<BootInfo>() == 5080);
    assert!(align_of::<BootInfo>() == 8);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_list_refuses_another_item_and_keeps_what_it_has() {
        let mut list: List<u32, 2> = List::new(0);
        assert_eq!(list.push(7), Ok(()));
        assert_eq!(list.push(8), Ok(()));
        assert_eq!(list.push(9), Err(ListFull));
        assert_eq!(list.as_slice(), [7, 8]);
    }

    #[test]
    fn extents_that_only_touch_do_not_overlap() {
        let low = Extent { start: 0, len: 4096 };
        let high = Extent { start: 4096, len: 4096 };
        assert!(!low.overlaps(&high));
        assert!(low.overlaps(&Extent { start: 4095, len: 1 }));
        assert!(!low.contains(&Extent { start: 4095, len: 2 }));
    }

    #[test]
    fn a_source_that_the_firmware_does_not_name_is_none() {
        let mut platform = Platform::EMPTY;
        assert_eq!(platform.hpet_source(), None);
        platform.hpet_source = 0xf0f8;
        assert_eq!(platform.hpet_source(), Some(SourceId::new(0xf0, 0x1f, 0)));
        platform.hpet_source = 0x1_0000;
        assert_eq!(platform.hpet_source(), None);
    }

    #[test]
    fn boot_information_of_another_version_is_not_compatible() {
        let mut info = BootInfo::EMPTY;
        assert!(info.is_compatible());
        info.version += 1;
        assert!(!info.is_compatible());
    }

    #[test]
    fn a_command_line_ends_where_it_stops_being_utf8() {
        let mut info = BootInfo::EMPTY;
        info.command_line[..4].copy_from_slice(b"ab\xffc");
        info.command_line_len = 4;
        assert_eq!(info.command_line(), "ab");
    }
}
