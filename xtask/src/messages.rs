//! `cargo xtask fuzz INTERFACE`: messages by chance against a server's dispatch, on the host.
//!
//! A server's crate has a test that sends them (`userlib::host::fuzz`), by a name that says for which interface. It runs
//! with few messages among all others; here it is built for speed and sends as many as were asked for.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Stdio;

use crate::workspace::{self, Members};

/// What the names of these tests begin with.
const TEST: &str = "any_messages_to_";
/// Optimised, and a panic does not end the whole program.
const PROFILE: &str = "search";

/// Why no messages were sent.
#[derive(Debug, thiserror::Error)]
pub enum MessagesError {
    /// cargo cannot be started, or the sources not be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// There is no such test.
    #[error("no crate has a test `{TEST}{name}`; there are tests for: {known}")]
    Unknown {
        /// The interface that was asked for.
        name: String,
        /// Those for which there are tests.
        known: String,
    },
}

/// A test that sends messages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    /// The interface.
    interface: String,
    /// The crate in which the test is.
    package: String,
}

/// Sends `messages` messages to the server of an interface, or of each interface if it is `all`. Tells whether all of
/// them stood it.
///
/// # Errors
///
/// [`MessagesError`].
pub fn run(interface: &str, messages: u64, seed: u64) -> Result<bool, MessagesError> {
    let mut targets = targets()?;
    let known: Vec<String> = targets.iter().map(|target| target.interface.clone()).collect();
    targets.retain(|target| interface == "all" || target.interface == spelled(interface));
    if targets.is_empty() {
        return Err(MessagesError::Unknown { name: interface.to_owned(), known: known.join(", ") });
    }
    let mut sound = true;
    for Target { interface, package } in targets {
        eprintln!("\n== {messages} messages to {interface} ({package}), seed {seed} ==");
        let status = workspace::cargo()
            .args(["test", "--quiet", "--tests", "--profile", PROFILE, "--package", &package, "--", "--nocapture"])
            .arg(format!("{TEST}{interface}"))
            .env("BULKHEAD_FUZZ_MESSAGES", messages.to_string())
            .env("BULKHEAD_FUZZ_SEED", seed.to_string())
            .stdin(Stdio::null())
            .status()?;
        sound &= status.success();
    }
    Ok(sound)
}

/// An interface's name as it stands in the name of a function.
fn spelled(interface: &str) -> String {
    interface.replace('-', "_")
}

/// Every such test in the crates that run on the host.
fn targets() -> io::Result<Vec<Target>> {
    let mut targets = Vec::new();
    for (package, folder) in Members::ask()?.folders_of_host() {
        for part in ["src", "tests"] {
            search(&folder.join(part), &package, &mut targets)?;
        }
    }
    targets.sort();
    targets.dedup();
    Ok(targets)
}

fn search(folder: &Path, package: &str, targets: &mut Vec<Target>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            search(&path, package, targets)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let package = package.to_owned();
            let found = interfaces_in(&fs::read_to_string(&path)?);
            targets.extend(found.into_iter().map(|interface| Target { interface, package: package.clone() }));
        }
    }
    Ok(())
}

/// The interfaces for which a source has tests.
fn interfaces_in(source: &str) -> Vec<String> {
    let lines = source.lines().map(str::trim_start);
    lines.filter_map(|line| Some(line.strip_prefix("fn ")?.strip_prefix(TEST)?.split_once('(')?.0.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_by_their_names() {
        let source =
            "#[test]\nfn any_messages_to_virtio_block() {}\n    fn any_messages_to_echo() {\n// any_messages_to_x()\n";
        assert_eq!(interfaces_in(source), ["virtio_block", "echo"]);
        assert_eq!(spelled("virtio-block"), "virtio_block");
    }
}
