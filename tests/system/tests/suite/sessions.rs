//! What a client leaves behind in a server when it dies.

use std::time::Duration;

use system_tests::{Bench, Shell, assert_clean};
use xtask::disk::BIG_FILE;

use crate::copy::bench_with;

/// What is used, once that changes no more: a killed domain is started again beside what follows.
fn settled(shell: &mut Shell) -> String {
    let mut used = shell.must("mem");
    for _ in 0..50 {
        std::thread::sleep(Duration::from_millis(200));
        let before = std::mem::replace(&mut used, shell.must("mem"));
        if before == used {
            break;
        }
    }
    used
}

/// A domain that opens a file as often as it may, by the path that the file server knows.
const FLOOD: &str = r#"
[domain.flood]
kind = "app"
provides = ["command"]
uses = ["filesystem"]
memory = "1M"
heartbeat = "none"
"#;

#[test]
fn a_client_that_floods_is_refused_and_nobody_else_and_its_death_gives_everything_back() {
    let bench = bench_with("flood", FLOOD);
    let mut shell = bench.boot();
    shell.must("write /disk/wanted.txt by everybody");
    let mut used = Vec::new();
    for life in 0..4 {
        let said = shell.must("flood /wanted.txt");
        assert!(said.contains("64 times open, then: too many files are open"), "life {life}: {said}");
        assert!(shell.must("cat /disk/wanted.txt").contains("by everybody"), "another client opens it as ever");
        let refused = shell.must_fail("rm /disk/wanted.txt");
        assert!(refused.contains("the file is open"), "{refused}");
        shell.must("kill flood");
        used.push(settled(&mut shell));
    }
    assert_eq!(used[1..3], used[2..4], "a life leaves nothing behind");
    shell.must("rm /disk/wanted.txt");
    let log = shell.must("log fat");
    assert!(log.contains("a client died with a file open"), "{log}");
    shell.shut_down();
    assert_clean(bench.disk());
}

#[test]
fn a_client_that_is_killed_with_a_file_open_leaves_no_open_file_behind() {
    let mut bench = Bench::with_default_disk();
    // Slow enough that the file is still being read when its reader dies.
    bench.machine.extra.extend(["-set".into(), "drive.disk0.throttling.bps-read=2097152".into()]);
    let mut shell = bench.boot();
    shell.must("kill shell --after 500ms");
    let pending = shell.begin(&format!("sum /disk/{BIG_FILE}"));
    shell.finish(pending);

    // A file that somebody has open is not removed.
    shell.must(&format!("rm /disk/{BIG_FILE}"));
    let log = shell.must("log fat");
    assert!(log.contains("a client died with a file open"), "{log}");
    shell.must("write /disk/after.txt the server goes on");
    assert!(shell.must("cat /disk/after.txt").contains("the server goes on"));
    let list = shell.must("ps");
    let fat = list.lines().find(|line| line.starts_with("fat")).expect("it is there");
    assert!(fat.contains("running"), "{list}");
    shell.shut_down();
    assert_clean(bench.disk());
}
