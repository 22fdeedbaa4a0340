//! The kernel's conformance suite, which runs as the root server inside the machine.
//!
//! It writes one line a case to the serial port, `ok NAME` or `FAIL NAME: WHY`, and closes with
//! `conformance: N passed, N failed`.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{SuiteError, Tally, catalogue};
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
struct Verdict<'a> {
    name: &'a str,
    passed: bool,
}

fn verdict(line: &str) -> Option<Verdict<'_>> {
    if let Some(name) = line.strip_prefix("ok ") {
        return Some(Verdict { name: name.trim(), passed: true });
    }
    let rest = line.strip_prefix("FAIL ")?;
    let name = rest.split(": ").next().unwrap_or(rest);
    Some(Verdict { name: name.trim(), passed: false })
}

/// The numbers of the closing line.
fn closing(line: &str) -> Option<Tally> {
    let (passed, failed) = line.trim().strip_prefix(CLOSING)?.strip_suffix(" failed")?.split_once(" passed, ")?;
    Some(Tally { passed: passed.parse().ok()?, failed: failed.parse().ok()? })
}

/// The machines in which the cases run: how many processors they have, and of which model.
///
/// The last has processors that do not close user mode's memory to the kernel, and that run no guests. What the kernel must do by
/// itself there, the other ones' protection would hide.
const MACHINES: [(u32, &str); 4] = [(1, "max"), (2, "max"), (4, "max"), (1, "max,-smap,-smep,-umip,-svm")];

/// A machine whose root server is the suite, asked for something by `words` ([`Console::start`] starts it).
pub(crate) fn machine(image: &Path, cpus: u32, words: &str) -> Machine {
    let mut machine = Machine::new(image);
    machine.memory = Memory::mebibytes(128);
    machine.cpus = Cpus(cpus);
    machine.exit_device = true;
    // A comma would begin the next of QEMU's suboptions.
    let words = words.replace(',', ",,");
    machine.extra = vec!["-fw_cfg".into(), format!("name=opt/bulkhead/suite,string={words}").into()];
    machine
}

/// Boots the suite and shows a line for each case: the one of the name `filter`, or those whose name contains it.
pub(super) fn run(filter: Option<&str>) -> Result<Tally, SuiteError> {
    let filter = filter.unwrap_or_default();
    let cases: Vec<String> = catalogue::read()?.into_iter().flat_map(|module| module.cases).collect();
    if !cases.iter().any(|name| name.contains(filter)) {
        eprintln!("no case has `{filter}` in its name; `cargo xtask test conformance --list` prints them");
        return Ok(Tally::default());
    }
    let built = build::conformance(&setup::ensure()?)?;
    let mut total = Tally::default();
    for (cpus, model) in MACHINES {
        let mut machine = machine(&built.image, cpus, &format!("case={filter}"));
        machine.cpu_model = model.to_owned();
        // Two in parallel, and more than most hosts have to spare in turn.
        machine.in_turn = cpus > 2;
        let step = Step::start(format!("In a machine with -smp {cpus} -cpu {model}"));
        let started = Instant::now();
        let mut console = Console::start(&machine, None)?;
        let mut shown = 0;
        let outcome = console.wait_for("the suite's closing line", LIMIT, |screen| {
            for line in screen.lines().get(shown..).unwrap_or_default() {
                step.news(line);
                if verdict(line).is_some() {
                    step.print(line);
                }
            }
            shown = screen.lines().len().max(shown);
            screen.lines().iter().rev().find_map(|line| closing(line))
        });
        let text = console.transcript();
        step.quiet();
        let claimed = outcome?;
        let (mut tally, ran) = count(&text);
        let missing: Vec<_> = cases.iter().filter(|name| filter.is_empty() && !ran.contains(name.as_str())).collect();
        for name in &missing {
            eprintln!("FAIL {name}: it is in the suite's source, but did not run");
            tally.failed += 1;
        }
        if missing.is_empty() && tally != claimed {
            eprintln!("the suite claims {claimed}, but its lines say {tally}");
            tally.failed += 1;
        }
        eprintln!("-smp {cpus} -cpu {model}: {tally} ({:.0} s)", started.elapsed().as_secs_f64());
        total += tally;
    }
    Ok(total)
}

/// Counts the cases' lines, and names those that passed or failed.
pub(super) fn count(text: &str) -> (Tally, BTreeSet<&str>) {
    let mut tally = Tally::default();
    let mut names = BTreeSet::new();
    for verdict in text.lines().filter_map(verdict) {
        names.insert(verdict.name);
        if verdict.passed {
            tally.passed += 1;
        } else {
            tally.failed += 1;
        }
    }
    (tally, names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_passed_or_failed() {
        assert_eq!(verdict("ok yield_returns"), Some(Verdict { name: "yield_returns", passed: true }));
        assert_eq!(verdict("FAIL a_b: got 3: wanted 4"), Some(Verdict { name: "a_b", passed: false }));
        assert_eq!(verdict("[info] kernel: ok"), None);
    }

    #[test]
    fn only_the_closing_line_closes() {
        assert_eq!(closing("conformance: 61 passed, 2 failed"), Some(Tally { passed: 61, failed: 2 }));
        assert_eq!(closing("conformance: starting"), None);
        assert_eq!(closing("61 passed, 2 failed"), None);
    }

    #[test]
    fn cases_are_counted_by_their_lines() {
        let (tally, names) = count("ok ipc_call\n[info] kernel: ok\nok map_page\nFAIL ipc_reply: wrong word\n");
        assert_eq!(tally, Tally { passed: 2, failed: 1 });
        assert_eq!(names, BTreeSet::from(["ipc_call", "map_page", "ipc_reply"]));
    }

    #[test]
    fn the_suite_is_asked_by_one_of_qemus_options() {
        let line = machine(Path::new("image"), 2, "case=a,b seed=1").command_line();
        assert!(line.contains("-fw_cfg 'name=opt/bulkhead/suite,string=case=a,,b seed=1'"), "{line}");
    }
}
