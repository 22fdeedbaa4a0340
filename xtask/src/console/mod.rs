//! A dialogue over the serial line of a running machine.

mod screen;

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use screen::Screen;

use crate::machine::Machine;

/// The pause after each typed character, in which an interrupt-driven receiver takes it.
const KEYSTROKE: Duration = Duration::from_millis(1);

/// Why a dialogue did not go on.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// QEMU could not be started.
    #[error("cannot start QEMU: {0}; `cargo xtask setup` installs it")]
    Start(io::Error),
    /// What was waited for did not come in time.
    #[error("waited {} s for {awaited}, but the machine showed only:\n{shown}", limit.as_secs())]
    Silent {
        /// What was waited for.
        awaited: String,
        /// How long.
        limit: Duration,
        /// The end of what the machine showed.
        shown: String,
    },
    /// QEMU ended while something was waited for.
    #[error("QEMU ended ({status}) while waiting for {awaited}; the machine had shown:\n{shown}")]
    Ended {
        /// What was waited for.
        awaited: String,
        /// How QEMU ended.
        status: String,
        /// The end of what the machine showed, and what QEMU itself said.
        shown: String,
    },
    /// The connection to QEMU failed.
    #[error("the connection to QEMU failed: {0}")]
    Broken(#[from] io::Error),
}

/// Where a running machine's lines are copied to as they are finished.
pub type Copy = Box<dyn FnMut(&str) + Send>;

/// A running machine and the other end of its serial line.
///
/// Dropping it ends the machine.
pub struct Console {
    child: Child,
    keyboard: Option<ChildStdin>,
    line: Arc<Line>,
    readers: Vec<JoinHandle<()>>,
    started: Instant,
}

/// What the threads that read QEMU's output share with the dialogue.
#[derive(Default)]
struct Line {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    screen: Screen,
    /// What QEMU itself had to say.
    complaints: String,
    /// The machine writes nothing more.
    closed: bool,
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        // A reader that panicked leaves text that is still good to look at.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Console {
    /// Starts `machine`; each finished line also goes to `copy`, if there is one.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Start`].
    pub fn start(machine: &Machine, copy: Option<Copy>) -> Result<Self, ConsoleError> {
        let started = Instant::now();
        let mut child = machine
            .command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(ConsoleError::Start)?;
        let line = Arc::new(Line::default());
        let mut readers = Vec::new();
        if let Some(output) = child.stdout.take() {
            let line = Arc::clone(&line);
            readers.push(thread::spawn(move || read_serial(output, &line, copy)));
        }
        if let Some(mut errors) = child.stderr.take() {
            let line = Arc::clone(&line);
            readers.push(thread::spawn(move || {
                let mut buffer = [0; 1024];
                while let Ok(count @ 1..) = errors.read(&mut buffer) {
                    let text = String::from_utf8_lossy(&buffer[..count]);
                    line.state().complaints.push_str(&text);
                }
            }));
        }
        Ok(Self { keyboard: child.stdin.take(), child, line, readers, started })
    }

    /// When QEMU was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The process id of QEMU, for tests that look at it from outside.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// How many lines have been finished: a position from which [`Console::expect_from`] searches.
    pub fn position(&self) -> usize {
        self.line.state().screen.lines().len()
    }

    /// Everything that the machine has shown.
    pub fn transcript(&self) -> String {
        self.line.state().screen.text_from(0)
    }

    /// Everything that the machine has shown from the given line on.
    pub fn transcript_from(&self, line: usize) -> String {
        self.line.state().screen.text_from(line)
    }

    /// Waits until `look` finds what it looks for on the screen; `awaited` names it in errors.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Silent`] after `limit`, [`ConsoleError::Ended`] if QEMU ends before.
    pub fn wait_for<T>(
        &mut self,
        awaited: &str,
        limit: Duration,
        mut look: impl FnMut(&Screen) -> Option<T>,
    ) -> Result<T, ConsoleError> {
        let deadline = Instant::now() + limit;
        let mut state = self.line.state();
        loop {
            if let Some(found) = look(&state.screen) {
                return Ok(found);
            }
            let now = Instant::now();
            if state.closed {
                drop(state);
                let status = self.child.wait()?;
                return Err(ConsoleError::Ended {
                    awaited: awaited.to_owned(),
                    status: status.to_string(),
                    shown: self.ending(),
                });
            }
            if now >= deadline {
                drop(state);
                return Err(ConsoleError::Silent { awaited: awaited.to_owned(), limit, shown: self.ending() });
            }
            state = self.line.changed.wait_timeout(state, deadline - now).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until `text` stands somewhere from line `from` on.
    ///
    /// # Errors
    ///
    /// As [`Console::wait_for`].
    pub fn expect_from(&mut self, from: usize, text: &str, limit: Duration) -> Result<(), ConsoleError> {
        // Only what is new since the last look can hold the text: finished lines are looked at once.
        let mut next = from;
        self.wait_for(&format!("`{text}`"), limit, |screen| {
            let new = screen.lines().get(next..).unwrap_or_default();
            next = screen.lines().len().max(next);
            let found = new.iter().any(|line| line.contains(text)) || screen.current().contains(text);
            found.then_some(())
        })
    }

    /// Types `text`, one character after the other.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Broken`] if QEMU does not take it.
    pub fn type_text(&mut self, text: &str) -> Result<(), ConsoleError> {
        let keyboard = self.keyboard.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
        for byte in text.as_bytes() {
            keyboard.write_all(&[*byte])?;
            keyboard.flush()?;
            thread::sleep(KEYSTROKE);
        }
        Ok(())
    }

    /// Waits until QEMU ends by itself, and says how.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Silent`] after `limit`.
    pub fn wait_for_end(&mut self, limit: Duration) -> Result<ExitStatus, ConsoleError> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                // What it wrote last is read before anyone looks at it.
                for reader in self.readers.drain(..) {
                    let _ = reader.join();
                }
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(ConsoleError::Silent {
                    awaited: "the machine to power off".to_owned(),
                    limit,
                    shown: self.ending(),
                });
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What QEMU itself complained about.
    pub fn complaints(&self) -> String {
        self.line.state().complaints.clone()
    }

    /// Ends the machine at once, as if its power had failed.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Broken`] if the operating system refuses.
    pub fn cut_power(&mut self) -> Result<(), ConsoleError> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// The last lines of what the machine showed, for a message.
    fn ending(&self) -> String {
        let state = self.line.state();
        let first = state.screen.lines().len().saturating_sub(30);
        let mut text = String::new();
        for line in state.screen.text_from(first).lines() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  | {line}");
        }
        if !state.complaints.trim().is_empty() {
            let _ = writeln!(text, "and QEMU said: {}", state.complaints.trim());
        }
        text
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_serial(mut output: impl Read, line: &Line, mut copy: Option<Copy>) {
    let mut buffer = [0; 4096];
    let mut copied = 0;
    loop {
        let count = output.read(&mut buffer).unwrap_or(0);
        let mut state = line.state();
        if count == 0 {
            state.closed = true;
        } else {
            state.screen.write(&buffer[..count]);
        }
        if let Some(copy) = &mut copy {
            for text in &state.screen.lines()[copied..] {
                copy(text);
            }
            copied = state.screen.lines().len();
            let unfinished = state.screen.current();
            if count == 0 && !unfinished.is_empty() {
                copy(&unfinished);
            }
        }
        drop(state);
        line.changed.notify_all();
        if count == 0 {
            return;
        }
    }
}
