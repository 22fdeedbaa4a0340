//! The part of an ELF file that a machine needs.

use abi::program::BuiltFor;
use elf::ElfBytes;
use elf::abi::PT_NOTE;
use elf::endian::LittleEndian;
use elf::file::Class;

const ELF64_HEADER: usize = 64;
const PROGRAM_HEADER: u64 = 56;
/// Offset and length of the header's field for the section headers' place.
const SECTION_HEADERS_AT: std::ops::Range<usize> = 40..48;
/// The header's fields for the section headers' size, number and string table, which are the last of it.
const SECTION_HEADER_COUNTS: std::ops::Range<usize> = 58..64;

/// Why an ELF file cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotLoadable {
    /// It is not a 64-bit little-endian ELF file.
    #[error("it is not a 64-bit little-endian ELF file")]
    NotElf64,
    /// It has no program headers, or they reach outside of the file.
    #[error("it has no program headers to load it by")]
    NoSegments,
    /// A segment reaches outside of the file.
    #[error("one of its segments reaches past the end of the file")]
    Truncated,
}

/// Cuts `file` down to what is loaded and described by its program headers: symbols, debug information and section
/// headers go, every byte of a segment stays at its offset.
///
/// # Errors
///
/// [`NotLoadable`] if it is not a complete executable.
pub fn loadable_part(file: &[u8]) -> Result<Vec<u8>, NotLoadable> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file).map_err(|_| NotLoadable::NotElf64)?;
    if elf.ehdr.class != Class::ELF64 {
        return Err(NotLoadable::NotElf64);
    }
    let segments = elf.segments().ok_or(NotLoadable::NoSegments)?;
    let headers_end =
        elf.ehdr.e_phoff.checked_add(u64::from(elf.ehdr.e_phnum) * PROGRAM_HEADER).ok_or(NotLoadable::Truncated)?;
    let mut end = headers_end.max(ELF64_HEADER as u64);
    for segment in segments.iter() {
        let segment_end = segment.p_offset.checked_add(segment.p_filesz).ok_or(NotLoadable::Truncated)?;
        end = end.max(segment_end);
    }
    let end = usize::try_from(end).map_err(|_| NotLoadable::Truncated)?;
    let mut part = file.get(..end).ok_or(NotLoadable::Truncated)?.to_vec();
    part[SECTION_HEADERS_AT].fill(0);
    part[SECTION_HEADER_COUNTS].fill(0);
    Ok(part)
}

/// What an executable says of the ABI for which it was built.
pub(super) fn built_for(file: &[u8]) -> Option<BuiltFor> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file).ok()?;
    let notes = elf.segments()?.iter().filter(|segment| segment.p_type == PT_NOTE);
    notes.filter_map(|segment| elf.segment_data(&segment).ok()).find_map(BuiltFor::find)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The program that runs these tests: an ELF file with symbols and debug information.
    fn this_program() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn symbols_and_debug_information_go_and_every_segment_stays_as_it_is() {
        let file = this_program();
        let part = loadable_part(&file).unwrap();
        assert!(part.len() < file.len());
        let before = ElfBytes::<LittleEndian>::minimal_parse(&file).unwrap();
        let after = ElfBytes::<LittleEndian>::minimal_parse(&part).unwrap();
        assert!(after.section_headers().is_none());
        assert_eq!(before.ehdr.e_entry, after.ehdr.e_entry);
        let segments = |elf: &ElfBytes<'_, LittleEndian>| elf.segments().unwrap().iter().collect::<Vec<_>>();
        assert_eq!(segments(&before), segments(&after));
        for segment in segments(&before) {
            // The first segment holds the ELF header, which is what changed.
            let start = (segment.p_offset as usize).max(ELF64_HEADER);
            let end = (segment.p_offset + segment.p_filesz) as usize;
            if start < end {
                assert_eq!(file[start..end], part[start..end]);
            }
        }
    }

    #[test]
    fn what_is_no_executable_is_refused() {
        assert_eq!(loadable_part(b""), Err(NotLoadable::NotElf64));
        assert_eq!(loadable_part(b"#!/bin/sh\n"), Err(NotLoadable::NotElf64));
    }

    #[test]
    fn a_file_that_was_cut_off_is_refused() {
        let file = this_program();
        let loadable = loadable_part(&file).unwrap().len();
        assert!(loadable_part(&file[..loadable - 1]).is_err());
    }
}
