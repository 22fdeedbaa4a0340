//! A bzImage, by the 64-bit entry of the Linux/x86 boot protocol (Documentation/arch/x86/boot.rst).

use super::memory_map::Range;
use super::state::{ProcessorState, RSI, TableRegister};
use super::{
    Boot, BootError, COMMAND_LINE, DESCRIPTORS, Image, MEGABYTE, PAGE, PAGE_TABLES, ZERO_PAGE, write_command_line,
    write_files,
};
use crate::memory::GuestMemory;

/// Offsets of fields, in the image and in the page that the kernel is told by.
mod field {
    pub(super) const RSDP: usize = 0x070;
    pub(super) const MAP_ENTRIES: usize = 0x1e8;
    pub(super) const SETUP_SECTORS: usize = 0x1f1;
    pub(super) const BOOT_FLAG: usize = 0x1fe;
    pub(super) const HEADER_LENGTH: usize = 0x201;
    pub(super) const MAGIC: usize = 0x202;
    pub(super) const VERSION: usize = 0x206;
    pub(super) const LOADER: usize = 0x210;
    pub(super) const FILES: usize = 0x218;
    pub(super) const FILES_BYTES: usize = 0x21c;
    pub(super) const COMMAND_LINE: usize = 0x228;
    pub(super) const FILES_MAX: usize = 0x22c;
    pub(super) const FLAGS_64: usize = 0x236;
    pub(super) const COMMAND_LINE_MAX: usize = 0x238;
    pub(super) const PLACE: usize = 0x258;
    pub(super) const NEEDED_BYTES: usize = 0x260;
    pub(super) const HEADER_END: usize = 0x264;
    pub(super) const MAP: usize = 0x2d0;
}

const SECTOR: usize = 512;
/// The header can end no later: behind it are fields that a loader fills in.
const HEADER_LAST: usize = 0x290;
/// The first version with the flags below.
const VERSION: u16 = 0x020c;
/// There is a 64-bit entry.
const HAS_64_BIT_ENTRY: u16 = 1;
/// A loader without a number of its own.
const UNKNOWN_LOADER: u8 = 0xff;
/// The 64-bit entry behind the beginning of what is loaded.
const ENTRY: u64 = 0x200;
/// Descriptors: none, none, code of 64 bits, data.
const SEGMENTS: [u64; 4] = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
/// Page-table entries: present and writable; and a page of 2 MiB.
const TABLE: u64 = 0b11;
const LARGE: u64 = 1 << 7 | 0b11;

/// Writes a bzImage and all that it needs into the guest's memory.
///
/// # Errors
/// If it cannot be started there.
pub fn load_bz_image(boot: &Boot<'_>, memory: &mut dyn GuestMemory) -> Result<ProcessorState, BootError> {
    let header = Header(boot.image);
    if header.u16(field::BOOT_FLAG)? != 0xaa55 || header.bytes::<4>(field::MAGIC)? != *b"HdrS" {
        return Err(BootError::NotThisKind);
    }
    if header.u16(field::VERSION)? < VERSION || header.u16(field::FLAGS_64)? & HAS_64_BIT_ENTRY == 0 {
        return Err(BootError::TooOld);
    }
    // 0 means 4, for images from before there was a number.
    let sectors = match header.bytes::<1>(field::SETUP_SECTORS)?[0] {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let kernel = boot.image.get((sectors + 1) * SECTOR..).filter(|kernel| !kernel.is_empty());
    let kernel = kernel.ok_or(BootError::Truncated)?;
    let place = header.u64(field::PLACE)?;
    let needed = u64::from(header.u32(field::NEEDED_BYTES)?).max(kernel.len() as u64);
    let bad_place = BootError::BadPlace { address: place, length: needed };
    let end =
        place.checked_add(needed).filter(|end| place >= MEGABYTE && *end <= boot.map.low_end()).ok_or(bad_place)?;
    memory.write(place, kernel)?;

    let mut page = Image([0; PAGE as usize]);
    let header_end = field::MAGIC + usize::from(header.bytes::<1>(field::HEADER_LENGTH)?[0]);
    let header_end = header_end.clamp(field::HEADER_END, HEADER_LAST);
    let copied = boot.image.get(field::SETUP_SECTORS..header_end).ok_or(BootError::Truncated)?;
    page.put(field::SETUP_SECTORS, copied);
    page.put(field::LOADER, &[UNKNOWN_LOADER]);
    write_command_line(boot.command_line, header.u32(field::COMMAND_LINE_MAX)? as usize, memory)?;
    page.put(field::COMMAND_LINE, &(COMMAND_LINE as u32).to_le_bytes());
    if let Some(files) = boot.initrd {
        let top = boot.map.low_end().min(u64::from(header.u32(field::FILES_MAX)?) + 1);
        let at = write_files(files, end, top, memory)?;
        // Both are below the hole, which is below 4 GiB.
        page.put(field::FILES, &(at as u32).to_le_bytes());
        page.put(field::FILES_BYTES, &(files.len() as u32).to_le_bytes());
    }
    page.put(field::RSDP, &boot.rsdp.to_le_bytes());
    let ranges = boot.map.ranges();
    page.put(field::MAP_ENTRIES, &[ranges.len() as u8]);
    for (index, Range { start, length, kind }) in ranges.iter().enumerate() {
        let at = field::MAP + 20 * index;
        page.put(at, &start.to_le_bytes());
        page.put(at + 8, &length.to_le_bytes());
        page.put(at + 16, &kind.number().to_le_bytes());
    }
    memory.write(ZERO_PAGE, &page.0)?;

    for (index, segment) in SEGMENTS.iter().enumerate() {
        memory.write(DESCRIPTORS + 8 * index as u64, &segment.to_le_bytes())?;
    }
    write_page_tables(memory)?;
    let descriptors = TableRegister { limit: 8 * SEGMENTS.len() as u16 - 1, base: DESCRIPTORS };
    let mut state = ProcessorState::long(place + ENTRY, PAGE_TABLES, descriptors);
    state.general[RSI] = ZERO_PAGE;
    Ok(state)
}

/// The first 4 GiB at their own addresses, in pages of 2 MiB.
fn write_page_tables(memory: &mut dyn GuestMemory) -> Result<(), BootError> {
    let pointers = PAGE_TABLES + PAGE;
    let mut top = Image([0; PAGE as usize]);
    top.put(0, &(pointers | TABLE).to_le_bytes());
    memory.write(PAGE_TABLES, &top.0)?;
    let mut middle = Image([0; PAGE as usize]);
    for gigabyte in 0..4 {
        let directory = pointers + PAGE * (1 + gigabyte);
        middle.put(8 * gigabyte as usize, &(directory | TABLE).to_le_bytes());
        let mut pages = Image([0; PAGE as usize]);
        for index in 0..512 {
            pages.put(8 * index as usize, &(gigabyte << 30 | index << 21 | LARGE).to_le_bytes());
        }
        memory.write(directory, &pages.0)?;
    }
    memory.write(pointers, &middle.0)?;
    Ok(())
}

/// The beginning of an image.
struct Header<'a>(&'a [u8]);

impl Header<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> Result<[u8; N], BootError> {
        let bytes = self.0.get(at..at + N).ok_or(BootError::Truncated)?;
        bytes.try_into().map_err(|_| BootError::Truncated)
    }

    fn u16(&self, at: usize) -> Result<u16, BootError> {
        self.bytes(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Result<u32, BootError> {
        self.bytes(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Result<u64, BootError> {
        self.bytes(at).map(u64::from_le_bytes)
    }
}
