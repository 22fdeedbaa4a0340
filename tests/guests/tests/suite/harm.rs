//! Guests that mean harm, or that nothing can be done with any more, harm nobody.

use std::time::Duration;

use guest_tests::{
    BOOT_LIMIT, CRASHED, RUNNING, SOON, assert_others_work, at_console, await_state, bench, handmade, leave, linux,
    restarts,
};
use system_tests::Shell;
use xtask::guest::{Dialogue, handmade as kernels};

/// For how long others are asked again and again beside a guest that means harm.
const WHILE: Duration = Duration::from_secs(5);

fn assert_others_work_for_a_while(shell: &mut Shell) {
    let begun = std::time::Instant::now();
    while begun.elapsed() < WHILE {
        assert_others_work(shell);
    }
    for domain in ["uart", "pci", "virtio-blk", "fat", "echo"] {
        assert_eq!(restarts(shell, domain), 0, "{domain} died of a guest");
    }
}

#[test]
fn a_guest_that_spins_with_interrupts_off_harms_nobody_and_can_be_killed() {
    let bench = bench(&[("spinning", handmade("spinning", &kernels::spinning()))]);
    let mut shell = bench.boot();
    await_state(&mut shell, "spinning", RUNNING);
    assert_others_work_for_a_while(&mut shell);
    shell.must("guest kill spinning");
    let info = shell.must("guest info spinning");
    assert!(!info.contains(RUNNING), "{info}");
    shell.must("guest start spinning");
    await_state(&mut shell, "spinning", RUNNING);
    assert_eq!(restarts(&mut shell, "spinning"), 0, "its monitor needs no restart for that");
    shell.shut_down();
}

#[test]
fn a_guest_that_breaks_its_processor_stands_still_and_starts_again() {
    let bench = bench(&[("broken", handmade("broken", &kernels::triple_fault()))]);
    let mut shell = bench.boot();
    await_state(&mut shell, "broken", CRASHED);
    assert_others_work_for_a_while(&mut shell);
    shell.must("guest start broken");
    await_state(&mut shell, "broken", CRASHED);
    assert_eq!(restarts(&mut shell, "broken"), 0, "its monitor outlives it");
    shell.shut_down();
}

#[test]
fn a_guest_that_floods_its_serial_port_harms_nobody_and_can_be_left() {
    let bench = bench(&[("flooding", handmade("flooding", &kernels::flooding()))]);
    let mut shell = bench.boot();
    await_state(&mut shell, "flooding", RUNNING);
    assert_others_work_for_a_while(&mut shell);
    let attached = shell.begin("guest console flooding");
    let heard = shell.session().console().expect_from(0, "flood flood flood", SOON);
    heard.unwrap_or_else(|error| panic!("{error}"));
    leave(&mut shell);
    assert!(shell.finish(attached).succeeded);
    assert_others_work(&mut shell);
    shell.shut_down();
}

#[test]
fn a_linux_that_panics_harms_nobody() {
    let bench = bench(&[("linux", linux()), ("beside", linux())]);
    let mut shell = bench.boot();
    at_console(&mut shell, "beside", |guest| assert_eq!(guest.ask_line("echo up"), "up"));
    let attached = shell.begin("guest console linux");
    let begun = Dialogue::begin(shell.session().console(), BOOT_LIMIT);
    let typed = begun.and_then(|mut guest| guest.say("echo c > /proc/sysrq-trigger"));
    typed.unwrap_or_else(|error| panic!("{error}"));
    let heard = shell.session().console().expect_from(0, "Kernel panic", SOON);
    heard.unwrap_or_else(|error| panic!("{error}"));
    leave(&mut shell);
    shell.finish(attached);
    assert_others_work_for_a_while(&mut shell);
    at_console(&mut shell, "beside", |guest| assert_eq!(guest.ask_line("echo still up"), "still up"));
    shell.must("guest kill linux");
    shell.must("guest start linux");
    at_console(&mut shell, "linux", |guest| assert_eq!(guest.ask_line("echo up again"), "up again"));
    shell.shut_down();
}
