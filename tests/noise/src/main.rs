//! The command `noise`: sends the server of an interface messages by chance, in the running system, and says what became
//! of them. It has capabilities to call servers and nothing else of theirs; what it sends them is its own.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::str::FromStr;
use userlib::Environment;
use userlib::abi::Handle;
use userlib::command::{self, CommandError, Output};
use userlib::messages::{Composer, Ending, Tally, send};
use userlib::time::{Deadline, Duration};

/// How long a call may take: some wait for what never comes.
const PATIENCE: Duration = Duration::from_millis(2);
/// Names that some servers know: of a domain, of files and folders, and what is none.
const TEXTS: [&str; 6] = ["echo", "/readme.txt", "/noise", "/noise/a name", "readme.txt", ""];
/// Methods that end the machine, or by which a server breaks because it is asked to.
const WITHOUT: [&str; 3] = ["shutdown", "reboot", "misbehave"];

userlib::entry!(|environment| command::serve(environment, |arguments, output| send_noise(
    environment,
    arguments,
    output
)));

/// `noise INTERFACE MESSAGES SEED`.
fn send_noise(environment: &Environment, arguments: &str, output: &mut Output) -> Result<(), CommandError> {
    let usage = || CommandError::usage("noise INTERFACE MESSAGES SEED");
    let words: Vec<&str> = arguments.split(' ').collect();
    let &[interface, messages, seed] = &words[..] else {
        return Err(usage());
    };
    let all = interfaces::ALL.iter().chain([&edu::EduClient::INTERFACE]);
    let interface = all.copied().find(|known| known.name == interface).ok_or_else(usage)?;
    let (messages, seed) = (number(messages).ok_or_else(usage)?, number(seed).ok_or_else(usage)?);
    let endpoint = environment.uses(interface.name).map_err(CommandError::failed)?;
    let mut composer = Composer::new(&interface, &WITHOUT, seed, &TEXTS, gifts(environment));
    let mut tally = Tally::default();
    for _ in 0..messages {
        let mut message = composer.message();
        let ending = send(endpoint, interface.id, &mut message, Deadline::from_call(PATIENCE));
        let ending = ending.map_err(CommandError::failed)?;
        tally.note(message.method, &ending);
        if let Ending::Answered(words) = ending {
            composer.remember(&words);
        }
    }
    writeln!(output, "{}: {messages} messages: {tally}", interface.name)
}

/// Capabilities to send: one of its own that is good, and one that is not.
fn gifts(environment: &Environment) -> Vec<Handle> {
    let own = environment.notification().map(|notification| notification.handle());
    own.into_iter().chain([Handle::new(4999, 1)]).collect()
}

fn number(text: &str) -> Option<u64> {
    u64::from_str(text).ok()
}
