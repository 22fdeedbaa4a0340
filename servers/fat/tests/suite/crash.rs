//! The disk goes away after every single write: what is left must be usable, and what was synced must be intact.
//!
//! `fsck.fat -n` judges the disk as it was left, then the next mount repairs it, and `fsck.fat -n` must have nothing
//! to say any more.

use crate::support::model::{Model, Node, Step, contents, key, perform};
use crate::support::{MemoryDisk, TestClock, block_on, fsck, image, images, make_image, mount_with};
use fat::{DeviceError, Error, Found, MountError, MountOptions, Volume};
use std::collections::BTreeMap;

/// A file at the time of the last sync, and what has been asked for since.
#[derive(Debug, Clone)]
struct Synced {
    bytes: Vec<u8>,
    /// Every name that it has had since.
    names: Vec<String>,
    /// It was written to, cut or removed since: anything may be in it.
    changed: bool,
}

/// What must be found after a crash.
#[derive(Debug, Clone, Default)]
struct Promise {
    files: Vec<Synced>,
}

impl Promise {
    fn sync(&mut self, model: &Model) {
        self.files = model
            .nodes
            .iter()
            .filter_map(|(path, (_, node))| match node {
                Node::File(bytes) => Some(Synced { bytes: bytes.clone(), names: vec![path.clone()], changed: false }),
                Node::Directory => None,
            })
            .collect();
    }

    /// A step begins; from now on the disk may show its effect.
    fn begin(&mut self, step: &Step) {
        match step {
            Step::Write { path, .. } | Step::SetLength { path, .. } | Step::RemoveFile { path } => {
                for file in self.files_at(&key(path)) {
                    file.changed = true;
                }
            }
            Step::Rename { from, to, .. } => {
                let (from, to) = (key(from), key(to));
                if from == to {
                    return;
                }
                for file in self.files_at(&to) {
                    file.changed = true;
                }
                for file in &mut self.files {
                    let Some(now) = file.names.last() else { continue };
                    if *now == from || now.starts_with(&format!("{from}/")) {
                        let renamed = format!("{to}{}", &now[from.len()..]);
                        file.names.push(renamed);
                    }
                }
            }
            Step::MakeDirectory { .. } | Step::RemoveDirectory { .. } | Step::Sync => {}
        }
    }

    fn files_at(&mut self, path: &str) -> impl Iterator<Item = &mut Synced> {
        self.files.iter_mut().filter(move |file| file.names.last().is_some_and(|name| name == path))
    }

    /// Every synced file that was left alone is there, under one of the names that it has had.
    fn check(&self, found: &Model, context: &str) {
        for file in self.files.iter().filter(|file| !file.changed) {
            let intact = file
                .names
                .iter()
                .any(|name| matches!(found.nodes.get(name), Some((_, Node::File(bytes))) if *bytes == file.bytes));
            assert!(intact, "{context}: a synced file of {} bytes is not at {:?}", file.bytes.len(), file.names);
        }
    }
}

/// What `fsck.fat` said, as kinds of damage with how often.
fn judge(complaints: &[String], context: &str) -> BTreeMap<&'static str, u32> {
    let mut kinds = BTreeMap::new();
    let text = complaints.join("\n");
    for line in complaints {
        let kind = match line.trim() {
            "" => continue,
            line if line.starts_with("Dirty bit is set") => "mark",
            line if line.starts_with("Automatically removing dirty bit") => "mark",
            line if line.starts_with("There are differences between boot sector and its backup") => "mark",
            line if line.starts_with("This is mostly harmless. Differences") => "mark",
            "65:01/00" => "mark",
            "Not automatically fixing this." => "mark",
            line if line.starts_with("Reclaimed ") && line.contains("unused cluster") => "lost clusters",
            line if line.starts_with("Free cluster summary") => "free count",
            line if line.starts_with("FATs differ but appear to be intact") => "copies of the FAT",
            line if line.starts_with("Using first FAT") => "copies of the FAT",
            line if line.starts_with("Auto-correcting") => continue,
            "Leaving filesystem unchanged." => continue,
            line if line.starts_with("File size is ") && line.contains("cluster chain length is > ") => "long chain",
            line if line.starts_with("Truncating file to ") => continue,
            line if line.starts_with("share clusters") => "two names",
            // What the check makes of the second name after it has given the clusters to the first.
            line if line.ends_with("cluster chain length is 0 bytes.") && text.contains("share clusters") => continue,
            line if line.starts_with("Invalid '..' entry") && text.contains("share clusters") => continue,
            line if line.starts_with("Truncating second to ") => continue,
            line if line.starts_with('/') || line == "and" => continue,
            line => panic!("{context}: fsck.fat says {line:?} in\n{text}"),
        };
        *kinds.entry(kind).or_insert(0) += 1;
    }
    kinds
}

fn options(cache_kib: usize) -> MountOptions {
    MountOptions { cache_bytes: cache_kib * 1024, ..MountOptions::default() }
}

/// Does the steps on a disk that is then unmounted.
fn prepared(bytes: Vec<u8>, steps: &[Step]) -> Vec<u8> {
    let disk = MemoryDisk::new(bytes);
    let (volume, _) = mount_with(&disk, options(256));
    for step in steps {
        perform(&volume, step).unwrap_or_else(|error| panic!("{step:?}: {error}"));
    }
    block_on(volume.unmount()).expect("it unmounts");
    disk.contents()
}

/// Images whose free clusters are full of what files have left there.
fn used_images() -> Vec<(&'static str, Vec<u8>)> {
    images().into_iter().map(|(kind, bytes)| (kind, used(bytes))).collect()
}

fn used(bytes: Vec<u8>) -> Vec<u8> {
    let disk = MemoryDisk::read_only(bytes.clone());
    let free = block_on(mount_with(&disk, options(256)).0.space()).expect("the FAT can be read").free;
    prepared(bytes, &[write("/everything", free as u32), Step::RemoveFile { path: "/everything".into() }])
}

/// Does the steps on a disk that goes away after `writes` writes. Says whether it did.
fn run(bytes: &[u8], steps: &[Step], writes: u64, seed: u64, cache_kib: usize) -> (MemoryDisk, Promise, bool) {
    let disk = MemoryDisk::with(bytes.to_vec(), false, seed);
    let (volume, _) = mount_with(&disk, options(cache_kib));
    let mut model = contents(&volume).expect("it is sound");
    let mut promise = Promise::default();
    promise.sync(&model);
    disk.cut_after(writes);
    for step in steps {
        let before = promise.clone();
        promise.begin(step);
        match perform(&volume, step) {
            Ok(()) => model.apply(step).unwrap_or_else(|refusal| panic!("{step:?} gave {refusal:?}")),
            Err(Error::Device(DeviceError::Gone)) => return (disk, promise, true),
            Err(error) => {
                assert!(model.apply(step).is_err(), "{step:?} gave {error}");
                promise = before;
            }
        }
        if *step == Step::Sync {
            promise.sync(&model);
        }
    }
    match block_on(volume.unmount()) {
        Ok(()) => {
            promise.sync(&model);
            (disk, promise, false)
        }
        Err(_) => (disk, promise, true),
    }
}

/// Every cut of one sequence; says which kinds of damage were seen.
fn cut_everywhere(
    kind: &str,
    bytes: &[u8],
    steps: &[Step],
    seed: u64,
    cache_kib: usize,
    most: u64,
) -> BTreeMap<&'static str, u32> {
    let (disk, _, cut) = run(bytes, steps, u64::MAX, seed, cache_kib);
    assert!(!cut);
    let total = disk.0.writes.get();
    assert!(fsck(&disk.contents()).is_empty(), "{kind}: not clean without a cut");
    let mut seen = BTreeMap::new();
    let stride = total.div_ceil(most).max(1);
    let mut writes = seed % stride;
    while writes < total {
        let context = format!("{kind}, seed {seed}, cut after {writes} of {total} writes");
        let (disk, promise, cut) = run(bytes, steps, writes, seed, cache_kib);
        assert!(cut, "{context}: nobody noticed");
        let left = disk.contents();
        let complaints = fsck(&left);
        for (kind, count) in judge(&complaints, &context) {
            *seen.entry(kind).or_insert(0) += count;
        }
        // As it was left, without a repair.
        let untouched = MemoryDisk::read_only(left.clone());
        let (volume, _) = mount_with(&untouched, options(256));
        let found = contents(&volume).unwrap_or_else(|error| panic!("{context}: {error}"));
        promise.check(&found, &context);
        // As the next mount leaves it; the first attempt at that dies, too.
        let disk = MemoryDisk::with(left, false, seed);
        disk.cut_after(writes % 7);
        let died = block_on(Volume::mount(disk.clone(), TestClock, options(256))).map(|(_, found)| found);
        assert!(
            matches!(died, Ok(Found::Clean | Found::Repaired(_)) | Err(MountError::Device(DeviceError::Gone))),
            "{context}: {died:?}"
        );
        judge(&fsck(&disk.contents()), &context);
        let disk = MemoryDisk::with(disk.contents(), false, seed);
        let (volume, state) = mount_with(&disk, options(256));
        assert!(matches!(state, Found::Clean | Found::Repaired(_)), "{context}: {state:?}\n{}", complaints.join("\n"));
        let found = contents(&volume).unwrap_or_else(|error| panic!("{context}: {error}"));
        promise.check(&found, &context);
        block_on(volume.unmount()).unwrap_or_else(|error| panic!("{context}: {error}"));
        let complaints = fsck(&disk.contents());
        assert!(complaints.is_empty(), "{context}, repaired ({state:?}):\n{}", complaints.join("\n"));
        writes += stride;
    }
    seen
}

/// A sequence that depends on the seed alone.
fn random_steps(seed: u64, count: usize) -> Vec<Step> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    let names = ["a", "b.txt", "A long name, of three records", "another rather long name", "x.y.z"];
    let folders = ["", "/one", "/one/two", "/three"];
    let mut steps: Vec<Step> = folders[1..].iter().map(|path| Step::MakeDirectory { path: (*path).into() }).collect();
    for _ in 0..count {
        let mut path = || format!("{}/{}", folders[random(4) as usize], names[random(5) as usize]);
        let (path, other) = (path(), path());
        steps.push(match random(20) {
            0..7 => Step::Write {
                path,
                offset: (random(3) * random(20_000)) as u32,
                length: random(30_000) as u32,
                seed: random(1 << 40),
            },
            7..9 => Step::SetLength { path, length: random(40_000) as u32 },
            9..11 => Step::RemoveFile { path },
            11..17 => Step::Rename { from: path, to: other, replace: random(2) == 0 },
            17 => Step::Rename {
                from: folders[1 + random(3) as usize].into(),
                to: folders[1 + random(3) as usize].into(),
                replace: false,
            },
            _ => Step::Sync,
        });
    }
    steps
}

fn write(path: &str, length: u32) -> Step {
    Step::Write { path: path.into(), offset: 0, length, seed: u64::from(length) }
}

fn rename(from: &str, to: &str) -> Step {
    Step::Rename { from: from.into(), to: to.into(), replace: true }
}

fn folder(path: &str) -> Step {
    Step::MakeDirectory { path: path.into() }
}

/// Nothing but the mark, the free count and lost clusters.
fn assert_harmless(seen: &BTreeMap<&'static str, u32>, also: &[&str]) {
    for kind in seen.keys() {
        let harmless = ["mark", "free count", "lost clusters", "copies of the FAT"];
        assert!(harmless.contains(kind) || also.contains(kind), "{kind} was seen");
    }
}

#[test]
fn creating_and_removing_files_leaves_lost_clusters_at_worst() {
    for (kind, bytes) in used_images() {
        let mut steps = vec![folder("/docs"), Step::Sync];
        for index in 0..6 {
            steps.push(write(&format!("/docs/a file with number {index}"), 20_000 + index));
            steps.push(write(&format!("/short{index}"), 3_000 + index));
        }
        steps.push(Step::Sync);
        for index in 0..6 {
            steps.push(Step::RemoveFile { path: format!("/docs/a file with number {index}") });
            steps.push(write(&format!("/docs/new {index}"), 10_000));
        }
        steps.push(Step::RemoveFile { path: "/short3".into() });
        steps.push(Step::Sync);
        let seen = cut_everywhere(kind, &bytes, &steps, 5, 256, 100);
        assert_harmless(&seen, &[]);
        assert!(seen.contains_key("lost clusters"), "{kind}: {seen:?}");
    }
}

#[test]
fn renaming_within_a_page_leaves_exactly_one_name() {
    for (kind, bytes) in used_images() {
        let mut steps = vec![folder("/docs"), write("/docs/first", 5_000), write("/second", 6_000), Step::Sync];
        for (from, to) in [
            ("/docs/first", "/docs/FIRST"),
            ("/docs/first", "/docs/a considerably longer name"),
            ("/second", "/2nd"),
            ("/docs/a considerably longer name", "/docs/short"),
            ("/docs", "/documents of some kind"),
        ] {
            steps.push(rename(from, to));
            steps.push(Step::Sync);
        }
        let seen = cut_everywhere(kind, &bytes, &steps, 2, 256, 100);
        assert_harmless(&seen, &[]);
    }
}

#[test]
fn moving_between_folders_leaves_a_name_and_at_worst_two() {
    for (kind, bytes) in used_images() {
        let steps = vec![
            folder("/from"),
            folder("/to"),
            folder("/from/tree"),
            write("/from/tree/leaf", 7_000),
            write("/from/file", 9_000),
            write("/to/replaced", 4_000),
            Step::Sync,
            rename("/from/file", "/to/file of the same contents"),
            Step::Sync,
            rename("/from/tree", "/to/tree"),
            Step::Sync,
            rename("/to/file of the same contents", "/to/replaced"),
            rename("/to/replaced", "/from/back"),
            Step::Sync,
        ];
        let seen = cut_everywhere(kind, &bytes, &steps, 3, 256, 100);
        assert_harmless(&seen, &["two names"]);
    }
}

#[test]
fn growing_and_cutting_leaves_a_long_chain_at_worst() {
    for (kind, bytes) in used_images() {
        let mut steps = vec![write("/log", 1_000), Step::Sync];
        for index in 1..8 {
            steps.push(Step::Write { path: "/log".into(), offset: index * 5_000, length: 5_000, seed: 1 });
            steps.push(Step::Sync);
        }
        for length in [30_000, 12_345, 512, 0] {
            steps.push(Step::SetLength { path: "/log".into(), length });
            steps.push(write("/other", 40_000 - length));
            steps.push(Step::Sync);
        }
        let seen = cut_everywhere(kind, &bytes, &steps, 4, 256, 100);
        assert_harmless(&seen, &["long chain"]);
    }
}

#[test]
fn random_changes_on_every_kind_of_fat() {
    // More with `FAT_CRASH_SEEDS=200`.
    let seeds = std::env::var("FAT_CRASH_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(6);
    let all = used_images();
    for seed in 0..seeds {
        let (kind, bytes) = all[seed as usize % all.len()].clone();
        let steps = random_steps(seed, 60);
        let seen = cut_everywhere(kind, &bytes, &steps, seed, 64, 60);
        assert_harmless(&seen, &["long chain", "two names"]);
    }
}

#[test]
fn a_folder_that_grows_stays_whole() {
    let bytes = used(make_image(3000, &["-F", "32", "-s", "1"]));
    let mut steps = vec![folder("/many"), Step::Sync];
    for index in 0..60 {
        steps.push(write(&format!("/many/a name of some length, to fill slots, {index}"), 10));
        if index % 8 == 7 {
            steps.push(Step::Sync);
        }
    }
    let seen = cut_everywhere("FAT32", &bytes, &steps, 1, 256, 150);
    assert_harmless(&seen, &[]);
}

#[test]
fn a_chain_that_crosses_pages_of_the_fat_never_ends_in_a_free_cluster() {
    // The file before takes all but a few of the clusters whose entries lie in a page of the disk (8 sectors of 256
    // entries) with the start of the FAT.
    let empty = image("FAT16");
    let reserved = u32::from(u16::from_le_bytes([empty[14], empty[15]]));
    let boundary = (8 - reserved % 8) * 256;
    for spare in (5..40).step_by(5) {
        let steps = [write("/filler", (boundary - spare) * 512), write("/log", 100), Step::Sync];
        let bytes = prepared(empty.clone(), &steps);
        let mut steps = Vec::new();
        for index in 1..8 {
            steps.push(Step::Write { path: "/log".into(), offset: index * 3_000, length: 3_000, seed: 1 });
            steps.push(Step::Sync);
        }
        steps.push(Step::SetLength { path: "/log".into(), length: 600 });
        // Seed 12: one transfer at a time, of one page.
        let seen = cut_everywhere("FAT16", &bytes, &steps, 12, 256, 100);
        assert_harmless(&seen, &["long chain"]);
    }
}
