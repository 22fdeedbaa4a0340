//! Why a piece of memory is not a boot archive.

use core::fmt;

/// What is wrong with an archive. Files are counted from 0; offsets count from the start of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArchiveError {
    /// There are fewer bytes than the header says.
    Truncated {
        /// Bytes that are there.
        have: u64,
        /// Bytes that the archive needs.
        need: u64,
    },
    /// There are more bytes than the header says.
    Oversized {
        /// Bytes that are there.
        have: u64,
        /// Bytes that the archive has by its header.
        total: u64,
    },
    /// It does not start like an archive.
    BadMagic {
        /// What stands in the place of the magic.
        found: [u8; 8],
    },
    /// It is of another version of the format.
    BadVersion {
        /// The version that the header names.
        found: u32,
    },
    /// The header's length cannot be one: not a multiple of a page, or above the limit.
    BadLength {
        /// The length that the header names.
        total: u64,
    },
    /// The header names more files than an archive may have.
    TooManyFiles {
        /// The number of files that the header names.
        count: u32,
    },
    /// The contents are not those that the checksum was computed from.
    BadChecksum {
        /// The checksum of what is there.
        computed: u64,
        /// The checksum that the header names.
        stored: u64,
    },
    /// A file's name is empty, has a character that is not graphic ASCII, or goes on after its end.
    BadName {
        /// Which file.
        file: u32,
    },
    /// Two files have the same name.
    DuplicateName {
        /// Which file repeats the name of one before it.
        file: u32,
    },
    /// A file does not start at a page boundary.
    Misaligned {
        /// Which file.
        file: u32,
        /// Where it starts.
        offset: u64,
    },
    /// A file starts within the table of files or within the file before it.
    Overlapping {
        /// Which file.
        file: u32,
        /// Where it starts.
        offset: u64,
        /// First place where it could start.
        free: u64,
    },
    /// A file ends after the archive.
    FileOutside {
        /// Which file.
        file: u32,
        /// Where it starts.
        offset: u64,
        /// Its length in bytes.
        len: u64,
        /// Bytes of the archive.
        total: u64,
    },
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { have, need } => {
                write!(f, "it is truncated: it has {have} of {need} bytes")
            }
            Self::Oversized { have, total } => {
                write!(f, "it is oversized: {have} bytes are there, {total} belong to it")
            }
            Self::BadMagic { found } => {
                write!(f, "it starts with \"{}\" instead of \"BULKARCH\"", found.escape_ascii())
            }
            Self::BadVersion { found } => {
                write!(f, "it is of format version {found}, but only version {} is known", crate::VERSION)
            }
            Self::BadLength { total } => {
                write!(f, "its length of {total} bytes is not a multiple of {} up to {}", crate::PAGE, crate::TOTAL_MAX)
            }
            Self::TooManyFiles { count } => {
                write!(f, "it names {count} files, but at most {} are possible", crate::FILES_MAX)
            }
            Self::BadChecksum { computed, stored } => {
                write!(f, "it is corrupt: its checksum is {computed:#018x}, not {stored:#018x}")
            }
            Self::BadName { file } => {
                write!(f, "the name of file {file} is not 1 to {} graphic ASCII characters", crate::NAME_MAX)
            }
            Self::DuplicateName { file } => {
                write!(f, "file {file} has the same name as another one before it")
            }
            Self::Misaligned { file, offset } => {
                write!(f, "file {file} starts at offset {offset}, which is no page boundary")
            }
            Self::Overlapping { file, offset, free } => {
                write!(f, "file {file} starts at offset {offset}, but what precedes it ends at {free}")
            }
            Self::FileOutside { file, offset, len, total } => {
                write!(f, "file {file} of {len} bytes at offset {offset} ends after the archive's {total} bytes")
            }
        }
    }
}

impl core::error::Error for ArchiveError {}
