//! A small fault-injection campaign: each domain of the default system is a test.

use std::fs;

use super::{Size, SuiteError, Tally};
use crate::fault::{self, Plan};
use crate::workspace;

/// From which the faults follow: not the seed of the campaign that the documentation tells of.
const SEED: u64 = 2;

/// How many faults.
const fn faults(size: Size) -> u64 {
    match size {
        Size::Usual => 5_000,
        Size::Large => 100_000,
    }
}

/// Carries it out, shows the table, and counts the domains whose faults were survived.
pub(super) fn run(filter: Option<&str>, size: Size) -> Result<Tally, SuiteError> {
    let folder = workspace::system_target().join("fault").join("suite");
    // Each run is a new one.
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let targets = filter.map(|filter| vec![filter.to_owned()]).unwrap_or_default();
    let plan = Plan { targets, faults: faults(size), seed: SEED, folder: Some(folder), ..Plan::default() };
    let outcome = fault::run(&plan)?;
    eprint!("{}", outcome.text);
    let mut tally = Tally::default();
    for (target, survived) in outcome.targets {
        eprintln!("test fault::{target} ... {}", if survived { "ok" } else { "FAILED" });
        match survived {
            true => tally.passed += 1,
            false => tally.failed += 1,
        }
    }
    Ok(tally)
}
