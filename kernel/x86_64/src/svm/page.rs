//! Pages of the kernel's image that the processor uses to run guests, and the kernel through the direct map.

use crate::page_table;
use crate::ram::RamPage;
use crate::state;
use core::cell::UnsafeCell;
use kernel_core::{CpuId, Frame};

/// What a page is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// The map of ports: three pages.
    Ports,
    /// The map of model-specific registers: two pages.
    Registers,
    /// The host's state on this processor while it runs a guest.
    Host(CpuId),
}

const PORT_PAGES: usize = 3;
const REGISTER_PAGES: usize = 2;
const PAGES: usize = PORT_PAGES + REGISTER_PAGES + CpuId::MAX;

#[repr(C, align(4096))]
struct Pages(UnsafeCell<[[u64; 512]; PAGES]>);

// SAFETY: no code reads or writes the array; its address is all that is taken of it.
unsafe impl Sync for Pages {}

static OWN: Pages = Pages(UnsafeCell::new([[0; 512]; PAGES]));

impl Use {
    /// The first page and how many there are.
    const fn place(self) -> (usize, usize) {
        match self {
            Use::Ports => (0, PORT_PAGES),
            Use::Registers => (PORT_PAGES, REGISTER_PAGES),
            Use::Host(cpu) => (PORT_PAGES + REGISTER_PAGES + cpu.index() % CpuId::MAX, 1),
        }
    }
}

fn frame_at(root: Frame, number: usize) -> Option<Frame> {
    page_table::kernel_frame(root, OWN.0.get() as u64 + number as u64 * abi::PAGE_SIZE)
}

/// The first frame of a use. The kernel's image is mapped, and loaded as a whole ([`are_contiguous`]).
pub(super) fn frame(of: Use) -> Frame {
    frame_at(state::machine().root, of.place().0).unwrap_or(Frame(0))
}

/// The pages of a use.
pub(super) fn pages(of: Use) -> impl Iterator<Item = RamPage> {
    let (first, count) = of.place();
    // SAFETY: the frames are those behind `OWN`, in which Rust code reads and writes nothing.
    (first..first + count)
        .filter_map(|number| frame_at(state::machine().root, number))
        .map(|frame| unsafe { RamPage::new(frame) })
}

/// Whether the pages follow each other in physical memory, as the processor wants the maps.
pub(super) fn are_contiguous(root: Frame) -> bool {
    let frames = || (0..PAGES).map(|number| frame_at(root, number));
    frames().zip(frames().skip(1)).all(|pair| matches!(pair, (Some(one), Some(next)) if next.0 == one.0 + 1))
}
