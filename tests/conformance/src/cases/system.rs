//! What the root domain finds, the clock, the log and the statistics.

use super::cases;
use crate::actor;
use crate::bench::{Bench, statistics};
use crate::call::{call, now, raw, results, sleep};
use crate::outcome::{Outcome, holds, refused, same};
use abi::rights::SystemRights;
use abi::root::{self, ExtentKind, FIRST_EXTENT, RootInfo};
use abi::syscall::{Charge, Syscall};
use abi::{Error, Handle};
use alloc::vec;

cases![
    an_unknown_system_call_is_refused,
    registers_come_back_as_the_manual_says,
    the_clock_only_goes_forward,
    a_sleep_lasts_at_least_as_long_as_asked,
    the_root_information_describes_every_memory_capability,
    no_two_extents_share_a_page,
    the_kernels_own_registers_are_in_no_extent,
    the_boot_archive_is_mapped,
    the_log_can_be_read_from_any_position,
    the_log_needs_its_right,
    statistics_tell_of_memory_and_processors,
    statistics_need_their_right,
    results_are_not_written_to_memory_that_is_not_writable,
];

fn an_unknown_system_call_is_refused(_: &mut Bench) -> Outcome {
    for number in [11, 15, 31, 255, u64::from(u32::MAX) + 1, u64::MAX] {
        refused(raw(number, [0; 6]).0.value(), Error::UnknownSyscall)?;
    }
    Ok(())
}

fn registers_come_back_as_the_manual_says(_: &mut Bench) -> Outcome {
    let (found, scrubbed) = raw(Syscall::CapInfo as u64, [root::ACCOUNT.0, 7, 7, 7, 7, 7]);
    found.value()?;
    same(scrubbed, [0; 3])?;
    let (_, scrubbed) = raw(u64::MAX, [7; 6]);
    same(scrubbed, [0; 3])
}

fn the_clock_only_goes_forward(_: &mut Bench) -> Outcome {
    let mut last = now();
    holds(last > 0, "time has passed since boot")?;
    for _ in 0..1000 {
        let next = now();
        holds(next >= last, "the clock does not go back")?;
        last = next;
    }
    Ok(())
}

fn a_sleep_lasts_at_least_as_long_as_asked(_: &mut Bench) -> Outcome {
    for microseconds in [50, 1_000, 20_000] {
        let before = now();
        sleep(microseconds * 1000);
        holds(now() - before >= microseconds * 1000, "the sleep was long enough")?;
    }
    Ok(())
}

fn extents(info: &RootInfo) -> impl Iterator<Item = (u64, &root::Extent)> {
    let used = info.extents.iter().take(info.extents_used as usize);
    used.enumerate().map(|(index, extent)| (Handle::new(FIRST_EXTENT + index as u16, 1).0, extent))
}

fn the_root_information_describes_every_memory_capability(bench: &mut Bench) -> Outcome {
    holds(bench.info.extents_used >= 3, "there are extents")?;
    for (handle, extent) in extents(bench.info) {
        let found = results(Syscall::MemoryInfo, [handle]);
        let device = extent.kind == ExtentKind::Device as u32;
        same((found.value()?, found.rdi, found.rsi), (extent.frame, extent.pages, u64::from(device)))?;
    }
    Ok(())
}

fn no_two_extents_share_a_page(bench: &mut Bench) -> Outcome {
    for (one, first) in extents(bench.info) {
        for (other, second) in extents(bench.info) {
            let apart = first.frame + first.pages <= second.frame || second.frame + second.pages <= first.frame;
            holds(one == other || apart, "two extents share no page")?;
        }
    }
    Ok(())
}

fn the_kernels_own_registers_are_in_no_extent(bench: &mut Bench) -> Outcome {
    let platform = &bench.boot_info().platform;
    let io_apics = platform.io_apics.as_slice().iter().map(|controller| (controller.registers, 1));
    let iommus = platform.iommus.as_slice().iter().map(|unit| (unit.registers, u64::from(unit.pages)));
    let single = [(platform.local_apic, 1), (platform.hpet, 1)];
    for (registers, pages) in single.into_iter().chain(io_apics).chain(iommus) {
        let frame = registers.phys / abi::PAGE_SIZE;
        let held =
            extents(bench.info).any(|(_, extent)| extent.frame < frame + pages && frame < extent.frame + extent.pages);
        holds(!registers.is_present() || !held, "the kernel keeps its registers to itself")?;
    }
    Ok(())
}

fn the_boot_archive_is_mapped(bench: &mut Bench) -> Outcome {
    holds(bench.info.archive_length > 0, "there is an archive")?;
    let archive = actor::Memory(root::ARCHIVE_ADDRESS);
    let last = bench.info.archive_length as usize - 1;
    holds(!archive.is_all(0, 64, 0), "it begins with a header")?;
    let _ = archive.byte(last);
    Ok(())
}

fn read_log(position: u64, target: &mut [u8]) -> Result<(u64, u64), Error> {
    let arguments = [root::SYSTEM.0, target.as_mut_ptr() as u64, target.len() as u64, position];
    let found = results(Syscall::LogRead, arguments);
    Ok((found.value()?, found.rdi))
}

fn the_log_can_be_read_from_any_position(_: &mut Bench) -> Outcome {
    let mut text = vec![0; 4096];
    let (length, next) = read_log(0, &mut text)?;
    same(next, length)?;
    let greeting = b"kernel: ";
    holds(text[..length as usize].windows(greeting.len()).any(|bytes| bytes == greeting), "the kernel has greeted")?;
    let mut rest = vec![0; 4096];
    let (shorter, end) = read_log(5, &mut rest)?;
    same((shorter, end), (length - 5, next))?;
    same(&rest[..shorter as usize], &text[5..length as usize])?;
    same(read_log(next, &mut rest)?, (0, next))?;
    same(read_log(u64::MAX, &mut rest)?, (0, next))
}

fn the_log_needs_its_right(_: &mut Bench) -> Outcome {
    let blind = call(Syscall::CapCopy, [root::SYSTEM.0, SystemRights::INSPECT.bits().into(), 0])?;
    let target = actor::area().0;
    refused(call(Syscall::LogRead, [blind, target, 16, 0]), Error::MissingRight)?;
    refused(call(Syscall::LogRead, [root::ACCOUNT.0, target, 16, 0]), Error::WrongKind)
}

fn statistics_tell_of_memory_and_processors(bench: &mut Bench) -> Outcome {
    let before = statistics()?;
    holds(before.frames > 1024, "the machine has memory")?;
    holds(before.kernel_frames < before.frames, "the kernel does not take all of it")?;
    holds(before.processors >= 1 && before.processors_used >= 1, "there is a processor")?;
    bench.notification()?;
    let after = statistics()?;
    let count = |statistics: &abi::syscall::Statistics| statistics.objects[Charge::Notifications as usize];
    same(count(&after), count(&before) + 1)?;
    sleep(5_000_000);
    holds(statistics()?.idle > after.idle, "the processor was idle while everybody slept")
}

fn statistics_need_their_right(_: &mut Bench) -> Outcome {
    let blind = call(Syscall::CapCopy, [root::SYSTEM.0, SystemRights::LOG.bits().into(), 0])?;
    refused(call(Syscall::Statistics, [blind, actor::area().0]), Error::MissingRight)
}

fn results_are_not_written_to_memory_that_is_not_writable(_: &mut Bench) -> Outcome {
    let read_only = root::INFO_ADDRESS;
    let kernel = abi::boot::DIRECT_MAP_BASE;
    for address in [0, 0x1000, read_only, abi::USER_END - 8, abi::USER_END, kernel, u64::MAX - 7] {
        refused(call(Syscall::Statistics, [root::SYSTEM.0, address]), Error::BadAddress)?;
        refused(call(Syscall::LogRead, [root::SYSTEM.0, address, 64, 0]), Error::BadAddress)?;
        refused(call(Syscall::AccountInfo, [root::ACCOUNT.0, address, 10]), Error::BadAddress)?;
    }
    Ok(())
}
