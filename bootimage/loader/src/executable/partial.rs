//! Tables of the kernel of which a machine has a part only: see [`abi::boot::PartialTable`].

use super::{Executable, ExecutableError, Segment};
use abi::PAGE_SIZE;
use abi::boot::{Extent, List, Measure, PARTIAL_TABLES_MAX, PartialTable};
use elf::segment::ProgramHeader;

/// Stands where there is none.
pub(super) const NO_TABLE: PartialTable = PartialTable { start: 0, len: 0, measure: Measure::Memory };

/// The list of tables to which a program header leads.
pub(super) fn list(
    file: &[u8],
    header: &ProgramHeader,
) -> Result<List<PartialTable, PARTIAL_TABLES_MAX>, ExecutableError> {
    let bytes = || {
        let first = usize::try_from(header.p_offset).ok()?;
        file.get(first..first.checked_add(usize::try_from(header.p_filesz).ok()?)?)
    };
    let (entries, rest) = bytes().ok_or(ExecutableError::BadTables)?.as_chunks::<{ PartialTable::SIZE }>();
    let mut tables = List::new(NO_TABLE);
    for entry in entries {
        let table = PartialTable::read(entry).ok_or(ExecutableError::BadTables)?;
        tables.push(table).map_err(|_| ExecutableError::BadTables)?;
    }
    if rest.is_empty() { Ok(tables) } else { Err(ExecutableError::BadTables) }
}

impl Executable {
    /// The same program for a machine with so many shares of its tables, and so many processors: the segments leave out the
    /// pages of its tables of which nothing is there.
    ///
    /// # Errors
    /// [`ExecutableError::BadTables`].
    pub fn with_parts_of_tables(&self, shares: usize, processors: usize) -> Result<Self, ExecutableError> {
        let mut whole = *self;
        for table in self.tables.as_slice() {
            let end = table.start.checked_add(table.len).ok_or(ExecutableError::BadTables)?;
            let first = table.start + table.present(shares, processors);
            let hole = Extent::between(first.next_multiple_of(PAGE_SIZE), end & !(PAGE_SIZE - 1));
            if hole.len > 0 {
                whole = whole.without(hole).ok_or(ExecutableError::BadTables)?;
            }
        }
        Ok(whole)
    }

    /// The same without these pages; `None` if they do not all lie in one segment of zeros that may be written.
    fn without(&self, hole: Extent) -> Option<Self> {
        let mut rest = *self;
        rest.segments = List::new(*self.segments().first()?);
        let mut found = false;
        for segment in self.segments() {
            let end = segment.virt + segment.len;
            if !(segment.first_page() <= hole.start && hole.end() <= segment.end_page()) {
                rest.segments.push(*segment).ok()?;
                continue;
            }
            if !segment.writable || segment.file_len > 0 {
                return None;
            }
            found = true;
            for (first, end) in [(segment.virt, hole.start), (hole.end(), end)] {
                if first < end {
                    rest.segments.push(Segment { virt: first, len: end - first, ..*segment }).ok()?;
                }
            }
        }
        rest.holes.push(hole).ok()?;
        found.then_some(rest)
    }
}
