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
    next: u64,
    pages: u64,
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
            .map(|(index, extent)| FreeExtent { memory: extent_cap(index), next: 0, pages: extent.pages })
            .collect();
        extents.sort_by_key(|extent| extent.pages);
        Ram { extents }
    }

    /// Takes contiguous pages.
    ///
    /// # Errors
    /// [`Failure::OutOfMemory`], or the kernel's refusal.
    pub(crate) fn take(&mut self, pages: u64, purpose: &str) -> Result<MemoryRef, Failure> {
        if pages == 0 {
            return Ok(MemoryRef::default());
        }
        let extent = self
            .extents
            .iter_mut()
            .find(|extent| extent.pages - extent.next >= pages)
            .ok_or_else(|| Failure::OutOfMemory { purpose: purpose.into(), pages })?;
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
