//! New servers and drivers, complete from the interface to the command at the shell, and their removal.
//!
//! Everything is decided before anything is written: the name is checked against all that has a name, the files are
//! made and the changed manifest is compiled in memory ([`Change`] is the result). Carrying it out writes to temporary
//! names first and then moves, and a step that fails undoes those before it.

mod change;
mod lockfile;
mod manifests;
mod name;
mod template;

use std::env;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

pub use change::{Change, ChangeError, Disk, OperatingSystem};
pub use name::{Name, NameError};
pub use template::Kind;

use crate::build;
use crate::workspace;
use manifests::{CargoToml, SystemToml};

/// Why nothing was made or removed.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// The name cannot be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Something is called like this already.
    #[error("`{name}` is taken: {by}; choose another name")]
    Taken {
        /// The name.
        name: String,
        /// What has it.
        by: String,
    },
    /// It is not there, or was not made by `cargo xtask new`.
    #[error("`{0}` was not made by `cargo xtask new`: {1}")]
    NotMade(String, String),
    /// What is to be removed has become somebody's work.
    #[error(
        "{0} is not as `cargo xtask new` made it: `--force` removes it all the same, and it cannot be brought back"
    )]
    Edited(PathBuf),
    /// The manifest would be wrong afterwards.
    #[error("system.toml would be wrong with this change, so nothing was changed:\n{0}")]
    Manifest(String),
    /// A file of the project is not as it is expected to be.
    #[error("{file} cannot be changed: {problem}")]
    Unexpected {
        /// The file.
        file: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A change could not be carried out.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

/// A source tree that is added to.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
}

impl Default for Tree {
    fn default() -> Self {
        Self::at(workspace::root())
    }
}

impl Tree {
    /// The tree with this root.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// What makes a new `kind` called `name`: in the folder `parent` if there is one, which may lie outside of the tree, in
    /// the tree's folder for such crates otherwise.
    ///
    /// # Errors
    ///
    /// [`ScaffoldError`] if it cannot be; nothing has changed in any case.
    pub fn create(&self, kind: Kind, name: &str, parent: Option<&Path>) -> Result<Change, ScaffoldError> {
        let name = Name::new(name)?;
        let mut system = SystemToml::parse(self.read("system.toml")?)?;
        let mut cargo = CargoToml::parse(self.read("Cargo.toml")?)?;
        let lock = self.read("Cargo.lock")?;
        self.check_free(&name, &system, &lock)?;
        let parent = match parent {
            Some(parent) => {
                absolute(parent).map_err(|source| ScaffoldError::Read { path: parent.to_owned(), source })?
            }
            None => self.root.join(kind.folder()),
        };
        let folder = parent.join(name.as_str());
        if folder.symlink_metadata().is_ok() {
            return Err(ScaffoldError::Taken { name: name.to_string(), by: format!("there is {}", folder.display()) });
        }
        let inside = folder.strip_prefix(&self.root).ok().map(slashes);
        let outside = if inside.is_some() { None } else { Some(relative(&self.root, &folder)) };
        let mut change = Change::default();
        system.add(kind, &name, outside.as_deref());
        self.check_system(&system.to_string(), &[name.as_str(), &name.command()])?;
        change.edit(self.root.join("system.toml"), self.read("system.toml")?, system.to_string());
        let locked = lockfile::with(&lock, name.as_str(), "0.1.0", kind.dependencies());
        let userlib = slashes(Path::new(&relative(&folder, &self.root)));
        let mut files = template::files(kind, &name, inside.is_none().then_some(userlib.as_str()));
        match &inside {
            Some(member) => {
                cargo.add(member);
                change.edit(self.root.join("Cargo.toml"), self.read("Cargo.toml")?, cargo.to_string());
                change.edit(self.root.join("Cargo.lock"), lock, locked);
            }
            // So that it is built from the same versions of everything. What it does not need, cargo takes out.
            None => files.push(("Cargo.lock".to_owned(), locked)),
        }
        change.create(folder, files);
        Ok(change)
    }

    /// What removes `name`, which [`Tree::create`] has made. Files that were changed since are only removed by `force`.
    ///
    /// # Errors
    ///
    /// [`ScaffoldError`] if it cannot be; nothing has changed in any case.
    pub fn remove(&self, name: &str, force: bool) -> Result<Change, ScaffoldError> {
        let name = Name::new(name)?;
        let mut system = SystemToml::parse(self.read("system.toml")?)?;
        let mut cargo = CargoToml::parse(self.read("Cargo.toml")?)?;
        let not_made = |why: &str| ScaffoldError::NotMade(name.to_string(), why.to_owned());
        if !system.has(name.as_str()) {
            return Err(not_made("system.toml has no domain of this name"));
        }
        let path = system.path(name.as_str());
        let (folder, kind) = match &path {
            Some(path) => {
                let folder = normal(&self.root.join(path));
                (folder.clone(), self.kind_of(&folder))
            }
            None => {
                let ends = |member: &&String| member.rsplit('/').next() == Some(name.as_str());
                let member = cargo.members().into_iter().find(|member| ends(&member));
                let member = member.ok_or_else(|| not_made("Cargo.toml has no member of this name"))?;
                (self.root.join(&member), self.kind_of(&self.root.join(&member)))
            }
        };
        let kind = kind.ok_or_else(|| not_made("its Cargo.toml does not say that it comes from a template"))?;
        let userlib = slashes(Path::new(&relative(&folder, &self.root)));
        if !force {
            let made = template::files(kind, &name, path.is_some().then_some(userlib.as_str()));
            if let Some(file) = edited(&folder, &made)? {
                return Err(ScaffoldError::Edited(file));
            }
        }
        let mut change = Change::default();
        system.remove(&name);
        self.check_system(&system.to_string(), &[])?;
        change.edit(self.root.join("system.toml"), self.read("system.toml")?, system.to_string());
        if let Ok(member) = folder.strip_prefix(&self.root) {
            cargo.remove(&slashes(member));
            change.edit(self.root.join("Cargo.toml"), self.read("Cargo.toml")?, cargo.to_string());
            let lock = self.read("Cargo.lock")?;
            change.edit(self.root.join("Cargo.lock"), lock.clone(), lockfile::without(&lock, name.as_str()));
        }
        change.remove(folder);
        Ok(change)
    }

    fn read(&self, file: &str) -> Result<String, ScaffoldError> {
        read(&self.root.join(file))
    }

    /// The template from which the crate in `folder` was made.
    fn kind_of(&self, folder: &Path) -> Option<Kind> {
        let text = read(&folder.join("Cargo.toml")).ok()?;
        Kind::named(manifests::template(&text)?.as_str())
    }

    /// Refuses a name that something has already.
    fn check_free(&self, name: &Name, system: &SystemToml, lock: &str) -> Result<(), ScaffoldError> {
        let command = name.command();
        let taken = |name: &str, by: String| Err(ScaffoldError::Taken { name: name.to_owned(), by });
        let own = name.as_str();
        if shell::commands::find(own).is_some() {
            return taken(own, "the shell has a command of this name".to_owned());
        }
        if interfaces::by_name(own).is_some() || system.declares(own) {
            return taken(own, "there is an interface of this name".to_owned());
        }
        if system.commands().iter().any(|command| command == own) {
            return taken(own, "the shell is given a command of this name".to_owned());
        }
        for name in [own, &command] {
            if system.has(name) {
                return taken(name, "system.toml has a domain of this name".to_owned());
            }
            if lockfile::names(lock).any(|package| package == name) {
                return taken(name, "there is a crate of this name, here or among the dependencies".to_owned());
            }
        }
        Ok(())
    }

    /// Compiles the manifest as it would be.
    fn check_system(&self, text: &str, new_programs: &[&str]) -> Result<(), ScaffoldError> {
        let known = workspace::Members::of(&self.root).map(|members| members.programs());
        let known = known.map_err(|source| ScaffoldError::Read { path: self.root.join("Cargo.toml"), source })?;
        let mut programs: Vec<&str> = known.keys().map(String::as_str).collect();
        programs.extend(new_programs);
        build::compile_manifest(&self.root, text, &programs).map(drop).map_err(ScaffoldError::Manifest)
    }
}

/// The text of a `system.toml` without the domains of everything that [`Tree::create`] can have made: of what gives the
/// shell a command of its own name.
#[cfg(test)]
pub(crate) fn without_made(text: &str) -> String {
    let mut system = SystemToml::parse(text.to_owned()).expect("the project's own file is well-formed");
    for command in system.commands() {
        match Name::new(&command) {
            Ok(name) if system.has(&name.command()) => system.remove(&name),
            _ => {}
        }
    }
    system.to_string()
}

/// The first file in `folder` that is not as it was made, beside what cargo makes there.
fn edited(folder: &Path, made: &[(String, String)]) -> Result<Option<PathBuf>, ScaffoldError> {
    for path in files_in(folder, folder)? {
        let made = made.iter().find(|(name, _)| *name == path);
        let file = folder.join(&path);
        if made.is_none_or(|(_, text)| fs::read(&file).is_ok_and(|bytes| bytes != text.as_bytes())) {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Every file in `folder`, relative to `base`, but for cargo's target folder and lock file.
fn files_in(base: &Path, folder: &Path) -> Result<Vec<String>, ScaffoldError> {
    let failed = |source| ScaffoldError::Read { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = slashes(path.strip_prefix(base).unwrap_or(&path));
        if path.is_dir() && name != "target" {
            found.extend(files_in(base, &path)?);
        } else if !path.is_dir() && name != "Cargo.lock" {
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<String, ScaffoldError> {
    fs::read_to_string(path).map_err(|source| ScaffoldError::Read { path: path.to_owned(), source })
}

/// `path` from the root of the file system, without `.` and `..`. It need not exist.
fn absolute(path: &Path) -> io::Result<PathBuf> {
    let path = normal(&env::current_dir()?.join(path));
    // What exists of it may be reached through links, which would hide that it lies in the tree.
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(&path);
    let rest = path.strip_prefix(existing).unwrap_or(Path::new(""));
    let real = existing.canonicalize()?;
    Ok(if rest.as_os_str().is_empty() { real } else { real.join(rest) })
}

/// `path` with each `..` taken together with what it leads out of.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

/// How `to` is reached from the folder `from`; both are absolute.
fn relative(from: &Path, to: &Path) -> String {
    let common = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(common).map(|_| "..".to_owned());
    let down = to.components().skip(common).map(|part| part.as_os_str().to_string_lossy().into_owned());
    up.chain(down).collect::<Vec<_>>().join("/")
}

fn slashes(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests;
