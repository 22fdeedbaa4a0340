//! Gives out the machine's free memory, in contiguous pieces, once.

use crate::failure::Failure;
use alloc::vec::Vec;
use spawn::MemoryRef;
use userlib::abi::Handle;
use userlib::abi::rights::MemoryRights;
use userlib::abi::root::{ExtentKind, FIRST_EXTENT, RootInfo};
use userlib::cap::{Cap, Memory};

/// A free extent and how much of it is taken.
#[derive(Clone, Copy, Debug)]
struct FreeExtent {
    memory: Cap<Memory>,
    /// Its first frame.
    frame: u64,
    next: u64,
    pages: u64,
}

impl FreeExtent {
    fn has(&self, pages: u64) -> bool {
        self.pages - self.next >= pages
    }
}

/// The machine's free memory.
#[derive(Debug)]
pub(crate) struct Ram {
    extents: Vec<FreeExtent>,
}

/// The capability of one of the root's extents.
pub(crate) fn extent_cap(index: usize) -> Cap<Memory> {
    Cap::from_handle(Handle::new(FIRST_EXTENT + index as u16, 1))
}

impl Ram {
    /// All that the kernel left free. Smallest extents first, so that the largest stay whole.
    pub(crate) fn new(info: &RootInfo) -> Self {
        let used = info.extents.iter().take(info.extents_used as usize).enumerate();
        let mut extents: Vec<FreeExtent> = used
            .filter(|(_, extent)| extent.kind == ExtentKind::Free as u32)
            .map(|(index, extent)| FreeExtent {
                memory: extent_cap(index),
                frame: extent.frame,
                next: 0,
                pages: extent.pages,
            })
            .collect();
        extents.sort_by_key(|extent| extent.pages);
        Ram { extents }
    }

    /// Takes contiguous pages.
    ///
    /// # Errors
    /// [`Failure::OutOfMemory`], or the kernel's refusal.
    pub(crate) fn take(&mut self, pages: u64, purpose: &str) -> Result<MemoryRef, Failure> {
        let roomy = self.extents.iter_mut().find(|extent| extent.has(pages));
        Self::split(roomy, pages, purpose)
    }

    /// Takes contiguous pages as low in memory as there are any: for devices that know short addresses only, on a machine
    /// without an IOMMU.
    ///
    /// # Errors
    /// As [`Ram::take`].
    pub(crate) fn take_low(&mut self, pages: u64, purpose: &str) -> Result<MemoryRef, Failure> {
        let roomy = self.extents.iter_mut().filter(|extent| extent.has(pages));
        Self::split(roomy.min_by_key(|extent| extent.frame + extent.next), pages, purpose)
    }

    fn split(extent: Option<&mut FreeExtent>, pages: u64, purpose: &str) -> Result<MemoryRef, Failure> {
        if pages == 0 {
            return Ok(MemoryRef::default());
        }
        let extent = extent.ok_or_else(|| Failure::OutOfMemory { purpose: purpose.into(), pages })?;
        let part = extent.memory.split(extent.next, pages, MemoryRights::all());
        let memory = part.map_err(|error| Failure::Refused { step: "split memory", part: purpose.into(), error })?;
        extent.next += pages;
        Ok(MemoryRef::new(memory.leak(), pages))
    }

    /// Pages that nobody has taken.
    pub(crate) fn spare_pages(&self) -> u64 {
        self.extents.iter().map(|extent| extent.pages - extent.next).sum()
    }
}
