//! What becomes of a loader's ELF file when an archive is put into it.

use archive::{Archive, ArchiveSlot, Builder, EmbedError, SLOT_MAGIC, embed};
use elf::ElfBytes;
use elf::abi::PT_LOAD;
use elf::endian::LittleEndian;

/// A file with one segment of `memsz` bytes at 1 MiB that contains the given number of slots.
fn loader(memsz: u64, slots: usize) -> Vec<u8> {
    let mut file = vec![0; 64];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    file[16..18].copy_from_slice(&2u16.to_le_bytes());
    file[18..20].copy_from_slice(&62u16.to_le_bytes());
    file[20..24].copy_from_slice(&1u32.to_le_bytes());
    file[32..40].copy_from_slice(&64u64.to_le_bytes());
    file[52..54].copy_from_slice(&64u16.to_le_bytes());
    file[54..56].copy_from_slice(&56u16.to_le_bytes());
    file[56..58].copy_from_slice(&1u16.to_le_bytes());
    file.extend_from_slice(&PT_LOAD.to_le_bytes());
    file.extend_from_slice(&5u32.to_le_bytes());
    for field in [0, 1 << 20, 1 << 20, 64 + 56, memsz, 4096] {
        file.extend_from_slice(&u64::to_le_bytes(field));
    }
    for _ in 0..slots {
        file.extend_from_slice(&SLOT_MAGIC);
        file.extend_from_slice(&[0; size_of::<ArchiveSlot>() - 16]);
    }
    file
}

fn small_archive() -> Vec<u8> {
    let mut builder = Builder::new();
    builder.add("kernel", vec![1, 2, 3]).unwrap();
    builder.finish().unwrap()
}

fn slot(image: &[u8]) -> (u64, u64) {
    let at = image.windows(16).position(|window| window == SLOT_MAGIC).unwrap();
    let field = |at: usize| u64::from_le_bytes(image[at..at + 8].try_into().unwrap());
    (field(at + 16), field(at + 24))
}

#[test]
fn the_archive_becomes_one_more_segment_that_the_slot_points_at() {
    let archive = small_archive();
    let image = embed(&loader(0x4000, 1), &archive).unwrap();
    let file = ElfBytes::<LittleEndian>::minimal_parse(&image).unwrap();
    let segments: Vec<_> = file.segments().unwrap().iter().collect();
    assert_eq!(segments.len(), 2);
    assert_eq!(segments[0].p_paddr, 1 << 20);
    let added = &segments[1];
    assert_eq!(slot(&image), (added.p_paddr, archive.len() as u64));
    assert_eq!(added.p_paddr, 16 << 20);
    assert_eq!(added.p_offset % 4096, 0);
    assert_eq!(added.p_memsz, archive.len() as u64);
    let contents = file.segment_data(added).unwrap();
    assert_eq!(contents, archive);
    assert!(Archive::parse(contents).is_ok());
}

#[test]
fn the_archive_stays_clear_of_a_large_loader() {
    let image = embed(&loader(20 << 20, 1), &small_archive()).unwrap();
    assert_eq!(slot(&image).0, 21 << 20);
}

#[test]
fn an_image_is_not_embedded_into_a_second_time() {
    let image = embed(&loader(0x4000, 1), &small_archive()).unwrap();
    assert_eq!(embed(&image, &small_archive()), Err(EmbedError::AlreadyEmbedded));
}

#[test]
fn loaders_without_exactly_one_slot_are_refused() {
    for found in [0, 2, 3] {
        assert_eq!(embed(&loader(0x4000, found), &small_archive()), Err(EmbedError::SlotCount { found }));
    }
}

#[test]
fn what_is_no_elf_file_or_no_archive_is_refused() {
    assert_eq!(embed(b"#!/bin/sh", &small_archive()), Err(EmbedError::BadLoader));
    assert!(matches!(embed(&loader(0x4000, 1), b"nothing"), Err(EmbedError::BadArchive(_))));
    assert!(matches!(embed(&loader(2 << 30, 1), &small_archive()), Err(EmbedError::TooLarge { .. })));
}
