//! How a domain's memory is divided.

use crate::image::Image;
use abi::PAGE_SIZE;
use userlib::start::layout;

/// Pages at the start of the control memory with fixed uses, in the order of their addresses.
pub const CONTROL_FIXED_PAGES: u64 = 4;
/// Index of the start page in the control memory.
pub(crate) const START_PAGE: u64 = 0;
/// Index of the page in which the supervisor tells the domain which of its clients are gone.
pub const CLIENTS_PAGE: u64 = 1;
/// Index of the status page. It is the only one that outlives the instance: the supervisor reads a dead domain's last
/// words there.
pub const STATUS_PAGE: u64 = 2;
/// Index of the first thread's message buffer.
pub(crate) const BUFFER_PAGE: u64 = 3;

const _: () = assert!(
    (CLIENTS_PAGE - START_PAGE) * PAGE_SIZE == layout::CLIENTS - layout::START_PAGE
        && (BUFFER_PAGE - STATUS_PAGE) * PAGE_SIZE == layout::BUFFER - layout::STATUS_PAGE,
    "pages that are mapped together are neighbours in the memory, too"
);

/// Where the pages with fixed uses are mapped: an address and a number of pages.
pub(crate) const FIXED_RANGE: (u64, u64) = (layout::START_PAGE, (layout::BUFFER - layout::START_PAGE) / PAGE_SIZE + 1);

/// Pages of the first thread's stack, in a domain that has enough of them.
const STACK_PAGES: u64 = 32;
/// The fewest.
const STACK_PAGES_MIN: u64 = 3;
/// The fewest pages of a heap: with less a program could not even set up its executor.
const HEAP_PAGES_MIN: u64 = 4;

/// Pages of a lent ring that whoever it is lent to has mapped: all but what only devices are to read and write.
pub const LENT_PAGES: u64 = 2;

/// Bytes that one page table covers.
const TABLE_REACH: u64 = 512 * PAGE_SIZE;
/// Page tables that every space may need: the root, and for each of the places that the layout of
/// [`userlib::start::layout`] keeps apart up to three levels.
const FIXED_TABLES: u64 = 24;
/// Page tables that a domain may donate for what it maps itself (device registers, memory it is given).
const OWN_TABLES: u64 = 8;

/// How private memory is divided that is left beside what a program has in its image: pages of stack and of heap. `Err`
/// tells how many it takes at least.
pub(crate) const fn stack_and_heap(pages: u64) -> Result<(u64, u64), u64> {
    let quarter = pages / 4;
    let stack = if quarter > STACK_PAGES {
        STACK_PAGES
    } else if quarter < STACK_PAGES_MIN {
        STACK_PAGES_MIN
    } else {
        quarter
    };
    if pages < stack + HEAP_PAGES_MIN { Err(STACK_PAGES_MIN + HEAP_PAGES_MIN) } else { Ok((stack, pages - stack)) }
}

/// Page tables of a space, its root among them, in which just these ranges are mapped, each an address and a number of pages.
/// The addresses rise.
pub(crate) fn tables_for(ranges: impl IntoIterator<Item = (u64, u64)>) -> u64 {
    /// How far addresses are shifted to number the tables of each level below the root.
    const LEVELS: [u32; 3] = [21, 30, 39];
    let mut tables = 1;
    let mut next = [0; LEVELS.len()];
    for (address, pages) in ranges.into_iter().filter(|(_, pages)| *pages > 0) {
        let last = address + pages * PAGE_SIZE - 1;
        for (shift, next) in LEVELS.into_iter().zip(&mut next) {
            let (first, end) = ((address >> shift).max(*next), (last >> shift) + 1);
            tables += end.saturating_sub(first);
            *next = end.max(*next);
        }
    }
    tables
}

/// At most as many page tables are needed for memory of these sizes, in pages.
fn table_pages(private_pages: u64, vault_pages: u64, ring_pages: u64, rings: u64) -> u64 {
    let reach = TABLE_REACH / PAGE_SIZE;
    FIXED_TABLES + private_pages / reach + vault_pages / reach + ring_pages / reach + 2 * rings
}

/// Pages for the page tables of a device space that shows so many pages, in so many pieces: the root table, the way to what
/// firmware may have reserved, and what covers each piece.
pub fn device_table_pages(pages: u64, pieces: u64) -> u64 {
    const FIXED: u64 = 12;
    FIXED + pages.div_ceil(TABLE_REACH / PAGE_SIZE) + pieces
}

/// Pages of control memory for a domain with these sizes, in pages, whatever its program. `extra` pages of page tables are
/// on top of what every domain may use for its own mappings.
pub fn control_pages(private_pages: u64, vault_pages: u64, ring_pages: u64, rings: u64, extra: u64) -> u64 {
    CONTROL_FIXED_PAGES + table_pages(private_pages, vault_pages, ring_pages, rings) + OWN_TABLES + extra
}

/// The least memory with which a program starts that is given nothing to map, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Least {
    /// Of private memory.
    pub private: u64,
    /// Of control memory.
    pub control: u64,
}

impl Least {
    /// That of a program.
    pub fn of(image: &Image) -> Self {
        let own = STACK_PAGES_MIN + HEAP_PAGES_MIN;
        let segments = image.segments.iter().map(|segment| (segment.address, segment.pages()));
        let tables = tables_for(segments.chain([FIXED_RANGE, (layout::STACK, own)]));
        Least { private: image.private_pages() + own, control: CONTROL_FIXED_PAGES + tables }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_counted_once_however_many_ranges_share_them() {
        assert_eq!(tables_for([]), 1);
        assert_eq!(tables_for([(0x20_0000, 1)]), 4);
        assert_eq!(tables_for([(0x20_0000, 1), (0x20_1000, 3), (0x3f_f000, 1)]), 4);
        assert_eq!(tables_for([(0x3f_f000, 2)]), 5, "it crosses into the next last-level table");
        assert_eq!(tables_for([(0x20_0000, 1), (layout::START_PAGE, 2), (layout::STATUS_PAGE, 2)]), 5);
        assert_eq!(tables_for([(0x20_0000, 1), (layout::VAULT, 513)]), 4 + 3);
        assert_eq!(tables_for([(0x20_0000, 1), (1 << 46, 1)]), 7);
    }

    #[test]
    fn little_memory_is_more_heap_than_stack() {
        assert_eq!(stack_and_heap(6), Err(7));
        assert_eq!(stack_and_heap(7), Ok((3, 4)));
        assert_eq!(stack_and_heap(40), Ok((10, 30)));
        assert_eq!(stack_and_heap(1000), Ok((32, 968)));
    }
}
