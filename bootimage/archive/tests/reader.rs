//! What the reader makes of archives that are sound, and of those that are not.

use archive::{Archive, ArchiveError, BuildError, Builder, FILES_MAX, PAGE};
use proptest::prelude::*;
use xxhash_rust::xxh64::xxh64;

const ENTRY_0: usize = 32;
const ENTRY_1: usize = 80;

fn sample() -> Vec<u8> {
    let mut builder = Builder::new();
    builder.add("kernel", vec![7; 5000]).unwrap();
    builder.add("empty", vec![]).unwrap();
    builder.add("init", b"hello".to_vec()).unwrap();
    builder.finish().unwrap()
}

/// Writes `bytes` at `at` and makes the checksum right again.
fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut archive = sample();
    archive[at..at + bytes.len()].copy_from_slice(bytes);
    reseal(&mut archive);
    archive
}

fn reseal(archive: &mut [u8]) {
    let sum = xxh64(&archive[16..], 0);
    archive[8..16].copy_from_slice(&sum.to_le_bytes());
}

fn refusal(bytes: &[u8]) -> ArchiveError {
    Archive::parse(bytes).expect_err("the archive should be refused")
}

#[test]
fn files_come_back_as_they_were_added_each_at_a_page_of_its_own() {
    let bytes = sample();
    let archive = Archive::parse(&bytes).unwrap();
    assert_eq!(archive.len(), 3);
    let names: Vec<_> = archive.files().map(|file| file.name).collect();
    assert_eq!(names, ["kernel", "empty", "init"]);
    assert_eq!(archive.file("kernel").unwrap().contents, [7; 5000]);
    assert_eq!(archive.file("empty").unwrap().contents, []);
    let init = archive.file("init").unwrap();
    assert_eq!(init.contents, b"hello");
    assert_eq!(init.offset % PAGE, 0);
    assert_eq!(archive.file("shell"), None);
    assert_eq!(bytes.len() % PAGE, 0);
}

#[test]
fn the_checksum_is_xxh64_of_all_that_follows_it() {
    assert_eq!(xxh64(b"", 0), 0xef46_db37_51d8_e999, "the published value for no bytes");
    let bytes = sample();
    let mut resealed = bytes.clone();
    reseal(&mut resealed);
    assert_eq!(bytes, resealed);
}

#[test]
fn an_archive_without_files_is_an_archive() {
    let bytes = Builder::new().finish().unwrap();
    assert!(Archive::parse(&bytes).unwrap().is_empty());
}

#[test]
fn a_truncated_archive_says_how_much_is_missing() {
    let bytes = sample();
    let need = bytes.len() as u64;
    let have = need - 4096;
    assert_eq!(refusal(&bytes[..bytes.len() - 4096]), ArchiveError::Truncated { have, need });
    assert_eq!(refusal(&bytes[..3]), ArchiveError::Truncated { have: 3, need: 32 });
    assert_eq!(refusal(&bytes[..20]), ArchiveError::Truncated { have: 20, need: 32 });
    assert_eq!(
        ArchiveError::Truncated { have, need }.to_string(),
        format!("it is truncated: it has {have} of {need} bytes")
    );
}

#[test]
fn bytes_after_the_end_are_refused() {
    let mut bytes = sample();
    let total = bytes.len() as u64;
    bytes.push(0);
    assert_eq!(refusal(&bytes), ArchiveError::Oversized { have: total + 1, total });
}

#[test]
fn another_magic_version_or_length_is_named() {
    assert_eq!(refusal(&patched(0, b"\x7fELF")), ArchiveError::BadMagic { found: *b"\x7fELFARCH" });
    assert_eq!(refusal(&patched(16, &2u32.to_le_bytes())), ArchiveError::BadVersion { found: 2 });
    for total in [0, 4097, u64::MAX, 2 << 30] {
        assert_eq!(refusal(&patched(24, &total.to_le_bytes())), ArchiveError::BadLength { total });
    }
}

#[test]
fn too_many_files_are_refused() {
    let count = FILES_MAX as u32 + 1;
    assert_eq!(refusal(&patched(20, &count.to_le_bytes())), ArchiveError::TooManyFiles { count });
}

#[test]
fn a_single_changed_bit_anywhere_is_noticed() {
    let bytes = sample();
    for bit in (0..bytes.len() * 8).step_by(37).chain(0..256) {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(Archive::parse(&changed).is_err(), "bit {bit}");
    }
}

#[test]
fn names_are_checked() {
    for name in [&b"\0"[..], b"a b", b"k\xffrnel", b"k\0rnel", b"\nernel"] {
        assert_eq!(refusal(&patched(ENTRY_0, name)), ArchiveError::BadName { file: 0 });
    }
    assert_eq!(refusal(&patched(ENTRY_1, b"kernel")), ArchiveError::DuplicateName { file: 1 });
}

#[test]
fn files_must_lie_within_the_archive_in_order_at_page_boundaries() {
    let at = |offset: u64| patched(ENTRY_1 + 32, &offset.to_le_bytes());
    let total = sample().len() as u64;
    assert_eq!(refusal(&at(4097)), ArchiveError::Misaligned { file: 1, offset: 4097 });
    assert_eq!(refusal(&at(8192)), ArchiveError::Overlapping { file: 1, offset: 8192, free: 4096 + 5000 });
    assert_eq!(
        refusal(&patched(ENTRY_0 + 32, &0u64.to_le_bytes())),
        ArchiveError::Overlapping { file: 0, offset: 0, free: 176 }
    );
    assert_eq!(refusal(&at(1 << 40)), ArchiveError::FileOutside { file: 1, offset: 1 << 40, len: 0, total });
    assert_eq!(
        refusal(&patched(ENTRY_0 + 40, &u64::MAX.to_le_bytes())),
        ArchiveError::FileOutside { file: 0, offset: 4096, len: u64::MAX, total }
    );
}

#[test]
fn a_reader_after_the_loader_skips_only_the_checksum() {
    let mut bytes = sample();
    bytes[5000] ^= 1;
    assert!(Archive::parse_checked_before(&bytes).is_ok());
    bytes[ENTRY_0] = 0;
    assert_eq!(Archive::parse_checked_before(&bytes).unwrap_err(), ArchiveError::BadName { file: 0 });
}

#[test]
fn the_builder_refuses_names_that_the_reader_would_refuse() {
    let mut builder = Builder::new();
    let long = "x".repeat(33);
    for name in ["", "a b", "ä", long.as_str()] {
        let name = name.to_string();
        assert_eq!(builder.add(&name.clone(), vec![]).unwrap_err(), BuildError::BadName { name });
    }
    builder.add("a", vec![]).unwrap();
    assert_eq!(builder.add("a", vec![]).unwrap_err(), BuildError::DuplicateName { name: "a".into() });
    builder.add(&"x".repeat(32), vec![1]).unwrap();
    assert_eq!(Archive::parse(&builder.finish().unwrap()).unwrap().len(), 2);
}

proptest! {
    #[test]
    fn what_is_built_is_read_back(
        files in prop::collection::btree_map("[!-~]{1,32}", prop::collection::vec(any::<u8>(), 0..9000), 0..6)
    ) {
        let mut builder = Builder::new();
        for (name, contents) in &files {
            builder.add(name, contents.clone()).unwrap();
        }
        let bytes = builder.finish().unwrap();
        let archive = Archive::parse(&bytes).unwrap();
        prop_assert_eq!(archive.len(), files.len());
        for (name, contents) in &files {
            prop_assert_eq!(archive.file(name).unwrap().contents, &contents[..]);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Archive::parse(&bytes).is_err());
        let _ = Archive::parse_checked_before(&bytes);
    }

    /// Mutations with the right checksum reach the checks behind it; whatever is accepted can be walked.
    #[test]
    fn mutated_headers_never_panic_and_accepted_files_lie_within(
        changes in prop::collection::vec((0usize..176, any::<u8>()), 1..8), cut in 0usize..3
    ) {
        let mut bytes = sample();
        for (at, value) in changes {
            bytes[at] = value;
        }
        bytes.truncate(bytes.len() - cut * PAGE);
        reseal(&mut bytes);
        if let Ok(archive) = Archive::parse(&bytes) {
            prop_assert_eq!(archive.files().count(), archive.len());
            let mut end = 0;
            for file in archive.files() {
                prop_assert!(file.offset >= end);
                end = file.offset + file.contents.len();
            }
            prop_assert!(end <= bytes.len());
        }
    }
}
