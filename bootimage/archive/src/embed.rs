//! Putting an archive into the loader's ELF file, so that one file boots.

use crate::error::ArchiveError;
use crate::format::PAGE;
use crate::reader::Archive;
use crate::slot::{ArchiveSlot, SLOT_MAGIC};
use core::fmt;
use elf::ElfBytes;
use elf::abi::{PF_R, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::Class;
use std::vec::Vec;

/// Lowest physical address at which an archive is placed: above the loader and what firmware uses (16 MiB).
const PLACE_MIN: u64 = 16 << 20;
/// Highest physical address at which an embedded archive may end: device registers may follow (2 GiB).
const PLACE_END: u64 = 2 << 30;

const PHOFF_AT: usize = 32;
const PHENTSIZE: usize = 56;
const PHNUM_AT: usize = 56;

/// Why an archive cannot be embedded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmbedError {
    /// The loader is not a 64-bit little-endian ELF file with program headers.
    BadLoader,
    /// The loader has no slot for an archive, or several.
    SlotCount {
        /// How many it has.
        found: usize,
    },
    /// The loader already contains an archive.
    AlreadyEmbedded,
    /// The archive is not one.
    BadArchive(ArchiveError),
    /// Loader and archive do not fit below the addresses where devices begin.
    TooLarge {
        /// Physical address at which the archive would end.
        end: u64,
    },
}

impl fmt::Display for EmbedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadLoader => {
                write!(f, "the loader is not a 64-bit little-endian ELF file with program headers: build it again")
            }
            Self::SlotCount { found } => {
                write!(f, "the loader has {found} slots for an archive instead of one: build it again")
            }
            Self::AlreadyEmbedded => {
                write!(f, "the loader already contains an archive: start from the loader as it was built")
            }
            Self::BadArchive(error) => write!(f, "the boot archive cannot be used: {error}"),
            Self::TooLarge { end } => write!(
                f,
                "the boot archive would end at address {end:#x}, above the limit of {PLACE_END:#x}: leave files out"
            ),
        }
    }
}

impl core::error::Error for EmbedError {}

/// The loader's ELF file with the archive in it: one more segment, and the loader's slot says where it is.
///
/// # Errors
/// If the loader is not one, already has an archive, or the archive is malformed or too large.
pub fn embed(loader: &[u8], archive: &[u8]) -> Result<Vec<u8>, EmbedError> {
    Archive::parse(archive).map_err(EmbedError::BadArchive)?;
    let file = ElfBytes::<LittleEndian>::minimal_parse(loader).map_err(|_| EmbedError::BadLoader)?;
    let segments = file.segments().ok_or(EmbedError::BadLoader)?;
    let header = file.ehdr;
    if header.class != Class::ELF64 || header.e_phentsize as usize != PHENTSIZE {
        return Err(EmbedError::BadLoader);
    }
    let slot = slot_in(loader)?;

    let loaded_end = segments
        .iter()
        .filter(|segment| segment.p_type == PT_LOAD)
        .map(|segment| segment.p_paddr.saturating_add(segment.p_memsz))
        .max()
        .ok_or(EmbedError::BadLoader)?;
    let start = loaded_end.checked_next_multiple_of(PAGE as u64).ok_or(EmbedError::BadLoader)?.max(PLACE_MIN);
    let len = archive.len() as u64;
    let end = start.saturating_add(len);
    if end > PLACE_END {
        return Err(EmbedError::TooLarge { end });
    }

    let mut image = loader.to_vec();
    image[slot..][16..24].copy_from_slice(&start.to_le_bytes());
    image[slot..][24..32].copy_from_slice(&len.to_le_bytes());

    image.resize(image.len().next_multiple_of(PAGE), 0);
    let contents_at = image.len() as u64;
    image.extend_from_slice(archive);

    // There is no room for one more program header where they are, so all of them move to the end.
    let headers_at = image.len() as u64;
    let first = header.e_phoff as usize;
    let count = header.e_phnum;
    image.extend_from_slice(&loader[first..first + count as usize * PHENTSIZE]);
    image.extend_from_slice(&PT_LOAD.to_le_bytes());
    image.extend_from_slice(&PF_R.to_le_bytes());
    for field in [contents_at, start, start, len, len, PAGE as u64] {
        image.extend_from_slice(&field.to_le_bytes());
    }
    image[PHOFF_AT..][..8].copy_from_slice(&headers_at.to_le_bytes());
    let count = count.checked_add(1).ok_or(EmbedError::BadLoader)?;
    image[PHNUM_AT..][..2].copy_from_slice(&count.to_le_bytes());
    Ok(image)
}

/// Where in the loader's file its empty slot is.
fn slot_in(loader: &[u8]) -> Result<usize, EmbedError> {
    let mut found =
        loader.windows(SLOT_MAGIC.len()).enumerate().filter(|(_, window)| *window == SLOT_MAGIC).map(|(at, _)| at);
    let first = found.next();
    let more = found.count();
    let at = match (first, more) {
        (Some(at), 0) => at,
        (first, more) => {
            return Err(EmbedError::SlotCount { found: usize::from(first.is_some()) + more });
        }
    };
    let slot = loader.get(at..at + size_of::<ArchiveSlot>()).ok_or(EmbedError::BadLoader)?;
    if slot[16..].iter().any(|&byte| byte != 0) {
        return Err(EmbedError::AlreadyEmbedded);
    }
    Ok(at)
}
