//! Reading an archive where it lies.

use crate::error::ArchiveError;
use crate::format::{
    CHECKSUM_AT, COUNT_AT, ENTRY, ENTRY_LEN_AT, ENTRY_OFFSET_AT, FILES_MAX, HEADER, MAGIC, NAME_MAX, PAGE, TOTAL_AT,
    TOTAL_MAX, VERSION, VERSION_AT, checksum, u32_at, u64_at,
};

/// A checked archive.
#[derive(Clone, Copy, Debug)]
pub struct Archive<'a> {
    bytes: &'a [u8],
    count: usize,
}

/// A file of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where its contents start, in bytes from the start of the archive; a multiple of [`PAGE`].
    pub offset: usize,
    /// Its contents.
    pub contents: &'a [u8],
}

impl<'a> Archive<'a> {
    /// The archive that `bytes` are, checksum and all.
    ///
    /// # Errors
    /// Says what is wrong with the first thing that is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ArchiveError> {
        let header = Header::read(bytes)?;
        let computed = checksum(bytes);
        if computed != header.checksum {
            return Err(ArchiveError::BadChecksum { computed, stored: header.checksum });
        }
        Self::check_files(bytes, &header)
    }

    /// The archive that `bytes` are, for a reader after the loader, which has compared the checksum: everything but
    /// the checksum is examined.
    ///
    /// # Errors
    /// As [`Archive::parse`], without [`ArchiveError::BadChecksum`].
    pub fn parse_checked_before(bytes: &'a [u8]) -> Result<Self, ArchiveError> {
        let header = Header::read(bytes)?;
        Self::check_files(bytes, &header)
    }

    /// Number of bytes of the archive that starts with `start`, of which 32 bytes are enough.
    ///
    /// # Errors
    /// If `start` is shorter than that or is not the start of an archive.
    pub fn total_len(start: &[u8]) -> Result<u64, ArchiveError> {
        let have = start.len() as u64;
        let truncated = ArchiveError::Truncated { have, need: HEADER as u64 };
        let found: [u8; 8] = start.get(..8).and_then(|magic| magic.try_into().ok()).ok_or(truncated)?;
        if found != MAGIC {
            return Err(ArchiveError::BadMagic { found });
        }
        let version = u32_at(start, VERSION_AT).ok_or(truncated)?;
        if version != VERSION {
            return Err(ArchiveError::BadVersion { found: version });
        }
        let total = u64_at(start, TOTAL_AT).ok_or(truncated)?;
        if total == 0 || total > TOTAL_MAX || !total.is_multiple_of(PAGE as u64) {
            return Err(ArchiveError::BadLength { total });
        }
        Ok(total)
    }

    /// All of its bytes, from which the offsets of files count.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The file of this name.
    pub fn file(&self, name: &str) -> Option<File<'a>> {
        self.files().find(|file| file.name == name)
    }

    /// All files, in the order in which they lie in the archive.
    pub fn files(&self) -> Files<'a> {
        Files { archive: *self, next: 0 }
    }

    /// Number of files.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no files.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn check_files(bytes: &'a [u8], header: &Header) -> Result<Self, ArchiveError> {
        let archive = Self { bytes, count: header.count };
        let total = bytes.len() as u64;
        let mut free = (HEADER + header.count * ENTRY) as u64;
        if free > total {
            return Err(ArchiveError::Truncated { have: total, need: free });
        }
        for index in 0..header.count {
            let file = index as u32;
            let truncated = ArchiveError::Truncated { have: total, need: free };
            let entry = archive.entry(index).ok_or(truncated)?;
            let name = name_of(entry).ok_or(ArchiveError::BadName { file })?;
            let offset = u64_at(entry, ENTRY_OFFSET_AT).ok_or(truncated)?;
            let len = u64_at(entry, ENTRY_LEN_AT).ok_or(truncated)?;
            if !offset.is_multiple_of(PAGE as u64) {
                return Err(ArchiveError::Misaligned { file, offset });
            }
            if offset < free {
                return Err(ArchiveError::Overlapping { file, offset, free });
            }
            free = match offset.checked_add(len) {
                Some(end) if end <= total => end,
                _ => {
                    return Err(ArchiveError::FileOutside { file, offset, len, total });
                }
            };
            let mut before = (0..index).filter_map(|earlier| archive.entry(earlier));
            if before.any(|earlier| name_of(earlier) == Some(name)) {
                return Err(ArchiveError::DuplicateName { file });
            }
        }
        Ok(archive)
    }

    fn entry(&self, index: usize) -> Option<&'a [u8]> {
        let start = HEADER + index * ENTRY;
        self.bytes.get(start..start + ENTRY)
    }

    fn at(&self, index: usize) -> Option<File<'a>> {
        let entry = self.entry(index)?;
        let offset = usize::try_from(u64_at(entry, ENTRY_OFFSET_AT)?).ok()?;
        let len = usize::try_from(u64_at(entry, ENTRY_LEN_AT)?).ok()?;
        Some(File { name: name_of(entry)?, offset, contents: self.bytes.get(offset..offset.checked_add(len)?)? })
    }
}

impl<'a> IntoIterator for &Archive<'a> {
    type Item = File<'a>;
    type IntoIter = Files<'a>;

    fn into_iter(self) -> Files<'a> {
        self.files()
    }
}

/// The files of an archive, one after the other.
#[derive(Clone, Debug)]
pub struct Files<'a> {
    archive: Archive<'a>,
    next: usize,
}

impl<'a> Iterator for Files<'a> {
    type Item = File<'a>;

    fn next(&mut self) -> Option<File<'a>> {
        if self.next >= self.archive.count {
            return None;
        }
        self.next += 1;
        self.archive.at(self.next - 1)
    }
}

/// The part of the header that is not a constant.
struct Header {
    checksum: u64,
    count: usize,
}

impl Header {
    /// Reads the header of `bytes`, which must be as many as it says.
    fn read(bytes: &[u8]) -> Result<Self, ArchiveError> {
        let have = bytes.len() as u64;
        let total = Archive::total_len(bytes)?;
        if have < total {
            return Err(ArchiveError::Truncated { have, need: total });
        }
        if have > total {
            return Err(ArchiveError::Oversized { have, total });
        }
        let truncated = ArchiveError::Truncated { have, need: total };
        let checksum = u64_at(bytes, CHECKSUM_AT).ok_or(truncated)?;
        let count = u32_at(bytes, COUNT_AT).ok_or(truncated)?;
        if count as usize > FILES_MAX {
            return Err(ArchiveError::TooManyFiles { count });
        }
        Ok(Self { checksum, count: count as usize })
    }
}

/// The name that an entry starts with, if it is one.
fn name_of(entry: &[u8]) -> Option<&str> {
    let field = entry.get(..NAME_MAX)?;
    let len = field.iter().position(|&byte| byte == 0).unwrap_or(NAME_MAX);
    let (name, rest) = field.split_at(len);
    let sound = !name.is_empty() && name.iter().all(u8::is_ascii_graphic) && rest.iter().all(|&byte| byte == 0);
    if sound { core::str::from_utf8(name).ok() } else { None }
}
