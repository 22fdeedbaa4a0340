//! From the machine's start information to a kernel that is ready to be entered.

use crate::address_space;
use crate::error::LoadError;
use crate::executable::{Executable, SEGMENTS_MAX, Segment, Window};
use crate::memory::PhysicalMemory;
use crate::memory_map::MemoryMap;
use crate::platform::Machine;
use crate::start_info::StartInfo;
use abi::PAGE_SIZE;
use abi::boot::{
    BootInfo, DIRECT_MAP_BASE, Extent, FRAME_ENTRY_SIZE, ROOT_SEGMENTS_MAX, RegionKind, RootImage, RootSegment,
    table_shares,
};
use abi::syscall::MapAccess;
use archive::Archive;

/// Name of the kernel's file in the archive.
const KERNEL: &str = "kernel";
/// Name of the root domain's file in the archive.
const ROOT: &str = "init";

/// What the loader knows of itself.
#[derive(Clone, Copy, Debug)]
pub struct Own {
    /// The memory that its image takes.
    pub image: Extent,
    /// The page of its image from which it enters the kernel.
    pub jump_page: u64,
    /// The archive that its file contained.
    pub embedded: Option<Extent>,
    /// Time-stamp counter when it was entered.
    pub entry_tsc: u64,
}

/// All that is needed to enter the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// Physical address of the top page table.
    pub page_tables: u64,
    /// Where the kernel is entered.
    pub entry: u64,
    /// Virtual address of the boot information.
    pub boot_info: u64,
    /// How many CPUs, interrupt controllers and the like were left out because there are too many of them, or because
    /// the kernel cannot be told where they are.
    pub left_out: u32,
}

/// Places the kernel that the start information at `at` leads to, and describes the machine for it.
///
/// `discover` reads the firmware's tables; it gets the address of the ACPI root pointer, or 0 if the start information
/// does not say where it is.
///
/// # Errors
/// Says why the kernel cannot be started; memory that was free may have changed.
pub fn prepare<M: PhysicalMemory>(
    memory: &mut M,
    at: u64,
    own: &Own,
    discover: impl FnOnce(&M, u64) -> Result<Machine, LoadError>,
) -> Result<Handover, LoadError> {
    let start_info = StartInfo::read(memory, at)?;
    let mut info = BootInfo::EMPTY;
    info.entry_tsc = own.entry_tsc;
    info.command_line_len = start_info.command_line(memory, &mut info.command_line)?;

    let mut map = MemoryMap::from_firmware(start_info.regions(memory)?)?;
    map.assign(own.image, RegionKind::Loader)?;
    let machine = discover(memory, start_info.rsdp)?;
    info.platform = *machine.platform();
    keep_clear(&machine, own, &mut map)?;

    info.archive = start_info.module.or(own.embedded).ok_or(LoadError::NoArchive)?;
    let (mut kernel, root) = open_archive(memory, &map, info.archive)?;
    map.assign(info.archive, RegionKind::Archive)?;
    info.table_shares = table_shares(map.ram());
    let processors = info.platform.cpus.as_slice().len();
    let parts = kernel.plan.with_parts_of_tables(info.table_shares, processors);
    kernel.plan = parts.map_err(|error| LoadError::BadFile { name: KERNEL, error })?;

    let limit = memory.limit();
    let what = "the frame table";
    info.frames = map.ram_end() / PAGE_SIZE;
    info.frame_table = map.allocate(what, info.frames * FRAME_ENTRY_SIZE, RegionKind::FrameTable, limit)?;
    zero(memory, what, info.frame_table)?;
    info.kernel_image = place(memory, &mut map, "the kernel", &kernel, RegionKind::KernelImage)?;
    let root_image = place(memory, &mut map, "the root domain", &root, RegionKind::RootImage)?;
    info.root = describe_root(&root.plan, root_image)?;

    let what = "the boot information";
    let extent = map.allocate(what, size_of::<BootInfo>() as u64, RegionKind::BootInfo, limit)?;
    zero(memory, what, extent)?;
    let page_tables = address_space::build(memory, &mut map, &machine, &kernel.plan, own.jump_page, &mut info)?;
    // Nothing is allocated any more: the map is what it will be.
    info.memory = map.list();
    memory.store(extent.start, &info).ok_or(LoadError::Unreadable { what, extent })?;
    Ok(Handover {
        page_tables,
        entry: kernel.plan.entry,
        boot_info: DIRECT_MAP_BASE + extent.start,
        left_out: machine.left_out(),
    })
}

/// Takes the memory out of use that devices use on behalf of the firmware, and sees to it that no RAM lies where the
/// IOMMUs' registers do.
fn keep_clear(machine: &Machine, own: &Own, map: &mut MemoryMap) -> Result<(), LoadError> {
    for &extent in machine.reserved_memory() {
        if extent.overlaps(&own.image) {
            return Err(LoadError::Overlap { what: "memory of a device", extent, with: "the loader" });
        }
        map.reserve(extent)?;
    }
    for unit in machine.platform().iommus.as_slice() {
        let extent = unit.extent();
        if map.regions().iter().any(|region| region.kind.is_managed_ram() && region.extent.overlaps(&extent)) {
            return Err(LoadError::Overlap { what: "the registers of an IOMMU", extent, with: "RAM" });
        }
    }
    Ok(())
}

/// A file of the archive that is to be loaded.
struct Program {
    plan: Executable,
    /// Physical address of the file.
    file_at: u64,
}

/// Checks the archive at `extent` and finds the kernel and the root domain in it.
fn open_archive(
    memory: &impl PhysicalMemory,
    map: &MemoryMap,
    extent: Extent,
) -> Result<(Program, Program), LoadError> {
    if !extent.start.is_multiple_of(PAGE_SIZE) {
        return Err(LoadError::ArchiveMisaligned { start: extent.start });
    }
    let len = extent.len.max(1).checked_next_multiple_of(PAGE_SIZE).unwrap_or(u64::MAX);
    if !map.is_free(Extent { start: extent.start, len }) {
        return Err(LoadError::ArchiveOutsideRam { extent, ram_end: map.ram_end() });
    }
    let bytes = memory.bytes(extent).ok_or(LoadError::Unreadable { what: "the boot archive", extent })?;
    let archive = Archive::parse(bytes).map_err(|error| LoadError::BadArchive { extent, error })?;
    let program = |name, window, most| {
        let file = archive.file(name).ok_or(LoadError::NoFile { name })?;
        let plan = Executable::plan(file.contents, window, most).map_err(|error| LoadError::BadFile { name, error })?;
        Ok(Program { plan, file_at: extent.start + file.offset as u64 })
    };
    Ok((program(KERNEL, Window::KERNEL, SEGMENTS_MAX)?, program(ROOT, Window::USER, ROOT_SEGMENTS_MAX)?))
}

/// Copies a program's segments to fresh memory of kind `kind` and returns where that is.
fn place(
    memory: &mut impl PhysicalMemory,
    map: &mut MemoryMap,
    what: &'static str,
    program: &Program,
    kind: RegionKind,
) -> Result<Extent, LoadError> {
    let image = map.allocate(what, program.plan.memory_len(), kind, memory.limit())?;
    for (segment, extent) in program.plan.placed(image.start) {
        let from = Extent { start: program.file_at + segment.file_offset, len: segment.file_len };
        let to = Extent { start: extent.start + (segment.virt - segment.first_page()), len: segment.file_len };
        // Only what the file does not fill is zeroed: before it, and after it.
        zero(memory, what, Extent::between(extent.start, to.start))?;
        if from.len > 0 {
            memory.copy(from, to.start).ok_or(LoadError::Unreadable { what, extent: to })?;
        }
        zero(memory, what, Extent::between(to.end(), extent.end()))?;
    }
    Ok(image)
}

fn zero(memory: &mut impl PhysicalMemory, what: &'static str, extent: Extent) -> Result<(), LoadError> {
    if extent.len > 0 {
        memory.bytes_mut(extent).ok_or(LoadError::Unreadable { what, extent })?.fill(0);
    }
    Ok(())
}

/// The root domain's image as the kernel maps it.
fn describe_root(plan: &Executable, extent: Extent) -> Result<RootImage, LoadError> {
    let mut root = RootImage { entry: plan.entry, extent, ..RootImage::EMPTY };
    for (segment, extent) in plan.placed(extent.start) {
        let described =
            RootSegment { address: segment.first_page(), extent, access: map_access(&segment) as u32, reserved: 0 };
        root.segments.push(described).map_err(|_| LoadError::TooManyRegions)?;
    }
    Ok(root)
}

fn map_access(segment: &Segment) -> MapAccess {
    match (segment.writable, segment.executable) {
        (true, _) => MapAccess::ReadWrite,
        (false, true) => MapAccess::ReadExecute,
        (false, false) => MapAccess::Read,
    }
}
