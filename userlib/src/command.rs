//! Commands that a shell offers and other domains carry out.
//!
//! A program that is a command serves the interface `command`, and a shell is given its endpoint under the name that a
//! person types. It is a domain of its own: it reaches the servers that its manifest entry names and nothing that is the
//! shell's, and if it breaks, the shell goes on.
//!
//! ```no_run
//! use userlib::{Environment, command};
//!
//! fn program(environment: &'static Environment) -> ! {
//!     command::serve(environment, |arguments, output| {
//!         writeln!(output, "{} bytes", arguments.len())
//!     })
//! }
//! ```

use crate::environment::Environment;
use crate::ipc::{CallError, Caller, LeaseError, ReadLease, RetriedError, Text, WriteLease};
use crate::{Value, interface};
use alloc::format;
use alloc::string::String;
use core::fmt;

/// Name of the interface.
pub const NAME: &str = "command";
/// The most bytes of arguments that [`serve`] takes.
pub const ARGUMENTS_MAX: usize = 4096;
/// The most bytes of the sentence in an error.
pub const SENTENCE_MAX: usize = 96;

/// Why a command was not carried out. Its sentences have no full stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub enum CommandError {
    /// The arguments do not fit; says how the command is used.
    Usage(Text<SENTENCE_MAX>),
    /// It could not be done; says why.
    Failed(Text<SENTENCE_MAX>),
    /// The arguments are no UTF-8 or longer than the command takes.
    BadArguments,
    /// What was lent could not be read or written.
    BadLease,
}

impl CommandError {
    /// The arguments do not fit: `how` the command is used.
    pub fn usage(how: impl fmt::Display) -> Self {
        CommandError::Usage(Text::new(&format!("{how}")))
    }

    /// It could not be done: `why`.
    pub fn failed(why: impl fmt::Display) -> Self {
        CommandError::Failed(Text::new(&format!("{why}")))
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::Usage(how) => write!(f, "the arguments do not fit: {}", how.as_str()),
            CommandError::Failed(why) => f.write_str(why),
            CommandError::BadArguments => f.write_str("the arguments are no text, or too long"),
            CommandError::BadLease => f.write_str("the lent memory could not be read or written"),
        }
    }
}

impl core::error::Error for CommandError {}

impl From<LeaseError> for CommandError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::BadText => CommandError::BadArguments,
            _ => CommandError::BadLease,
        }
    }
}

impl<E: fmt::Display> From<RetriedError<E>> for CommandError {
    fn from(error: RetriedError<E>) -> Self {
        CommandError::failed(error)
    }
}

impl<E: fmt::Display> From<CallError<E>> for CommandError {
    fn from(error: CallError<E>) -> Self {
        CommandError::failed(error)
    }
}

/// What a command says; `write!` and `writeln!` write to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output(String);

impl Output {
    /// Adds formatted text.
    ///
    /// # Errors
    /// If the formatting of one of the values fails; none of the standard library's does.
    pub fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> Result<(), CommandError> {
        fmt::Write::write_fmt(&mut self.0, text).map_err(|_| CommandError::failed("a value could not be shown"))
    }

    /// What was said so far.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A command.
#[interface(name = "command", version = 1)]
pub trait Command {
    /// Carries the command out: `arguments` are the words behind its name, with one space between each two. Writes what
    /// it has to say to `output`, and returns how many bytes that is: if they are more than `output` has, it holds the
    /// first of them and the others are gone.
    fn run(arguments: &str, output: &mut [u8]) -> Result<usize, CommandError>;
}

/// The server of a command that is a function.
struct Function<F>(F);

impl<F: Fn(&str, &mut Output) -> Result<(), CommandError>> CommandServer for Function<F> {
    async fn run(&self, _: &Caller, arguments: ReadLease, output: WriteLease) -> Result<usize, CommandError> {
        let arguments = arguments.to_text(ARGUMENTS_MAX)?;
        let mut said = Output::default();
        (self.0)(&arguments, &mut said)?;
        let said = said.0;
        let fits = said.len().min(output.length()?);
        output.write(0, &said.as_bytes()[..fits])?;
        Ok(said.len())
    }
}

/// The service of a command that is a function of the arguments and of the text in which it answers.
pub fn service(
    run: impl Fn(&str, &mut Output) -> Result<(), CommandError> + 'static,
) -> impl crate::ipc::Service + 'static {
    CommandService::new(Function(run))
}

/// The rest of the life of a program that is a command: carries out `run` whenever it is called, one call after the
/// other.
///
/// # Panics
/// As [`Environment::serve`].
pub fn serve(
    environment: &'static Environment,
    run: impl Fn(&str, &mut Output) -> Result<(), CommandError> + 'static,
) -> ! {
    environment.serve(NAME, service(run))
}
