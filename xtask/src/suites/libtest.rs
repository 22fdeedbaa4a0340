//! Suites that run under Rust's own test harness.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::{SuiteError, Tally};
use crate::process;
use crate::progress::Step;
use crate::workspace;

/// A suite that says nothing for so long hangs: neither a test nor a compilation takes as long.
const SILENCE: Duration = Duration::from_secs(15 * 60);

/// Runs cargo with `arguments`, the harness with `harness` and `filter`; shows all but the successes, and counts. What
/// hangs is ended, and counts as a failure.
pub(super) fn run(arguments: &[&str], harness: &[&str], filter: Option<&str>) -> Result<Tally, SuiteError> {
    let step = Step::start("Running");
    let mut cargo = workspace::cargo();
    cargo.args(arguments).arg("--").args(harness).args(filter).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = cargo.spawn()?;
    let mut count = Count::default();
    let ended = read_lines(&mut child, SILENCE, |line| match count.read(line) {
        Line::Success(name) => step.news(name),
        Line::Result | Line::Other => {
            if !line.trim().is_empty() {
                step.print(line);
            }
        }
        Line::Nothing => {}
    })?;
    if ended == Ended::Hung {
        let minutes = SILENCE.as_secs() / 60;
        step.print(&format!("nothing was heard for {minutes} minutes, so the test that was running hangs: ended it"));
        process::end_tree(child.id())?;
    }
    let succeeded = child.wait()?.success();
    step.quiet();
    let mut tally = count.tally;
    if !succeeded && tally.failed == 0 {
        // It did not compile, or the harness itself died.
        tally.failed = 1;
    }
    Ok(tally)
}

/// How a program's output came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The program closed it.
    Closed,
    /// Nothing came for too long.
    Hung,
}

/// Reads what `child` prints, line by line, until it ends or `silence` has passed without a line.
fn read_lines(child: &mut Child, silence: Duration, mut each: impl FnMut(&str)) -> io::Result<Ended> {
    let output = child.stdout.take().expect("its standard output is a pipe");
    let (sender, lines) = mpsc::channel();
    // Not joined: if the program hangs, so does the read.
    thread::spawn(move || BufReader::new(output).lines().try_for_each(|line| sender.send(line)));
    loop {
        match lines.recv_timeout(silence) {
            Ok(line) => each(&line?),
            Err(RecvTimeoutError::Disconnected) => return Ok(Ended::Closed),
            Err(RecvTimeoutError::Timeout) => return Ok(Ended::Hung),
        }
    }
}

/// What a line of the harness's output is.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    /// A test passed.
    Success(&'a str),
    /// A program's tests are over.
    Result,
    /// Something that is said of every program, whether or not it has tests.
    Nothing,
    /// Anything else: worth showing.
    Other,
}

/// Counts from the harness's closing lines.
#[derive(Debug, Default)]
struct Count {
    tally: Tally,
}

impl Count {
    fn read<'a>(&mut self, line: &'a str) -> Line<'a> {
        if let Some(rest) = line.strip_prefix("test result: ") {
            let (passed, failed) = (number_before(rest, " passed"), number_before(rest, " failed"));
            self.tally += Tally { passed, failed };
            return if passed + failed > 0 { Line::Result } else { Line::Nothing };
        }
        if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... ok")) {
            return Line::Success(name);
        }
        if line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test")) {
            return Line::Nothing;
        }
        Line::Other
    }
}

fn number_before(text: &str, word: &str) -> u64 {
    text.split(word)
        .next()
        .and_then(|before| before.rsplit(|c: char| !c.is_ascii_digit()).next())
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_lines_of_all_programs_are_added_up() {
        let mut count = Count::default();
        for line in [
            "running 2 tests",
            "test a::b ... ok",
            "test a::c ... FAILED",
            "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            count.read(line);
        }
        assert_eq!(count.tally, Tally { passed: 13, failed: 1 });
    }

    #[test]
    fn a_program_that_hangs_is_noticed_and_ended_with_its_children() {
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "echo one; sleep 600 & wait"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let mut heard = Vec::new();
        let ended = read_lines(&mut shell, Duration::from_secs(2), |line| heard.push(line.to_owned())).unwrap();
        assert_eq!((ended, heard), (Ended::Hung, vec!["one".to_owned()]));
        let children = process::children(shell.id()).unwrap();
        assert_eq!(children.len(), 1);
        process::end_tree(shell.id()).unwrap();
        assert!(!shell.wait().unwrap().success());
        assert!(process::children(shell.id()).is_err(), "it is gone");
    }

    #[test]
    fn a_program_that_ends_is_heard_to_its_end() {
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "echo one; echo two"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let mut heard = Vec::new();
        let ended = read_lines(&mut shell, SILENCE, |line| heard.push(line.to_owned())).unwrap();
        assert_eq!((ended, heard), (Ended::Closed, vec!["one".to_owned(), "two".to_owned()]));
        shell.wait().unwrap();
    }

    #[test]
    fn successes_are_news_and_failures_are_shown() {
        let mut count = Count::default();
        assert_eq!(count.read("test a::b ... ok"), Line::Success("a::b"));
        assert_eq!(count.read("test a::b ... FAILED"), Line::Other);
        assert_eq!(count.read("thread 'x' panicked at src/lib.rs:1:1:"), Line::Other);
        assert_eq!(count.read("test result: ok. 0 passed; 0 failed; 0 ignored"), Line::Nothing);
    }
}
