//! The machine as a whole.

use super::domains::{all_domains, capabilities, kind_name};
use super::{Command, exactly};
use crate::failure::{Failure, Outcome, Server};
use crate::quantity::{show_duration, show_size};
use crate::services::DomainResult;
use crate::session::Session;
use crate::table::{Align, Table};
use abi::rights::Kind;
use alloc::string::{String, ToString};
use interfaces::filesystem::FsError;
use userlib::ipc::CallError;

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "mem",
        usage: "",
        summary: "shows how memory is used, and how many capabilities the domains hold",
        details: "",
        completes: &[],
        prefix: None,
        run: mem,
    },
    Command {
        name: "uptime",
        usage: "",
        summary: "shows for how long the machine has been running",
        details: "",
        completes: &[],
        prefix: None,
        run: uptime,
    },
    Command {
        name: "shutdown",
        usage: "",
        summary: "writes everything to the disk and switches the machine off",
        details: "",
        completes: &[],
        prefix: None,
        run: shutdown,
    },
    Command {
        name: "reboot",
        usage: "",
        summary: "writes everything to the disk and starts the machine again",
        details: "",
        completes: &[],
        prefix: None,
        run: reboot,
    },
];

fn mem(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let [] = exactly("mem", words)?;
    let memory = session
        .services
        .domains
        .memory()
        .map_err(|error| Failure::of_call("cannot tell how memory is used", Server::SUPERVISOR, error))?;
    let mut table = Table::new(&[("MEMORY", Align::Left), ("SIZE", Align::Right), ("PAGES", Align::Right)]);
    for (what, bytes) in [
        ("total", memory.total),
        ("given to nobody", memory.free),
        ("owned by the kernel", memory.kernel),
        ("mapped", memory.mapped),
    ] {
        table.row([what.into(), show_size(bytes), (bytes / abi::PAGE_SIZE).to_string()]);
    }
    for line in table.lines() {
        session.out.line(line);
    }
    let mut counts = [0_u32; Kind::COUNT];
    for info in all_domains(session)? {
        // A domain that is not running holds nothing.
        match capabilities(session, info.name.as_str()) {
            Ok(found) => {
                for capability in found {
                    if let Some(count) = counts.get_mut(usize::from(capability.kind)) {
                        *count += 1;
                    }
                }
            }
            Err(Failure::Cancelled) => return Err(Failure::Cancelled),
            Err(_) => {}
        }
    }
    let mut table = Table::new(&[("CAPABILITIES HELD TO", Align::Left), ("COUNT", Align::Right)]);
    for kind in Kind::ALL {
        table.row([kind_name(kind as u8), counts[kind as usize].to_string()]);
    }
    session.out.line("");
    for line in table.lines() {
        session.out.line(line);
    }
    Ok(())
}

fn uptime(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let [] = exactly("uptime", words)?;
    let now = session.services.life.now();
    session.out.line(show_duration(now));
    Ok(())
}

fn shutdown(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let [] = exactly("shutdown", words)?;
    leave(session, "switch the machine off", |session| session.services.domains.shutdown())
}

fn reboot(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let [] = exactly("reboot", words)?;
    leave(session, "start the machine again", |session| session.services.domains.reboot())
}

/// Has everything written to the disk and leaves the machine.
fn leave(session: &mut Session<'_>, action: &str, call: impl FnOnce(&Session<'_>) -> DomainResult<()>) -> Outcome {
    // The supervisor has the file server do this too, but nobody could read then that it failed. Without a disk there is
    // nothing to lose.
    match session.services.files.sync() {
        Ok(()) | Err(CallError::Failed(FsError::NoDisk | FsError::UnknownFormat)) | Err(CallError::Refused(_)) => {}
        Err(error) => session.out.line(format_args!("What was written last may be lost: {error}.")),
    }
    session.out.flush();
    match call(session) {
        Ok(()) => Ok(()),
        Err(CallError::Failed(why)) => {
            Err(Failure::new(format_args!("cannot {action}: {why}; `log` may tell more, else use the power button")))
        }
        Err(error) => Err(Failure::of_call(&alloc::format!("cannot {action}"), Server::SUPERVISOR, error)),
    }
}
