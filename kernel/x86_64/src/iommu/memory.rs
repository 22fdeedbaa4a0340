//! The pages in which the IOMMU finds what the kernel tells it.

use crate::page_table;
use crate::ram::RamPage;
use core::cell::UnsafeCell;
use kernel_core::Frame;

/// How many pages there are.
pub const PAGES: usize = 27;

/// Pages of the kernel's image that only the IOMMU, and the kernel through the direct map, reads and writes.
#[repr(C, align(4096))]
struct Pages(UnsafeCell<[[u64; 512]; PAGES]>);

// SAFETY: no code reads or writes the array; its address is all that is taken of it.
unsafe impl Sync for Pages {}

static OWN: Pages = Pages(UnsafeCell::new([[0; 512]; PAGES]));

/// The page with this number, all zero when the kernel starts. `None` behind the last one.
pub fn page(number: usize, root: Frame) -> Option<RamPage> {
    if number >= PAGES {
        return None;
    }
    let address = OWN.0.get() as u64 + number as u64 * abi::PAGE_SIZE;
    // SAFETY: the frame is one behind `OWN`, in which Rust code reads and writes nothing.
    page_table::kernel_frame(root, address).map(|frame| unsafe { RamPage::new(frame) })
}
