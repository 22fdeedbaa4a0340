//! Page tables of user spaces: walking, filling and clearing them (AMD64 manual volume 2, 5.3; Intel SDM volume 3A, 4.5).
//!
//! A user space has four levels and pages of 4 KiB only. The upper half of every root table is the kernel's own, copied
//! once from the table that the loader made; its lower half and everything below it is made of donated frames.

use crate::processor;
use crate::ram::RamPage;
use abi::{PAGE_SIZE, USER_END};
use bitflags::bitflags;
use kernel_core::{Frame, MapPiece, Probe};

bitflags! {
    /// Bits of a page-table entry.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct EntryFlags: u64 {
        /// The entry counts.
        const PRESENT = 1 << 0;
        /// Stores are allowed.
        const WRITABLE = 1 << 1;
        /// User mode may use it.
        const USER = 1 << 2;
        /// With [`EntryFlags::CACHE_DISABLE`]: page-attribute type 3, uncached.
        const WRITE_THROUGH = 1 << 3;
        /// See [`EntryFlags::WRITE_THROUGH`].
        const CACHE_DISABLE = 1 << 4;
        /// Set by the processor when it uses the entry; set from the start, which spares it the work.
        const ACCESSED = 1 << 5;
        /// Set by the processor when it writes through the entry; set from the start.
        const DIRTY = 1 << 6;
        /// The entry maps a large page; only in the kernel's half.
        const LARGE = 1 << 7;
        /// Left to software: the frame is no RAM, so the direct map has no page for it.
        const DEVICE = 1 << 9;
        /// Instructions are not fetched from it.
        const NO_EXECUTE = 1 << 63;
    }
}

/// The bits of an entry that hold the frame's address.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Entries in a table.
const ENTRIES: usize = 512;
/// The first entry of a root table that belongs to the kernel.
const KERNEL_HALF: usize = 256;

/// An entry of a table of any level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry(u64);

impl Entry {
    const EMPTY: Entry = Entry(0);

    const fn new(frame: Frame, flags: EntryFlags) -> Self {
        Entry(frame.address() | flags.bits())
    }

    const fn flags(self) -> EntryFlags {
        EntryFlags::from_bits_retain(self.0 & !ADDRESS)
    }

    const fn frame(self) -> Frame {
        Frame(((self.0 & ADDRESS) >> 12) as u32)
    }

    fn is_present(self) -> bool {
        self.flags().contains(EntryFlags::PRESENT)
    }

    /// The flags that map a page of a user space.
    fn for_page(piece: &MapPiece) -> EntryFlags {
        let mut flags = EntryFlags::PRESENT | EntryFlags::USER | EntryFlags::ACCESSED | EntryFlags::DIRTY;
        flags.set(EntryFlags::WRITABLE, piece.access.writes());
        flags.set(EntryFlags::NO_EXECUTE, !piece.access.executes());
        if piece.device {
            flags |= EntryFlags::DEVICE | EntryFlags::CACHE_DISABLE | EntryFlags::WRITE_THROUGH;
        }
        flags
    }

    /// The flags that link a table into a user space: the page's own entry restricts.
    const TABLE: EntryFlags =
        EntryFlags::PRESENT.union(EntryFlags::USER).union(EntryFlags::WRITABLE).union(EntryFlags::ACCESSED);
}

/// Where an address stands in the tables of a level: 3 is the root, 0 the last.
const fn index(address: u64, level: usize) -> usize {
    (address >> (12 + 9 * level)) as usize % ENTRIES
}

/// What a checked access wants of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// To read it.
    Read,
    /// To write it.
    Write,
}

/// The page tables of one user space.
#[derive(Clone, Copy, Debug)]
pub struct PageTable {
    root: RamPage,
}

impl PageTable {
    /// The page tables below a root table.
    ///
    /// # Safety
    /// The frame holds a root table that the core handed out ([`kernel_core::Effect::MakeRoot`]), so that every frame
    /// linked below its lower half is a donated frame, and every page mapped without [`EntryFlags::DEVICE`] RAM of users.
    pub const unsafe fn at(root: Frame) -> Self {
        PageTable {
            // SAFETY: a donated frame is RAM that no Rust object lives in.
            root: unsafe { RamPage::new(root) },
        }
    }

    fn table_below(table: RamPage, place: usize) -> Option<RamPage> {
        let entry = Entry(table.word(place));
        if !entry.is_present() || entry.flags().contains(EntryFlags::LARGE) {
            return None;
        }
        // SAFETY: `at` promises that what is linked below a root table's lower half are donated frames, which are RAM
        // without Rust objects.
        Some(unsafe { RamPage::new(entry.frame()) })
    }

    /// The last-level table for an address of user space, or how many tables are missing on the way to it.
    fn last_table(self, address: u64) -> Result<RamPage, u8> {
        let mut table = self.root;
        for level in (1..=3).rev() {
            table = Self::table_below(table, index(address, level)).ok_or(level as u8)?;
        }
        Ok(table)
    }

    /// Looks at a range within one 2 MiB window.
    pub fn probe(self, address: u64, pages: u64) -> Probe {
        match self.last_table(address) {
            Err(missing_tables) => Probe { missing_tables, occupied: false },
            Ok(table) => {
                let first = index(address, 0);
                let end = (first + pages as usize).min(ENTRIES);
                Probe { missing_tables: 0, occupied: (first..end).any(|place| Entry(table.word(place)).is_present()) }
            }
        }
    }

    /// Maps a range within one 2 MiB window, linking in the piece's tables where some are missing.
    #[inline(always)]
    pub fn map(self, piece: &MapPiece) {
        let mut spare = piece.tables.iter().copied().flatten();
        let mut table = self.root;
        for level in (1..=3).rev() {
            let place = index(piece.address, level);
            table = match Self::table_below(table, place) {
                Some(below) => below,
                None => {
                    // The core counted the missing tables through `probe` before it allowed this.
                    let Some(frame) = spare.next() else { return };
                    // SAFETY: the core hands out donated frames, which are RAM that no Rust object lives in.
                    let below = unsafe { RamPage::new(frame) };
                    below.zero();
                    table.set_word(place, Entry::new(frame, Entry::TABLE).0);
                    below
                }
            };
        }
        let flags = Entry::for_page(piece);
        let first = index(piece.address, 0);
        let mut entry = Entry::new(piece.frame, flags).0;
        for place in first..(first + piece.pages as usize).min(ENTRIES) {
            table.set_word(place, entry);
            entry += PAGE_SIZE;
        }
    }

    /// Clears a range within one 2 MiB window. Forgetting it in the TLB is the caller's.
    pub fn unmap(self, address: u64, pages: u16) {
        if let Ok(table) = self.last_table(address) {
            let first = index(address, 0);
            for place in first..(first + pages as usize).min(ENTRIES) {
                table.set_word(place, Entry::EMPTY.0);
            }
        }
    }

    /// The RAM behind an address of user space, if user mode may access it so.
    pub fn translate(self, address: u64, wanted: Wanted) -> Option<RamPage> {
        if address >= USER_END {
            return None;
        }
        let entry = Entry(self.last_table(address).ok()?.word(index(address, 0)));
        let mut needed = EntryFlags::PRESENT | EntryFlags::USER;
        needed.set(EntryFlags::WRITABLE, wanted == Wanted::Write);
        if !entry.flags().contains(needed) || entry.flags().contains(EntryFlags::DEVICE) {
            return None;
        }
        // SAFETY: `at` promises that a page mapped without `DEVICE` is RAM of users.
        Some(unsafe { RamPage::new(entry.frame()) })
    }

    /// Gives a zeroed root table the kernel's half of another root table.
    pub fn share_kernel_half(self, kernel: PageTable) {
        for place in KERNEL_HALF..ENTRIES {
            self.root.set_word(place, kernel.root.word(place));
        }
    }

    /// Unlinks everything in the lower half of a root table; the identity map that the loader left there.
    pub fn drop_lower_half(self) {
        for place in 0..KERNEL_HALF {
            self.root.set_word(place, Entry::EMPTY.0);
        }
    }
}

/// The frame behind a page of the kernel's image. The loader maps the image in pages of 4 KiB.
pub fn kernel_frame(root: Frame, address: u64) -> Option<Frame> {
    // SAFETY: the kernel's page tables are RAM that the loader has set aside; no Rust object lives in them.
    let mut table = unsafe { RamPage::new(root) };
    for level in (1..=3).rev() {
        table = PageTable::table_below(table, index(address, level))?;
    }
    let entry = Entry(table.word(index(address, 0)));
    entry.is_present().then(|| entry.frame())
}

/// Takes a page out of the kernel's half of every address space: nothing is mapped there any more. The loader maps the
/// kernel's image in pages of 4 KiB.
///
/// # Safety
/// `root` is the kernel's root table, the page is in the kernel's image, and nothing of the kernel uses it from now on.
pub unsafe fn remove_kernel_page(root: Frame, address: u64) {
    // SAFETY: the kernel's page tables are RAM that the loader has set aside; no Rust object lives in them.
    let mut table = unsafe { RamPage::new(root) };
    for level in (1..=3).rev() {
        let Some(below) = PageTable::table_below(table, index(address, level)) else { return };
        table = below;
    }
    table.set_word(index(address, 0), Entry::EMPTY.0);
    processor::forget_translation(address);
}

/// Bytes that one last-level table covers.
pub const WINDOW: u64 = PAGE_SIZE * ENTRIES as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use abi::syscall::MapAccess;
    use kernel_core::Tree;

    fn piece(access: MapAccess, device: bool) -> MapPiece {
        MapPiece {
            tree: Tree { root: Frame(1), device: None },
            address: 0,
            frame: Frame(2),
            pages: 1,
            access,
            device,
            tables: [None; 3],
        }
    }

    #[test]
    fn nothing_is_mapped_writable_and_executable() {
        for access in [MapAccess::Read, MapAccess::ReadWrite, MapAccess::ReadExecute] {
            let flags = Entry::for_page(&piece(access, false));
            assert!(!flags.contains(EntryFlags::WRITABLE) || flags.contains(EntryFlags::NO_EXECUTE));
        }
    }

    #[test]
    fn device_pages_are_uncached_and_marked() {
        let flags = Entry::for_page(&piece(MapAccess::ReadWrite, true));
        let uncached = EntryFlags::CACHE_DISABLE | EntryFlags::WRITE_THROUGH;
        assert!(flags.contains(uncached | EntryFlags::DEVICE));
    }

    #[test]
    fn an_entry_keeps_frame_and_flags_apart() {
        let entry = Entry::new(Frame(0x00ab_cdef), EntryFlags::PRESENT | EntryFlags::NO_EXECUTE);
        assert_eq!(entry.frame(), Frame(0x00ab_cdef));
        assert_eq!(entry.flags(), EntryFlags::PRESENT | EntryFlags::NO_EXECUTE);
    }

    #[test]
    fn an_address_is_split_into_four_indices() {
        let address = (5 << 39) | (6 << 30) | (7 << 21) | (8 << 12);
        assert_eq!([3, 2, 1, 0].map(|level| index(address, level)), [5, 6, 7, 8]);
    }
}
