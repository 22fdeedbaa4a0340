//! Typing and reading.

use crate::doubles::{Desk, Drive, Given, Parrot, Supervisor, Volume};
use crate::machines::Machines;
use shell::services::Services;
use shell::shell::{PROMPT, PROMPT_AFTER_FAILURE, Shell};
use userlib::ipc::CallError;

/// Everything around the shell.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) files: Volume,
    pub(crate) supervisor: Supervisor,
    pub(crate) disk: Drive,
    pub(crate) echo: Parrot,
    pub(crate) apps: Given,
    pub(crate) guests: Machines,
    pub(crate) desk: Desk,
}

impl World {
    /// Starts the shell and reads until its first prompt.
    pub(crate) fn shell(&self) -> Conversation<'_> {
        let services = Services {
            files: &self.files,
            domains: &self.supervisor,
            disk: &self.disk,
            echo: &self.echo,
            apps: &self.apps,
            guests: &self.guests,
            terminal: &self.desk,
            life: &self.desk,
        };
        let mut shell = Shell::new(services);
        shell.greet();
        let greeting = String::from_utf8(self.desk.take_shown()).expect("the greeting is text");
        Conversation { world: self, shell, greeting }
    }
}

/// A user at the shell.
pub(crate) struct Conversation<'w> {
    world: &'w World,
    shell: Shell<'w>,
    /// What was shown before anything was typed.
    pub(crate) greeting: String,
}

/// What a command has shown, and whether it succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) succeeded: bool,
}

impl Conversation<'_> {
    /// Types in one burst and returns all that is shown until the shell waits again.
    pub(crate) fn types(&mut self, burst: &str) -> String {
        self.world.desk.will_type(burst.as_bytes());
        while self.shell.step() != Err(CallError::TimedOut) {}
        String::from_utf8(self.world.desk.take_shown()).expect("what is shown is text")
    }

    /// Types a command and returns what it shows, with plain line feeds.
    pub(crate) fn run(&mut self, command: &str) -> Answer {
        let shown = self.types(&format!("{command}\r"));
        let rest = shown
            .strip_prefix(&format!("{command}\r\n"))
            .unwrap_or_else(|| panic!("{:?} is no echo", shown.chars().take(100).collect::<String>()));
        let (text, succeeded) = match (rest.strip_suffix(PROMPT), rest.strip_suffix(PROMPT_AFTER_FAILURE)) {
            (Some(text), _) => (text, true),
            (_, Some(text)) => (text, false),
            _ => panic!("{:?} is the end, and no prompt", rest.chars().rev().take(100).collect::<String>()),
        };
        assert!(text.is_empty() || text.ends_with("\r\n"), "the prompt is not at the start of a line: {text:?}");
        Answer { text: text.replace("\r\n", "\n"), succeeded }
    }

    /// Runs a command that must succeed.
    pub(crate) fn done(&mut self, command: &str) -> String {
        let answer = self.run(command);
        assert!(answer.succeeded, "{command}: {}", answer.text);
        answer.text
    }

    /// Runs a command that must fail.
    pub(crate) fn refused(&mut self, command: &str) -> String {
        let answer = self.run(command);
        assert!(!answer.succeeded, "{command}: {}", answer.text);
        answer.text
    }
}
