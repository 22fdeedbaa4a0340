//! Commands that other domains carry out: those that the manifest lets the shell call.

use crate::failure::{Failure, Outcome};
use crate::output::Printable;
use crate::session::Session;
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec;
use interfaces::command::CommandError;
use userlib::abi::Error;
use userlib::ipc::CallError;

/// Bytes that an app can say at once.
const OUTPUT: usize = 64 * 1024;

/// Carries an app out: `words` are its arguments.
///
/// # Errors
/// What the app says, or what has become of it.
pub fn run(session: &mut Session<'_>, name: &str, words: &[String]) -> Outcome {
    // What was shown so far is not to wait for the app.
    session.out.flush();
    let mut output = vec![0; OUTPUT];
    let said = session.services.apps.run(name, &words.join(" "), &mut output).map_err(failure)?;
    let shown = output.get(..said).unwrap_or(&output);
    // An app is nobody's terminal: what could steer it is shown as what it is not.
    for line in String::from_utf8_lossy(shown).lines() {
        session.out.line(Printable(line));
    }
    match said.checked_sub(output.len()) {
        None | Some(0) => Ok(()),
        Some(more) => Err(Failure::new(format_args!(
            "{more} bytes of what it said are left out; an app can show {} KiB at once",
            OUTPUT / 1024
        ))),
    }
}

fn failure(error: CallError<CommandError>) -> Failure {
    let sentence = match error {
        CallError::Failed(CommandError::Usage(how)) => {
            return Failure::new(format_args!("the arguments do not fit; usage: {}", Printable(&how)));
        }
        CallError::Failed(CommandError::Failed(why)) => return Failure::new(Printable(&why)),
        CallError::Failed(why) => return Failure::new(why),
        CallError::ServerDied => {
            "the app died while it was working on it, so it may be done or not; `log` tells how, and the next call goes \
             to its next instance"
        }
        CallError::TimedOut => {
            "the app did not answer in time and may still be working on it; `ps` shows what state it is in"
        }
        CallError::NotUnderstood => "the app speaks another protocol than the shell; build both from the same sources",
        CallError::Busy => "the app is busy with other requests of the shell; repeat the command when they are done",
        CallError::Refused(Error::EndpointGone | Error::StaleHandle) => {
            "the app is gone for good; `ps` shows what state it is in"
        }
        CallError::Refused(why) => {
            return Failure::new(format_args!("the kernel refused the call: {why}; `log` may tell more"));
        }
    };
    Failure::Sentence(sentence.to_owned())
}
