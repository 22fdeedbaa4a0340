//! Domains that die more often than their own policy allows: their groups see to it, and beyond those the system is degraded.

use std::time::{Duration, Instant};

use system_tests::{Bench, Random, Shell, assert_clean, filling};
use xtask::disk;

use crate::copy::bench_with_manifest;
use crate::supervision::{settled, shown};

/// A disk's driver and its file server in a group within another one. Every domain may die twice within a minute.
fn bench(inner: &str, outer: &str) -> Bench {
    bench_with_manifest(|system| {
        let (domains, _) = system.split_once("# Who cannot be kept alive").expect("the groups are the last part");
        let domains: String =
            domains.lines().filter(|line| !line.starts_with("restart = ")).fold(String::new(), |all, line| {
                let policy = "restart = { limit = 2, window = \"10min\", backoff = \"5ms\", max-backoff = \"20ms\" }\n";
                let head = if line == "[defaults]" { policy } else { "" };
                all + line + "\n" + head
            });
        format!(
            "{domains}\n[group.storage]\nparent = \"devices\"\nmembers = [\"virtio-blk\", \"fat\"]\nstrategy = \"{inner}\"\n\
             limit = 1\nwindow = \"10min\"\n\
             [group.devices]\nmembers = [\"pci\", \"echo\"]\nstrategy = \"{outer}\"\nlimit = 1\nwindow = \"10min\"\n"
        )
    })
}

/// Kills a domain so often that its own policy does not allow another restart.
fn exhaust(shell: &mut Shell, domain: &str) {
    for _ in 0..3 {
        settled(shell);
        shell.must(&format!("kill {domain}"));
    }
}

/// How often each of these was restarted, once all run.
fn restarts<const N: usize>(shell: &mut Shell, names: [&str; N]) -> [u64; N] {
    let shown = settled(shell);
    names.map(|name| shown[name].restarts)
}

const NAMES: [&str; 5] = ["pci", "virtio-blk", "fat", "echo", "uart"];
const WITH_GROUP: &str = "restarted with its group";

#[test]
fn the_rest_of_a_group_is_restarted_then_the_group_around_it_and_then_the_system_is_degraded() {
    let mut shell = bench("rest-for-one", "one-for-all").boot();
    shell.must("ls /disk");
    exhaust(&mut shell, "virtio-blk");
    assert_eq!(restarts(&mut shell, NAMES), [0, 3, 1, 0, 0], "the file server is started after the driver");
    let now = settled(&mut shell);
    assert_eq!(
        (now["fat"].last_death.as_str(), now["virtio-blk"].last_death.as_str()),
        (WITH_GROUP, "killed by request")
    );
    shell.must("ls /disk");

    // What groups have counted outlives the supervisor.
    shell.must("crash supervisor panic");
    exhaust(&mut shell, "fat");
    assert_eq!(restarts(&mut shell, NAMES), [1, 4, 4, 1, 0], "the group is beyond its limit");
    assert_eq!(settled(&mut shell)["pci"].last_death, WITH_GROUP);
    shell.must("ls /disk");
    assert!(!shell.must("ps").contains("degraded"));

    exhaust(&mut shell, "echo");
    let list = shell.must("ps");
    assert!(list.contains("The system is degraded. Given up: echo.") && list.contains("`restart echo`"), "{list}");
    let now = shown(&mut shell);
    assert_eq!(now["echo"].state, "given-up");
    assert!(now.iter().all(|(name, domain)| name == "echo" || domain.state == "running"), "{now:#?}");
    let log = shell.must("log supervisor");
    assert!(log.contains("the group storage restarts virtio-blk, fat"), "{log}");
    assert!(log.contains("the group devices restarts pci, virtio-blk, fat, echo"), "{log}");
    assert!(
        log.contains("the system is degraded: echo died 3 times within its window, and the group devices"),
        "{log}"
    );
    // The next shell says so before its first prompt; and that is not the end.
    shell.must("crash supervisor fault");
    assert!(shell.must("ps").contains("The system is degraded"), "the next supervisor has forgotten it");
    shell.must("restart echo");
    shell.must("ping");
    assert!(!shell.must("ps").contains("degraded"));
    shell.shut_down();
}

#[test]
fn one_for_one_leaves_the_others_alone() {
    let mut shell = bench("one-for-one", "one-for-one").boot();
    shell.must("ls /disk");
    exhaust(&mut shell, "virtio-blk");
    assert_eq!(restarts(&mut shell, NAMES), [0, 3, 0, 0, 0]);
    exhaust(&mut shell, "virtio-blk");
    assert_eq!(restarts(&mut shell, NAMES), [0, 6, 1, 0, 0], "what fails is the group as a whole");
    shell.must("ls /disk");
    shell.shut_down();
}

#[test]
fn one_for_all_restarts_those_below_too() {
    let mut shell = bench("one-for-all", "rest-for-one").boot();
    shell.must("ls /disk");
    exhaust(&mut shell, "fat");
    assert_eq!(restarts(&mut shell, NAMES), [0, 1, 3, 0, 0]);
    exhaust(&mut shell, "fat");
    assert_eq!(restarts(&mut shell, NAMES), [0, 2, 6, 1, 0], "`echo` is started after what fails, `pci` before");
    shell.must("ls /disk");
    shell.must("ping");
    shell.shut_down();
}

/// How long a command may take while a group is restarted.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn what_a_member_had_acknowledged_is_there_after_its_group_was_restarted() {
    let bench = bench_with_manifest(|system| {
        // Every death of the driver is for the group, and the file server above it is never asked to come to rest.
        let (before, group) = system.split_once("[group.storage]").expect("there is a group");
        let (head, driver) = before.split_once("[domain.virtio-blk]").expect("there is a driver");
        let driver = driver.replacen("limit = 1000,", "limit = 0,", 1);
        let group = group.replacen("limit = 3", "limit = 1000", 1);
        format!("{head}[domain.virtio-blk]{driver}[group.storage]{group}")
    });
    let mut random = Random::new(11);
    let mut shell = bench.boot();
    shell.must("ls /disk");
    let mut kept = Vec::new();
    for round in 1..=12 {
        // Acknowledged: it was brought to the disk.
        let (name, size) = (format!("kept{round}.bin"), 100_000 + random.below(400_000) as usize);
        shell.must(&format!("fill /disk/{name} {size} {round}"));
        shell.must("sync");
        kept.push((name, size, round));
        // Not acknowledged: whatever the file server and the driver are at when they go.
        let moment = random.below(120_000);
        shell.must(&format!("kill virtio-blk --after {moment}us"));
        shell.run_within(&format!("fill /disk/work.bin 2000000 {round}"), PATIENCE);
        shell.run_within("sync", PATIENCE);
        // On a host that has nothing else to do, the work is over before the death comes.
        let deadline = Instant::now() + PATIENCE;
        let now = loop {
            let now = settled(&mut shell);
            if now["fat"].restarts >= round {
                break now;
            }
            assert!(Instant::now() < deadline, "the group was not started again: {now:#?}");
        };
        assert_eq!((now["virtio-blk"].restarts, now["fat"].restarts), (round, round), "{now:#?}");
        assert_eq!(now["fat"].last_death, WITH_GROUP);
        let (name, size, seed) = &kept[random.below(round) as usize];
        let sum = shell.run_within(&format!("sum /disk/{name}"), PATIENCE);
        let expected = disk::Fingerprint::of(&filling(*size, *seed)).hex();
        assert!(sum.succeeded && sum.text.contains(&expected), "{name} in round {round}: {}", sum.text);
    }
    shell.shut_down();
    assert_clean(bench.disk());
    for (name, size, seed) in kept {
        let found = disk::read_file(bench.disk(), &name).expect("it was acknowledged");
        assert!(found == filling(size, seed), "{name} is not what was acknowledged");
    }
}
