//! What the first domain finds when it starts: its capabilities and the page that describes them.
//!
//! The kernel builds one domain by itself, from the image that the loader has placed. Its capabilities are at fixed
//! indices, all with generation 1; everything else in the system is made from them.

use crate::Handle;

/// The root domain's own domain.
pub const DOMAIN: Handle = Handle::new(1, 1);
/// Its space.
pub const SPACE: Handle = Handle::new(2, 1);
/// Its first thread.
pub const THREAD: Handle = Handle::new(3, 1);
/// The account to which every object of the machine is charged in the end.
pub const ACCOUNT: Handle = Handle::new(4, 1);
/// Authority to create interrupts.
pub const INTERRUPTS: Handle = Handle::new(5, 1);
/// All I/O ports.
pub const PORTS: Handle = Handle::new(6, 1);
/// The kernel's log and statistics.
pub const SYSTEM: Handle = Handle::new(7, 1);
/// The budget of the first thread.
pub const BUDGET: Handle = Handle::new(8, 1);
/// Authority over what devices can reach.
pub const DEVICES: Handle = Handle::new(9, 1);
/// Index of the first memory capability; they are described in [`RootInfo::extents`], in the same order.
pub const FIRST_EXTENT: u16 = 10;

/// Length of the root domain's capability table.
pub const TABLE_LENGTH: u16 = 1024;
/// Level of the root domain: above everybody, so that it may call anybody.
pub const LEVEL: u8 = 255;
/// Priority of its first thread.
pub const PRIORITY: u8 = 250;

/// Where the [`RootInfo`] is mapped, read-only. Its address is also the first thread's argument.
pub const INFO_ADDRESS: u64 = 0x0000_1000_0000_0000;
/// Where the boot information ([`crate::boot::BootInfo`]) is mapped, read-only.
pub const BOOT_INFO_ADDRESS: u64 = 0x0000_1000_0010_0000;
/// Where the message buffer of the first thread is mapped.
pub const BUFFER_ADDRESS: u64 = 0x0000_1000_0020_0000;
/// Top of the first thread's stack, [`STACK_PAGES`] pages below it are mapped.
pub const STACK_TOP: u64 = 0x0000_1000_0100_0000;
/// Pages of the first thread's stack.
pub const STACK_PAGES: u64 = 16;
/// Where the boot archive is mapped, read-only.
pub const ARCHIVE_ADDRESS: u64 = 0x0000_1001_0000_0000;

/// The most memory extents that are described.
pub const MAX_EXTENTS: usize = 128;

/// "BULKROOT" in little-endian bytes.
pub const MAGIC: u64 = u64::from_le_bytes(*b"BULKROOT");

/// What an extent of memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ExtentKind {
    /// Unused entry.
    None = 0,
    /// RAM that nobody uses.
    Free = 1,
    /// Addresses behind which devices may be, or reserved memory: mapped uncached.
    Device = 2,
    /// The boot archive.
    Archive = 3,
    /// The image and stack of the root domain itself, already mapped.
    Root = 4,
}

/// One memory capability of the root domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Extent {
    /// First frame number (physical address / 4096).
    pub frame: u64,
    /// Pages.
    pub pages: u64,
    /// An [`ExtentKind`] as a number.
    pub kind: u32,
    /// Unused.
    pub reserved: u32,
}

/// Describes the root domain's capabilities and the machine.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(4096))]
pub struct RootInfo {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`crate::ABI_VERSION`].
    pub abi_version: u32,
    /// How many extents are described.
    pub extents_used: u32,
    /// Length of the boot archive in bytes.
    pub archive_length: u64,
    /// The capability of extent `i` is at index [`FIRST_EXTENT`]` + i`.
    pub extents: [Extent; MAX_EXTENTS],
}
