//! From bare-metal crates to one file that boots.
//!
//! All programs of a system are built by one call of cargo for `x86_64-unknown-none`, with the library's source
//! built along with them; their loadable parts go into a boot archive, and the archive into the loader's ELF file.
//! Unstripped programs stay where cargo put them, for debuggers.

mod cargo;
mod composition;
mod executable;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use cargo::{Check, check};
pub use composition::{
    CONFORMANCE, Composition, KERNEL, LINUX_PEER, LOADER, MANIFEST, MONITOR, ROOT_SERVER, compile_manifest,
    with_command,
};
use executable::built_for;
pub use executable::{NotLoadable, loadable_part};

use ::abi::program::BuiltFor;
use userlib::entry::BUILT_FOR;

use crate::machine::Plug;
use crate::progress::Step;
use crate::setup::LibrarySource;
use crate::workspace;

/// Why there is no bootable file.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The system's description is wrong; holds the errors as they are shown to a person.
    #[error("{0}")]
    Manifest(String),
    /// cargo could not be started.
    #[error("cannot start cargo: {0}")]
    Start(io::Error),
    /// The compiler refused; holds what it said.
    #[error("{diagnostics}\n{what} did not succeed")]
    Compile {
        /// What was being done.
        what: &'static str,
        /// The compiler's messages.
        diagnostics: String,
    },
    /// No crate has a program that the system names.
    #[error("`{0}` is part of the system, but its crate builds no program of that name")]
    NoProgram(String),
    /// There is no crate where the system's description says that one is.
    #[error("the crate of `{program}` is to be in {path}, as system.toml says, but there is no Cargo.toml")]
    NoCrate {
        /// The program.
        program: String,
        /// The folder, as it is written.
        path: String,
    },
    /// A program cannot be loaded by the machine.
    #[error("the program `{name}` cannot go into the boot archive: {source}")]
    NotLoadable {
        /// The program.
        name: String,
        /// What is wrong with it.
        source: NotLoadable,
    },
    /// A program says that it was built for another ABI than the system's.
    #[error("`{name}` was built for {built_for}, this system has {system}: rebuild it with this system's userlib")]
    OtherAbi {
        /// The program.
        name: String,
        /// What it was built for.
        built_for: BuiltFor,
        /// What the system is.
        system: BuiltFor,
    },
    /// A program does not say for which ABI it was built.
    #[error("`{0}` does not say for which ABI it was built: programs of Bulkhead begin with `userlib::entry!`")]
    NoAbi(String),
    /// The boot archive cannot be made.
    #[error("the boot archive cannot be made: {0}")]
    Archive(#[from] archive::BuildError),
    /// The archive cannot be put into the loader.
    #[error("the bootable file cannot be made: {0}")]
    Embed(#[from] archive::EmbedError),
    /// A file of the build cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A system that was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The file that boots, with everything in it.
    pub image: PathBuf,
    /// Where each program's ELF file is, with its symbols.
    pub programs: BTreeMap<String, PathBuf>,
    /// Devices that its domains want the machine to have.
    pub plugs: Vec<Plug>,
    /// Bytes of memory that the machine needs for guests, on top of what it needs for everybody else.
    pub guest_memory: u64,
}

/// Builds the system that `system.toml` describes.
///
/// # Errors
///
/// [`BuildError`].
pub fn system(source: &LibrarySource) -> Result<Built, BuildError> {
    build(&Composition::of_system()?, source)
}

/// Builds the system whose root server is the conformance suite.
///
/// # Errors
///
/// [`BuildError`].
pub fn conformance(source: &LibrarySource) -> Result<Built, BuildError> {
    build(&Composition::of_conformance(), source)
}

/// Builds the conformance suite together with a script that it carries out instead of its cases.
///
/// # Errors
///
/// [`BuildError`].
pub fn replay(script: String, source: &LibrarySource) -> Result<Built, BuildError> {
    build(&Composition::of_replay(script), source)
}

/// Builds the first process of the Linux kernel that Bulkhead is compared with, by the same compiler with the same flags as
/// everything else that runs in a machine, and says where its ELF file is.
///
/// # Errors
///
/// [`BuildError`].
pub fn linux_peer(source: &LibrarySource) -> Result<PathBuf, BuildError> {
    let step = Step::start("Building the program that Linux runs");
    let programs = cargo::build_alone(&step, &[LINUX_PEER.to_owned()], source);
    step.quiet();
    programs?.remove(LINUX_PEER).ok_or_else(|| BuildError::NoProgram(LINUX_PEER.to_owned()))
}

/// Builds any composition.
///
/// # Errors
///
/// [`BuildError`].
pub fn build(composition: &Composition, source: &LibrarySource) -> Result<Built, BuildError> {
    let step = Step::start(format!("Building {}", composition.title));
    let programs = match cargo::build_all(&step, composition, source) {
        Ok(programs) => programs,
        Err(error) => {
            step.quiet();
            return Err(error);
        }
    };
    step.news("packing");
    let image = pack(composition, &programs)?;
    let folder = workspace::system_target();
    let path = folder.join(&composition.file_name);
    write(&path, &image)?;
    if step.elapsed().as_secs() < 2 {
        step.quiet();
    } else {
        step.done(&format!("{:.1} MiB", image.len() as f64 / f64::from(1 << 20)));
    }
    let (plugs, guest_memory) = (composition.plugs.clone(), composition.guest_memory);
    Ok(Built { image: path, programs, plugs, guest_memory })
}

/// The bytes of the bootable file.
fn pack(composition: &Composition, programs: &BTreeMap<String, PathBuf>) -> Result<Vec<u8>, BuildError> {
    let program = |name: &str| -> Result<Vec<u8>, BuildError> {
        let path = programs.get(name).ok_or_else(|| BuildError::NoProgram(name.to_owned()))?;
        let file = read(path)?;
        loadable_part(&file).map_err(|source| BuildError::NotLoadable { name: name.to_owned(), source })
    };
    let mut builder = archive::Builder::new();
    for entry in &composition.programs {
        let contents = program(&entry.program)?;
        // The kernel is at the other side of the ABI.
        if entry.name != KERNEL {
            check_abi(&entry.program, &contents)?;
        }
        builder.add(&entry.name, contents)?;
    }
    if let Some(manifest) = &composition.manifest {
        builder.add(MANIFEST, manifest.clone())?;
    }
    for (name, guest) in &composition.guests {
        builder.add(name, guest.clone())?;
    }
    for (name, path) in &composition.files {
        builder.add(name, read(path)?)?;
    }
    if let Some(script) = &composition.script {
        builder.add(script::FILE, script.clone().into_bytes())?;
    }
    Ok(archive::embed(&program(LOADER)?, &builder.finish()?)?)
}

/// Refuses a program that would not understand this system.
///
/// # Errors
///
/// [`BuildError::OtherAbi`] and [`BuildError::NoAbi`], with the program's name.
pub fn check_abi(name: &str, program: &[u8]) -> Result<(), BuildError> {
    match built_for(program) {
        Some(BUILT_FOR) => Ok(()),
        Some(built_for) => Err(BuildError::OtherAbi { name: name.to_owned(), built_for, system: BUILT_FOR }),
        None => Err(BuildError::NoAbi(name.to_owned())),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    fs::read(path).map_err(|source| BuildError::File { path: path.to_owned(), source })
}

/// Writes a file of a system so that a machine which is running from the old one, or a build that is cut short, sees no half of it.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let part = path.with_extension(format!("part-{}", std::process::id()));
    fs::write(&part, bytes)
        .and_then(|()| fs::rename(&part, path))
        .map_err(|source| BuildError::File { path: path.to_owned(), source })
}
