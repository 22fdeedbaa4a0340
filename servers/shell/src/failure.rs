//! What went wrong, as one sentence: what failed, on what, why, and what to do.

use crate::path::Location;
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use interfaces::filesystem::FsError;
use interfaces::supervision::SupervisionError;
use userlib::abi::Error;
use userlib::ipc::CallError;

/// Why a command ended without success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A sentence for the person at the terminal.
    Sentence(String),
    /// Ctrl-C was typed.
    Cancelled,
    /// Everything was said already.
    Reported,
}

/// What a command gives.
pub type Outcome = Result<(), Failure>;

impl Failure {
    /// A failure with a sentence of its own, without a full stop.
    pub fn new(sentence: impl fmt::Display) -> Self {
        Failure::Sentence(sentence.to_string())
    }

    /// Something could not be done with a file.
    pub fn of_file(action: &str, place: &Location, error: CallError<FsError>) -> Self {
        match error {
            CallError::Failed(why) => {
                Self::new(format_args!("cannot {action} {place}: {why}; {}", file_advice(why, place)))
            }
            other => Self::of_call(&format!("cannot {action} {place}"), Server::FILES, other),
        }
    }

    /// Something could not be done with a domain.
    pub fn of_domain(action: &str, name: &str, error: CallError<SupervisionError>) -> Self {
        match error {
            CallError::Failed(why) => Self::new(format_args!("cannot {action} {name}: {why}; {}", domain_advice(why))),
            other => Self::of_call(&format!("cannot {action} {name}"), Server::SUPERVISOR, other),
        }
    }

    /// A server did not answer as it should. `what` says what failed, on what.
    pub fn of_call<E: fmt::Display>(what: &str, server: Server, error: CallError<E>) -> Self {
        let Server { name, interface } = server;
        let (why, advice): (String, Cow<'static, str>) = match error {
            CallError::Failed(why) => (why.to_string(), "`log` may tell more".into()),
            CallError::ServerDied => (
                format!("{name} died while it was working on it, so it may be done or not"),
                "look what has become of it and try again, `ps` shows whether the server is back".into(),
            ),
            CallError::TimedOut => (
                format!("{name} did not answer in time"),
                "`ps` shows what state it is in, `restart` restarts it".into(),
            ),
            CallError::NotUnderstood => {
                (format!("{name} speaks another protocol than the shell"), "build both from the same sources".into())
            }
            CallError::Busy => (
                "the server is busy with other requests of this program".into(),
                "repeat the command when they are done".into(),
            ),
            CallError::Refused(Error::BadHandle) => (
                format!("the shell was not given the interface `{interface}`"),
                "add it to what the shell `uses` in the system's manifest".into(),
            ),
            CallError::Refused(Error::EndpointGone | Error::StaleHandle) => {
                (format!("{name} is gone for good"), "only starting the machine again brings it back".into())
            }
            CallError::Refused(why) => (format!("the kernel refused the call: {why}"), "`log` may tell more".into()),
        };
        Self::new(format_args!("{what}: {why}; {advice}"))
    }

    /// The words of a command do not fit it.
    pub fn usage(problem: impl fmt::Display, command: &str) -> Self {
        Self::new(format_args!("{problem}; `help {command}` shows how to use it"))
    }
}

/// A server, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// What it is called in a sentence.
    pub name: &'static str,
    /// The interface by which the shell uses it.
    pub interface: &'static str,
}

impl Server {
    /// Files.
    pub const FILES: Server = Server { name: "the file server", interface: "filesystem" };
    /// Domains and the machine.
    pub const SUPERVISOR: Server = Server { name: "the supervisor", interface: "supervision" };
    /// The disk's driver.
    pub const DISK: Server = Server { name: "the disk's driver", interface: "block" };
    /// Echo.
    pub const ECHO: Server = Server { name: "the echo server", interface: "echo" };
}

/// What to do about a failure of the file server's.
pub fn file_advice(error: FsError, place: &Location) -> Cow<'static, str> {
    match error {
        FsError::NotFound => return format!("`ls {}` shows what is there", place.parent()).into(),
        FsError::AlreadyExists => "choose another name, or remove what is there first",
        FsError::NotADirectory => "check the path with `stat`",
        FsError::IsADirectory => "`ls` shows what is in it",
        FsError::DirectoryNotEmpty => "remove what is in it first",
        FsError::IsRoot => "name something in it",
        FsError::IntoItself => "choose a destination outside of it",
        FsError::ReadOnly => "attach the disk so that it can be written, or choose another file",
        FsError::NoSpace => "`df` shows what is free, `rm` makes room",
        FsError::FileTooLarge => "a file can have 4 GiB less a byte",
        FsError::InvalidName => "leave out control characters and any of \" * / : < > ? \\ |",
        FsError::NameTooLong => "a name has at most 255 characters, a path at most 1024 bytes",
        FsError::InvalidPath => "write it from `/disk` on",
        FsError::InUse => "wait until whoever uses it is done",
        FsError::NotWritable | FsError::InvalidCookie | FsError::BadLease | FsError::Unsupported => {
            "`log` may tell more"
        }
        FsError::TooManyOpen => "wait until other programs have closed theirs",
        FsError::UnknownSession => "run the command again",
        FsError::NoDisk => "give the machine a disk, or see with `ps` whether its driver runs",
        FsError::UnknownFormat => "give the disk a FAT filesystem on another system",
        FsError::Damaged => "check the disk with `fsck.fat` on another system",
        FsError::DeviceFailed => "`log` may tell what the disk's driver met with",
    }
    .into()
}

fn domain_advice(error: SupervisionError) -> &'static str {
    match error {
        SupervisionError::NoSuchDomain => "`ps` lists the domains",
        SupervisionError::NotRunning => "`ps` shows what state it is in, `restart` starts it",
        SupervisionError::Protected => {
            "nobody would be there to start it again; `crash` makes it break, and `init` builds the next one"
        }
        _ => "`log` may tell more",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> Location {
        Location::resolve(&Location::Root, path)
    }

    fn sentence(failure: Failure) -> String {
        match failure {
            Failure::Sentence(sentence) => sentence,
            other => panic!("no sentence: {other:?}"),
        }
    }

    #[test]
    fn a_sentence_says_what_failed_on_what_why_and_what_to_do() {
        let missing = Failure::of_file("read", &place("/disk/a/b"), CallError::Failed(FsError::NotFound));
        assert_eq!(
            sentence(missing),
            "cannot read /disk/a/b: no such file or directory; `ls /disk/a` shows what is there"
        );
        let died = Failure::of_file("rename", &place("/disk/a"), CallError::ServerDied);
        assert_eq!(
            sentence(died),
            "cannot rename /disk/a: the file server died while it was working on it, so it may be done or not; look \
             what has become of it and try again, `ps` shows whether the server is back"
        );
    }

    #[test]
    fn a_server_that_is_gone_for_good_is_not_waited_for() {
        let gone: CallError<SupervisionError> = CallError::Refused(Error::EndpointGone);
        assert_eq!(
            sentence(Failure::of_domain("kill", "echo", gone)),
            "cannot kill echo: the supervisor is gone for good; only starting the machine again brings it back"
        );
    }

    #[test]
    fn a_service_that_the_manifest_does_not_give_is_named() {
        let refused: CallError<FsError> = CallError::Refused(Error::BadHandle);
        let sentence = sentence(Failure::of_file("read", &place("/disk"), refused));
        assert!(sentence.contains("not given the interface `filesystem`"), "{sentence}");
    }
}
