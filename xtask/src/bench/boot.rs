//! From QEMU's start to the shell's prompt, beside a Linux kernel from QEMU's start to its first user process.

use std::time::Duration;

use super::linux::{self, Linux};
use super::{BenchError, Samples};
use crate::build;
use crate::console::Console;
use crate::disk;
use crate::machine::{Drive, Machine};
use crate::progress::Step;
use crate::session::Session;
use crate::setup;

/// How often each is measured.
const ROUNDS: u32 = 10;
/// How long Linux may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Measures both, turn by turn so that a busy host slows both, and returns the findings as text.
///
/// # Errors
///
/// [`BenchError`].
pub fn boot() -> Result<String, BenchError> {
    let source = setup::ensure()?;
    let built = build::system(&source)?;
    let linux = Linux::fetch().map_err(BenchError::NoLinux)?;
    let mut machine = Machine::new(&built.image);
    machine.drives = disk::default_image().map(|image| vec![Drive::new(image)]).unwrap_or_default();
    let step = Step::start("Booting");
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for round in 1..=ROUNDS {
        step.news(&format!("round {round} of {ROUNDS}: Bulkhead"));
        let session = Session::boot(&machine)?;
        ours.push(session.booted_in());
        drop(session);
        step.news(&format!("round {round} of {ROUNDS}: Linux"));
        let mut console = Console::start(&linux.machine(), None)?;
        console.expect_from(0, linux::FIRST_WORDS, LIMIT)?;
        theirs.push(console.started().elapsed());
    }
    step.quiet();
    Ok(format!(
        "From QEMU's start, emulated (TCG), {} of memory, one processor; median of {ROUNDS} and range:\n\n  \
         Bulkhead, to the shell's prompt                {ours}\n  \
         Linux {}, to its first user process  {theirs}\n\n\
         Linux has no disk, the command line `{}`, and an initial RAM disk of one program.\n\
         Bulkhead has its default disk.\n",
        machine.memory,
        linux.version,
        linux::COMMAND_LINE,
    ))
}
