//! `cargo xtask bench`: measurements, each beside the same figure for something well known, taken in the same run.

mod appliance;
pub mod baseline;
mod block;
mod boot;
pub mod chart;
mod costs;
mod density;
mod file;
mod group;
mod guest;
mod linux;
pub mod page;
mod plan;
mod recovery;
pub mod report;
mod row;
mod rpc;
mod table;
mod trace;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use baseline::Baseline;
pub use group::Group;
pub use linux::Costs;
pub use plan::Plan;
pub use row::{Figure, Peer, Row, Source, Unit};
pub use table::Table;
pub use trace::{Trace, trace};

use crate::build::{self, BuildError};
use crate::console::{Console, ConsoleError};
use crate::guest::GuestError;
use crate::linux::LinuxError;
use crate::machine::{Accelerator, Kvm, Machine, Memory, MonitorError};
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
    /// QEMU does not say what the disks have done.
    #[error("{0}")]
    Monitor(#[from] MonitorError),
    /// Less came from the disk than was to be measured.
    #[error(
        "`{work}` has read {said} bytes, and QEMU counts {counted} from the disk: something has kept what was read before"
    )]
    Cached {
        /// The work.
        work: &'static str,
        /// What was read, as the application says.
        said: u64,
        /// What QEMU says.
        counted: u64,
    },
    /// The shell does not show what is measured; holds what it showed.
    #[error("the figures are not where they were expected; the shell showed\n{0}")]
    NoFigures(String),
    /// QEMU's record of what it executes cannot be had or understood.
    #[error("cannot read what QEMU executes: {0}")]
    Trace(std::io::Error),
    /// This machine cannot run guests on its own processor; holds the reason.
    #[error(
        "--accel kvm needs a KVM under which guests run, and this machine has none: {0}. Without --accel, instructions are counted and \
         times taken under emulation, on any machine"
    )]
    NoKvm(Kvm),
    /// The kernel to compare with is not to be had.
    #[error("{0}")]
    Linux(#[from] LinuxError),
    /// There is no guest to measure.
    #[error("{0}")]
    Guest(#[from] GuestError),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl BenchError {
    fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

/// Runs a suite of the conformance image, or those of its cases whose names contain `cases`, in a machine that counts instructions:
/// what it writes.
fn counted(suite: &str, cases: &str, what: &str) -> Result<String, BenchError> {
    counted_in(Memory::default(), suite, cases, what)
}

/// The same in a machine with so much memory.
fn counted_in(memory: Memory, suite: &str, cases: &str, what: &str) -> Result<String, BenchError> {
    let built = build::conformance(&setup::ensure()?)?;
    let mut machine = suites::counting_machine(&built.image, &format!("suite={suite} case={cases}"));
    machine.memory = memory;
    run_suite(&machine, suite, what)
}

/// A suite, told these words, in a machine whose instructions take time.
fn timed(suite: &str, words: &str, accelerator: Accelerator, what: &str) -> Result<String, BenchError> {
    let built = build::conformance(&setup::ensure()?)?;
    let mut machine = suites::machine(&built.image, 1, &format!("suite={suite} {words}"));
    plan::time(accelerator, &mut machine);
    run_suite(&machine, suite, what)
}

fn run_suite(machine: &Machine, suite: &str, what: &str) -> Result<String, BenchError> {
    /// Counting instructions makes the machine slower.
    const LIMIT: Duration = Duration::from_secs(600);
    let step = Step::start(what);
    let mut console = Console::start(machine, None)?;
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
