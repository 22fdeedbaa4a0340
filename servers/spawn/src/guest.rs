//! What a guest's monitor needs of memory and of the kernel, beside what every domain does.

use abi::PAGE_SIZE;
use abi::syscall::{AccountLimits, Charge};
use archive::{Archive, File};
use manifest::{Domain, GuestFile};

/// Pages that one page table maps, and so the most that one mapping has.
const REACH: u64 = 512;
/// Page tables of the monitor's space beside those of the last level.
const UPPER_TABLES: u64 = 16;
/// Mappings for whatever the monitor maps beside the guest's memory.
const OTHER_MAPPINGS: u64 = 64;
/// A piece of the guest's memory is mapped for the guest and for the monitor, and in a piece that is taken apart a part of it
/// may be mapped by itself.
const MAPPINGS_EACH: u64 = 3;
/// Notifications of a processor: one at which it is called out of its guest, one at which its thread waits.
const NOTIFICATIONS_EACH: u32 = 2;

/// Which files of the archive a guest's monitor finds mapped, and those that are missing. None without a guest.
pub(crate) fn guest_files<'a>(
    archive: &'a Archive<'a>,
    domain: &'a Domain,
) -> impl Iterator<Item = (GuestFile, Option<File<'a>>)> {
    let kinds = if domain.guest.is_some() { GuestFile::ALL.as_slice() } else { &[] };
    let files = kinds.iter().map(|kind| (*kind, archive.file(&kind.archive_name(&domain.name))));
    // Whether there is a first file system is for the archive to say.
    files.filter(|(kind, file)| file.is_some() || *kind != GuestFile::Initrd)
}

/// Pages of a file.
pub(crate) fn pages_of(file: &File<'_>) -> u64 {
    (file.contents.len() as u64).div_ceil(PAGE_SIZE)
}

/// At most so many page tables of the last level map the files that a monitor finds.
fn file_tables(archive: &Archive<'_>, domain: &Domain) -> u64 {
    guest_files(archive, domain).filter_map(|(_, file)| file).map(|file| pages_of(&file).div_ceil(REACH) + 1).sum()
}

/// Page tables of a monitor's space on top of those that every domain gets: it finds the guest's files there, and may map all
/// of the guest's memory. None without a guest.
pub fn guest_tables(archive: &Archive<'_>, domain: &Domain) -> u64 {
    let Some(guest) = &domain.guest else { return 0 };
    file_tables(archive, domain) + guest.memory.div_ceil(REACH * PAGE_SIZE) + UPPER_TABLES
}

/// Adds what a monitor makes in the kernel: its guest's space, a thread for each of its processors with what belongs to that,
/// and mappings of its memory. Nothing without a guest.
pub fn allow_guest(limits: &mut AccountLimits, archive: &Archive<'_>, domain: &Domain) {
    let Some(guest) = &domain.guest else { return };
    let processors = u32::from(guest.processors);
    let mappings =
        MAPPINGS_EACH * guest.memory.div_ceil(REACH * PAGE_SIZE) + file_tables(archive, domain) + OTHER_MAPPINGS;
    for (charge, more) in [
        (Charge::Spaces, 1),
        (Charge::Threads, processors),
        (Charge::Budgets, processors),
        (Charge::Notifications, NOTIFICATIONS_EACH * processors),
        (Charge::Mappings, u32::try_from(mappings).unwrap_or(u32::MAX)),
    ] {
        let limit = &mut limits[charge as usize];
        *limit = limit.saturating_add(more);
    }
}
