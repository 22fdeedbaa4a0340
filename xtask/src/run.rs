//! `cargo xtask run`: the machine for a person, at a terminal or through a script.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::build::{self, BuildError, Built, Composition};
use crate::console::ConsoleError;
use crate::disk::{self, DiskError};
use crate::guest::{GuestError, Wish};
use crate::machine::{Accel, Accelerator, DEBUGGER_PORT, Drive, Machine, Serial};
use crate::session::{BOOT_LIMIT, Session};
use crate::setup::{self, SetupError};

/// How long a script's command may take when no limit was given: long enough for any, short enough for a machine that
/// hangs unattended over night.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// Why a run did not take place or did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The script cannot be read.
    #[error("cannot read the script {path}: {source}")]
    Script {
        /// The script.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Standard input or output failed.
    #[error("cannot read the commands or show the session: {0}")]
    Terminal(#[from] io::Error),
    /// The disk cannot be used.
    #[error("{0}")]
    Disk(#[from] DiskError),
    /// The machine is not set up.
    #[error("{0}")]
    Setup(#[from] SetupError),
    /// The system was not built.
    #[error("{0}")]
    Build(#[from] BuildError),
    /// There is no guest to be run.
    #[error("{0}")]
    Guest(#[from] GuestError),
    /// QEMU could not be started.
    #[error("cannot start QEMU: {0}")]
    Start(io::Error),
    /// The dialogue with the shell broke off.
    #[error("{0}")]
    Console(#[from] ConsoleError),
    /// The time given by `--timeout` is over.
    #[error("stopped after {} s, the limit given by --timeout", .0.as_secs())]
    TimedOut(Duration),
}

/// What a person asked for, checked as far as it can be without building anything.
#[derive(Debug)]
pub struct Plan {
    machine: Machine,
    accel: Accel,
    disk: Disk,
    guest: Option<Wish>,
    dialogue: Dialogue,
    timeout: Option<Duration>,
}

/// What the guest is called that a person asks for beside those of the manifest.
const GUEST: &str = "linux";
/// The bootable file that has it.
const IMAGE_WITH_GUEST: &str = "bulkhead-guest.elf";

/// Which disk the machine gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disk {
    /// The project's own, which is made on the first run.
    Default,
    /// An image of the user's.
    Image(PathBuf),
}

/// Who types.
#[derive(Debug)]
enum Dialogue {
    /// A person at the terminal.
    Person,
    /// The lines of a file, known before the machine starts.
    Script(Vec<String>),
    /// Standard input, line by line as they come.
    StandardInput,
}

impl Plan {
    /// Checks the options; `machine` needs no image yet.
    ///
    /// # Errors
    ///
    /// [`RunError::Disk`], [`RunError::Guest`] or [`RunError::Script`].
    pub fn check(
        mut machine: Machine,
        accel: Accel,
        disk: Disk,
        guest: Option<Wish>,
        script: Option<&Path>,
        timeout: Option<Duration>,
    ) -> Result<Self, RunError> {
        if let Disk::Image(image) = &disk {
            let disk::ReadOnly(read_only) = disk::check_image(image)?;
            if read_only {
                eprintln!("{} may only be read, so the machine's disk refuses writes.", image.display());
            }
            machine.drives = vec![Drive { read_only, ..Drive::new(image) }];
        }
        if let Some(guest) = &guest {
            guest.check()?;
        }
        let dialogue = match script {
            Some(path) => {
                let text =
                    fs::read_to_string(path).map_err(|source| RunError::Script { path: path.to_owned(), source })?;
                Dialogue::Script(text.lines().filter_map(command).collect())
            }
            None if io::stdin().is_terminal() => Dialogue::Person,
            None => Dialogue::StandardInput,
        };
        Ok(Self { machine, accel, disk, guest, dialogue, timeout })
    }

    /// Sets up what is missing, builds, boots, and returns whether every command succeeded.
    ///
    /// # Errors
    ///
    /// [`RunError`].
    pub fn carry_out(mut self) -> Result<bool, RunError> {
        let source = setup::ensure()?;
        let built = match self.guest.take() {
            None => build::system(&source)?,
            Some(guest) => {
                let section = guest.fulfil()?.section(GUEST)?;
                let built = build::build(&Composition::of_system_and(&section, IMAGE_WITH_GUEST)?, &source)?;
                eprintln!("The guest is called {GUEST}: `guest console {GUEST}` leads to it, Ctrl-] back.");
                built
            }
        };
        self.machine.image.clone_from(&built.image);
        self.machine.plugs.clone_from(&built.plugs);
        self.machine.memory = self.machine.memory.and_bytes(built.guest_memory);
        if self.disk == Disk::Default {
            self.machine.drives = vec![Drive::new(disk::default_image()?)];
        }
        // Not before QEMU is sure to be there: `auto` tries a guest.
        self.machine.accelerator = Accelerator::choose(self.accel);
        if self.machine.accelerator == Accelerator::Kvm {
            eprintln!("Running under KVM, which the project's own tests do not cover.");
        }
        if self.machine.debugger {
            eprintln!("{}", debugger_help(&built));
        }
        match self.dialogue {
            Dialogue::Person => at_terminal(self.machine, self.timeout),
            Dialogue::Script(lines) => dialogue(&self.machine, lines.into_iter().map(Ok), self.timeout),
            Dialogue::StandardInput => {
                let lines = io::stdin().lock().lines().filter_map(|line| match line {
                    Ok(line) => command(&line).map(Ok),
                    Err(error) => Some(Err(error)),
                });
                dialogue(&self.machine, lines, self.timeout)
            }
        }
    }
}

/// The command in a line of a script: nothing for an empty line or a comment.
fn command(line: &str) -> Option<String> {
    let line = line.trim();
    (!line.is_empty() && !line.starts_with('#')).then(|| line.to_owned())
}

/// How to attach a debugger to the machine that is about to start.
fn debugger_help(built: &Built) -> String {
    let program =
        |name: &str| built.programs.get(name).map_or_else(|| name.to_owned(), |path| path.display().to_string());
    format!(
        "The machine waits for a debugger. In another terminal:\n\n    \
         gdb {} -ex 'target remote :{DEBUGGER_PORT}' -ex continue\n\n\
         For a server, add its symbols: add-symbol-file {}",
        program(build::KERNEL),
        program("shell"),
    )
}

/// Gives the terminal to the machine.
fn at_terminal(mut machine: Machine, timeout: Option<Duration>) -> Result<bool, RunError> {
    machine.serial = Serial::Terminal;
    // A person may want `reboot` to do what it says, and sees when it goes on for ever.
    machine.restarts = !machine.debugger;
    eprintln!("Booting. `shutdown` powers the machine off; Ctrl-A X leaves at once, Ctrl-A H lists more keys.");
    let started = Instant::now();
    let mut qemu = machine.command().spawn().map_err(RunError::Start)?;
    let Some(limit) = timeout else {
        return Ok(qemu.wait()?.success());
    };
    loop {
        if let Some(status) = qemu.try_wait()? {
            return Ok(status.success());
        }
        if started.elapsed() > limit {
            // By its monitor's own signal, so that it gives the terminal back as it was.
            let _ = std::process::Command::new("kill").arg(qemu.id().to_string()).stderr(Stdio::null()).status();
            qemu.wait()?;
            return Err(RunError::TimedOut(limit));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Types `lines` one after the other, shows the session, and powers the machine off.
fn dialogue(
    machine: &Machine,
    lines: impl Iterator<Item = io::Result<String>>,
    timeout: Option<Duration>,
) -> Result<bool, RunError> {
    let deadline = timeout.map(|limit| Instant::now() + limit);
    let left = |most: Duration| match deadline {
        Some(deadline) => deadline.saturating_duration_since(Instant::now()),
        None => most,
    };
    let in_time = |error: ConsoleError| match (&error, timeout, deadline) {
        (ConsoleError::Silent { .. }, Some(limit), Some(deadline)) if Instant::now() >= deadline => {
            RunError::TimedOut(limit)
        }
        _ => RunError::Console(error),
    };
    let show = |line: &str| {
        // Whoever closed our output does not want to see more; the session goes on for its exit status.
        let _ = writeln!(io::stdout(), "{line}");
    };
    // Under a debugger nothing happens before a person says so.
    let boot_limit = if machine.debugger { PATIENCE } else { BOOT_LIMIT };
    let mut session = Session::boot_with(machine, Some(Box::new(show)), left(boot_limit)).map_err(in_time)?;
    let mut failed = Vec::new();
    for line in lines {
        let line = line?;
        let pending = session.begin(&line).map_err(in_time)?;
        if matches!(line.as_str(), "shutdown" | "reboot") {
            session.wait_for_power_off().map_err(in_time)?;
            return Ok(report(&failed));
        }
        let reply = session.finish(pending, left(PATIENCE)).map_err(in_time)?;
        if !reply.succeeded {
            failed.push(line);
        }
    }
    session.shut_down().map_err(in_time)?;
    Ok(report(&failed))
}

fn report(failed: &[String]) -> bool {
    for line in failed {
        eprintln!("This command failed: {line}");
    }
    failed.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lines_and_comments_of_a_script_are_not_typed() {
        let script = "# look around\n\nls /disk\n  ps  \n";
        assert_eq!(script.lines().filter_map(command).collect::<Vec<_>>(), ["ls /disk", "ps"]);
    }

    #[test]
    fn a_script_disk_or_kernel_that_is_not_there_is_refused_before_anything_is_built() {
        let missing = Path::new("/nonexistent/file");
        assert!(matches!(
            Plan::check(Machine::new(""), Accel::Tcg, Disk::Default, None, Some(missing), None),
            Err(RunError::Script { .. })
        ));
        assert!(matches!(
            Plan::check(Machine::new(""), Accel::Tcg, Disk::Image(missing.to_owned()), None, None, None),
            Err(RunError::Disk(DiskError::File { .. }))
        ));
        let guest = Wish { kernel: Some(missing.to_owned()), ..Wish::default() };
        assert!(matches!(
            Plan::check(Machine::new(""), Accel::Tcg, Disk::Default, Some(guest), None, None),
            Err(RunError::Guest(GuestError::File { .. }))
        ));
    }
}
