//! Builds domains: used by `init` for the supervisor, and by the supervisor for everybody else.
//!
//! What outlives an instance of a domain (its memory, account, notification, endpoints, rings, interrupts) is made once,
//! by `init`, and described in an [`Inventory`]. [`prepare`] makes an [`Instance`] from it: a fresh space, a fresh domain
//! and its first thread, with exactly the capabilities that the manifest names; [`Prepared::start`] lets it run.
//! [`Instance::destroy`] takes it apart again; everything that it held is then free for the next one.
//!
//! So that an instance outlives its builder, [`Instance::entrust`] gives another domain a share in it, and what else a
//! later builder must know to take it over ([`Instance::take_over`]) stands in the [`Ledger`].
#![no_std]

extern crate alloc;

mod builder;
mod error;
mod group;
mod guest;
mod image;
mod instance;
mod inventory;
mod layout;
mod ledger;
mod rate;
mod requests;

pub use builder::{Blueprint, Handover, Prepared, Stack, prepare, stack};
pub use error::BuildError;
pub use group::Group;
pub use guest::{allow_guest, guest_tables};
pub use image::{Image, Images, Segment};
pub use instance::{Custody, Instance};
pub use inventory::{DeviceRegion, DomainResources, Inventory, MemoryRef, PortsRef, PowerOff};
pub use layout::{
    CLIENTS_PAGE, CONTROL_FIXED_PAGES, LENT_PAGES, Least, STATUS_PAGE, control_pages, device_table_pages,
};
pub use ledger::{ENTRY_MAX, Ledger, LedgerError, Obituary, ledger_pages};
pub use rate::Rate;

/// Name of the memory entry under which the supervisor finds the [`Inventory`].
pub const INVENTORY_ENTRY: &str = "inventory";
/// Name of the memory entry that holds the boot archive, mapped.
pub const ARCHIVE_ENTRY: &str = "archive";
/// Name of the memory entry that holds the compiled manifest, for domains that hand out devices by it.
pub const MANIFEST_ENTRY: &str = "manifest";
/// Name of the memory entry with contiguous memory for what a device reads and writes.
pub const DMA_ENTRY: &str = "dma";
/// Pages of that memory.
pub const DMA_PAGES: u64 = 64;
/// Name of the memory entry with all that a guest has of memory, for its monitor. Beside it lie, mapped, the files of the archive
/// that belong to the guest, by the names of [`manifest::GuestFile`].
pub const GUEST_MEMORY_ENTRY: &str = "guest-memory";
/// Name of the memory entry that holds the PCI configuration space.
pub const ECAM_ENTRY: &str = "ecam";
/// Prefix of the names of memory entries that hold windows in which devices have their registers; a number follows.
pub const DEVICE_WINDOW_PREFIX: &str = "window";
/// Prefix of the names of interrupt entries; a number follows.
pub const INTERRUPT_PREFIX: &str = "interrupt";
/// Prefix of the names of entries for I/O ports; a number follows.
pub const PORTS_PREFIX: &str = "ports";
/// Name of the entry for the kernel's log and statistics.
pub const SYSTEM_ENTRY: &str = "system";
/// First bit of a domain's notification that is used for its interrupts; the manifest assigns bits below it.
pub const FIRST_INTERRUPT_BIT: u32 = manifest::ASSIGNABLE_BITS as u32;
/// Badge of the faults of the domain at index `i` is `i` plus this, so that no badge is 0.
pub const FAULT_BADGE_BASE: u64 = 1;
