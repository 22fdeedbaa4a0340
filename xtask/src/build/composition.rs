//! Which programs make up a bootable file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use manifest::{Guest, GuestFile, System};

use super::BuildError;
use crate::machine::Plug;
use crate::manifest::{Compiled, Environment, InterfaceInfo};
use crate::workspace;

/// The package of the monitor behind every guest to which a manifest does not give another one.
pub const MONITOR: &str = "vmm";
/// The loader: the ELF file that everything else goes into.
pub const LOADER: &str = "loader";
/// The kernel, by crate and by its name in the boot archive.
pub const KERNEL: &str = "kernel";
/// The program that the kernel starts: its name in the boot archive.
pub const ROOT_SERVER: &str = "init";
/// The compiled manifest's name in the boot archive.
pub const MANIFEST: &str = "manifest";
/// The crate of the conformance suite, which takes the root server's place.
pub const CONFORMANCE: &str = "conformance";
/// The crate of the program that a Linux kernel runs to be compared with.
pub const LINUX_PEER: &str = "linux-peer";
/// The crate of the program of which it measures how it is started.
pub(super) const NEWCOMER: &str = "newcomer";

/// What a fault-injection campaign adds to the manifest of a system: a file of the source tree.
const CAMPAIGN: &str = "tests/faults/campaign.toml";

/// A program of the boot archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name in the archive.
    pub name: String,
    /// The program that it is built from, by the name that it has in its crate.
    pub program: String,
    /// That crate.
    pub package: String,
    /// Where that crate is, if it is none of this workspace.
    pub folder: Option<PathBuf>,
}

impl Program {
    /// A program that is called like its crate.
    fn of_its_own_name(name: &str) -> Self {
        Self { name: name.to_owned(), program: name.to_owned(), package: name.to_owned(), folder: None }
    }
}

/// What goes into one bootable file.
#[derive(Clone, Debug)]
pub struct Composition {
    /// What it is, for a person who waits for it.
    pub title: String,
    /// The root of the source tree whose programs these are.
    pub root: PathBuf,
    /// The bootable file's name.
    pub file_name: String,
    /// The programs of the boot archive, in order.
    pub programs: Vec<Program>,
    /// The compiled manifest, if the root server reads one.
    pub manifest: Option<Vec<u8>>,
    /// Devices that its domains want the machine to have.
    pub plugs: Vec<Plug>,
    /// The text of a script, if the root server is to carry one out.
    pub script: Option<String>,
    /// The machines of guests, encoded, by their names in the boot archive.
    pub guests: BTreeMap<String, Vec<u8>>,
    /// What is started in them, by the same kind of name.
    pub files: BTreeMap<String, PathBuf>,
    /// Bytes of memory that the machine needs for guests, on top of what it needs for everybody else.
    pub guest_memory: u64,
}

impl Composition {
    /// The system that `system.toml` describes.
    ///
    /// # Errors
    ///
    /// [`BuildError::Manifest`] with every error and its place in the file.
    pub fn of_system() -> Result<Self, BuildError> {
        Self::of_tree(&workspace::root())
    }

    /// The same with a further domain, `name`, which `entry` of the manifest describes, as a command of the shell's.
    ///
    /// # Errors
    ///
    /// As [`Composition::of_system`].
    pub fn of_system_with(name: &str, entry: &str) -> Result<Self, BuildError> {
        Self::of_system_where(name, entry, str::to_owned)
    }

    /// The same of a manifest that was changed before.
    ///
    /// # Errors
    ///
    /// As [`Composition::of_system`].
    pub fn of_system_where(name: &str, entry: &str, change: impl FnOnce(&str) -> String) -> Result<Self, BuildError> {
        Self::of_system_changed(&format!("bulkhead-{name}.elf"), |source| with_command(&change(&source), name) + entry)
    }

    /// The system with more sections at the end of its manifest, which becomes the bootable file `file_name`.
    ///
    /// # Errors
    ///
    /// As [`Composition::of_system`].
    pub fn of_system_and(sections: &str, file_name: &str) -> Result<Self, BuildError> {
        Self::of_system_changed(file_name, |source| source + sections)
    }

    /// The system whose manifest is what `change` makes of its text, which becomes the bootable file `file_name`.
    ///
    /// # Errors
    ///
    /// As [`Composition::of_system`].
    pub fn of_system_changed(file_name: &str, change: impl FnOnce(String) -> String) -> Result<Self, BuildError> {
        let path = workspace::root().join("system.toml");
        let source =
            std::fs::read_to_string(&path).map_err(|source| BuildError::File { path: path.clone(), source })?;
        let composition = Self::of_source(&workspace::root(), &change(source))?;
        Ok(Self { file_name: file_name.to_owned(), ..composition })
    }

    /// The system of the source tree in `root` with what a fault-injection campaign adds to it, and `workload` as the program
    /// that works meanwhile and has the commands `asked` carried out, each with its arguments.
    ///
    /// # Errors
    ///
    /// As [`Composition::of_system`].
    pub fn of_campaign(root: &Path, workload: &str, asked: &[String]) -> Result<Self, BuildError> {
        let read = |path: PathBuf| std::fs::read_to_string(&path).map_err(|source| BuildError::File { path, source });
        let commands = asked.iter().filter_map(|command| command.split_whitespace().next()).collect::<BTreeSet<_>>();
        let uses = commands
            .iter()
            .map(|name| format!("{{ interface = \"command\", from = \"{name}\", name = \"{name}\" }}, "));
        let uses = format!("uses = [{}", uses.collect::<String>());
        let head = format!("[domain.work]\nbinary = \"{workload}\"\nargs = {:?}", [asked.join(";")]);
        let campaign = read(root.join(CAMPAIGN))?;
        let (others, work) = campaign.split_once("[domain.work]").unwrap_or((&campaign, ""));
        let work = work.replacen("uses = [", &uses, 1);
        let source = format!("{}\n{others}{head}{work}", read(root.join("system.toml"))?);
        let composition = Self::of_source(root, &source)?;
        Ok(Self { title: "the system of a campaign".to_owned(), file_name: "campaign.elf".to_owned(), ..composition })
    }

    /// The system that the `system.toml` of the source tree in `root` describes.
    ///
    /// # Errors
    ///
    /// As [`Composition::of_system`].
    pub fn of_tree(root: &Path) -> Result<Self, BuildError> {
        let path = root.join("system.toml");
        let source =
            std::fs::read_to_string(&path).map_err(|source| BuildError::File { path: path.clone(), source })?;
        Self::of_source(root, &source)
    }

    /// The system of the source tree in `root` that the text of a manifest describes.
    fn of_source(root: &Path, source: &str) -> Result<Self, BuildError> {
        let members = workspace::Members::of(root).map_err(BuildError::Start)?.programs();
        let programs: Vec<&str> = members.keys().map(String::as_str).collect();
        let compiled = compile_manifest(root, source, &programs).map_err(BuildError::Manifest)?;
        if !compiled.warnings.is_empty() {
            eprintln!("{}", compiled.warnings);
        }
        let bytes = compiled.system.encode().map_err(|error| BuildError::Manifest(error.to_string()))?;
        let files = compiled.files.into_iter().map(|(name, path)| (name, root.join(path)));
        let mut composition = Self {
            root: root.to_owned(),
            plugs: compiled.plugs,
            guests: encode_guests(&compiled.system)?,
            files: files.collect(),
            guest_memory: compiled.guest_memory,
            ..Self::of_manifest(&compiled.system, bytes)
        };
        composition.find_crates(&members, &compiled.paths)?;
        Ok(composition)
    }

    fn of_manifest(system: &System, bytes: Vec<u8>) -> Self {
        let mut programs = vec![Program::of_its_own_name(KERNEL), Program::of_its_own_name(ROOT_SERVER)];
        for domain in &system.domains {
            let program = Program::of_its_own_name(&domain.binary);
            // Several domains may run the same program.
            if !programs.contains(&program) {
                programs.push(program);
            }
        }
        Self {
            title: "Bulkhead".to_owned(),
            root: workspace::root(),
            file_name: "bulkhead.elf".to_owned(),
            programs,
            manifest: Some(bytes),
            plugs: Vec::new(),
            script: None,
            guests: BTreeMap::new(),
            files: BTreeMap::new(),
            guest_memory: 0,
        }
    }

    /// Notes which crate builds each program.
    fn find_crates(
        &mut self,
        members: &BTreeMap<String, String>,
        paths: &BTreeMap<String, String>,
    ) -> Result<(), BuildError> {
        for program in &mut self.programs {
            let Some(path) = paths.get(&program.program) else {
                if let Some(package) = members.get(&program.program) {
                    program.package.clone_from(package);
                }
                continue;
            };
            let folder = self.root.join(path);
            if !folder.join("Cargo.toml").is_file() {
                return Err(BuildError::NoCrate { program: program.program.clone(), path: path.clone() });
            }
            let programs = workspace::Members::of(&folder).map_err(BuildError::Start)?.programs();
            let package = programs.get(&program.program);
            program.package.clone_from(package.ok_or_else(|| BuildError::NoProgram(program.program.clone()))?);
            program.folder = Some(folder);
        }
        Ok(())
    }

    /// The kernel with the conformance suite as its root server.
    pub fn of_conformance() -> Self {
        Self {
            title: "the conformance suite".to_owned(),
            root: workspace::root(),
            file_name: "conformance.elf".to_owned(),
            programs: vec![
                Program::of_its_own_name(KERNEL),
                Program { name: ROOT_SERVER.to_owned(), ..Program::of_its_own_name(CONFORMANCE) },
                Program::of_its_own_name(NEWCOMER),
            ],
            manifest: None,
            plugs: Vec::new(),
            script: None,
            guests: BTreeMap::new(),
            files: BTreeMap::new(),
            guest_memory: 0,
        }
    }

    /// The same, to carry out a script instead of the cases.
    pub fn of_replay(script: String) -> Self {
        Self { file_name: "replay.elf".to_owned(), script: Some(script), ..Self::of_conformance() }
    }

    /// The crates of this workspace to build, the loader among them.
    pub fn packages(&self) -> Vec<String> {
        let programs = self.programs.iter().filter(|program| program.folder.is_none());
        let packages: BTreeSet<_> = programs.map(|program| program.package.clone()).collect();
        std::iter::once(LOADER.to_owned()).chain(packages).collect()
    }

    /// The crates to build that are elsewhere, by their folders.
    pub fn packages_elsewhere(&self) -> BTreeMap<PathBuf, BTreeSet<String>> {
        let mut elsewhere = BTreeMap::<_, BTreeSet<_>>::new();
        for program in &self.programs {
            if let Some(folder) = &program.folder {
                elsewhere.entry(folder.clone()).or_default().insert(program.package.clone());
            }
        }
        elsewhere
    }
}

/// A manifest whose shell has the domain `name` carry out what a person types by this name.
pub fn with_command(source: &str, name: &str) -> String {
    let command = format!("uses = [\n    {{ interface = \"command\", from = \"{name}\", name = \"{name}\" }},");
    let (before, shell) = source.split_once("[domain.shell]").unwrap_or((source, ""));
    format!("{before}[domain.shell]{}", shell.replacen("uses = [", &command, 1))
}

/// What each guest's monitor finds of the manifest, by its name in the boot archive.
fn encode_guests(system: &System) -> Result<BTreeMap<String, Vec<u8>>, BuildError> {
    let guests = system.domains.iter().filter_map(|domain| Some((&domain.name, domain.guest.as_ref()?)));
    let encode = |(name, guest): (&String, &Guest)| {
        let bytes = guest.encode().map_err(|error| BuildError::Manifest(error.to_string()))?;
        Ok((GuestFile::Guest.archive_name(name), bytes))
    };
    guests.map(encode).collect()
}

/// Compiles the text of the `system.toml` in a folder for a system with these programs, the standard interfaces and the shell.
///
/// # Errors
///
/// Every error and its place in the file, for a person.
pub fn compile_manifest(folder: &Path, source: &str, programs: &[&str]) -> Result<Compiled, String> {
    let interfaces: Vec<_> =
        interfaces::ALL.iter().map(|interface| InterfaceInfo { name: interface.name, id: interface.id }).collect();
    let shell_commands: Vec<&str> = shell::commands::all().map(|command| command.name).collect();
    let environment = Environment {
        interfaces: &interfaces,
        binaries: Some(programs),
        shell_commands: &shell_commands,
        machine_memory: crate::manifest::MINIMUM_MACHINE_MEMORY,
        folder: Some(folder),
    };
    crate::manifest::compile("system.toml", source, &environment).map_err(|report| report.to_string())
}
