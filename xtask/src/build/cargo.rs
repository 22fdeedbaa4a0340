//! Building and checking the bare-metal crates with cargo.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;

use super::{BuildError, Composition};
use crate::progress::Step;
use crate::setup::LibrarySource;
use crate::workspace;

/// The target: no operating system, no red zone, no floating point registers.
const TARGET: &str = "x86_64-unknown-none";

/// How every bare-metal crate is compiled. One set of flags, so that loader, kernel and programs share one build of
/// the library: addresses are fixed, high ones are reached, and a crash can be traced by frame pointers. What calls nothing
/// has none: it is on no trace but as the place of the crash itself, and the shortest ways through the kernel are such.
const FLAGS: [&str; 4] =
    ["-Crelocation-model=static", "-Ccode-model=kernel", "-Zunstable-options", "-Cforce-frame-pointers=non-leaf"];

/// What [`check`] asks of the bare-metal crates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// No warning of clippy.
    Clippy,
    /// No warning of rustdoc.
    Documentation,
}

impl Check {
    fn what(self) -> &'static str {
        match self {
            Self::Clippy => "clippy on the bare-metal crates",
            Self::Documentation => "documentation of the bare-metal crates",
        }
    }
}

fn bare_metal_cargo(command: &str, packages: &[String], source: &LibrarySource, flags: &[&str]) -> Command {
    let mut cargo = workspace::cargo();
    cargo
        .arg(command)
        .args(["--release", "--target", TARGET])
        .args(["-Zbuild-std=core,alloc,compiler_builtins"])
        .args(["-Zbuild-std-features=compiler-builtins-mem"])
        .arg("--target-dir")
        .arg(workspace::system_target())
        // Building the library is not a stable feature of cargo; the version is pinned, so it will not change.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    for package in packages {
        cargo.args(["--package", package]);
    }
    source.apply(&mut cargo);
    cargo
}

/// The release profile of this workspace, as variables, for crates of others: so they share what is built of the library
/// and of their common dependencies, and what runs in one system is built alike.
const PROFILE: [(&str, &str); 5] = [
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only"),
];

/// Builds all crates of a composition and says where their programs are, by the program's name.
pub(super) fn build_all(
    step: &Step,
    composition: &Composition,
    source: &LibrarySource,
) -> Result<BTreeMap<String, PathBuf>, BuildError> {
    let mut cargo = bare_metal_cargo("build", &composition.packages(), source, &FLAGS);
    cargo.arg("--manifest-path").arg(composition.root.join("Cargo.toml"));
    let mut programs = build(step, cargo)?;
    for (folder, packages) in composition.packages_elsewhere() {
        let packages: Vec<_> = packages.into_iter().collect();
        let mut cargo = bare_metal_cargo("build", &packages, source, &FLAGS);
        cargo.arg("--manifest-path").arg(folder.join("Cargo.toml")).envs(PROFILE);
        programs.extend(build(step, cargo)?);
    }
    Ok(programs)
}

/// Builds crates of this workspace that are part of no composition, and says where their programs are.
pub(super) fn build_alone(
    step: &Step,
    packages: &[String],
    source: &LibrarySource,
) -> Result<BTreeMap<String, PathBuf>, BuildError> {
    build(step, bare_metal_cargo("build", packages, source, &FLAGS))
}

/// Has cargo build, and says where the programs are.
fn build(step: &Step, mut cargo: Command) -> Result<BTreeMap<String, PathBuf>, BuildError> {
    cargo.args(["--bins", "--message-format=json-render-diagnostics"]);
    let mut programs = BTreeMap::new();
    let (succeeded, diagnostics) = run(&mut cargo, |line| {
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            return;
        };
        if message["reason"] != "compiler-artifact" {
            return;
        }
        let name = message["target"]["name"].as_str().unwrap_or_default();
        step.news(name);
        if let Some(path) = message["executable"].as_str() {
            programs.insert(name.to_owned(), PathBuf::from(path));
        }
    })?;
    if !succeeded {
        return Err(BuildError::Compile { what: "building for the bare machine", diagnostics });
    }
    Ok(programs)
}

/// Runs clippy or rustdoc over the bare-metal crates; every warning is an error.
///
/// # Errors
///
/// [`BuildError::Compile`] with the compiler's messages.
pub fn check(kind: Check, packages: &[String], source: &LibrarySource) -> Result<(), BuildError> {
    let step = Step::start(format!("Checking: {}", kind.what()));
    let mut cargo = match kind {
        Check::Clippy => {
            let mut cargo = bare_metal_cargo("clippy", packages, source, &FLAGS);
            cargo.args(["--", "-D", "warnings"]);
            cargo
        }
        Check::Documentation => {
            let mut cargo = bare_metal_cargo("doc", packages, source, &FLAGS);
            cargo.arg("--no-deps").env("RUSTDOCFLAGS", "-D warnings");
            cargo
        }
    };
    let (succeeded, diagnostics) = run(&mut cargo, |_| {})?;
    if !succeeded {
        step.quiet();
        return Err(BuildError::Compile { what: kind.what(), diagnostics });
    }
    step.done("no warnings");
    Ok(())
}

/// Runs cargo, hands each line of its standard output to `line`, and returns whether it succeeded and what it said.
fn run(cargo: &mut Command, mut line: impl FnMut(&str)) -> Result<(bool, String), BuildError> {
    let mut child =
        cargo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(BuildError::Start)?;
    let mut errors = child.stderr.take().expect("its standard error is a pipe");
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        // What was read up to a failure is still worth showing.
        let _ = errors.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let output = child.stdout.take().expect("its standard output is a pipe");
    for text in BufReader::new(output).lines() {
        line(&text.map_err(BuildError::Start)?);
    }
    let status = child.wait().map_err(BuildError::Start)?;
    let diagnostics = reader.join().unwrap_or_default();
    Ok((status.success(), diagnostics))
}
