//! Searches the states of small machines: `model [SCENARIO …] [--states N] [--threads N] [--walks N …]`.

use model::scenarios;
use model::search::{Limits, Scenario, explain_panics, search};
use model::walk::{Walks, walk};
use std::process::ExitCode;

const USAGE: &str = "usage: model [SCENARIO ...] [--states N] [--threads N]
Visits states of small machines breadth first and checks every invariant in each.
  SCENARIO     calls, ipc, authority, everything (default: all of them)
  --states N   stop each scenario at this many distinct states (default 100000)
  --threads N  threads of this computer to use, 1 to 16 (default: 1)
  --walks N    make N random walks instead, which come farther from the start
  --steps N    steps of each walk (default 1000)
  --seed N     seed of the first walk; each has the next (default 1)";

fn main() -> ExitCode {
    let mut limits = Limits { states: 100_000, threads: 1 };
    let mut walks = Walks { seed: 1, walks: 0, steps: 1000 };
    let mut chosen = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|value| value.parse::<usize>().ok());
        match argument.as_str() {
            "--help" | "-h" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            "--states" => match number() {
                Some(states) if states < u32::MAX as usize => limits.states = states,
                _ => return wrong("--states needs a number below 4294967295"),
            },
            "--threads" => match number() {
                Some(threads @ 1..=16) => limits.threads = threads,
                _ => return wrong("--threads needs a number from 1 to 16"),
            },
            "--walks" => match number() {
                Some(number) => walks.walks = number,
                None => return wrong("--walks needs a number"),
            },
            "--steps" => match number() {
                Some(number) => walks.steps = number,
                None => return wrong("--steps needs a number"),
            },
            "--seed" => match number() {
                Some(number) => walks.seed = number as u64,
                None => return wrong("--seed needs a number"),
            },
            name => match scenarios::by_name(name) {
                Some(scenario) => chosen.push(scenario),
                None => return wrong(&format!("there is no scenario and no option '{name}'")),
            },
        }
    }
    if chosen.is_empty() {
        chosen.extend(&scenarios::ALL);
    }
    if walks.walks > 0 {
        return stroll(&chosen, walks);
    }
    let mut total = 0;
    for scenario in chosen {
        explain_panics(scenario.start);
        let report = search(scenario, limits, None);
        total += report.states;
        println!(
            "{}: {} states, {} transitions ({} refused), depth {}, {} in {:.1} s",
            scenario.name,
            report.states,
            report.transitions,
            report.refused,
            report.depth,
            if report.complete { "complete" } else { "stopped" },
            report.time.as_secs_f64()
        );
        if let Some(counterexample) = report.counterexample {
            print!("{counterexample}");
            return ExitCode::FAILURE;
        }
    }
    println!("{total} states, every invariant holds in each");
    ExitCode::SUCCESS
}

/// Walks at random.
fn stroll(chosen: &[&Scenario], walks: Walks) -> ExitCode {
    for scenario in chosen {
        explain_panics(scenario.start);
        match walk(scenario, walks) {
            Ok(steps) => {
                println!("{}: {} walks, {steps} steps, every invariant holds after each", scenario.name, walks.walks)
            }
            Err((seed, counterexample)) => {
                print!("{}: seed {seed}: {counterexample}", scenario.name);
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn wrong(complaint: &str) -> ExitCode {
    eprintln!("{complaint}\n{USAGE}");
    ExitCode::from(2)
}
