//! Where each part of an archive lies.

use xxhash_rust::xxh64::xxh64;

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
pub(crate) const VERSION_AT: usize = 16;
pub(crate) const COUNT_AT: usize = 20;
pub(crate) const TOTAL_AT: usize = 24;

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

/// Checksum of an archive of which `bytes` are all.
///
/// Every boot waits for this sum, most of them on an emulated CPU, where each load is dear: XXH64 takes one for eight
/// bytes, a table-driven CRC one for each byte, which was measured to cost 25 ms a MiB.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    xxh64(bytes.get(VERSION_AT..).unwrap_or(&[]), 0)
}
