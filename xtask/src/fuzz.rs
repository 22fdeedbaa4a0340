//! `cargo xtask fuzz`: coverage-guided fuzzing of the kernel's decisions, and of the models of guests' devices.
//!
//! cargo-fuzz builds the entry points in `tests/fuzz/libfuzzer` with libFuzzer, which needs a C++ compiler and nothing
//! else: without a sanitizer, which safe code has no use for, the pinned compiler does.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::setup::{NoTool, Tool};
use crate::workspace;

/// What builds the fuzzer.
const CARGO_FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2", purpose: "it builds the fuzzer" };
/// The entry point for the kernel's core.
const KERNEL: &str = "kernel";
/// The entry points for what a virtual machine's monitor shows its guest.
pub const DEVICES: [&str; 9] =
    ["serial", "interrupts", "clocks", "disk", "console", "network", "entropy", "instruction", "image"];
/// Longer inputs are not made: they would hold more steps than are played, or nothing more than the header of an image.
const MAX_BYTES: usize = 2048;
/// One input may take this many seconds.
const TIMEOUT: u32 = 20;

/// Why there was no fuzzing, or what it has found.
#[derive(Debug, thiserror::Error)]
pub enum FuzzError {
    /// A program cannot be started, or a file not be written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// There is no C++ compiler, in which libFuzzer is written.
    #[error("there is no C++ compiler, which builds libFuzzer; install one (Debian: apt-get install g++)")]
    NoCompiler,
    /// cargo-fuzz is missing and cannot be installed.
    #[error(transparent)]
    NoCargoFuzz(#[from] NoTool),
    /// The entry point does not compile.
    #[error("the fuzzer cannot be built")]
    Build,
    /// An input makes the core panic, violates an invariant, or takes too long.
    #[error(
        "{0} breaks the core. `cargo run --package fuzz -- {0}` prints its steps. Put it into tests/fuzz/corpus, where \
         `cargo test --package fuzz` plays it, before mending what it has found."
    )]
    Found(String),
    /// An input does so with a model of a device.
    #[error(
        "{file} breaks the model. Put it into tests/fuzz/devices/{device}, where `cargo test --package fuzz` plays it, \
         before mending what it has found."
    )]
    FoundInDevice {
        /// The input.
        file: String,
        /// The model.
        device: &'static str,
    },
    /// The fuzzer has failed without naming an input.
    #[error("the fuzzer has failed")]
    Failed,
}

/// What is fuzzed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The kernel's core.
    Kernel,
    /// One of [`DEVICES`].
    Device(&'static str),
}

impl Subject {
    /// The model of this name.
    #[must_use]
    pub fn device(name: &str) -> Option<Self> {
        DEVICES.into_iter().find(|device| *device == name).map(Subject::Device)
    }

    /// The entry point.
    fn target(self) -> &'static str {
        match self {
            Subject::Kernel => KERNEL,
            Subject::Device(device) => device,
        }
    }

    fn found(self, file: String) -> FuzzError {
        match self {
            Subject::Kernel => FuzzError::Found(file),
            Subject::Device(device) => FuzzError::FoundInDevice { file, device },
        }
    }
}

/// What the fuzzer is to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What is fuzzed.
    pub subject: Subject,
    /// How long it tries new inputs.
    pub time: Duration,
    /// Whether to put the smallest set of inputs that reaches everything into the source tree afterwards.
    pub keep: bool,
}

/// Where things are.
struct Folders {
    /// The committed corpus.
    kept: PathBuf,
    /// Inputs found on this machine.
    found: PathBuf,
    /// Inputs that break something.
    broken: PathBuf,
    /// What cargo-fuzz builds.
    build: PathBuf,
}

impl Folders {
    fn make(subject: Subject) -> io::Result<Self> {
        let build = workspace::target().join("fuzz");
        let (kept, own) = match subject {
            Subject::Kernel => ("tests/fuzz/corpus".into(), build.clone()),
            Subject::Device(device) => (format!("tests/fuzz/devices/{device}"), build.join("devices").join(device)),
        };
        let kept = workspace::root().join(kept);
        let folders = Self { kept, found: own.join("found"), broken: own.join("broken"), build };
        for folder in [&folders.kept, &folders.found, &folders.broken] {
            fs::create_dir_all(folder)?;
        }
        Ok(folders)
    }
}

/// Installs what is missing, builds the fuzzer and lets it run, beginning with everything found before.
///
/// # Errors
///
/// [`FuzzError::Found`] or [`FuzzError::FoundInDevice`] with the file that breaks something; the others if there was no
/// fuzzing.
pub fn run(plan: Plan) -> Result<(), FuzzError> {
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    if workspace::find_program(&compiler).is_none() {
        return Err(FuzzError::NoCompiler);
    }
    let folders = Folders::make(plan.subject)?;
    let path = CARGO_FUZZ.install()?;
    let fuzzer = build(&folders, &path, plan.subject.target())?;

    let before = files_in(&folders.broken)?;
    let mut fuzzing = Command::new(&fuzzer);
    fuzzing.args([&folders.found, &folders.kept]).args([
        format!("-max_total_time={}", plan.time.as_secs()),
        format!("-max_len={MAX_BYTES}"),
        // What goes deep is long; short inputs are made from it anyway.
        "-len_control=0".to_owned(),
        format!("-timeout={TIMEOUT}"),
        format!("-artifact_prefix={}/", folders.broken.display()),
        "-print_final_stats=1".to_owned(),
    ]);
    if !fuzzing.status()?.success() {
        let broken = files_in(&folders.broken)?.into_iter().find(|file| !before.contains(file));
        return Err(broken.map_or(FuzzError::Failed, |file| plan.subject.found(file.display().to_string())));
    }
    if plan.keep { keep(&fuzzer, &folders) } else { Ok(()) }
}

/// Builds the fuzzer with an entry point; returns its program.
fn build(folders: &Folders, path: &OsString, target: &str) -> Result<PathBuf, FuzzError> {
    let mut cargo = workspace::cargo();
    cargo.args(["fuzz", "build", "--fuzz-dir", "tests/fuzz/libfuzzer", "--sanitizer", "none", "--target-dir"]);
    cargo.arg(&folders.build).arg(target).env("PATH", path).stdin(Stdio::null());
    if !cargo.status()?.success() {
        return Err(FuzzError::Build);
    }
    let triples = fs::read_dir(&folders.build)?;
    let programs = triples.filter_map(|entry| Some(entry.ok()?.path().join("release").join(target)));
    programs.filter(|program| program.is_file()).max().ok_or(FuzzError::Build)
}

/// Replaces the committed corpus by the smallest set of inputs that reaches what all of them reach.
fn keep(fuzzer: &Path, folders: &Folders) -> Result<(), FuzzError> {
    let smallest = folders.build.join("smallest");
    if smallest.exists() {
        fs::remove_dir_all(&smallest)?;
    }
    fs::create_dir_all(&smallest)?;
    let merged = Command::new(fuzzer)
        .arg("-merge=1")
        .arg(format!("-max_len={MAX_BYTES}"))
        .args([&smallest, &folders.kept, &folders.found])
        .status()?;
    if !merged.success() {
        return Err(FuzzError::Failed);
    }
    for file in files_in(&folders.kept)? {
        fs::remove_file(file)?;
    }
    let files = files_in(&smallest)?;
    let mut bytes = 0;
    for file in &files {
        bytes += fs::copy(file, folders.kept.join(file.file_name().unwrap_or_default()))?;
    }
    eprintln!("{}: {} files, {bytes} bytes", folders.kept.display(), files.len());
    Ok(())
}

fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_has_an_entry_point_and_a_corpus() {
        let fuzz = workspace::root().join("tests/fuzz");
        for device in DEVICES {
            assert!(fuzz.join(format!("libfuzzer/fuzz_targets/{device}.rs")).is_file(), "{device}");
            assert!(fuzz.join("devices").join(device).is_dir(), "{device}");
            assert_eq!(Subject::device(device), Some(Subject::Device(device)));
        }
        assert_eq!(Subject::device("kernel"), None);
    }
}
