//! How long the kernel keeps the processor: the longest entry by system call, in guest instructions.
//!
//! QEMU counts instructions (`-icount shift=0`), so the time-stamp counter does, and the kernel times its own entries by
//! that. The conformance suite provides the entries.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::{SuiteError, Tally, conformance};
use crate::build;
use crate::console::Console;
use crate::machine::Machine;
use crate::progress::Step;
use crate::setup;

/// No entry is longer than this, in instructions.
const BOUND: u64 = 20_000;
/// Objects beside which the suite runs the second time: what is bounded does not grow with them.
const BALLAST: u64 = 600;
/// What the entry code does before and after the kernel's own clock runs, in instructions.
const ENTRY_CODE: u64 = 64;
/// How long the machine may take: counting instructions makes it slower.
const LIMIT: Duration = Duration::from_secs(600);

/// A kind of entry and its longest stay.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) instructions: u64,
}

/// A line `entry NAME TICKS`.
pub(super) fn entry(line: &str) -> Option<Entry<'_>> {
    let (name, ticks) = line.trim().strip_prefix("entry ")?.split_once(' ')?;
    Some(Entry { name, instructions: ticks.parse::<u64>().ok()? + ENTRY_CODE })
}

/// A machine of one processor that counts instructions, for the suite's root server: its clock shows them.
pub(crate) fn counting_machine(image: &Path, words: &str) -> Machine {
    let mut machine = conformance::machine(image, 1, words);
    machine.extra.extend(["-icount", "shift=0,sleep=off"].map(Into::into));
    machine
}

/// Runs the suite beside this many objects that it does not use, and tells the longest entries by name.
fn measure(image: &Path, ballast: u64, filter: &str) -> Result<BTreeMap<String, u64>, SuiteError> {
    let words = format!("times=1 ballast={ballast} case={filter}");
    let machine = counting_machine(image, &words);
    let step = Step::start(format!("In a machine that counts instructions, beside {ballast} objects"));
    let mut console = Console::start(&machine, None)?;
    console.wait_for("the suite's closing line", LIMIT, |screen| {
        screen.lines().iter().any(|line| line.starts_with("conformance: ")).then_some(())
    })?;
    step.quiet();
    let text = console.transcript();
    Ok(text.lines().filter_map(entry).map(|entry| (entry.name.to_owned(), entry.instructions)).collect())
}

/// Boots the suite on machines that count instructions and shows the longest entries.
pub(super) fn run(filter: Option<&str>) -> Result<Tally, SuiteError> {
    let built = build::conformance(&setup::ensure()?)?;
    let filter = filter.unwrap_or_default();
    let alone = measure(&built.image, 0, filter)?;
    let beside = measure(&built.image, BALLAST, filter)?;
    let mut entries: Vec<_> = alone.iter().collect();
    entries.sort_by_key(|(_, instructions)| std::cmp::Reverse(**instructions));
    eprintln!("longest stay in the kernel, in guest instructions, entry and exit code included:");
    eprintln!("{:20} {:>7} {:>20}", "entry", "alone", format!("beside {BALLAST} objects"));
    for (name, instructions) in &entries {
        eprintln!("{name:20} {instructions:7} {:20}", beside.get(*name).copied().unwrap_or(0));
    }
    let longest = |name: &str| alone.get(name).max(beside.get(name)).copied().unwrap_or(0);
    let longer = entries.iter().filter(|(name, _)| longest(name) > BOUND).count() as u64;
    eprintln!("{} kinds of entry, {longer} of them longer than {BOUND}", entries.len());
    // A machine whose kernel told nothing has shown nothing.
    let silent = u64::from(entries.is_empty()) + u64::from(beside.is_empty());
    Ok(Tally { passed: entries.len() as u64 - longer, failed: longer + silent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_kind_and_instructions() {
        assert_eq!(entry("entry Call 936"), Some(Entry { name: "Call", instructions: 1000 }));
        assert_eq!(entry("entry (timer) 1"), Some(Entry { name: "(timer)", instructions: 65 }));
        assert_eq!(entry("ok entry"), None);
        assert_eq!(entry("entry Call many"), None);
    }
}
