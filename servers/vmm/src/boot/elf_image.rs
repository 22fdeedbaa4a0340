//! An ELF image with a PVH entry: an uncompressed Linux, or any kernel that Xen or QEMU start so (Xen,
//! docs/misc/pvh.pandoc and xen/include/public/arch-x86/hvm/start_info.h).

use super::memory_map::Range;
use super::state::{ProcessorState, RBX};
use super::{
    Boot, BootError, COMMAND_LINE, Image, MEGABYTE, MODULES, PAGE, START_INFO, START_MAP, write_command_line,
    write_files,
};
use crate::memory::GuestMemory;
use elf::ElfBytes;
use elf::abi::{EM_X86_64, PT_LOAD, PT_NOTE};
use elf::endian::LittleEndian;

const MAGIC: u32 = 0x336e_c578;
/// The note whose content is the entry's address.
const ENTRY_NOTE: u32 = 18;
const ENTRY_NAME: &[u8] = b"Xen\0";
const NOTE_HEADER: usize = 12;

/// Writes an ELF image and all that it needs into the guest's memory.
///
/// # Errors
/// If it cannot be started there.
pub fn load_elf(boot: &Boot<'_>, memory: &mut dyn GuestMemory) -> Result<ProcessorState, BootError> {
    let file = ElfBytes::<LittleEndian>::minimal_parse(boot.image).map_err(|_| BootError::NotThisKind)?;
    if file.ehdr.e_machine != EM_X86_64 {
        return Err(BootError::NotThisKind);
    }
    let segments = file.segments().ok_or(BootError::Truncated)?;
    let mut entry = None;
    let mut end = MEGABYTE;
    for segment in segments.iter() {
        match segment.p_type {
            PT_LOAD if segment.p_memsz > 0 => {
                let bytes = contents(boot.image, segment.p_offset, segment.p_filesz)?;
                let (address, length) = (segment.p_paddr, segment.p_memsz);
                let bad_place = BootError::BadPlace { address, length };
                let inside =
                    |end: &u64| address >= MEGABYTE && *end <= boot.map.low_end() && bytes.len() as u64 <= length;
                end = end.max(address.checked_add(length).filter(inside).ok_or(bad_place)?);
                memory.write(address, bytes)?;
                write_zeroes(address + bytes.len() as u64, length - bytes.len() as u64, memory)?;
            }
            PT_NOTE => {
                let notes = contents(boot.image, segment.p_offset, segment.p_filesz)?;
                entry = entry.or_else(|| find_entry(notes, segment.p_align));
            }
            _ => {}
        }
    }
    let entry = entry.filter(|entry| *entry <= u64::from(u32::MAX)).ok_or(BootError::NoEntry)?;
    write_command_line(boot.command_line, usize::MAX, memory)?;

    let mut info = Image([0; 56]);
    info.put(0, &MAGIC.to_le_bytes());
    info.put(4, &1_u32.to_le_bytes());
    if let Some(files) = boot.initrd {
        let at = write_files(files, end.next_multiple_of(PAGE), boot.map.low_end(), memory)?;
        let mut module = Image([0; 32]);
        module.put(0, &at.to_le_bytes());
        module.put(8, &(files.len() as u64).to_le_bytes());
        memory.write(MODULES, &module.0)?;
        info.put(12, &1_u32.to_le_bytes());
        info.put(16, &MODULES.to_le_bytes());
    }
    info.put(24, &COMMAND_LINE.to_le_bytes());
    info.put(32, &boot.rsdp.to_le_bytes());
    let ranges = boot.map.ranges();
    info.put(40, &START_MAP.to_le_bytes());
    info.put(48, &(ranges.len() as u32).to_le_bytes());
    for (index, Range { start, length, kind }) in ranges.iter().enumerate() {
        let mut range = Image([0; 24]);
        range.put(0, &start.to_le_bytes());
        range.put(8, &length.to_le_bytes());
        range.put(16, &kind.number().to_le_bytes());
        memory.write(START_MAP + 24 * index as u64, &range.0)?;
    }
    memory.write(START_INFO, &info.0)?;
    let mut state = ProcessorState::flat(entry);
    state.general[RBX] = START_INFO;
    Ok(state)
}

fn contents(image: &[u8], offset: u64, length: u64) -> Result<&[u8], BootError> {
    let start = usize::try_from(offset).map_err(|_| BootError::Truncated)?;
    let length = usize::try_from(length).map_err(|_| BootError::Truncated)?;
    let end = start.checked_add(length).ok_or(BootError::Truncated)?;
    image.get(start..end).ok_or(BootError::Truncated)
}

/// What the guest finds where the image says nothing: it may have run here before.
fn write_zeroes(mut address: u64, mut length: u64, memory: &mut dyn GuestMemory) -> Result<(), BootError> {
    let zeroes = [0; PAGE as usize];
    while length > 0 {
        let piece = length.min(PAGE);
        memory.write(address, &zeroes[..piece as usize])?;
        address += piece;
        length -= piece;
    }
    Ok(())
}

/// The address in the PVH note among notes that are aligned like this.
fn find_entry(mut notes: &[u8], align: u64) -> Option<u64> {
    let align = if align == 8 { 8 } else { 4 };
    let word = |bytes: &[u8], at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    loop {
        let name_bytes = word(notes, 0)? as usize;
        let content_bytes = word(notes, 4)? as usize;
        let kind = word(notes, 8)?;
        let name = notes.get(NOTE_HEADER..NOTE_HEADER.checked_add(name_bytes)?)?;
        let start = (NOTE_HEADER + name_bytes).checked_next_multiple_of(align)?;
        let content = notes.get(start..start.checked_add(content_bytes)?)?;
        if kind == ENTRY_NOTE && name == ENTRY_NAME {
            // Linux writes 4 bytes, others 8.
            return match *content {
                [a, b, c, d] => Some(u64::from(u32::from_le_bytes([a, b, c, d]))),
                [a, b, c, d, e, f, g, h] => Some(u64::from_le_bytes([a, b, c, d, e, f, g, h])),
                _ => None,
            };
        }
        notes = notes.get((start + content_bytes).checked_next_multiple_of(align)?..)?;
    }
}
