//! What is known of a death: at the shell, on the disk, and on the host.

use std::time::{Duration, Instant};

use system_tests::{Bench, Shell, assert_clean};
use xtask::crashes;

/// So long something may take: it only stops what hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a command again and again until what it prints is as it should be.
fn until(shell: &mut Shell, command: &str, is_good: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reply = shell.run(command);
        if reply.succeeded && is_good(&reply.text) {
            return reply.text;
        }
        assert!(Instant::now() < deadline, "`{command}` still shows\n{}\n{}", reply.text, shell.must("log -n 60"));
    }
}

/// How often a domain died in one of these ways.
fn count(text: &str, cause: &str) -> usize {
    text.lines().filter(|line| line.contains("virtio-blk, life ") && line.contains(cause)).count()
}

#[test]
fn a_death_is_told_at_the_shell_kept_by_the_disk_and_named_on_the_host() {
    let bench = Bench::with_default_disk();
    let mut shell = bench.boot();
    shell.must("ls /disk");
    assert_eq!(shell.must("crashes"), "Nobody has died.\n");
    shell.must("crash virtio-blk panic");
    until(&mut shell, "crashes", |text| count(text, "panicked: asked to panic") == 1);
    // The next one is there when it has answered.
    shell.must("disk");
    shell.must("crash virtio-blk fault");
    until(&mut shell, "crashes", |text| count(text, "wrote at 0xdeadbeef000") == 1);

    let told = shell.must("crashes virtio-blk");
    for expected in
        ["life 1, ", "    rip ", "  at   0x", "  from 0x", "  last messages:", "called pci.claim by handle 0x"]
    {
        assert!(told.contains(expected), "it does not show `{expected}`:\n{told}");
    }

    let kept = |text: &str| (count(text, "asked to panic"), count(text, "wrote at 0xdeadbeef000")) == (1, 1);
    until(&mut shell, "crashes --kept", kept);
    shell.shut_down();
    assert_clean(bench.disk());

    let mut shell = bench.boot();
    assert_eq!(shell.must("crashes"), "Nobody has died.\n", "a boot knows its own deaths");
    until(&mut shell, "crashes --kept", kept);
    // What comes is added to what is there.
    shell.must("kill echo");
    until(&mut shell, "crashes --kept", |text| kept(text) && text.contains("echo, life 0, "));
    shell.shut_down();

    let named = crashes::of_disk(bench.disk()).unwrap_or_else(|error| panic!("{error}"));
    assert!(kept(&named), "{named}");
    let [panicked, wrote] = ["asked to panic", "wrote at"].map(|cause| {
        let begin = named.find(cause).expect("it was counted");
        named[begin..].split("last messages").next().expect("there is always a first").to_owned()
    });
    for (report, function) in [(&panicked, "obey"), (&wrote, "wild_pointer")] {
        assert!(report.contains(function), "it does not name `{function}`:\n{report}");
        assert!(report.contains("mishap.rs:"), "it names no file and line:\n{report}");
        assert!(report.contains("executor.rs:"), "it does not say from where that was called:\n{report}");
    }
}
