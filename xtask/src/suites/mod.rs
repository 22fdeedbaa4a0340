//! `cargo xtask test`: every test there is, counted together.

mod bound;
pub mod catalogue;
mod conformance;
mod dma;
mod fault;
mod hostile;
mod libtest;
mod model;
mod restart;
mod time;

use std::fmt;
use std::ops::AddAssign;
use std::time::Instant;

pub(crate) use bound::counting_machine;
pub(crate) use conformance::machine;
pub use hostile::Hostility;

use crate::build::BuildError;
use crate::console::ConsoleError;
use crate::fault::FaultError;
use crate::guest::{GuestError, Kernel};
use crate::setup::{self, SetupError};
use crate::workspace;

/// The crate that searches the kernel core's states.
const MODEL: &str = "model";

/// How the kernel's lock and the ring of `userlib` are explored: built for loom, apart from everything else.
const INTERLEAVINGS: [&str; 13] = [
    "test",
    "--no-fail-fast",
    "--release",
    "--package",
    "kernel-sync",
    "--package",
    "userlib",
    "--test",
    "interleavings",
    "--target-dir",
    "target/loom",
    "--config",
    "build.rustflags=['--cfg', 'loom']",
];

/// Why a suite could not be run.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// The machine is not set up.
    #[error("{0}")]
    Setup(#[from] SetupError),
    /// cargo could not be started or its output not be read, or a suite's source cannot be read.
    #[error("cannot run cargo or read its output or a suite's source: {0}")]
    Io(#[from] std::io::Error),
    /// The system was not built.
    #[error("{0}")]
    Build(#[from] BuildError),
    /// There is no kernel to run in guests.
    #[error("{0}")]
    Guest(#[from] GuestError),
    /// The campaign could not be carried out.
    #[error("{0}")]
    Fault(#[from] FaultError),
    /// The machine did not come to an end of the suite.
    #[error("{0}")]
    Console(#[from] ConsoleError),
}

/// A group of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Suite {
    /// Unit and property tests of everything that runs on the host
    Host,
    /// Exhaustive search through the kernel core's states at small sizes, with a table of what was visited
    Model,
    /// Every order in which processors can meet at the kernel's lock, and domains at a ring
    Interleavings,
    /// The kernel's behaviour, case by case, from inside the machine
    Conformance,
    /// How long the kernel keeps the processor: the longest entry by system call, in guest instructions
    Bound,
    /// What a budget gives and never exceeds, and who can delay whom, in guest instructions
    Time,
    /// What a device can be made to reach by a driver that means harm, without an IOMMU and with each kind
    Dma,
    /// Domains that make random system calls and run random bytes, beside a victim whose work is checked
    Hostile,
    /// Every domain dies in every way, a hundred times by request, and comes back
    Restart,
    /// The whole system, booted and driven from the host
    System,
    /// Guests: Linux and kernels that mean harm, in machines within the booted system
    Guests,
    /// A small fault-injection campaign into every domain of the system; a domain's name chooses that one
    Fault,
}

impl Suite {
    /// Every suite, the quickest to fail first.
    pub const ALL: [Self; 12] = [
        Self::Host,
        Self::Model,
        Self::Interleavings,
        Self::Conformance,
        Self::Bound,
        Self::Time,
        Self::Dma,
        Self::Hostile,
        Self::Restart,
        Self::System,
        Self::Guests,
        Self::Fault,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Model => "model",
            Self::Interleavings => "interleavings",
            Self::Conformance => "conformance",
            Self::Bound => "bound",
            Self::Time => "time",
            Self::Dma => "dma",
            Self::Hostile => "hostile",
            Self::Restart => "restart",
            Self::System => "system",
            Self::Guests => "guests",
            Self::Fault => "fault",
        }
    }

    /// Runs the tests of this suite that were chosen.
    ///
    /// # Errors
    ///
    /// [`SuiteError`] if the suite could not be run; tests that fail are counted instead.
    pub fn run(self, choice: &Choice<'_>) -> Result<Tally, SuiteError> {
        let Choice { filter, size, .. } = *choice;
        let started = Instant::now();
        eprintln!("\n== {} ==", self.name());
        let tally = match self {
            Self::Host => {
                let members = workspace::Members::ask()?.of_host();
                // The model has a suite of its own: unoptimised it would take minutes.
                let packages = members.iter().filter(|name| *name != MODEL).flat_map(|name| ["--package", name]);
                let arguments: Vec<&str> = ["test", "--no-fail-fast"].into_iter().chain(packages).collect();
                libtest::run(&arguments, &[], filter)
            }
            Self::Model => model::run(filter, size),
            Self::Interleavings => libtest::run(&INTERLEAVINGS, &[], filter),
            Self::Conformance => conformance::run(filter),
            Self::Bound => bound::run(filter),
            Self::Time => time::run(filter),
            Self::Dma => dma::run(filter),
            Self::Fault => fault::run(filter, size),
            Self::Hostile => hostile::run(&choice.hostility),
            Self::Restart => restart::run(filter, choice.writes_docs),
            // Each test boots a machine, and an emulated machine keeps one core of the host busy.
            Self::System => {
                libtest::run(&["test", "--no-fail-fast", "--package", "system-tests"], &["--test-threads=2"], filter)
            }
            Self::Guests => guests(filter),
        }?;
        eprintln!("== {}: {tally} ({:.0} s) ==", self.name(), started.elapsed().as_secs_f64());
        Ok(tally)
    }
}

/// Runs the tests of guests, with the kernels for them fetched before: without these none could say anything.
fn guests(filter: Option<&str>) -> Result<Tally, SuiteError> {
    for kernel in Kernel::ALL {
        kernel.obtain()?;
    }
    libtest::run(&["test", "--no-fail-fast", "--package", "guest-tests"], &["--test-threads=2"], filter)
}

/// How much of a suite is run, where it could go on for as long as one likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Size {
    /// What every change has to pass, in minutes.
    #[default]
    Usual,
    /// What is worth an hour now and then.
    Large,
}

/// What of the suites is run.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Only tests whose names contain this. The hostile run has no parts to choose from.
    pub filter: Option<&'a str>,
    /// How much.
    pub size: Size,
    /// What the hostile run is like.
    pub hostility: Hostility,
    /// Whether a suite that makes a page of the book writes it, instead of comparing it.
    pub writes_docs: bool,
}

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Sets up what is missing and runs `suites`. A suite that cannot be run counts as one failure, and the others go on.
///
/// # Errors
///
/// [`SuiteError::Setup`] if the machine lacks what the tests need.
pub fn run(suites: &[Suite], choice: &Choice<'_>) -> Result<Tally, SuiteError> {
    setup::ensure()?;
    let mut total = Tally::default();
    for suite in suites {
        match suite.run(choice) {
            Ok(tally) => total += tally,
            Err(error) => {
                eprintln!("{error}\n== {}: not run ==", suite.name());
                total.failed += 1;
            }
        }
    }
    Ok(total)
}
