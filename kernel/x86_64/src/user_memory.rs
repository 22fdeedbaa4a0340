//! Bytes of user spaces, always reached through a checked walk and the direct map.

use crate::page_table::{PageTable, Wanted};
use crate::ram::RamBytes;
use abi::{PAGE_SIZE, USER_END};
use kernel_core::{CopyFault, LeaseCopy};

/// A range of a user space.
#[derive(Clone, Copy, Debug)]
pub struct UserRange {
    table: PageTable,
    address: u64,
    length: u64,
}

impl UserRange {
    /// A range of the space with these page tables; `None` if it leaves user space.
    pub fn new(table: PageTable, address: u64, length: u64) -> Option<Self> {
        let end = address.checked_add(length)?;
        if end > USER_END {
            return None;
        }
        Some(UserRange { table, address, length })
    }

    /// The first bytes of the range, as far as they lie in one page, if they are mapped as wanted.
    fn first_part(self, wanted: Wanted) -> Option<RamBytes> {
        let page = self.table.translate(self.address, wanted)?;
        let length = self.length.min(PAGE_SIZE);
        Some(page.part((self.address % PAGE_SIZE) as usize, length as usize))
    }

    /// The rest of the range after `bytes`.
    fn after(self, bytes: usize) -> Self {
        UserRange { table: self.table, address: self.address + bytes as u64, length: self.length - bytes as u64 }
    }

    /// Whether the whole range is mapped as wanted.
    pub fn is_mapped(mut self, wanted: Wanted) -> bool {
        while self.length > 0 {
            match self.first_part(wanted) {
                Some(part) => self = self.after(part.len()),
                None => return false,
            }
        }
        true
    }

    /// Reads the first bytes of the range into `target`.
    pub fn read(mut self, mut target: &mut [u8]) -> Option<()> {
        while self.length > 0 && !target.is_empty() {
            let part = self.first_part(Wanted::Read)?;
            let length = part.len().min(target.len());
            let (now, later) = target.split_at_mut(length);
            part.read(now);
            target = later;
            self = self.after(length);
        }
        Some(())
    }

    /// Reads the first words of the range into `words`.
    pub fn read_words(self, words: &mut [u64]) -> Option<()> {
        let mut rest = self;
        for word in words {
            let mut bytes = [0; 8];
            rest.read(&mut bytes)?;
            *word = u64::from_ne_bytes(bytes);
            rest = rest.after(8.min(rest.length as usize));
        }
        Some(())
    }

    /// Writes `source` to the first bytes of the range.
    pub fn write(mut self, mut source: &[u8]) -> Option<()> {
        while self.length > 0 && !source.is_empty() {
            let part = self.first_part(Wanted::Write)?;
            let length = part.len().min(source.len());
            let (now, later) = source.split_at(length);
            part.write(now);
            source = later;
            self = self.after(length);
        }
        Some(())
    }

    /// Writes words to the first bytes of the range.
    pub fn write_words(self, words: &[u64]) -> Option<()> {
        let mut rest = self;
        for word in words {
            rest.write(&word.to_ne_bytes())?;
            rest = rest.after(8.min(rest.length as usize));
        }
        Some(())
    }
}

/// Copies a piece of a lease: all of it, or nothing if a page on either side is not mapped as it must be.
pub fn copy(piece: &LeaseCopy) -> Result<(), CopyFault> {
    // SAFETY: the core names root tables of living spaces only.
    let (source_table, target_table) = unsafe { (PageTable::at(piece.source_root), PageTable::at(piece.target_root)) };
    let source = UserRange::new(source_table, piece.source, piece.length)
        .filter(|range| range.is_mapped(Wanted::Read))
        .ok_or(CopyFault::Source)?;
    let target = UserRange::new(target_table, piece.target, piece.length)
        .filter(|range| range.is_mapped(Wanted::Write))
        .ok_or(CopyFault::Target)?;
    let (mut source, mut target) = (source, target);
    while source.length > 0 {
        let from = source.first_part(Wanted::Read).ok_or(CopyFault::Source)?;
        let to = target.first_part(Wanted::Write).ok_or(CopyFault::Target)?;
        to.copy_from(from);
        let length = from.len().min(to.len());
        source = source.after(length);
        target = target.after(length);
    }
    Ok(())
}
