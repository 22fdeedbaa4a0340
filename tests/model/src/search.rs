//! Breadth-first search over everything that can happen, so that the first counterexample is a shortest one.

use crate::event::Event;
use crate::fingerprint::{Fingerprint, Fingerprints, Recorder};
use crate::law::Before;
use crate::machine::Machine;
use crate::script::{Counterexample, script};
use crate::sizes::Tiny;
use crate::tree::{Breakage, Climber, Tree};
use crate::watch;
use std::time::{Duration, Instant};

/// A machine to start from, and what can happen on it.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// Makes the first state.
    pub start: fn() -> Machine<Tiny>,
    /// What can happen in a state. Events that the kernel refuses may be among them.
    pub events: fn(&Machine<Tiny>) -> Vec<Event>,
}

/// How far a search goes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Stops when this many distinct states are known.
    pub states: usize,
    /// Goes this many events away from the start at most.
    pub depth: usize,
    /// Threads of the host that search.
    pub threads: usize,
}

impl Limits {
    /// No limit but the memory, with one thread.
    pub const NONE: Limits = Limits { states: u32::MAX as usize, depth: usize::MAX, threads: 1 };
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Distinct states.
    pub states: usize,
    /// Transitions tried, refused system calls included.
    pub transitions: usize,
    /// Of those, refused ones.
    pub refused: usize,
    /// Length of the longest of the shortest paths.
    pub depth: usize,
    /// Whether there is nothing beyond: every state that can be reached was visited.
    pub complete: bool,
    /// How long it took.
    pub time: Duration,
    /// The first violation.
    pub counterexample: Option<Counterexample>,
}

/// A successor found by a worker.
struct Found {
    fingerprint: Fingerprint,
    parent: u32,
    event: Event,
    violation: Option<String>,
}

/// What a worker brings home.
#[derive(Default)]
struct Harvest {
    found: Vec<Found>,
    transitions: usize,
    refused: usize,
}

/// How many states each worker expands before results are merged: few enough to keep what waits small.
const BATCH: usize = 256;

/// Searches a scenario. `breakage` is applied after every event: tests of the search itself break the state there.
pub fn search(scenario: &Scenario, limits: Limits, breakage: Option<Breakage>) -> Report {
    let begun = Instant::now();
    let threads = limits.threads.max(1);
    let start = (scenario.start)();
    let mut known = Fingerprints::default();
    known.insert(Recorder::default().fingerprint(&start));
    let mut tree = Tree::new();
    let mut report = Report {
        states: 1,
        transitions: 0,
        refused: 0,
        depth: 0,
        complete: false,
        time: Duration::ZERO,
        counterexample: None,
    };
    // The states of one depth are a run of numbers.
    let mut level = Tree::ROOT..tree.len();
    'search: while report.depth < limits.depth {
        let beyond = tree.len();
        for batch in level.clone().step_by(BATCH * threads) {
            let end = level.end.min(batch.saturating_add((BATCH * threads) as u32));
            let share = ((end - batch) as usize).div_ceil(threads);
            let harvests: Vec<Harvest> = std::thread::scope(|scope| {
                let worker = Worker { scenario, tree: &tree, start: &start, known: &known, breakage };
                let workers: Vec<_> = (batch..end)
                    .step_by(share)
                    .map(|first| first..end.min(first + share as u32))
                    .map(|states| scope.spawn(move || worker.expand(states)))
                    .collect();
                workers.into_iter().map(|worker| worker.join().expect("a worker catches panics")).collect()
            });
            for harvest in harvests {
                report.transitions += harvest.transitions;
                report.refused += harvest.refused;
                for Found { fingerprint, parent, event, violation } in harvest.found {
                    if let Some(violation) = violation {
                        let mut events = tree.path(parent);
                        events.push(event);
                        let script = script(scenario.start, &events, breakage);
                        report.counterexample = Some(Counterexample { violation, script });
                        report.depth += 1;
                        break 'search;
                    }
                    if known.insert(fingerprint) {
                        tree.push(parent, event);
                    }
                }
            }
            if known.len() >= limits.states {
                report.depth += 1;
                break 'search;
            }
        }
        level = beyond..tree.len();
        if level.is_empty() {
            report.complete = true;
            break;
        }
        report.depth += 1;
    }
    report.states = known.len();
    report.time = begun.elapsed();
    report
}

/// What the workers of a search look at.
#[derive(Clone, Copy)]
struct Worker<'s> {
    scenario: &'s Scenario,
    tree: &'s Tree,
    start: &'s Machine<Tiny>,
    known: &'s Fingerprints,
    breakage: Option<Breakage>,
}

impl Worker<'_> {
    /// Tries everything that can happen in some states.
    fn expand(self, states: std::ops::Range<u32>) -> Harvest {
        let mut harvest = Harvest::default();
        let mut climber = Climber::new(self.tree, self.start, self.breakage);
        let mut recorder = Recorder::default();
        let mut new = Fingerprints::default();
        for state in states {
            let before = climber.machine(state);
            let prepared = Before::new(before);
            watch::path(self.scenario.start, || self.tree.path(state));
            // Refused calls change nothing, so one machine serves for all of them.
            let mut unmoved = before.clone();
            for event in (self.scenario.events)(before) {
                harvest.transitions += 1;
                let hopeless = prepared.entries_are_quiet() && event.is_refused(before);
                let mut moved;
                let after = if hopeless {
                    &mut unmoved
                } else {
                    moved = before.clone();
                    &mut moved
                };
                let (mut refused, mut violation) = (false, None);
                let panic = watch::attempt(event, || {
                    (refused, violation) = prepared.happen(event, after);
                    if let Some(breakage) = self.breakage {
                        breakage(after);
                    }
                });
                harvest.refused += usize::from(refused);
                violation = panic.or(violation);
                let mut fingerprint = 0;
                if violation.is_none() && !hopeless {
                    fingerprint = recorder.fingerprint(after);
                    if self.known.contains(&fingerprint) || !new.insert(fingerprint) {
                        continue;
                    }
                    violation = after.check().err();
                } else if violation.is_none() {
                    continue;
                }
                let last = violation.is_some();
                harvest.found.push(Found { fingerprint, parent: state, event, violation });
                if last {
                    return harvest;
                }
            }
        }
        harvest
    }
}
