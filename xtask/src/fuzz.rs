//! `cargo xtask fuzz`: coverage-guided fuzzing of the kernel's decisions.
//!
//! cargo-fuzz builds the entry point in `tests/fuzz/libfuzzer` with libFuzzer, which needs a C++ compiler and nothing
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
/// The entry point.
const TARGET: &str = "kernel";
/// Longer inputs are not made: they would hold more steps than are played.
const MAX_BYTES: usize = 1024;
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
    /// The fuzzer has failed without naming an input.
    #[error("the fuzzer has failed")]
    Failed,
}

/// What the fuzzer is to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
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
    fn make() -> io::Result<Self> {
        let target = workspace::target();
        let folders = Self {
            kept: workspace::root().join("tests/fuzz/corpus"),
            found: target.join("fuzz/found"),
            broken: target.join("fuzz/broken"),
            build: target.join("fuzz"),
        };
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
/// [`FuzzError::Found`] with the file that breaks the core; the others if there was no fuzzing.
pub fn run(plan: Plan) -> Result<(), FuzzError> {
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    if workspace::find_program(&compiler).is_none() {
        return Err(FuzzError::NoCompiler);
    }
    let folders = Folders::make()?;
    let path = CARGO_FUZZ.install()?;
    let fuzzer = build(&folders, &path)?;

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
        return Err(broken.map_or(FuzzError::Failed, |file| FuzzError::Found(file.display().to_string())));
    }
    if plan.keep { keep(&fuzzer, &folders) } else { Ok(()) }
}

/// Builds the fuzzer; returns its program.
fn build(folders: &Folders, path: &OsString) -> Result<PathBuf, FuzzError> {
    let mut cargo = workspace::cargo();
    cargo.args(["fuzz", "build", "--fuzz-dir", "tests/fuzz/libfuzzer", "--sanitizer", "none", "--target-dir"]);
    cargo.arg(&folders.build).arg(TARGET).env("PATH", path).stdin(Stdio::null());
    if !cargo.status()?.success() {
        return Err(FuzzError::Build);
    }
    let triples = fs::read_dir(&folders.build)?;
    let programs = triples.filter_map(|entry| Some(entry.ok()?.path().join("release").join(TARGET)));
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
