//! How Linux is started: its image, its command line and what a firmware would have told it are written into the guest's
//! memory, and the first processor's registers say where it begins.

pub mod acpi;
mod elf_image;
mod linux_image;
mod memory_map;
mod state;

pub use elf_image::load_elf;
pub use linux_image::load_bz_image;
pub use memory_map::{HOLE, MemoryMap, Range, RangeKind};
pub use state::{ProcessorState, Segment, TableRegister};

use crate::memory::{GuestMemory, OutsideMemory};
use core::fmt;

/// Where things are in the first megabyte. The descriptor table of the 64-bit entry:
const DESCRIPTORS: u64 = 0x500;
/// What a PVH kernel is told, then its list of modules, then its memory map.
const START_INFO: u64 = 0x6000;
const MODULES: u64 = 0x6100;
const START_MAP: u64 = 0x6200;
/// What a bzImage is told.
const ZERO_PAGE: u64 = 0x7000;
/// Six pages of page tables.
const PAGE_TABLES: u64 = 0x9000;
const COMMAND_LINE: u64 = 0x2_0000;
/// The most bytes of a command line, with the zero at its end.
const COMMAND_LINE_BYTES: usize = 0x1_0000;
/// Images lie above.
const MEGABYTE: u64 = 0x10_0000;
const PAGE: u64 = 4096;

/// What is to be started.
#[derive(Clone, Copy, Debug)]
pub struct Boot<'a> {
    /// The kernel.
    pub image: &'a [u8],
    /// The archive of its first files, if there is one.
    pub initrd: Option<&'a [u8]>,
    /// Its command line.
    pub command_line: &'a str,
    /// The memory that it is to find.
    pub map: MemoryMap,
    /// Where its ACPI tables begin, as [`acpi::write`] returned it.
    pub rsdp: u64,
}

/// Why a guest cannot be started. Whoever gave the image is to blame, or whoever said how much memory it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// The image is not of this kind.
    NotThisKind,
    /// The image ends before what it says that it has.
    Truncated,
    /// The image is a bzImage of an older protocol than 2.12, or of 32 bits.
    TooOld,
    /// The image wants to lie somewhere else than between 1 MiB and the end of memory below 4 GiB.
    BadPlace {
        /// The first address of what is there.
        address: u64,
        /// Its length in bytes.
        length: u64,
    },
    /// The ELF image has no PVH entry below 4 GiB.
    NoEntry,
    /// There is no room for the initial files below what the image allows.
    NoRoomForFiles {
        /// So many bytes.
        length: u64,
    },
    /// The command line is longer than the image allows, or has a zero in it.
    BadCommandLine,
    /// The memory map says more than there is.
    NoMemory(OutsideMemory),
}

impl From<OutsideMemory> for BootError {
    fn from(error: OutsideMemory) -> Self {
        Self::NoMemory(error)
    }
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotThisKind => write!(f, "the guest's image is neither a bzImage nor an ELF file for x86-64"),
            Self::Truncated => write!(f, "the guest's image is cut off"),
            Self::TooOld => {
                write!(f, "the guest's kernel has no 64-bit entry; it takes Linux 3.8 or later, for x86-64")
            }
            Self::BadPlace { address, length } => {
                write!(
                    f,
                    "the guest's image wants {length} bytes at {address:#x}, where it has no memory; give it more"
                )
            }
            Self::NoEntry => write!(f, "the guest's ELF image has no PVH entry; build it with CONFIG_PVH=y"),
            Self::NoRoomForFiles { length } => {
                write!(f, "there is no room for {length} bytes of initial files; give the guest more memory")
            }
            Self::BadCommandLine => write!(f, "the guest's command line is too long, or has a zero in it"),
            Self::NoMemory(error) => write!(f, "the guest has less memory than its map says: {error}"),
        }
    }
}

impl core::error::Error for BootError {}

/// Starts an image of either kind.
///
/// # Errors
/// If the image cannot be started. The guest's memory holds part of it then.
pub fn load(boot: &Boot<'_>, memory: &mut dyn GuestMemory) -> Result<ProcessorState, BootError> {
    if boot.image.starts_with(b"\x7fELF") { load_elf(boot, memory) } else { load_bz_image(boot, memory) }
}

/// Writes the command line, of which the image takes at most `limit` bytes without the zero at the end.
fn write_command_line(text: &str, limit: usize, memory: &mut dyn GuestMemory) -> Result<(), BootError> {
    if text.len() > limit.min(COMMAND_LINE_BYTES - 1) || text.contains('\0') {
        return Err(BootError::BadCommandLine);
    }
    memory.write(COMMAND_LINE, text.as_bytes())?;
    memory.write(COMMAND_LINE + text.len() as u64, &[0])?;
    Ok(())
}

/// Writes the initial files as high as they may lie, above `bottom` and below `top`. Returns their address.
fn write_files(files: &[u8], bottom: u64, top: u64, memory: &mut dyn GuestMemory) -> Result<u64, BootError> {
    let no_room = BootError::NoRoomForFiles { length: files.len() as u64 };
    let at = top.checked_sub(files.len() as u64).ok_or(no_room)? / PAGE * PAGE;
    if at < bottom {
        return Err(no_room);
    }
    memory.write(at, files)?;
    Ok(at)
}

/// The bytes of a structure while it is made.
struct Image<const N: usize>([u8; N]);

impl<const N: usize> Image<N> {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }
}
