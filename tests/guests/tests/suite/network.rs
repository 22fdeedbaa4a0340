//! Guests on a link.

use guest_tests::{at_console, bench, linux};
use xtask::guest::{Entry, LINK};

/// A guest on the link.
fn linked() -> Entry {
    Entry { link: Some(LINK.to_owned()), ..linux() }
}

#[test]
fn two_guests_on_a_link_reach_each_other() {
    let bench = bench(&[("one", linked()), ("two", linked())]);
    let mut shell = bench.boot();
    at_console(&mut shell, "two", |guest| {
        println!("{}", guest.ask("ip link; ip addr add 10.0.0.2/24 dev eth0; ip link set eth0 up"));
    });
    at_console(&mut shell, "one", |guest| {
        guest.ask("ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 up");
        let pinged = guest.ask("ping -c 5 10.0.0.2");
        println!("{pinged}");
        assert!(pinged.contains("5 packets received"), "{pinged}");
    });
    println!("{}", shell.must("guest info one"));
    println!("{}", shell.must("log -n 60"));
    shell.shut_down();
}
