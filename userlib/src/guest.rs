//! Guests: machines inside the machine, whose memory is a space and whose processors are threads.

/// How much memory a guest takes, and for what.
pub mod layout {
    use abi::PAGE_SIZE;

    /// Bytes that one page table maps.
    const TABLE_REACH: u64 = 512 * PAGE_SIZE;
    /// The root table, and the tables above the last level, for up to 512 GiB at the lowest addresses.
    const UPPER_TABLES: u64 = 2;
    /// Pages of a virtual processor, which the kernel keeps.
    const KERNEL_PAGES: u64 = 2;
    /// Pages of the thread that enters the guest for it: its message buffer, and its stack.
    pub(super) const THREAD_PAGES: u64 = 1 + 1;

    /// Pages beside those of the guest's own `memory`, in bytes, with so many `processors`.
    pub const fn overhead(memory: u64, processors: u8) -> u64 {
        let directories = memory.div_ceil(512 * TABLE_REACH) + 1;
        let tables = UPPER_TABLES + directories + memory.div_ceil(TABLE_REACH) + 1;
        tables + processors as u64 * (KERNEL_PAGES + THREAD_PAGES)
    }
}
