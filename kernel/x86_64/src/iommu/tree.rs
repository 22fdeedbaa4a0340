//! The page tables of device spaces: walking, filling and clearing them. Every kind of IOMMU has its own entries; the way
//! through the tables is the same.

use crate::processor;
use crate::ram::RamPage;
use core::ops::Range;
use kernel_core::{Frame, MapPiece, Probe};

/// Entries in a table.
const ENTRIES: usize = 512;
/// Pages that an entry of the second level maps at once.
const LARGE_PAGES: u64 = ENTRIES as u64;
/// The bits of an entry that hold a frame's address, whatever the IOMMU.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// How entries look, and how many levels there are.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// 3 or 4.
    pub levels: usize,
    /// Entries of the second level can map 2 MiB at once.
    pub has_large_pages: bool,
    /// The IOMMU does not see what is in the processor's caches: written entries are to be flushed.
    pub needs_flush: bool,
    /// The bits of an entry that links a table of the given level, counted from 0 for the last.
    pub table: fn(level: usize) -> u64,
    /// The bits of an entry of the given level that maps memory.
    pub page: fn(level: usize, writable: bool) -> u64,
    /// The bits of an entry of which one at least is set if the entry counts.
    pub present: u64,
    /// Whether an entry that counts, of a level above the last, maps memory.
    pub is_large: fn(u64) -> bool,
}

impl Format {
    const fn is_present(&self, entry: u64) -> bool {
        entry & self.present != 0
    }
}

/// Where an address stands in the tables of a level.
const fn index(address: u64, level: usize) -> usize {
    (address >> (12 + 9 * level)) as usize % ENTRIES
}

fn frame_of(entry: u64) -> Frame {
    Frame(((entry & ADDRESS) >> 12) as u32)
}

/// The page tables of one device space.
#[derive(Clone, Copy, Debug)]
pub struct DeviceTree<'f> {
    root: RamPage,
    format: &'f Format,
}

impl<'f> DeviceTree<'f> {
    /// The page tables below a root table.
    ///
    /// # Safety
    /// The frame holds a root table that the core has handed out ([`kernel_core::Effect::AttachDevices`]), so that every
    /// table linked below it is a donated frame.
    pub const unsafe fn at(root: Frame, format: &'f Format) -> Self {
        // SAFETY: a donated frame is RAM that no Rust object lives in.
        DeviceTree { root: unsafe { RamPage::new(root) }, format }
    }

    /// Goes down to the table of `level` for an address, or as far as there are tables: then it tells the level of the
    /// entry at which the way ends.
    fn table(self, address: u64, level: usize) -> Result<RamPage, usize> {
        let mut table = self.root;
        for above in (level + 1..self.format.levels).rev() {
            let entry = table.word(index(address, above));
            if !self.format.is_present(entry) || (self.format.is_large)(entry) {
                return Err(above);
            }
            // SAFETY: `at` promises that what is linked are donated frames, which are RAM without Rust objects.
            table = unsafe { RamPage::new(frame_of(entry)) };
        }
        Ok(table)
    }

    /// Whether a range is mapped by one entry of the second level, if nothing is there yet.
    fn fits_large(self, address: u64, frame: Frame, pages: u64) -> bool {
        self.format.has_large_pages
            && pages == LARGE_PAGES
            && address.is_multiple_of(LARGE_PAGES << 12)
            && u64::from(frame.0).is_multiple_of(LARGE_PAGES)
    }

    /// Looks at a range within one 2 MiB window, into which the frames from `frame` on are to be mapped.
    pub fn probe(self, address: u64, frame: Frame, pages: u64) -> Probe {
        let large = u8::from(self.fits_large(address, frame, pages));
        match self.table(address, 1) {
            Err(level) => Probe { missing_tables: level as u8 - large, occupied: false },
            Ok(table) => {
                let entry = table.word(index(address, 1));
                if !self.format.is_present(entry) {
                    return Probe { missing_tables: 1 - large, occupied: false };
                }
                let occupied = match self.table(address, 0) {
                    Err(_) => true,
                    Ok(last) => range(address, pages).any(|place| self.format.is_present(last.word(place))),
                };
                Probe { missing_tables: 0, occupied }
            }
        }
    }

    /// Maps a range within one 2 MiB window, linking in the piece's tables where some are missing.
    pub fn map(self, piece: &MapPiece) {
        let mut spare = piece.tables.iter().copied().flatten();
        let mut table = self.root;
        let large = self.fits_large(piece.address, piece.frame, piece.pages.into());
        for level in (1..self.format.levels).rev() {
            let place = index(piece.address, level);
            let entry = table.word(place);
            if level == 1 && large && !self.format.is_present(entry) {
                self.set(table, place, piece.frame, (self.format.page)(1, piece.access.writes()));
                return;
            }
            if !self.format.is_present(entry) {
                // The core counted the missing tables through `probe` before it allowed this.
                let Some(frame) = spare.next() else { return };
                // SAFETY: the core hands out donated frames, which are RAM that no Rust object lives in.
                let below = unsafe { RamPage::new(frame) };
                below.zero();
                if self.format.needs_flush {
                    processor::flush(below);
                }
                self.set(table, place, frame, (self.format.table)(level));
                table = below;
            } else {
                // SAFETY: as for `table`.
                table = unsafe { RamPage::new(frame_of(entry)) };
            }
        }
        let bits = (self.format.page)(0, piece.access.writes());
        let places = range(piece.address, piece.pages.into());
        for (number, place) in places.clone().enumerate() {
            table.set_word(place, piece.frame.offset(number as u32).address() | bits);
        }
        self.flush(table, places);
    }

    /// Clears a range within one 2 MiB window, which was mapped as a whole. Making the IOMMU forget it is the caller's.
    pub fn unmap(self, address: u64, pages: u16) {
        match self.table(address, 0) {
            Ok(table) => {
                let places = range(address, pages.into());
                places.clone().for_each(|place| table.set_word(place, 0));
                self.flush(table, places);
            }
            // A large page.
            Err(1) => {
                if let Ok(table) = self.table(address, 1) {
                    self.put(table, index(address, 1), 0);
                }
            }
            Err(_) => {}
        }
    }

    fn set(self, table: RamPage, place: usize, frame: Frame, bits: u64) {
        self.put(table, place, frame.address() | bits);
    }

    fn put(self, table: RamPage, place: usize, entry: u64) {
        table.set_word(place, entry);
        self.flush(table, place..place + 1);
    }

    /// Lets the IOMMU see what was written to these places.
    fn flush(self, table: RamPage, places: Range<usize>) {
        if self.format.needs_flush {
            processor::flush_words(table, places);
        }
    }
}

/// The places of a range in a last-level table.
fn range(address: u64, pages: u64) -> Range<usize> {
    let first = index(address, 0);
    first..(first + pages as usize).min(ENTRIES)
}
