//! The heap of a domain: an allocator for blocks of every size, and small blocks at hand that were freed before.
//!
//! Servers make and drop a few small blocks on every call, of the same sizes again and again: the work itself, a name, a
//! list. To look for room and to unite it again costs more than a short call does otherwise, so a few freed blocks of each
//! small size are kept as they are.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

/// Bytes by which the sizes of kept blocks differ.
const STEP: usize = 32;
/// Sizes that are kept: up to a kibibyte.
const SIZES: usize = 32;
/// The most freed blocks of each size that are kept.
const KEPT: u8 = 8;
/// The largest alignment of blocks that are kept.
const ALIGNMENT: usize = 16;

/// A freed block, which holds where the next one of its size is.
#[repr(C)]
struct Freed {
    next: Option<NonNull<Freed>>,
}

/// Freed blocks of one size.
#[derive(Clone, Copy)]
struct Shelf {
    first: Option<NonNull<Freed>>,
    blocks: u8,
}

/// An allocator that keeps small blocks at hand before it gives them back to `A`.
pub struct Heap<A> {
    allocator: A,
    shelves: spin::Mutex<Shelves>,
}

struct Shelves([Shelf; SIZES]);

// SAFETY: the blocks on the shelves belong to nobody else, and any thread may use them.
unsafe impl Send for Shelves {}

/// Which shelf blocks of this layout lie on, if they are kept.
#[inline(always)]
fn shelf_of(layout: Layout) -> Option<usize> {
    let shelf = layout.size().wrapping_sub(1) / STEP;
    (shelf < SIZES && layout.align() <= ALIGNMENT).then_some(shelf)
}

/// The layout of all blocks of a shelf.
#[inline(always)]
const fn layout_of(shelf: usize) -> Layout {
    // SAFETY: the alignment is a power of two, and the size is at most `SIZES * STEP`.
    unsafe { Layout::from_size_align_unchecked((shelf + 1) * STEP, ALIGNMENT) }
}

impl<A: GlobalAlloc> Heap<A> {
    /// A heap of what `allocator` has.
    pub const fn new(allocator: A) -> Self {
        Self { allocator, shelves: spin::Mutex::new(Shelves([Shelf { first: None, blocks: 0 }; SIZES])) }
    }

    /// What the blocks are parts of.
    pub const fn allocator(&self) -> &A {
        &self.allocator
    }

    #[inline(always)]
    fn take(&self, shelf: usize) -> Option<NonNull<u8>> {
        let mut shelves = self.shelves.lock();
        let shelf = &mut shelves.0[shelf];
        let block = shelf.first?;
        // SAFETY: `keep` has written it, and nobody has had the block since.
        shelf.first = unsafe { block.as_ref() }.next;
        shelf.blocks -= 1;
        Some(block.cast())
    }

    /// Whether there was room for the block.
    ///
    /// # Safety
    /// It is a block of this shelf that nobody uses any more.
    #[inline(always)]
    unsafe fn keep(&self, shelf: usize, block: NonNull<u8>) -> bool {
        let mut shelves = self.shelves.lock();
        let shelf = &mut shelves.0[shelf];
        if shelf.blocks == KEPT {
            return false;
        }
        let freed = block.cast::<Freed>();
        // SAFETY: blocks are aligned to 16 bytes and have at least 32, and this one is nobody else's.
        unsafe { freed.write(Freed { next: shelf.first }) };
        shelf.first = Some(freed);
        shelf.blocks += 1;
        true
    }

    /// A block straight from the allocator; where it has none, after it has got back what was kept.
    #[cold]
    #[inline(never)]
    fn carve(&self, layout: Layout) -> *mut u8 {
        // SAFETY: no layout of a global allocator is empty.
        let block = unsafe { self.allocator.alloc(layout) };
        if !block.is_null() {
            return block;
        }
        for shelf in 0..SIZES {
            while let Some(block) = self.take(shelf) {
                // SAFETY: the block was allocated with this layout, and is nobody's.
                unsafe { self.allocator.dealloc(block.as_ptr(), layout_of(shelf)) };
            }
        }
        // SAFETY: as above.
        unsafe { self.allocator.alloc(layout) }
    }
}

// SAFETY: a block of `A` is given to one owner at a time: it is on a shelf only between `dealloc` and the next `alloc` that
// takes it from there, and blocks of a shelf are all of the shelf's layout, which is no smaller than what is asked for.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Heap<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match shelf_of(layout) {
            Some(shelf) => match self.take(shelf) {
                Some(block) => block.as_ptr(),
                None => self.carve(layout_of(shelf)),
            },
            None => self.carve(layout),
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let layout = match shelf_of(layout) {
            Some(shelf) => {
                // SAFETY: the caller's block was allocated with this layout, so it is not null and of this shelf.
                if unsafe { self.keep(shelf, NonNull::new_unchecked(block)) } {
                    return;
                }
                layout_of(shelf)
            }
            None => layout,
        };
        // SAFETY: the block came from there with this layout, and its owner has given it back.
        unsafe { self.allocator.dealloc(block, layout) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size is good for this alignment.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (shelf_of(layout), shelf_of(new)) {
            (Some(old), Some(new)) if old == new => return block,
            (None, None) => {
                // SAFETY: the block came from there with this layout. If it fails, it is still the caller's.
                let moved = unsafe { self.allocator.realloc(block, layout, size) };
                if !moved.is_null() {
                    return moved;
                }
            }
            _ => {}
        }
        // SAFETY: the new layout is not empty; both blocks hold the bytes that are copied; the old one is given back only
        // if there is a new one.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}
