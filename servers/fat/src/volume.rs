//! The interface of the library: one mounted volume, for any number of tasks on one thread.

use crate::boot::FatKind;
use crate::cache::CacheStatistics;
use crate::device::{BlockDevice, SECTOR_SIZE};
use crate::directory::Entry;
use crate::error::{Error, MountError};
use crate::file::{FileId, OpeningKind};
use crate::layout::FileLayout;
use crate::lock::Lock;
use crate::mounted::Mounted;
use crate::record::Attributes;
use crate::recovery::Repair;
use crate::time::{Clock, Timestamp};
use alloc::string::String;
use alloc::vec::Vec;

/// How to mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountOptions {
    /// Mount read-only even if the disk takes writes.
    pub read_only: bool,
    /// Size of the block cache in bytes; at least 64 KiB are used.
    pub cache_bytes: usize,
    /// Files that may be open at a time.
    pub max_open: usize,
    /// Repair what a crash has left, if the disk was not unmounted.
    pub repair: bool,
    /// Memory that the repair may take (bytes): one bit for each cluster. A larger volume is mounted unrepaired.
    pub repair_memory: usize,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self { read_only: false, cache_bytes: 4 << 20, max_open: 256, repair: true, repair_memory: 1 << 20 }
    }
}

/// In what state a volume was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It was unmounted, or nothing says otherwise.
    Clean,
    /// It was not unmounted, and has been repaired.
    Repaired(Repair),
    /// It was not unmounted, and was not repaired: read-only, too large for the repair's memory, or not asked for.
    Unrepaired,
    /// It was not unmounted, and has damage that a repair would not touch. It is mounted as it is.
    Damaged(Error),
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeInfo {
    /// Which kind of FAT.
    pub kind: FatKind,
    /// Bytes in a cluster, the unit in which files take room.
    pub cluster_bytes: u32,
    /// Clusters in the volume.
    pub clusters: u32,
    /// First sector of the volume on the disk: 0, or the start of a partition.
    pub first_sector: u64,
    /// The volume's serial number.
    pub serial: u32,
    /// No changes are possible.
    pub read_only: bool,
}

/// Room on the volume, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// For files, altogether.
    pub total: u64,
    /// Of which free.
    pub free: u64,
}

/// File or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A folder.
    Directory,
}

/// What is known about a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// File or folder.
    pub kind: EntryKind,
    /// Length in bytes; 0 for folders.
    pub size: u32,
    /// The attributes.
    pub attributes: Attributes,
    /// When it was created.
    pub created: Timestamp,
    /// When its contents were last changed.
    pub modified: Timestamp,
    /// The day when it was last used (we count changing only).
    pub accessed: Timestamp,
}

/// A file or folder in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEntry {
    /// The long name, or the short one if there is no other.
    pub name: String,
    /// Everything else.
    pub status: Status,
}

/// A piece of a folder's listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The entries, in the order of the disk.
    pub entries: Vec<ListedEntry>,
    /// Where to go on; `None` when this was all.
    pub next: Option<u32>,
}

/// How to open a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenMode {
    /// Writing is allowed.
    pub write: bool,
    /// Create the file if it does not exist (needs `write`).
    pub create: bool,
    /// Refuse if the file exists (with `create`).
    pub exclusive: bool,
    /// Make the file empty (needs `write`).
    pub truncate: bool,
}

impl OpenMode {
    /// To read a file that exists.
    pub const READ: Self = Self { write: false, create: false, exclusive: false, truncate: false };
    /// To read and write a file that exists.
    pub const WRITE: Self = Self { write: true, ..Self::READ };
    /// To write a file that is created or emptied.
    pub const REPLACE: Self = Self { create: true, truncate: true, ..Self::WRITE };
}

fn status(entry: &Entry) -> Status {
    let data = &entry.data;
    let directory = entry.is_directory();
    Status {
        kind: if directory { EntryKind::Directory } else { EntryKind::File },
        size: if directory { 0 } else { data.size },
        attributes: data.attributes,
        created: data.created,
        modified: data.modified,
        accessed: data.accessed,
    }
}

/// A mounted FAT volume.
///
/// Operations may be called from several tasks of one thread; they take turns in the order of arrival. A future must
/// be polled to its end: after one was dropped half-way, all further operations answer [`Error::Abandoned`], because
/// what memory says about the disk can no longer be trusted (the disk itself is as consistent as after a crash).
///
/// Paths are absolute, parts separated by `/`; names are compared without regard to case.
pub struct Volume<D: BlockDevice, C: Clock> {
    state: Lock<Mounted<D>>,
    clock: C,
    info: VolumeInfo,
}

impl<D: BlockDevice, C: Clock> Volume<D, C> {
    /// Finds the FAT volume on a disk (directly or in the first FAT partition of an MBR table) and mounts it.
    ///
    /// A volume that was not unmounted is repaired first, if the options and the disk allow it.
    ///
    /// # Errors
    /// [`MountError`] says what is on the disk instead.
    pub async fn mount(device: D, clock: C, options: MountOptions) -> Result<(Self, Found), MountError> {
        let mut state = Mounted::open(device, options.cache_bytes, options.max_open).await?;
        state.read_only |= options.read_only;
        let found = if !state.keep_mark {
            Found::Clean
        } else if state.read_only || !options.repair || state.repair_memory() > options.repair_memory {
            Found::Unrepaired
        } else {
            match state.repair().await {
                Ok(repair) => Found::Repaired(repair),
                Err(Error::Device(error)) => return Err(MountError::Device(error)),
                Err(error) => Found::Damaged(error),
            }
        };
        let geometry = &state.geometry;
        let info = VolumeInfo {
            kind: geometry.kind,
            cluster_bytes: geometry.cluster_bytes(),
            clusters: geometry.clusters,
            first_sector: geometry.boot,
            serial: geometry.serial,
            read_only: state.read_only,
        };
        Ok((Self { state: Lock::new(state), clock, info }, found))
    }

    /// One operation, from its beginning to its end, alone.
    async fn run<T>(&self, operation: impl AsyncFnOnce(&mut Mounted<D>) -> Result<T, Error>) -> Result<T, Error> {
        let mut state = self.state.acquire().await;
        if state.busy {
            return Err(Error::Abandoned);
        }
        if state.unmounted {
            return Err(Error::Unmounted);
        }
        state.busy = true;
        let result = operation(&mut state).await;
        state.busy = false;
        result
    }

    /// An operation on an open file; damage is reported under the file's path.
    async fn run_on_file<T>(
        &self,
        id: FileId,
        to_write: bool,
        operation: impl AsyncFnOnce(&mut Mounted<D>, usize) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.run(async |state: &mut Mounted<D>| {
            let node = state.files.node_of(id, to_write)?;
            match operation(state, node).await {
                Err(error) => Err(match state.files.node(node) {
                    Ok(file) => error.about(&file.path),
                    Err(_) => error,
                }),
                done => done,
            }
        })
        .await
    }

    /// What is mounted.
    #[must_use]
    pub fn info(&self) -> &VolumeInfo {
        &self.info
    }

    /// How the cache has done so far.
    pub async fn statistics(&self) -> CacheStatistics {
        self.state.acquire().await.cache.statistics()
    }

    /// Room on the volume. May have to read the whole FAT, the first time.
    ///
    /// # Errors
    /// The disk's, if it cannot be read.
    pub async fn space(&self) -> Result<Space, Error> {
        let unit = u64::from(self.info.cluster_bytes);
        let free = self.run(async |state: &mut Mounted<D>| state.free_clusters().await).await?;
        Ok(Space { total: u64::from(self.info.clusters) * unit, free: u64::from(free) * unit })
    }

    /// What is known about the file or folder with this path.
    ///
    /// # Errors
    /// [`Error::NotFound`] and others.
    pub async fn status(&self, path: &str) -> Result<Status, Error> {
        self.run(async |state: &mut Mounted<D>| {
            let located = state.resolve(path).await?;
            match (located.name, located.entry) {
                (None, _) => Ok(Status {
                    kind: EntryKind::Directory,
                    size: 0,
                    attributes: Attributes::DIRECTORY,
                    created: Timestamp::EPOCH,
                    modified: Timestamp::EPOCH,
                    accessed: Timestamp::EPOCH,
                }),
                (_, None) => Err(Error::NotFound { path: path.into() }),
                (_, Some(entry)) => Ok(status(&entry)),
            }
        })
        .await
    }

    /// Up to `most` entries of a folder, from `from` on (0 is the start). `.` and `..` are left out.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotADirectory`] and others.
    pub async fn list(&self, path: &str, from: u32, most: usize) -> Result<Listing, Error> {
        self.run(async |state: &mut Mounted<D>| {
            let directory = state.resolve_directory(path).await.map_err(|error| error.about(path))?;
            let extents = state.extents(directory).await.map_err(|error| error.about(path))?;
            let mut cursor = from;
            let mut entries = Vec::new();
            while entries.len() < most {
                match state.next_entry_in(&extents, &mut cursor, |_| true).await.map_err(|error| error.about(path))? {
                    Some(entry) => {
                        let status = status(&entry);
                        entries.push(ListedEntry { name: entry.name, status });
                    }
                    None => return Ok(Listing { entries, next: None }),
                }
            }
            Ok(Listing { entries, next: Some(cursor) })
        })
        .await
    }

    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::IsADirectory`], [`Error::AlreadyExists`] (with `exclusive`),
    /// [`Error::ReadOnly`], [`Error::ReadOnlyFile`] and others.
    pub async fn open(&self, path: &str, mode: OpenMode) -> Result<FileId, Error> {
        let now = self.clock.now();
        self.run(async |state: &mut Mounted<D>| {
            if mode.write && state.read_only {
                return Err(Error::ReadOnly);
            }
            let located = state.resolve(path).await?;
            let Some(name) = located.name else {
                return Err(Error::IsADirectory { path: path.into() });
            };
            let entry = match located.entry {
                Some(_) if mode.create && mode.exclusive => {
                    return Err(Error::AlreadyExists { path: path.into() });
                }
                Some(entry) => entry,
                None if mode.create && mode.write => state.create_file(located.directory, name, path, now).await?,
                None => return Err(Error::NotFound { path: path.into() }),
            };
            if entry.is_directory() {
                return Err(Error::IsADirectory { path: path.into() });
            }
            if mode.write && entry.data.attributes.contains(Attributes::READ_ONLY) {
                return Err(Error::ReadOnlyFile { path: path.into() });
            }
            let kind = if mode.write { OpeningKind::Write } else { OpeningKind::Read };
            let id = state.files.open(&entry, path.into(), kind)?;
            if mode.write && mode.truncate {
                let node = state.files.node_of(id, true)?;
                if let Err(error) = state.resize(node, 0, now).await {
                    state.files.close(id)?;
                    return Err(error.about(path));
                }
            }
            Ok(id)
        })
        .await
    }

    /// Opens a file to be read past the cache: what was written to it is on the disk then, and says where that is. It stays
    /// so until the file is closed.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and [`Error::InUse`] if it is open for writing.
    pub async fn open_direct(&self, path: &str) -> Result<(FileId, FileLayout), Error> {
        self.run(async |state: &mut Mounted<D>| {
            let located = state.resolve(path).await?;
            let entry = match (located.name, located.entry) {
                (None, _) => return Err(Error::IsADirectory { path: path.into() }),
                (_, None) => return Err(Error::NotFound { path: path.into() }),
                (_, Some(entry)) if entry.is_directory() => return Err(Error::IsADirectory { path: path.into() }),
                (_, Some(entry)) => entry,
            };
            let id = state.files.open(&entry, path.into(), OpeningKind::Direct)?;
            let node = state.files.node_of(id, false)?;
            match state.layout(node).await {
                Ok(layout) => Ok((id, layout)),
                Err(error) => {
                    state.files.close(id)?;
                    Err(error.about(path))
                }
            }
        })
        .await
    }

    /// Closes an open file. Changes stay in the cache until [`sync`](Self::sync).
    ///
    /// # Errors
    /// [`Error::UnknownFile`].
    pub async fn close(&self, id: FileId) -> Result<(), Error> {
        self.run(async |state: &mut Mounted<D>| state.files.close(id)).await
    }

    /// Length of an open file in bytes.
    ///
    /// # Errors
    /// [`Error::UnknownFile`].
    pub async fn length(&self, id: FileId) -> Result<u32, Error> {
        self.run_on_file(id, false, async |state: &mut Mounted<D>, node| Ok(state.files.node(node)?.size)).await
    }

    /// Reads into `buffer` from `offset` on. Gives fewer bytes only at the end of the file.
    ///
    /// # Errors
    /// [`Error::UnknownFile`], [`Error::Damaged`] and the disk's.
    pub async fn read(&self, id: FileId, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let length = buffer.len() as u64;
        let mut filled = 0;
        self.read_with(id, offset, length, |piece| {
            buffer[filled..filled + piece.len()].copy_from_slice(piece);
            filled += piece.len();
        })
        .await?;
        Ok(filled)
    }

    /// Reads up to `length` bytes from `offset` on and hands them to `sink` in pieces of at most 4 KiB, straight from
    /// the cache. Says how many bytes there were.
    ///
    /// # Errors
    /// As for [`read`](Self::read); pieces before the error have been handed over.
    pub async fn read_with(&self, id: FileId, offset: u64, length: u64, sink: impl FnMut(&[u8])) -> Result<u64, Error> {
        self.run_on_file(id, false, async |state: &mut Mounted<D>, node| {
            state.read_file(node, offset, length, sink).await
        })
        .await
    }

    /// Writes `bytes` at `offset`. A gap between the file's end and `offset` becomes zeros.
    ///
    /// # Errors
    /// [`Error::NoSpace`] (nothing was written), [`Error::FileTooLarge`], [`Error::NotOpenForWriting`] and others.
    pub async fn write(&self, id: FileId, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut rest = bytes;
        self.write_with(id, offset, bytes.len() as u64, |piece| {
            let (now, later) = rest.split_at(piece.len());
            piece.copy_from_slice(now);
            rest = later;
        })
        .await
    }

    /// Writes `length` bytes at `offset`; `source` fills them in, in pieces of at most 4 KiB, in order, straight in
    /// the cache.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub async fn write_with(
        &self,
        id: FileId,
        offset: u64,
        length: u64,
        source: impl FnMut(&mut [u8]),
    ) -> Result<(), Error> {
        let now = self.clock.now();
        self.run_on_file(id, true, async |state: &mut Mounted<D>, node| {
            state.write_file(node, offset, length, now, source).await
        })
        .await
    }

    /// Makes a file this long: cuts it, or appends zeros.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::FileTooLarge`], [`Error::NotOpenForWriting`] and others.
    pub async fn set_length(&self, id: FileId, length: u64) -> Result<(), Error> {
        let now = self.clock.now();
        self.run_on_file(id, true, async |state: &mut Mounted<D>, node| state.resize(node, length, now).await).await
    }

    /// Creates a folder.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::InvalidName`], [`Error::NoSpace`] and others.
    pub async fn make_directory(&self, path: &str) -> Result<(), Error> {
        let now = self.clock.now();
        self.run(async |state: &mut Mounted<D>| state.make_directory(path, now).await).await
    }

    /// Removes an empty folder.
    ///
    /// # Errors
    /// [`Error::DirectoryNotEmpty`], [`Error::NotADirectory`] and others.
    pub async fn remove_directory(&self, path: &str) -> Result<(), Error> {
        self.run(async |state: &mut Mounted<D>| state.remove_directory(path).await.map_err(|error| error.about(path)))
            .await
    }

    /// Removes a file.
    ///
    /// # Errors
    /// [`Error::IsADirectory`], [`Error::InUse`], [`Error::ReadOnlyFile`] and others.
    pub async fn remove_file(&self, path: &str) -> Result<(), Error> {
        self.run(async |state: &mut Mounted<D>| state.remove_file(path).await.map_err(|error| error.about(path))).await
    }

    /// Renames or moves a file or folder. With `replace`, a file that has the new name gives way (to a file).
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::IntoItself`], [`Error::NotFound`] and others.
    pub async fn rename(&self, from: &str, to: &str, replace: bool) -> Result<(), Error> {
        self.run(async |state: &mut Mounted<D>| {
            state.rename(from, to, replace).await.map_err(|error| error.about(from))
        })
        .await
    }

    /// Brings every change to the disk. What was done before is intact from here on, whatever happens.
    ///
    /// # Errors
    /// The disk's; what could not be written is kept and tried again by the next call.
    pub async fn sync(&self) -> Result<(), Error> {
        self.run(async |state: &mut Mounted<D>| state.sync().await).await
    }

    /// [`sync`](Self::sync), and marks the disk as unmounted until the next change. For quiet times: whoever stops
    /// the server then leaves a clean disk, which the next mount need not look through.
    ///
    /// # Errors
    /// As for [`sync`](Self::sync).
    pub async fn rest(&self) -> Result<(), Error> {
        self.run(async |state: &mut Mounted<D>| state.rest().await).await
    }

    /// Brings every change to the disk and marks it as unmounted. Everything after this answers
    /// [`Error::Unmounted`].
    ///
    /// # Errors
    /// The disk's; the volume then stays mounted.
    pub async fn unmount(&self) -> Result<(), Error> {
        self.run(async |state: &mut Mounted<D>| {
            state.rest().await?;
            state.unmounted = true;
            Ok(())
        })
        .await
    }

    /// Gives the disk back. Changes that were not synced are lost.
    pub fn into_device(self) -> D {
        self.state.into_inner().cache.into_device()
    }

    /// Bytes on the disk, whatever is mounted on it.
    pub async fn disk_bytes(&self) -> u64 {
        self.state.acquire().await.cache.device().geometry().sectors * SECTOR_SIZE as u64
    }
}
