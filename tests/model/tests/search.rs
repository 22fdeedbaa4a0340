//! The search itself: it visits what it promises, and it finds what is broken.

use abi::Syscall;
use abi::message::MessageInfo;
use abi::time::NEVER;
use model::event::Event;
use model::scenarios;
use model::search::{Limits, search};
use model::walk::{Walks, walk};

fn visit(name: &str, states: usize) {
    let scenario = scenarios::by_name(name).expect("a scenario of that name");
    let report = search(scenario, Limits { states, threads: 2, ..Limits::NONE }, None);
    if let Some(counterexample) = report.counterexample {
        panic!("{name}: {counterexample}");
    }
    assert!(report.complete || report.states >= states, "{name}: only {} states", report.states);
}

#[test]
fn every_invariant_holds_in_every_state_that_calls_can_reach() {
    let scenario = scenarios::by_name("calls").expect("a scenario of that name");
    let report = search(scenario, Limits { states: 1_000_000, threads: 2, ..Limits::NONE }, None);
    if let Some(counterexample) = report.counterexample {
        panic!("{counterexample}");
    }
    assert!(report.complete && report.states > 50_000, "{} states", report.states);
}

#[test]
fn every_invariant_holds_in_twenty_thousand_states_of_calls_and_faults() {
    visit("ipc", 20_000);
}

#[test]
fn every_invariant_holds_in_twenty_thousand_states_of_derivation_and_mapping() {
    visit("authority", 20_000);
}

#[test]
fn every_invariant_holds_in_twenty_thousand_states_of_all_system_calls() {
    visit("everything", 20_000);
}

#[test]
fn a_search_is_the_same_with_one_thread_and_with_two() {
    let scenario = scenarios::by_name("ipc").expect("a scenario of that name");
    let one = search(scenario, Limits { states: 2_000, ..Limits::NONE }, None);
    let two = search(scenario, Limits { states: 2_000, threads: 2, ..Limits::NONE }, None);
    assert_eq!(one.depth, two.depth);
}

#[test]
fn a_seeded_bug_is_found_and_told_as_a_shortest_script() {
    // A world that forgets a mapping as soon as somebody waits: the page tables no longer agree.
    let scenario = scenarios::by_name("ipc").expect("a scenario of that name");
    let report = search(
        scenario,
        Limits { states: 10_000, ..Limits::NONE },
        Some(|machine| {
            if machine.kernel.first_deadline(machine.cpu).is_some()
                && let Some(space) = machine.world.spaces.values_mut().next()
            {
                space.leaves.clear();
            }
        }),
    );
    let counterexample = report.counterexample.expect("the bug is found");
    assert_eq!(counterexample.script.len(), 1, "{counterexample}");
    assert!(counterexample.violation.contains("maps"), "{counterexample}");
}

#[test]
fn the_search_sees_through_names_of_past_things() {
    // A refused call changes the clock and nothing else; a call that timed out at once only a call number.
    let scenario = scenarios::by_name("ipc").expect("a scenario of that name");
    let mut machine = (scenario.start)();
    let before = model::fingerprint::fingerprint(&machine);
    Event::syscall(Syscall::Reply, &[99, MessageInfo::new(0, 0).0]).apply(&mut machine);
    assert_eq!(model::fingerprint::fingerprint(&machine), before);
    Event::syscall(Syscall::Wait, &[0, NEVER]).apply(&mut machine);
    assert_ne!(model::fingerprint::fingerprint(&machine), before);
}

#[test]
fn every_invariant_holds_far_from_the_start() {
    for scenario in &scenarios::ALL {
        if let Err((seed, counterexample)) = walk(scenario, Walks { seed: 1, walks: 40, steps: 1000 }) {
            panic!("{}: seed {seed}: {counterexample}", scenario.name);
        }
    }
}
