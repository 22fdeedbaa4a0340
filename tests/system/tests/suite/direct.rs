//! Files that an application reads directly, with many requests in flight, while the disk's driver or the file server breaks.

use std::time::Duration;

use system_tests::{Bench, Shell};
use xtask::disk::{self, LOAD_FILE};
use xtask::machine::Drive;

use crate::copy::bench_with;

/// The application. Its ring has room for 32 pages and four parts of 1 MiB.
const LOAD: &str = r#"
[domain.load]
kind = "app"
provides = ["command"]
uses = [{ interface = "filesystem", ring = "8200K" }]
memory = "1M"
heartbeat = "none"
"#;

/// Bytes of the file.
const FILE: u64 = 16 << 20;
/// Parts that are read in random places, 32 at a time.
const PARTS: u64 = 4000;
/// When the planned death comes: the reading has begun by then, even on a busy host, and takes twice as long.
const DEATH: &str = "--after 2s";
const PATIENCE: Duration = Duration::from_secs(300);

/// A machine whose disk reads 4 MiB a second, so that its driver has requests for long.
fn bench() -> Bench {
    let mut bench = bench_with("load", LOAD);
    let image = bench.path("load.img");
    disk::write_load(&image, FILE).expect("a disk");
    bench.machine.drives = vec![Drive::new(image)];
    bench.machine.extra.extend(["-set".into(), "drive.disk0.throttling.bps-read=4194304".into()]);
    bench
}

fn must(shell: &mut Shell, command: &str) -> String {
    let reply = shell.run_within(command, PATIENCE);
    assert!(reply.succeeded, "`{command}` failed:\n{}\n{}", reply.text, shell.must("log -n 60"));
    reply.text
}

/// A count in a table or a sentence of the shell's: the number before `words`, or behind them at the end of the line.
fn count(text: &str, words: &str) -> u64 {
    let line = text.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("no `{words}`:\n{text}"));
    let (before, behind) = line.split_once(words).expect("it is there");
    let number = behind.split_whitespace().last().and_then(|word| word.parse().ok());
    number.or_else(|| before.split_whitespace().last()?.parse().ok()).unwrap_or_else(|| panic!("no number: {line}"))
}

#[test]
fn a_driver_that_is_killed_with_32_requests_in_flight_costs_time_and_nothing_else() {
    let bench = bench();
    let mut shell = bench.boot();
    for (death, how) in (1..).zip(["kill virtio-blk", "crash virtio-blk panic", "crash virtio-blk fault"]) {
        shell.must(&format!("{how} {DEATH}"));
        let said = must(&mut shell, &format!("load check-random /{LOAD_FILE} 32 {PARTS}"));
        assert!(said.contains(&format!("{PARTS} parts, {} bytes", PARTS * 4096)), "{said}");
        assert!(said.contains(" 0 wrong, 0 failed, 0 new servers"), "{said}");
        let told = shell.must("disk");
        assert_eq!(count(&told, "starts of the driver"), death + 1, "{told}");
        assert_eq!(count(&told, "starts with requests in flight"), death, "{told}");
        // The driver is told when half of them are complete, and some more may be until it looks.
        assert!(count(&told, "requests repeated") >= 8, "of 32 requests few were in flight:\n{told}");
    }
    must(&mut shell, &format!("load check /{LOAD_FILE} 4 1024"));
    shell.shut_down();
}

#[test]
fn an_application_reads_on_when_the_file_server_is_killed_with_its_requests_in_flight() {
    let bench = bench();
    let mut shell = bench.boot();
    let mut lives = 0;
    for how in ["kill fat", "crash fat panic"] {
        shell.must(&format!("{how} {DEATH}"));
        let said = must(&mut shell, &format!("load check-random /{LOAD_FILE} 32 {PARTS}"));
        assert!(said.contains(" 0 wrong, 0 failed,"), "{said}");
        lives += count(&said, " new servers");
    }
    assert!(lives >= 2, "it did not die while it was asked");
    shell.shut_down();
}

#[test]
fn what_is_read_directly_comes_from_the_disk_each_time() {
    let mut bench = bench();
    bench.machine.extra.truncate(bench.machine.extra.len() - 2);
    let mut shell = bench.boot();
    let before = count(&shell.must("disk"), "requests completed");
    must(&mut shell, &format!("load check-random /{LOAD_FILE} 8 1000"));
    must(&mut shell, &format!("load check-random /{LOAD_FILE} 8 1000"));
    let after = count(&shell.must("disk"), "requests completed");
    assert!(after - before >= 2000, "only {} requests reached the disk", after - before);
    let refused = shell.must_fail(&format!("load check-random /no{LOAD_FILE} 8 10"));
    assert!(refused.contains("no such file"), "{refused}");
    shell.shut_down();
}
