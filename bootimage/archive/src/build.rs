//! Making an archive, on the host.

use crate::format::{
    CHECKSUM_AT, COUNT_AT, ENTRY, ENTRY_LEN_AT, ENTRY_OFFSET_AT, FILES_MAX, HEADER, MAGIC, NAME_MAX, PAGE, TOTAL_AT,
    TOTAL_MAX, VERSION, VERSION_AT, checksum,
};
use core::fmt;
use std::string::{String, ToString};
use std::vec::Vec;

/// Collects files for an archive. The same files in the same order give the same bytes.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    files: Vec<(String, Vec<u8>)>,
}

/// Why a file cannot go into an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// The name is empty, too long, or has characters that are not graphic ASCII.
    BadName {
        /// The name.
        name: String,
    },
    /// A file of this name is already in the archive.
    DuplicateName {
        /// The name.
        name: String,
    },
    /// The archive has as many files as it may have.
    TooManyFiles,
    /// The archive would be longer than it may be.
    TooLarge {
        /// Bytes that it would have.
        total: u64,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName { name } => {
                write!(f, "{name:?} cannot be a name in a boot archive: use 1 to {NAME_MAX} graphic ASCII characters")
            }
            Self::DuplicateName { name } => {
                write!(f, "the boot archive already has a file named {name:?}: give one of them another name")
            }
            Self::TooManyFiles => {
                write!(f, "a boot archive holds at most {FILES_MAX} files")
            }
            Self::TooLarge { total } => write!(
                f,
                "the boot archive would have {total} bytes, but at most {TOTAL_MAX} are possible: leave files out"
            ),
        }
    }
}

impl core::error::Error for BuildError {}

impl Builder {
    /// A builder without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file.
    ///
    /// # Errors
    /// If the name is not possible or already there, or the archive is full; it is then unchanged.
    pub fn add(&mut self, name: &str, contents: Vec<u8>) -> Result<&mut Self, BuildError> {
        let graphic = name.bytes().all(|byte| byte.is_ascii_graphic());
        if name.is_empty() || name.len() > NAME_MAX || !graphic {
            return Err(BuildError::BadName { name: name.to_string() });
        }
        if self.files.iter().any(|(other, _)| other == name) {
            return Err(BuildError::DuplicateName { name: name.to_string() });
        }
        if self.files.len() == FILES_MAX {
            return Err(BuildError::TooManyFiles);
        }
        self.files.push((name.to_string(), contents));
        Ok(self)
    }

    /// The archive's bytes.
    ///
    /// # Errors
    /// [`BuildError::TooLarge`] if the files do not fit into an archive.
    pub fn finish(&self) -> Result<Vec<u8>, BuildError> {
        let mut bytes = std::vec![0; HEADER + self.files.len() * ENTRY];
        for (index, (name, contents)) in self.files.iter().enumerate() {
            bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
            let offset = bytes.len() as u64;
            let total = offset + contents.len() as u64;
            if total > TOTAL_MAX {
                return Err(BuildError::TooLarge { total });
            }
            bytes.extend_from_slice(contents);
            let entry = &mut bytes[HEADER + index * ENTRY..][..ENTRY];
            entry[..name.len()].copy_from_slice(name.as_bytes());
            entry[ENTRY_OFFSET_AT..][..8].copy_from_slice(&offset.to_le_bytes());
            entry[ENTRY_LEN_AT..][..8].copy_from_slice(&(contents.len() as u64).to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
        let total = bytes.len() as u64;
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[VERSION_AT..][..4].copy_from_slice(&VERSION.to_le_bytes());
        bytes[TOTAL_AT..][..8].copy_from_slice(&total.to_le_bytes());
        bytes[COUNT_AT..][..4].copy_from_slice(&(self.files.len() as u32).to_le_bytes());
        let sum = checksum(&bytes);
        bytes[CHECKSUM_AT..][..8].copy_from_slice(&sum.to_le_bytes());
        Ok(bytes)
    }
}
