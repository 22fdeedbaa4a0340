//! A stream leads to a guest's second terminal as it leads to a domain: the same client asks the same server in either.

use guest_tests::{RUNNING, assert_others_work, at_console, await_state, bench, linux};
use system_tests::{Bench, Shell};
use xtask::guest::appliance::{Appliance, CLIENT, DOMAIN, GUEST, INSIDE, NATIVE};
use xtask::setup;

fn boot() -> Shell {
    let source = setup::ensure().unwrap_or_else(|error| panic!("{error}"));
    let appliance = Appliance::obtain(&source).unwrap_or_else(|error| panic!("{error}"));
    let mut bench = Bench::with_system(|system| appliance.system_with(&system));
    bench.machine.memory = appliance.memory().unwrap_or_else(|error| panic!("{error}"));
    bench.boot()
}

fn ask(shell: &mut Shell, home: &str, line: &str) -> String {
    shell.must(&format!("{CLIENT} {home} {line}")).trim().to_owned()
}

#[test]
fn one_client_asks_a_server_as_a_domain_and_in_a_guest() {
    let mut shell = boot();
    for (home, domain) in [(NATIVE, DOMAIN), (INSIDE, GUEST)] {
        assert!(ask(&mut shell, home, &format!("start {domain}")).starts_with("ready after"));
        assert_eq!(ask(&mut shell, home, "get colour"), "none");
        assert_eq!(ask(&mut shell, home, &format!("set colour the one of {home}")), "ok");
        assert_eq!(ask(&mut shell, home, "count"), "count 1");
        assert!(ask(&mut shell, home, "hello").starts_with("error what can be asked"));
        let long = format!("set long {}", "x".repeat(1000));
        assert_eq!(ask(&mut shell, home, &long), "ok");
        assert_eq!(ask(&mut shell, home, "get long").len(), "value ".len() + 1000);
        assert!(ask(&mut shell, home, "measure 50").starts_with("100 requests:"));
    }
    for home in [NATIVE, INSIDE] {
        assert_eq!(ask(&mut shell, home, "get colour"), format!("value the one of {home}"));
        assert_eq!(ask(&mut shell, home, "delete colour"), "ok");
    }
    shell.shut_down();
}

#[test]
fn a_stream_whose_other_end_is_gone_says_so_and_comes_back_with_it() {
    let mut shell = boot();
    let why = shell.must_fail(&format!("{CLIENT} {INSIDE} count"));
    assert!(why.contains("nobody is at the other end"), "{why}");
    for (home, domain) in [(NATIVE, DOMAIN), (INSIDE, GUEST)] {
        ask(&mut shell, home, &format!("start {domain}"));
        assert_eq!(ask(&mut shell, home, "set a 1"), "ok");
        shell.must(&format!("kill {domain}"));
        // What it knew is gone with it.
        ask(&mut shell, home, &format!("start {domain}"));
        assert_eq!(ask(&mut shell, home, "count"), "count 0");
        // The same monitor with another guest tells nothing of the last one.
        assert_eq!(ask(&mut shell, home, "set a 1"), "ok");
        ask(&mut shell, home, &format!("start {domain}"));
        assert_eq!(ask(&mut shell, home, "count"), "count 0");
    }
    shell.shut_down();
}

#[test]
fn a_guest_that_floods_its_second_terminal_harms_nobody_and_waits_for_nobody() {
    let bench = bench(&[("linux", linux())]);
    let mut shell = bench.boot();
    at_console(&mut shell, "linux", |guest| {
        guest.ask("stty raw < /dev/hvc0");
        guest.ask("flood() { cat /bin/busybox > /dev/hvc0; echo x >> /tmp/w; }");
        guest.ask("while :; do flood; done &");
    });
    assert_others_work(&mut shell);
    at_console(&mut shell, "linux", |guest| {
        // It has no end unless somebody else takes what is written.
        guest.ask("until [ -s /tmp/w ]; do sleep 1; done");
    });
    await_state(&mut shell, "linux", RUNNING);
    shell.shut_down();
}
