//! What devices see. No device is used here: what one can do with it is the suite `dma`.

use super::cases;
use crate::bench::Bench;
use crate::call::{call, results};
use crate::outcome::{Outcome, holds, refused, same};
use abi::device::{SourceId, SourceRange};
use abi::rights::{DeviceControlRights, MemoryRights};
use abi::syscall::{DEVICE_INTERRUPTS, InterruptSource, MapAccess, Syscall};
use abi::{Error, PAGE_SIZE, root};

cases![
    a_device_space_is_filled_and_emptied_like_others,
    a_device_space_goes_with_what_it_shows,
    a_function_has_one_device_space_at_a_time,
    a_whole_bus_has_one_device_space,
    only_memory_for_devices_is_shown_to_them,
    whole_windows_need_no_last_table,
    devices_need_their_control,
];

/// A function that no machine of the suite has.
const NOBODY: SourceId = SourceId::new(0, 30, 7);
const READ_WRITE: u64 = MapAccess::ReadWrite as u64;
const ALL: u64 = u16::MAX as u64;
/// Pages that one map covers at most.
const WINDOW_PAGES: u64 = 512;

fn make(memory: u64, page: u64, sources: SourceRange) -> Result<u64, Error> {
    call(Syscall::DeviceSpaceCreate, [root::ACCOUNT.0, memory, page, root::DEVICES.0, sources.to_register()])
}

/// A device space with as many pages for tables.
fn space(bench: &mut Bench, tables: u64) -> Result<u64, crate::outcome::Failure> {
    let memory = bench.memory(1 + tables)?;
    let space = make(memory, 0, SourceRange::one(NOBODY))?;
    if tables > 0 {
        call(Syscall::SpaceDonate, [space, memory, 1, tables])?;
    }
    Ok(space)
}

fn show(space: u64, memory: u64, address: u64, pages: u64) -> Result<u64, Error> {
    call(Syscall::Map, [space, memory, address, 0, pages, READ_WRITE])
}

fn a_device_space_is_filled_and_emptied_like_others(bench: &mut Bench) -> Outcome {
    let (space, memory) = (space(bench, 3)?, bench.memory(3)?);
    let mapping = show(space, memory, 0x10_0000, 3)?;
    refused(show(space, memory, 0x10_2000, 1), Error::AlreadyMapped)?;
    call(Syscall::Unmap, [space, mapping])?;
    show(space, memory, 0x10_2000, 1)?;
    let highest = call(Syscall::DeviceInfo, [root::DEVICES.0])?;
    let end = 1_u64 << highest;
    refused(show(space, memory, end, 1), Error::BadAddress)?;
    let missing = results(Syscall::Map, [space, memory, end - PAGE_SIZE, 0, 1, READ_WRITE]);
    same(Error::from_register(missing.rax), Err(Error::NeedTables))?;
    for address in [DEVICE_INTERRUPTS.start, DEVICE_INTERRUPTS.end - PAGE_SIZE] {
        refused(show(space, memory, address, 1), Error::BadAddress)?;
    }
    refused(call(Syscall::DomainCreate, [root::ACCOUNT.0, space, 1, 16, 0, 0]), Error::WrongState)
}

fn a_device_space_goes_with_what_it_shows(bench: &mut Bench) -> Outcome {
    let (space, memory) = (space(bench, 4)?, bench.memory(1)?);
    let part = call(Syscall::MemorySplit, [memory, 0, 1, ALL])?;
    show(space, part, 0x10_0000, 1)?;
    refused(call(Syscall::SpaceDonate, [root::SPACE.0, memory, 0, 1]), Error::NotSoleOwner)?;
    call(Syscall::CapRevoke, [memory])?;
    show(space, memory, 0x10_0000, 1)?;
    call(Syscall::Destroy, [space])?;
    // Nobody sees it any more.
    let other = bench.space()?;
    call(Syscall::SpaceDonate, [other, memory, 0, 1])?;
    Ok(())
}

fn a_function_has_one_device_space_at_a_time(bench: &mut Bench) -> Outcome {
    let memory = bench.memory(3)?;
    let device = SourceRange::new(SourceId::new(0, 30, 0), NOBODY).unwrap_or(SourceRange::one(NOBODY));
    let first = make(memory, 0, SourceRange::one(NOBODY))?;
    refused(make(memory, 1, SourceRange::one(NOBODY)), Error::InUse)?;
    refused(make(memory, 1, device), Error::InUse)?;
    make(memory, 1, SourceRange::one(SourceId::new(0, 29, 0)))?;
    call(Syscall::Destroy, [first])?;
    make(memory, 0, device)?;
    refused(make(memory, 2, SourceRange::one(NOBODY)), Error::InUse)
}

/// As many functions as can be behind a bridge that hides who they are.
fn a_whole_bus_has_one_device_space(bench: &mut Bench) -> Outcome {
    let memory = bench.memory(2)?;
    let (first, last) = (SourceId::new(9, 0, 0), SourceId::new(9, 31, 7));
    let bus = make(memory, 0, SourceRange::new(first, last).unwrap_or(SourceRange::one(first)))?;
    refused(make(memory, 1, SourceRange::one(SourceId::new(9, 11, 3))), Error::InUse)?;
    call(Syscall::Destroy, [bus])?;
    make(memory, 1, SourceRange::one(last))?;
    Ok(())
}

fn only_memory_for_devices_is_shown_to_them(bench: &mut Bench) -> Outcome {
    let (space, memory) = (space(bench, 4)?, bench.memory(1)?);
    let rights = MemoryRights::all() - MemoryRights::DMA;
    let blind = call(Syscall::CapCopy, [memory, rights.bits().into(), 0])?;
    refused(show(space, blind, 0x10_0000, 1), Error::MissingRight)?;
    let code = MapAccess::ReadExecute as u64;
    refused(call(Syscall::Map, [space, memory, 0x10_0000, 0, 1, code]), Error::BadArgument)
}

fn whole_windows_need_no_last_table(bench: &mut Bench) -> Outcome {
    let memory = bench.memory(2 * WINDOW_PAGES)?;
    let first = call(Syscall::MemoryInfo, [memory])?;
    let aligned = first.next_multiple_of(WINDOW_PAGES) - first;
    let window = call(Syscall::MemorySplit, [memory, aligned, WINDOW_PAGES, ALL])?;
    // Below the root table, as many as lead to entries of the second level.
    let tables = if call(Syscall::DeviceInfo, [root::DEVICES.0])? >= 48 { 2 } else { 1 };
    let space = space(bench, tables)?;
    for address in [0x20_0000, 0x40_0000] {
        let mapping = show(space, window, address, WINDOW_PAGES)?;
        refused(show(space, window, address + PAGE_SIZE, 1), Error::AlreadyMapped)?;
        call(Syscall::Unmap, [space, mapping])?;
    }
    refused(show(space, window, 0x60_1000, WINDOW_PAGES - 1).map(drop), Error::NeedTables)
}

fn devices_need_their_control(bench: &mut Bench) -> Outcome {
    let memory = bench.memory(1)?;
    let sources = SourceRange::one(NOBODY).to_register();
    refused(call(Syscall::DeviceSpaceCreate, [root::ACCOUNT.0, memory, 0, root::SYSTEM.0, sources]), Error::WrongKind)?;
    let deaf = call(Syscall::CapCopy, [root::DEVICES.0, DeviceControlRights::CREATE.bits().into(), 0])?;
    refused(call(Syscall::DeviceStray, [deaf]), Error::MissingRight)?;
    let blind = call(Syscall::CapCopy, [root::DEVICES.0, DeviceControlRights::WATCH.bits().into(), 0])?;
    refused(call(Syscall::DeviceSpaceCreate, [root::ACCOUNT.0, memory, 0, blind, sources]), Error::MissingRight)?;
    let interrupt = call(Syscall::InterruptCreate, [root::INTERRUPTS.0, InterruptSource::Message.to_register()])?;
    refused(call(Syscall::DeviceRoute, [blind, interrupt, NOBODY.0.into()]), Error::MissingRight)?;
    call(Syscall::DeviceRoute, [root::DEVICES.0, interrupt, NOBODY.0.into()])?;
    refused(call(Syscall::DeviceStray, [root::DEVICES.0]), Error::WouldBlock)?;
    holds(call(Syscall::DeviceInfo, [deaf])? >= 39, "whoever holds the control may ask what there is")
}
