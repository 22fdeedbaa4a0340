//! Guests on a link: frames reach whom they are for, whatever becomes of the switch between them or whatever a neighbour does.

use std::thread;
use std::time::{Duration, Instant};

use guest_tests::{COMMAND_LIMIT, RUNNING, Talk, assert_others_work, at_console, await_state, bench, linux, restarts};
use system_tests::Shell;
use xtask::guest::{Entry, LINK};

/// Frames that are a flood, in the time that a transfer takes.
const FLOOD: u64 = 2000;

/// A guest on the link.
fn linked() -> Entry {
    Entry { link: Some(LINK.to_owned()), ..linux() }
}

/// Gives guests an address each: 10.0.0.1, 10.0.0.2 and so on.
fn connect(shell: &mut Shell, guests: &[&str]) {
    for (number, guest) in (1..).zip(guests) {
        at_console(shell, guest, |guest| {
            guest.ask(&format!("ip addr add 10.0.0.{number}/24 dev eth0; ip link set eth0 up"));
        });
    }
}

/// Asserts that a guest is answered from another one.
fn assert_reaches(guest: &mut Talk<'_>, address: &str) {
    let pinged = guest.ask(&format!("ping -c 5 -W 20 {address}"));
    assert!(pinged.contains("5 packets received"), "{pinged}");
}

/// A number of `guest info`.
fn counted(shell: &mut Shell, guest: &str, what: &str) -> u64 {
    let info = shell.must(&format!("guest info {guest}"));
    let line = info.lines().find_map(|line| line.strip_prefix(what)).unwrap_or_else(|| panic!("no {what}:\n{info}"));
    line.trim().parse().unwrap_or_else(|_| panic!("{what} is no number:\n{info}"))
}

/// Lets the first guest send what lies in its `/tmp/data` to the second one, so many times with a pause between, while `meanwhile`
/// happens; and asserts that all of it has arrived as it was sent.
fn transfer(shell: &mut Shell, (times, pause): (u32, &str), meanwhile: impl FnOnce(&mut Shell)) {
    at_console(shell, "two", |guest| {
        // The sleep holds the other direction open. A job of a shell within is none that this one tells of.
        guest.ask("(sleep 10000 | nc -l -p 5000 | sha256sum > /tmp/sum &)");
    });
    let sent = at_console(shell, "one", |guest| {
        guest.ask(&format!("all() {{ for n in $(seq {times}); do cat /tmp/data; sleep $1; done; }}"));
        guest.ask(&format!("(all {pause} | nc 10.0.0.2 5000 &)"));
        guest.ask_line("all 0 | sha256sum")
    });
    meanwhile(shell);
    let arrived = at_console(shell, "two", |guest| {
        let deadline = Instant::now() + COMMAND_LIMIT;
        loop {
            let sum = guest.ask_line("cat /tmp/sum");
            if !sum.is_empty() {
                break sum;
            }
            assert!(Instant::now() < deadline, "the transfer does not end: {}", guest.ask("netstat -tn; ifconfig"));
            thread::sleep(Duration::from_millis(500));
        }
    });
    assert_eq!(arrived, sent);
}

#[test]
fn two_guests_on_a_link_exchange_data_as_it_was_sent() {
    let bench = bench(&[("one", linked()), ("two", linked())]);
    let mut shell = bench.boot();
    connect(&mut shell, &["one", "two"]);
    let addresses = [("one", "10.0.0.2"), ("two", "10.0.0.1")].map(|(name, other)| {
        at_console(&mut shell, name, |guest| {
            assert_reaches(guest, other);
            guest.ask("dd if=/dev/urandom of=/tmp/data bs=64k count=64");
            guest.ask_line("cat /sys/class/net/eth0/address")
        })
    });
    for (name, address) in ["one", "two"].iter().zip(&addresses) {
        let info = shell.must(&format!("guest info {name}"));
        assert!(info.contains(address), "{name} has {address}:\n{info}");
    }
    assert_ne!(addresses[0], addresses[1]);
    transfer(&mut shell, (1, "0"), |_| ());
    assert!(counted(&mut shell, "one", "frames passed on") > 1000);
    assert!(counted(&mut shell, "two", "frames delivered") > 1000);
    assert_eq!(counted(&mut shell, "one", "dropped: of another address"), 0);
    assert_others_work(&mut shell);
    shell.shut_down();
}

#[test]
fn a_guest_on_no_link_has_no_card() {
    let bench = bench(&[("alone", linux()), ("linked", linked())]);
    let mut shell = bench.boot();
    let cards = ["alone", "linked"]
        .map(|name| at_console(&mut shell, name, |guest| guest.ask_line("ls /sys/class/net").replace('\n', " ")));
    assert!(!cards[0].contains("eth") && cards[1].contains("eth0"), "{cards:?}");
    assert!(!shell.must("guest info alone").contains("network"));
    shell.shut_down();
}

#[test]
fn a_transfer_goes_on_when_the_switch_has_died_and_is_back() {
    let bench = bench(&[("one", linked()), ("two", linked())]);
    let mut shell = bench.boot();
    connect(&mut shell, &["one", "two"]);
    at_console(&mut shell, "one", |guest| guest.ask("dd if=/dev/urandom of=/tmp/data bs=64k count=8"));
    transfer(&mut shell, (20, "0.5"), |shell| {
        for death in 1..=5 {
            let before = counted(shell, "two", "frames delivered");
            shell.must(&format!("kill {LINK}"));
            let deadline = Instant::now() + COMMAND_LIMIT;
            while restarts(shell, LINK) < death || counted(shell, "two", "frames delivered") <= before {
                assert!(Instant::now() < deadline, "nothing goes on after death {death}:\n{}", shell.must("log -n 60"));
            }
        }
    });
    // The other way round: a monitor that dies leaves a port that is silent, and its successor finds it.
    shell.must("kill two");
    at_console(&mut shell, "one", |guest| {
        assert!(guest.ask("ping -c 1 -W 1 10.0.0.2").contains("0 packets received"), "nobody is there");
    });
    await_state(&mut shell, "two", RUNNING);
    at_console(&mut shell, "two", |guest| {
        guest.ask("ip addr add 10.0.0.2/24 dev eth0; ip link set eth0 up");
        assert_reaches(guest, "10.0.0.1");
    });
    // A guest that the same monitor switches on attaches to the link anew.
    shell.must("guest kill one");
    shell.must("guest start one");
    at_console(&mut shell, "one", |guest| {
        guest.ask("ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 up");
        assert_reaches(guest, "10.0.0.2");
    });
    assert_eq!((restarts(&mut shell, "one"), restarts(&mut shell, LINK)), (0, 5));
    assert_others_work(&mut shell);
    shell.shut_down();
}

#[test]
fn who_floods_a_link_or_takes_anothers_address_harms_nobody() {
    let bench = bench(&[("one", linked()), ("two", linked()), ("hostile", linked())]);
    let mut shell = bench.boot();
    connect(&mut shell, &["one", "two", "hostile"]);
    let address = at_console(&mut shell, "one", |guest| {
        guest.ask("dd if=/dev/urandom of=/tmp/data bs=64k count=8");
        guest.ask_line("cat /sys/class/net/eth0/address")
    });

    // As `one`, to `two`: nothing of it arrives, and what is for `one` still does.
    at_console(&mut shell, "hostile", |guest| {
        guest.ask("cat /sys/class/net/eth0/address > /tmp/own");
        guest.ask("ip link set eth0 down; ip addr flush dev eth0");
        guest.ask(&format!("ip link set eth0 address {address}"));
        guest.ask("ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 up");
        let pinged = guest.ask("ping -c 3 -W 1 10.0.0.2");
        assert!(pinged.contains("0 packets received"), "{pinged}");
    });
    assert!(counted(&mut shell, "hostile", "dropped: of another address") >= 3);
    at_console(&mut shell, "one", |guest| assert_reaches(guest, "10.0.0.2"));

    // From its own address, as much as it can, to everybody.
    at_console(&mut shell, "hostile", |guest| {
        guest.ask("ip link set eth0 down; ip addr flush dev eth0");
        guest.ask("ip link set eth0 address $(cat /tmp/own)");
        guest.ask("ip addr add 10.0.0.3/24 dev eth0; ip link set eth0 up");
        guest.ask("ip route add 224.0.0.0/4 dev eth0");
        guest.ask("flood() { ping -q -i 0.001 -s 60000 224.0.0.1 > /dev/null; }");
        guest.ask("for n in 1 2 3 4; do (flood &); done");
    });
    let before = counted(&mut shell, "hostile", "frames passed on");
    transfer(&mut shell, (1, "0"), |shell| {
        let deadline = Instant::now() + COMMAND_LIMIT;
        while counted(shell, "hostile", "frames passed on") < before + FLOOD {
            assert_others_work(shell);
            assert!(Instant::now() < deadline, "it is no flood");
        }
    });
    for domain in ["one", "two", "hostile", LINK, "uart", "virtio-blk", "fat", "echo"] {
        assert_eq!(restarts(&mut shell, domain), 0, "{domain} died of a flood");
    }
    shell.shut_down();
}
