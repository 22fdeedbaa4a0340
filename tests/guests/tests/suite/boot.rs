//! Kernels of several kinds come up.

use guest_tests::{RUNNING, SOON, at_console, await_state, bench, fetched, handmade, linux, linux_of};
use xtask::guest::{Entry, Kernel, Processors, handmade as kernels};
use xtask::machine::Cpus;

/// Boots a Linux to its shell and asks it what it is.
fn comes_up(kernel: Kernel) {
    let bench = bench(&[("linux", linux_of(kernel))]);
    let mut shell = bench.boot();
    at_console(&mut shell, "linux", |guest| {
        assert_eq!(guest.ask_line("uname -r"), fetched(kernel).version);
        assert_eq!(guest.ask_line("echo $((6*7))"), "42");
        assert_eq!(guest.ask_line("nproc"), "1");
    });
    await_state(&mut shell, "linux", RUNNING);
    assert!(shell.must("guest list").contains("linux"), "it is listed");
    shell.shut_down();
}

#[test]
fn a_linux_boots_to_its_shell_and_does_what_is_typed() {
    comes_up(Kernel::Linux);
}

#[test]
fn a_linux_of_another_version_boots_to_its_shell() {
    comes_up(Kernel::Other);
}

#[test]
fn a_linux_that_was_unpacked_boots_by_its_pvh_entry() {
    comes_up(Kernel::Unpacked);
}

/// Boots a Linux of two processors in a machine of so many, and has both work.
fn uses_both_of_its_processors(of_machine: u32) {
    let mut bench = bench(&[("linux", Entry { processors: Processors(2), ..linux() })]);
    bench.machine.cpus = Cpus(of_machine);
    let mut shell = bench.boot();
    at_console(&mut shell, "linux", |guest| {
        assert_eq!(guest.ask_line("nproc"), "2");
        for processor in 0..2 {
            let sum = format!("dd if=/dev/zero bs=64k count=16 2>&- | taskset -c {processor} sha256sum");
            let expected = guest_tests::sha256(&vec![0; 1 << 20]);
            assert!(guest.ask(&sum).contains(&expected), "processor {processor}");
        }
        let times = guest.ask("grep '^cpu[01]' /proc/stat");
        assert_eq!(times.lines().count(), 2, "{times}");
    });
    shell.shut_down();
}

#[test]
fn a_linux_of_two_processors_uses_both() {
    uses_both_of_its_processors(2);
}

#[test]
fn a_linux_of_two_processors_boots_on_one() {
    uses_both_of_its_processors(1);
}

#[test]
fn a_kernel_that_is_no_linux_boots_and_speaks() {
    let bench = bench(&[("handmade", handmade("greeting", &kernels::greeting()))]);
    let mut shell = bench.boot();
    let attached = shell.begin("guest console handmade");
    let heard = shell.session().console().expect_from(0, kernels::GREETING, SOON);
    heard.unwrap_or_else(|error| panic!("{error}"));
    guest_tests::leave(&mut shell);
    assert!(shell.finish(attached).succeeded);
    shell.shut_down();
}

#[test]
fn a_guest_that_is_not_to_start_by_itself_starts_when_it_is_told_to() {
    let bench = bench(&[("linux", Entry { starts: false, ..linux() })]);
    let mut shell = bench.boot();
    let info = shell.must("guest info linux");
    assert!(!info.contains(RUNNING), "{info}");
    shell.must("guest start linux");
    shell.must_fail("guest start linux");
    at_console(&mut shell, "linux", |guest| assert_eq!(guest.ask_line("echo here"), "here"));
    shell.shut_down();
}
