//! Two small fault-injection campaigns, one into code and one into system calls: each domain of the default system is a test of both.

use std::fs;

use super::{Size, SuiteError, Tally};
use crate::fault::operator::Operator;
use crate::fault::{self, Plan};
use crate::workspace;

/// From which the faults follow: not the seed of the campaign that the documentation tells of.
const SEED: u64 = 2;

/// How many faults in code, and how many at system calls.
const fn faults(size: Size) -> (u64, u64) {
    match size {
        Size::Usual => (5_000, 300),
        Size::Large => (100_000, 5_000),
    }
}

/// Carries both out, shows the tables, and counts the domains whose faults were survived.
pub(super) fn run(filter: Option<&str>, size: Size) -> Result<Tally, SuiteError> {
    let (in_code, at_system_calls) = faults(size);
    let mut tally = Tally::default();
    for (part, faults, operators) in
        [("code", in_code, &Operator::CODE[..]), ("system-calls", at_system_calls, &Operator::CROSSINGS)]
    {
        let folder = workspace::system_target().join("fault").join("suite").join(part);
        // Each run is a new one.
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let targets = filter.map(|filter| vec![filter.to_owned()]).unwrap_or_default();
        let operators = operators.to_vec();
        let plan = Plan { targets, faults, operators, seed: SEED, folder: Some(folder), ..Plan::default() };
        let outcome = fault::run(&plan)?;
        eprint!("{}", outcome.text);
        for (target, survived) in outcome.targets {
            eprintln!("test fault::{part}::{target} ... {}", if survived { "ok" } else { "FAILED" });
            match survived {
                true => tally.passed += 1,
                false => tally.failed += 1,
            }
        }
    }
    Ok(tally)
}
