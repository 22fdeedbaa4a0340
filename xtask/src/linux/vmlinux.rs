//! The kernel inside of a bzImage: the ELF file that it unpacks itself into, which PVH boots without that step.
//!
//! Linux: Documentation/arch/x86/boot.rst says where it lies, scripts/extract-vmlinux how others find it.

use std::io::{self, Read};

use elf::ElfBytes;
use elf::abi::PT_NOTE;
use elf::endian::LittleEndian;
use elf::note::Note;
use ruzstd::decoding::StreamingDecoder;

/// Offsets in the header: sectors of the setup code less the boot sector, a magic number, the version of the protocol, and from 2.08 on
/// where the compressed kernel is behind the setup code, and how long it is.
const SETUP_SECTORS: usize = 0x1f1;
const MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
const SECTOR: usize = 512;

/// How the kernel begins, by what has compressed it.
const LZ4: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// LZ4's older format is blocks behind their lengths, each of so many bytes at most once it is unpacked.
const LZ4_BLOCK: usize = 8 << 20;
/// What Linux's build puts behind the compressed kernel: how long it was before.
const LENGTH: usize = 4;

/// The note that names the entry of PVH, and whose it is.
const ENTRY_NOTE: u64 = 18;
const ENTRY_NAME: &str = "Xen";

/// Why there is no ELF file to be had of a kernel.
#[derive(Debug, thiserror::Error)]
pub enum VmlinuxError {
    /// It is no bzImage, or of before 2007.
    #[error("it is no bzImage that says where its kernel is")]
    NotBzImage,
    /// The kernel is compressed by something else.
    #[error("its kernel begins with {0:02x?}, which is neither LZ4 nor zstd")]
    Compression([u8; 4]),
    /// The compressed kernel is damaged.
    #[error("its kernel cannot be unpacked: {0}")]
    Damaged(io::Error),
    /// The kernel has no entry for PVH.
    #[error("its kernel is no ELF file with a PVH entry (CONFIG_PVH)")]
    NoEntry,
}

/// The ELF file in a bzImage, which has an entry for PVH.
///
/// # Errors
///
/// [`VmlinuxError`].
pub(super) fn extract(image: &[u8]) -> Result<Vec<u8>, VmlinuxError> {
    let packed = payload(image).ok_or(VmlinuxError::NotBzImage)?;
    let kernel = match packed.first_chunk() {
        Some(&LZ4) => unpack_lz4(&packed[LZ4.len()..]).map_err(VmlinuxError::Damaged)?,
        Some(&ZSTD) => unpack_zstd(packed).map_err(VmlinuxError::Damaged)?,
        Some(&other) => return Err(VmlinuxError::Compression(other)),
        None => return Err(VmlinuxError::NotBzImage),
    };
    if has_entry(&kernel) { Ok(kernel) } else { Err(VmlinuxError::NoEntry) }
}

/// The compressed kernel with its length behind it.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize);
    let version = u16::from_le_bytes(image.get(VERSION..VERSION + 2)?.try_into().ok()?);
    if image.get(MAGIC..MAGIC + 4)? != b"HdrS" || version < 0x208 {
        return None;
    }
    // Zero stands for four, as it does in images of the last century.
    let sectors = match image.get(SETUP_SECTORS)? {
        0 => 4,
        sectors => usize::from(*sectors),
    };
    let start = (sectors + 1) * SECTOR + word(PAYLOAD_OFFSET)?;
    image.get(start..start.checked_add(word(PAYLOAD_LENGTH)?)?)
}

fn unpack_lz4(mut blocks: &[u8]) -> io::Result<Vec<u8>> {
    let damaged = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let mut kernel = Vec::new();
    let mut block = vec![0; LZ4_BLOCK];
    while blocks.len() > LENGTH {
        let (length, rest) = blocks.split_first_chunk().ok_or_else(damaged)?;
        let (packed, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(damaged)?;
        let unpacked = lz4_flex::block::decompress_into(packed, &mut block).map_err(io::Error::other)?;
        kernel.extend_from_slice(&block[..unpacked]);
        blocks = rest;
    }
    Ok(kernel)
}

fn unpack_zstd(packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut kernel = Vec::new();
    // It reads one frame, and not the length behind it.
    StreamingDecoder::new(packed).map_err(io::Error::other)?.read_to_end(&mut kernel)?;
    Ok(kernel)
}

/// Whether a kernel has the note by which PVH finds its entry.
fn has_entry(kernel: &[u8]) -> bool {
    let Ok(file) = ElfBytes::<LittleEndian>::minimal_parse(kernel) else { return false };
    let notes = file.segments().into_iter().flatten().filter(|segment| segment.p_type == PT_NOTE);
    notes.filter_map(|segment| file.segment_data_as_notes(&segment).ok()).flatten().any(|note| match note {
        Note::Unknown(note) => note.n_type == ENTRY_NOTE && note.name_str().is_ok_and(|name| name == ENTRY_NAME),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::handmade::executable;

    /// A bzImage around a compressed kernel.
    fn image(packed: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 2 * SECTOR];
        image[SETUP_SECTORS] = 1;
        image[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        image[VERSION..VERSION + 2].copy_from_slice(&0x20f_u16.to_le_bytes());
        image[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].copy_from_slice(&16_u32.to_le_bytes());
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&(packed.len() as u32).to_le_bytes());
        image.extend([0; 16]);
        image.extend(packed);
        image.extend(*b"and a signature");
        image
    }

    /// A block of LZ4 that holds `bytes` as they are.
    fn lz4(bytes: &[u8]) -> Vec<u8> {
        let mut block = vec![0xf0];
        let mut more = bytes.len() - 15;
        while more >= 255 {
            block.push(255);
            more -= 255;
        }
        block.push(more as u8);
        block.extend(bytes);
        let mut packed = LZ4.to_vec();
        packed.extend((block.len() as u32).to_le_bytes());
        packed.extend(block);
        packed.extend((bytes.len() as u32).to_le_bytes());
        packed
    }

    #[test]
    fn a_kernel_is_unpacked_and_has_its_entry() {
        let kernel = executable(0x10_0000, &[0xf4; 300]);
        assert_eq!(extract(&image(&lz4(&kernel))).unwrap(), kernel);
    }

    #[test]
    fn what_has_no_entry_or_is_no_kernel_is_refused() {
        assert!(matches!(extract(&image(&lz4(&[7; 300]))), Err(VmlinuxError::NoEntry)));
        assert!(matches!(extract(b"MZ"), Err(VmlinuxError::NotBzImage)));
        assert!(matches!(extract(&image(b"gzip?")), Err(VmlinuxError::Compression(_))));
        let mut cut = image(&lz4(&[7; 300]));
        cut.truncate(2 * SECTOR + 100);
        assert!(matches!(extract(&cut), Err(VmlinuxError::NotBzImage)));
        let mut damaged = LZ4.to_vec();
        damaged.extend([0xff, 0, 0, 0, 1, 2, 3, 4, 5]);
        assert!(matches!(extract(&image(&damaged)), Err(VmlinuxError::Damaged(_))));
        let mut damaged = ZSTD.to_vec();
        damaged.extend([0xff; 20]);
        assert!(matches!(extract(&image(&damaged)), Err(VmlinuxError::Damaged(_))));
    }
}
