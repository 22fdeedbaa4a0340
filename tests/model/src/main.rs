//! Searches the states of small machines: `model [SCENARIO …] [--states N] [--threads N]`.

use model::scenarios;
use model::search::{Limits, explain_panics, search};
use std::process::ExitCode;

const USAGE: &str = "usage: model [SCENARIO ...] [--states N] [--threads N]
Visits states of small machines breadth first and checks every invariant in each.
  SCENARIO     ipc, authority, everything (default: all of them)
  --states N   stop each scenario at this many distinct states (default 100000)
  --threads N  threads of this computer to use, 1 to 16 (default: 1)";

fn main() -> ExitCode {
    let mut limits = Limits { states: 100_000, threads: 1 };
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
            name => match scenarios::by_name(name) {
                Some(scenario) => chosen.push(scenario),
                None => return wrong(&format!("there is no scenario and no option '{name}'")),
            },
        }
    }
    if chosen.is_empty() {
        chosen.extend(&scenarios::ALL);
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

fn wrong(complaint: &str) -> ExitCode {
    eprintln!("{complaint}\n{USAGE}");
    ExitCode::from(2)
}
