//! The kernel's conformance suite, which runs as the root server inside the machine.
//!
//! It writes one line a case to the serial port, `ok NAME` or `FAIL NAME: WHY`, and closes with
//! `conformance: N passed, N failed`.

use std::time::Duration;

use super::{SuiteError, Tally};
use crate::build;
use crate::console::Console;
use crate::machine::{Cpus, Machine, Memory};
use crate::progress::Step;
use crate::setup;

/// How long the machine may take for all cases.
const LIMIT: Duration = Duration::from_secs(300);

/// How the closing line begins.
const CLOSING: &str = "conformance: ";

/// A case's line.
#[derive(Debug, PartialEq, Eq)]
enum Case<'a> {
    Passed(&'a str),
    Failed { name: &'a str, why: &'a str },
}

fn case(line: &str) -> Option<Case<'_>> {
    if let Some(name) = line.strip_prefix("ok ") {
        return Some(Case::Passed(name.trim()));
    }
    let rest = line.strip_prefix("FAIL ")?;
    let (name, why) = rest.split_once(": ").unwrap_or((rest, "no reason given"));
    Some(Case::Failed { name: name.trim(), why })
}

/// The numbers of the closing line.
fn closing(line: &str) -> Option<Tally> {
    let (passed, failed) = line.trim().strip_prefix(CLOSING)?.strip_suffix(" failed")?.split_once(" passed, ")?;
    Some(Tally { passed: passed.parse().ok()?, failed: failed.parse().ok()? })
}

/// Boots the suite, shows the cases that failed, and counts those whose name contains `filter`.
pub(super) fn run(filter: Option<&str>) -> Result<Tally, SuiteError> {
    let built = build::conformance(&setup::ensure()?)?;
    let mut total = Tally::default();
    for cpus in [1, 4] {
        let mut machine = Machine::new(&built.image);
        machine.memory = Memory::mebibytes(128);
        machine.cpus = Cpus(cpus);
        machine.exit_device = true;
        let step = Step::start(format!("In a machine with -smp {cpus}"));
        let mut console = Console::start(&machine, None)?;
        let outcome = console.wait_for("the suite's closing line", LIMIT, |screen| {
            if let Some(line) = screen.lines().last() {
                step.news(line);
            }
            screen.lines().iter().rev().find_map(|line| closing(line))
        });
        let text = console.transcript();
        step.quiet();
        let claimed = outcome?;
        let tally = count(&text, filter);
        if filter.is_none() && tally != claimed {
            eprintln!("the suite claims {claimed}, but its lines say {tally}");
            total.failed += 1;
        }
        eprintln!("-smp {cpus}: {tally}");
        total += tally;
    }
    Ok(total)
}

fn count(text: &str, filter: Option<&str>) -> Tally {
    let mut tally = Tally::default();
    let wanted = |name: &str| filter.is_none_or(|filter| name.contains(filter));
    for line in text.lines() {
        match case(line) {
            Some(Case::Passed(name)) if wanted(name) => tally.passed += 1,
            Some(Case::Failed { name, why }) if wanted(name) => {
                eprintln!("FAIL {name}: {why}");
                tally.failed += 1;
            }
            _ => {}
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_passed_or_failed_with_a_reason() {
        assert_eq!(case("ok yield_returns"), Some(Case::Passed("yield_returns")));
        assert_eq!(case("FAIL a_b: got 3: wanted 4"), Some(Case::Failed { name: "a_b", why: "got 3: wanted 4" }));
        assert_eq!(case("[info] kernel: ok"), None);
    }

    #[test]
    fn only_the_closing_line_closes() {
        assert_eq!(closing("conformance: 61 passed, 2 failed"), Some(Tally { passed: 61, failed: 2 }));
        assert_eq!(closing("conformance: starting"), None);
        assert_eq!(closing("61 passed, 2 failed"), None);
    }

    #[test]
    fn a_filter_counts_only_the_cases_it_names() {
        let text = "ok ipc_call\nok map_page\nFAIL ipc_reply: wrong word\n";
        assert_eq!(count(text, Some("ipc")), Tally { passed: 1, failed: 1 });
        assert_eq!(count(text, None), Tally { passed: 2, failed: 1 });
    }
}
