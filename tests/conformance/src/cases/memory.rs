//! Memory: splitting, mapping, unmapping, donating.

use super::cases;
use super::victim::{DONE, FOUND, Victim, load, store};
use crate::actor::{self, Memory};
use crate::bench::{Bench, WINDOW, statistics};
use crate::call::{call, results};
use crate::outcome::{Failure, Outcome, holds, refused, same};
use abi::fault::{FaultKind, FaultWord};
use abi::rights::{MemoryRights, SpaceRights};
use abi::root::{self, ExtentKind, FIRST_EXTENT};
use abi::syscall::{Charge, MapAccess, Syscall};
use abi::{Error, Handle, PAGE_SIZE, USER_END};

cases![
    a_part_of_memory_lies_within_it,
    where_memory_lies_is_told_only_with_the_right,
    mapped_memory_keeps_what_was_written_through_another_mapping,
    a_range_that_is_mapped_is_not_mapped_again,
    addresses_that_cannot_be_mapped_are_refused,
    nothing_is_mapped_with_more_access_than_the_capability_has,
    no_access_is_writable_and_executable,
    missing_page_tables_are_counted,
    an_unmapped_page_faults,
    a_page_that_one_unmaps_for_oneself_faults_at_once,
    a_mapping_is_unmapped_only_through_its_own_space,
    revoking_memory_unmaps_it_everywhere,
    deleting_a_part_keeps_its_mappings_for_the_parent,
    a_donated_page_is_not_mapped_or_donated_again,
    mapped_memory_is_not_donated,
    what_was_a_page_table_comes_back_zeroed_and_what_was_none_as_it_was,
    device_memory_is_not_donated,
    mappings_are_charged_to_the_account_of_the_space,
    a_space_that_a_domain_uses_is_not_destroyed,
    mapping_needs_the_right_on_the_space,
    another_space_sees_only_what_is_mapped_there,
];

const ALL: u64 = u16::MAX as u64;
const READ_WRITE: u64 = MapAccess::ReadWrite as u64;

fn map(space: u64, memory: u64, address: u64, first: u64, pages: u64, access: u64) -> Result<u64, Error> {
    call(Syscall::Map, [space, memory, address, first, pages, access])
}

fn a_part_of_memory_lies_within_it(bench: &mut Bench) -> Outcome {
    let memory = bench.memory(4)?;
    let part = call(Syscall::MemorySplit, [memory, 1, 2, ALL])?;
    let (whole, found) = (results(Syscall::MemoryInfo, [memory]), results(Syscall::MemoryInfo, [part]));
    same((found.rax, found.rdi), (whole.rax + 1, 2))?;
    for (first, pages) in [(0, 0), (2, 1), (0, 3), (1, 2), (u64::MAX, 1), (1, u64::MAX)] {
        refused(call(Syscall::MemorySplit, [part, first, pages, ALL]), Error::BadArgument)?;
    }
    Ok(())
}

fn where_memory_lies_is_told_only_with_the_right(bench: &mut Bench) -> Outcome {
    let memory = bench.memory(1)?;
    let rights = MemoryRights::all() - MemoryRights::DMA;
    let blind = call(Syscall::CapCopy, [memory, rights.bits().into(), 0])?;
    let found = results(Syscall::MemoryInfo, [blind]);
    same((found.rax, found.rdi, found.rsi), (0, 1, 0))?;
    same(results(Syscall::CapInfo, [blind]).rsi, 1)
}

fn mapped_memory_keeps_what_was_written_through_another_mapping(bench: &mut Bench) -> Outcome {
    let memory = bench.memory(3)?;
    bench.map(memory, WINDOW, 3)?;
    map(root::SPACE.0, memory, WINDOW + 0x10_000, 1, 1, MapAccess::Read as u64)?;
    let length = PAGE_SIZE as usize;
    Memory(WINDOW).fill(length, length, 9);
    holds(Memory(WINDOW + 0x10_000).holds(0, length, 9), "both mappings show the same page")
}

fn a_range_that_is_mapped_is_not_mapped_again(bench: &mut Bench) -> Outcome {
    let (memory, other) = (bench.memory(2)?, bench.memory(4)?);
    bench.map(memory, WINDOW + PAGE_SIZE, 2)?;
    for address in [WINDOW, WINDOW + PAGE_SIZE, WINDOW + 2 * PAGE_SIZE] {
        refused(bench.map(other, address, 2), Error::AlreadyMapped)?;
    }
    refused(bench.map(other, WINDOW, 4), Error::AlreadyMapped)?;
    bench.map(other, WINDOW + 3 * PAGE_SIZE, 4)?;
    Ok(())
}

fn addresses_that_cannot_be_mapped_are_refused(bench: &mut Bench) -> Outcome {
    let memory = bench.memory(2)?;
    let window_end = (WINDOW | 0x1f_ffff) + 1;
    for address in [
        0,
        WINDOW + 1,
        WINDOW + 0x800,
        USER_END,
        USER_END - PAGE_SIZE,
        window_end - PAGE_SIZE,
        0x0000_8000_0000_0000,
        abi::boot::DIRECT_MAP_BASE,
        abi::boot::KERNEL_BASE,
        u64::MAX - 0xfff,
    ] {
        refused(bench.map(memory, address, 2), Error::BadAddress)?;
    }
    for (first, pages) in [(0, 0), (0, 3), (2, 1), (u64::MAX, 1)] {
        refused(map(root::SPACE.0, memory, WINDOW, first, pages, READ_WRITE), Error::BadArgument)?;
    }
    Ok(())
}

fn nothing_is_mapped_with_more_access_than_the_capability_has(bench: &mut Bench) -> Outcome {
    let memory = bench.memory(1)?;
    let read_only = call(Syscall::CapCopy, [memory, MemoryRights::READ.bits().into(), 0])?;
    refused(map(root::SPACE.0, read_only, WINDOW, 0, 1, READ_WRITE), Error::MissingRight)?;
    refused(map(root::SPACE.0, read_only, WINDOW, 0, 1, MapAccess::ReadExecute as u64), Error::MissingRight)?;
    map(root::SPACE.0, read_only, WINDOW, 0, 1, MapAccess::Read as u64)?;
    let blind = call(Syscall::CapCopy, [memory, MemoryRights::DONATE.bits().into(), 0])?;
    refused(map(root::SPACE.0, blind, WINDOW + PAGE_SIZE, 0, 1, MapAccess::Read as u64), Error::MissingRight)
}

fn no_access_is_writable_and_executable(bench: &mut Bench) -> Outcome {
    let memory = bench.memory(1)?;
    for access in [0, 2, 4, 6, 7, 8, u64::MAX] {
        refused(map(root::SPACE.0, memory, WINDOW, 0, 1, access), Error::BadArgument)?;
    }
    Ok(())
}

fn missing_page_tables_are_counted(bench: &mut Bench) -> Outcome {
    let memory = bench.memory(5)?;
    let space = call(Syscall::SpaceCreate, [root::ACCOUNT.0, memory, 0])?;
    for donated in 0..3 {
        let found = results(Syscall::Map, [space, memory, 0x4000_0000, 4, 1, READ_WRITE]);
        refused(found.value(), Error::NeedTables)?;
        same(found.rdi, 3 - donated)?;
        call(Syscall::SpaceDonate, [space, memory, 1 + donated, 1])?;
    }
    map(space, memory, 0x4000_0000, 4, 1, READ_WRITE)?;
    // The next page needs no table, one far away needs them all.
    let other = bench.memory(1)?;
    map(space, other, 0x4000_1000, 0, 1, READ_WRITE)?;
    let found = results(Syscall::Map, [space, other, 0x7000_0000_0000, 0, 1, READ_WRITE]);
    refused(found.value(), Error::NeedTables)?;
    same(found.rdi, 3)
}

/// Where victims map what the case is about: the window of the suite's image, whose page table is there.
const THERE: u64 = 0x8f_0000;

fn an_unmapped_page_faults(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    let memory = bench.memory(1)?;
    let mapping = map(victim.child.space, memory, THERE, 0, 1, READ_WRITE)?;
    victim.start(bench, store, THERE)?;
    bench.settle()?;
    same(actor::read(DONE), 1)?;
    call(Syscall::Unmap, [victim.child.space, mapping])?;
    let fault = victim.fault_of(bench, load, THERE)?;
    same((fault.kind, fault.word(FaultWord::Address)), (FaultKind::Read, THERE))
}

/// Touches pages, unmaps them, and touches the last one again. The board names space, mapping and address.
extern "C" fn touch_and_unmap(pages: u64) -> ! {
    let last = Memory(actor::read(2) + (pages - 1) * PAGE_SIZE);
    for page in 0..pages {
        Memory(actor::read(2) + page * PAGE_SIZE).set_byte(0, 1);
    }
    actor::write(3, 1);
    let unmapped = call(Syscall::Unmap, [actor::read(0), actor::read(1)]);
    actor::write(4, u64::from(unmapped.is_ok()));
    last.set_byte(0, 2);
    super::victim::done()
}

fn a_page_that_one_unmaps_for_oneself_faults_at_once(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    // Few pages are forgotten one by one, many all at once.
    for (pages, address) in [(1, THERE), (64, 0x88_0000)] {
        let memory = bench.memory(pages)?;
        actor::write(0, call(Syscall::CapGrant, [victim.child.domain, victim.child.space, ALL, 0])?);
        actor::write(1, map(victim.child.space, memory, address, 0, pages, READ_WRITE)?);
        actor::write(2, address);
        let fault = victim.fault_of(bench, touch_and_unmap, pages)?;
        same((actor::read(3), actor::read(4)), (1, 1))?;
        let last = address + (pages - 1) * PAGE_SIZE;
        same((fault.kind, fault.word(FaultWord::Address)), (FaultKind::Write, last))?;
    }
    Ok(())
}

fn a_mapping_is_unmapped_only_through_its_own_space(bench: &mut Bench) -> Outcome {
    let (space, memory) = (bench.space()?, bench.memory(1)?);
    let mapping = map(space, memory, 0x4000_0000, 0, 1, READ_WRITE)?;
    refused(call(Syscall::Unmap, [root::SPACE.0, mapping]), Error::StaleHandle)?;
    for nonsense in [0, 1 << 60, u64::MAX] {
        refused(call(Syscall::Unmap, [space, nonsense]), Error::StaleHandle)?;
    }
    call(Syscall::Unmap, [space, mapping])?;
    refused(call(Syscall::Unmap, [space, mapping]), Error::StaleHandle)
}

fn revoking_memory_unmaps_it_everywhere(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    let memory = bench.memory(2)?;
    let part = call(Syscall::MemorySplit, [memory, 1, 1, ALL])?;
    map(victim.child.space, part, THERE, 0, 1, READ_WRITE)?;
    map(victim.child.space, memory, THERE + PAGE_SIZE, 0, 2, READ_WRITE)?;
    call(Syscall::CapRevoke, [memory])?;
    for address in [THERE, THERE + PAGE_SIZE, THERE + 2 * PAGE_SIZE] {
        same(victim.fault_of(bench, store, address)?.kind, FaultKind::Write)?;
    }
    refused(call(Syscall::CapInfo, [part]), Error::StaleHandle)
}

fn deleting_a_part_keeps_its_mappings_for_the_parent(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    let memory = bench.memory(1)?;
    let part = call(Syscall::MemorySplit, [memory, 0, 1, ALL])?;
    map(victim.child.space, part, THERE, 0, 1, READ_WRITE)?;
    call(Syscall::CapDelete, [part])?;
    victim.start(bench, store, THERE)?;
    bench.settle()?;
    same(actor::read(DONE), 1)?;
    call(Syscall::CapRevoke, [memory])?;
    same(victim.fault_of(bench, load, THERE)?.kind, FaultKind::Read)
}

fn a_donated_page_is_not_mapped_or_donated_again(bench: &mut Bench) -> Outcome {
    let memory = bench.memory(3)?;
    let space = call(Syscall::SpaceCreate, [root::ACCOUNT.0, memory, 0])?;
    call(Syscall::SpaceDonate, [space, memory, 1, 1])?;
    for page in [0, 1] {
        refused(map(root::SPACE.0, memory, WINDOW, page, 1, READ_WRITE), Error::KernelPage)?;
        refused(call(Syscall::SpaceDonate, [space, memory, page, 1]), Error::KernelPage)?;
        refused(call(Syscall::SpaceCreate, [root::ACCOUNT.0, memory, page]), Error::KernelPage)?;
    }
    refused(map(root::SPACE.0, memory, WINDOW, 0, 3, READ_WRITE), Error::KernelPage)?;
    refused(call(Syscall::ThreadBuffer, [root::THREAD.0, memory, 0, WINDOW]), Error::KernelPage)?;
    map(root::SPACE.0, memory, WINDOW, 2, 1, READ_WRITE)?;
    Ok(())
}

fn mapped_memory_is_not_donated(bench: &mut Bench) -> Outcome {
    let (space, memory) = (bench.space()?, bench.memory(2)?);
    bench.map(memory, WINDOW, 1)?;
    refused(call(Syscall::SpaceDonate, [space, memory, 0, 1]), Error::NotSoleOwner)?;
    refused(call(Syscall::SpaceDonate, [space, memory, 0, 2]), Error::NotSoleOwner)?;
    refused(call(Syscall::SpaceCreate, [root::ACCOUNT.0, memory, 0]), Error::NotSoleOwner)?;
    for pages in [0, 3, 9, u64::MAX] {
        refused(call(Syscall::SpaceDonate, [space, memory, 1, pages]), Error::BadArgument)?;
    }
    call(Syscall::SpaceDonate, [space, memory, 1, 1])?;
    Ok(())
}

fn what_was_a_page_table_comes_back_zeroed_and_what_was_none_as_it_was(bench: &mut Bench) -> Outcome {
    const PAGES: u64 = 6;
    let memory = bench.memory(PAGES)?;
    let mapping = bench.map(memory, WINDOW, PAGES)?;
    let page = |number: u64| Memory(WINDOW + number * PAGE_SIZE);
    (0..PAGES).for_each(|number| page(number).fill(0, PAGE_SIZE as usize, 0x77));
    call(Syscall::Unmap, [root::SPACE.0, mapping])?;
    let kernel_pages = statistics()?.kernel_frames;
    let space = call(Syscall::SpaceCreate, [root::ACCOUNT.0, memory, 0])?;
    call(Syscall::SpaceDonate, [space, memory, 1, PAGES - 1])?;
    same(statistics()?.kernel_frames, kernel_pages + PAGES)?;
    // Four of the pages are tables when they come back, with entries in them.
    let other = bench.memory(1)?;
    map(space, other, 0x4000_0000, 0, 1, READ_WRITE)?;
    call(Syscall::Destroy, [space])?;
    same(statistics()?.kernel_frames, kernel_pages)?;
    bench.map(memory, WINDOW, PAGES)?;
    // The others hold what was written before.
    let is_zero = |number: &u64| page(*number).is_all(0, PAGE_SIZE as usize, 0);
    let as_it_was = |number: &u64| page(*number).holds(0, PAGE_SIZE as usize, 0x77);
    same(((0..PAGES).filter(is_zero).count(), (0..PAGES).filter(as_it_was).count()), (4, 2))
}

fn device_memory_is_not_donated(bench: &mut Bench) -> Outcome {
    let extents = bench.info.extents.iter().enumerate();
    let device = extents
        .filter(|(_, extent)| extent.kind == ExtentKind::Device as u32)
        .map(|(index, _)| Handle::new(FIRST_EXTENT + index as u16, 1).0)
        .next()
        .ok_or_else(|| Failure::new("no device memory".into()))?;
    let space = bench.space()?;
    refused(call(Syscall::SpaceDonate, [space, device, 0, 1]), Error::BadArgument)?;
    refused(call(Syscall::SpaceCreate, [root::ACCOUNT.0, device, 0]), Error::BadArgument)?;
    refused(call(Syscall::ThreadBuffer, [root::THREAD.0, device, 0, WINDOW]), Error::BadArgument)?;
    // The kernel never reads or writes device memory for somebody.
    let part = call(Syscall::MemorySplit, [device, 0, 1, ALL])?;
    bench.map(part, WINDOW, 1)?;
    refused(call(Syscall::Statistics, [root::SYSTEM.0, WINDOW]), Error::BadAddress)
}

fn mappings_are_charged_to_the_account_of_the_space(bench: &mut Bench) -> Outcome {
    let account = bench.account(&[(Charge::Spaces, 1), (Charge::Mappings, 1)])?;
    let memory = bench.memory(6)?;
    let space = call(Syscall::SpaceCreate, [account, memory, 0])?;
    call(Syscall::SpaceDonate, [space, memory, 1, 3])?;
    let mapping = map(space, memory, 0x4000_0000, 4, 1, READ_WRITE)?;
    refused(map(space, memory, 0x4000_1000, 5, 1, READ_WRITE), Error::QuotaExceeded)?;
    call(Syscall::Unmap, [space, mapping])?;
    map(space, memory, 0x4000_1000, 5, 1, READ_WRITE)?;
    Ok(())
}

fn a_space_that_a_domain_uses_is_not_destroyed(bench: &mut Bench) -> Outcome {
    let child = bench.child(50)?;
    refused(call(Syscall::Destroy, [child.space]), Error::WrongState)?;
    call(Syscall::Destroy, [child.domain])?;
    call(Syscall::Destroy, [child.space])?;
    refused(call(Syscall::SpaceDonate, [child.space, 0, 0, 1]), Error::StaleHandle)
}

fn mapping_needs_the_right_on_the_space(bench: &mut Bench) -> Outcome {
    let (space, memory) = (bench.space()?, bench.memory(1)?);
    let weak = call(Syscall::CapCopy, [space, SpaceRights::DESTROY.bits().into(), 0])?;
    refused(map(weak, memory, 0x4000_0000, 0, 1, READ_WRITE), Error::MissingRight)?;
    refused(call(Syscall::SpaceDonate, [weak, memory, 0, 1]), Error::MissingRight)?;
    let weak = call(Syscall::CapCopy, [space, SpaceRights::MAP.bits().into(), 0])?;
    refused(call(Syscall::Destroy, [weak]), Error::MissingRight)
}

fn another_space_sees_only_what_is_mapped_there(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    let memory = bench.memory(1)?;
    bench.map(memory, WINDOW, 1)?;
    Memory(WINDOW).set_byte(0, 0x42);
    map(victim.child.space, memory, THERE, 0, 1, MapAccess::Read as u64)?;
    victim.start(bench, load, THERE)?;
    bench.settle()?;
    same(actor::read(FOUND), 0x42)?;
    same(victim.fault_of(bench, load, WINDOW)?.kind, FaultKind::Read)?;
    same(victim.fault_of(bench, load, root::INFO_ADDRESS)?.kind, FaultKind::Read)?;
    same(victim.fault_of(bench, store, THERE)?.kind, FaultKind::Write)
}
