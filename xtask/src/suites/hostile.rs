//! Hostile user space: the conformance suite's root server beside a victim and domains that mean harm, for some minutes.

use std::time::{Duration, Instant};

use super::conformance::{count, machine};
use super::{Size, SuiteError, Tally};
use crate::build;
use crate::console::Console;
use crate::machine::Cpus;
use crate::progress::Step;
use crate::setup;

/// What a run is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hostility {
    /// How long it lasts.
    pub duration: Duration,
    /// How many domains are hostile.
    pub domains: u64,
    /// From which their random numbers begin.
    pub seed: u64,
    /// How many processors the machine has, or each of 1, 2 and 4 one after the other.
    pub cpus: Option<Cpus>,
    /// Whether each processor is a thread of the host. Where the host has not a core to spare for each of them, they wait
    /// for each other most of the time.
    pub parallel: bool,
}

impl Hostility {
    /// A minute in all, or ten.
    pub fn of(size: Size) -> Self {
        let minutes = match size {
            Size::Usual => 1,
            Size::Large => 10,
        };
        Self { duration: Duration::from_secs(minutes * 60), domains: 10, seed: 1, cpus: None, parallel: false }
    }
}

/// Processors of the machines, unless a number is asked for. They share the time.
const CPUS: [u32; 3] = [1, 2, 4];

/// What the machine may take beside the run itself, to start and to check itself: much more than it does.
const SLACK: Duration = Duration::from_secs(120);

/// Boots the machine, or one after the other, shows the tables, and counts the checks.
pub(super) fn run(hostility: &Hostility) -> Result<Tally, SuiteError> {
    let built = build::conformance(&setup::ensure()?)?;
    let cpus = match hostility.cpus {
        Some(Cpus(cpus)) => vec![cpus],
        None => CPUS.to_vec(),
    };
    let seconds = (hostility.duration.as_secs() / cpus.len() as u64).max(1);
    let mut total = Tally::default();
    for cpus in cpus {
        let words = format!("suite=hostile seconds={seconds} domains={} seed={}", hostility.domains, hostility.seed);
        let mut machine = machine(&built.image, cpus, &words);
        machine.in_turn = cpus > 1 && !hostility.parallel;
        let step = Step::start(format!("{} hostile domains with -smp {cpus}", hostility.domains));
        let started = Instant::now();
        let mut console = Console::start(&machine, None)?;
        let mut shown = 0;
        // The machine's time may be slower than the host's, and seconds are the machine's.
        let limit = Duration::from_secs(seconds * 3) + SLACK;
        let outcome = console.wait_for("the closing line of the hostile run", limit, |screen| {
            for line in screen.lines().get(shown..).unwrap_or_default() {
                step.print(line);
            }
            shown = screen.lines().len().max(shown);
            screen.lines().iter().any(|line| line.starts_with("hostile: ")).then_some(())
        });
        let text = console.transcript();
        step.quiet();
        outcome?;
        let (tally, _) = count(&text);
        eprintln!("-smp {cpus}: {tally} ({:.0} s)", started.elapsed().as_secs_f64());
        total += tally;
    }
    Ok(total)
}
