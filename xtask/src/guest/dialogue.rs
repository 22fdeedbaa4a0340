//! A dialogue with the shell of a guest, over whatever its serial port leads to: Bulkhead's `guest console`, or a machine that runs
//! the same kernel by itself.

use std::time::{Duration, Instant};

use crate::console::{Console, ConsoleError, Screen};

/// What the guest's first process says when everything is there.
pub const READY: &str = "guest ready";
/// What the guest's shell shows when it waits for a command.
pub const PROMPT: &str = "guest# ";
/// The key that leaves `guest console` (Ctrl-]).
pub const LEAVE: &str = "\u{1d}";

/// How long a shell that waits for a command takes to answer to the return key, unless it is none.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// How long the guest's shell may take to show what was typed.
const ECHO_LIMIT: Duration = Duration::from_secs(60);

/// What came of a command.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What it printed.
    pub text: String,
    /// From the return key to the next prompt.
    pub took: Duration,
}

/// A dialogue with the shell of a guest that has shown its prompt.
pub struct Dialogue<'a> {
    console: &'a mut Console,
}

impl<'a> Dialogue<'a> {
    /// Waits for the prompt of a guest that comes up.
    ///
    /// # Errors
    ///
    /// [`ConsoleError`] with what was shown instead.
    pub fn begin(console: &'a mut Console, limit: Duration) -> Result<Self, ConsoleError> {
        console.wait_for("the guest's prompt", limit, |screen| shows_prompt(screen).then_some(()))?;
        Ok(Self { console })
    }

    /// The same where a prompt of the guest's last life may still be shown: only one that answers is believed.
    ///
    /// # Errors
    ///
    /// As [`Dialogue::begin`].
    pub fn begin_anew(console: &'a mut Console, limit: Duration) -> Result<Self, ConsoleError> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            console.wait_for("the guest's prompt", left, |screen| shows_prompt(screen).then_some(()))?;
            let first_line = console.position();
            console.type_text("\r")?;
            let answered =
                console.wait_for("the guest's prompt after the return key", ANSWER_LIMIT.min(left), |screen| {
                    let lines = screen.lines().get(first_line..).unwrap_or_default();
                    (shows_prompt(screen) && lines.iter().any(|line| is_typed(line, ""))).then_some(())
                });
            match answered {
                Err(ConsoleError::Silent { .. }) if Instant::now() < deadline => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(Self { console }),
            }
        }
    }

    /// Types a command and waits for the prompt that follows, which does not say whether the command has succeeded.
    ///
    /// # Errors
    ///
    /// [`ConsoleError`] if the prompt does not come back within `limit`.
    pub fn run(&mut self, command: &str, limit: Duration) -> Result<Answer, ConsoleError> {
        let (first_line, typed) = self.type_line(command)?;
        let text = self.console.wait_for(&format!("the guest's prompt after `{command}`"), limit, |screen| {
            let lines = screen.lines();
            let line = (first_line..lines.len()).find(|&index| is_typed(&lines[index], command))?;
            let text = || lines[line + 1..].iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>();
            shows_prompt(screen).then(text)
        })?;
        Ok(Answer { text, took: typed.elapsed() })
    }

    /// Types a command after which no prompt follows.
    ///
    /// # Errors
    ///
    /// [`ConsoleError`] if the guest does not show what was typed.
    pub fn say(&mut self, command: &str) -> Result<(), ConsoleError> {
        self.type_line(command).map(drop)
    }

    /// Types a command and the return key: the line from which on what comes of it is shown, and when that was.
    fn type_line(&mut self, command: &str) -> Result<(usize, Instant), ConsoleError> {
        let first_line = self.console.position();
        self.console.type_text(command)?;
        // Only what is shown has reached it.
        self.console.wait_for(&format!("the guest to show `{command}`"), ECHO_LIMIT, |screen| {
            is_typed(&screen.current(), command).then_some(())
        })?;
        let typed = Instant::now();
        self.console.type_text("\r")?;
        Ok((first_line, typed))
    }
}

fn shows_prompt(screen: &Screen) -> bool {
    screen.current().trim_end() == PROMPT.trim_end()
}

/// Whether a line is the prompt with this command behind it. Something that the kernel has said may stand before it.
fn is_typed(line: &str, command: &str) -> bool {
    line.trim_end().ends_with(format!("{PROMPT}{command}").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_known_by_the_prompt_before_it() {
        assert!(is_typed("guest# uname -r", "uname -r"));
        assert!(is_typed("[    1.0] a message guest# uname -r ", "uname -r"));
        assert!(!is_typed("uname -r", "uname -r"));
        assert!(!is_typed("guest# uname", "uname -r"));
        assert!(is_typed("guest# ", "") && !is_typed("guest# uname", ""));
    }

    #[test]
    fn the_prompt_alone_is_waited_for() {
        let mut screen = Screen::default();
        screen.write(b"guest ready\r\nguest# ");
        assert!(shows_prompt(&screen));
        screen.write(b"ls");
        assert!(!shows_prompt(&screen));
    }
}
