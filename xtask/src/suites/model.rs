//! The search through the kernel core's states: its own tests, then bugs that are planted and have to be found, then the
//! search itself, whose table is shown.

use super::{MODEL, Size, SuiteError, Tally, libtest};
use crate::workspace;

/// cargo's profile for the search: optimised, but quicker to build than what goes into the machine.
const PROFILE: &str = "search";

/// Distinct states that the search visits, by size.
const fn states(size: Size) -> &'static str {
    match size {
        Size::Usual => "1000000",
        Size::Large => "10000000",
    }
}

/// Runs the tests whose names contain `filter` and, unless there is a filter, the search, which counts as one.
pub(super) fn run(filter: Option<&str>, size: Size) -> Result<Tally, SuiteError> {
    let mut tally = libtest::run(&["test", "--no-fail-fast", "--profile", PROFILE, "--package", MODEL], &[], filter)?;
    // Of one build with all bugs in it, each is switched on in turn; the table says what found it.
    let planted = ["--profile", PROFILE, "--package", MODEL, "--features", "seeded-bugs", "--test", "seeded_bugs"];
    let arguments: Vec<&str> = ["test", "--no-fail-fast"].into_iter().chain(planted).collect();
    tally += libtest::run(&arguments, &["--nocapture", "--test-threads=1"], filter)?;
    if filter.is_none() {
        let search = ["run", "--quiet", "--profile", PROFILE, "--package", MODEL, "--", "--states", states(size)];
        let status = workspace::cargo().args(search).status()?;
        let (passed, failed) = if status.success() { (1, 0) } else { (0, 1) };
        tally += Tally { passed, failed };
    }
    Ok(tally)
}
