//! Booting on many kinds of machine, and reading everything on the disk there.

use std::collections::BTreeMap;
use std::time::Duration;

use system_tests::{Bench, Shell, pristine_disk};
use xtask::disk;
use xtask::machine::{Cpus, Memory};

/// Reading all of the default disk takes a few seconds on an idle host, and many on a busy one.
const READING_ALL: Duration = Duration::from_secs(400);

/// Has the machine compute the checksum of every file below /disk, and returns them by path.
fn checksums(shell: &mut Shell) -> BTreeMap<String, String> {
    let reply = shell.run_within("sum -r /disk", READING_ALL);
    assert!(reply.succeeded, "reading everything failed:\n{}", reply.text);
    reply
        .text
        .lines()
        .map(|line| {
            let (sum, path) = line.split_once("  ").unwrap_or_else(|| panic!("not a checksum: {line}"));
            (path.to_owned(), sum.to_owned())
        })
        .collect()
}

/// Boots the machine that `change` makes of the default one, reads every file, and compares with what the host reads.
fn every_file_is_read_correctly(cpus: u32, memory: u64, cpu_model: &str) {
    let mut bench = Bench::with_default_disk();
    bench.machine.cpus = Cpus(cpus);
    bench.machine.memory = Memory::mebibytes(memory);
    bench.machine.cpu_model = cpu_model.to_owned();
    let mut shell = bench.boot();
    let seen = checksums(&mut shell);
    let expected: BTreeMap<String, String> = disk::inventory(pristine_disk())
        .expect("the default disk is readable")
        .files
        .iter()
        .map(|(path, file)| (format!("/disk{path}"), file.hex()))
        .collect();
    assert!(expected.len() >= 300);
    for (path, sum) in &expected {
        assert_eq!(seen.get(path), Some(sum), "{path}");
    }
    assert_eq!(seen.len(), expected.len(), "the machine sees files that are not there");
    shell.shut_down();
}

#[test]
fn every_file_is_read_correctly_by_one_cpu_with_128_mib() {
    every_file_is_read_correctly(1, 128, "max");
}

#[test]
fn every_file_is_read_correctly_by_four_cpus_with_4_gib() {
    every_file_is_read_correctly(4, 4096, "max");
}

#[test]
fn every_file_is_read_correctly_on_an_epyc() {
    every_file_is_read_correctly(1, 4096, "EPYC");
}

#[test]
fn every_file_is_read_correctly_by_four_epycs_with_128_mib() {
    every_file_is_read_correctly(4, 128, "EPYC");
}

#[test]
fn every_file_is_read_correctly_on_the_oldest_64_bit_cpu() {
    every_file_is_read_correctly(1, 128, "qemu64");
}

#[test]
fn every_file_is_read_correctly_by_four_of_the_oldest_64_bit_cpus_with_4_gib() {
    every_file_is_read_correctly(4, 4096, "qemu64");
}
