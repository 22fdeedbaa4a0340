//! Attacks on memory by a device that copies whatever it is told to.

use super::Reached;
use super::edu::Edu;
use super::lab::{BYTES, LENGTH, Lab, NEXT, OTHER, OWN, forget_strays, place_of};
use crate::bench::Bench;
use crate::call::call;
use crate::outcome::{Failure, holds};
use abi::boot::{IommuKind, RegionKind};
use abi::syscall::{MapAccess, Syscall};
use abi::{PAGE_SIZE, root};

type Attack = Result<Reached, Failure>;

/// Page tables that one mapping needs.
const TABLES: u64 = 3;
/// Pages that one entry of a table can show at once, and where they are shown.
const LARGE_PAGES: u64 = 512;
const LARGE: u64 = 2 * LARGE_PAGES * PAGE_SIZE;

/// A page of somebody else's, which the processor sees at [`OTHER`].
fn other(bench: &mut Bench) -> Result<u64, Failure> {
    let other = bench.memory(1)?;
    bench.map(other, OTHER.0, 1)?;
    Ok(other)
}

pub(super) fn write_memory_that_nobody_has_shared(bench: &mut Bench, lab: &mut Lab<Edu>) -> Attack {
    let other = other(bench)?;
    lab.writes(place_of(other)?)
}

pub(super) fn write_before_any_driver_has_the_device(bench: &mut Bench, lab: &mut Lab<Edu>) -> Attack {
    let other = other(bench)?;
    lab.load(0x51)?;
    lab.detach()?;
    OTHER.fill(0, LENGTH, 0x17);
    lab.device.give(place_of(other)?, BYTES)?;
    Ok((!OTHER.holds(0, LENGTH, 0x17)).into())
}

pub(super) fn write_beyond_every_address(bench: &mut Bench, lab: &mut Lab<Edu>) -> Attack {
    if !lab.has_iommu {
        return Ok(Reached::NotTried);
    }
    lab.load(0x51)?;
    OWN.fill(0, LENGTH, 0x17);
    for bits in [39, 47, 48, 52, 63] {
        // Were the upper bits not looked at, this would be the own page.
        lab.device.give(1 << bits | lab.shown, BYTES)?;
        lab.device.give(u64::MAX << bits | lab.shown, BYTES)?;
    }
    lab.device.give(u64::MAX - BYTES / 2, BYTES)?;
    // What was not blocked has changed nothing but the own page: there is nothing else at these addresses.
    let by_amd = bench.boot_info().platform.iommus.as_slice().iter().any(|unit| unit.kind == IommuKind::AmdVi);
    Ok(match (OWN.holds(0, LENGTH, 0x17), by_amd) {
        (true, _) => Reached::No,
        (false, true) => Reached::Unchecked("its own page: QEMU takes the lower bits"),
        (false, false) => Reached::Yes,
    })
}

pub(super) fn read_the_kernels_text(bench: &mut Bench, lab: &mut Lab<Edu>) -> Attack {
    lab.reads(bench.boot_info().kernel_image.start)
}

pub(super) fn overwrite_the_kernels_text(bench: &mut Bench, lab: &mut Lab<Edu>) -> Attack {
    if !lab.has_iommu {
        return Ok(Reached::NotTried);
    }
    // Were it not blocked, nobody would be left to say so.
    lab.load(0)?;
    lab.device.give(bench.boot_info().kernel_image.start, BYTES)?;
    Ok(Reached::No)
}

pub(super) fn overwrite_a_page_table(bench: &mut Bench, lab: &mut Lab<Edu>) -> Attack {
    let (memory, tables) = (bench.memory(1)?, bench.memory(1 + TABLES)?);
    let space = call(Syscall::SpaceCreate, [root::ACCOUNT.0, tables, 0])?;
    call(Syscall::SpaceDonate, [space, tables, 1, TABLES])?;
    let place = place_of(tables)?;
    lab.load(0x77)?;
    for table in 0..=TABLES {
        lab.device.give(place + table * PAGE_SIZE, BYTES)?;
    }
    if lab.has_iommu {
        // Nobody can read them, but with a single entry changed the kernel would find something there.
        let mapped = call(Syscall::Map, [space, memory, 0x1000, 0, 1, MapAccess::Read as u64]);
        return Ok(if mapped.is_ok() { Reached::No } else { Reached::Yes });
    }
    lab.load(0)?;
    lab.device.take(place, BYTES)?;
    lab.fetch()?;
    Ok(OWN.holds(0, LENGTH, 0x77).into())
}

pub(super) fn read_a_page_table(bench: &mut Bench, lab: &mut Lab<Edu>) -> Attack {
    let regions = bench.boot_info().memory.as_slice();
    let tables = regions.iter().find(|region| region.kind == RegionKind::PageTables);
    let tables = tables.ok_or_else(|| Failure::new("no page tables are described".into()))?;
    lab.reads(tables.extent.start)
}

pub(super) fn overwrite_memory_of_another_domain(bench: &mut Bench, lab: &mut Lab<Edu>) -> Attack {
    let child = bench.child(10)?;
    let other = other(bench)?;
    call(Syscall::Map, [child.space, other, 0x4000_0000, 0, 1, MapAccess::ReadWrite as u64])?;
    lab.writes(place_of(other)?)
}

pub(super) fn write_its_own_memory_after_it_was_unmapped(bench: &mut Bench, lab: &mut Lab<Edu>) -> Attack {
    let other = other(bench)?;
    if !lab.has_iommu {
        return lab.writes(place_of(other)?);
    }
    let mapping = lab.show(other, NEXT, MapAccess::ReadWrite)?;
    holds(lab.writes(NEXT)? == Reached::Yes, "it was its own until then")?;
    call(Syscall::Unmap, [lab.space, mapping])?;
    forget_strays();
    lab.writes(NEXT)
}

pub(super) fn write_a_large_page_after_it_was_unmapped(bench: &mut Bench, lab: &mut Lab<Edu>) -> Attack {
    let memory = bench.memory(2 * LARGE_PAGES)?;
    let frame = place_of(memory)? / PAGE_SIZE;
    let skipped = frame.next_multiple_of(LARGE_PAGES) - frame;
    let large = call(Syscall::MemorySplit, [memory, skipped, LARGE_PAGES, u16::MAX.into()])?;
    // The last page of it.
    let page = call(Syscall::MemorySplit, [large, LARGE_PAGES - 1, 1, u16::MAX.into()])?;
    bench.map(page, OTHER.0, 1)?;
    if !lab.has_iommu {
        return lab.writes(place_of(page)?);
    }
    let arguments = [lab.space, large, LARGE, 0, LARGE_PAGES, MapAccess::ReadWrite as u64];
    let mapping = call(Syscall::Map, arguments)?;
    let to = LARGE + (LARGE_PAGES - 1) * PAGE_SIZE;
    holds(lab.writes(to)? == Reached::Yes, "it was its own until then")?;
    call(Syscall::Unmap, [lab.space, mapping])?;
    forget_strays();
    lab.writes(to)
}

pub(super) fn write_memory_that_was_revoked_and_given_to_another(bench: &mut Bench, lab: &mut Lab<Edu>) -> Attack {
    let whole = bench.memory(1)?;
    let drivers = call(Syscall::MemorySplit, [whole, 0, 1, u16::MAX.into()])?;
    let to = lab.lend(drivers, MapAccess::ReadWrite)?;
    lab.load(0x51)?;
    lab.device.give(to, BYTES)?;
    call(Syscall::CapRevoke, [whole])?;
    bench.map(whole, OTHER.0, 1)?;
    forget_strays();
    lab.writes(to)
}

pub(super) fn write_memory_that_may_only_be_read(bench: &mut Bench, lab: &mut Lab<Edu>) -> Attack {
    let other = other(bench)?;
    let to = lab.lend(other, MapAccess::Read)?;
    lab.writes(to)
}

pub(super) fn write_after_its_driver_is_gone(bench: &mut Bench, lab: &mut Lab<Edu>) -> Attack {
    let other = other(bench)?;
    let to = lab.lend(other, MapAccess::ReadWrite)?;
    holds(lab.writes(to)? == Reached::Yes, "it was its own until then")?;
    lab.detach()?;
    forget_strays();
    OTHER.fill(0, LENGTH, 0x17);
    lab.device.give(to, BYTES)?;
    Ok((!OTHER.holds(0, LENGTH, 0x17)).into())
}

pub(super) fn overwrite_the_registers_of_the_iommu(bench: &mut Bench, lab: &mut Lab<Edu>) -> Attack {
    let Some(iommu) = bench.boot_info().platform.iommus.as_slice().first() else {
        return Ok(Reached::NotTried);
    };
    lab.load(0)?;
    lab.device.give(iommu.registers.phys, 64)?;
    lab.still_works()?;
    Ok(Reached::No)
}
