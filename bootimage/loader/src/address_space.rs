//! The address space in which the kernel is entered.

use crate::error::LoadError;
use crate::executable::Executable;
use crate::memory::PhysicalMemory;
use crate::memory_map::MemoryMap;
use crate::page_tables::{Access, PageTables};
use crate::platform::Machine;
use abi::PAGE_SIZE;
use abi::boot::{
    BootInfo, DEVICE_BASE, DIRECT_MAP_BASE, Extent, IO_APICS_MAX, IOMMU_PAGES_MAX, Platform, RegionKind, Registers,
};

/// Builds the page tables: the kernel at its linked addresses, the direct map, the device window and the loader's
/// `jump_page`. The kernel's memory, the device addresses and the direct map's length are taken from and written to
/// `info`. Returns the physical address of the top table.
///
/// # Errors
/// If there is not enough memory, or the memory map is too fragmented.
pub fn build<M: PhysicalMemory>(
    memory: &mut M,
    map: &mut MemoryMap,
    machine: &Machine,
    kernel: &Executable,
    jump_page: u64,
    info: &mut BootInfo,
) -> Result<u64, LoadError> {
    let shown = direct_map(map, machine, kernel, info.kernel_image.start)?;
    info.direct_map_len = shown.regions().last().map_or(0, |region| region.extent.end());

    let mut tables = PageTables::new(memory, map)?;
    for region in shown.regions() {
        let access = if region.kind == RegionKind::Free { Access::ReadWrite } else { Access::Read };
        let virt = DIRECT_MAP_BASE + region.extent.start;
        tables.map(virt, region.extent, access, RegionKind::PageTables)?;
    }
    for (segment, extent) in kernel.placed(info.kernel_image.start) {
        let access = match (segment.writable, segment.executable) {
            (true, _) => Access::ReadWrite,
            (false, true) => Access::ReadExecute,
            (false, false) => Access::Read,
        };
        tables.map_in_small_pages(segment.first_page(), extent, access, RegionKind::PageTables)?;
    }
    for hole in kernel.holes() {
        tables.map_zeros(*hole, RegionKind::PageTables)?;
    }
    assign_device_window(&mut info.platform);
    for (registers, pages) in device_registers(&info.platform) {
        let extent = Extent { start: registers.phys & !(PAGE_SIZE - 1), len: u64::from(pages) * PAGE_SIZE };
        let virt = registers.virt & !(PAGE_SIZE - 1);
        tables.map(virt, extent, Access::Device, RegionKind::PageTables)?;
    }
    // These tables go when the kernel drops the loader, so they are the loader's memory.
    let page = Extent { start: jump_page, len: PAGE_SIZE };
    tables.map(jump_page, page, Access::ReadExecuteOnce, RegionKind::Loader)?;
    Ok(tables.root())
}

/// What the direct map shows, as a map of its own: free where it is writable, reserved where it can only be read.
fn direct_map(
    map: &MemoryMap,
    machine: &Machine,
    kernel: &Executable,
    kernel_start: u64,
) -> Result<MemoryMap, LoadError> {
    let mut shown = MemoryMap::EMPTY;
    let rsdp = Extent { start: machine.platform().rsdp, len: 1 };
    for region in map.regions() {
        let holds_tables = || {
            let mut tables = machine.tables().iter().chain([&rsdp]);
            tables.any(|table| table.overlaps(&region.extent))
        };
        let kind = match region.kind {
            kind if kind.is_managed_ram() => RegionKind::Free,
            RegionKind::AcpiReclaim | RegionKind::AcpiNvs => RegionKind::Reserved,
            _ if holds_tables() => RegionKind::Reserved,
            _ => continue,
        };
        shown.assign(region.extent, kind)?;
    }
    for (segment, extent) in kernel.placed(kernel_start) {
        if !segment.writable {
            shown.assign(extent, RegionKind::Reserved)?;
        }
    }
    Ok(shown)
}

/// Gives every device that the kernel drives an address: the local APIC, the I/O APICs, the HPET, a page each, and the
/// IOMMUs, as many pages as one can have.
fn assign_device_window(platform: &mut Platform) {
    let place = |registers: &mut Registers, page: u64| {
        if registers.is_present() {
            registers.virt = DEVICE_BASE + page * PAGE_SIZE + registers.phys % PAGE_SIZE;
        }
    };
    place(&mut platform.local_apic, 0);
    for (index, io_apic) in platform.io_apics.as_mut_slice().iter_mut().enumerate() {
        place(&mut io_apic.registers, 1 + index as u64);
    }
    let hpet = 1 + IO_APICS_MAX as u64;
    place(&mut platform.hpet, hpet);
    for (index, unit) in platform.iommus.as_mut_slice().iter_mut().enumerate() {
        place(&mut unit.registers, hpet + 1 + index as u64 * u64::from(IOMMU_PAGES_MAX));
    }
}

/// The devices that the kernel drives and the machine has, and how many pages of each it reaches.
fn device_registers(platform: &Platform) -> impl Iterator<Item = (Registers, u32)> {
    let io_apics = platform.io_apics.as_slice().iter().map(|io_apic| (io_apic.registers, 1));
    let iommus = platform.iommus.as_slice().iter().map(|unit| (unit.registers, unit.pages));
    let single = [(platform.local_apic, 1), (platform.hpet, 1)];
    io_apics.chain(iommus).chain(single).filter(|(registers, _)| registers.is_present())
}
