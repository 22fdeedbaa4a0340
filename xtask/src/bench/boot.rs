//! From QEMU's start to the first line of user space and to the shell's prompt, beside a Linux kernel from QEMU's start to its first
//! user process.

use std::time::Duration;

use super::group::Group;
use super::linux::{self, Rival};
use super::row::{Figure, Peer, Row, Source, Unit};
use super::table::Table;
use super::{BenchError, plan};
use crate::build;
use crate::console::{Console, ConsoleError};
use crate::disk;
use crate::machine::{Accelerator, Drive, Machine};
use crate::progress::Step;
use crate::session::PROMPT;
use crate::setup;

/// How often each is measured.
const ROUNDS: u32 = 10;
/// How long a boot may take.
const LIMIT: Duration = Duration::from_secs(120);
/// What the root server says first of all.
const FIRST_LINE: &str = "init: user space runs";
/// What is typed at the first prompt, and what comes of it when the disk is mounted.
const FIRST_COMMAND: &str = "ls /disk";
const FIRST_FILE: &str = "readme.txt";
/// How many times sooner than Linux's first process the root server is to run, and the shell to wait for a command.
const FIRST_LINE_BAR: f64 = 12.0;
const PROMPT_BAR: f64 = 6.0;
/// How long others take to their first line: `docs/performance.md` says how that was measured.
const OTHERS: [(&str, f64); 2] = [("NOVA", 0.138), ("seL4", 0.290)];

/// A boot of each system, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Round {
    /// Here, to the first line; nothing if there was none.
    first_line: Option<f64>,
    /// Here, to the prompt.
    prompt: f64,
    /// Here, to the first file that a command lists; nothing without a disk.
    file: Option<f64>,
    /// Linux, to its first process.
    linux: f64,
}

/// Boots this system, and lists files if it has some. What Linux takes is left open.
fn own(machine: &Machine) -> Result<Round, ConsoleError> {
    let mut console = Console::start(machine, None)?;
    let started = console.started();
    let mut first_line = None;
    console.wait_for("the shell's prompt", LIMIT, |screen| {
        let is_there = || screen.lines().iter().any(|line| line.contains(FIRST_LINE));
        if first_line.is_none() && is_there() {
            first_line = Some(started.elapsed().as_secs_f64());
        }
        (screen.current().trim_end() == PROMPT.trim_end()).then_some(())
    })?;
    let mut round = Round { first_line, prompt: started.elapsed().as_secs_f64(), ..Round::default() };
    if !machine.drives.is_empty() {
        console.type_text(&format!("{FIRST_COMMAND}\r"))?;
        console.expect_from(0, FIRST_FILE, LIMIT)?;
        round.file = Some(started.elapsed().as_secs_f64());
    }
    Ok(round)
}

fn rows(rounds: &[Round]) -> Vec<Row> {
    let seconds = |of: fn(&Round) -> Option<f64>| -> Option<Figure> {
        Figure::median(Unit::Seconds, &rounds.iter().filter_map(of).collect::<Vec<_>>())
    };
    let times = |of: fn(&Round) -> Option<f64>| {
        let pairs: Vec<_> = rounds.iter().filter_map(|round| Some((of(round)?, round.linux))).collect();
        Figure::times_faster(&pairs)
    };
    let linux = seconds(|round| Some(round.linux));
    let beside_linux = |mut row: Row| {
        row.peers.extend(linux.map(|linux| Peer::measured("Linux to its first process", linux.value)));
        row
    };
    let mut first_line = beside_linux(Row::new(
        "boot-first-line-time",
        "to the first line of user space",
        seconds(|round| round.first_line),
    ));
    first_line.peers.extend(OTHERS.map(|(name, value)| Peer {
        name: name.to_owned(),
        value,
        source: Source::Published,
    }));
    let prompt = Row::new("boot-prompt-time", "to the shell's prompt", seconds(|round| Some(round.prompt)));
    let file = seconds(|round| round.file)
        .map(|file| Row::new("boot-file-time", "to the files that its first command lists", Some(file)));
    let times_spent = [Some(prompt), file].into_iter().flatten().map(beside_linux);
    let mut rows = vec![first_line];
    rows.extend(times_spent);
    rows.extend([
        Row::new("boot-first-line", "first line, beside Linux's first process", times(|round| round.first_line))
            .must(FIRST_LINE_BAR),
        Row::new("boot-prompt", "prompt, beside Linux's first process", times(|round| Some(round.prompt)))
            .must(PROMPT_BAR),
    ]);
    rows
}

/// Measures both, turn by turn so that a busy host slows both.
///
/// # Errors
///
/// [`BenchError`].
pub(super) fn boot(accelerator: Accelerator) -> Result<Table, BenchError> {
    let source = setup::ensure()?;
    let built = build::system(&source)?;
    let rival = Rival::fetch()?;
    let mut machine = Machine::new(&built.image);
    machine.drives = disk::default_image().map(|image| vec![Drive::new(image)]).unwrap_or_default();
    let mut linux_machine = rival.machine()?;
    for machine in [&mut machine, &mut linux_machine] {
        plan::execute_by(accelerator, machine);
    }
    let step = Step::start("Booting");
    let mut rounds = Vec::new();
    for number in 1..=ROUNDS {
        step.news(&format!("round {number} of {ROUNDS}: Bulkhead"));
        let round = own(&machine)?;
        step.news(&format!("round {number} of {ROUNDS}: Linux"));
        let mut console = Console::start(&linux_machine, None)?;
        console.expect_from(0, linux::FIRST_WORDS, LIMIT)?;
        rounds.push(Round { linux: console.started().elapsed().as_secs_f64(), ..round });
    }
    step.quiet();
    Ok(Table::new(Group::Boot, rows(&rounds))
        .note(format!(
            "Seconds of the host, {}, {} of memory, one processor; medians of {ROUNDS} rounds in turn, and their range.",
            plan::name(accelerator),
            machine.memory
        ))
        .note(format!("Linux {}, `{}`, no disk, a program of ten instructions.", rival.version(), linux::COMMAND_LINE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_boot_is_compared_with_the_linux_of_its_round() {
        let round = |first_line, prompt, linux| Round { first_line: Some(first_line), prompt, file: None, linux };
        let rows = rows(&[round(0.2, 0.4, 2.4), round(0.1, 0.2, 1.4), round(0.1, 0.2, 1.3)]);
        let value = |name: &str| rows.iter().find(|row| row.name == name).and_then(|row| row.figure).map(|f| f.value);
        assert_eq!(value("boot-first-line-time"), Some(0.1));
        assert_eq!(value("boot-first-line").map(f64::round), Some(13.0));
        assert!(rows.iter().all(Row::is_good), "{rows:?}");
    }

    #[test]
    fn a_boot_without_a_first_line_has_not_met_its_bar() {
        let rows = rows(&[Round { prompt: 0.2, linux: 2.0, ..Round::default() }]);
        let row = rows.iter().find(|row| row.name == "boot-first-line").expect("it is shown");
        assert_eq!((row.figure, row.is_met()), (None, Some(false)));
    }
}
