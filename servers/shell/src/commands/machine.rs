//! The machine as a whole.

use super::domains::{all_domains, capabilities, kind_name};
use super::{Command, exactly};
use crate::failure::{Failure, Outcome, Server};
use crate::output::Printable;
use crate::quantity::{show_duration, show_size};
use crate::services::DomainResult;
use crate::session::Session;
use crate::table::{Align, Table};
use abi::Error;
use abi::rights::Kind;
use alloc::string::{String, ToString};
use interfaces::block::BlockError;
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
        name: "disk",
        usage: "",
        summary: "shows what the disk is and what its driver has done",
        details: "Requests are counted from the driver's last start, its starts from the machine's. A request that a driver \
                  leaves unfinished when it dies is repeated by the next one.",
        completes: &[],
        prefix: None,
        run: disk,
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

/// What cannot be known of the disk.
fn of_disk(error: CallError<BlockError>) -> Failure {
    match error {
        CallError::Failed(BlockError::NoDevice) => {
            Failure::new("cannot ask about the disk: its driver says that there is no disk; `log` may tell more")
        }
        // The endpoint of a driver whose device is absent is destroyed, and not given to whoever is started later.
        CallError::Refused(Error::BadHandle | Error::StaleHandle | Error::EndpointGone) => Failure::new(
            "cannot ask about the disk: the machine has no disk, or the manifest does not let the shell use `block`; \
             `ps` shows whether the driver's device is absent",
        ),
        error => Failure::of_call("cannot ask the disk's driver", Server::DISK, error),
    }
}

fn disk(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let [] = exactly("disk", words)?;
    let driver = session.services.disk;
    let info = driver.info().map_err(of_disk)?;
    let statistics = driver.statistics().map_err(of_disk)?;
    let size = show_size(info.sectors.saturating_mul(info.sector_size.into()));
    let access = if info.read_only { ", can only be read" } else { "" };
    let cache = if info.has_cache { ", with a cache of its own" } else { "" };
    let name = info.name.as_str();
    session.out.line(format_args!(
        "{}: {size}, {} sectors of {} bytes{access}{cache}",
        Printable(name),
        info.sectors,
        info.sector_size
    ));
    let mut table = Table::new(&[("SINCE THE DRIVER'S LAST START", Align::Left), ("COUNT", Align::Right)]);
    for (what, count) in [
        ("requests completed", statistics.completed),
        ("requests failed", statistics.failed),
        ("requests repeated for its predecessor", statistics.repeated),
        ("interrupts", statistics.interrupts),
        ("resets of the disk", statistics.resets),
    ] {
        table.row([what.into(), count.to_string()]);
    }
    for line in table.lines() {
        session.out.line(line);
    }
    let mut table = Table::new(&[("SINCE THE MACHINE'S START", Align::Left), ("COUNT", Align::Right)]);
    for (what, count) in [
        ("starts of the driver", statistics.instances),
        ("starts with requests in flight", statistics.restarts_in_flight),
    ] {
        table.row([what.into(), count.to_string()]);
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
