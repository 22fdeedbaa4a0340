//! Searches the states of small machines: `model [SCENARIO …] [--states N] [--threads N] [--walks N …]`.

use model::scenarios;
use model::search::{Limits, Scenario, search};
use model::table;
use model::walk::{Walks, walk};
use std::process::ExitCode;

const USAGE: &str = "usage: model [SCENARIO ...] [--states N] [--threads N]
Visits states of small machines breadth first and checks every invariant in each.
  SCENARIO     calls, ipc, authority, everything (default: all of them)
  --states N   stop at this many distinct states altogether (default 1000000)
  --depth N    go at most N events away from the start
  --threads N  threads of this computer to use, 1 to 16 (default: as many as it has processors)
  --walks N    make N random walks instead, which come farther from the start
  --steps N    steps of each walk (default 1000)
  --seed N     seed of the first walk; each has the next (default 1)";

/// What the command line asks for.
struct Wish {
    chosen: Vec<&'static Scenario>,
    limits: Limits,
    walks: Walks,
}

fn main() -> ExitCode {
    let wish = match Wish::read(std::env::args().skip(1)) {
        Ok(Some(wish)) => wish,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(complaint) => {
            eprintln!("{complaint}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    model::explain_panics();
    if wish.walks.walks > 0 { stroll(&wish.chosen, wish.walks) } else { visit(&wish.chosen, wish.limits) }
}

impl Wish {
    /// Reads the command line. `None` if it asks for help.
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Option<Wish>, String> {
        let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get().min(16));
        let mut wish = Wish {
            chosen: Vec::new(),
            limits: Limits { states: 1_000_000, threads, ..Limits::NONE },
            walks: Walks { seed: 1, walks: 0, steps: 1000 },
        };
        while let Some(argument) = arguments.next() {
            let mut number = |least: usize, most: usize| {
                let given = arguments.next().and_then(|value| value.parse::<usize>().ok());
                given
                    .filter(|number| (least..=most).contains(number))
                    .ok_or_else(|| format!("{argument} needs a number from {least} to {most}"))
            };
            match argument.as_str() {
                "--help" | "-h" => return Ok(None),
                "--states" => wish.limits.states = number(1, Limits::NONE.states)?,
                "--depth" => wish.limits.depth = number(0, usize::MAX)?,
                "--threads" => wish.limits.threads = number(1, 16)?,
                "--walks" => wish.walks.walks = number(0, usize::MAX)?,
                "--steps" => wish.walks.steps = number(0, usize::MAX)?,
                "--seed" => wish.walks.seed = number(0, usize::MAX)? as u64,
                name => {
                    let scenario = scenarios::by_name(name);
                    wish.chosen.push(scenario.ok_or_else(|| format!("there is no scenario and no option '{name}'"))?);
                }
            }
        }
        if wish.chosen.is_empty() {
            wish.chosen.extend(&scenarios::ALL);
        }
        Ok(Some(wish))
    }
}

/// Searches, and shows a table of what was visited.
fn visit(chosen: &[&Scenario], limits: Limits) -> ExitCode {
    println!("{}", table::HEAD);
    let mut total = table::Total::default();
    for (index, scenario) in chosen.iter().enumerate() {
        // What a small scenario does not need is for the others.
        let share = limits.states.saturating_sub(total.states) / (chosen.len() - index);
        let report = search(scenario, Limits { states: share.max(1), ..limits }, None);
        println!("{}", table::row(scenario.name, &report));
        if let Some(counterexample) = report.counterexample {
            print!("{counterexample}");
            return ExitCode::FAILURE;
        }
        total.add(&report);
    }
    println!("{total}");
    ExitCode::SUCCESS
}

/// Walks at random.
fn stroll(chosen: &[&Scenario], walks: Walks) -> ExitCode {
    for scenario in chosen {
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
