//! Machines on which something is missing or broken: the system boots to its shell and says what is wrong.

use std::fs;

use system_tests::{Bench, Shell, pristine_disk};
use xtask::disk::{self, Fingerprint};
use xtask::machine::{Chipset, Drive};

/// What the system says of a disk that it finds no filesystem on.
const NO_FILESYSTEM: &[&str] = &["the disk holds no filesystem that is known here"];

/// Asserts that files cannot be used, that the system says why in its own words, and that everything else works.
fn files_cannot_be_used(mut shell: Shell, words: &[&str]) {
    let refusal = shell.must_fail("ls /disk");
    shell.must("log");
    let shown = shell.transcript().to_lowercase();
    let named = words.iter().any(|word| shown.contains(word));
    assert!(named, "nothing says what is wrong (any of {words:?}): {refusal}\nThe whole session:\n{shown}");
    shell.must("ps");
    shell.must("ping");
    shell.shut_down();
}

#[test]
fn without_a_disk() {
    files_cannot_be_used(Bench::without_disk().boot(), &["there is no disk"]);
}

#[test]
fn on_a_pc_without_memory_mapped_configuration_space() {
    let mut bench = Bench::with_default_disk();
    bench.machine.chipset = Chipset::Pc;
    files_cannot_be_used(bench.boot(), &["ecam", "configuration space"]);
}

#[test]
fn with_a_disk_of_zeros() {
    files_cannot_be_used(Bench::with_raw_disk(&vec![0; 8 << 20]).boot(), NO_FILESYSTEM);
}

#[test]
fn with_a_disk_without_a_single_block() {
    files_cannot_be_used(Bench::with_raw_disk(&[]).boot(), NO_FILESYSTEM);
}

#[test]
fn with_a_disk_of_random_bytes() {
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..8 << 20)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect();
    files_cannot_be_used(Bench::with_raw_disk(&noise).boot(), NO_FILESYSTEM);
}

#[test]
fn with_a_disk_whose_fat_is_damaged() {
    let mut image = fs::read(pristine_disk()).expect("the default disk");
    // Both copies of the table, from its 500th entry on: the files further back are lost, the folders are not.
    let table_blocks = u32::from_le_bytes([image[36], image[37], image[38], image[39]]) as usize;
    for copy in 0..2 {
        let start = (32 + copy * table_blocks) * 512 + 500 * 4;
        for (index, byte) in image[start..start + 40_000].iter_mut().enumerate() {
            *byte = (index * 37 + 11) as u8;
        }
    }
    let bench = Bench::with_raw_disk(&image);
    let mut shell = bench.boot();
    // Whatever can still be read may be; what cannot is refused by a sentence, and nobody dies of it.
    shell.run("ls -l /disk");
    shell.must_fail("sum /disk/big16m.bin");
    shell.must("ping");
    let list = shell.must("ps");
    let fat = list.lines().find(|line| line.starts_with("fat")).unwrap_or_default();
    assert!(fat.contains("running") && fat.trim_end().ends_with('-'), "the FAT server died: {fat}");
    shell.shut_down();
}

#[test]
fn with_a_disk_that_may_only_be_read() {
    let mut bench = Bench::with_default_disk();
    bench.machine.drives = vec![Drive::read_only(bench.disk())];
    let before = Fingerprint::of(&fs::read(bench.disk()).expect("the disk"));
    let mut shell = bench.boot();
    let readme = disk::read_file(bench.disk(), "/readme.txt").expect("a readme");
    let shown = shell.must("cat /disk/readme.txt");
    assert_eq!(shown.trim_end(), String::from_utf8_lossy(&readme).trim_end());
    let refusal = shell.must_fail("write /disk/new.txt text").to_lowercase();
    assert!(refusal.contains("read"), "it does not say that the disk may only be read: {refusal}");
    shell.must_fail("rm /disk/readme.txt");
    shell.shut_down();
    assert_eq!(Fingerprint::of(&fs::read(bench.disk()).expect("the disk")), before);
}
