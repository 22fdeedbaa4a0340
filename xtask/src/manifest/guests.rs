//! Guests: reading `[guest.…]`, which declares a domain whose program shows a guest a machine.

use std::{fs, ops::Range};

use interfaces::guest::GuestClient;
use interfaces::stream::StreamClient;
use manifest::{BLOCK, Guest, GuestFile, Kind, LINK, MAX_DISKS, OnDeath, PAGE_BYTES, SUPERVISOR};
use toml::{Spanned, de::DeValue};
use userlib::guest::layout::overhead;

use crate::build::MONITOR;

use super::{
    Environment,
    declaration::{DOMAIN_KEYS, Declaration, UseDeclaration, check_name, duplicate, is_free_name, owned, read_binary},
    diagnostic::{Diagnostic, Rule},
    quantity::show_size,
    reader::{self, Elsewhere, Findings, Section, Value},
    resources::{Resources, read_resources_with},
    spelling,
};

const KEYS: &[&str] = &[
    "kernel",
    "initrd",
    "command-line",
    "memory",
    "cpus",
    "disks",
    "link",
    "console",
    "autostart",
    "monitor-memory",
    "binary",
    "path",
    "priority",
    "cpu",
    "time-slice",
    "restart",
    "heartbeat",
];

/// The interface by which a guest is operated.
const GUEST: &str = GuestClient::INTERFACE.name;
/// That by which others reach the terminal beside its serial port.
const STREAM: &str = StreamClient::INTERFACE.name;
/// What the kernel is told if nothing else is written: its messages go to the port at which its operator listens.
const COMMAND_LINE: &str = "console=ttyS0";
/// Memory of the monitor itself.
const MONITOR_MEMORY: u64 = 3 << 20;
/// A guest computes for as long as it likes, so it comes after whoever answers others.
const PRIORITY: u8 = 50;
/// Slots of the monitor's capability table: each of its processors takes some.
const CAPABILITIES: u32 = 256;
/// Memory that the monitor shares with the driver of each disk, and with whom its link leads to.
const RING: u64 = 256 << 10;

/// What belongs to a guest beside its domain.
pub(super) struct GuestDeclaration {
    pub(super) guest: Guest,
    /// Where `memory` stands.
    pub(super) memory_span: Range<usize>,
    /// Files for the boot archive.
    pub(super) files: Vec<(GuestFile, FileDeclaration)>,
    /// Who may operate it.
    console: Option<Spanned<String>>,
}

impl GuestDeclaration {
    /// Bytes of its memory and of what the kernel and the monitor need beside it.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.guest.memory + overhead(self.guest.memory, self.guest.processors) * PAGE_BYTES
    }
}

/// A file that goes into the boot archive.
pub(super) struct FileDeclaration {
    /// Relative to the manifest's folder.
    pub(super) path: Spanned<String>,
    /// 0 if nobody has looked.
    pub(super) bytes: u64,
}

/// Reads every guest as the domain that its monitor is. `domains` are those that there are beside.
pub(super) fn read(
    top: &Section<'_>,
    defaults: &Resources,
    environment: &Environment<'_>,
    domains: &[Declaration],
) -> Vec<Declaration> {
    let findings = top.findings();
    let mut guests = Vec::new();
    for (name, value) in top.named_tables("guest") {
        if let Some(earlier) = domains.iter().find(|domain| domain.name.get_ref() == name.get_ref()) {
            let message = format!("a domain and a guest are called `{}`", name.get_ref());
            findings.report(
                duplicate(name.span(), earlier.name.span(), message).hint("a guest is a domain: choose another name"),
            );
        }
        guests.extend(read_guest(name, value, defaults, environment, findings));
    }
    guests
}

fn read_guest<'t>(
    name: Spanned<&'t str>,
    value: &'t Value<'t>,
    defaults: &Resources,
    environment: &Environment<'_>,
    findings: &'t Findings,
) -> Option<Declaration> {
    check_name("a guest", &name, findings);
    if !is_free_name(&name, findings) {
        return None;
    }
    let DeValue::Table(table) = value.get_ref() else {
        reader::report_type(name.get_ref(), value, "a table", findings);
        return None;
    };
    let elsewhere = Elsewhere {
        keys: DOMAIN_KEYS,
        hint: "a guest's monitor provides `guest` and `stream`, and uses the guest's `disks` and `link`: nothing else is to be said",
    };
    let what = format!("guest `{}`", name.get_ref());
    let section = Section::open(table, name.span(), what, KEYS, Some(elsewhere), findings);
    let path = section.text("path").map(owned);
    let binaries = environment.binaries.filter(|_| path.is_none());
    let monitor = Resources {
        priority: PRIORITY,
        memory: MONITOR_MEMORY,
        capabilities: CAPABILITIES.max(defaults.capabilities),
        ..defaults.clone()
    };
    let disks = read_disks(&section);
    let link = read_link(&section);
    let resources = read_resources_with(&section, "monitor-memory", &monitor);
    if let Some(priority) = section.value("priority").filter(|_| resources.priority == 0) {
        let message = "`priority` of 0 leaves none for the guest's processors, which run below their monitor";
        findings.report(Diagnostic::new(Rule::InvalidNumber, priority.span(), message).hint("1 is the lowest"));
    }
    let guest = Guest {
        cpu: resources.cpu,
        // What the guest computes never keeps its monitor from answering.
        priority: resources.priority.saturating_sub(1),
        time_slice_us: resources.time_slice_us,
        // What cannot be read is reported: that nobody has.
        memory: read_memory(&section).unwrap_or(Guest::MIN_MEMORY),
        processors: section
            .number("cpus", 1..=Guest::MAX_PROCESSORS.into())
            .map_or(1, |processors| *processors.get_ref() as u8),
        command_line: read_command_line(&section),
        starts: section.flag("autostart").unwrap_or(true),
        disks: disks.iter().map(|disk| disk.name.get_ref().clone()).collect(),
        is_linked: link.is_some(),
    };
    if section.value("kernel").is_none() {
        section.report_missing("kernel", "\"vmlinuz\"");
    }
    let files = [GuestFile::Kernel, GuestFile::Initrd];
    Some(Declaration {
        binary: read_binary(&section, Spanned::new(name.span(), MONITOR), binaries),
        path,
        kind: Kind::Guest,
        resources,
        bound: None,
        memory_span: section.value("monitor-memory").map_or(name.span(), Spanned::span),
        vault: 0,
        provides: [GUEST, STREAM].map(|interface| Spanned::new(name.span(), interface.to_owned())).into(),
        uses: disks.into_iter().chain(link).collect(),
        device: None,
        args: Vec::new(),
        grants: Vec::new(),
        guest: Some(GuestDeclaration {
            guest,
            memory_span: section.value("memory").map_or(name.span(), Spanned::span),
            files: files.into_iter().filter_map(|file| Some((file, read_file(&section, file, environment)?))).collect(),
            console: section.text("console").map(owned),
        }),
        name: owned(name),
    })
}

fn read_memory(section: &Section<'_>) -> Option<u64> {
    if section.value("memory").is_none() {
        section.report_missing("memory", "\"128M\"");
    }
    let memory = section.size("memory", Guest::MIN_MEMORY..=Guest::MAX_MEMORY)?;
    let (bytes, unit) = (*memory.get_ref(), Guest::MEMORY_UNIT);
    if !bytes.is_multiple_of(unit) {
        let message = format!("`memory` of {} is not a multiple of {}", show_size(bytes), show_size(unit));
        let hint = format!(
            "a guest's memory is mapped in pieces of that: the next size is {}",
            show_size(bytes.next_multiple_of(unit))
        );
        section.findings().report(Diagnostic::new(Rule::InvalidSize, memory.span(), message).hint(hint));
    }
    Some(bytes)
}

fn read_command_line(section: &Section<'_>) -> String {
    let Some(written) = section.text("command-line") else { return COMMAND_LINE.to_owned() };
    let (text, most) = (*written.get_ref(), Guest::MAX_COMMAND_LINE_BYTES);
    let report = |message: String, hint: &str| {
        section.findings().report(Diagnostic::new(Rule::InvalidNumber, written.span(), message).hint(hint));
    };
    if text.len() > most {
        report(
            format!("`command-line` has {} bytes, more than the {most} that a kernel takes", text.len()),
            "shorten it",
        );
    }
    if text.contains('\0') {
        report("`command-line` has a zero in it, which would be its end".to_owned(), "remove it");
    }
    text.to_owned()
}

/// The disks as the monitor uses them: each with a ring, from the domain that is named.
fn read_disks(section: &Section<'_>) -> Vec<UseDeclaration> {
    let written = section.texts("disks");
    if let Some(beyond) = written.get(MAX_DISKS) {
        let message = format!("a guest has at most {MAX_DISKS} disks");
        section.findings().report(Diagnostic::new(Rule::TooMany, beyond.span(), message).hint("remove some"));
    }
    let declare = |(number, domain): (usize, Spanned<&str>)| UseDeclaration {
        interface: Spanned::new(domain.span(), BLOCK.to_owned()),
        name: Spanned::new(domain.span(), Guest::disk_name(number)),
        ring: Some(Spanned::new(domain.span(), RING)),
        from: Some(owned(domain)),
        lends: None,
        // Requests stay in the ring, and the next instance of the driver carries them out.
        on_death: OnDeath::Transparent,
    };
    written.into_iter().enumerate().map(declare).collect()
}

/// The link as the monitor uses it, if the guest is on one.
fn read_link(section: &Section<'_>) -> Option<UseDeclaration> {
    let domain = section.text("link")?;
    Some(UseDeclaration {
        interface: Spanned::new(domain.span(), LINK.to_owned()),
        name: Spanned::new(domain.span(), LINK.to_owned()),
        ring: Some(Spanned::new(domain.span(), RING)),
        from: Some(owned(domain)),
        lends: None,
        // Frames that it was about to pass on may be lost, as they may be on any network.
        on_death: OnDeath::Retry,
    })
}

fn read_file(section: &Section<'_>, file: GuestFile, environment: &Environment<'_>) -> Option<FileDeclaration> {
    let path = section.text(file.name())?;
    let report = |message: String| {
        section.findings().report(Diagnostic::new(Rule::MissingFile, path.span(), message).hint(
            "`cargo xtask guest fetch` obtains a kernel and a first file system for it and says where they are; paths begin at \
             the manifest's folder",
        ));
    };
    let found = environment.folder.map(|folder| fs::metadata(folder.join(path.get_ref())));
    let bytes = match found {
        None => 0,
        Some(Ok(found)) if found.is_file() && found.len() > 0 => found.len(),
        Some(Ok(found)) if found.is_file() => {
            report(format!("the file `{}` is empty", path.get_ref()));
            0
        }
        Some(Ok(_)) => {
            report(format!("`{}` is no file", path.get_ref()));
            0
        }
        Some(Err(error)) => {
            report(format!("the file `{}` cannot be read: {error}", path.get_ref()));
            0
        }
    };
    Some(FileDeclaration { path: owned(path), bytes })
}

/// Lets each guest's console operate it: one more use of that domain's, by the guest's name.
pub(super) fn connect(domains: &mut [Declaration], findings: &Findings) {
    let consoles: Vec<_> = domains
        .iter()
        .filter_map(|domain| Some((domain.name.get_ref().clone(), domain.guest.as_ref()?.console.clone()?)))
        .collect();
    for (guest, console) in consoles {
        let Some(position) = domains.iter().position(|domain| domain.name.get_ref() == console.get_ref()) else {
            let known = domains.iter().skip(1).map(|domain| domain.name.get_ref().as_str());
            let message = format!("there is no domain `{}`", console.get_ref());
            findings.report(
                Diagnostic::new(Rule::UnknownDomain, console.span(), message)
                    .maybe_hint(spelling::hint(console.get_ref(), known)),
            );
            continue;
        };
        if console.get_ref() == SUPERVISOR {
            let message = "the supervisor calls nobody, and so cannot operate a guest";
            findings.report(
                Diagnostic::new(Rule::Misplaced, console.span(), message).hint("name the shell: `console = \"shell\"`"),
            );
            continue;
        }
        let uses = &mut domains[position].uses;
        match uses.iter().find(|other| *other.name.get_ref() == guest) {
            Some(other) => findings.report(
                duplicate(
                    console.span(),
                    other.name.span(),
                    format!("`{}` would have two uses called `{guest}`", console.get_ref()),
                )
                .hint("call the guest something else"),
            ),
            None => uses.push(UseDeclaration {
                interface: Spanned::new(console.span(), GUEST.to_owned()),
                name: Spanned::new(console.span(), guest.clone()),
                from: Some(Spanned::new(console.span(), guest)),
                ring: None,
                lends: None,
                // With its monitor a guest loses its power, and what it has written.
                on_death: OnDeath::Error,
            }),
        }
    }
}
