//! What a client leaves behind in a server when it dies.

use system_tests::{Bench, assert_clean};
use xtask::disk::BIG_FILE;

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
