//! What the root domain finds beside its [`RootInfo`]: the machine's description and the boot archive.

use abi::boot::BootInfo;
use abi::root::{self, RootInfo};

/// What the loader found out about the machine.
pub fn boot_info(_info: &'static RootInfo) -> &'static BootInfo {
    // SAFETY: whoever holds the root information is the root domain, into whose space the kernel has mapped the boot
    // information at this address, read-only and for ever. Every bit pattern of it that the kernel accepted is valid.
    unsafe { &*(root::BOOT_INFO_ADDRESS as *const BootInfo) }
}

/// The boot archive, which the loader has checked.
pub fn archive(info: &'static RootInfo) -> &'static [u8] {
    // SAFETY: as above, for the archive, of which `archive_length` bytes are mapped.
    unsafe { core::slice::from_raw_parts(root::ARCHIVE_ADDRESS as *const u8, info.archive_length as usize) }
}
