//! Disks that report errors: made by QEMU's `blkdebug`, between the device and the file behind it.

use std::fs;

use system_tests::{Bench, pristine_disk};
use xtask::disk::{self, BIG_FILE};

/// Bytes of a sector.
const SECTOR: usize = 512;

/// A machine whose disk carries out what `rules` (QEMU, docs/devel/blkdebug.rst) say instead of some requests.
fn bench(rules: &str) -> Bench {
    let mut bench = Bench::with_default_disk();
    let place = bench.path("rules.conf");
    fs::write(&place, rules).expect("a file of rules");
    let file = format!("if=none,id=broken,format=raw,file=blkdebug:{}:{}", place.display(), bench.disk().display());
    let device = "virtio-blk-pci,drive=broken,disable-legacy=on,iommu_platform=on";
    bench.machine.extra = ["-drive", &file, "-device", device].map(Into::into).to_vec();
    bench.machine.drives.clear();
    bench
}

/// The sector of the default disk on which the middle of its largest file lies.
fn middle_sector() -> usize {
    let image = fs::read(pristine_disk()).expect("the default disk");
    let file = disk::read_file(pristine_disk(), &format!("/{BIG_FILE}")).expect("its largest file");
    let piece = &file[file.len() / 2..][..SECTOR];
    image.chunks_exact(SECTOR).position(|sector| sector == piece).expect("it is somewhere on the disk")
}

#[test]
fn a_sector_that_cannot_be_read_costs_the_file_on_it_and_nothing_else() {
    let sector = middle_sector();
    let bench =
        bench(&format!("[inject-error]\nevent = \"read_aio\"\nerrno = \"5\"\nsector = \"{sector}\"\nonce = \"off\"\n"));
    let mut shell = bench.boot();
    let refusal = shell.must_fail(&format!("sum /disk/{BIG_FILE}"));
    assert!(refusal.contains(BIG_FILE) && refusal.contains("disk"), "it does not say what failed: {refusal}");
    assert!(shell.must("log").contains("the disk failed at sector"));
    let readme = disk::read_file(pristine_disk(), "/readme.txt").expect("a readme");
    assert_eq!(shell.must("cat /disk/readme.txt").trim_end(), String::from_utf8_lossy(&readme).trim_end());
    shell.must("write /disk/notes.txt still here");
    shell.must("sync");
    let list = shell.must("ps");
    for name in ["virtio-blk", "fat"] {
        let line = list.lines().find(|line| line.starts_with(name)).expect("it is listed");
        assert!(line.contains(" 0  -"), "it died of an error of its device: {line}");
    }
    shell.shut_down();
}

#[test]
fn a_disk_that_fails_once_has_not_failed() {
    let sector = middle_sector();
    let bench =
        bench(&format!("[inject-error]\nevent = \"read_aio\"\nerrno = \"5\"\nsector = \"{sector}\"\nonce = \"on\"\n"));
    let mut shell = bench.boot();
    let expected =
        disk::inventory(pristine_disk()).expect("the default disk is readable").files[&format!("/{BIG_FILE}")].hex();
    // Whether the first reading succeeds is a matter of who repeats what; the second one does.
    shell.run(&format!("sum /disk/{BIG_FILE}"));
    assert!(shell.must(&format!("sum /disk/{BIG_FILE}")).starts_with(&expected));
    shell.shut_down();
}

#[test]
fn what_cannot_be_written_is_not_said_to_be_on_the_disk() {
    let bench = bench("[inject-error]\nevent = \"write_aio\"\nerrno = \"5\"\nonce = \"off\"\n");
    let mut shell = bench.boot();
    let replies = ["write /disk/notes.txt lost", "sync"].map(|command| shell.run(command));
    let refusal = replies.iter().find(|reply| !reply.succeeded).expect("neither says that nothing was written");
    assert!(refusal.text.contains("disk"), "it does not say what failed: {}", refusal.text);
    let readme = shell.must("cat /disk/readme.txt");
    assert!(!readme.is_empty(), "what is on the disk can still be read");
    shell.must("ping");
    // The machine is not kept from being switched off.
    shell.shut_down();
}
