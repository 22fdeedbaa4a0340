//! Breadth-first search over everything that can happen, so that the first counterexample is a shortest one.

use crate::event::Event;
use crate::machine::Machine;
use crate::sizes::Tiny;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher, Hasher};
use std::sync::Mutex;
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
    /// Threads of the host that search.
    pub threads: usize,
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

/// A shortest way to a violation.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// What is violated.
    pub violation: String,
    /// What happened, and who ran.
    pub script: Vec<String>,
}

impl std::fmt::Display for Counterexample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "violated: {}", self.violation)?;
        for (index, line) in self.script.iter().enumerate() {
            writeln!(f, "{:4}. {line}", index + 1)?;
        }
        Ok(())
    }
}

/// A state that was reached: how, and its fingerprint decides whether it is new.
struct Node {
    parent: u32,
    event: Option<Event>,
}

/// A successor found by a worker.
struct Found {
    fingerprint: u64,
    parent: u32,
    event: Event,
    violation: Option<String>,
}

/// The fingerprint of a state: equal for states with the same future.
pub fn fingerprint(machine: &Machine<Tiny>) -> u64 {
    let mut hasher = DefaultHasher::new();
    machine.kernel.canonical(machine.now, &mut hasher);
    machine.canonical(&mut hasher);
    hasher.finish()
}

/// Fingerprints are hashes already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

type Fingerprints = HashSet<u64, BuildHasherDefault<Identity>>;

/// The events that lead to a node.
fn path(nodes: &[Node], mut node: u32) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(event) = nodes[node as usize].event {
        events.push(event);
        node = nodes[node as usize].parent;
    }
    events.reverse();
    events
}

/// Remembers what this thread is about to do, for the message of a panic.
pub(crate) fn watch_this(events: &[Event]) {
    watch(&WATCHED[WORKER.with(|worker| *worker) % WATCHED.len()], events.to_vec());
}

/// What this worker is about to do, for the message of a panic.
fn watch(script: &Mutex<Vec<Event>>, events: Vec<Event>) {
    if let Ok(mut watched) = script.lock() {
        *watched = events;
    }
}

/// Tells a path in words.
pub fn script(start: fn() -> Machine<Tiny>, events: &[Event]) -> Vec<String> {
    let mut machine = start();
    let mut lines = Vec::new();
    for event in events {
        lines.push(event.describe(&machine));
        event.apply(&mut machine);
    }
    lines
}

/// Searches a scenario. `mutate` is applied after every event: tests of the search itself break the state there.
pub fn search(scenario: &Scenario, limits: Limits, mutate: Option<fn(&mut Machine<Tiny>)>) -> Report {
    let begun = Instant::now();
    let start = (scenario.start)();
    let mut known = Fingerprints::with_capacity_and_hasher(limits.states, BuildHasherDefault::default());
    known.insert(fingerprint(&start));
    let mut nodes = vec![Node { parent: 0, event: None }];
    let mut report = Report {
        states: 1,
        transitions: 0,
        refused: 0,
        depth: 0,
        complete: false,
        time: Duration::ZERO,
        counterexample: None,
    };
    let mut frontier = vec![0u32];
    'search: while !frontier.is_empty() {
        let mut next = Vec::new();
        // Batches keep the results that wait to be merged small.
        for batch in frontier.chunks(1024 * limits.threads.max(1)) {
            let share = batch.len().div_ceil(limits.threads.max(1)).max(1);
            let results: Vec<(Vec<Found>, usize, usize)> = std::thread::scope(|scope| {
                let (nodes, known, start) = (&nodes, &known, &start);
                let workers: Vec<_> = batch
                    .chunks(share)
                    .map(|part| scope.spawn(move || expand_all(scenario, start, nodes, known, part, mutate)))
                    .collect();
                workers.into_iter().map(|worker| worker.join().expect("a worker ends")).collect()
            });
            for (found, transitions, refused) in results {
                report.transitions += transitions;
                report.refused += refused;
                for Found { fingerprint, parent, event, violation } in found {
                    if !known.insert(fingerprint) {
                        continue;
                    }
                    nodes.push(Node { parent, event: Some(event) });
                    let node = nodes.len() as u32 - 1;
                    next.push(node);
                    if let Some(violation) = violation {
                        let script = script(scenario.start, &path(&nodes, node));
                        report.counterexample = Some(Counterexample { violation, script });
                        report.depth += 1;
                        break 'search;
                    }
                }
            }
            if known.len() >= limits.states {
                report.depth += 1;
                break 'search;
            }
        }
        report.depth += usize::from(!next.is_empty());
        report.complete = next.is_empty();
        frontier = next;
    }
    report.states = known.len();
    report.time = begun.elapsed();
    report
}

/// Expands some nodes; returns what is new, and how many transitions there were and how many of them refused.
fn expand_all(
    scenario: &Scenario,
    start: &Machine<Tiny>,
    nodes: &[Node],
    known: &Fingerprints,
    part: &[u32],
    mutate: Option<fn(&mut Machine<Tiny>)>,
) -> (Vec<Found>, usize, usize) {
    let watched: &Mutex<Vec<Event>> = &WATCHED[WORKER.with(|worker| *worker) % WATCHED.len()];
    let mut found = Vec::new();
    let mut seen: HashSet<u64, BuildHasherDefault<Identity>> = HashSet::default();
    let (mut transitions, mut refused) = (0, 0);
    for node in part {
        let mut events = path(nodes, *node);
        let mut machine = start.clone();
        for event in &events {
            event.apply(&mut machine);
            if let Some(mutate) = mutate {
                mutate(&mut machine);
            }
        }
        events.push(Event::SliceEnd);
        for event in (scenario.events)(&machine) {
            transitions += 1;
            if event.is_refused(&machine) {
                refused += 1;
                continue;
            }
            if let Some(last) = events.last_mut() {
                *last = event;
            }
            watch(watched, events.clone());
            let mut after = machine.clone();
            event.apply(&mut after);
            if let Some(mutate) = mutate {
                mutate(&mut after);
            }
            let fingerprint = fingerprint(&after);
            if known.contains(&fingerprint) || !seen.insert(fingerprint) {
                continue;
            }
            let violation = after.check().err();
            found.push(Found { fingerprint, parent: *node, event, violation });
        }
    }
    (found, transitions, refused)
}

/// What each worker is doing, for the message of a panic in the core.
static WATCHED: [Mutex<Vec<Event>>; 16] = [const { Mutex::new(Vec::new()) }; 16];
static WORKERS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

thread_local! {
    static WORKER: usize = WORKERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

/// Makes a panic, which is a violation too, print the way to it.
pub fn explain_panics(start: fn() -> Machine<Tiny>) {
    let earlier = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        earlier(info);
        let watched = &WATCHED[WORKER.with(|worker| *worker) % WATCHED.len()];
        if let Ok(mut events) = watched.lock() {
            let last = events.pop();
            let mut machine = start();
            for (index, event) in events.iter().chain(&last).enumerate() {
                eprintln!("{:4}. {}", index + 1, event.describe(&machine));
                if index < events.len() {
                    event.apply(&mut machine);
                }
            }
        }
    }));
}
