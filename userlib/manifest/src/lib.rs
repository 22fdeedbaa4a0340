//! The compiled form of `system.toml`: every domain, endpoint, notification, ring and group of a system.
//!
//! The host's checker writes it, `init` and the supervisor read it. References are indices, already resolved and
//! checked; names are kept for people. [`System::decode`] accepts nothing but a consistent system, so that its
//! readers may follow any index without looking: a damaged boot archive is refused as a whole, before the first
//! domain exists.
//!
//! # Invariants
//!
//! [`System::check`] states them, the encoder's side and the decoder's side both run it:
//!
//! - domain 0 is the supervisor, and it alone is at level 0;
//! - every use goes strictly down in level, so no circle of calls can be built;
//! - a badge names its client: it is the client's [`DomainIndex`], and therefore never zero;
//! - an event bit of a notification has one sender;
//! - no two domains hold the same I/O port, interrupt line or exclusive grant;
//! - the bounded domains of a processor are promised no more than all of it;
//! - a guest has a domain of its own, with a ring to each of its disks;
//! - a domain belongs to one group at most, and groups form trees.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod check;
mod codec;
mod domain;
mod group;
mod guest;
mod system;

pub use check::{Inconsistency, name_is_valid};
pub use codec::{DecodeError, EncodeError, HEADER_BYTES, MAGIC, MAX_ENCODED_BYTES, VERSION};
pub use domain::{Bound, Bus, Device, Domain, Grant, Kind, OnDeath, PortRange, Restart, Use};
pub use group::{Group, Strategy};
pub use guest::{BLOCK, Guest, GuestFile, LINK, MAX_DISKS};
pub use system::{
    DomainIndex, Endpoint, EndpointIndex, GroupIndex, Notification, NotificationIndex, Ring, RingIndex, Signal, System,
};

/// Bytes of a page: every amount of memory in a manifest is a multiple of it.
pub const PAGE_BYTES: u64 = 4096;
/// Bytes of memory that a driver of a PCI device is given to share with it.
pub const DMA_BYTES: u64 = 64 * PAGE_BYTES;
/// Fewest slots that a capability table has.
pub const MIN_CAPABILITIES: u32 = 16;
/// Most slots that a capability table has.
pub const MAX_CAPABILITIES: u32 = 1024;
/// Most bytes that a name of a domain, a binary, an interface or a use may have.
pub const MAX_NAME_BYTES: usize = 24;
/// Most processors that run domains.
pub const MAX_PROCESSORS: u8 = 32;
/// Most groups of a system.
pub const MAX_GROUPS: usize = 16;
/// Most domains of a system, the supervisor among them.
pub const MAX_DOMAINS: usize = 48;
/// Event bits of a notification that a manifest may assign, from bit 0 up; its owner may use those above.
pub const ASSIGNABLE_BITS: u8 = 22;
/// Most bytes that the arguments of one domain may have, each counted with a terminating byte.
pub const MAX_ARGUMENT_BYTES: usize = 1024;
/// Interface of the supervisor's built-in endpoint.
pub const SUPERVISION: &str = "supervision";
/// Name of domain 0.
pub const SUPERVISOR: &str = "supervisor";
