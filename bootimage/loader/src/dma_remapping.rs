//! The firmware's tables about IOMMUs: DMAR (Intel Virtualization Technology for Directed I/O Specification 4.1, chapter
//! 8) and IVRS (AMD I/O Virtualization Technology Specification 3.08, document 48882, chapter 5).
//!
//! They name the IOMMUs, the sources with which interrupt controllers and timers send their interrupts, and the memory
//! that devices use on behalf of the firmware. Which devices an IOMMU stands before is not kept: all of them get the
//! same tables.

use crate::platform::{Contradiction, Machine};
use abi::PAGE_SIZE;
use abi::boot::{Extent, IOMMU_PAGES_MAX, Iommu, IommuKind, Registers};
use abi::device::SourceId;

/// Both tables' entries begin here, after the header of every ACPI table and twelve bytes of their own.
const ENTRIES: usize = 48;
/// Most bits of a physical address (Intel SDM volume 3A, 4.1.4).
const ADDRESS_BITS: u32 = 52;

/// Reads a DMAR, all of it.
///
/// # Errors
/// If it contradicts itself or what the machine is known to have. The machine may then know a part of it.
pub fn read_dmar(table: &[u8], machine: &mut Machine) -> Result<(), Contradiction> {
    let mut rest = entries(table)?;
    let [flags] = field(table, 37)?;
    if flags & 1 != 0 {
        machine.set_interrupt_remapping();
    }
    while !rest.is_empty() {
        let kind = u16_at(rest, 0)?;
        let structure;
        (structure, rest) = split(rest, usize::from(u16_at(rest, 2)?), 4)?;
        match kind {
            0 => hardware_unit(structure, machine)?,
            1 => reserved_memory(structure, machine)?,
            // Address translation services, affinity and names say nothing that matters here.
            _ => {}
        }
    }
    Ok(())
}

/// A DRHD, which describes an IOMMU (8.3).
fn hardware_unit(structure: &[u8], machine: &mut Machine) -> Result<(), Contradiction> {
    let [flags, size] = field(structure, 4)?;
    let segment = u16_at(structure, 6)?;
    let phys = u64_at(structure, 8)?;
    // Units of older firmware say nothing of their size, and may have more than the one page that this then means.
    let pages = (1 << (size & 0xf)).clamp(2, IOMMU_PAGES_MAX);
    let unit = Iommu {
        kind: IommuKind::IntelVtd,
        registers: Registers { phys, virt: 0 },
        pages,
        flags: u32::from(flags),
        ..Iommu::NONE
    };
    add_iommu(unit, segment, machine)?;
    let mut rest = tail(structure, 16)?;
    while !rest.is_empty() {
        let scope;
        (scope, rest) = Scope::split(rest)?;
        match (scope.kind, scope.source()) {
            (Scope::IO_APIC, Some(source)) if segment == 0 => machine.set_io_apic_source(scope.id, source)?,
            (Scope::HPET, Some(source)) if segment == 0 => machine.set_hpet_source(scope.id, source)?,
            _ => {}
        }
    }
    Ok(())
}

/// An RMRR: memory that devices use on behalf of the firmware (8.4).
fn reserved_memory(structure: &[u8], machine: &mut Machine) -> Result<(), Contradiction> {
    let segment = u16_at(structure, 6)?;
    let (first, last) = (u64_at(structure, 8)?, u64_at(structure, 16)?);
    let extent = pages(first, last)?;
    machine.reserve_memory(extent)?;
    let mut rest = tail(structure, 24)?;
    while !rest.is_empty() {
        let scope;
        (scope, rest) = Scope::split(rest)?;
        match (scope.kind, scope.source()) {
            // Which buses are behind a bridge is written in the bridge, not here.
            (Scope::BRIDGE, _) | (Scope::FUNCTION | Scope::NAMED, None) => machine.leave_out(),
            (Scope::FUNCTION | Scope::NAMED, Some(_)) if segment != 0 => machine.leave_out(),
            (Scope::FUNCTION | Scope::NAMED, Some(source)) => machine.add_device_region(source, source, extent),
            _ => {}
        }
    }
    Ok(())
}

/// A device scope: one device or several, named by the way that leads there (8.3.1).
struct Scope<'a> {
    kind: u8,
    /// Number of the interrupt controller or timer in its own table.
    id: u8,
    bus: u8,
    /// Device and function on `bus`, then on the bus behind that bridge, and so on.
    path: &'a [[u8; 2]],
}

impl<'a> Scope<'a> {
    const FUNCTION: u8 = 1;
    const BRIDGE: u8 = 2;
    const IO_APIC: u8 = 3;
    const HPET: u8 = 4;
    /// A function or part of one that other tables call by a name.
    const NAMED: u8 = 5;

    /// Takes the first of several.
    fn split(rest: &'a [u8]) -> Result<(Self, &'a [u8]), Contradiction> {
        let [kind, len] = field(rest, 0)?;
        let known = (Self::FUNCTION..=Self::NAMED).contains(&kind);
        let (scope, rest) = split(rest, usize::from(len), if known { 8 } else { 2 })?;
        if !known {
            return Ok((Self { kind, id: 0, bus: 0, path: &[] }, rest));
        }
        let [id, bus] = field(scope, 4)?;
        let (path, odd) = tail(scope, 6)?.as_chunks();
        if !odd.is_empty() || path.iter().any(|&[device, function]| device > 0x1f || function > 7) {
            return Err(Contradiction);
        }
        Ok((Self { kind, id, bus, path }, rest))
    }

    /// The device, if no bridge leads there.
    fn source(&self) -> Option<SourceId> {
        match *self.path {
            [[device, function]] => Some(SourceId::new(self.bus, device, function)),
            _ => None,
        }
    }
}

/// Reads an IVRS, all of it.
///
/// # Errors
/// If it contradicts itself or what the machine is known to have. The machine may then know a part of it.
pub fn read_ivrs(table: &[u8], machine: &mut Machine) -> Result<(), Contradiction> {
    let mut rest = entries(table)?;
    machine.set_interrupt_remapping();
    while !rest.is_empty() {
        let [kind] = field(rest, 0)?;
        let block;
        (block, rest) = split(rest, usize::from(u16_at(rest, 2)?), 4)?;
        match kind {
            // Newer firmware describes an IOMMU two or three times, each time with more.
            0x10 => definition(block, 24, machine)?,
            0x11 | 0x40 => definition(block, 40, machine)?,
            0x20..=0x22 => memory_definition(kind, block, machine)?,
            _ => {}
        }
    }
    Ok(())
}

/// An IVHD block, which describes an IOMMU and then, from `entries` on, its devices (5.2).
fn definition(block: &[u8], entries: usize, machine: &mut Machine) -> Result<(), Contradiction> {
    /// A device that is no PCI function.
    const SPECIAL: u8 = 0x48;
    const IO_APIC: u8 = 1;
    const HPET: u8 = 2;

    let [flags] = field(block, 1)?;
    let segment = u16_at(block, 16)?;
    let unit = Iommu {
        kind: IommuKind::AmdVi,
        source: SourceId(u16_at(block, 4)?),
        capability_offset: u16_at(block, 6)?,
        registers: Registers { phys: u64_at(block, 8)?, virt: 0 },
        // 16 KiB; IOMMUs with performance counters have those behind, from 256 KiB on.
        pages: 4,
        flags: u32::from(flags),
    };
    add_iommu(unit, segment, machine)?;
    let mut rest = tail(block, entries)?;
    while let Some(&kind) = rest.first() {
        let len = match kind {
            0..0x40 => 4,
            0x40..0x80 => 8,
            0x80..0xc0 => 16,
            0xc0..0xf0 => 32,
            // It ends with a name, and before that the name's length.
            0xf0 => 22 + usize::from(field::<1>(rest, 21)?[0]),
            // Nobody has said how long these are, so that nothing behind can be read.
            _ => break,
        };
        let entry;
        (entry, rest) = split(rest, len, len)?;
        if kind == SPECIAL && segment == 0 {
            let [number, _, _, variety] = field(entry, 4)?;
            let source = SourceId(u16_at(entry, 5)?);
            match variety {
                IO_APIC => machine.set_io_apic_source(number, source)?,
                HPET => machine.set_hpet_source(number, source)?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// An IVMD block: memory that devices use on behalf of the firmware (5.2).
fn memory_definition(kind: u8, block: &[u8], machine: &mut Machine) -> Result<(), Contradiction> {
    let (device, end) = (SourceId(u16_at(block, 4)?), SourceId(u16_at(block, 6)?));
    let segment = u16_at(block, 8)?;
    let (start, len) = (u64_at(block, 16)?, u64_at(block, 24)?);
    let last = len.checked_sub(1).and_then(|rest| start.checked_add(rest)).ok_or(Contradiction)?;
    let extent = pages(start, last)?;
    let (first, last) = match kind {
        0x20 => (SourceId::FIRST, SourceId::LAST),
        0x21 => (device, device),
        _ => (device, end),
    };
    if first > last {
        return Err(Contradiction);
    }
    machine.reserve_memory(extent)?;
    if segment == 0 {
        machine.add_device_region(first, last, extent);
    } else {
        machine.leave_out();
    }
    Ok(())
}

/// Adds an IOMMU of a PCI segment group, if it is the first one, which is the only one that the kernel knows.
fn add_iommu(unit: Iommu, segment: u16, machine: &mut Machine) -> Result<(), Contradiction> {
    let start = unit.registers.phys;
    if start == 0 || !start.is_multiple_of(PAGE_SIZE) || unit.extent().end() > 1 << ADDRESS_BITS {
        return Err(Contradiction);
    }
    if segment == 0 {
        machine.add_iommu(unit)?;
    } else {
        machine.leave_out();
    }
    Ok(())
}

/// What follows the header of a table, if the table is as long as it says and its checksum is right (ACPI 6.4, 5.2.6).
fn entries(table: &[u8]) -> Result<&[u8], Contradiction> {
    let len = u32::from_le_bytes(field(table, 4)?);
    let sum = table.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    if usize::try_from(len) != Ok(table.len()) || sum != 0 {
        return Err(Contradiction);
    }
    tail(table, ENTRIES)
}

/// All pages of which the bytes from `first` to `last` have a part.
fn pages(first: u64, last: u64) -> Result<Extent, Contradiction> {
    if first > last || last >> ADDRESS_BITS != 0 {
        return Err(Contradiction);
    }
    Ok(Extent::between(first & !(PAGE_SIZE - 1), (last | (PAGE_SIZE - 1)) + 1))
}

/// Takes the first `len` bytes, which are at least `least`.
fn split(bytes: &[u8], len: usize, least: usize) -> Result<(&[u8], &[u8]), Contradiction> {
    if len < least.max(1) {
        return Err(Contradiction);
    }
    bytes.split_at_checked(len).ok_or(Contradiction)
}

/// What comes after the first `len` bytes.
fn tail(bytes: &[u8], len: usize) -> Result<&[u8], Contradiction> {
    bytes.get(len..).ok_or(Contradiction)
}

/// The `N` bytes at `at`.
fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Contradiction> {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().ok_or(Contradiction)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Contradiction> {
    field(bytes, at).map(u16::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, Contradiction> {
    field(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests;
