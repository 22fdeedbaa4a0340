//! The pages in which the IOMMU finds what the kernel tells it.

use super::{amdvi, vtd};
use crate::page_table;
use crate::ram::RamPage;
use core::cell::UnsafeCell;
use kernel_core::Frame;

/// How many pages there are: as many as the kind of IOMMU needs that needs the most.
pub const PAGES: usize = if amdvi::PAGES > vtd::PAGES { amdvi::PAGES } else { vtd::PAGES };

/// Pages of the kernel's image that only the IOMMU, and the kernel through the direct map, reads and writes.
#[repr(C, align(4096))]
struct Pages(UnsafeCell<[[u64; 512]; PAGES]>);

// SAFETY: no code reads or writes the array; its address is all that is taken of it.
unsafe impl Sync for Pages {}

static OWN: Pages = Pages(UnsafeCell::new([[0; 512]; PAGES]));

/// The page with this number, all zero when the kernel starts. `None` behind the last one. The kernel's image is loaded as a
/// whole, but who needs pages that follow each other asks whether they do.
pub fn page(number: usize, root: Frame) -> Option<RamPage> {
    if number >= PAGES {
        return None;
    }
    let address = OWN.0.get() as u64 + number as u64 * abi::PAGE_SIZE;
    // SAFETY: the frame is one behind `OWN`, in which Rust code reads and writes nothing.
    page_table::kernel_frame(root, address).map(|frame| unsafe { RamPage::new(frame) })
}
