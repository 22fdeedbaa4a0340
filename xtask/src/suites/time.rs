//! Isolation of time: what a budget gives and never exceeds, and who can delay whom, in guest instructions.

use std::time::Duration;

use super::bound::counting_machine;
use super::conformance::count;
use super::{SuiteError, Tally};
use crate::build;
use crate::console::Console;
use crate::progress::Step;
use crate::setup;

/// How long the machine may take: counting instructions makes it slower.
const LIMIT: Duration = Duration::from_secs(600);

/// Boots the suite's root server in a machine that counts instructions, shows its figures, and counts the checks.
pub(super) fn run(filter: Option<&str>) -> Result<Tally, SuiteError> {
    let built = build::conformance(&setup::ensure()?)?;
    let machine = counting_machine(&built.image, &format!("suite=time case={}", filter.unwrap_or_default()));
    let step = Step::start("Isolation of time, counting instructions");
    let mut console = Console::start(&machine, None)?;
    let mut shown = 0;
    let outcome = console.wait_for("the closing line of the time suite", LIMIT, |screen| {
        for line in screen.lines().get(shown..).unwrap_or_default() {
            step.print(line);
        }
        shown = screen.lines().len().max(shown);
        screen.lines().iter().any(|line| line.starts_with("time: ")).then_some(())
    });
    step.quiet();
    outcome?;
    Ok(count(&console.transcript()).0)
}
