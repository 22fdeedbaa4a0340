//! The machine under the loader: its memory, and the CPU's protection switches.

use abi::PAGE_SIZE;
use abi::boot::{BootInfo, Extent};
use archive::ArchiveSlot;
use core::arch::x86_64::__cpuid;
use loader::error::LoadError;
use loader::handover::Own;
use loader::memory::PhysicalMemory;
use x86_64::registers::control::{Cr4, Cr4Flags, Efer, EferFlags};

/// The entry code maps this much, one to one.
const LIMIT: u64 = 4 << 30;

// SAFETY: `loader.ld` and the entry code define these places; only their addresses are taken.
unsafe extern "C" {
    static loader_start: u8;
    static loader_end: u8;
    #[link_name = "jump_page"]
    static JUMP_PAGE: u8;
}

/// Filled in when an archive is put into the loader's file.
#[used]
static SLOT: ArchiveSlot = ArchiveSlot::EMPTY;

/// The memory that the loader's image takes.
pub(crate) fn image() -> Extent {
    Extent::between((&raw const loader_start).addr() as u64, (&raw const loader_end).addr() as u64)
}

/// The page from which the kernel is entered.
pub(crate) fn jump_page() -> u64 {
    (&raw const JUMP_PAGE).addr() as u64
}

/// What the loader knows of itself.
pub(crate) fn own(entry_tsc: u64) -> Own {
    // SAFETY: it is an ordinary static of this type; the read is volatile because its contents change after compilation.
    let slot = unsafe { (&raw const SLOT).read_volatile() };
    let embedded = Extent { start: slot.start, len: slot.len };
    Own { image: image(), jump_page: jump_page(), embedded: (slot.len > 0).then_some(embedded), entry_tsc }
}

/// Turns on what the kernel's mappings rely on: non-executable and global pages. Write protection is on since paging is.
///
/// # Errors
/// If the CPU lacks one of them.
pub(crate) fn turn_on_protection() -> Result<(), LoadError> {
    // The entry code has seen that this leaf exists.
    if __cpuid(0x8000_0001).edx & 1 << 20 == 0 {
        return Err(LoadError::NoExecuteDisable);
    }
    if __cpuid(1).edx & 1 << 13 == 0 {
        return Err(LoadError::NoGlobalPages);
    }
    // SAFETY: the CPU has both features, and no page table in use has the bits set to which they give a meaning.
    unsafe {
        Efer::update(|efer| efer.insert(EferFlags::NO_EXECUTE_ENABLE));
        Cr4::update(|cr4| cr4.insert(Cr4Flags::PAGE_GLOBAL));
    }
    Ok(())
}

/// Local APIC identifier of the CPU that runs (Intel SDM volume 2A, CPUID, leaf 1).
pub(crate) fn boot_cpu() -> u32 {
    __cpuid(1).ebx >> 24
}

/// Physical memory through the identity map. There is only one of it, so that borrows of it are borrows of memory.
pub(crate) struct Memory {
    image: Extent,
}

impl Memory {
    /// All memory but the loader's own. To be made once.
    pub(crate) fn new() -> Self {
        Self { image: image() }
    }

    /// Whether an extent is within reach and not the loader's.
    pub(crate) fn reaches(&self, extent: Extent) -> bool {
        extent.start != 0 && extent.end() <= LIMIT && !extent.overlaps(&self.image)
    }
}

impl PhysicalMemory for Memory {
    fn limit(&self) -> u64 {
        LIMIT
    }

    fn bytes(&self, extent: Extent) -> Option<&[u8]> {
        if !self.reaches(extent) {
            return None;
        }
        // SAFETY: the identity map covers the extent, which does not start at 0 and holds no Rust object:
        // those are all in the loader's image. Whoever could change it borrows `self` mutably.
        Some(unsafe { core::slice::from_raw_parts(extent.start as *const u8, extent.len as usize) })
    }

    fn bytes_mut(&mut self, extent: Extent) -> Option<&mut [u8]> {
        if !self.reaches(extent) {
            return None;
        }
        // SAFETY: as in `bytes`, and `self` is borrowed mutably for as long as the slice lives.
        Some(unsafe { core::slice::from_raw_parts_mut(extent.start as *mut u8, extent.len as usize) })
    }

    fn copy(&mut self, from: Extent, to: u64) -> Option<()> {
        let target = Extent { start: to, len: from.len };
        if !self.reaches(from) || !self.reaches(target) || from.overlaps(&target) {
            return None;
        }
        // SAFETY: both extents are mapped and outside of the loader's objects, they do not overlap, and `self` is
        // borrowed mutably, so that no slice of either exists.
        unsafe {
            core::ptr::copy_nonoverlapping(from.start as *const u8, to as *mut u8, from.len as usize);
        }
        Some(())
    }

    fn store(&mut self, at: u64, info: &BootInfo) -> Option<()> {
        let target = Extent { start: at, len: size_of::<BootInfo>() as u64 };
        if !self.reaches(target) || !at.is_multiple_of(PAGE_SIZE) {
            return None;
        }
        // SAFETY: the target is mapped, page aligned, outside of the loader's objects, and no slice of it exists.
        unsafe { (at as *mut BootInfo).write(*info) };
        Some(())
    }
}
