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

/// The longest that recovery may take by the machine's clock: much less than the first thing that is waited for if somebody is, a
/// missed heartbeat.
const BOUND_MS: u64 = 1500;
/// How often it may take longer in a row. The machine's clock goes on while its host has other things to do; whoever waits for
/// the log of deaths waits each time.
const DELAYS: u32 = 5;

/// How long a command took by the machine's clock.
fn took_ms(shell: &mut Shell, command: &str) -> u64 {
    let said = shell.must(&format!("time {command}"));
    let took = said.lines().find_map(|line| line.strip_prefix("took ")).unwrap_or_else(|| panic!("no time: {said}"));
    let (number, unit) = took.trim().split_once(' ').unwrap_or_else(|| panic!("no duration: {took}"));
    let number: f64 = number.parse().unwrap_or_else(|_| panic!("no number: {took}"));
    let factor = match unit {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1000.0,
        _ => panic!("no unit of time: {took}"),
    };
    (number * factor) as u64
}

#[test]
fn a_log_of_deaths_that_hangs_or_dies_delays_no_recovery() {
    let mut shell = Bench::with_default_disk().boot();
    shell.must("ls /disk");
    let mut deaths = 0;
    for how in ["crash crashlog hang", "kill crashlog", "crash crashlog panic --after 1s"] {
        for way in ["crash virtio-blk panic", "kill virtio-blk", "crash virtio-blk fault"] {
            let mut delays = 0;
            loop {
                shell.run(how);
                shell.must(way);
                deaths += 1;
                // It is answered by the driver's next instance.
                let took = took_ms(&mut shell, "disk");
                shell.must("ls /disk");
                if took < BOUND_MS {
                    break;
                }
                delays += 1;
                assert!(delays < DELAYS, "after `{how}` and `{way}` it took {took} ms, and as long before");
            }
        }
    }
    let told = shell.must("crashes");
    let driver = told.lines().filter(|line| line.contains("virtio-blk, life ")).count();
    assert_eq!(driver, deaths, "a death left no record:\n{told}");
    shell.shut_down();
}

#[test]
fn who_dies_again_and_again_hides_no_other_death() {
    let mut shell = Bench::with_default_disk().boot();
    shell.must("ls /disk");
    shell.must("crash echo panic");
    until(&mut shell, "crashes", |text| text.contains("echo, life 0, "));
    for number in 1..=40 {
        shell.must("kill virtio-blk");
        until(&mut shell, "crashes", |text| text.contains(&format!("virtio-blk, life {}, ", number - 1)));
        shell.must("disk");
    }
    let told = shell.must("crashes echo");
    assert!(told.contains("panicked: asked to panic"), "{told}");
    shell.shut_down();
}
