//! The workload `work`: uses the filesystem, the console and the echo server without end, checks everything that it reads, and
//! reports how far it has come.
//!
//! Its arguments, if it has any, are commands with their own arguments, `;` between them: they are carried out in each round, too,
//! and must say the same each time.
//!
//! The file [`FILE`] has the words of [`pattern`]; it is longer than any cache. What is read back of [`OWN`] must be what the
//! latest write said that succeeded and was synchronised, whoever has died since.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use faults::pattern::{self, WORD};
use faults::tally::{Progress, TallyClient};
use interfaces::command::CommandClient;
use interfaces::console::ConsoleClient;
use interfaces::echo::EchoClient;
use interfaces::filesystem::{Access, FileId, FilesystemClient};
use userlib::ipc::Connection;
use userlib::status::{self, Phase};
use userlib::time::{Deadline, Duration};
use userlib::{Environment, log};

/// The file that is read. On the file server's volume, as all paths here.
const FILE: &str = "/load.bin";
/// The file that is written.
const OWN: &str = "/work.bin";
/// Bytes that are read or written at a time.
const PIECE: usize = 32 << 10;
/// Pieces of the file that are read in a round.
const PIECES: usize = 4;
/// Longest wait for an answer. Who hangs is found out by then.
const PATIENCE: Duration = Duration::from_secs(8);
/// What a round rests after an error, so that those who come back are let.
const REST: Duration = Duration::from_millis(5);

userlib::entry!(|environment| {
    let mut work = Work::new(environment);
    status::set_phase(Phase::Ready);
    loop {
        work.round();
    }
});

/// Most bytes that a command says.
const SAID: usize = 4096;

/// A command that must say the same each time.
struct Asked {
    command: CommandClient,
    arguments: String,
    /// What it said the first time.
    said: Option<Vec<u8>>,
}

/// An operation failed; what it was to do is not known to be done.
struct Failed;

struct Work {
    files: FilesystemClient,
    console: ConsoleClient,
    echo: EchoClient,
    tally: TallyClient,
    progress: Progress,
    /// The file that is read, while it is open, and its pieces.
    file: Option<(FileId, u64)>,
    own: Option<FileId>,
    /// Key of what is in the file that is written, if that is known.
    written: Option<u64>,
    buffer: Vec<u8>,
    random: u64,
    asked: Vec<Asked>,
}

impl Work {
    fn new(environment: &'static Environment) -> Self {
        Work {
            files: FilesystemClient::new(environment.connection("filesystem")).with_timeout(PATIENCE),
            console: ConsoleClient::new(environment.connection("console")).with_timeout(PATIENCE),
            echo: EchoClient::new(environment.connection("echo")).with_timeout(PATIENCE),
            tally: TallyClient::new(environment.connection("tally")),
            progress: Progress::default(),
            file: None,
            own: None,
            written: None,
            buffer: vec![0; PIECE],
            random: 1,
            asked: asked(environment),
        }
    }

    /// Does everything once. A part that fails is left, and the next one begun.
    fn round(&mut self) {
        let errors = self.progress.errors;
        let _ = self.read();
        let _ = self.write();
        let _ = self.say();
        for number in 0..self.asked.len() {
            let _ = self.ask(number);
        }
        self.progress.rounds += 1;
        // The tally is not what is tested: if it cannot be reached, the injector sees no progress.
        let _ = self.tally.report(self.progress);
        if self.progress.errors > errors {
            userlib::time::sleep_thread(Deadline::from_call(REST));
        }
    }

    /// Counts an operation by its outcome.
    fn count<T, E: fmt::Display>(&mut self, outcome: Result<T, E>) -> Result<T, Failed> {
        match outcome {
            Ok(value) => {
                self.progress.operations += 1;
                Ok(value)
            }
            Err(error) => {
                self.progress.errors += 1;
                log::warn!("{error}");
                // The next instance of the server does not know what was open; the same one would not forget it.
                for file in self.file.take().map(|(file, _)| file).into_iter().chain(self.own.take()) {
                    let _ = self.files.close(file);
                }
                Err(Failed)
            }
        }
    }

    /// Counts whether what was read is right.
    fn judge(&mut self, is_right: bool) {
        if !is_right {
            self.progress.wrong += 1;
        }
    }

    /// Reads pieces of the file in random places.
    fn read(&mut self) -> Result<(), Failed> {
        let (file, pieces) = match self.file {
            Some(open) => open,
            None => {
                let opened = self.files.open(FILE, Access::Read);
                let opened = self.count(opened)?;
                *self.file.insert((opened.file, opened.length / PIECE as u64))
            }
        };
        self.judge(pieces > 0);
        for _ in 0..PIECES {
            // Numbers that look random: xorshift, as long as the state is not 0.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let offset = self.random % pieces.max(1) * PIECE as u64;
            let mut buffer = core::mem::take(&mut self.buffer);
            let outcome = self.files.read(file, offset, &mut buffer);
            let outcome = self.count(outcome);
            let is_right = outcome.as_ref().is_ok_and(|read| *read == PIECE) && pattern::is_right(0, offset, &buffer);
            self.buffer = buffer;
            outcome?;
            self.judge(is_right);
        }
        Ok(())
    }

    /// Reads back what was written last, and writes something else.
    fn write(&mut self) -> Result<(), Failed> {
        let file = match self.own {
            Some(file) => file,
            None => {
                let opened = self.files.open(OWN, Access::ReadWrite).map(|opened| opened.file);
                let opened = match opened {
                    Err(_) if self.written.is_none() => {
                        self.files.create(OWN).map(|opened| opened.file).map_err(|error| error.to_string())
                    }
                    opened => opened.map_err(|error| error.to_string()),
                };
                let opened = self.count(opened)?;
                *self.own.insert(opened)
            }
        };
        let mut buffer = core::mem::take(&mut self.buffer);
        let outcome = self.write_back(file, &mut buffer);
        self.buffer = buffer;
        outcome
    }

    fn write_back(&mut self, file: FileId, buffer: &mut [u8]) -> Result<(), Failed> {
        if let Some(key) = self.written {
            let read = self.files.read(file, 0, buffer);
            let read = self.count(read)?;
            self.judge(read == PIECE && pattern::is_right(key, 0, buffer));
        }
        let key = self.progress.rounds + 1;
        pattern::fill(key, 0, buffer);
        // Until it is known to be on the disk, it may be the one or the other.
        self.written = None;
        let outcome = self.files.write(file, 0, buffer);
        let written = self.count(outcome)?;
        let outcome = self.files.sync_file(file);
        self.count(outcome)?;
        self.judge(written == PIECE);
        self.written = Some(key);
        Ok(())
    }

    /// Says a line that whoever sees it can check, and has a number sent back.
    fn say(&mut self) -> Result<(), Failed> {
        let line = pattern::line(self.progress.rounds & 0xfff_ffff);
        let said = self.console.write(alloc::format!("{line}\r\n").as_bytes());
        self.count(said)?;
        let number = self.progress.rounds ^ WORD as u64;
        let answer = self.echo.ping(number);
        let answer = self.count(answer)?;
        self.judge(answer == number);
        Ok(())
    }

    /// Has a command carried out.
    fn ask(&mut self, number: usize) -> Result<(), Failed> {
        let mut output = vec![0; SAID];
        let asked = &self.asked[number];
        let outcome = asked.command.run(&asked.arguments, &mut output);
        let count = self.count(outcome)?;
        output.truncate(count);
        let said = self.asked[number].said.get_or_insert_with(|| output.clone());
        let is_same = *said == output;
        self.judge(is_same);
        Ok(())
    }
}

/// The commands that the arguments name, as far as the manifest gives them.
fn asked(environment: &'static Environment) -> Vec<Asked> {
    let commands = environment.arguments().split(';').map(str::trim).filter(|command| !command.is_empty());
    commands
        .filter_map(|command| {
            let (name, arguments) = command.split_once(' ').unwrap_or((command, ""));
            let (_, endpoint) = environment.uses_of(CommandClient::INTERFACE).find(|(known, _)| *known == name)?;
            let command = CommandClient::new(Connection::new(endpoint)).with_timeout(PATIENCE);
            Some(Asked { command, arguments: arguments.into(), said: None })
        })
        .collect()
}
