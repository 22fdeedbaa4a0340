//! The start-up contract between whoever builds a domain and the domain: one read-only page that names everything the
//! domain has been given.
//!
//! The builder fills a [`StartPage`], copies its [bytes](StartPage::as_bytes) into a page of memory, maps that page
//! read-only into the new space and starts the first thread with the page's address as its argument, a stack pointer
//! that is a multiple of 16, and all that the page mentions mapped: heap, status page, message buffer (which is also
//! given to the thread by `ThreadBuffer`), vault and rings. The notification in [`StartPage::notification`] is bound to
//! the thread.
//!
//! The domain's side is `userlib::entry!` and [`Environment`](crate::Environment).

use abi::rights::Kind;
use abi::{Handle, PAGE_SIZE};
use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// "BULKSTRT" in little-endian bytes.
pub const MAGIC: u64 = u64::from_le_bytes(*b"BULKSTRT");
/// Version of the start page; it rises with every change.
pub const VERSION: u32 = 3;
/// The most entries in a start page.
pub const ENTRIES_MAX: usize = 40;
/// Name of the capability for the space that the domain's device sees, on a machine with an IOMMU.
pub const DEVICE_SPACE: &str = "device-space";
/// Bytes of a name.
pub const NAME_MAX: usize = 24;
/// Bytes of arguments.
pub const ARGUMENTS_MAX: usize = 256;

/// Addresses that a builder may use for what the start page mentions, unless it has reasons for others. They keep clear
/// of programs, which are linked from `0x20_0000` up, and leave a guard page or more between neighbours. What every domain
/// has lies in one window of 2 MiB if it is small, so that it takes few page tables.
pub mod layout {
    use abi::PAGE_SIZE;

    /// The start page. Programs end below it.
    pub const START_PAGE: u64 = 0x1000_0000;
    /// Instructions beside the program's own, where the manifest lets somebody change code: within reach of a jump from
    /// there.
    pub const ANNEX: u64 = START_PAGE - 0x1_0000;
    /// Pages of [`ANNEX`].
    pub const ANNEX_PAGES: u64 = 5;
    /// A page that the instructions of [`ANNEX`] may write: zeroes at each start.
    pub const ANNEX_DATA: u64 = ANNEX + (ANNEX_PAGES + 1) * PAGE_SIZE;
    /// The register of clients that are gone.
    pub const CLIENTS: u64 = START_PAGE + PAGE_SIZE;
    /// The status page.
    pub const STATUS_PAGE: u64 = CLIENTS + 2 * PAGE_SIZE;
    /// The message buffer of the first thread.
    pub const BUFFER: u64 = STATUS_PAGE + PAGE_SIZE;
    /// The first thread's stack, and behind its top the heap. What lies below is a guard.
    pub const STACK: u64 = START_PAGE + 0x1_0000;
    /// The vault.
    pub const VAULT: u64 = 0x40_0000_0000;
    /// Rings and other memory of entries, one after the other.
    pub const ENTRIES: u64 = 0x50_0000_0000;
    /// First address of the window in which the domain itself maps.
    pub const WINDOW: u64 = 0x60_0000_0000;
    /// Length of that window.
    pub const WINDOW_LENGTH: u64 = 0x20_0000_0000;
}

/// A name of at most [`NAME_MAX`] bytes, filled up with zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Name([u8; NAME_MAX]);

impl Name {
    /// The name, cut at the last character boundary that fits.
    pub fn new(name: &str) -> Self {
        let length = name.floor_char_boundary(NAME_MAX);
        let mut bytes = [0; NAME_MAX];
        bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
        Self(bytes)
    }

    /// The name; empty if its bytes are no UTF-8.
    pub fn as_str(&self) -> &str {
        let used = self.0.iter().position(|&byte| byte == 0).unwrap_or(NAME_MAX);
        core::str::from_utf8(&self.0[..used]).unwrap_or_default()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Range {
    /// First byte; 0 if there is no such range.
    pub address: u64,
    /// Bytes.
    pub length: u64,
}

impl Range {
    /// A range.
    pub const fn new(address: u64, length: u64) -> Self {
        Self { address, length }
    }

    /// Address behind the last byte.
    pub const fn end(self) -> u64 {
        self.address.saturating_add(self.length)
    }
}

/// What an entry of the start page is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum EntryKind {
    /// An endpoint on which the domain serves `interface`; `handle` may receive.
    Provides = 1,
    /// An endpoint whose `interface` the domain uses; `handle` may call.
    Uses = 2,
    /// A request ring of which the domain is the client: `handle` is the memory, mapped at `memory`; `peer` with
    /// `peer_bits` is what to notify; `bits` are those that the peer sets in the domain's own notification.
    RingClient = 3,
    /// A request ring that the domain serves; fields as for the client, and `handle` has the right `DMA`. `client` says
    /// whose it is. If `area` is not 0, the domain lends the ring under this number to whom it asks itself, and there is no
    /// peer.
    RingServer = 4,
    /// An interrupt in `handle`, to be bound to `bits`.
    Interrupt = 5,
    /// I/O ports in `handle`: the first port in `memory.address`, their number in `memory.length`.
    Ports = 6,
    /// Memory in `handle`. If `memory` has an address, it is mapped there, readable, and nobody ever changes it.
    Memory = 7,
    /// Another domain's notification in `peer`, of which `peer_bits` may be set.
    Peer = 8,
    /// Another capability in `handle`; its kind is found by [`crate::cap::describe`].
    Capability = 9,
    /// A ring that its server lends to this domain under the number `area`; fields as for one that the domain serves, but only
    /// what stands before the buffer area is mapped.
    LentRing = 10,
}

impl EntryKind {
    /// The kind with this number.
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Provides,
            2 => Self::Uses,
            3 => Self::RingClient,
            4 => Self::RingServer,
            5 => Self::Interrupt,
            6 => Self::Ports,
            7 => Self::Memory,
            8 => Self::Peer,
            9 => Self::Capability,
            10 => Self::LentRing,
            _ => return None,
        })
    }
}

/// One thing that the domain was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Entry {
    kind: u32,
    /// Index of the client of a ring that the domain serves: the lower half of the badge with which it calls.
    pub client: u16,
    /// Number of a lent ring.
    pub area: u16,
    /// What the manifest calls it.
    pub name: Name,
    /// Id of the interface, of entries that have one.
    pub interface: u64,
    /// Handle in the domain's table.
    pub handle: u64,
    /// Handle of the peer's notification.
    pub peer: u64,
    /// Bits to set in the peer's notification.
    pub peer_bits: u64,
    /// Bits of the domain's own notification that belong to the entry.
    pub bits: u64,
    /// Where it is mapped, or which ports it is.
    pub memory: Range,
}

impl Entry {
    /// No entry: all zero.
    const UNUSED: Entry = Entry {
        kind: 0,
        client: 0,
        area: 0,
        name: Name([0; NAME_MAX]),
        interface: 0,
        handle: 0,
        peer: 0,
        peer_bits: 0,
        bits: 0,
        memory: Range { address: 0, length: 0 },
    };

    /// An entry; what is not given is zero and is set field by field.
    pub fn new(kind: EntryKind, name: &str) -> Self {
        Self { kind: kind as u32, name: Name::new(name), ..Self::UNUSED }
    }

    /// What it is for; `None` if this library does not know it.
    pub fn kind(&self) -> Option<EntryKind> {
        EntryKind::from_number(self.kind)
    }

    /// The handle in the domain's table.
    pub fn handle(&self) -> Handle {
        Handle(self.handle)
    }
}

/// Handles of the domain's own objects; [`Handle::NONE`] as a number (0) for what it was not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct OwnHandles {
    /// Its account, in which it creates objects.
    pub account: u64,
    /// Its space, in which it maps.
    pub space: u64,
    /// Itself.
    pub domain: u64,
    /// Its first thread.
    pub thread: u64,
    /// Memory from which it donates page tables for its own mappings.
    pub tables: u64,
    /// How many pages of that memory are still free, from page `tables_first` on.
    pub tables_pages: u64,
    /// First free page of that memory.
    pub tables_first: u64,
}

const FIXED: usize = 8 + 4 * 4 + NAME_MAX + 7 * 8 + 5 * 8 + 4 * 16 + 4 + 4;
const PADDING: usize = PAGE_SIZE as usize - FIXED - ARGUMENTS_MAX - ENTRIES_MAX * size_of::<Entry>();

/// What a domain finds when it starts.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct StartPage {
    magic: u64,
    version: u32,
    abi_version: u32,
    /// How often the domain was started before.
    pub instance: u32,
    entries_used: u32,
    /// The domain's name.
    pub name: Name,
    /// Its own objects.
    pub own: OwnHandles,
    /// Its notification, bound to its first thread.
    pub notification: u64,
    /// Where the first thread's message buffer is mapped; 0 for none.
    pub buffer: u64,
    /// Where the status page is mapped; 0 for none.
    pub status: u64,
    /// Where the page is mapped that tells which clients are gone ([`crate::session::Register`]); 0 for none.
    pub clients: u64,
    /// Time of day at boot, in seconds since 1970, in the zone in which the machine's clock runs; 0 if it is not known.
    pub boot_time: u64,
    /// The heap, mapped and zeroed.
    pub heap: Range,
    /// Addresses at which the domain may map.
    pub window: Range,
    /// Memory that outlives the domain.
    pub vault: Range,
    /// The program as linked, for those who look at their own backtraces.
    pub image: Range,
    arguments_used: u32,
    reserved: u32,
    arguments: [u8; ARGUMENTS_MAX],
    entries: [Entry; ENTRIES_MAX],
    padding: [u8; PADDING],
}

const _: () = assert!(size_of::<StartPage>() == PAGE_SIZE as usize);

/// A start page is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartPageFull;

impl fmt::Display for StartPageFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a domain can be given at most {ENTRIES_MAX} things and {ARGUMENTS_MAX} bytes of arguments")
    }
}

impl core::error::Error for StartPageFull {}

/// Why bytes are no start page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartPageError {
    /// They are too few or not aligned to eight bytes.
    Size,
    /// They do not begin as a start page does.
    Magic,
    /// It is of another version than this library.
    Version,
    /// It counts more entries or arguments than there can be.
    Count,
}

impl fmt::Display for StartPageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StartPageError::Size => "a start page is 4096 aligned bytes",
            StartPageError::Magic => "this is no start page",
            StartPageError::Version => "the start page is of another version than this program",
            StartPageError::Count => "the start page counts more entries than it can hold",
        })
    }
}

impl core::error::Error for StartPageError {}

impl StartPage {
    /// A page for the domain `name` that gives it nothing yet.
    pub fn new(name: &str) -> Self {
        Self {
            magic: MAGIC,
            version: VERSION,
            abi_version: abi::ABI_VERSION,
            instance: 0,
            entries_used: 0,
            name: Name::new(name),
            own: OwnHandles::default(),
            notification: 0,
            buffer: 0,
            status: 0,
            clients: 0,
            boot_time: 0,
            heap: Range::default(),
            window: Range::default(),
            vault: Range::default(),
            image: Range::default(),
            arguments_used: 0,
            reserved: 0,
            arguments: [0; ARGUMENTS_MAX],
            entries: [const { Entry::UNUSED }; ENTRIES_MAX],
            padding: [0; PADDING],
        }
    }

    /// Reads bytes as a start page.
    ///
    /// # Errors
    /// [`StartPageError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<&Self, StartPageError> {
        let (page, _) = Self::ref_from_prefix(bytes).map_err(|_| StartPageError::Size)?;
        if page.magic != MAGIC {
            return Err(StartPageError::Magic);
        }
        if page.version != VERSION || page.abi_version != abi::ABI_VERSION {
            return Err(StartPageError::Version);
        }
        if page.entries_used as usize > ENTRIES_MAX || page.arguments_used as usize > ARGUMENTS_MAX {
            return Err(StartPageError::Count);
        }
        Ok(page)
    }

    /// The bytes to copy into the domain's page, up to the last one that is not zero for want of something to say.
    pub fn as_bytes(&self) -> &[u8] {
        let entries = core::mem::offset_of!(StartPage, entries);
        let used = entries + self.entries_used as usize * size_of::<Entry>();
        IntoBytes::as_bytes(self).get(..used).unwrap_or_default()
    }

    /// Adds something that the domain is given.
    ///
    /// # Errors
    /// [`StartPageFull`].
    pub fn push(&mut self, entry: Entry) -> Result<(), StartPageFull> {
        let place = self.entries.get_mut(self.entries_used as usize).ok_or(StartPageFull)?;
        *place = entry;
        self.entries_used += 1;
        Ok(())
    }

    /// Sets the arguments: words parted by spaces, for the program to read.
    ///
    /// # Errors
    /// [`StartPageFull`] if they are too long.
    pub fn set_arguments(&mut self, arguments: &str) -> Result<(), StartPageFull> {
        let place = self.arguments.get_mut(..arguments.len()).ok_or(StartPageFull)?;
        place.copy_from_slice(arguments.as_bytes());
        self.arguments_used = arguments.len() as u32;
        Ok(())
    }

    /// The arguments.
    pub fn arguments(&self) -> &str {
        let used = self.arguments.get(..self.arguments_used as usize);
        core::str::from_utf8(used.unwrap_or_default()).unwrap_or_default()
    }

    /// What the domain was given.
    pub fn entries(&self) -> &[Entry] {
        self.entries.get(..self.entries_used as usize).unwrap_or_default()
    }

    /// The entries of one kind.
    pub fn entries_of(&self, kind: EntryKind) -> impl Iterator<Item = &Entry> {
        self.entries().iter().filter(move |entry| entry.kind() == Some(kind))
    }
}

impl fmt::Debug for StartPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartPage")
            .field("name", &self.name)
            .field("instance", &self.instance)
            .field("own", &self.own)
            .field("heap", &self.heap)
            .field("entries", &self.entries())
            .finish_non_exhaustive()
    }
}

/// Numbers of kinds that a builder knows to be handles of objects, for checks before a page is used.
pub fn expected_kind(entry: EntryKind) -> Option<Kind> {
    Some(match entry {
        EntryKind::Provides | EntryKind::Uses => Kind::Endpoint,
        EntryKind::RingClient | EntryKind::RingServer | EntryKind::LentRing | EntryKind::Memory => Kind::Memory,
        EntryKind::Interrupt => Kind::Interrupt,
        EntryKind::Ports => Kind::Ports,
        EntryKind::Peer | EntryKind::Capability => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[repr(align(8))]
    struct Aligned([u8; 4096]);

    fn copied(page: &StartPage) -> Aligned {
        let mut copy = Aligned([0; 4096]);
        copy.0[..page.as_bytes().len()].copy_from_slice(page.as_bytes());
        copy
    }

    #[test]
    fn what_the_builder_writes_is_what_the_domain_reads() {
        let mut page = StartPage::new("echo");
        page.heap = Range::new(layout::STACK, 1 << 20);
        page.set_arguments("verbose name=ä").unwrap();
        let mut entry = Entry::new(EntryKind::Provides, "echo");
        entry.interface = 7;
        entry.handle = Handle::new(5, 1).0;
        page.push(entry).unwrap();
        let copy = copied(&page);
        let read = StartPage::from_bytes(&copy.0).unwrap();
        assert_eq!(read.name.as_str(), "echo");
        assert_eq!(read.arguments(), "verbose name=ä");
        assert_eq!(read.entries(), &[entry]);
        assert_eq!(read.entries_of(EntryKind::Uses).count(), 0);
    }

    #[test]
    fn a_full_page_takes_no_more_entries_and_stays_as_it_was() {
        let mut page = StartPage::new("x");
        let entry = Entry::new(EntryKind::Peer, "n");
        for _ in 0..ENTRIES_MAX {
            page.push(entry).unwrap();
        }
        assert_eq!(page.push(entry), Err(StartPageFull));
        assert_eq!(page.entries().len(), ENTRIES_MAX);
        let long: Vec<u8> = alloc::vec![b'a'; ARGUMENTS_MAX + 1];
        assert_eq!(page.set_arguments(core::str::from_utf8(&long).unwrap()), Err(StartPageFull));
    }

    #[test]
    fn pages_of_other_versions_and_lying_counts_are_refused() {
        let page = StartPage::new("x");
        for (offset, error) in [
            (0, StartPageError::Magic),
            (8, StartPageError::Version),
            (12, StartPageError::Version),
            (23, StartPageError::Count),
        ] {
            let mut copy = copied(&page);
            copy.0[offset] ^= 0x40;
            assert_eq!(StartPage::from_bytes(&copy.0).unwrap_err(), error, "byte {offset}");
        }
        assert_eq!(StartPage::from_bytes(&[0; 8]).unwrap_err(), StartPageError::Size);
    }
}
