//! A second searcher, which shares nothing with the first but the machine and what can happen on it.
//!
//! It goes deep first and keeps the machines on its way, tries events in the opposite order, asks nobody in advance
//! whether a call will be refused, takes the [normal form](kernel_core::Kernel::normal) of a state where the first takes
//! the canonical one, and another hash. If both count the same number of states, neither has lost any and neither has
//! taken two for one, unless both made the same mistake in two different ways.

use crate::event::Event;
use crate::machine::Machine;
use crate::search::Scenario;
use crate::sizes::Tiny;
use abi::Handle;
use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::{Hash, Hasher};

/// What a search counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Distinct states.
    pub states: usize,
    /// The longest way that the search has gone.
    pub longest: usize,
}

/// A state on the way, and what is left to try in it.
struct Place {
    machine: Machine<Tiny>,
    events: Vec<Event>,
}

/// Bytes, as values feed them to a hasher.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn finish(&self) -> u64 {
        self.0.len() as u64
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

impl Bytes {
    /// SipHash of the bytes, after one byte that makes two of them independent.
    fn digest(&self, salt: u8) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(salt);
        hasher.write(&self.0);
        hasher.finish()
    }

    /// The whole state in its normal form.
    fn encode(&mut self, machine: &Machine<Tiny>) -> (u64, u64) {
        self.0.clear();
        machine.kernel.normal(machine.now, self);
        for thread in machine.kernel.living_threads() {
            let again = machine.context(thread).again;
            if !again && !machine.kernel.will_repeat(thread) {
                continue;
            }
            if let Some((number, arguments)) = machine.request_of(thread) {
                // What is executed again is named by the first argument alone.
                let handle = Handle(arguments[0]);
                let named = machine.kernel.held_by(thread).any(|(held, ..)| held == handle);
                (thread, again, number, named.then_some(handle.index())).hash(self);
            }
        }
        for (root, tables) in &machine.world.spaces {
            // What a space still shows that is being taken apart is seen by nobody.
            let lives = machine.kernel.roots().any(|living| living == *root);
            (root, lives.then_some(&tables.leaves)).hash(self);
            tables.places().for_each(|place| place.hash(self));
        }
        (&machine.world.connected, &machine.world.processors, machine.cpu).hash(self);
        (self.digest(0), self.digest(1))
    }
}

/// Counts the states of a scenario, or those that are at most `depth` events away from the start.
pub fn count(scenario: &Scenario, depth: Option<usize>) -> Count {
    let limit = depth.unwrap_or(usize::MAX);
    let mut bytes = Bytes::default();
    let start = (scenario.start)();
    // How far from the start each state was met; one that is met again nearer may lead to more.
    let mut met = HashMap::from([(bytes.encode(&start), 0)]);
    let events = if limit == 0 { Vec::new() } else { (scenario.events)(&start) };
    let mut way = vec![Place { machine: start, events }];
    let mut longest = 0;
    while let Some(place) = way.last_mut() {
        let Some(event) = place.events.pop() else {
            way.pop();
            continue;
        };
        let mut machine = place.machine.clone();
        event.apply(&mut machine);
        let distance = way.len();
        match met.entry(bytes.encode(&machine)) {
            Entry::Vacant(vacant) => {
                vacant.insert(distance);
            }
            Entry::Occupied(mut known) if depth.is_some() && *known.get() > distance => {
                known.insert(distance);
            }
            Entry::Occupied(_) => continue,
        }
        longest = longest.max(distance);
        if distance < limit {
            let events = (scenario.events)(&machine);
            way.push(Place { machine, events });
        }
    }
    Count { states: met.len(), longest }
}
