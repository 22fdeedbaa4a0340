//! The boot archive: the files that a system starts from, in one checksummed piece of memory.
//!
//! The loader checks an archive once and starts the file `kernel` from it; `init` finds the other files in the same
//! memory, without a copy. All numbers are little-endian.
//!
//! | offset | bytes | header |
//! | --- | --- | --- |
//! | 0 | 8 | magic, `BULKARCH` |
//! | 8 | 8 | XXH64, with seed 0, of everything that follows it, up to the total length |
//! | 16 | 4 | version |
//! | 20 | 4 | number of files |
//! | 24 | 8 | total length in bytes, a multiple of 4096 |
//!
//! The header is followed by one entry of 48 bytes a file, in the order in which the files lie in the archive:
//!
//! | offset | bytes | entry |
//! | --- | --- | --- |
//! | 0 | 32 | name: 1 to 32 graphic ASCII characters, filled up with zeros |
//! | 32 | 8 | offset of the contents from the start of the archive, a multiple of 4096 |
//! | 40 | 8 | length of the contents in bytes |
//!
//! Contents start at page boundaries and share no page, so that a file can be mapped as it lies.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(any(feature = "build", test))]
extern crate std;

#[cfg(feature = "build")]
mod build;
#[cfg(feature = "build")]
mod embed;
mod error;
mod format;
mod reader;
mod slot;

#[cfg(feature = "build")]
pub use build::{BuildError, Builder};
#[cfg(feature = "build")]
pub use embed::{EmbedError, embed};
pub use error::ArchiveError;
pub use format::{FILES_MAX, MAGIC, NAME_MAX, PAGE, TOTAL_MAX, VERSION};
pub use reader::{Archive, File, Files};
pub use slot::{ArchiveSlot, SLOT_MAGIC};
