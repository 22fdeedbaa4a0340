//! An ELF file: which of its bytes go where, and what may be done with them there.

use abi::boot::{DEVICE_BASE, Extent, KERNEL_BASE, List, PARTIAL_TABLES_MAX, PT_TABLES, PartialTable};
use abi::{PAGE_SIZE, USER_END};
use core::fmt;
use elf::ElfBytes;
use elf::abi::{EM_X86_64, ET_EXEC, PF_W, PF_X, PT_DYNAMIC, PT_INTERP, PT_LOAD, PT_TLS};
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::segment::ProgramHeader;

mod partial;

/// Most loaded segments, pieces of those counted one by one of which not all is loaded.
pub const SEGMENTS_MAX: usize = 32;

/// Why a file cannot be loaded. Segments are counted from 0 among all program headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExecutableError {
    /// It is no ELF file, or its headers lie outside of it.
    NotElf,
    /// It is not a static 64-bit executable for x86-64.
    WrongType,
    /// It needs something that only a dynamic linker or a C library would provide.
    NotSelfContained {
        /// Which segment says so.
        segment: u32,
    },
    /// It has no segment to load.
    NoSegments,
    /// It has more segments to load than are possible.
    TooManySegments {
        /// Most that are possible.
        most: usize,
    },
    /// A segment's bytes lie outside of the file, or it is longer there than in memory.
    SegmentOutsideFile {
        /// Which segment.
        segment: u32,
    },
    /// A segment lies outside of the addresses for such a file.
    SegmentOutsideWindow {
        /// Which segment.
        segment: u32,
        /// Its address.
        virt: u64,
        /// The addresses for such a file.
        window: Window,
    },
    /// A segment is writable and executable.
    WritableAndExecutable {
        /// Which segment.
        segment: u32,
    },
    /// A segment shares a page with one before it, or lies below it.
    Overlapping {
        /// Which segment.
        segment: u32,
        /// Its address.
        virt: u64,
    },
    /// What it says of its tables is no list of tables, or one of these does not lie among zeros that may be written, or not
    /// apart from the others.
    BadTables,
    /// The entry point does not lie in an executable segment's bytes.
    BadEntry {
        /// The entry point.
        entry: u64,
    },
}

impl fmt::Display for ExecutableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotElf => write!(f, "it is not an ELF file, or a damaged one"),
            Self::WrongType => write!(f, "it is not a static 64-bit executable for x86-64"),
            Self::NotSelfContained { segment } => {
                write!(f, "its segment {segment} asks for a dynamic linker or thread-local storage")
            }
            Self::NoSegments => write!(f, "it has no segment to load"),
            Self::TooManySegments { most } => {
                write!(f, "it has more than {most} segments to load")
            }
            Self::SegmentOutsideFile { segment } => {
                write!(f, "the bytes of its segment {segment} do not lie in the file")
            }
            Self::SegmentOutsideWindow { segment, virt, window } => {
                write!(f, "its segment {segment} at {virt:#x} is not between {:#x} and {:#x}", window.start, window.end)
            }
            Self::WritableAndExecutable { segment } => {
                write!(f, "its segment {segment} is both writable and executable")
            }
            Self::Overlapping { segment, virt } => write!(
                f,
                "its segment {segment} at {virt:#x} shares a page with the segment before it or lies below it"
            ),
            Self::BadTables => {
                write!(f, "its list of tables is damaged, or names one that does not lie among its zeros")
            }
            Self::BadEntry { entry } => {
                write!(f, "its entry point {entry:#x} is not in executable bytes of it")
            }
        }
    }
}

impl core::error::Error for ExecutableError {}

/// Addresses between which a file may be linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First address.
    pub start: u64,
    /// Address just above the last one.
    pub end: u64,
}

impl Window {
    /// For the kernel.
    pub const KERNEL: Self = Self { start: KERNEL_BASE, end: DEVICE_BASE };
    /// For the root domain. The first page is left out, so that no null pointer ever refers to something.
    pub const USER: Self = Self { start: PAGE_SIZE, end: USER_END };
}

/// A piece of a program with one kind of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where its bytes start in the file.
    pub file_offset: u64,
    /// How many bytes come from the file; the rest is zero.
    pub file_len: u64,
    /// Its first address, of any alignment.
    pub virt: u64,
    /// Bytes that it has in memory.
    pub len: u64,
    /// Whether it may be written.
    pub writable: bool,
    /// Whether it may be executed.
    pub executable: bool,
}

impl Segment {
    /// Address of its first page.
    pub const fn first_page(&self) -> u64 {
        self.virt & !(PAGE_SIZE - 1)
    }

    /// Address just above its last page.
    pub const fn end_page(&self) -> u64 {
        // The window's bounds keep this far from overflowing.
        (self.virt + self.len).next_multiple_of(PAGE_SIZE)
    }

    /// Bytes of all its pages.
    pub const fn pages_len(&self) -> u64 {
        self.end_page() - self.first_page()
    }
}

/// How a program is to be loaded.
#[derive(Clone, Copy, Debug)]
pub struct Executable {
    segments: List<Segment, SEGMENTS_MAX>,
    /// Tables of which not all needs to be there.
    tables: List<PartialTable, PARTIAL_TABLES_MAX>,
    /// Where nothing of them is, in whole pages.
    holes: List<Extent, PARTIAL_TABLES_MAX>,
    /// Where it is entered.
    pub entry: u64,
}

impl Executable {
    /// Plans the loading of the ELF file `file` to addresses in `window`, with at most `most` segments.
    ///
    /// # Errors
    /// Says what is wrong with the first thing that is wrong.
    pub fn plan(file: &[u8], window: Window, most: usize) -> Result<Self, ExecutableError> {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file).map_err(|_| ExecutableError::NotElf)?;
        let header = elf.ehdr;
        if header.class != Class::ELF64 || header.e_machine != EM_X86_64 || header.e_type != ET_EXEC {
            return Err(ExecutableError::WrongType);
        }
        let table = elf.segments().ok_or(ExecutableError::NoSegments)?;
        let mut image = Self {
            segments: List::new(Segment {
                file_offset: 0,
                file_len: 0,
                virt: 0,
                len: 0,
                writable: false,
                executable: false,
            }),
            tables: List::new(partial::NO_TABLE),
            holes: List::new(Extent { start: 0, len: 0 }),
            entry: header.e_entry,
        };
        let mut free = window.start;
        for (index, header) in table.iter().enumerate() {
            let index = index as u32;
            match header.p_type {
                PT_LOAD if header.p_memsz > 0 => {
                    let segment = segment(index, &header, file.len() as u64, window)?;
                    if segment.first_page() < free {
                        return Err(ExecutableError::Overlapping { segment: index, virt: segment.virt });
                    }
                    free = segment.end_page();
                    let room = image.segments().len() < most;
                    if !room || image.segments.push(segment).is_err() {
                        return Err(ExecutableError::TooManySegments { most });
                    }
                }
                PT_TABLES => image.tables = partial::list(file, &header)?,
                PT_DYNAMIC | PT_INTERP | PT_TLS => {
                    return Err(ExecutableError::NotSelfContained { segment: index });
                }
                _ => {}
            }
        }
        if image.segments().is_empty() {
            return Err(ExecutableError::NoSegments);
        }
        let enterable = |segment: &Segment| {
            segment.executable && segment.virt <= image.entry && image.entry < segment.virt + segment.file_len
        };
        if !image.segments().iter().any(enterable) {
            return Err(ExecutableError::BadEntry { entry: image.entry });
        }
        Ok(image)
    }

    /// The segments, by ascending address; no two share a page.
    pub fn segments(&self) -> &[Segment] {
        self.segments.as_slice()
    }

    /// Where it has tables without memory, in whole pages: see [`Executable::with_parts_of_tables`].
    pub fn holes(&self) -> &[Extent] {
        self.holes.as_slice()
    }

    /// Bytes of physical memory that the segments need: whole pages, one segment after the other.
    pub fn memory_len(&self) -> u64 {
        self.segments().iter().map(Segment::pages_len).sum()
    }

    /// The segments with the physical memory of each one's pages, if all of it starts at `start`.
    pub fn placed(&self, start: u64) -> impl Iterator<Item = (Segment, Extent)> {
        self.segments().iter().scan(start, |next, segment| {
            let extent = Extent { start: *next, len: segment.pages_len() };
            *next = extent.end();
            Some((*segment, extent))
        })
    }
}

/// Checks one program header by itself.
fn segment(index: u32, header: &ProgramHeader, file_len: u64, window: Window) -> Result<Segment, ExecutableError> {
    // A segment of zeros only may claim to start anywhere in the file.
    let outside = || header.p_offset.checked_add(header.p_filesz).is_none_or(|end| end > file_len);
    if header.p_filesz > header.p_memsz || header.p_filesz > 0 && outside() {
        return Err(ExecutableError::SegmentOutsideFile { segment: index });
    }
    let virt = header.p_vaddr;
    let inside = virt.checked_add(header.p_memsz).is_some_and(|end| virt >= window.start && end <= window.end);
    if !inside {
        return Err(ExecutableError::SegmentOutsideWindow { segment: index, virt, window });
    }
    let writable = header.p_flags & PF_W != 0;
    let executable = header.p_flags & PF_X != 0;
    if writable && executable {
        return Err(ExecutableError::WritableAndExecutable { segment: index });
    }
    Ok(Segment {
        file_offset: header.p_offset,
        file_len: header.p_filesz,
        virt,
        len: header.p_memsz,
        writable,
        executable,
    })
}

#[cfg(test)]
mod tests;
