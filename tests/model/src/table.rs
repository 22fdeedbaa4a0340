//! What a search visited, as a table.

use crate::search::Report;
use std::fmt;
use std::time::Duration;

/// The first line of the table.
pub const HEAD: &str = "scenario          states  transitions     refused  depth             time";

/// A scenario's line.
pub fn row(name: &str, report: &Report) -> String {
    let reach = if report.complete { "complete" } else { "cut" };
    format!(
        "{name:<12} {:>11}  {:>11} {:>11}  {:>5}  {reach:<8} {:>5.1} s",
        report.states,
        report.transitions,
        report.refused,
        report.depth,
        report.time.as_secs_f64()
    )
}

/// The last line of the table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Total {
    /// Distinct states of all scenarios.
    pub states: usize,
    transitions: usize,
    refused: usize,
    time: Duration,
}

impl Total {
    /// Adds a scenario.
    pub fn add(&mut self, report: &Report) {
        self.states += report.states;
        self.transitions += report.transitions;
        self.refused += report.refused;
        self.time += report.time;
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Total { states, transitions, refused, time } = self;
        write!(
            f,
            "{:<12} {states:>11}  {transitions:>11} {refused:>11}                  {:>5.1} s",
            "total",
            time.as_secs_f64()
        )
    }
}
