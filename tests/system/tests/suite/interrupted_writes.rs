//! The file server dies in the middle of writing: what `fsck.fat` finds on the disk afterwards, and what of the files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use system_tests::{Bench, Random, Shell, filling};
use xtask::disk::{self, Fingerprint};
use xtask::machine::{self, Drive, Monitor};

/// Machines, each with a disk of its own.
const MACHINES: u64 = 5;
/// How often the file server dies in each.
const DEATHS: u64 = 4;
/// How long it may work before it dies.
const LIFE: Duration = Duration::from_millis(900);
/// How long it may take until the file server has come back and mounted its disk.
const PATIENCE: Duration = Duration::from_secs(120);
/// The smallest disks that are FAT32 with such clusters.
const DISK: u64 = 34 << 20;
const CLUSTER: u32 = 512;

/// What `fsck.fat -n` may say about a disk that was not unmounted, or whose server died: the mark itself, a wrong count of
/// free clusters, and clusters that belong to no file.
fn is_harmless(line: &str) -> bool {
    const HARMLESS: &[&str] = &[
        "fsck.fat ",
        // The mark is a bit of the boot sector which its backup does not have.
        "There are differences between boot sector and its backup.",
        "This is mostly harmless. Differences: (offset:original/backup)",
        "65:01/00",
        "Not automatically fixing this.",
        "Dirty bit is set",
        "Automatically removing dirty bit",
        "Free cluster summary",
        "Auto-correcting",
        "Reclaimed ",
        "Reclaiming ",
        "*** Filesystem was changed ***",
        "Leaving filesystem unchanged",
        "The changes have not yet been written",
    ];
    let line = line.trim();
    let is_summary = line.contains(" files, ") && line.ends_with(" clusters");
    line.is_empty() || is_summary || HARMLESS.iter().any(|start| line.starts_with(start))
}

/// What it may say besides when the power was cut between the writing of one copy of the FAT and of the other, which the
/// next start makes equal.
fn is_half_written(line: &str) -> bool {
    ["FATs differ but appear to be intact.", "Using first FAT."].contains(&line.trim())
}

/// Asserts that nothing worse is wrong with a disk than what no death can avoid.
fn is_sound(image: &Path) {
    is_sound_but_for(image, |_| false);
}

/// The same, and some lines are accepted too.
fn is_sound_but_for(image: &Path, accepted: fn(&str) -> bool) {
    let findings = disk::fsck(image).unwrap_or_else(|error| panic!("{error}"));
    let worse: Vec<&str> = findings.text.lines().filter(|line| !is_harmless(line) && !accepted(line)).collect();
    assert!(worse.is_empty(), "{worse:#?}\nin what fsck.fat -n says of {}:\n{}", image.display(), findings.text);
}

/// What `sync` has acknowledged, by path.
#[derive(Default)]
struct Acknowledged {
    files: BTreeMap<String, Fingerprint>,
}

impl Acknowledged {
    /// Writes files, has them acknowledged, and remembers them.
    fn add(&mut self, shell: &mut Shell, random: &mut Random, round: u64) {
        let folder = format!("/kept {round}");
        shell.must(&format!("mkdir '/disk{folder}'"));
        for number in 0..3 {
            let (size, seed) = (random.below(200_000), random.below(1 << 32));
            let path = format!("{folder}/a file with a long name {number}.bin");
            shell.must(&format!("fill '/disk{path}' {size} {seed}"));
            self.files.insert(path, Fingerprint::of(&filling(size as usize, seed)));
        }
        shell.must("sync");
    }

    /// Asserts that all of it is on a disk, unchanged.
    fn is_on(&self, image: &Path) {
        let found = disk::inventory(image).expect("the disk is readable");
        for (path, file) in &self.files {
            assert_eq!(found.files.get(path), Some(file), "{path} was acknowledged by `sync`");
        }
    }
}

/// Has the file server die while it writes, renames and removes.
fn die_while_writing(shell: &mut Shell, random: &mut Random, round: u64) {
    let folder = format!("/disk/round {round}");
    shell.must(&format!("mkdir '{folder}'"));
    shell.must(&format!("kill fat --after {}us", (Duration::from_millis(20) + random.moment(LIFE)).as_micros()));
    for number in 0.. {
        assert!(number < 2000, "the file server does not die");
        let path = format!("{folder}/an unfinished file {number}.bin");
        let command = match random.below(8) {
            0 => format!("mkdir '{folder}/another folder {number}'"),
            1 => format!("mv '{folder}/an unfinished file {}.bin' '{path}'", random.below(number + 1)),
            2 => format!("rm '{folder}/an unfinished file {}.bin'", random.below(number + 1)),
            3 => "sync".to_owned(),
            _ => format!("fill '{path}' {} {number}", random.below(400_000)),
        };
        let told = shell.run_within(&command, PATIENCE).text;
        // A command may have met the death without noticing; `ps` knows.
        if told.contains("died") || told.contains("restarted") || number % 4 == 3 {
            let list = shell.must("ps");
            let line = list.lines().find(|line| line.starts_with("fat")).unwrap_or_default();
            let deaths = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).nth(8);
            if deaths.and_then(|deaths| deaths.parse().ok()) == Some(round + 1) {
                break;
            }
        }
    }
    // It comes back and can be used.
    shell.must("ls /disk");
}

/// A machine with an empty disk; its image is `name` in the test's folder.
fn bench() -> Bench {
    let mut bench = Bench::without_disk();
    let disk = bench.path("small.img");
    disk::write_empty(&disk, DISK, CLUSTER).unwrap_or_else(|error| panic!("{error}"));
    bench.machine.drives = vec![Drive::new(disk)];
    bench
}

#[test]
fn a_file_server_that_dies_while_it_writes_loses_nothing_that_sync_acknowledged() {
    for number in 0..MACHINES {
        let mut bench = bench();
        let socket = machine::socket();
        bench.machine.monitor = Some(socket.clone());
        let mut random = Random::new(100 + number);
        let mut kept = Acknowledged::default();
        let mut shell = bench.boot();
        let mut monitor = Monitor::connect(&socket).expect("QEMU's monitor answers");
        for round in 0..DEATHS {
            kept.add(&mut shell, &mut random, round);
            die_while_writing(&mut shell, &mut random, round);
            // As the disk is now, if the machine went no further.
            let copy = bench.path("copy.img");
            let copying = monitor.while_stopped(|| fs::copy(bench.disk(), &copy).expect("a copy of the disk"));
            copying.expect("QEMU stops, and goes on");
            // The next file server may be writing by then.
            is_sound_but_for(&copy, is_half_written);
            kept.is_on(&copy);
        }
        if number % 2 == 0 {
            shell.shut_down();
            is_sound(bench.disk());
        } else {
            shell.cut_power();
            is_sound_but_for(bench.disk(), is_half_written);
        }
        kept.is_on(bench.disk());
    }
}

#[test]
fn a_power_cut_while_the_file_server_writes_loses_nothing_that_sync_acknowledged() {
    for seed in 0..4 {
        let bench = bench();
        let mut random = Random::new(200 + seed);
        let mut kept = Acknowledged::default();
        let mut shell = bench.boot();
        kept.add(&mut shell, &mut random, 0);
        shell.must("mkdir /disk/unfinished");
        // The command is under way when the power goes.
        let _pending = shell.begin("fill /disk/unfinished/file.bin 8M 1");
        std::thread::sleep(random.moment(LIFE));
        shell.cut_power();
        is_sound_but_for(bench.disk(), is_half_written);
        kept.is_on(bench.disk());

        // The next start repairs the disk, and then there is nothing to find.
        let mut shell = bench.boot();
        shell.must("ls /disk");
        shell.shut_down();
        kept.is_on(bench.disk());
        is_sound(bench.disk());
    }
}
