//! A guest's disk, which another domain drives.

use std::fs;
use std::time::{Duration, Instant};

use guest_tests::{Ext4, SOON, assert_others_work, at_console, bench_with_disk, linux, restarts, sha256};
use system_tests::{assert_clean, filling};
use tempfile::TempDir;
use xtask::guest::{DISK_DRIVER, Entry};
use xtask::workspace;

/// Bytes of the disk with a filesystem, of the file on it that the guest reads, and of the one that it writes.
const VOLUME: u64 = 48 << 20;
const READ: usize = 3 << 20;
const WRITTEN: usize = 5 << 20;
/// Bytes of the disk that is read as a whole.
const RAW: usize = 64 << 20;
/// How often its driver is killed, once a second: as many deaths as one client may plan.
const DEATHS: u64 = 30;

/// A folder for a test's disk.
fn folder() -> TempDir {
    tempfile::tempdir_in(workspace::system_target()).expect("a folder for the test's disk")
}

fn linux_with_disk() -> Entry {
    Entry { disks: vec![DISK_DRIVER.to_owned()], ..linux() }
}

#[test]
fn a_guest_reads_what_the_host_has_written_to_its_disk_and_the_host_what_the_guest_has() {
    let folder = folder();
    let contents = filling(READ, 11);
    let disk = Ext4::make(folder.path().join("ext4.img"), VOLUME, "given.bin", &contents);
    let bench = bench_with_disk(&[("linux", linux_with_disk())], &disk.image);
    let mut shell = bench.boot();
    let written = at_console(&mut shell, "linux", |guest| {
        guest.ask("mount -t ext4 /dev/vda /mnt");
        assert!(guest.ask("sha256sum /mnt/given.bin").starts_with(&sha256(&contents)), "it reads something else");
        guest.ask(&format!("dd if=/dev/urandom of=/mnt/made.bin bs=64k count={} 2>&-", WRITTEN / (64 << 10)));
        guest.ask("mkdir /mnt/folder; rm /mnt/given.bin");
        guest.ask("echo 'by a guest' > /mnt/folder/note.txt");
        let sum = guest.ask_line("sha256sum /mnt/made.bin");
        guest.assert_no_disk_errors();
        guest.ask("umount /mnt && echo gone");
        sum
    });
    assert_others_work(&mut shell);
    shell.shut_down();
    disk.assert_clean();
    let made = disk.read("/made.bin");
    assert_eq!(made.len(), WRITTEN);
    assert!(written.starts_with(&sha256(&made)), "the host reads something else than the guest has written");
    assert_eq!(disk.read("/folder/note.txt"), b"by a guest\n");
    // The system's own disk is another one.
    assert_clean(bench.disk());
}

#[test]
fn a_guest_does_not_notice_that_its_disks_driver_dies_every_second() {
    let folder = folder();
    let image = folder.path().join("raw.img");
    let contents = filling(RAW, 12);
    fs::write(&image, &contents).expect("a disk");
    let bench = bench_with_disk(&[("linux", linux_with_disk())], &image);
    let mut shell = bench.boot();
    at_console(&mut shell, "linux", |guest| assert_eq!(guest.ask_line("echo up"), "up"));
    for second in 1..=DEATHS {
        shell.must(&format!("kill {DISK_DRIVER} --after {second}s"));
    }
    let (begun, expected) = (Instant::now(), sha256(&contents));
    let sums = at_console(&mut shell, "linux", |guest| {
        let mut sums = 0;
        while begun.elapsed() < Duration::from_secs(DEATHS) {
            guest.ask("echo 3 > /proc/sys/vm/drop_caches");
            let sum = guest.ask_line("sha256sum /dev/vda");
            assert!(sum.starts_with(&expected), "sum {sums} is wrong: {sum}");
            sums += 1;
        }
        guest.assert_no_disk_errors();
        sums
    });
    assert!(sums > 0);
    let deadline = Instant::now() + SOON;
    while restarts(&mut shell, DISK_DRIVER) < DEATHS {
        assert!(Instant::now() < deadline, "the driver did not die as planned");
    }
    assert_eq!(restarts(&mut shell, "linux"), 0);
    shell.shut_down();
}

#[test]
fn a_guest_without_the_disk_that_it_was_promised_starts_without() {
    let bench = guest_tests::bench(&[("linux", linux_with_disk())]);
    let mut shell = bench.boot();
    at_console(&mut shell, "linux", |guest| {
        assert_eq!(guest.ask_line("ls /sys/block | grep vd | wc -l"), "0");
    });
    shell.shut_down();
}
