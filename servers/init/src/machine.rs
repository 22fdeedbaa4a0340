//! What the machine has beside memory: configuration space, device windows, the way to switch off.

use crate::failure::{AtStep, Failure};
use crate::ram::extent_cap;
use alloc::vec::Vec;
use spawn::{DeviceRegion, Inventory, MemoryRef, PortsRef, PowerOff};
use userlib::abi::PAGE_SIZE;
use userlib::abi::boot::{BootInfo, ResetSpace};
use userlib::abi::rights::{MemoryRights, PortsRights};
use userlib::abi::root::{self, ExtentKind, RootInfo};
use userlib::cap::{Cap, Ports};

/// Below this no PCI device has its registers: the first mebibyte belongs to the PC's ancestors.
const LOWEST_DEVICE_FRAME: u64 = (1 << 20) / PAGE_SIZE;
/// The most windows that are handed out; the largest ones.
const MAX_WINDOWS: usize = 8;
/// SLP_EN (ACPI 6.4, table 4.16): a write with this bit enters the sleep state.
const SLEEP_ENABLE: u16 = 1 << 13;
/// SLP_TYP's place in PM1_CNT.
const SLEEP_TYPE_SHIFT: u16 = 10;

/// A run of device frames of one of the root's extents.
#[derive(Clone, Copy, Debug)]
struct Window {
    extent: usize,
    /// First page within the extent.
    first: u64,
    pages: u64,
}

/// Adds the machine's devices to the inventory.
///
/// # Errors
/// If the kernel refuses to split a capability.
pub(crate) fn describe(info: &RootInfo, boot: &BootInfo, inventory: &mut Inventory) -> Result<(), Failure> {
    let ecam = boot.platform.ecam.as_slice().iter().find(|window| window.segment == 0 && window.first_bus == 0);
    let mut windows = device_windows(info);
    if let Some(ecam) = ecam {
        let (start, pages) = (ecam.phys, ecam.len() / PAGE_SIZE);
        let at = ("split configuration space", "pci");
        inventory.ecam = take(info, start, pages, &mut windows, at)?.unwrap_or_default();
    }
    for region in boot.platform.device_regions.as_slice() {
        let (start, pages) = (region.extent.start, region.extent.len / PAGE_SIZE);
        let at = ("split what firmware has reserved for a device", "supervisor");
        // Several devices may use the same.
        let known = inventory.device_regions.iter().find(|known| known.address == start && known.memory.pages == pages);
        let memory = match known {
            Some(known) => Some(known.memory),
            None => take(info, start, pages, &mut windows, at)?,
        };
        // What is no memory of devices is the kernel's or the archive's, whatever the firmware says: no device sees it.
        if let Some(memory) = memory {
            let (first, last) = (region.source.0, region.last.0);
            inventory.device_regions.push(DeviceRegion { first, last, address: start, memory });
        }
    }
    windows.sort_by_key(|window| core::cmp::Reverse(window.pages));
    for window in windows.iter().take(MAX_WINDOWS) {
        let memory = extent_cap(window.extent)
            .split(window.first, window.pages, MemoryRights::all())
            .at("split device memory", "pci")?;
        inventory.windows.push(MemoryRef::new(memory.leak(), window.pages));
    }
    inventory.power_off = power_off(boot)?;
    inventory.reset = reset(boot)?;
    Ok(())
}

fn device_windows(info: &RootInfo) -> Vec<Window> {
    let extents = info.extents.iter().take(info.extents_used as usize).enumerate();
    extents
        .filter(|(_, extent)| extent.kind == ExtentKind::Device as u32)
        .filter_map(|(index, extent)| {
            let first = LOWEST_DEVICE_FRAME.saturating_sub(extent.frame);
            let pages = extent.pages.checked_sub(first).filter(|pages| *pages > 0)?;
            Some(Window { extent: index, first, pages })
        })
        .collect()
}

/// Takes memory out of the window in which it lies, so that nobody gets it as registers of a device. `None` if it lies in
/// none. `at` says what for, if the kernel refuses.
fn take(
    info: &RootInfo,
    address: u64,
    pages: u64,
    windows: &mut Vec<Window>,
    at: (&'static str, &'static str),
) -> Result<Option<MemoryRef>, Failure> {
    let frame = address / PAGE_SIZE;
    let start = |window: &Window| info.extents[window.extent].frame + window.first;
    let Some(index) =
        windows.iter().position(|window| start(window) <= frame && frame + pages <= start(window) + window.pages)
    else {
        return Ok(None);
    };
    let window = windows.swap_remove(index);
    let before = frame - start(&window);
    let after = window.pages - before - pages;
    if before > 0 {
        windows.push(Window { pages: before, ..window });
    }
    if after > 0 {
        windows.push(Window { first: window.first + before + pages, pages: after, ..window });
    }
    let memory = extent_cap(window.extent).split(window.first + before, pages, MemoryRights::all()).at(at.0, at.1)?;
    Ok(Some(MemoryRef::new(memory.leak(), pages)))
}

fn power_off(boot: &BootInfo) -> Result<Option<PowerOff>, Failure> {
    let off = boot.platform.power_off;
    if off.pm1a_port == 0 {
        return Ok(None);
    }
    let ports = Cap::<Ports>::from_handle(root::PORTS);
    let control = ports.split(off.pm1a_port, 2, PortsRights::all()).at("split the power-off port", "supervisor")?;
    let value = (u16::from(off.sleep_type_a) << SLEEP_TYPE_SHIFT) | SLEEP_ENABLE;
    Ok(Some(PowerOff { control: PortsRef::new(control.leak(), off.pm1a_port, 2), value }))
}

/// The reset register (ACPI 6.4, 4.8.3.6), if it is an I/O port.
fn reset(boot: &BootInfo) -> Result<Option<PowerOff>, Failure> {
    let register = boot.platform.reset;
    let Ok(port) = u16::try_from(register.address) else { return Ok(None) };
    if register.space != ResetSpace::Port || port == 0 {
        return Ok(None);
    }
    let ports = Cap::<Ports>::from_handle(root::PORTS);
    let control = ports.split(port, 1, PortsRights::all()).at("split the reset port", "supervisor")?;
    Ok(Some(PowerOff { control: PortsRef::new(control.leak(), port, 1), value: register.value.into() }))
}
