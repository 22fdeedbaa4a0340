//! `cargo xtask replay`: the same system calls on the kernel's core, on the host, and on the kernel in a machine.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use script::predict::{Violation, predict};
use script::{Outcome, Script, SyntaxError};

use crate::build::{self, BuildError};
use crate::console::{Console, ConsoleError};
use crate::machine::{Machine, Memory};
use crate::progress::Step;
use crate::setup::{self, SetupError};

/// How long the machine may take.
const LIMIT: Duration = Duration::from_secs(120);
/// Lines of a script after which every invariant of the core is checked.
const CHECK_EVERY: usize = 50;
/// How each line of the machine about a call begins, and the line that closes it.
const CALL: &str = "replay ";
const CLOSING: &str = "replay: ";

/// Why a script could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The script cannot be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is no script.
    #[error("{path}: {source}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: SyntaxError,
    },
    /// The core violates an invariant.
    #[error("on the host, after line {} of the script: {}", .0.after, .0.what)]
    Violation(Violation),
    /// The machine is not set up.
    #[error("{0}")]
    Setup(#[from] SetupError),
    /// There is nothing to boot.
    #[error("{0}")]
    Build(#[from] BuildError),
    /// The machine did not come to the end of the script.
    #[error("{0}")]
    Console(#[from] ConsoleError),
}

/// What came of a script in the machine and on the host.
#[derive(Clone, Debug)]
pub struct Comparison {
    script: Script,
    predicted: Vec<Outcome>,
    found: Vec<Option<Outcome>>,
}

/// Carries a script out on both.
///
/// # Errors
///
/// [`ReplayError`]. That the two disagree is no error but in the comparison.
pub fn replay(path: &Path) -> Result<Comparison, ReplayError> {
    let text = fs::read_to_string(path).map_err(|source| ReplayError::File { path: path.to_owned(), source })?;
    let script = Script::parse(&text).map_err(|source| ReplayError::Syntax { path: path.to_owned(), source })?;
    let predicted = predict(&script, CHECK_EVERY).map_err(ReplayError::Violation)?;
    let built = build::replay(text, &setup::ensure()?)?;
    let mut machine = Machine::new(&built.image);
    machine.memory = Memory::mebibytes(128);
    machine.exit_device = true;
    let step = Step::start("In the machine");
    let mut console = Console::start(&machine, None)?;
    let outcome = console.wait_for("the end of the script", LIMIT, |screen| {
        screen.lines().iter().any(|line| line.starts_with(CLOSING)).then_some(())
    });
    let transcript = console.transcript();
    step.quiet();
    if let Err(error) = outcome {
        // How far it came says which call it did not come back from.
        eprintln!("{transcript}");
        return Err(error.into());
    }
    let mut found = vec![None; script.lines.len()];
    for (number, outcome) in transcript.lines().filter_map(call) {
        if let Some(place) = found.get_mut(number.wrapping_sub(1)) {
            *place = Some(outcome);
        }
    }
    Ok(Comparison { script, predicted, found })
}

/// A line `replay N RAX RDI RSI RDX WRITTEN`.
fn call(line: &str) -> Option<(usize, Outcome)> {
    let mut words = line.trim().strip_prefix(CALL)?.split(' ');
    let number = words.next()?.parse().ok()?;
    let mut hexadecimal = || u64::from_str_radix(words.next()?, 16).ok();
    let results = [hexadecimal()?, hexadecimal()?, hexadecimal()?, hexadecimal()?];
    Some((number, Outcome { results, written: hexadecimal()? }))
}

impl Comparison {
    /// How many calls there are whose outcomes differ.
    pub fn disagreements(&self) -> usize {
        (0..self.script.lines.len()).filter(|index| !self.agrees(*index)).count()
    }

    fn agrees(&self, index: usize) -> bool {
        let syscall = self.script.lines[index].syscall;
        self.found[index].is_some_and(|found| found.agrees_with(&self.predicted[index], syscall))
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<66} {:<28} on the host", "", "in the machine")?;
        for (index, line) in self.script.lines.iter().enumerate() {
            let found = self.found[index].map_or("nothing".to_owned(), |outcome| outcome.to_string());
            let mark = if self.agrees(index) { "" } else { "   DIFFERS" };
            writeln!(f, "{:<66} {found:<28} {}{mark}", line.to_string(), self.predicted[index])?;
        }
        writeln!(f, "{} calls, {} outcomes differ", self.script.lines.len(), self.disagreements())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_lines_are_understood() {
        let outcome = Outcome { results: [0x1_000c, 0, 2, 0], written: 255 };
        assert_eq!(call("replay 7 1000c 0 2 0 ff\r"), Some((7, outcome)));
        assert_eq!(call("replay: 7 calls"), None);
        assert_eq!(call("replay 7 1 2"), None);
    }

    #[test]
    fn a_call_of_which_the_machine_says_nothing_differs() {
        let script = Script::parse("Yield\nWait 0 0\n").unwrap();
        let predicted = predict(&script, 1).unwrap();
        let mut comparison = Comparison { found: vec![Some(predicted[0]), None], script, predicted };
        assert_eq!(comparison.disagreements(), 1);
        comparison.found[1] = Some(comparison.predicted[1]);
        assert_eq!(comparison.disagreements(), 0);
        comparison.found[1] = Some(Outcome::default());
        assert!(comparison.to_string().contains("WouldBlock   DIFFERS"), "{comparison}");
    }
}
