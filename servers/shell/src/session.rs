//! What a command works with.

use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::path::{DISK, Location};
use crate::services::Services;
use crate::{app, commands};
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use interfaces::filesystem::{Metadata, NodeKind, entries};

/// What Ctrl-C sends.
const INTERRUPT: u8 = 0x03;
/// How long a command runs before it looks for Ctrl-C.
const FIRST_LOOK: Duration = Duration::from_millis(500);
/// How long looking takes.
const GLANCE: Duration = Duration::from_millis(1);
/// A command that has run for long is looked after less often: each look is a call that the console's driver keeps until
/// something is typed.
const LOOKS: u32 = 32;
/// Bytes of a part of a directory's listing.
const LISTING: usize = 16 * 1024;

/// Something in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What is known of it.
    pub metadata: Metadata,
}

impl Entry {
    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.metadata.kind == NodeKind::Directory
    }
}

/// What a command works with: services, output, the current folder.
pub struct Session<'a> {
    /// Other domains.
    pub services: Services<'a>,
    /// What is shown.
    pub out: Output<'a>,
    /// The current folder.
    pub here: Location,
    typed: VecDeque<u8>,
    started: Duration,
    next_look: Duration,
}

impl<'a> Session<'a> {
    /// A session in `/disk`.
    pub fn new(services: Services<'a>) -> Self {
        Self {
            services,
            out: Output::new(services.terminal),
            here: Location::resolve(&Location::Root, DISK),
            typed: VecDeque::new(),
            started: Duration::ZERO,
            next_look: Duration::ZERO,
        }
    }

    /// Carries out a command: its name and its arguments. What it cannot do is reported and shown by the result.
    pub fn carry_out(&mut self, words: &[String]) -> bool {
        // What was lost before is not this command's.
        self.out.take_lost();
        self.started = self.services.life.now();
        self.next_look = self.started + FIRST_LOOK;
        let mut outcome = self.execute(words);
        self.out.fresh_line();
        self.out.flush();
        if self.out.take_lost() && outcome.is_ok() {
            outcome = Err(Failure::new(
                "a part of the output is lost because the console did not take it; run the command again",
            ));
        }
        if let Err(failure) = &outcome {
            self.report(words.first().map_or("", String::as_str), failure);
        }
        outcome.is_ok()
    }

    /// Carries out a command within another one.
    ///
    /// # Errors
    /// What the command says; that there is no such command.
    pub fn execute(&mut self, words: &[String]) -> Outcome {
        let Some((name, arguments)) = words.split_first() else {
            return Ok(());
        };
        match commands::find(name) {
            Some(command) => (command.run)(self, arguments),
            None if self.services.apps.names().contains(&name.as_str()) => app::run(self, name, arguments),
            None => Err(commands::unknown(name, &self.services.apps.names())),
        }
    }

    /// Whether there is a command of this name, here or in another domain.
    pub fn knows(&self, name: &str) -> bool {
        commands::find(name).is_some() || self.services.apps.names().contains(&name)
    }

    /// Shows a failure of `command`.
    pub fn report(&mut self, command: &str, failure: &Failure) {
        self.out.fresh_line();
        match failure {
            Failure::Sentence(sentence) if self.knows(command) => {
                self.out.line(format_args!("{command}: {sentence}."));
            }
            Failure::Sentence(sentence) => self.out.line(format_args!("{sentence}.")),
            Failure::Cancelled => self.out.line(format_args!("{command}: stopped by Ctrl-C.")),
            Failure::Reported => {}
        }
    }

    /// Between two steps of a command: ends it if Ctrl-C was typed.
    ///
    /// # Errors
    /// [`Failure::Cancelled`].
    pub fn checkpoint(&mut self) -> Outcome {
        let now = self.services.life.now();
        if now >= self.next_look {
            self.next_look = now + FIRST_LOOK.max(now.saturating_sub(self.started) / LOOKS);
            self.look(GLANCE);
        }
        self.obey_interrupt()
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// [`Failure::Cancelled`] as soon as Ctrl-C is typed.
    pub fn pause(&mut self, duration: Duration) -> Outcome {
        self.out.flush();
        let end = self.services.life.now() + duration;
        loop {
            self.obey_interrupt()?;
            let left = end.saturating_sub(self.services.life.now());
            if left.is_zero() {
                return Ok(());
            }
            self.look(left);
        }
    }

    /// Takes what was typed, waiting for it at most for `patience`.
    pub(crate) fn look(&mut self, patience: Duration) {
        let mut bytes = [0; 64];
        match self.services.terminal.read(&mut bytes, Some(patience)) {
            Ok(count) => self.typed.extend(bytes.iter().take(count)),
            // The console is being restarted; time passes all the same.
            Err(_) => self.services.life.pause(patience.min(Duration::from_millis(100))),
        }
    }

    fn obey_interrupt(&mut self) -> Outcome {
        match self.typed.iter().rposition(|&byte| byte == INTERRUPT) {
            Some(last) => {
                self.typed.drain(..=last);
                Err(Failure::Cancelled)
            }
            None => Ok(()),
        }
    }

    /// The next byte that was typed and not looked at yet.
    pub fn take_typed(&mut self) -> Option<u8> {
        self.typed.pop_front()
    }

    /// Takes over bytes that were typed.
    pub fn add_typed(&mut self, bytes: &[u8]) {
        self.typed.extend(bytes);
    }

    /// Whether there are bytes that were typed and not looked at yet.
    pub fn has_typed(&self) -> bool {
        !self.typed.is_empty()
    }

    /// Takes it back that Ctrl-C was obeyed: it was meant for what comes next.
    pub fn leave_interrupt(&mut self) {
        self.typed.push_front(INTERRUPT);
    }

    /// Where a path leads from the current folder.
    pub fn place(&self, path: &str) -> Location {
        Location::resolve(&self.here, path)
    }

    /// What is known of a file or folder. `action` says what is to be done with it.
    ///
    /// # Errors
    /// That there is none, or that the file server does not say.
    pub fn metadata(&self, place: &Location, action: &str) -> Result<Metadata, Failure> {
        match place {
            Location::Root => Ok(Metadata { kind: NodeKind::Directory, length: 0, modified: 0, read_only: true }),
            _ => {
                let path = on_disk(place, action)?;
                self.services.files.metadata(path).map_err(|error| Failure::of_file(action, place, error))
            }
        }
    }

    /// Whether there is a folder.
    ///
    /// # Errors
    /// If the file server does not say.
    pub fn is_folder(&self, place: &Location) -> Result<bool, Failure> {
        use interfaces::filesystem::FsError::NotFound;
        use userlib::ipc::CallError::Failed;
        match place {
            Location::Root => Ok(true),
            Location::Nowhere(_) => Ok(false),
            Location::Disk(path) => match self.services.files.metadata(path) {
                Ok(metadata) => Ok(metadata.kind == NodeKind::Directory),
                Err(Failed(NotFound)) => Ok(false),
                Err(error) => Err(Failure::of_file("look at", place, error)),
            },
        }
    }

    /// What is in a folder, by name.
    ///
    /// # Errors
    /// That it is none, or that the file server does not say.
    pub fn folder(&mut self, place: &Location) -> Result<Vec<Entry>, Failure> {
        if *place == Location::Root {
            let metadata = Metadata { kind: NodeKind::Directory, length: 0, modified: 0, read_only: true };
            return Ok(vec![Entry { name: DISK.to_string(), metadata }]);
        }
        let path = on_disk(place, "list")?;
        let mut found = Vec::new();
        let mut bytes = vec![0; LISTING];
        let mut cookie = Some(0);
        while let Some(from) = cookie {
            let listing = self
                .services
                .files
                .list(path, from, &mut bytes)
                .map_err(|error| Failure::of_file("list", place, error))?;
            let used = bytes.get(..listing.bytes).unwrap_or_default();
            let before = found.len();
            found.extend(entries(used).map(|entry| Entry { name: entry.name.into(), metadata: entry.metadata }));
            // A server that gives nothing and promises more would keep the shell for ever.
            cookie = listing.next.filter(|_| found.len() > before);
            self.checkpoint()?;
        }
        found.sort_by(|one, other| {
            one.name.to_lowercase().cmp(&other.name.to_lowercase()).then_with(|| one.name.cmp(&other.name))
        });
        Ok(found)
    }
}

/// The volume's path of a place that must be on the disk.
///
/// # Errors
/// That it is elsewhere. `action` says what was to be done with it.
pub fn on_disk<'p>(place: &'p Location, action: &str) -> Result<&'p str, Failure> {
    match place {
        Location::Disk(path) => Ok(path),
        Location::Root => Err(Failure::new(format_args!(
            "cannot {action} /: it only holds the folder `{DISK}`; name something below /{DISK}"
        ))),
        Location::Nowhere(path) => Err(Failure::new(format_args!(
            "cannot {action} {path}: no such file or directory; all files are below /{DISK}"
        ))),
    }
}
