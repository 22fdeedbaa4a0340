//! The FAT file server, without a disk to serve: FAT12, FAT16 and FAT32 on a [`BlockDevice`].
//!
//! [`Volume::mount`] finds the file system and repairs what a crash has left; the operations of [`Volume`] are
//! futures for any executor of one thread. Behind them are a write-back cache ([`MountOptions::cache_bytes`]) and a
//! fixed order of writing, described with the state of a mounted volume in `mounted.rs`, which keeps the disk
//! readable by anybody at any moment: everything that [`Volume::sync`] has acknowledged is intact, and what a crash
//! can leave is listed there and repaired by the next mount.
//!
//! [`service`] answers the interface `filesystem` with a volume.
//!
//! Nothing on a disk makes the library panic or run for ever; damage is an [`Error::Damaged`] that names the file
//! and the cluster.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod boot;
mod cache;
mod device;
pub mod direct;
mod directory;
mod error;
mod file;
mod layout;
mod lock;
mod mounted;
mod name;
mod namespace;
mod record;
mod recovery;
pub mod service;
mod table;
mod time;
mod volume;

pub use boot::FatKind;
pub use cache::CacheStatistics;
pub use device::{
    BlockDevice, Completion, DeviceError, DeviceGeometry, PAGE_SECTORS, PAGE_SIZE, SECTOR_SIZE, Transfer,
    TransferLimits,
};
pub use error::{Damage, Error, MountError, NameFault};
pub use file::FileId;
pub use layout::FileLayout;
pub use record::Attributes;
pub use recovery::Repair;
pub use time::{Clock, Timestamp};
pub use volume::{EntryKind, Found, ListedEntry, Listing, MountOptions, OpenMode, Space, Status, Volume, VolumeInfo};
