//! How a domain's memory is divided.

use abi::PAGE_SIZE;

/// Pages at the start of the control memory with fixed uses.
pub const CONTROL_FIXED_PAGES: u64 = 4;
/// Index of the start page in the control memory.
pub(crate) const START_PAGE: u64 = 0;
/// Index of the status page. It is the only one that outlives the instance: the supervisor reads a dead domain's last
/// words there.
pub const STATUS_PAGE: u64 = 1;
/// Index of the first thread's message buffer.
pub(crate) const BUFFER_PAGE: u64 = 2;
/// Index of the page in which the supervisor tells the domain which of its clients are gone.
pub const CLIENTS_PAGE: u64 = 3;
/// Pages of the first thread's stack.
pub(crate) const STACK_PAGES: u64 = 32;

/// Bytes that one page table covers.
const TABLE_REACH: u64 = 512 * PAGE_SIZE;
/// Page tables that every space needs: the root, and for each of the places that the layout of
/// [`userlib::start::layout`] keeps apart up to three levels.
const FIXED_TABLES: u64 = 24;
/// Page tables that a domain may donate for what it maps itself (device registers, memory it is given).
const OWN_TABLES: u64 = 8;

/// Page tables needed for memory of these sizes, in pages.
pub(crate) fn table_pages(private_pages: u64, vault_pages: u64, ring_pages: u64, rings: u64) -> u64 {
    let reach = TABLE_REACH / PAGE_SIZE;
    FIXED_TABLES + private_pages / reach + vault_pages / reach + ring_pages / reach + 2 * rings
}

/// Pages for the page tables of a device space that shows so many pages, in so many pieces: the root table, the way to what
/// firmware may have reserved, and what covers each piece.
pub fn device_table_pages(pages: u64, pieces: u64) -> u64 {
    const FIXED: u64 = 12;
    FIXED + pages.div_ceil(TABLE_REACH / PAGE_SIZE) + pieces
}

/// Pages of control memory for a domain with these sizes, in pages. `extra` pages of page tables are on top of what
/// every domain may use for its own mappings.
pub fn control_pages(private_pages: u64, vault_pages: u64, ring_pages: u64, rings: u64, extra: u64) -> u64 {
    CONTROL_FIXED_PAGES + table_pages(private_pages, vault_pages, ring_pages, rings) + OWN_TABLES + extra
}
