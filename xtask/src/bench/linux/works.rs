//! What works cost Linux, done by its first process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::super::BenchError;
use super::super::row::lines;
use super::Rival;
use crate::build;
use crate::console::Console;
use crate::machine::Machine;
use crate::setup;

/// How long a machine may take: counting instructions makes it slower.
const LIMIT: Duration = Duration::from_secs(600);

/// What works cost by their names: ticks of the time-stamp counter, which are instructions in a machine that counts them;
/// nanoseconds where a disk is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// The fewest of a round.
    pub fewest: BTreeMap<String, u64>,
    /// The median.
    pub middle: BTreeMap<String, u64>,
}

impl Costs {
    /// What a machine wrote.
    pub fn read(text: &str) -> Self {
        let by_name = |word| lines(word, text).into_iter().map(|(name, ticks)| (name.to_owned(), ticks)).collect();
        Self { fewest: by_name("cost"), middle: by_name("middle") }
    }
}

/// The kernel with the program that does the works.
#[derive(Debug)]
pub(in super::super) struct Works {
    rival: Rival,
    program: PathBuf,
}

impl Works {
    /// Fetches the one and builds the other, if they are not there yet.
    pub(in super::super) fn fetch() -> Result<Self, BenchError> {
        let program = build::linux_peer(&setup::ensure()?)?;
        Ok(Self { rival: Rival::fetch()?, program })
    }

    /// The kernel's version.
    pub(in super::super) fn version(&self) -> &str {
        self.rival.version()
    }

    /// Has the first process told `words`, and with that what to do, in a machine that `change` may change.
    pub(in super::super) fn run(&self, words: &str, change: impl FnOnce(&mut Machine)) -> Result<Costs, BenchError> {
        let mut machine = self.rival.machine_of_works(&self.program, words)?;
        change(&mut machine);
        let mut console = Console::start(&machine, None)?;
        console.wait_for("Linux's works to be done", LIMIT, |screen| {
            screen.lines().iter().any(|line| line.starts_with("linux: ")).then_some(())
        })?;
        let text = console.transcript();
        for line in text.lines().filter(|line| line.starts_with("FAIL ")) {
            eprintln!("Linux: {line}");
        }
        Ok(Costs::read(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_work_tells_its_shortest_and_its_middle_round() {
        let costs = Costs::read("cost pipe-8 12000\r\nmiddle pipe-8 12753\r\nlinux: 1 measured\n");
        assert_eq!(costs.fewest["pipe-8"], 12_000);
        assert_eq!(costs.middle["pipe-8"], 12_753);
    }
}
