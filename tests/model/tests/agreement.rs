//! Two searchers that share no code count the same states, and what they call the same state has the same future.

use model::depth_first::count;
use model::event::Event;
use model::fingerprint::{Fingerprint, fingerprint};
use model::scenarios::{self, by_name};
use model::search::{Limits, Scenario, search};
use model::sizes::Tiny;
use model::{Machine, depth_first};
use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

fn scenario(name: &str) -> &'static Scenario {
    by_name(name).expect("a scenario of that name")
}

/// How far from the start both go where there is no end: everything that the first searcher visits in about a second.
const DEPTHS: [(&str, usize); 8] = [
    ("ipc", 3),
    ("authority", 3),
    ("budgets", 5),
    ("processors", 6),
    ("shootdowns", 4),
    ("devices", 3),
    ("guests", 4),
    ("everything", 2),
];

fn first(scenario: &Scenario, depth: usize) -> usize {
    let report = search(scenario, Limits { depth, threads: 2, ..Limits::NONE }, None);
    if let Some(counterexample) = report.counterexample {
        panic!("{}: {counterexample}", scenario.name);
    }
    report.states
}

fn compare_to_the_end(name: &str) {
    let report = search(scenario(name), Limits { threads: 2, ..Limits::NONE }, None);
    assert!(report.complete && report.counterexample.is_none());
    let depth_first::Count { states, longest } = count(scenario(name), None);
    assert_eq!(report.states, states, "{name}");
    assert!(longest > report.depth, "the second one went deep, not broad: {longest} events");
    println!("{name}: both searchers find {states} states, and there are no more");
}

#[test]
fn both_searchers_find_every_state_that_calls_can_reach() {
    compare_to_the_end("calls");
}

#[test]
fn both_searchers_find_every_state_that_two_processors_can_reach() {
    compare_to_the_end("processors");
}

#[test]
fn both_searchers_find_the_same_number_of_states_near_the_start() {
    for (name, depth) in DEPTHS {
        let states = first(scenario(name), depth);
        assert_eq!(count(scenario(name), Some(depth)).states, states, "{name} to depth {depth}");
        println!("{name}: both searchers find {states} states at most {depth} events away from the start");
    }
}

/// A state that one searcher is made to overlook: the one after the first slice, of which there is no other way.
static OVERLOOKED: OnceLock<Fingerprint> = OnceLock::new();

fn all_but_one(machine: &Machine<Tiny>) -> Vec<Event> {
    let mut events = (scenario("calls").events)(machine);
    events.retain(|event| {
        let mut after = machine.clone();
        event.apply(&mut after);
        Some(&fingerprint(&after)) != OVERLOOKED.get()
    });
    events
}

#[test]
fn a_searcher_that_overlooks_one_state_is_noticed() {
    let scenario = scenario("calls");
    let start = (scenario.start)();
    let event = (scenario.events)(&start).into_iter().find(|event| !event.is_refused(&start)).expect("an event");
    let mut overlooked = start.clone();
    event.apply(&mut overlooked);
    assert_ne!(fingerprint(&start), fingerprint(&overlooked));
    OVERLOOKED.set(fingerprint(&overlooked)).expect("set once");
    let blind = Scenario { events: all_but_one, ..*scenario };
    // One event from the start just that state is missing, and farther away all that only it leads to.
    assert_eq!(count(scenario, Some(1)).states, first(&blind, 1) + 1);
    assert!(count(scenario, Some(3)).states > first(&blind, 3));
}

/// What can become of a state.
fn futures(scenario: &Scenario, machine: &Machine<Tiny>) -> BTreeSet<Fingerprint> {
    let after = |event: Event| {
        let mut after = machine.clone();
        event.apply(&mut after);
        fingerprint(&after)
    };
    (scenario.events)(machine).into_iter().map(after).collect()
}

/// Visits states in all ways that there are, and compares what can become of them.
fn compare_futures(scenario: &Scenario, depth: usize) {
    let start = (scenario.start)();
    let mut known = HashMap::from([(fingerprint(&start), futures(scenario, &start))]);
    let mut frontier = vec![start];
    for _ in 0..depth {
        let mut next = Vec::new();
        for before in &frontier {
            for event in (scenario.events)(before).into_iter().filter(|event| !event.is_refused(before)) {
                let mut after = before.clone();
                event.apply(&mut after);
                let futures = futures(scenario, &after);
                match known.get(&fingerprint(&after)) {
                    Some(known) => assert!(
                        *known == futures,
                        "{}: after {} a state has another future than a state like it",
                        scenario.name,
                        event.describe(before)
                    ),
                    None => {
                        known.insert(fingerprint(&after), futures);
                        next.push(after);
                    }
                }
            }
        }
        frontier = next;
    }
}

#[test]
fn states_that_count_as_one_have_the_same_future() {
    compare_futures(scenario("calls"), 4);
    for (name, depth) in DEPTHS {
        compare_futures(scenario(name), depth - 1);
    }
    assert_eq!(DEPTHS.len() + 1, scenarios::ALL.len());
}
