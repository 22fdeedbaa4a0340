//! Counterexamples, told as scripts.

use crate::event::Event;
use crate::machine::Machine;
use crate::sizes::Tiny;
use crate::tree::Breakage;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A way to a violation.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// What is violated.
    pub violation: String,
    /// What happened, and who ran.
    pub script: Vec<String>,
}

impl std::fmt::Display for Counterexample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "violated: {}", self.violation)?;
        for (index, line) in self.script.iter().enumerate() {
            writeln!(f, "{:4}. {line}", index + 1)?;
        }
        Ok(())
    }
}

/// Tells a path in words. Its last event may be one at which the core panics.
pub(crate) fn script(start: fn() -> Machine<Tiny>, events: &[Event], breakage: Option<Breakage>) -> Vec<String> {
    let mut machine = start();
    let mut lines = Vec::new();
    for event in events {
        lines.push(event.describe(&machine));
        let step = AssertUnwindSafe(|| {
            event.apply(&mut machine);
            if let Some(breakage) = breakage {
                breakage(&mut machine);
            }
        });
        if catch_unwind(step).is_err() {
            break;
        }
    }
    lines
}
