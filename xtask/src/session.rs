//! A dialogue with Bulkhead's shell.
//!
//! The shell shows `bulkhead> ` when it waits for a command and the last one succeeded, `bulkhead! ` when the last one
//! failed. Nothing else is needed to drive it.

use std::time::{Duration, Instant};

use crate::console::{Console, ConsoleError, Copy, Screen};
use crate::machine::Machine;

/// The prompt after a command that succeeded.
pub const PROMPT: &str = "bulkhead> ";
/// The prompt after a command that failed.
pub const PROMPT_AFTER_FAILURE: &str = "bulkhead! ";

/// How long the first prompt may take: an emulated machine with 32 processors on a busy host is slow.
pub const BOOT_LIMIT: Duration = Duration::from_secs(120);
/// How long a command may take unless its caller says otherwise.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(120);
/// How long the shell may take to show what was typed.
const ECHO_LIMIT: Duration = Duration::from_secs(30);
/// How long the machine may take to power off.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(60);

/// What came of a command.
#[derive(Clone, Debug)]
pub struct Reply {
    /// What it printed, without the line that was typed and without the prompt.
    pub text: String,
    /// Whether the shell says that it succeeded.
    pub succeeded: bool,
    /// From the return key to the next prompt.
    pub took: Duration,
}

/// A running machine whose shell has shown its prompt.
pub struct Session {
    console: Console,
    /// From QEMU's start to the first prompt.
    booted_in: Duration,
}

/// A command that was typed and has not been waited for.
#[derive(Debug)]
#[must_use = "a command whose end is not awaited swallows the next one"]
pub struct Pending {
    command: String,
    first_line: usize,
    typed: Instant,
}

impl Session {
    /// Starts `machine` and waits for the shell's first prompt.
    ///
    /// # Errors
    ///
    /// [`ConsoleError`], with what the machine showed instead of the prompt.
    pub fn boot(machine: &Machine) -> Result<Self, ConsoleError> {
        Self::boot_with(machine, None, BOOT_LIMIT)
    }

    /// As [`Session::boot`], copying every finished line to `copy`.
    ///
    /// # Errors
    ///
    /// As [`Session::boot`].
    pub fn boot_with(machine: &Machine, copy: Option<Copy>, limit: Duration) -> Result<Self, ConsoleError> {
        let mut console = Console::start(machine, copy)?;
        console.wait_for("the shell's prompt", limit, prompt_shown)?;
        Ok(Self { booted_in: console.started().elapsed(), console })
    }

    /// From QEMU's start to the first prompt.
    pub fn booted_in(&self) -> Duration {
        self.booted_in
    }

    /// The serial line underneath.
    pub fn console(&mut self) -> &mut Console {
        &mut self.console
    }

    /// Everything that the machine has shown so far.
    pub fn transcript(&self) -> String {
        self.console.transcript()
    }

    /// Types `command` and waits for the prompt that follows.
    ///
    /// # Errors
    ///
    /// [`ConsoleError`] if the prompt does not come back within [`COMMAND_LIMIT`]. A command that fails is no error.
    pub fn run(&mut self, command: &str) -> Result<Reply, ConsoleError> {
        self.run_within(command, COMMAND_LIMIT)
    }

    /// As [`Session::run`], with a limit of its own.
    ///
    /// # Errors
    ///
    /// As [`Session::run`].
    pub fn run_within(&mut self, command: &str, limit: Duration) -> Result<Reply, ConsoleError> {
        let pending = self.begin(command)?;
        self.finish(pending, limit)
    }

    /// Types `command` and the return key, and does not wait for what comes of it.
    ///
    /// # Errors
    ///
    /// [`ConsoleError`] if the shell does not show what was typed.
    pub fn begin(&mut self, command: &str) -> Result<Pending, ConsoleError> {
        let first_line = self.console.position();
        self.console.type_text(command)?;
        // Only what the shell has shown has reached it; this also tells a lost character from a slow command.
        self.console.wait_for(&format!("the shell to show `{command}`"), ECHO_LIMIT, |screen| {
            screen.current().trim_end().ends_with(command.trim_end()).then_some(())
        })?;
        let typed = Instant::now();
        self.console.type_text("\r")?;
        Ok(Pending { command: command.to_owned(), first_line, typed })
    }

    /// Waits for the prompt that follows a command.
    ///
    /// # Errors
    ///
    /// [`ConsoleError`] if it does not come within `limit`.
    pub fn finish(&mut self, pending: Pending, limit: Duration) -> Result<Reply, ConsoleError> {
        let awaited = format!("the prompt after `{}`", pending.command);
        let (succeeded, text) = self.console.wait_for(&awaited, limit, |screen| {
            let succeeded = prompt_shown(screen)?;
            // The prompt that stands there may still be the one before the command: log lines that come in while
            // someone types make the shell draw it anew. The typed line, once finished, tells.
            let typed = typed_line(screen, &pending)?;
            let text = screen.lines()[typed + 1..].iter().flat_map(|line| [line.as_str(), "\n"]).collect();
            Some((succeeded, text))
        })?;
        Ok(Reply { text, succeeded, took: pending.typed.elapsed() })
    }

    /// Types `shutdown` and waits until the machine is off.
    ///
    /// # Errors
    ///
    /// [`ConsoleError`] if it does not power off.
    pub fn shut_down(mut self) -> Result<String, ConsoleError> {
        let _pending = self.begin("shutdown")?;
        self.console.wait_for_end(SHUTDOWN_LIMIT)?;
        Ok(self.console.transcript())
    }

    /// Waits until the machine is off, after a command that powers it off.
    ///
    /// # Errors
    ///
    /// [`ConsoleError`] if it does not power off.
    pub fn wait_for_power_off(mut self) -> Result<String, ConsoleError> {
        self.console.wait_for_end(SHUTDOWN_LIMIT)?;
        Ok(self.console.transcript())
    }
}

/// Whether the shell waits for a command, and if so whether the last one succeeded.
fn prompt_shown(screen: &Screen) -> Option<bool> {
    match screen.current().trim_end() {
        line if line == PROMPT.trim_end() => Some(true),
        line if line == PROMPT_AFTER_FAILURE.trim_end() => Some(false),
        _ => None,
    }
}

/// The finished line that holds the prompt and the command.
fn typed_line(screen: &Screen, pending: &Pending) -> Option<usize> {
    let lines = screen.lines();
    (pending.first_line..lines.len()).find(|&index| {
        [PROMPT, PROMPT_AFTER_FAILURE].iter().any(|prompt| {
            lines[index]
                .strip_prefix(prompt)
                .is_some_and(|rest| rest.trim_end().starts_with(pending.command.trim_end()))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(command: &str) -> Pending {
        Pending { command: command.to_owned(), first_line: 0, typed: Instant::now() }
    }

    fn screen(bytes: &[u8]) -> Screen {
        let mut screen = Screen::default();
        screen.write(bytes);
        screen
    }

    #[test]
    fn the_prompt_tells_whether_the_last_command_succeeded() {
        assert_eq!(prompt_shown(&screen(b"hello\r\nbulkhead> ")), Some(true));
        assert_eq!(prompt_shown(&screen(b"no such file\r\nbulkhead! ")), Some(false));
        assert_eq!(prompt_shown(&screen(b"bulkhead> ls")), None);
        assert_eq!(prompt_shown(&screen(b"say bulkhead> ")), None);
    }

    #[test]
    fn a_prompt_drawn_anew_while_typing_is_not_taken_for_the_end_of_the_command() {
        let redrawn = screen(b"bulkhead> ls\r\x1b[K[info] a line\r\nbulkhead> ");
        assert_eq!(typed_line(&redrawn, &pending("ls")), None);
        let finished = screen(b"bulkhead> ls\r\x1b[K[info] a line\r\nbulkhead> ls\r\nREADME\r\nbulkhead> ");
        assert_eq!(typed_line(&finished, &pending("ls")), Some(1));
    }
}
