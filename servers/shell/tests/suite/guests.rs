//! Guests at the shell.

use crate::conversation::World;
use crate::machines::Machine;
use interfaces::guest::{GuestState, NetworkInfo};
use interfaces::link::{Address, PortStatistics};
use std::time::Duration;

const LEAVE: &[u8] = b"\x1d";

/// A world with the guest `linux`, which is on.
fn world() -> (World, &'static Machine) {
    let world = World::default();
    let linux = world.guests.put("linux");
    (world, linux)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_system_without_guests_says_how_it_gets_one() {
    let world = World::default();
    let sentence = "guest: this system has no guests: [guest.NAME] in system.toml makes one.\n";
    assert_eq!(world.shell().refused("guest list"), sentence);
    assert_eq!(world.shell().refused("guest start linux"), sentence);
}

#[test]
fn guests_are_listed_with_what_they_do() {
    let (world, _) = world();
    world.guests.put("other").state.set(GuestState::PoweredOff);
    world.guests.put("silent").dies_after.set(Some(0));
    assert_eq!(
        world.shell().done("guest list"),
        "NAME    STATE             MEMORY  CPUS      UPTIME\n\
         linux   running          128 MiB     2  1 min 30 s\n\
         other   powered off      128 MiB     2           -\n\
         silent  does not answer        -     -           -\n"
    );
}

#[test]
fn all_that_is_known_of_a_guest_is_shown() {
    let (world, _) = world();
    assert_eq!(
        world.shell().done("guest info linux"),
        "GUEST                       linux\n\
         state                     running\n\
         uptime                 1 min 30 s\n\
         memory                    128 MiB\n\
         memory touched             40 MiB\n\
         processors                      2\n\
         processors started              1\n\
         disks                           3\n\
         exits to the monitor       123456\n\
         resets of its machine           4\n"
    );
}

#[test]
fn of_a_guest_on_a_link_is_shown_what_became_of_its_frames() {
    let (world, linux) = world();
    let statistics = PortStatistics { passed_on: 100, delivered: 90, lost: 8, forged: 7, unknown: 6, malformed: 5 };
    linux.network.set(Some(NetworkInfo { address: Address::of_domain(0x109), statistics }));
    let shown = world.shell().done("guest info linux");
    let network: Vec<_> = shown.lines().skip_while(|line| !line.starts_with("network")).collect();
    assert_eq!(
        network,
        [
            "network address              02:62:68:00:01:09",
            "frames passed on                           100",
            "frames delivered                            90",
            "lost: not taken in time                      8",
            "dropped: of another address                  7",
            "dropped: for nobody                          6",
            "dropped: of a wrong length                   5",
        ]
    );
}

#[test]
fn a_guest_is_switched_on_and_off() {
    let (world, linux) = world();
    let mut shell = world.shell();
    assert_eq!(
        shell.refused("guest start linux"),
        "guest: cannot start linux: the guest is running already; `guest kill linux` takes its power away.\n"
    );
    shell.done("guest stop linux");
    assert_eq!(linux.state.get(), GuestState::Stopping);
    shell.done("guest kill linux");
    assert_eq!(linux.state.get(), GuestState::Off);
    assert_eq!(
        shell.refused("guest stop linux"),
        "guest: cannot stop linux: the guest is off; `guest start linux` switches it on.\n"
    );
    shell.done("guest start linux");
    assert_eq!(linux.state.get(), GuestState::Running);
}

#[test]
fn who_is_meant_and_what_is_to_be_done_must_be_clear() {
    let (world, _) = world();
    world.guests.put("other");
    let mut shell = world.shell();
    assert_eq!(shell.refused("guest info x"), "guest: no guest is called 'x': there are linux, other.\n");
    assert!(shell.refused("guest").contains("what to do is missing; `help guest`"));
    assert!(shell.refused("guest start").contains("the name of a guest is missing"));
    assert!(shell.refused("guest start linux other").contains("`other` is one too many"));
    assert!(shell.refused("guest list all").contains("`all` is one too many"));
    assert!(shell.refused("guest boot linux").contains("`boot` is none of list, start, stop, kill, info and console"));
}

#[test]
fn tab_completes_what_to_do_and_with_whom() {
    let (world, _) = world();
    world.guests.put("other");
    assert!(world.shell().types("guest con\t").ends_with("guest console "));
    assert!(world.shell().types("guest kill ot\t").ends_with("guest kill other "));
    assert!(world.shell().types("gue\t").ends_with("guest "));
}

#[test]
fn a_monitor_that_dies_is_not_silent() {
    let (world, linux) = world();
    linux.dies_after.set(Some(0));
    let shown = world.shell().refused("guest kill linux");
    assert!(
        shown.starts_with("guest: cannot kill linux: the guest's monitor died while it was working on it"),
        "{shown}"
    );
}

#[test]
fn at_a_console_what_is_typed_goes_to_the_guest_and_what_it_says_is_shown() {
    let (world, linux) = world();
    linux.write(b"login: ");
    // Ctrl-C and a cursor key are the guest's, too.
    world.desk.will_type_at(seconds(1), b"root\x03");
    world.desk.will_type_at(seconds(2), b"\x1b[A\r");
    world.desk.will_type_at(seconds(3), LEAVE);
    assert_eq!(world.shell().done("guest console linux"), "Ctrl-] leaves linux.\nlogin: root\x03\x1b[A\r\n");
    assert_eq!(*linux.typed.borrow(), b"root\x03\x1b[A\r");
}

#[test]
fn what_comes_behind_the_leaving_key_is_the_shells() {
    let (world, linux) = world();
    world.desk.will_type_at(seconds(1), b"a\x1decho b\r");
    let shown = world.shell().types("guest console linux\r");
    assert!(shown.contains("\r\nb\r\nbulkhead> "), "{shown}");
    assert_eq!(*linux.typed.borrow(), b"a");
}

#[test]
fn a_console_at_which_nothing_happens_is_looked_at_less_often_until_something_does() {
    let (world, linux) = world();
    world.desk.will_type_at(seconds(2), b"a");
    world.desk.will_type_at(seconds(4), LEAVE);
    world.shell().done("guest console linux");
    let waits = linux.waits.borrow();
    let (first, longest) = (waits[0], *waits.iter().max().unwrap());
    assert_eq!(longest, 4 * first);
    assert!(waits.windows(2).all(|pair| pair[1] == longest.min(2 * pair[0]) || pair[1] <= first), "{waits:?}");
    let again = waits.iter().skip_while(|wait| **wait < longest).position(|wait| *wait == first);
    assert!(again.is_some(), "what was typed changes nothing: {waits:?}");
    assert_eq!(*waits.last().unwrap(), longest);
}

#[test]
fn only_the_end_of_what_was_written_before_is_shown() {
    let (world, linux) = world();
    linux.write("0123456789abcd\r\n".repeat(1000).as_bytes());
    world.desk.will_type_at(seconds(1), LEAVE);
    let shown = world.shell().done("guest console linux");
    assert_eq!(shown.lines().filter(|line| *line == "0123456789abcd").count(), 512 / 16, "{shown}");
}

#[test]
fn bytes_that_are_no_text_reach_the_terminal_as_they_are() {
    let (world, linux) = world();
    linux.write("grün".as_bytes());
    world.desk.will_type_at(seconds(1), "ü".as_bytes());
    world.desk.will_type_at(seconds(2), LEAVE);
    assert_eq!(world.shell().done("guest console linux"), "Ctrl-] leaves linux.\ngrünü\n");
}

#[test]
fn a_guest_that_takes_little_at_once_gets_all_by_and_by() {
    let (world, linux) = world();
    linux.takes.set(3);
    world.desk.will_type_at(seconds(1), b"0123456789");
    world.desk.will_type_at(seconds(2), LEAVE);
    world.shell().done("guest console linux");
    assert_eq!(*linux.typed.borrow(), b"0123456789");
}

#[test]
fn a_guest_that_takes_nothing_can_be_left() {
    let (world, linux) = world();
    linux.takes.set(0);
    world.desk.will_type_at(seconds(1), b"hello?");
    world.desk.will_type_at(seconds(2), LEAVE);
    world.shell().done("guest console linux");
    assert_eq!(*linux.typed.borrow(), b"");
}

#[test]
fn what_nobody_fetched_in_time_is_said_to_be_lost() {
    let (world, linux) = world();
    linux.write(&[b'x'; 5000]);
    linux.kept_from.set(4990);
    world.desk.will_type_at(seconds(1), LEAVE);
    assert_eq!(world.shell().done("guest console linux"), "Ctrl-] leaves linux.\nxxxxxxxxxx\n");
}

#[test]
fn the_console_of_a_guest_that_switches_itself_off_ends_with_its_last_words() {
    for (state, how) in [
        (GuestState::PoweredOff, "has switched itself off"),
        (GuestState::Crashed, "has crashed, and stands still"),
        (GuestState::Off, "is off"),
    ] {
        let (world, linux) = world();
        linux.ends_as.set(Some(state));
        world.desk.will_type_at(seconds(1), b"poweroff\r");
        let expected =
            format!("Ctrl-] leaves linux.\npoweroff\nbye\nlinux {how}; `guest start linux` switches it on.\n");
        assert_eq!(world.shell().done("guest console linux"), expected);
    }
}

#[test]
fn the_console_of_a_guest_whose_monitor_dies_ends_with_a_word_about_it() {
    let (world, linux) = world();
    linux.write(b"working\r\n");
    linux.dies_after.set(Some(20));
    let shown = world.shell().refused("guest console linux");
    assert_eq!(
        shown,
        "Ctrl-] leaves linux.\nworking\nguest: the monitor of linux died, and the guest with it; `log linux` tells why, and \
         `guest list` what it does now.\n"
    );
}

#[test]
fn keys_for_a_guest_whose_monitor_dies_of_them_are_not_typed_again() {
    let (world, linux) = world();
    linux.takes.set(0);
    world.desk.will_type_at(seconds(1), b"x");
    linux.dies_after.set(Some(80));
    assert!(world.shell().refused("guest console linux").contains("the monitor of linux died"));
}
