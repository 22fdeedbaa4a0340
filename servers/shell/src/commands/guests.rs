//! Guests: machines inside the machine.

use super::{Command, Completes};
use crate::failure::{Failure, Outcome, Server};
use crate::guest_console;
use crate::quantity::{show_duration, show_size};
use crate::session::Session;
use crate::table::{Align, Table};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;
use interfaces::guest::{GuestError, GuestInfo, GuestState, NetworkInfo};
use userlib::ipc::CallError;

pub(super) const COMMANDS: &[Command] = &[Command {
    name: "guest",
    usage: "list | start|stop|kill|info|console GUEST",
    summary: "lists the guests, switches one on or off, or leaves the terminal to one",
    details: "list: all of them. start: switches one on. stop: presses its power button, upon which it switches itself off, if it \
              wants to. kill: takes its power away. info: what is known of it. console: shows what it writes to its serial port, and \
              types there; every key is the guest's, Ctrl-C too, until Ctrl-] comes back to the shell. A guest runs \
              whether or not somebody looks.",
    completes: &[
        Completes::Words(&["list", "start", "stop", "kill", "info", "console"]),
        Completes::Guests,
        Completes::Nothing,
    ],
    prefix: None,
    run: guest,
}];

fn guest(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let Some((action, rest)) = words.split_first() else {
        return Err(Failure::usage("what to do is missing", "guest"));
    };
    if action == "list" {
        return match rest {
            [] => list(session),
            [more, ..] => Err(Failure::usage(format_args!("`{more}` is one too many"), "guest")),
        };
    }
    let run: fn(&mut Session<'_>, &str) -> Outcome = match action.as_str() {
        "start" => start,
        "stop" => stop,
        "kill" => kill,
        "info" => info,
        "console" => guest_console::attach,
        _ => {
            let problem = format_args!("`{action}` is none of list, start, stop, kill, info and console");
            return Err(Failure::usage(problem, "guest"));
        }
    };
    let name = match rest {
        [] => return Err(Failure::usage("the name of a guest is missing", "guest")),
        [name] => name,
        [_, more, ..] => return Err(Failure::usage(format_args!("`{more}` is one too many"), "guest")),
    };
    let names = guests(session)?;
    if !names.contains(name) {
        return Err(Failure::new(format_args!("no guest is called '{name}': there are {}", names.join(", "))));
    }
    // A guest that is asked for something may be long in coming.
    session.out.flush();
    run(session, name)
}

/// The names of the guests, of which there is one at least.
fn guests(session: &Session<'_>) -> Result<Vec<String>, Failure> {
    let names: Vec<String> = session.services.guests.names().into_iter().map(String::from).collect();
    if names.is_empty() {
        return Err(Failure::new("this system has no guests: [guest.NAME] in system.toml makes one"));
    }
    Ok(names)
}

/// A guest's monitor, for people.
const MONITOR: Server = Server { name: "the guest's monitor", interface: "guest" };

/// Something could not be done with a guest.
pub(crate) fn failure(action: &str, name: &str, error: CallError<GuestError>) -> Failure {
    let CallError::Failed(why) = error else {
        return Failure::of_call(&format!("cannot {action} {name}"), MONITOR, error);
    };
    let advice = match why {
        GuestError::Off => format!("`guest start {name}` switches it on"),
        GuestError::On => format!("`guest kill {name}` takes its power away"),
        GuestError::NoHardware => "give the machine such a processor, QEMU's `-cpu max` is one".into(),
        GuestError::BadKernel => format!("name another `kernel`, or more `memory`, in [guest.{name}] of system.toml"),
        GuestError::NoResources | GuestError::BadLease => format!("`log {name}` may tell more"),
    };
    Failure::new(format_args!("cannot {action} {name}: {why}; {advice}"))
}

fn start(session: &mut Session<'_>, name: &str) -> Outcome {
    session.services.guests.start(name).map_err(|error| failure("start", name, error))
}

fn stop(session: &mut Session<'_>, name: &str) -> Outcome {
    session.services.guests.stop(name).map_err(|error| failure("stop", name, error))
}

fn kill(session: &mut Session<'_>, name: &str) -> Outcome {
    session.services.guests.kill(name).map_err(|error| failure("kill", name, error))
}

/// What a guest does, in a word or two.
pub(crate) const fn state(state: GuestState) -> &'static str {
    match state {
        GuestState::Off => "off",
        GuestState::Running => "running",
        GuestState::Stopping => "stopping",
        GuestState::PoweredOff => "powered off",
        GuestState::Crashed => "crashed",
        GuestState::Failed => "failed",
    }
}

fn uptime(info: &GuestInfo) -> String {
    if info.uptime == 0 { "-".into() } else { show_duration(Duration::from_nanos(info.uptime)) }
}

fn list(session: &mut Session<'_>) -> Outcome {
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("STATE", Align::Left),
        ("MEMORY", Align::Right),
        ("CPUS", Align::Right),
        ("UPTIME", Align::Right),
    ]);
    for name in guests(session)? {
        // One that does not answer must not hide the others.
        table.row(match session.services.guests.info(&name) {
            Ok(info) => {
                let (state, memory) = (state(info.state).into(), show_size(info.memory));
                [name, state, memory, info.processors.to_string(), uptime(&info)]
            }
            Err(_) => [name, "does not answer".into(), "-".into(), "-".into(), "-".into()],
        });
        session.checkpoint()?;
    }
    for line in table.lines() {
        session.out.line(line);
    }
    Ok(())
}

fn info(session: &mut Session<'_>, name: &str) -> Outcome {
    let info = session.services.guests.info(name);
    let info = info.map_err(|error| Failure::of_call(&format!("cannot tell about {name}"), MONITOR, error))?;
    let mut table = Table::new(&[("GUEST", Align::Left), (name, Align::Right)]);
    for (what, value) in [
        ("state", state(info.state).to_string()),
        ("uptime", uptime(&info)),
        ("memory", show_size(info.memory)),
        ("memory touched", show_size(info.touched)),
        ("processors", info.processors.to_string()),
        ("processors started", info.started.to_string()),
        ("disks", info.disks.to_string()),
        ("exits to the monitor", info.exits.to_string()),
        ("resets of its machine", info.resets.to_string()),
    ] {
        table.row([what.into(), value]);
    }
    if let Some(NetworkInfo { address, statistics }) = info.network {
        for (what, value) in [
            ("network address", address.to_string()),
            ("frames passed on", statistics.passed_on.to_string()),
            ("frames delivered", statistics.delivered.to_string()),
            ("lost: not taken in time", statistics.lost.to_string()),
            ("dropped: of another address", statistics.forged.to_string()),
            ("dropped: for nobody", statistics.unknown.to_string()),
            ("dropped: of a wrong length", statistics.malformed.to_string()),
        ] {
            table.row([what.into(), value]);
        }
    }
    for line in table.lines() {
        session.out.line(line);
    }
    Ok(())
}
