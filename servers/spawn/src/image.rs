//! A program in the boot archive, ready to be mapped.

use crate::error::BuildError;
use abi::PAGE_SIZE;
use abi::program::BuiltFor;
use abi::syscall::MapAccess;
use alloc::rc::Rc;
use alloc::vec::Vec;
use archive::Archive;
use core::cell::RefCell;
use elf::ElfBytes;
use elf::abi::{EM_X86_64, ET_EXEC, PF_W, PF_X, PT_LOAD, PT_NOTE};
use elf::endian::LittleEndian;
use manifest::{DomainIndex, System};
use userlib::entry::BUILT_FOR;
use userlib::start::layout;

/// One segment of a program. Its address is a multiple of the page size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it is mapped.
    pub address: u64,
    /// Byte of the archive from which its contents come, a multiple of the page size.
    pub offset: u64,
    /// Bytes that come from the archive.
    pub file_bytes: u64,
    /// Bytes in memory; what is beyond `file_bytes` is zero.
    pub memory_bytes: u64,
    /// How it is mapped. What can be written is copied, everything else is shared with the archive.
    pub access: MapAccess,
}

impl Segment {
    /// Pages that it takes.
    pub const fn pages(&self) -> u64 {
        self.memory_bytes.div_ceil(PAGE_SIZE)
    }
}

/// The programs of a composition's domains, each read once.
#[derive(Debug)]
pub struct Images(RefCell<Vec<Option<Rc<Image>>>>);

impl Images {
    /// None is read yet.
    pub const fn new() -> Self {
        Images(RefCell::new(Vec::new()))
    }

    /// The program of a domain, which is read if it was not before.
    ///
    /// # Errors
    /// As [`Image::find`].
    pub fn of(&self, archive: &Archive<'_>, system: &System, index: DomainIndex) -> Result<Rc<Image>, BuildError> {
        let mut images = self.0.borrow_mut();
        if images.len() <= index.position() {
            images.resize(index.position() + 1, None);
        }
        let place = &mut images[index.position()];
        if let Some(image) = place {
            return Ok(image.clone());
        }
        let image = Rc::new(Image::find(archive, &system[index].binary)?);
        *place = Some(image.clone());
        Ok(image)
    }
}

impl Default for Images {
    fn default() -> Self {
        Self::new()
    }
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where its first thread starts.
    pub entry: u64,
    /// Its segments, by rising address.
    pub segments: Vec<Segment>,
}

impl Image {
    /// Finds a program in the archive and checks that it can be loaded.
    ///
    /// # Errors
    /// [`BuildError::NoProgram`], [`BuildError::BadProgram`] and [`BuildError::OtherAbi`].
    pub fn find(archive: &Archive<'_>, name: &str) -> Result<Self, BuildError> {
        let file = archive.file(name).ok_or_else(|| BuildError::NoProgram(name.into()))?;
        Self::parse(file.contents, file.offset as u64)
    }

    /// Reads an ELF file that lies at byte `offset` of the archive.
    ///
    /// # Errors
    /// [`BuildError::BadProgram`], and [`BuildError::OtherAbi`] if it would not understand what it is given.
    pub fn parse(contents: &[u8], offset: u64) -> Result<Self, BuildError> {
        let bad = BuildError::BadProgram;
        let elf = ElfBytes::<LittleEndian>::minimal_parse(contents).map_err(|_| bad("it is no ELF file"))?;
        if elf.ehdr.e_machine != EM_X86_64 || elf.ehdr.e_type != ET_EXEC {
            return Err(bad("it is no static x86-64 program"));
        }
        let headers = elf.segments().ok_or(bad("it has no segments"))?;
        let notes = headers.iter().filter(|header| header.p_type == PT_NOTE);
        let built_for = notes.filter_map(|header| elf.segment_data(&header).ok()).find_map(BuiltFor::find);
        match built_for {
            Some(BUILT_FOR) => {}
            Some(built_for) => return Err(BuildError::OtherAbi { built_for, system: BUILT_FOR }),
            None => return Err(bad("it does not say for which ABI it was built")),
        }
        let mut segments = Vec::new();
        let mut last_end = PAGE_SIZE;
        for header in headers.iter().filter(|header| header.p_type == PT_LOAD && header.p_memsz > 0) {
            let misplaced = header.p_vaddr % PAGE_SIZE != header.p_offset % PAGE_SIZE;
            let skew = header.p_vaddr % PAGE_SIZE;
            let address = header.p_vaddr - skew;
            let end = header.p_vaddr.checked_add(header.p_memsz).ok_or(bad("a segment wraps around"))?;
            if misplaced || address < last_end.next_multiple_of(PAGE_SIZE) || end > layout::START_PAGE {
                return Err(bad("a segment lies where it cannot be mapped"));
            }
            let file_end = header.p_offset.checked_add(header.p_filesz).ok_or(bad("a segment wraps around"))?;
            if file_end > contents.len() as u64 || header.p_filesz > header.p_memsz {
                return Err(bad("a segment reaches beyond the file"));
            }
            let access = match (header.p_flags & PF_W != 0, header.p_flags & PF_X != 0) {
                (true, true) => return Err(bad("a segment is writable and executable at once")),
                (true, false) => MapAccess::ReadWrite,
                (false, true) => MapAccess::ReadExecute,
                (false, false) => MapAccess::Read,
            };
            if access != MapAccess::ReadWrite && header.p_filesz != header.p_memsz {
                return Err(bad("a segment that cannot be written is longer than its contents"));
            }
            segments.push(Segment {
                address,
                offset: offset + header.p_offset - skew,
                file_bytes: header.p_filesz + skew,
                memory_bytes: header.p_memsz + skew,
                access,
            });
            last_end = end;
        }
        let starts = |segment: &Segment| {
            segment.access == MapAccess::ReadExecute
                && (segment.address..segment.address + segment.memory_bytes).contains(&elf.ehdr.e_entry)
        };
        if !segments.iter().any(starts) {
            return Err(bad("it does not start in its own code"));
        }
        Ok(Image { entry: elf.ehdr.e_entry, segments })
    }

    /// The segments with code.
    pub fn code(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.access == MapAccess::ReadExecute)
    }

    /// Where in a copy of the code the byte at an address lies.
    pub fn code_offset(&self, address: u64) -> Option<u64> {
        let mut before = 0;
        for segment in self.code() {
            if (segment.address..segment.address + segment.memory_bytes).contains(&address) {
                return Some(before + address - segment.address);
            }
            before += segment.pages() * PAGE_SIZE;
        }
        let annex = layout::ANNEX..layout::ANNEX + layout::ANNEX_PAGES * PAGE_SIZE;
        (self.has_annex() && annex.contains(&address)).then(|| before + address - layout::ANNEX)
    }

    /// Pages that the code takes.
    pub(crate) fn code_pages(&self) -> u64 {
        self.code().map(Segment::pages).sum()
    }

    /// Pages of a copy of the code that can be changed: the code, and behind it the annex and its data.
    pub fn changeable_pages(&self) -> u64 {
        self.code_pages() + if self.has_annex() { layout::ANNEX_PAGES + 1 } else { 0 }
    }

    /// Whether the program leaves room for an annex.
    pub(crate) fn has_annex(&self) -> bool {
        self.segments.iter().all(|segment| segment.address + segment.pages() * PAGE_SIZE <= layout::ANNEX)
    }

    /// Pages of private memory for what can be written.
    pub fn private_pages(&self) -> u64 {
        self.segments.iter().filter(|segment| segment.access.writes()).map(Segment::pages).sum()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use abi::program::Note;
    use std::string::ToString;

    /// Where the program's only segment with contents is, in the file and in memory.
    const CODE: u64 = 0x20_1000;

    /// A program that has `note` and does nothing.
    fn program(note: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        for half in [ET_EXEC, EM_X86_64, 1, 0] {
            file.extend(half.to_le_bytes());
        }
        for word in [CODE, 64, 0] {
            file.extend(word.to_le_bytes());
        }
        // No flags; sizes of the header and of the two program headers; no sections.
        for half in [0_u16, 0, 64, 56, 2, 0, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        let note_at = 64 + 2 * 56;
        for (kind, flags, offset, address, size) in
            [(PT_LOAD, 5_u32, PAGE_SIZE, CODE, 1), (PT_NOTE, 4, note_at, 0, note.len() as u64)]
        {
            file.extend(kind.to_le_bytes());
            file.extend(flags.to_le_bytes());
            for word in [offset, address, address, size, size, 1] {
                file.extend(word.to_le_bytes());
            }
        }
        file.extend(note);
        file.resize(PAGE_SIZE as usize + 1, 0xf4);
        file
    }

    #[test]
    fn a_program_of_this_abi_is_an_image() {
        let image = Image::parse(&program(&Note::new(BUILT_FOR).to_bytes()), 0).expect("nothing is wrong with it");
        assert_eq!((image.entry, image.segments.len()), (CODE, 1));
    }

    #[test]
    fn the_annex_lies_behind_the_code_and_its_data_is_no_code() {
        let image = Image::parse(&program(&Note::new(BUILT_FOR).to_bytes()), 0).expect("nothing is wrong with it");
        assert_eq!(image.changeable_pages(), 1 + layout::ANNEX_PAGES + 1);
        assert_eq!(image.code_offset(layout::ANNEX + 7), Some(PAGE_SIZE + 7));
        let end = layout::ANNEX + layout::ANNEX_PAGES * PAGE_SIZE;
        assert_eq!(image.code_offset(end - 1), Some((1 + layout::ANNEX_PAGES) * PAGE_SIZE - 1));
        for outside in [layout::ANNEX - 1, end, layout::ANNEX_DATA, CODE + 1] {
            assert_eq!(image.code_offset(outside), None, "{outside:#x}");
        }
    }

    #[test]
    fn a_program_that_leaves_no_room_has_no_annex() {
        let mut image = Image::parse(&program(&Note::new(BUILT_FOR).to_bytes()), 0).expect("nothing is wrong with it");
        image.segments[0].address = layout::ANNEX;
        assert_eq!((image.changeable_pages(), image.code_offset(layout::ANNEX + 1)), (1, None));
    }

    #[test]
    fn a_program_of_another_abi_is_refused_with_both_versions() {
        for built_for in
            [BuiltFor { abi: BUILT_FOR.abi - 1, ..BUILT_FOR }, BuiltFor { start: BUILT_FOR.start + 1, ..BUILT_FOR }]
        {
            let refusal = Image::parse(&program(&Note::new(built_for).to_bytes()), 0).unwrap_err();
            assert_eq!(refusal, BuildError::OtherAbi { built_for, system: BUILT_FOR });
            let sentence = refusal.to_string();
            assert!(sentence.contains(&built_for.to_string()) && sentence.contains("rebuild"), "{sentence}");
        }
    }

    #[test]
    fn a_program_that_says_nothing_of_its_abi_is_refused() {
        let refusal = Image::parse(&program(b""), 0).unwrap_err();
        assert_eq!(refusal, BuildError::BadProgram("it does not say for which ABI it was built"));
    }
}
