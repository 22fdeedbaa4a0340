//! What a machine needs to build and run Bulkhead, what it has, and how it gets the rest.
//!
//! [`ensure`] is called by every command that builds or boots. It only looks at a few files when nothing is missing,
//! so that it costs nothing the second time. When it cannot install something it says which commands a person would
//! have to type ([`SetupError::ByHand`]); the program then exits with status 2.

pub(crate) mod apt;
mod library_source;
mod packages;
mod tool;

use std::fmt;
use std::io;

pub use library_source::{LibrarySource, Toolchain};
pub use packages::{Packages, QEMU};
pub use tool::{NoTool, Tool};

use crate::progress::Step;

/// Why the machine could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Something is missing that only a person can install; holds what, and the commands to type.
    #[error("{0}")]
    ByHand(ByHand),
    /// A program that set-up relies on could not be started.
    #[error("cannot start `{program}`: {source}")]
    Start {
        /// The program's name.
        program: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The compiler did not say which release it is, so its library source cannot be chosen.
    #[error("`rustc -vV` does not name a release and a commit: {0}")]
    UnknownCompiler(String),
    /// The project's cache cannot be written.
    #[error("cannot write {path}: {source}; set BULKHEAD_CACHE to a folder that can be written")]
    Cache {
        /// The file or folder.
        path: String,
        /// What the operating system said.
        source: io::Error,
    },
}

/// What is missing and how a person installs it.
#[derive(Debug, Default)]
pub struct ByHand {
    /// Each thing that is missing and why it could not be installed from here.
    pub reasons: Vec<String>,
    /// The commands to type, in order.
    pub commands: Vec<String>,
}

impl fmt::Display for ByHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for reason in &self.reasons {
            writeln!(f, "{reason}")?;
        }
        writeln!(f, "Run this, then start again:\n")?;
        for command in &self.commands {
            writeln!(f, "    {command}")?;
        }
        Ok(())
    }
}

/// Makes sure that everything is there which building and booting needs, and installs what is missing.
///
/// Says nothing and takes a few milliseconds when nothing is missing.
///
/// # Errors
///
/// [`SetupError::ByHand`] when something is missing that cannot be installed without root, apt or a network; the
/// other cases when a tool of the machine fails in an unexpected way.
pub fn ensure() -> Result<LibrarySource, SetupError> {
    let mut by_hand = ByHand::default();
    if let Err(missing) = Packages::ensure() {
        by_hand.reasons.push(missing.reason);
        by_hand.commands.extend(missing.commands);
    }
    let toolchain = Toolchain::of_this_build()?;
    let source = match LibrarySource::find(&toolchain) {
        Some(source) => Some(source),
        None => match LibrarySource::fetch(&toolchain) {
            Ok(source) => Some(source),
            Err(SetupError::ByHand(missing)) => {
                by_hand.reasons.extend(missing.reasons);
                by_hand.commands.extend(missing.commands);
                None
            }
            Err(error) => return Err(error),
        },
    };
    match source {
        Some(source) if by_hand.reasons.is_empty() => Ok(source),
        _ => Err(SetupError::ByHand(by_hand)),
    }
}

/// Announces something that is about to be installed, with the reason.
fn announce(what: &str, why: &str) {
    eprintln!("Installing {what}\n  because {why}.");
}

/// What a program said about its failure: apt's own error lines, or else the last lines of its output.
fn complaint(output: &str) -> String {
    let lines: Vec<&str> = output.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let errors: Vec<&str> = lines.iter().copied().filter(|line| line.starts_with("E: ")).collect();
    let chosen = if errors.is_empty() { lines } else { errors };
    chosen[chosen.len().saturating_sub(3)..].iter().map(|line| format!("\n    {line}")).collect()
}

/// Starts a step and runs one program in it; `Err` holds the end of its output if it failed.
fn attempt(step: &Step, command: &mut std::process::Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match step.run(command) {
        Ok((status, output)) if status.success() => Ok(output),
        Ok((status, output)) => Err(format!("`{name}` ended with {status}:{}", complaint(&output))),
        Err(error) => Err(format!("`{name}` cannot be started: {error}")),
    }
}
