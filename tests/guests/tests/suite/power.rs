//! Guests switch themselves off, start again, and are switched off.

use guest_tests::{BOOT_LIMIT, POWERED_OFF, RUNNING, at_console, await_state, bench, leave, linux};
use system_tests::Shell;
use xtask::guest::Dialogue;
use xtask::session;

/// Says something in a guest after which it has no prompt any more, and comes back to Bulkhead's shell.
fn say(shell: &mut Shell, command: &str) {
    let attached = shell.begin("guest console linux");
    let begun = Dialogue::begin_anew(shell.session().console(), BOOT_LIMIT);
    begun.and_then(|mut guest| guest.say(command)).unwrap_or_else(|error| panic!("{error}"));
    // The console may have ended by itself when its guest was off; then the key means nothing to the shell.
    std::thread::sleep(std::time::Duration::from_secs(2));
    leave(shell);
    let ended = shell.session().finish(attached, session::COMMAND_LIMIT);
    ended.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_guest_that_switches_itself_off_is_off_and_starts_again() {
    let bench = bench(&[("linux", linux())]);
    let mut shell = bench.boot();
    for _ in 0..2 {
        say(&mut shell, "poweroff -f");
        await_state(&mut shell, "linux", POWERED_OFF);
        shell.must("guest start linux");
        at_console(&mut shell, "linux", |guest| assert_eq!(guest.ask_line("echo again"), "again"));
    }
    shell.shut_down();
}

#[test]
fn a_shell_that_is_left_switches_its_guest_off() {
    let bench = bench(&[("linux", linux())]);
    let mut shell = bench.boot();
    say(&mut shell, "exit");
    await_state(&mut shell, "linux", POWERED_OFF);
    shell.shut_down();
}

#[test]
fn a_guest_that_resets_its_machine_comes_up_again() {
    let bench = bench(&[("linux", linux())]);
    let mut shell = bench.boot();
    at_console(&mut shell, "linux", |guest| guest.ask("gone=word"));
    say(&mut shell, "reboot -f");
    await_state(&mut shell, "linux", RUNNING);
    at_console(&mut shell, "linux", |guest| assert_eq!(guest.ask_line("echo gone: $gone"), "gone:"));
    shell.shut_down();
}

#[test]
fn a_guest_whose_power_button_is_pressed_switches_itself_off() {
    let bench = bench(&[("linux", linux())]);
    let mut shell = bench.boot();
    at_console(&mut shell, "linux", |guest| guest.ask("pidof acpid"));
    shell.must("guest stop linux");
    await_state(&mut shell, "linux", POWERED_OFF);
    let why = shell.must_fail("guest stop linux");
    assert!(why.contains("off"), "{why}");
    shell.shut_down();
}

#[test]
fn a_guest_that_is_killed_is_off_at_once_and_starts_again() {
    let bench = bench(&[("linux", linux())]);
    let mut shell = bench.boot();
    at_console(&mut shell, "linux", |guest| guest.ask("gone=word"));
    shell.must("guest kill linux");
    let info = shell.must("guest info linux");
    assert!(!info.contains(RUNNING), "{info}");
    shell.must("guest start linux");
    at_console(&mut shell, "linux", |guest| assert_eq!(guest.ask_line("echo gone: $gone"), "gone:"));
    shell.shut_down();
}
