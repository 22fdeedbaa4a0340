//! Domains that die again and again: what that costs the others, and what is left of it.

use std::thread;
use std::time::{Duration, Instant};

use system_tests::assert_clean;

use crate::copy::bench_with_manifest;
use crate::supervision::{settled, shown};

/// Domains that die before they are ready, because they are servers to whom nothing is given to serve.
const LOOPS: [&str; 4] = ["loop-a", "loop-b", "loop-c", "loop-d"];
/// How long something may take that must happen at last.
const PATIENCE: Duration = Duration::from_secs(300);

/// A domain that dies in its start-up.
fn frail(name: &str, restart: &str) -> String {
    format!(
        "[domain.{name}]\nbinary = \"echo\"\nkind = \"server\"\nmemory = \"256K\"\npriority = 200\nrestart = {restart}\n\n"
    )
}

#[test]
fn a_death_before_a_domain_is_ready_is_counted_and_waited_after() {
    let policy = "{ limit = 6, window = \"10min\", backoff = \"10ms\", max-backoff = \"1s\" }";
    let bench = bench_with_manifest(|system| system + &frail("loop-a", policy));
    let mut shell = bench.boot();
    let deadline = Instant::now() + PATIENCE;
    let end = loop {
        let now = shown(&mut shell)["loop-a"].clone();
        if now.state == "given-up" {
            break now;
        }
        assert!(now.state != "running", "it is never ready");
        assert!(Instant::now() < deadline, "it is not given up: {now:?}");
        thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(end.restarts, 6, "it was started as often as its policy allows");
    assert!(shell.must("ps").contains("The system is degraded. Given up: loop-a."));
    assert!(shell.must("log loop-a").contains("Last death of loop-a:"));
    shell.must("ls /disk");
    shell.shut_down();
}

#[test]
fn crash_loops_at_a_high_priority_do_not_starve_those_below() {
    let policy = "{ limit = 1000000, window = \"10min\", backoff = \"1ms\", max-backoff = \"20ms\" }";
    let bench = bench_with_manifest(|system| LOOPS.iter().fold(system, |all, name| all + &frail(name, policy)));
    let mut shell = bench.boot();
    // Everything that this takes runs at lower priorities than the loops: shell, file server and driver.
    let deaths = |shell: &mut system_tests::Shell| -> Vec<u64> {
        let shown = shown(shell);
        LOOPS.iter().map(|name| shown[*name].restarts).collect()
    };
    let before = deaths(&mut shell);
    for round in 0..4 {
        let reply = shell.run_within(&format!("fill /disk/work.bin 2000000 {round}"), PATIENCE);
        assert!(reply.succeeded, "{}", reply.text);
        let reply = shell.run_within("sum /disk/work.bin", PATIENCE);
        assert!(reply.succeeded, "{}", reply.text);
        shell.must("ping");
    }
    let after = deaths(&mut shell);
    let least = before.iter().zip(&after).map(|(before, after)| after - before).min();
    assert!(least >= Some(5), "the loops did not run meanwhile: {before:?}, {after:?}");
    shell.shut_down();
    assert_clean(bench.disk());
}

#[test]
fn after_a_hundred_deaths_everything_is_there_again() {
    let bench = bench_with_manifest(|system| {
        let policy = "restart = { limit = 1000, window = \"1min\", backoff = \"1ms\", max-backoff = \"2ms\" }";
        system.replace("[domain.echo]\n", &format!("[domain.echo]\n{policy}\n"))
    });
    let mut shell = bench.boot();
    shell.must("ls /disk");
    let mut after_first = None;
    for number in 1..=100 {
        let way = ["kill echo", "crash echo panic", "crash echo fault"][number % 3];
        shell.must(way);
        let deadline = Instant::now() + PATIENCE;
        while settled(&mut shell)["echo"].restarts < number as u64 {
            assert!(Instant::now() < deadline, "`{way}` has no effect");
        }
        shell.must("ping");
        if number % 33 == 1 {
            let now = (shell.must("mem"), shell.must("caps supervisor").lines().count());
            assert_eq!(after_first.get_or_insert(now.clone()), &now, "after {number} deaths");
        }
    }
    shell.shut_down();
}
