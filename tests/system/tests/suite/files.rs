//! What is written from the shell, and what the host finds on the disk afterwards.

use system_tests::{Bench, assert_clean, filling};
use xtask::disk::{self, Fingerprint};

#[test]
fn what_was_written_renamed_and_removed_is_exactly_what_the_host_finds() {
    let bench = Bench::with_default_disk();
    let mut expected = disk::inventory(bench.disk()).expect("the default disk is readable");

    let mut shell = bench.boot();
    shell.must("mkdir '/disk/a new folder'");
    shell.must("write '/disk/a new folder/A note with a long name.txt' hello there");
    shell.must("write -a '/disk/a new folder/A note with a long name.txt' and again");
    shell.must("fill /disk/filled.bin 3M 42");
    shell.must("cp /disk/filled.bin '/disk/a new folder/copy.bin'");
    shell.must("mv /disk/filled.bin /disk/renamed.bin");
    shell.must("mv /disk/readme.txt '/disk/a new folder/moved readme.txt'");
    shell.must("rm /disk/big16m.bin");
    shell.must("rm '/disk/sizes/0 bytes.bin' '/disk/sizes/65537 bytes.bin'");
    shell.must("mkdir /disk/empty");
    shell.shut_down();

    let readme = expected.files.remove("/readme.txt").expect("the default disk has a readme");
    for gone in ["/big16m.bin", "/sizes/0 bytes.bin", "/sizes/65537 bytes.bin"] {
        expected.files.remove(gone).expect("the default disk has what is removed");
    }
    let filled = Fingerprint::of(&filling(3 << 20, 42));
    for (path, file) in [
        ("/a new folder/A note with a long name.txt", Fingerprint::of(b"hello there\nand again\n")),
        ("/a new folder/copy.bin", filled.clone()),
        ("/a new folder/moved readme.txt", readme),
        ("/renamed.bin", filled),
    ] {
        expected.files.insert(path.to_owned(), file);
    }
    expected.folders.extend(["/a new folder".to_owned(), "/empty".to_owned()]);
    expected.folders.sort();

    let found = disk::inventory(bench.disk()).expect("the disk is readable");
    for (path, file) in &expected.files {
        assert_eq!(found.files.get(path), Some(file), "{path}");
    }
    assert_eq!(found, expected);
    assert_clean(bench.disk());
}

#[test]
fn what_sync_acknowledged_survives_a_power_cut() {
    let bench = Bench::with_default_disk();
    let mut shell = bench.boot();
    shell.must("fill /disk/kept.bin 1M 7");
    shell.must("write /disk/kept.txt this was acknowledged");
    shell.must("sync");
    shell.cut_power();
    let kept = disk::read_file(bench.disk(), "/kept.bin").expect("the file is there");
    assert_eq!(Fingerprint::of(&kept), Fingerprint::of(&filling(1 << 20, 7)));
    assert_eq!(disk::read_file(bench.disk(), "/kept.txt").expect("the file is there"), b"this was acknowledged\n");
}

#[test]
fn what_cannot_be_done_with_files_is_refused_with_the_cause() {
    let bench = Bench::with_default_disk();
    let mut shell = bench.boot();
    for (command, subject) in [
        ("cat /disk/nothing.txt", "nothing.txt"),
        ("cat /disk/letters", "letters"),
        ("ls /disk/nowhere", "nowhere"),
        ("mkdir /disk/letters", "letters"),
        ("rm /disk/letters", "letters"),
        ("rmdir /disk/letters", "letters"),
        ("mv /disk/nothing /disk/something", "nothing"),
        ("write /disk/nowhere/file text", "nowhere"),
        ("write '/disk/what?' text", "what?"),
    ] {
        let refusal = shell.must_fail(command);
        assert!(refusal.contains(subject), "`{command}` does not say what it is about: {refusal}");
    }
    shell.shut_down();
    assert_clean(bench.disk());
}
