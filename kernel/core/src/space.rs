//! Address spaces and mappings.

use crate::frame::Frame;
use crate::identity::{AccountId, CapId, MappingId, SpaceId, ThreadId};
use crate::table::Vacant;
use abi::device::SourceRange;
use abi::syscall::MapAccess;

/// Who sees a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Flavour {
    /// Threads.
    User,
    /// Devices.
    Device,
    /// A guest, as its physical memory.
    Guest,
}

/// An address space with the page-table pages donated to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Space {
    pub(crate) account: Option<AccountId>,
    pub(crate) root: Frame,
    /// Pages for tables, linked through the frame table, and how many.
    pub(crate) pool: u32,
    pub(crate) pool_count: u32,
    /// Pages in use as tables, the root not among them, linked the same way.
    pub(crate) tables: u32,
    pub(crate) first_mapping: Option<MappingId>,
    /// Domains, or virtual processors, that run in it.
    pub(crate) domains: u16,
    /// Who sees it.
    pub(crate) flavour: Flavour,
    /// The functions that see it; none any more once it is being taken apart.
    pub(crate) sources: Option<SourceRange>,
    /// The next space that devices see.
    pub(crate) next_seen: Option<SpaceId>,
}

impl Space {
    pub(crate) fn is_device(&self) -> bool {
        self.flavour == Flavour::Device
    }
}

impl Vacant for Space {
    const EMPTY: Self = Self {
        account: None,
        root: Frame(0),
        pool: 0,
        pool_count: 0,
        tables: 0,
        first_mapping: None,
        domains: 0,
        flavour: Flavour::User,
        sources: None,
        next_seen: None,
    };
}

/// Records one `map`, or one pinned message buffer: a child of the memory capability that it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mapping {
    /// The space it is in; none for a message buffer.
    pub(crate) space: Option<SpaceId>,
    /// The thread whose message buffer it is.
    pub(crate) thread: Option<ThreadId>,
    pub(crate) address: u64,
    pub(crate) frame: Frame,
    pub(crate) pages: u16,
    /// How; none only in an empty slot, so that empty tables are all zero.
    pub(crate) access: Option<MapAccess>,
    /// The memory capability, and the neighbours among its mappings.
    pub(crate) parent: Option<CapId>,
    pub(crate) next: Option<MappingId>,
    pub(crate) previous: Option<MappingId>,
    /// The neighbours in the space's list.
    pub(crate) next_in_space: Option<MappingId>,
    pub(crate) previous_in_space: Option<MappingId>,
}

impl Vacant for Mapping {
    const EMPTY: Self = Self {
        space: None,
        thread: None,
        address: 0,
        frame: Frame(0),
        pages: 0,
        access: None,
        parent: None,
        next: None,
        previous: None,
        next_in_space: None,
        previous_in_space: None,
    };
}
