//! A file system as a map in memory: what every operation should do.

use super::{TestVolume, block_on, pattern};
use fat::{EntryKind, Error, OpenMode};
use std::collections::BTreeMap;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Write bytes made from `seed` into a file, which is created if need be.
    Write {
        path: String,
        offset: u32,
        length: u32,
        seed: u64,
    },
    SetLength {
        path: String,
        length: u32,
    },
    RemoveFile {
        path: String,
    },
    MakeDirectory {
        path: String,
    },
    RemoveDirectory {
        path: String,
    },
    Rename {
        from: String,
        to: String,
        replace: bool,
    },
    Sync,
}

/// A file's contents, or a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    File(Vec<u8>),
    Directory,
}

/// All files and folders by path in lower case, with the path as it is shown. The root is not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) nodes: BTreeMap<String, (String, Node)>,
}

/// What kind of refusal is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotFound,
    AlreadyExists,
    NotADirectory,
    IsADirectory,
    NotEmpty,
    IntoItself,
}

impl Refusal {
    pub(crate) fn of(error: &Error) -> Option<Self> {
        Some(match error {
            Error::NotFound { .. } => Self::NotFound,
            Error::AlreadyExists { .. } => Self::AlreadyExists,
            Error::NotADirectory { .. } => Self::NotADirectory,
            Error::IsADirectory { .. } => Self::IsADirectory,
            Error::DirectoryNotEmpty { .. } => Self::NotEmpty,
            Error::IntoItself { .. } => Self::IntoItself,
            _ => return None,
        })
    }
}

pub(crate) fn key(path: &str) -> String {
    path.to_lowercase()
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Model {
    fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(&key(path)).map(|(_, node)| node)
    }

    /// Every folder on the way to `path` must be there and be a folder.
    fn check_way(&self, path: &str) -> Result<(), Refusal> {
        let mut way = parent(path);
        let mut ways = Vec::new();
        while !way.is_empty() {
            ways.push(way);
            way = parent(way);
        }
        for way in ways.into_iter().rev() {
            match self.get(way) {
                None => return Err(Refusal::NotFound),
                Some(Node::File(_)) => return Err(Refusal::NotADirectory),
                Some(Node::Directory) => {}
            }
        }
        Ok(())
    }

    /// The name as it is shown: folders on the way keep the case that they have.
    fn shown(&self, path: &str) -> String {
        let name = path.rsplit('/').next().unwrap_or(path);
        match self.nodes.get(&key(parent(path))) {
            Some((folder, _)) => format!("{folder}/{name}"),
            None => format!("/{name}"),
        }
    }

    fn is_empty(&self, path: &str) -> bool {
        let prefix = key(path) + "/";
        !self.nodes.keys().any(|other| other.starts_with(&prefix))
    }

    /// Does what the step says, or says why not.
    pub(crate) fn apply(&mut self, step: &Step) -> Result<(), Refusal> {
        match step {
            Step::Sync => Ok(()),
            Step::Write { path, offset, length, seed } => {
                self.check_way(path)?;
                let shown = self.shown(path);
                let entry = self.nodes.entry(key(path)).or_insert_with(|| (shown, Node::File(Vec::new())));
                let Node::File(bytes) = &mut entry.1 else {
                    return Err(Refusal::IsADirectory);
                };
                let (offset, length) = (*offset as usize, *length as usize);
                if length > 0 {
                    bytes.resize(bytes.len().max(offset + length), 0);
                    bytes[offset..offset + length].copy_from_slice(&pattern(*seed, length));
                }
                Ok(())
            }
            Step::SetLength { path, length } => {
                self.check_way(path)?;
                match self.nodes.get_mut(&key(path)) {
                    None => Err(Refusal::NotFound),
                    Some((_, Node::Directory)) => Err(Refusal::IsADirectory),
                    Some((_, Node::File(bytes))) => {
                        bytes.resize(*length as usize, 0);
                        Ok(())
                    }
                }
            }
            Step::RemoveFile { path } => {
                self.check_way(path)?;
                match self.get(path) {
                    None => Err(Refusal::NotFound),
                    Some(Node::Directory) => Err(Refusal::IsADirectory),
                    Some(Node::File(_)) => {
                        self.nodes.remove(&key(path));
                        Ok(())
                    }
                }
            }
            Step::MakeDirectory { path } => {
                self.check_way(path)?;
                if self.get(path).is_some() {
                    return Err(Refusal::AlreadyExists);
                }
                let shown = self.shown(path);
                self.nodes.insert(key(path), (shown, Node::Directory));
                Ok(())
            }
            Step::RemoveDirectory { path } => {
                self.check_way(path)?;
                match self.get(path) {
                    None => Err(Refusal::NotFound),
                    Some(Node::File(_)) => Err(Refusal::NotADirectory),
                    Some(Node::Directory) if !self.is_empty(path) => Err(Refusal::NotEmpty),
                    Some(Node::Directory) => {
                        self.nodes.remove(&key(path));
                        Ok(())
                    }
                }
            }
            Step::Rename { from, to, replace } => self.rename(from, to, *replace),
        }
    }

    fn rename(&mut self, from: &str, to: &str, replace: bool) -> Result<(), Refusal> {
        self.check_way(from)?;
        let Some(moving) = self.get(from).cloned() else {
            return Err(Refusal::NotFound);
        };
        self.check_way(to)?;
        if moving == Node::Directory && key(to).starts_with(&(key(from) + "/")) {
            return Err(Refusal::IntoItself);
        }
        let mut shown = self.shown(to);
        if key(from) != key(to) {
            match self.nodes.get(&key(to)) {
                Some(_) if !replace => return Err(Refusal::AlreadyExists),
                Some((_, Node::Directory)) => return Err(Refusal::AlreadyExists),
                Some((_, Node::File(_))) if moving == Node::Directory => {
                    return Err(Refusal::NotADirectory);
                }
                // The replaced file's name stays as it was shown.
                Some((name, Node::File(_))) => shown = name.clone(),
                None => {}
            }
        }
        let prefix = key(from) + "/";
        let inside: Vec<String> = self.nodes.keys().filter(|path| path.starts_with(&prefix)).cloned().collect();
        let old_length = from.len();
        self.nodes.remove(&key(from));
        for path in inside {
            if let Some((name, node)) = self.nodes.remove(&path) {
                let new_name = format!("{shown}{}", &name[old_length..]);
                self.nodes.insert(key(&new_name), (new_name, node));
            }
        }
        self.nodes.insert(key(&shown), (shown, moving));
        Ok(())
    }
}

/// Does the step on a volume.
pub(crate) fn perform(volume: &TestVolume, step: &Step) -> Result<(), Error> {
    block_on(async {
        match step {
            Step::Sync => volume.sync().await,
            Step::Write { path, offset, length, seed } => {
                let mode = OpenMode { create: true, ..OpenMode::WRITE };
                let id = volume.open(path, mode).await?;
                let bytes = pattern(*seed, *length as usize);
                let written = volume.write(id, u64::from(*offset), &bytes).await;
                volume.close(id).await?;
                written
            }
            Step::SetLength { path, length } => {
                let id = volume.open(path, OpenMode::WRITE).await?;
                let done = volume.set_length(id, u64::from(*length)).await;
                volume.close(id).await?;
                done
            }
            Step::RemoveFile { path } => volume.remove_file(path).await,
            Step::MakeDirectory { path } => volume.make_directory(path).await,
            Step::RemoveDirectory { path } => volume.remove_directory(path).await,
            Step::Rename { from, to, replace } => volume.rename(from, to, *replace).await,
        }
    })
}

/// Everything that is on a volume.
pub(crate) fn contents(volume: &TestVolume) -> Result<Model, Error> {
    let mut model = Model::default();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let listing = block_on(volume.list(&folder, 0, usize::MAX))?;
        for entry in listing.entries {
            let path = format!("{folder}/{}", entry.name);
            let node = match entry.status.kind {
                EntryKind::Directory => {
                    folders.push(path.clone());
                    Node::Directory
                }
                EntryKind::File => Node::File(block_on(async {
                    let id = volume.open(&path, OpenMode::READ).await?;
                    let mut bytes = vec![0; entry.status.size as usize];
                    let read = volume.read(id, 0, &mut bytes).await;
                    volume.close(id).await?;
                    read?;
                    Ok::<_, Error>(bytes)
                })?),
            };
            let twice = model.nodes.insert(key(&path), (path.clone(), node));
            assert!(twice.is_none(), "{path} is there twice");
        }
    }
    Ok(model)
}
