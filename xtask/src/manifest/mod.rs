//! Compiles `system.toml`, what a system consists of, into the form that `init` reads.
//!
//! Everything that can be known before a boot is checked here: every use meets a provider of its interface, calls
//! cannot go in a circle, no hardware is claimed twice, the machine has the memory, no processor is promised more than once. A mistake is reported at its line
//! with what to do about it, and one run reports all of them, as far as one does not hide another.
//!
//! Text becomes a tree with places (`toml`), the tree declarations (`declaration`), those a graph of who
//! calls whom (`graph`), and a graph without mistakes a [`System`] (`assembly`).

mod assembly;
mod bound;
mod claims;
mod commands;
mod commitment;
mod declaration;
mod device;
mod diagnostic;
mod graph;
mod groups;
mod guests;
mod quantity;
mod reader;
mod resources;
mod spelling;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use manifest::System;
use toml::de::DeTable;

pub use diagnostic::{Diagnostic, Report, Rule};

use crate::machine::Plug;
use reader::Findings;

/// Memory, in bytes, of the smallest machine that Bulkhead is made for; the default system must fit it.
pub const MINIMUM_MACHINE_MEMORY: u64 = 128 << 20;

/// An interface that domains can provide and use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceInfo<'a> {
    /// Its name in the manifest.
    pub name: &'a str,
    /// Its id, from name and major version.
    pub id: u64,
}

/// What a manifest is checked against.
#[derive(Debug, Clone, Copy)]
pub struct Environment<'a> {
    /// Every interface there is; [`manifest::SUPERVISION`] must be among them.
    pub interfaces: &'a [InterfaceInfo<'a>],
    /// Every binary that can be put into the boot archive, or `None` to accept any.
    pub binaries: Option<&'a [&'a str]>,
    /// What a person can type at the shell that the shell itself carries out.
    pub shell_commands: &'a [&'a str],
    /// Memory of the machine, in bytes, beside what it has for guests.
    pub machine_memory: u64,
    /// The manifest's folder, from which the paths of files begin, or `None` to accept any.
    pub folder: Option<&'a Path>,
}

impl Environment<'_> {
    fn interface_id(&self, name: &str) -> Option<u64> {
        self.interfaces.iter().find(|interface| interface.name == name).map(|interface| interface.id)
    }
}

/// A manifest in which no error was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The system.
    pub system: System,
    /// Devices that its domains want QEMU to plug in, in the order in which the domains are written.
    pub plugs: Vec<Plug>,
    /// Folders of crates outside of the workspace, by the binaries that they build; as they are written, so relative to
    /// the manifest.
    pub paths: BTreeMap<String, String>,
    /// Files of guests, by their names in the boot archive; as they are written, so relative to the manifest.
    pub files: BTreeMap<String, String>,
    /// Bytes that the guests and their files take: a machine has to have them on top of what everybody else needs.
    pub guest_memory: u64,
    /// What is odd about it, though not wrong; usually empty.
    pub warnings: Report,
}

/// Compiles `source`, the text of the manifest called `file` in messages.
///
/// # Errors
///
/// The report of everything that is wrong; it shows itself as text for a person, see also [`Report::render`].
pub fn compile(file: &str, source: &str, environment: &Environment<'_>) -> Result<Compiled, Report> {
    let findings = Findings::default();
    let system = check(source, environment, &findings);
    let report = Report::new(file, source, findings.into_diagnostics());
    match system {
        Some(compiled) if !report.has_errors() => Ok(Compiled { warnings: report, ..compiled }),
        _ => Err(report),
    }
}

fn check(source: &str, environment: &Environment<'_>, findings: &Findings) -> Option<Compiled> {
    let (root, errors) = DeTable::parse_recoverable(source);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        findings.report(Diagnostic::new(Rule::Syntax, span, error.message()));
    }
    // What could be recovered of a text with syntax errors has lost parts, and would be blamed for it.
    if !errors.is_empty() {
        return None;
    }
    let declarations = declaration::read(&root, environment, findings);
    let declared = declarations.interfaces.iter().map(|(name, version)| {
        let name = name.get_ref().as_str();
        InterfaceInfo { name, id: userlib::ipc::interface_id(name, *version) }
    });
    let interfaces: Vec<_> = environment.interfaces.iter().copied().chain(declared).collect();
    let environment = &Environment { interfaces: &interfaces, ..*environment };
    let graph = graph::resolve(&declarations.domains, environment, findings);
    graph::check_cycles(&declarations.domains, &graph, findings);
    claims::check(&declarations.domains, findings);
    commands::check(&declarations.domains, environment, findings);
    bound::check(&declarations.domains, findings);
    groups::check(&declarations.groups, &declarations.domains, findings);
    commitment::check(&declarations, environment.machine_memory, findings);
    if findings.has_errors() {
        return None;
    }
    let paths = declarations.domains.iter().filter_map(|domain| {
        let path = domain.path.as_ref()?;
        Some((domain.binary.get_ref().clone(), path.get_ref().clone()))
    });
    let files = declarations.domains.iter().flat_map(|domain| {
        let files = domain.guest.iter().flat_map(|guest| &guest.files);
        files.map(|(file, declared)| (file.archive_name(domain.name.get_ref()), declared.path.get_ref().clone()))
    });
    let system = assembly::assemble(&declarations, &graph, environment, findings)?;
    let devices = declarations.domains.iter().filter_map(|domain| domain.device.as_ref());
    let plugs = devices.filter_map(|device| device.plug.clone()).collect();
    Some(Compiled {
        system,
        plugs,
        paths: paths.collect(),
        files: files.collect(),
        guest_memory: commitment::guest_memory(&declarations),
        warnings: Report::default(),
    })
}
