//! Stacks of the processors that the boot processor starts.
//!
//! The boot processor's lie in the kernel's image, each above a page that is not mapped. These lie in the kernel's data,
//! and the lowest page of each is taken out of the page tables when its processor is about to start.

use crate::page_table;
use crate::segment::Stacks;
use abi::PAGE_SIZE;
use core::cell::UnsafeCell;
use kernel_core::{CpuId, Frame};

/// Bytes of the stack for everything that comes from user mode, with its guard page.
const KERNEL: usize = 6 * PAGE_SIZE as usize;
/// Bytes of each of the others, with its guard page.
const SPECIAL: usize = 3 * PAGE_SIZE as usize;

/// The stacks of one processor.
#[repr(C, align(4096))]
struct StackSet {
    kernel: [u8; KERNEL],
    special: [[u8; SPECIAL]; 4],
}

struct Sets([UnsafeCell<StackSet>; CpuId::MAX - 1]);

// SAFETY: Rust code never touches the bytes; each processor uses its own set as stacks.
unsafe impl Sync for Sets {}

static SETS: Sets =
    Sets([const { UnsafeCell::new(StackSet { kernel: [0; KERNEL], special: [[0; SPECIAL]; 4] }) }; CpuId::MAX - 1]);

/// The tops of a processor's stacks, whose guard pages are gone from the kernel's page tables when this returns. `None`
/// for the boot processor, which has others.
pub fn of(cpu: CpuId, root: Frame) -> Option<Stacks> {
    let set = SETS.0.get(cpu.index().checked_sub(1)?)?.get() as u64;
    let special = |index: usize| set + (KERNEL + index * SPECIAL) as u64;
    for bottom in [set, special(0), special(1), special(2), special(3)] {
        // SAFETY: the page is the lowest one of a stack of this kernel, which nobody is to use.
        unsafe { page_table::remove_kernel_page(root, bottom) };
    }
    Some(Stacks {
        kernel: set + KERNEL as u64,
        double_fault: special(1),
        machine_check: special(2),
        non_maskable: special(3),
        debug: special(4),
    })
}

/// Where all of them lie.
pub fn all() -> core::ops::Range<u64> {
    let start = SETS.0.as_ptr() as u64;
    start..start + size_of::<Sets>() as u64
}
