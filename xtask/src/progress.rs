//! Telling a person what is going on: one line for each step, alive while it runs on a terminal.

use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// A step of some work, announced when it starts and closed with the time it took.
///
/// On a terminal it is a line with a spinner and the latest news; otherwise it is one plain line when it ends, so that
/// logs stay readable.
#[derive(Debug)]
pub struct Step {
    title: String,
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Step {
    /// Starts a step; `title` says what is being done, as in "Building the kernel".
    pub fn start(title: impl Into<String>) -> Self {
        let title = title.into();
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(
                ProgressStyle::with_template("{spinner} {prefix} {elapsed:>4} {wide_msg:.dim}")
                    .expect("the template is well formed"),
            );
            bar.set_prefix(title.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { title, started: Instant::now(), bar }
    }

    /// Shows what the step is doing just now.
    pub fn news(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.trim().to_owned());
        }
    }

    /// Prints a line that stays, above the step's own.
    pub fn print(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    /// How long the step has been running.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Ends the step and leaves one line that says so; `outcome` may add what came of it.
    pub fn done(self, outcome: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        let separator = if outcome.is_empty() { "" } else { ": " };
        self.clear();
        eprintln!("{}{separator}{outcome} ({seconds:.1} s)", self.title);
    }

    /// Ends the step without a word, for steps that turned out to have nothing to do.
    pub fn quiet(self) {
        self.clear();
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Runs `command` as part of this step: its output becomes the step's news and is returned whole, both streams
    /// in the order in which they arrived.
    pub fn run(&self, command: &mut Command) -> io::Result<(ExitStatus, String)> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (sender, lines) = mpsc::channel();
        let streams: [Option<Box<dyn Read + Send>>; 2] =
            [child.stdout.take().map(|s| Box::new(s) as _), child.stderr.take().map(|s| Box::new(s) as _)];
        for stream in streams.into_iter().flatten() {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                let mut line = Vec::new();
                // Programs that draw their own progress separate its states with carriage returns.
                while stream.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                    let text = String::from_utf8_lossy(&line).into_owned();
                    line.clear();
                    if sender.send(text).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut output = String::new();
        for line in lines {
            if let Some(last) = line.rsplit('\r').map(str::trim).find(|s| !s.is_empty()) {
                self.news(last);
            }
            output.push_str(&line);
        }
        Ok((child.wait()?, output))
    }
}
