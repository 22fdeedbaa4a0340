//! Domains run on the processors that the manifest says, and within the budgets that it gives.

use std::time::Duration;

use system_tests::{Bench, Shell};
use xtask::machine::Cpus;

/// The cells of the line of `ps` on a domain, by the titles of their columns.
fn described(shell: &mut Shell, domain: &str) -> impl Fn(&str) -> String + use<> {
    let list = shell.must("ps");
    let cells = |line: &str| -> Vec<String> {
        // There are two spaces between columns, and single ones within.
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(Into::into).collect()
    };
    let titles = cells(list.lines().next().unwrap_or_default());
    let line = list.lines().find(|line| line.split_whitespace().next() == Some(domain));
    let row = cells(line.unwrap_or_else(|| panic!("`ps` does not list {domain}:\n{list}")));
    move |title| {
        let column = titles.iter().position(|found| found == title);
        let cell = column.and_then(|column| row.get(column));
        cell.unwrap_or_else(|| panic!("`ps` has no {title}:\n{list}")).clone()
    }
}

/// A duration as the shell shows short ones: a number and its unit.
fn duration(text: &str) -> Duration {
    let (number, unit) = text.split_once(' ').unwrap_or_else(|| panic!("no duration: {text}"));
    let number: f64 = number.parse().unwrap_or_else(|_| panic!("no number: {text}"));
    let unit = match unit {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => panic!("no unit: {text}"),
    };
    Duration::from_secs_f64(number * unit)
}

/// How long the machine has been up, by its own clock.
fn uptime(shell: &mut Shell) -> Duration {
    duration(shell.must("uptime").trim())
}

/// How often the log says that a domain's processor is not there.
fn notes_on_processors(shell: &mut Shell) -> usize {
    shell.must("log -n 100000").lines().filter(|line| line.contains("the machine has no processor")).count()
}

#[test]
fn a_domain_has_the_processor_that_the_manifest_says_where_there_is_one() {
    let mut bench = Bench::without_disk();
    bench.machine.cpus = Cpus(2);
    let mut shell = bench.boot();
    shell.must("ping");
    for (domain, processor) in [("supervisor", "0"), ("echo", "1"), ("fat", "0"), ("shell", "0")] {
        assert_eq!(described(&mut shell, domain)("CPU"), processor, "of {domain}");
    }
    shell.must("kill echo");
    shell.must("ping");
    assert_eq!(described(&mut shell, "echo")("CPU"), "1", "after a restart");
    assert_eq!(notes_on_processors(&mut shell), 0);
    shell.shut_down();
}

#[test]
fn on_one_processor_everybody_runs_there_and_the_log_says_so_once() {
    let mut bench = Bench::without_disk();
    bench.machine.cpus = Cpus(1);
    let mut shell = bench.boot();
    shell.must("ping");
    assert_eq!(described(&mut shell, "echo")("CPU"), "0");
    shell.must("kill echo");
    shell.must("ping");
    assert_eq!(described(&mut shell, "echo")("CPU"), "0");
    assert_eq!(notes_on_processors(&mut shell), 1);
    shell.shut_down();
}

#[test]
fn a_bounded_server_that_loops_for_ever_gets_no_more_than_its_budget() {
    let mut bench = Bench::without_disk();
    // Instructions are its clock: that the host is busy with something else does not count as time that was used.
    bench.machine.extra.extend(["-icount", "shift=4,sleep=off"].map(Into::into));
    let mut shell = bench.boot();
    shell.must("ping");
    let before = described(&mut shell, "echo");
    assert_eq!(before("BUDGET"), "2/10ms");
    let began = uptime(&mut shell);
    shell.must("crash echo hang");
    // It is noticed after two seconds at the earliest.
    shell.must("sleep 1");
    let during = described(&mut shell, "echo");
    let elapsed = uptime(&mut shell) - began;
    assert_eq!(during("RESTARTS"), "0", "it is still the same instance");
    let used = duration(&during("TIME")).saturating_sub(duration(&before("TIME")));
    assert!(used > Duration::from_millis(20), "it does not loop: {used:?} in {elapsed:?}");
    let share = elapsed / 5 + Duration::from_millis(20);
    assert!(used <= share, "it used {used:?} in {elapsed:?}");
    shell.shut_down();
}

#[test]
fn the_supervisor_tells_what_it_holds_itself() {
    let mut shell = Bench::without_disk().boot();
    let held = shell.must("caps supervisor");
    // Every domain, to take it apart, and its budget; and itself, to look only.
    let rights = |kind: &str, rights: &str| {
        held.lines().filter(|line| line.contains(&format!(" {kind} ")) && line.ends_with(rights)).count()
    };
    assert_eq!(rights("domain", "grant spawn inspect destroy"), rights("budget", "bind destroy move"));
    assert!(rights("domain", "  inspect") == 1, "{held}");
    shell.shut_down();
}
