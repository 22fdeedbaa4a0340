//! Random walks: far from the start, where a breadth-first search does not come.

use crate::event::Event;
use crate::law::Before;
use crate::machine::Machine;
use crate::script::{Counterexample, script};
use crate::search::Scenario;
use crate::sizes::Tiny;
use crate::watch;

/// What random walks are to be made.
#[derive(Clone, Copy, Debug)]
pub struct Walks {
    /// The first seed; each walk has the next.
    pub seed: u64,
    /// How many.
    pub walks: usize,
    /// Steps of each.
    pub steps: usize,
}

/// A generator of numbers that look random: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Walks at random; refused events are not steps. Returns how many steps were made.
///
/// # Errors
/// The first violation, with its seed and the way to it.
pub fn walk(scenario: &Scenario, walks: Walks) -> Result<usize, (u64, Counterexample)> {
    let start = (scenario.start)();
    let mut steps = 0;
    for seed in walks.seed..walks.seed + walks.walks as u64 {
        let mut random = Random(seed);
        let mut machine = start.clone();
        let mut events = Vec::new();
        for _ in 0..walks.steps {
            let Some(event) = choose(scenario, &machine, &mut random) else { break };
            watch::path(scenario.start, || events.clone());
            events.push(event);
            let before = machine.clone();
            let mut broken = None;
            let panic = watch::attempt(event, || broken = Before::new(&before).happen(event, &mut machine).1);
            steps += 1;
            if let Some(violation) = panic.or(broken).or_else(|| machine.check().err()) {
                let script = script(scenario.start, &events, None);
                return Err((seed, Counterexample { violation, script }));
            }
        }
    }
    Ok(steps)
}

/// How often a walk looks for a better event before it makes do with what it has.
const TRIES: usize = 6;

/// An event that is not refused: first one of its kinds at random, so that those with many arguments do not crowd the
/// others out, then one of that kind. What ends things is chosen seldom, and what ends everything only if there is
/// nothing else: a walk is to come far.
fn choose(scenario: &Scenario, machine: &Machine<Tiny>, random: &mut Random) -> Option<Event> {
    let mut events = (scenario.events)(machine);
    events.retain(|event| !event.is_refused(machine));
    let mut kinds: Vec<_> = events.iter().map(|event| event.kind()).collect();
    kinds.dedup();
    let mut chosen = None;
    for _ in 0..TRIES {
        let kind = *kinds.get(random.below(kinds.len()))?;
        let of_kind: Vec<&Event> = events.iter().filter(|event| event.kind() == kind).collect();
        let event = *of_kind[random.below(of_kind.len())];
        chosen = Some(event);
        if event.is_destructive() && random.below(8) != 0 {
            continue;
        }
        let mut after = machine.clone();
        event.apply(&mut after);
        if !(scenario.events)(&after).is_empty() {
            break;
        }
    }
    chosen
}
