//! A change of the tree that happens as a whole or not at all.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

/// What a change asks of the file system; the tests' own fails when it is told to.
pub trait Disk {
    /// Makes a folder; its parent exists.
    fn create_folder(&mut self, path: &Path) -> io::Result<()>;
    /// Writes a new file.
    fn write(&mut self, path: &Path, text: &str) -> io::Result<()>;
    /// Moves a file or folder; a file at `to` is replaced.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&mut self, path: &Path) -> io::Result<()>;
    /// Removes a folder and everything in it.
    fn remove_folder(&mut self, path: &Path) -> io::Result<()>;
}

/// The host's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OperatingSystem;

impl Disk for OperatingSystem {
    fn create_folder(&mut self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }
    fn write(&mut self, path: &Path, text: &str) -> io::Result<()> {
        fs::write(path, text)
    }
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }
    fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
    fn remove_folder(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }
}

/// Why a change was not carried out.
#[derive(Debug, thiserror::Error)]
pub struct ChangeError {
    /// What failed.
    pub step: String,
    /// What the operating system said.
    pub source: io::Error,
    /// What could not be undone afterwards, and so is left as it should not be.
    pub left: Vec<String>,
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}; ", self.step, self.source)?;
        if self.left.is_empty() {
            return f.write_str("nothing was changed");
        }
        write!(f, "and what was done before could not all be undone: {}", self.left.join("; "))
    }
}

/// A file with another text.
#[derive(Clone, Debug)]
struct Edit {
    path: PathBuf,
    before: String,
    after: String,
}

/// What is to change.
#[derive(Clone, Debug, Default)]
pub struct Change {
    edits: Vec<Edit>,
    created: Option<(PathBuf, Vec<(String, String)>)>,
    removed: Option<PathBuf>,
}

impl Change {
    pub(super) fn edit(&mut self, path: PathBuf, before: String, after: String) {
        if before != after {
            self.edits.push(Edit { path, before, after });
        }
    }

    pub(super) fn create(&mut self, folder: PathBuf, files: Vec<(String, String)>) {
        self.created = Some((folder, files));
    }

    pub(super) fn remove(&mut self, folder: PathBuf) {
        self.removed = Some(folder);
    }

    /// The folder that it creates or removes.
    pub fn folder(&self) -> Option<&Path> {
        self.created.as_ref().map(|(folder, _)| folder.as_path()).or(self.removed.as_deref())
    }

    /// The files that it changes.
    pub fn edited(&self) -> impl Iterator<Item = &Path> {
        self.edits.iter().map(|edit| edit.path.as_path())
    }

    /// The files that it creates, relative to their folder, with their texts.
    pub fn files(&self) -> &[(String, String)] {
        self.created.as_ref().map_or(&[], |(_, files)| files)
    }

    /// Carries it out.
    ///
    /// # Errors
    ///
    /// [`ChangeError`], after what had been done was undone.
    pub fn carry_out(&self, disk: &mut dyn Disk) -> Result<(), ChangeError> {
        let mut done = Done { disk, undo: Vec::new() };
        match self.steps(&mut done) {
            Ok(trash) => {
                // The change is complete; a rest that cannot be removed now does not make it less so.
                if let Some(trash) = trash
                    && let Err(source) = done.disk.remove_folder(&trash)
                {
                    let left = vec![format!("{} is left over", trash.display())];
                    return Err(ChangeError { step: format!("remove {}", trash.display()), source, left });
                }
                Ok(())
            }
            Err((step, source)) => Err(ChangeError { step, source, left: done.undo() }),
        }
    }

    /// Does everything up to the removal of what is not needed any more, which is returned.
    fn steps(&self, done: &mut Done<'_>) -> Result<Option<PathBuf>, Failure> {
        // First everything that can go wrong for want of room or of permission, under names that nobody looks at.
        let mut moves = Vec::new();
        if let Some((folder, files)) = &self.created {
            let parent = folder.parent().unwrap_or(folder);
            done.create_folders(parent)?;
            let draft = beside(folder, "new");
            done.create_folder(&draft)?;
            for (name, text) in files {
                let path = draft.join(name);
                done.create_folders(path.parent().unwrap_or(&draft))?;
                done.write(&path, text)?;
            }
            moves.push((draft, folder.clone()));
        }
        for edit in &self.edits {
            let now =
                fs::read_to_string(&edit.path).map_err(|source| (format!("read {}", edit.path.display()), source))?;
            if now != edit.before {
                let source = io::Error::other("somebody else has changed it meanwhile");
                return Err((format!("change {}", edit.path.display()), source));
            }
            let draft = beside(&edit.path, "new");
            done.write(&draft, &edit.after)?;
        }
        // Then the moves, each of which is there at once.
        for (from, to) in moves {
            done.rename(&from, &to)?;
        }
        let trash = self.removed.as_ref().map(|folder| (folder, beside(folder, "removed")));
        if let Some((folder, trash)) = &trash {
            done.rename(folder, trash)?;
        }
        for edit in &self.edits {
            done.replace(edit)?;
        }
        Ok(trash.map(|(_, trash)| trash))
    }
}

/// A hidden name in the same folder, so that a move between the two is one step.
fn beside(path: &Path, what: &str) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.{what}-{}", process::id()))
}

/// What was attempted, and why it failed.
type Failure = (String, io::Error);

/// How a step is undone.
enum Undo {
    RemoveFolder(PathBuf),
    RemoveFile(PathBuf),
    Rename(PathBuf, PathBuf),
    Restore(PathBuf, String),
}

/// The steps so far.
struct Done<'a> {
    disk: &'a mut dyn Disk,
    undo: Vec<Undo>,
}

impl Done<'_> {
    fn create_folder(&mut self, path: &Path) -> Result<(), Failure> {
        self.disk.create_folder(path).map_err(|source| (format!("make the folder {}", path.display()), source))?;
        self.undo.push(Undo::RemoveFolder(path.to_owned()));
        Ok(())
    }

    /// Makes a folder and those above it, as far as they are not there.
    fn create_folders(&mut self, path: &Path) -> Result<(), Failure> {
        let missing: Vec<_> = path.ancestors().take_while(|folder| !folder.exists()).collect();
        missing.into_iter().rev().try_for_each(|folder| self.create_folder(folder))
    }

    fn write(&mut self, path: &Path, text: &str) -> Result<(), Failure> {
        // A write that fails may have made the file.
        self.undo.push(Undo::RemoveFile(path.to_owned()));
        self.disk.write(path, text).map_err(|source| (format!("write {}", path.display()), source))
    }

    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), Failure> {
        let failed = |source| (format!("move {} to {}", from.display(), to.display()), source);
        self.disk.rename(from, to).map_err(failed)?;
        self.undo.push(Undo::Rename(to.to_owned(), from.to_owned()));
        Ok(())
    }

    /// Moves an edited file's draft to its place.
    fn replace(&mut self, edit: &Edit) -> Result<(), Failure> {
        let draft = beside(&edit.path, "new");
        self.disk.rename(&draft, &edit.path).map_err(|source| (format!("replace {}", edit.path.display()), source))?;
        self.undo.push(Undo::Restore(edit.path.clone(), edit.before.clone()));
        Ok(())
    }

    /// Undoes all of it, the last first; returns what could not be undone.
    fn undo(mut self) -> Vec<String> {
        let mut left = Vec::new();
        while let Some(undo) = self.undo.pop() {
            let (what, outcome) = match &undo {
                Undo::RemoveFolder(path) => (format!("{} is left over", path.display()), self.disk.remove_folder(path)),
                Undo::RemoveFile(path) if !path.exists() => continue,
                Undo::RemoveFile(path) => (format!("{} is left over", path.display()), self.disk.remove_file(path)),
                Undo::Rename(from, to) => {
                    (format!("{} should be {}", from.display(), to.display()), self.disk.rename(from, to))
                }
                Undo::Restore(path, text) => {
                    let draft = beside(path, "old");
                    let restored = self.disk.write(&draft, text).and_then(|()| self.disk.rename(&draft, path));
                    (format!("{} is changed", path.display()), restored)
                }
            };
            if let Err(error) = outcome {
                left.push(format!("{what} ({error})"));
            }
        }
        left
    }
}
