//! Several guests beside each other.

use guest_tests::{RUNNING, assert_others_work, at_console, await_state, bench, linux, restarts, sha256};
use xtask::guest::Entry;

/// How often a guest's monitor is killed.
const DEATHS: u64 = 50;
/// So many deaths follow each other at once.
const POLICY: &str = r#"restart = { limit = 1000, window = "1min", backoff = "1ms", max-backoff = "1ms" }"#;

#[test]
fn two_guests_run_at_once_and_know_nothing_of_each_other() {
    let bench = bench(&[("one", linux()), ("two", linux())]);
    let mut shell = bench.boot();
    for name in ["one", "two"] {
        at_console(&mut shell, name, |guest| guest.ask(&format!("hostname {name}; echo {name} > /tmp/name")));
    }
    for name in ["one", "two"] {
        at_console(&mut shell, name, |guest| {
            assert_eq!(guest.ask_line("cat /tmp/name"), name);
            assert_eq!(guest.ask_line("hostname"), name);
        });
    }
    assert_others_work(&mut shell);
    shell.shut_down();
}

#[test]
fn a_guest_that_dies_fifty_times_does_not_disturb_another() {
    let victim = Entry { more: POLICY.to_owned(), ..linux() };
    let bench = bench(&[("worker", linux()), ("victim", victim)]);
    let mut shell = bench.boot();
    at_console(&mut shell, "worker", |guest| {
        guest.ask("sum() { dd if=/dev/zero bs=64k count=16 2>&- | sha256sum; }");
        guest.ask("while :; do sum >> /tmp/sums; done &");
    });
    for death in 0..DEATHS {
        // Whatever it is doing: it comes as far as it comes.
        std::thread::sleep(std::time::Duration::from_millis(death * 20));
        shell.must("kill victim");
        await_state(&mut shell, "victim", RUNNING);
    }
    assert_eq!(restarts(&mut shell, "victim"), DEATHS);
    assert_eq!(restarts(&mut shell, "worker"), 0);
    at_console(&mut shell, "worker", |guest| {
        // The shell tells of a job's end before its next prompt: before this one.
        guest.ask("kill %1; wait %1");
        let kinds = guest.ask_line("sort -u /tmp/sums");
        assert_eq!(kinds.split_whitespace().next(), Some(sha256(&vec![0; 1 << 20]).as_str()), "{kinds}");
        assert_eq!(kinds.lines().count(), 1, "not all sums are the same: {kinds}");
        let count: u64 = guest.ask_line("wc -l < /tmp/sums").parse().expect("a number");
        assert!(count >= DEATHS / 5, "it did little: {count} sums");
    });
    // Nothing of its lives is left over: it comes up as ever.
    at_console(&mut shell, "victim", |guest| assert_eq!(guest.ask_line("echo alive"), "alive"));
    assert_others_work(&mut shell);
    shell.shut_down();
}
