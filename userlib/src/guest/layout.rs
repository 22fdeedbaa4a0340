//! How much memory a guest takes, and for what.

use abi::PAGE_SIZE;

/// Bytes that one page table maps.
pub const TABLE_REACH: u64 = 512 * PAGE_SIZE;
/// The tables above those that map a gibibyte each: the root and the one below it.
const UPPER_TABLES: u64 = 2;
/// Pages of a virtual processor, which the kernel keeps.
const KERNEL_PAGES: u64 = 2;
/// Pages of the thread that enters the guest for it: its message buffer, and its stack.
pub const THREAD_PAGES: u64 = 1 + 2;

/// Pages that the kernel takes for a guest of `memory` bytes, at the lowest addresses, with so many processors.
pub const fn kernel_pages(memory: u64, processors: u8) -> u64 {
    let directories = memory.div_ceil(512 * TABLE_REACH) + 1;
    let tables = memory.div_ceil(TABLE_REACH) + 1;
    UPPER_TABLES + directories + tables + processors as u64 * KERNEL_PAGES
}

/// Pages beside those of the guest's own `memory`, in bytes, with so many `processors`.
pub const fn overhead(memory: u64, processors: u8) -> u64 {
    kernel_pages(memory, processors) + processors as u64 * THREAD_PAGES
}
