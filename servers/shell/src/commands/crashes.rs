//! What is known of deaths.

use super::{Command, Completes};
use crate::failure::{Failure, Outcome, Server};
use crate::output::Printable;
use crate::session::Session;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use interfaces::crash::{CrashRecord, RECORD_MAX};
use interfaces::crash_log::{self, PATH, SLOT, SLOTS};
use interfaces::crash_report::{headline, report};
use interfaces::filesystem::{Access, FsError};
use userlib::ipc::CallError;

pub(super) const COMMANDS: &[Command] = &[Command {
    name: "crashes",
    usage: "[DOMAIN] [--kept]",
    summary: "lists the last deaths, or shows all that is known of a domain's last one",
    details: "Of a DOMAIN: registers, where it was and from where that was called, and its last messages. The system does not know \
              the names of functions; `cargo xtask crashes` on the host does. With --kept it shows what the disk keeps, of earlier \
              boots, too.",
    completes: &[Completes::Domains, Completes::Nothing],
    prefix: None,
    run: crashes,
}];

/// The records that the supervisor has kept, the oldest first.
fn records(session: &mut Session<'_>) -> Result<Vec<CrashRecord>, Failure> {
    let mut found = Vec::new();
    let mut bytes = vec![0; RECORD_MAX];
    let mut from = 0;
    loop {
        let part = session.services.domains.crash_record(from, &mut bytes);
        let part = part.map_err(|error| Failure::of_call("cannot list the deaths", Server::SUPERVISOR, error))?;
        let Some(record) = bytes.get(..part.bytes).and_then(CrashRecord::decode) else { return Ok(found) };
        // A supervisor that goes back would keep the shell for ever.
        if part.next <= from {
            return Ok(found);
        }
        from = part.next;
        found.push(record);
        session.checkpoint()?;
    }
}

/// The records that the disk's log keeps, of this boot and of earlier ones, the oldest first.
fn kept_records(session: &mut Session<'_>) -> Result<Vec<CrashRecord>, Failure> {
    let files = session.services.files;
    let cannot = |error| Failure::of_call("cannot read the deaths that the disk keeps", Server::FILES, error);
    let file = match files.open(PATH, Access::Read) {
        Err(CallError::Failed(FsError::NotFound)) => return Ok(Vec::new()),
        opened => opened.map_err(cannot)?.file,
    };
    let mut bytes = vec![0; SLOT * SLOTS as usize];
    let mut length = 0;
    let outcome = loop {
        match files.read(file, length as u64, &mut bytes[length..]) {
            Ok(0) => break Ok(()),
            Ok(count) => length += count.min(bytes.len() - length),
            Err(error) => break Err(error),
        }
        if length == bytes.len() {
            break Ok(());
        }
    };
    let closed = files.close(file);
    outcome.and(closed).map_err(cannot)?;
    Ok(crash_log::records(&bytes[..length]).into_iter().map(|(_, record)| record).collect())
}

fn crashes(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let (words, is_kept) = match words {
        [rest @ .., option] if option == "--kept" => (rest, true),
        words => (words, false),
    };
    let name = match words {
        [] => None,
        [name] => Some(name.as_str()),
        [_, more, ..] => return Err(Failure::usage(format_args!("`{more}` is one too many"), "crashes")),
    };
    if let Some(name) = name {
        session.services.domains.find(name).map_err(|error| Failure::of_domain("show the deaths of", name, error))?;
    }
    let records = if is_kept { kept_records(session)? } else { records(session)? };
    match name {
        None if records.is_empty() => session.out.line("Nobody has died."),
        None => {
            for record in &records {
                session.out.line(Printable(&headline(record)));
            }
        }
        Some(name) => match records.iter().rfind(|record| record.domain == name) {
            Some(record) => {
                for line in report(record, &|_| None).lines() {
                    session.out.line(Printable(line));
                }
            }
            None => session.out.line(format_args!("No death of {name} is known.")),
        },
    }
    Ok(())
}
