//! The command `kv`: asks servers of values by their keys, of which the manifest gives it streams, each under a name of its own. It
//! cannot tell whether one is a domain or a program in a guest.
//!
//! | arguments | what is done |
//! | --- | --- |
//! | `NAME get KEY`, `NAME set KEY VALUE`, `NAME delete KEY`, `NAME count` | asks that server, and says what it answers |
//! | `NAME start DOMAIN` | starts the domain anew, or the guest, and says how long it took until the server answers |
//! | `NAME measure COUNT` | sets and gets so many values one after the other, checks each, and says how long a request takes |
//!
//! Times are in nanoseconds, as the machine has them.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

mod server;

use alloc::format;
use alloc::vec::Vec;
use interfaces::command::{self, CommandError, Output};
use interfaces::guest::GuestClient;
use interfaces::stream::StreamClient;
use interfaces::supervision::SupervisionClient;
use server::Server;
use userlib::Environment;
use userlib::time::Instant;

const USAGE: &str = "NAME get KEY | set KEY VALUE | delete KEY | count | start DOMAIN | measure COUNT";
/// Most values that are measured at once: so many fit into a server.
const MOST: u64 = 1000;

userlib::entry!(|environment| command::serve(environment, |arguments, output| {
    let usage = || CommandError::usage(USAGE);
    let (name, words) = arguments.trim().split_once(' ').ok_or_else(usage)?;
    let mut streams = environment.uses_of(StreamClient::INTERFACE);
    let Some((_, stream)) = streams.find(|(known, _)| *known == name) else {
        return Err(CommandError::failed(format_args!("the manifest gives no stream called '{name}'")));
    };
    let mut server = Server::new(StreamClient::new(stream));
    match words.split_once(' ') {
        Some(("start", domain)) => start(environment, &mut server, domain, output),
        Some(("measure", count)) => {
            let count = count.parse().ok().filter(|count| (1..=MOST).contains(count)).ok_or_else(usage)?;
            measure(&mut server, count, output)
        }
        _ => {
            writeln!(output, "{}", server.ask(words)?)?;
            Ok(())
        }
    }
}));

/// Starts the server's domain anew, or its guest.
fn start(
    environment: &Environment,
    server: &mut Server,
    domain: &str,
    output: &mut Output,
) -> Result<(), CommandError> {
    let guest = environment.uses_of(GuestClient::INTERFACE).find(|(known, _)| *known == domain);
    let guest = guest.map(|(_, endpoint)| GuestClient::new(endpoint));
    if let Some(guest) = guest
        && guest.info()?.uptime > 0
    {
        guest.kill()?;
    }
    let began = Instant::now();
    match guest {
        Some(guest) => guest.start()?,
        None => SupervisionClient::new(environment.connection("supervision")).restart(domain)?,
    }
    server.await_ready()?;
    server.ask("count")?;
    writeln!(output, "ready after {} ns", began.elapsed().as_nanos())?;
    Ok(())
}

/// Asks for values one after the other.
fn measure(server: &mut Server, count: u64, output: &mut Output) -> Result<(), CommandError> {
    let mut took = Vec::new();
    let mut time = |server: &mut Server, line: &str, expected: &str| {
        let began = Instant::now();
        let answer = server.ask(line)?;
        took.push(began.elapsed().as_nanos());
        if answer == expected {
            Ok(())
        } else {
            Err(CommandError::failed(format_args!("'{line}' was answered with '{answer}'")))
        }
    };
    for number in 0..count {
        time(server, &format!("set key-{number} value-{number}"), "ok")?;
    }
    for number in 0..count {
        time(server, &format!("get key-{number}"), &format!("value value-{number}"))?;
    }
    took.sort_unstable();
    let (fewest, middle) = (took[0], took[took.len() / 2]);
    writeln!(output, "{} requests: fewest {fewest} ns, median {middle} ns", took.len())?;
    Ok(())
}
