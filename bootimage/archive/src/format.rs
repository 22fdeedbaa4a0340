//! Where each part of an archive lies.

use crc::{CRC_32_ISO_HDLC, Crc, Table};

/// First bytes of every archive.
pub const MAGIC: [u8; 8] = *b"BULKARCH";
/// Version of the format that this crate reads and writes.
pub const VERSION: u32 = 1;
/// Alignment of every file, in bytes.
pub const PAGE: usize = 4096;
/// Most bytes of a file's name.
pub const NAME_MAX: usize = 32;
/// Most files of an archive.
pub const FILES_MAX: usize = 256;
/// Most bytes of an archive (1 GiB).
pub const TOTAL_MAX: u64 = 1 << 30;

pub(crate) const HEADER: usize = 32;
pub(crate) const ENTRY: usize = 48;

pub(crate) const CHECKSUM_AT: usize = 8;
pub(crate) const VERSION_AT: usize = 12;
pub(crate) const TOTAL_AT: usize = 16;
pub(crate) const COUNT_AT: usize = 24;
pub(crate) const RESERVED_AT: usize = 28;

pub(crate) const ENTRY_OFFSET_AT: usize = 32;
pub(crate) const ENTRY_LEN_AT: usize = 40;

/// The four bytes at `at`, or `None` past the end.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    Some(u32::from_le_bytes(bytes.get(at..end)?.try_into().ok()?))
}

/// The eight bytes at `at`, or `None` past the end.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let end = at.checked_add(8)?;
    Some(u64::from_le_bytes(bytes.get(at..end)?.try_into().ok()?))
}

/// Sixteen bytes a step: every boot waits for this sum, and a plain table would cost it tens of milliseconds.
static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// Checksum of an archive of which `bytes` are all.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes.get(VERSION_AT..).unwrap_or(&[]))
}
