//! Commands that other domains carry out.

use crate::conversation::World;
use interfaces::command::CommandError;
use userlib::abi::Error;
use userlib::ipc::CallError;

fn world(outcome: Result<&str, CallError<CommandError>>) -> World {
    let world = World::default();
    world.apps.put("greeter", outcome);
    world
}

#[test]
fn an_app_is_run_by_its_name_with_the_words_behind_it() {
    let world = world(Ok("hello, big world\n"));
    assert_eq!(world.shell().done("greeter  hello 'big  world'"), "hello, big world\n");
    assert_eq!(*world.apps.calls.borrow(), ["greeter(hello big  world)"]);
    // Behind commands that take commands, too, and without a line feed at the end.
    world.apps.put("greeter", Ok("hello"));
    assert_eq!(world.shell().done("repeat 2 greeter"), "hello\nhello\n");
}

#[test]
fn help_lists_apps_and_explains_that_they_are_domains() {
    let world = world(Ok(""));
    let mut shell = world.shell();
    assert!(shell.done("help").contains("\nOther domains\n  greeter   an app of the manifest"));
    assert!(shell.done("help greeter").starts_with("greeter [ARGUMENT...]\n"));
    assert!(shell.refused("help greter").contains("do you mean `greeter`?"));
    assert!(!World::default().shell().done("help").contains("Other domains"));
}

#[test]
fn tab_completes_an_app() {
    let world = world(Ok("hello"));
    assert!(world.shell().types("gre\t").ends_with("greeter "));
}

#[test]
fn a_command_of_the_shell_wins_over_an_app_of_the_same_name() {
    let world = World::default();
    world.apps.put("echo", Ok("not me"));
    assert_eq!(world.shell().done("echo me"), "me\n");
    assert!(world.apps.calls.borrow().is_empty());
}

#[test]
fn what_an_app_cannot_do_is_reported_under_its_name() {
    for (error, sentence) in [
        (
            CallError::Failed(CommandError::usage("greeter WORDS")),
            "greeter: the arguments do not fit; usage: greeter WORDS.\n",
        ),
        (CallError::Failed(CommandError::failed("nobody is there")), "greeter: nobody is there.\n"),
        (CallError::Failed(CommandError::failed("it is\n\x1b[2J")), "greeter: it is\u{fffd}\u{fffd}[2J.\n"),
    ] {
        assert_eq!(world(Err(error)).shell().refused("greeter x"), sentence);
    }
}

#[test]
fn the_death_of_an_app_is_reported_and_the_shell_goes_on() {
    let world = world(Err(CallError::ServerDied));
    let mut shell = world.shell();
    assert!(shell.refused("greeter x").starts_with("greeter: the app died while it was working on it"));
    assert_eq!(shell.done("echo on"), "on\n");
    world.apps.put("greeter", Err(CallError::TimedOut));
    assert!(shell.refused("greeter x").contains("did not answer in time"));
    world.apps.put("greeter", Err(CallError::Refused(Error::EndpointGone)));
    assert!(shell.refused("greeter x").contains("gone for good"));
}

#[test]
fn more_than_an_app_may_say_is_cut_off_with_a_word_about_it() {
    let world = world(Ok(&"0123456789abcde\n".repeat(4097)));
    let shown = world.shell().refused("greeter");
    assert_eq!(shown.lines().filter(|line| *line == "0123456789abcde").count(), 4096);
    assert!(shown.ends_with("greeter: 16 bytes of what it said are left out; an app can show 64 KiB at once.\n"));
}

#[test]
fn what_an_app_says_cannot_steer_the_terminal() {
    let world = world(Ok("a\x1b[2Jb\u{7}\n"));
    assert_eq!(world.shell().done("greeter"), "a\u{fffd}[2Jb\u{fffd}\n");
}
