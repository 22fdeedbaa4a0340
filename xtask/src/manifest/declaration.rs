//! What each section of the text declares, with the places of everything that later checks may point at.

use std::ops::Range;

use manifest::{
    Bound, Grant, Kind, MAX_ARGUMENT_BYTES, MAX_NAME_BYTES, OnDeath, SUPERVISION, SUPERVISOR, name_is_valid,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Environment,
    bound::read_bound,
    device::{DeviceDeclaration, read_device},
    diagnostic::{Diagnostic, Rule},
    groups::{self, GroupDeclaration},
    guests::{self, GuestDeclaration},
    reader::{self, Elsewhere, Findings, Section, Value},
    resources::{self, MAX_SIZE, Resources, read_resources},
    spelling,
};

const MIB: u64 = 1 << 20;

const TOP_KEYS: &[&str] = &["system", "defaults", "supervisor", "domain", "guest", "group"];
const SYSTEM_KEYS: &[&str] = &["reserve"];
const SUPERVISOR_KEYS: &[&str] = &[
    "binary",
    "priority",
    "cpu",
    "time-slice",
    "memory",
    "vault",
    "capabilities",
    "threads",
    "restart",
    "args",
    "grants",
];
pub(super) const DOMAIN_KEYS: &[&str] = &[
    "binary",
    "path",
    "kind",
    "priority",
    "cpu",
    "time-slice",
    "budget",
    "memory",
    "vault",
    "capabilities",
    "threads",
    "restart",
    "heartbeat",
    "provides",
    "uses",
    "device",
    "args",
    "grants",
];
/// What a `[domain.…]` can be: a guest has a section of its own.
const DOMAIN_KINDS: &[Kind] = &[Kind::Server, Kind::Driver, Kind::App];
/// Names that belong to parts of the system which are no `[domain.…]`.
const RESERVED_NAMES: &[&str] = &[SUPERVISOR, "init", "kernel"];

/// The whole text.
pub(super) struct Declarations {
    /// The supervisor first, then the domains in the order in which they are written, then the guests.
    pub(super) domains: Vec<Declaration>,
    /// Interfaces that crates outside of the standard ones declare, with their versions.
    pub(super) interfaces: Vec<(Spanned<String>, u16)>,
    /// Domains that are restarted together.
    pub(super) groups: Vec<GroupDeclaration>,
    pub(super) reserve: u64,
}

/// One domain.
pub(super) struct Declaration {
    pub(super) name: Spanned<String>,
    pub(super) binary: Spanned<String>,
    /// Where the binary's crate is, if it is none of this workspace.
    pub(super) path: Option<Spanned<String>>,
    pub(super) kind: Kind,
    pub(super) resources: Resources,
    /// What it may use of its processor, where that is written.
    pub(super) bound: Option<Spanned<Bound>>,
    /// Where `memory` stands, or the domain's name if it is left to the defaults.
    pub(super) memory_span: Range<usize>,
    pub(super) vault: u64,
    pub(super) provides: Vec<Spanned<String>>,
    pub(super) uses: Vec<UseDeclaration>,
    pub(super) device: Option<DeviceDeclaration>,
    pub(super) args: Vec<String>,
    pub(super) grants: Vec<Spanned<Grant>>,
    pub(super) guest: Option<GuestDeclaration>,
}

/// One entry of `uses`.
pub(super) struct UseDeclaration {
    /// The interface, at its place.
    pub(super) interface: Spanned<String>,
    pub(super) from: Option<Spanned<String>>,
    pub(super) name: Spanned<String>,
    pub(super) ring: Option<Spanned<u64>>,
    /// The interface whose clients' rings the provider's device is to read and write, too.
    pub(super) lends: Option<Spanned<String>>,
    /// What this domain sees when the provider dies.
    pub(super) on_death: OnDeath,
}

/// Reads the whole text.
pub(super) fn read<'t>(
    root: &'t Spanned<DeTable<'t>>,
    environment: &Environment<'_>,
    findings: &'t Findings,
) -> Declarations {
    // The whole file is no place to point at.
    let top = Section::open(root.get_ref(), 0..0, "a manifest", TOP_KEYS, None, findings);
    let reserve = top
        .section("system", "`[system]`", SYSTEM_KEYS)
        .and_then(|system| system.size("reserve", MIB..=MAX_SIZE))
        .map_or(24 * MIB, Spanned::into_inner);
    let defaults = top
        .section("defaults", "`[defaults]`", resources::KEYS)
        .map(|section| read_resources(&section, &Resources::default()))
        .unwrap_or_default();
    let mut domains = vec![read_supervisor(&top, &defaults, environment)];
    let mut interfaces = Vec::new();
    for (name, value) in top.named_tables("domain") {
        let read = read_domain(name, value, &defaults, environment, &mut interfaces, findings);
        if let Some(declaration) = read {
            domains.push(declaration);
        }
    }
    domains.extend(guests::read(&top, &defaults, environment, &domains));
    guests::connect(&mut domains, findings);
    Declarations { domains, interfaces, groups: groups::read(&top), reserve }
}

fn read_supervisor<'t>(top: &Section<'t>, defaults: &Resources, environment: &Environment<'_>) -> Declaration {
    let findings = top.findings();
    let empty = Declaration {
        name: Spanned::new(0..0, SUPERVISOR.to_owned()),
        binary: Spanned::new(0..0, SUPERVISOR.to_owned()),
        path: None,
        kind: Kind::Server,
        // Whoever restarts others must not starve behind them.
        resources: Resources { priority: 240, heartbeat_ms: 0, ..defaults.clone() },
        bound: None,
        memory_span: 0..0,
        vault: 0,
        provides: vec![Spanned::new(0..0, SUPERVISION.to_owned())],
        uses: Vec::new(),
        device: None,
        args: Vec::new(),
        grants: vec![Spanned::new(0..0, Grant::Supervision)],
        guest: None,
    };
    let Some(value) = top.value("supervisor") else {
        findings.report(
            Diagnostic::new(Rule::MissingKey, top.span(), "the section `[supervisor]` is missing")
                .hint("add `[supervisor]`; an empty section takes the defaults"),
        );
        return empty;
    };
    let DeValue::Table(table) = value.get_ref() else {
        reader::report_type("supervisor", value, "a table", findings);
        return empty;
    };
    let elsewhere = Elsewhere {
        keys: DOMAIN_KEYS,
        hint: "the supervisor is below everybody: it provides `supervision`, uses nobody, drives nothing and \
               is never bounded",
    };
    let section = Section::open(table, value.span(), "the supervisor", SUPERVISOR_KEYS, Some(elsewhere), findings);
    let mut grants = read_grants(&section);
    if !grants.iter().any(|grant| *grant.get_ref() == Grant::Supervision) {
        grants.push(Spanned::new(value.span(), Grant::Supervision));
    }
    Declaration {
        name: Spanned::new(value.span(), SUPERVISOR.to_owned()),
        binary: read_binary(&section, Spanned::new(value.span(), SUPERVISOR), environment.binaries),
        resources: read_resources(&section, &empty.resources),
        memory_span: section.value("memory").unwrap_or(value).span(),
        vault: section.size("vault", 0..=MAX_SIZE).map_or(0, Spanned::into_inner),
        provides: vec![Spanned::new(value.span(), SUPERVISION.to_owned())],
        args: read_args(&section),
        grants,
        ..empty
    }
}

fn read_domain<'t>(
    name: Spanned<&'t str>,
    value: &'t Value<'t>,
    defaults: &Resources,
    environment: &Environment<'_>,
    interfaces: &mut Vec<(Spanned<String>, u16)>,
    findings: &'t Findings,
) -> Option<Declaration> {
    check_name("a domain", &name, findings);
    if !is_free_name(&name, findings) {
        return None;
    }
    let DeValue::Table(table) = value.get_ref() else {
        reader::report_type(name.get_ref(), value, "a table", findings);
        return None;
    };
    let what = format!("domain `{}`", name.get_ref());
    let section = Section::open(table, name.span(), what, DOMAIN_KEYS, None, findings);
    let kind = section
        .required_text("kind", "\"server\"")
        .and_then(|written| reader::word("kind", &written, DOMAIN_KINDS, Kind::name, findings));
    let device = read_device(&section);
    let grants = read_grants(&section);
    // An unreadable kind is reported already; guessing the one that fits avoids a second report.
    let kind = kind.unwrap_or(if device.is_some() { Kind::Driver } else { Kind::Server });
    check_authority(&name, kind, device.as_ref(), &grants, findings);
    let mut resources = read_resources(&section, defaults);
    let bound = read_bound(&section, &mut resources);
    let path = section.text("path").map(owned);
    // What a crate elsewhere builds shows when it is built.
    let binaries = environment.binaries.filter(|_| path.is_none());
    Some(Declaration {
        binary: read_binary(&section, name.clone(), binaries),
        path,
        kind,
        resources,
        bound,
        memory_span: section.value("memory").map_or(name.span(), Spanned::span),
        vault: section.size("vault", 0..=MAX_SIZE).map_or(0, Spanned::into_inner),
        provides: read_provides(&section, environment, interfaces),
        uses: read_uses(&section),
        device,
        args: read_args(&section),
        grants,
        guest: None,
        name: owned(name),
    })
}

/// Whether a domain may have this name; reports it if the name is that of a part of every system.
pub(super) fn is_free_name(name: &Spanned<&str>, findings: &Findings) -> bool {
    let is_reserved = RESERVED_NAMES.contains(name.get_ref());
    if is_reserved {
        let message = format!("`{}` is a part of every system, not a domain of its own", name.get_ref());
        let hint = match *name.get_ref() {
            SUPERVISOR => "the supervisor's section is `[supervisor]`",
            _ => "choose another name",
        };
        findings.report(Diagnostic::new(Rule::InvalidName, name.span(), message).hint(hint));
    }
    !is_reserved
}

/// A device, and the grant of all PCI devices, are for drivers; supervision is the supervisor's.
fn check_authority(
    name: &Spanned<&str>,
    kind: Kind,
    device: Option<&DeviceDeclaration>,
    grants: &[Spanned<Grant>],
    findings: &Findings,
) {
    let name = name.get_ref();
    if let Some(device) = device.filter(|_| kind != Kind::Driver) {
        findings.report(
            Diagnostic::new(
                Rule::Misplaced,
                device.span.clone(),
                format!("`{name}` is a{} and cannot have a device", indefinite(kind)),
            )
            .hint("only drivers have devices: make it `kind = \"driver\"`"),
        );
    }
    for grant in grants {
        let (message, hint) = match grant.get_ref() {
            Grant::Ecam if kind != Kind::Driver => (
                format!("`{name}` is a{} and cannot have `ecam`", indefinite(kind)),
                "only drivers have authority over hardware: make it `kind = \"driver\"`",
            ),
            Grant::Supervision => (
                format!("`{name}` cannot have `supervision`: it is the supervisor's alone"),
                "to ask the supervisor for something, use its interface: `uses = [\"supervision\"]`",
            ),
            _ => continue,
        };
        findings.report(Diagnostic::new(Rule::Misplaced, grant.span(), message).hint(hint));
    }
}

/// The kind's name with what makes its article fit.
fn indefinite(kind: Kind) -> String {
    let name = kind.name();
    if name.starts_with('a') { format!("n {name}") } else { format!(" {name}") }
}

pub(super) fn read_binary(section: &Section<'_>, default: Spanned<&str>, binaries: Option<&[&str]>) -> Spanned<String> {
    let binary = section.text("binary").unwrap_or(default);
    if let Some(known) = binaries.filter(|known| !known.contains(binary.get_ref())) {
        section.findings().report(
            Diagnostic::new(Rule::UnknownBinary, binary.span(), format!("there is no binary `{}`", binary.get_ref()))
                .maybe_hint(spelling::hint(binary.get_ref(), known.iter().copied())),
        );
    } else if section.value("binary").is_some() {
        check_name("a binary", &binary, section.findings());
    }
    owned(binary)
}

/// The interfaces that a domain provides. One that is none of the standard ones is declared here, by its version.
fn read_provides(
    section: &Section<'_>,
    environment: &Environment<'_>,
    interfaces: &mut Vec<(Spanned<String>, u16)>,
) -> Vec<Spanned<String>> {
    let findings = section.findings();
    let mut provided = Vec::new();
    for value in section.list("provides") {
        match value.get_ref() {
            DeValue::String(name) => provided.push(Spanned::new(value.span(), name.to_string())),
            DeValue::Table(_) => {
                let keys = &["interface", "version"];
                let Some(entry) = reader::section("provides", value, "an entry of `provides`", keys, findings) else {
                    continue;
                };
                let Some(name) = entry.required_text("interface", "\"block\"") else { continue };
                if let Some(version) = entry.number("version", 1..=u16::MAX.into()) {
                    let version = Spanned::new(version.span(), *version.get_ref() as u16);
                    declare(&name, version, environment, interfaces, findings);
                }
                provided.push(owned(name));
            }
            _ => reader::report_type("provides", value, "names of interfaces, or tables", findings),
        }
    }
    provided
}

/// Makes the interface `name` known in this version, unless it is known in another.
fn declare(
    name: &Spanned<&str>,
    version: Spanned<u16>,
    environment: &Environment<'_>,
    interfaces: &mut Vec<(Spanned<String>, u16)>,
    findings: &Findings,
) {
    let wrong = |message: String| Diagnostic::new(Rule::WrongVersion, version.span(), message);
    let (text, number) = (*name.get_ref(), *version.get_ref());
    check_name("an interface", name, findings);
    if let Some(id) = environment.interface_id(text) {
        if id != userlib::ipc::interface_id(text, number) {
            findings.report(
                wrong(format!("the standard interface `{text}` has another version than {number}"))
                    .hint(format!("leave the version out: `provides = [\"{text}\"]`")),
            );
        }
        return;
    }
    match interfaces.iter().find(|(known, _)| known.get_ref() == text) {
        Some((known, earlier)) if *earlier != number => findings.report(
            wrong(format!("`{text}` is declared in version {number} and in version {earlier}"))
                .related(known.span(), format!("version {earlier} is declared here"))
                .hint("one system has one version of an interface: build both domains for the same"),
        ),
        Some(_) => {}
        None => interfaces.push((owned(name.clone()), number)),
    }
}

fn read_args(section: &Section<'_>) -> Vec<String> {
    let args: Vec<_> = section.texts("args").into_iter().map(|arg| arg.get_ref().to_string()).collect();
    let bytes: usize = args.iter().map(|arg| arg.len() + 1).sum();
    if let Some(value) = section.value("args").filter(|_| bytes > MAX_ARGUMENT_BYTES) {
        section.findings().report(
            Diagnostic::new(
                Rule::InvalidNumber,
                value.span(),
                format!("`args` takes {bytes} bytes, more than the {MAX_ARGUMENT_BYTES} that a domain can be given"),
            )
            .hint("shorten the arguments"),
        );
    }
    args
}

fn read_grants(section: &Section<'_>) -> Vec<Spanned<Grant>> {
    let findings = section.findings();
    let mut grants: Vec<Spanned<Grant>> = Vec::new();
    for written in section.texts("grants") {
        let found = reader::word("grants", &written, &Grant::ALL, Grant::name, findings);
        let Some(grant) = found else { continue };
        match grants.iter().find(|earlier| *earlier.get_ref() == grant) {
            Some(earlier) => findings.report(duplicate(
                written.span(),
                earlier.span(),
                format!("`grants` lists `{}` twice", grant.name()),
            )),
            None => grants.push(Spanned::new(written.span(), grant)),
        }
    }
    grants
}

fn read_uses(section: &Section<'_>) -> Vec<UseDeclaration> {
    let findings = section.findings();
    let mut uses: Vec<UseDeclaration> = Vec::new();
    for value in section.list("uses") {
        let declared = match value.get_ref() {
            DeValue::String(interface) => {
                let interface = Spanned::new(value.span(), interface.to_string());
                UseDeclaration {
                    name: interface.clone(),
                    interface,
                    from: None,
                    ring: None,
                    lends: None,
                    on_death: OnDeath::Error,
                }
            }
            DeValue::Table(_) => {
                let keys = &["interface", "from", "name", "ring", "lends", "on-death"];
                let Some(entry) = reader::section("uses", value, "an entry of `uses`", keys, findings) else {
                    continue;
                };
                let Some(interface) = entry.required_text("interface", "\"block\"") else {
                    continue;
                };
                let name = entry.text("name");
                if let Some(name) = &name {
                    check_name("a use", name, findings);
                }
                UseDeclaration {
                    name: owned(name.unwrap_or(interface.clone())),
                    interface: owned(interface),
                    from: entry.text("from").map(owned),
                    ring: entry.size("ring", 4096..=MAX_SIZE),
                    lends: entry.text("lends").map(owned),
                    on_death: entry
                        .text("on-death")
                        .and_then(|word| reader::word("on-death", &word, &OnDeath::ALL, OnDeath::name, findings))
                        .unwrap_or(OnDeath::Error),
                }
            }
            _ => {
                reader::report_type("uses", value, "names of interfaces, or tables", findings);
                continue;
            }
        };
        match uses.iter().find(|earlier| earlier.name.get_ref() == declared.name.get_ref()) {
            Some(earlier) => findings.report(
                duplicate(
                    declared.name.span(),
                    earlier.name.span(),
                    format!("two uses are called `{}`", declared.name.get_ref()),
                )
                .hint("remove one, or tell them apart: `name = \"…\"`"),
            ),
            None => uses.push(declared),
        }
    }
    uses
}

pub(super) fn check_name(what: &str, name: &Spanned<&str>, findings: &Findings) {
    if !name_is_valid(name.get_ref()) {
        findings.report(
            Diagnostic::new(Rule::InvalidName, name.span(), format!("{what} cannot be called `{}`", name.get_ref()))
                .hint(format!(
                    "a name has 1 to {MAX_NAME_BYTES} lowercase letters, digits and inner dashes, the first a letter"
                )),
        );
    }
}

/// The same thing a second time in one list.
pub(super) fn duplicate(span: Range<usize>, earlier: Range<usize>, message: String) -> Diagnostic {
    Diagnostic::new(Rule::Duplicate, span, message)
        .label("again here")
        .related(earlier, "first here")
        .hint("remove one")
}

pub(super) fn owned(text: Spanned<&str>) -> Spanned<String> {
    Spanned::new(text.span(), text.get_ref().to_string())
}
