//! Servers of the running system bear whatever messages a client sends.

use system_tests::{Shell, assert_clean};

use crate::copy::bench_with;

/// How many messages each server gets.
const MESSAGES: u64 = 20_000;
/// How many of them with one command.
const AT_ONCE: u64 = 1_000;

/// A driver that the system does not have by itself, and a domain that may call everybody.
const NOISE: &str = r#"
[domain.edu]
kind = "driver"
provides = [{ interface = "edu", version = 1 }]
uses = ["pci"]
device = { pci = { vendor = 0x1234, devices = [0x11e8], interrupts = 1, qemu = "edu" } }
priority = 140

[domain.switch]
kind = "server"
provides = ["link"]

[domain.noise]
kind = "app"
provides = ["command"]
uses = ["console", "pci", { interface = "block", from = "virtio-blk", ring = "64K" }, "filesystem", "echo", "edu", "supervision", { interface = "link", ring = "64K" }]
memory = "2M"
heartbeat = "none"
"#;

/// How often a domain was started again, as `ps` shows it.
fn restarts(shell: &mut Shell, domain: &str) -> u64 {
    let list = shell.must("ps");
    let mut lines = list.lines();
    // The numbers end where the column's name does.
    let end = lines.next().and_then(|head| head.find("RESTARTS")).expect("a head") + "RESTARTS".len();
    let line = lines.find(|line| line.starts_with(domain)).expect("the domain is listed");
    line[..end]
        .rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no number in {line}"))
}

#[test]
fn every_server_bears_twenty_thousand_messages_by_chance_and_still_answers() {
    let bench = bench_with("noise", NOISE);
    let mut shell = bench.boot();
    let sum = shell.must("sum /disk/big16m.bin");
    for (interface, server) in [
        ("echo", "echo"),
        ("edu", "edu"),
        ("pci", "pci"),
        ("block", "virtio-blk"),
        ("filesystem", "fat"),
        ("console", "uart"),
        ("link", "switch"),
        ("supervision", "supervisor"),
    ] {
        let mut answered = 0;
        for seed in 1..=MESSAGES / AT_ONCE {
            let said = shell.must(&format!("noise {interface} {AT_ONCE} {seed}"));
            let tally =
                said.split_once(&format!("{interface}: {AT_ONCE} messages: ")).expect("it says what became of them").1;
            answered += tally.split(' ').next().and_then(|number| number.parse::<u64>().ok()).expect("a number");
        }
        eprintln!("{interface}: {answered} of {MESSAGES} answered");
        assert!(answered > MESSAGES / 10, "{interface}: most messages are nearly right");
        assert_eq!(restarts(&mut shell, server), 0, "{server} has not died");
    }
    assert_eq!(shell.must("sum /disk/big16m.bin"), sum, "what nobody has written to is as it was");
    shell.shut_down();
    assert_clean(bench.disk());
}
