//! `cargo xtask bench`: measurements, each beside the same figure for something well known, taken in the same run.

mod block;
mod boot;
mod costs;
mod linux;
mod rpc;

use std::fmt;
use std::time::Duration;

pub use block::{Confinement, block};
pub use boot::boot;
pub use costs::{Group, Table, costs};
pub use rpc::{Cost, Costs, rpc};

use crate::build::{self, BuildError};
use crate::console::{Console, ConsoleError};
use crate::progress::Step;
use crate::setup::{self, SetupError};
use crate::suites;

/// Why a measurement was not made.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The machine is not set up.
    #[error("{0}")]
    Setup(#[from] SetupError),
    /// The system was not built.
    #[error("{0}")]
    Build(#[from] BuildError),
    /// A machine did not get as far as is measured.
    #[error("{0}")]
    Console(#[from] ConsoleError),
    /// The shell does not show what is measured; holds what it showed.
    #[error("the figures are not where they were expected; the shell showed\n{0}")]
    NoFigures(String),
    /// The kernel to compare with is not to be had; holds the reason.
    #[error("cannot get a Linux kernel to compare with: {0}")]
    NoLinux(String),
}

/// Runs a suite of the conformance image, or those of its cases whose names contain `cases`, in a machine that counts instructions:
/// what it writes.
fn counted(suite: &str, cases: &str, what: &str) -> Result<String, BenchError> {
    /// Counting instructions makes the machine slower.
    const LIMIT: Duration = Duration::from_secs(600);
    let built = build::conformance(&setup::ensure()?)?;
    let machine = suites::counting_machine(&built.image, &format!("suite={suite} case={cases}"));
    let step = Step::start(what);
    let mut console = Console::start(&machine, None)?;
    console.wait_for("the closing line of the measurement", LIMIT, |screen| {
        screen.lines().iter().any(|line| line.starts_with(&format!("{suite}: "))).then_some(())
    })?;
    step.quiet();
    let text = console.transcript();
    for line in text.lines().filter(|line| line.starts_with("FAIL ")) {
        eprintln!("{line}");
    }
    Ok(text)
}

/// What a measurement gave, repeated.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Adds one.
    pub fn push(&mut self, sample: Duration) {
        let place = self.0.partition_point(|other| *other < sample);
        self.0.insert(place, sample);
    }

    /// The middle one, or the mean of the two in the middle; zero if there is none.
    pub fn median(&self) -> Duration {
        match self.0.len() {
            0 => Duration::ZERO,
            count if count.is_multiple_of(2) => (self.0[count / 2 - 1] + self.0[count / 2]) / 2,
            count => self.0[count / 2],
        }
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |sample: Option<&Duration>| sample.copied().unwrap_or_default().as_secs_f64();
        write!(
            f,
            "{:.2} s ({:.2} to {:.2})",
            self.median().as_secs_f64(),
            seconds(self.0.first()),
            seconds(self.0.last())
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        let mut samples = Samples::default();
        assert_eq!(samples.median(), Duration::ZERO);
        for milliseconds in [500, 100, 900] {
            samples.push(Duration::from_millis(milliseconds));
        }
        assert_eq!(samples.median(), Duration::from_millis(500));
        samples.push(Duration::from_millis(600));
        assert_eq!(samples.median(), Duration::from_millis(550));
        assert_eq!(samples.to_string(), "0.55 s (0.10 to 0.90)");
    }
}
