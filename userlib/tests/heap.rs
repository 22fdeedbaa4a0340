//! The heap: blocks are whole and apart, whatever their sizes, and are used again.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

use userlib::heap::Heap;

/// The system's allocator with a limit, counting.
struct Limited {
    left: Cell<usize>,
    blocks: Cell<usize>,
    calls: Cell<usize>,
}

impl Limited {
    fn new(bytes: usize) -> Self {
        Self { left: Cell::new(bytes), blocks: Cell::new(0), calls: Cell::new(0) }
    }
}

// SAFETY: the blocks are the system's; that some are refused is allowed.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.calls.set(self.calls.get() + 1);
        let Some(left) = self.left.get().checked_sub(layout.size()) else {
            return ptr::null_mut();
        };
        self.left.set(left);
        self.blocks.set(self.blocks.get() + 1);
        // SAFETY: passed on to the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.left.set(self.left.get() + layout.size());
        self.blocks.set(self.blocks.get() - 1);
        // SAFETY: passed on to the caller.
        unsafe { System.dealloc(block, layout) }
    }
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).expect("a layout")
}

/// A block that is filled with a byte of its own.
struct Block {
    place: *mut u8,
    layout: Layout,
    byte: u8,
}

impl Block {
    fn new(heap: &Heap<Limited>, layout: Layout, byte: u8) -> Option<Self> {
        // SAFETY: no layout of these tests is empty.
        let place = unsafe { heap.alloc(layout) };
        let mut block = Self { place, layout, byte };
        (!place.is_null()).then(|| {
            block.fill();
            block
        })
    }

    fn fill(&mut self) {
        assert!(self.place.addr().is_multiple_of(self.layout.align()));
        // SAFETY: the block has these bytes.
        unsafe { self.place.write_bytes(self.byte, self.layout.size()) };
    }

    fn is_whole(&self) -> bool {
        // SAFETY: they were written when it was made.
        let bytes = unsafe { std::slice::from_raw_parts(self.place, self.layout.size()) };
        bytes.iter().all(|byte| *byte == self.byte)
    }

    fn resize(&mut self, heap: &Heap<Limited>, size: usize) -> bool {
        // SAFETY: it is a block of this heap with this layout.
        let place = unsafe { heap.realloc(self.place, self.layout, size) };
        if place.is_null() {
            return false;
        }
        self.place = place;
        let kept = Self { layout: layout(self.layout.size().min(size)), place, byte: self.byte };
        assert!(kept.is_whole(), "what it held is still there");
        self.layout = Layout::from_size_align(size, self.layout.align()).expect("a layout");
        self.fill();
        true
    }

    fn free(self, heap: &Heap<Limited>) {
        assert!(self.is_whole(), "nobody else has written to it");
        // SAFETY: it is a block of this heap with this layout, and is not used afterwards.
        unsafe { heap.dealloc(self.place, self.layout) };
    }
}

#[test]
fn a_small_block_that_was_freed_is_the_next_one_of_its_size() {
    let heap = Heap::new(Limited::new(1 << 20));
    let first = Block::new(&heap, layout(100), 1).expect("there is room");
    let place = first.place;
    first.free(&heap);
    let second = Block::new(&heap, layout(120), 2).expect("there is room");
    assert_eq!(second.place, place);
    assert_eq!(heap.allocator().calls.get(), 1, "the allocator was asked once");
    second.free(&heap);
}

#[test]
fn what_is_kept_is_given_back_before_memory_is_refused() {
    let heap = Heap::new(Limited::new(4096));
    let blocks: Vec<_> = (0..8).map(|byte| Block::new(&heap, layout(512), byte).expect("there is room")).collect();
    assert!(Block::new(&heap, layout(512), 9).is_none(), "there is none left");
    blocks.into_iter().for_each(|block| block.free(&heap));
    assert_eq!(heap.allocator().blocks.get(), 8, "all are kept");
    Block::new(&heap, layout(4000), 9).expect("it is all free").free(&heap);
}

#[test]
fn many_blocks_of_one_size_do_not_stay_out_of_the_allocator() {
    let heap = Heap::new(Limited::new(1 << 20));
    let blocks: Vec<_> = (0..100).map(|byte| Block::new(&heap, layout(64), byte).expect("there is room")).collect();
    blocks.into_iter().for_each(|block| block.free(&heap));
    assert!(heap.allocator().blocks.get() <= 8);
}

#[test]
fn blocks_of_all_sizes_and_alignments_stay_apart_however_they_come_and_go() {
    let heap = Heap::new(Limited::new(1 << 20));
    let mut blocks: Vec<Block> = Vec::new();
    let mut random = 1_u64;
    for step in 0..200_000 {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let number = (random >> 33) as usize;
        match number % 8 {
            0..3 if blocks.len() < 200 => {
                let layout =
                    Layout::from_size_align(1 + number / 8 % 2000, 1 << (number / 16_000 % 8)).expect("a layout");
                blocks.extend(Block::new(&heap, layout, step as u8));
            }
            3 if !blocks.is_empty() => {
                let index = number / 8 % blocks.len();
                blocks[index].resize(&heap, 1 + number / 2048 % 2000);
            }
            _ if !blocks.is_empty() => blocks.swap_remove(number / 8 % blocks.len()).free(&heap),
            _ => {}
        }
    }
    assert!(!blocks.is_empty());
    blocks.into_iter().for_each(|block| block.free(&heap));
}
