//! Why the kernel cannot be started, as one sentence each.

use crate::executable::ExecutableError;
use abi::boot::{COMMAND_LINE_MAX, Extent, REGIONS_MAX};
use archive::ArchiveError;
use core::fmt;

/// Why the kernel cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// The CPU cannot forbid the execution of pages.
    NoExecuteDisable,
    /// The CPU has no global pages.
    NoGlobalPages,
    /// The start information does not start with its magic.
    NotPvh {
        /// Where it should be.
        at: u64,
    },
    /// A piece of the start information lies where the loader cannot read.
    Unreadable {
        /// What it is.
        what: &'static str,
        /// Where it is.
        extent: Extent,
    },
    /// The firmware's memory map names no RAM.
    NoMemory,
    /// The memory map has more regions than the kernel takes.
    TooManyRegions,
    /// The command line does not fit or is not UTF-8.
    BadCommandLine,
    /// There is neither a module nor an embedded archive.
    NoArchive,
    /// The archive does not start at a page boundary.
    ArchiveMisaligned {
        /// Where it starts.
        start: u64,
    },
    /// The archive, or a part of it, does not lie in free RAM.
    ArchiveOutsideRam {
        /// Where it lies.
        extent: Extent,
        /// First address after the RAM that the loader can use.
        ram_end: u64,
    },
    /// The archive is malformed.
    BadArchive {
        /// Where it lies.
        extent: Extent,
        /// What is wrong with it.
        error: ArchiveError,
    },
    /// The archive lacks a file.
    NoFile {
        /// Its name.
        name: &'static str,
    },
    /// A file of the archive cannot be loaded.
    BadFile {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        error: ExecutableError,
    },
    /// There is not enough free RAM below 4 GiB.
    OutOfMemory {
        /// What the memory is for.
        what: &'static str,
        /// Bytes in one piece.
        len: u64,
    },
    /// Two things would be mapped at the same address.
    MappedTwice {
        /// The address.
        virt: u64,
    },
    /// The firmware has no ACPI root pointer.
    NoAcpi,
    /// An ACPI table is missing.
    NoTable {
        /// The table's signature.
        signature: &'static str,
    },
    /// An ACPI table lies out of reach or contradicts itself.
    BadTable {
        /// The table's signature or role.
        signature: &'static str,
        /// Physical address of the table.
        at: u64,
    },
    /// The firmware puts something where something else is.
    Overlap {
        /// What it puts there.
        what: &'static str,
        /// Where it puts that.
        extent: Extent,
        /// What is there.
        with: &'static str,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoExecuteDisable => write!(
                f,
                "this CPU cannot make pages non-executable (NX), on which the kernel's protection rests: \
                 use a CPU with NX, or turn it on in the firmware"
            ),
            Self::NoGlobalPages => {
                write!(f, "this CPU has no global pages (PGE): use a 64-bit CPU that has them")
            }
            Self::NotPvh { at } => write!(
                f,
                "there is no PVH start information at {at:#x}: start this file with a PVH boot, such as QEMU's -kernel"
            ),
            Self::Unreadable { what, extent } => write!(
                f,
                "{what} at {:#x} ({} bytes) is out of the loader's reach: this machine passes its boot data in a way \
                 that is not supported",
                extent.start, extent.len
            ),
            Self::NoMemory => {
                write!(f, "the firmware's memory map names no RAM above 1 MiB: give the machine more memory")
            }
            Self::TooManyRegions => write!(
                f,
                "the memory map has more than {REGIONS_MAX} regions: this machine's firmware is not supported"
            ),
            Self::BadCommandLine => {
                write!(f, "the command line is longer than {COMMAND_LINE_MAX} bytes or not UTF-8: shorten it (-append)")
            }
            Self::NoArchive => {
                write!(f, "there is no boot archive: pass one with -initrd, or start an image that contains one")
            }
            Self::ArchiveMisaligned { start } => write!(
                f,
                "the boot archive starts at {start:#x}, which is no page boundary: embed it in the image instead"
            ),
            Self::ArchiveOutsideRam { extent, ram_end } => write!(
                f,
                "the boot archive ({} bytes at {:#x}) does not fit into the RAM, which ends at {ram_end:#x}: give the \
                 machine more memory",
                extent.len, extent.start
            ),
            Self::BadArchive { extent, error } => {
                write!(f, "the boot archive at {:#x} cannot be used: {error}; build the image again", extent.start)
            }
            Self::NoFile { name } => {
                write!(f, "the boot archive has no file named {name}: build the image again")
            }
            Self::BadFile { name, error } => {
                write!(f, "the file {name} in the boot archive cannot be loaded: {error}; build it again")
            }
            Self::OutOfMemory { what, len } => write!(
                f,
                "there is no room for {what} ({len} bytes) in the free RAM below 4 GiB: give the machine more memory"
            ),
            Self::MappedTwice { virt } => {
                write!(f, "two things would be mapped at {virt:#x}: this is a mistake in the loader, please report it")
            }
            Self::NoAcpi => write!(
                f,
                "the firmware gives no ACPI tables, which name the CPUs and interrupt controllers: start the machine \
                 with ACPI on"
            ),
            Self::NoTable { signature } => {
                write!(f, "the firmware gives no ACPI table {signature}: this machine is not supported")
            }
            Self::BadTable { signature, at } => write!(
                f,
                "the ACPI table {signature} at {at:#x} is malformed or out of reach: update the machine's firmware"
            ),
            Self::Overlap { what, extent, with } => write!(
                f,
                "the firmware puts {what} ({} bytes) at {:#x}, where {with} is: update the machine's firmware",
                extent.len, extent.start
            ),
        }
    }
}

impl core::error::Error for LoadError {}
