//! `cargo xtask new` and `remove`, from nothing to an answer at the shell and back.

use system_tests::Bench;
use xtask::scaffold::{Kind, OperatingSystem};

use crate::copy::{Copy, run_tests_of};

/// Makes a `kind` called `trial` in `parent`, boots with it, has it asked `question`, and removes it again.
fn comes_answers_and_goes(kind: Kind, parent: Option<&str>, question: &str, answer: &str) {
    // First the tree that is tested: of the copy only what is new is then built, and nothing that lasts refers to it.
    let mut bench = Bench::without_disk();
    let copy = Copy::make();
    let tree = copy.tree();
    let before = copy.state();
    let parent = parent.map(|parent| copy.surroundings().join(parent));
    let change = tree.create(kind, "trial", parent.as_deref()).expect("the name is free");
    change.carry_out(&mut OperatingSystem).expect("there is room");
    run_tests_of(change.folder().expect("it makes a folder"), &[]);
    copy.build_for(&mut bench);
    let mut shell = bench.boot();
    assert_eq!(shell.must(question).trim_end(), answer);
    // The command is a domain of its own: it comes back without its server having noticed anything.
    shell.must("crash trial-command panic");
    assert!((0..20).any(|_| shell.run(question).succeeded), "{}", shell.transcript());
    shell.shut_down();
    tree.remove("trial", false).expect("nothing was edited").carry_out(&mut OperatingSystem).expect("it is there");
    assert_eq!(copy.state(), before);
}

#[test]
fn a_new_server_in_the_tree_answers_at_the_shell_and_goes_without_a_trace() {
    comes_answers_and_goes(Kind::Server, None, "trial hello world", "trial: hello world (answer 1)");
}

#[test]
fn a_new_server_outside_of_the_tree_answers_at_the_shell_and_goes_without_a_trace() {
    comes_answers_and_goes(Kind::Server, Some("mine"), "trial hello world", "trial: hello world (answer 1)");
}

#[test]
fn a_new_driver_in_the_tree_answers_at_the_shell_and_goes_without_a_trace() {
    comes_answers_and_goes(Kind::Driver, None, "trial 5", "120");
}

#[test]
fn a_new_driver_outside_of_the_tree_answers_at_the_shell_and_goes_without_a_trace() {
    comes_answers_and_goes(Kind::Driver, Some("mine"), "trial 5", "120");
}
