//! The interface `filesystem` on a mounted volume.

use crate::direct::Direct;
use crate::{
    Attributes, BlockDevice, Clock, DeviceError, EntryKind, Error, FatKind, NameFault, OpenMode, Status, Volume,
};
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use core::cell::RefCell;
use interfaces::filesystem::{
    Access, DirectFile, DirectoryEntry, FileId, FilesystemServer, FsError, Listing, Metadata, NodeKind, OpenFile,
    PATH_MAX, VolumeInfo,
};
use userlib::block_ring::Window;
use userlib::ipc::{Caller, ReadLease, Text, WriteLease};
use userlib::log;
use userlib::session::{OpenError, Place, Register, SessionId, Sessions, UnknownSession};

/// Bytes that are taken out of a lease at once.
const PIECE: usize = 64 << 10;
/// Entries of a directory that are listed at once at most.
const LIST_ENTRIES: usize = 64;

/// Files that one client may have open at once.
pub const FILES_PER_CLIENT: usize = 64;

/// What there is to serve.
pub enum Disposition<D: BlockDevice, C: Clock> {
    /// The volume.
    Mounted(Rc<Volume<D, C>>),
    /// No volume, for this reason.
    Failed(FsError),
}

/// The state of the server, shared by its tasks.
pub struct State<D: BlockDevice, C: Clock> {
    disposition: RefCell<Disposition<D, C>>,
    sessions: Sessions<Opened>,
    direct: RefCell<Option<Rc<Direct>>>,
}

/// A file that a client has open.
struct Opened {
    id: crate::FileId,
    /// If it is open for direct reading through a ring.
    window: Option<Window>,
}

impl<D: BlockDevice, C: Clock> State<D, C> {
    /// Instance `instance` of a server, without a disk as yet. `clients` tells which clients are gone.
    pub fn new(instance: u32, clients: Option<Register<'static>>) -> Self {
        let sessions = Sessions::of_instance(instance, FILES_PER_CLIENT, clients);
        Self { disposition: RefCell::new(Disposition::Failed(FsError::NoDisk)), sessions, direct: RefCell::new(None) }
    }

    /// Closes what clients had open when they died, for ever or until the volume is unmounted.
    pub async fn close_departed(&self) {
        loop {
            for file in self.sessions.departed().await {
                let Ok(volume) = self.volume() else { continue };
                self.end_direct(file.window).await;
                match volume.close(file.id).await {
                    Ok(()) => log::info!("a client died with a file open; it is closed"),
                    Err(Error::Unmounted) => return,
                    Err(error) => log::error!("a file that a client had open when it died cannot be closed: {error}"),
                }
            }
        }
    }

    /// From now on clients with a ring can read directly.
    pub fn set_direct(&self, direct: Rc<Direct>) {
        *self.direct.borrow_mut() = Some(direct);
    }

    /// Lets nothing be read any more where a file lies that is about to be closed.
    async fn end_direct(&self, window: Option<Window>) {
        let direct = self.direct.borrow().clone();
        if let (Some(window), Some(direct)) = (window, direct) {
            direct.close(window).await;
        }
    }

    /// From now on there is this to serve.
    pub fn dispose(&self, disposition: Disposition<D, C>) {
        *self.disposition.borrow_mut() = disposition;
    }

    /// The volume.
    ///
    /// # Errors
    /// Why there is none.
    pub fn volume(&self) -> Result<Rc<Volume<D, C>>, FsError> {
        match &*self.disposition.borrow() {
            Disposition::Mounted(volume) => Ok(volume.clone()),
            Disposition::Failed(error) => Err(*error),
        }
    }
}

/// Answers requests.
pub struct Files<D: BlockDevice, C: Clock> {
    state: Rc<State<D, C>>,
}

impl<D: BlockDevice, C: Clock> Files<D, C> {
    /// A server of what `state` holds.
    pub fn new(state: Rc<State<D, C>>) -> Self {
        Files { state }
    }

    fn file(&self, caller: &Caller, id: FileId) -> Result<(Rc<Volume<D, C>>, crate::FileId), FsError> {
        let file = self.state.sessions.find(caller, SessionId::from_number(id.0)).map_err(unknown)?;
        Ok((self.state.volume()?, file.id))
    }

    async fn open_as(&self, caller: &Caller, path: &ReadLease, mode: OpenMode) -> Result<OpenFile, FsError> {
        let path = path_of(path)?;
        let volume = self.state.volume()?;
        let place = self.reserve(caller)?;
        let file = volume.open(&path, mode).await.map_err(explain)?;
        self.keep(place, &volume, Opened { id: file, window: None }).await
    }

    fn reserve(&self, caller: &Caller) -> Result<Place<'_, Opened>, FsError> {
        self.state.sessions.reserve(caller).map_err(|error| match error {
            OpenError::TooMany => FsError::TooManyOpen,
            OpenError::ClientGone => FsError::UnknownSession,
        })
    }

    /// Keeps a file that was opened, or closes it.
    async fn keep(&self, place: Place<'_, Opened>, volume: &Volume<D, C>, opened: Opened) -> Result<OpenFile, FsError> {
        let (id, window) = (opened.id, opened.window);
        let kept = match volume.length(id).await {
            // A client that has died meanwhile closes nothing any more.
            Ok(length) => place.open(opened).map(|id| (id, length)).map_err(|_| FsError::UnknownSession),
            Err(error) => Err(explain(error)),
        };
        match kept {
            Ok((id, length)) => Ok(OpenFile { file: FileId(id.to_number()), length: length.into() }),
            Err(error) => {
                self.state.end_direct(window).await;
                volume.close(id).await.map_err(explain)?;
                Err(error)
            }
        }
    }

    fn direct(&self) -> Result<Rc<Direct>, FsError> {
        self.state.direct.borrow().clone().ok_or(FsError::Unsupported)
    }
}

impl<D: BlockDevice + 'static, C: Clock + 'static> FilesystemServer for Files<D, C> {
    async fn open(&self, caller: &Caller, path: ReadLease, access: Access) -> Result<OpenFile, FsError> {
        let mode = match access {
            Access::Read => OpenMode::READ,
            Access::ReadWrite => OpenMode::WRITE,
        };
        self.open_as(caller, &path, mode).await
    }

    async fn create(&self, caller: &Caller, path: ReadLease) -> Result<OpenFile, FsError> {
        let mode = OpenMode { create: true, exclusive: true, ..OpenMode::WRITE };
        self.open_as(caller, &path, mode).await
    }

    async fn join_ring(&self, caller: &Caller) -> Result<(), FsError> {
        self.state.volume()?;
        self.direct()?.join(caller.client()).await
    }

    async fn open_direct(&self, caller: &Caller, path: ReadLease) -> Result<DirectFile, FsError> {
        let path = path_of(&path)?;
        let (volume, direct) = (self.state.volume()?, self.direct()?);
        let place = self.reserve(caller)?;
        let (id, layout) = volume.open_direct(&path).await.map_err(explain)?;
        let window = match direct.open(caller.client(), &layout) {
            Ok(window) => window,
            Err(error) => {
                volume.close(id).await.map_err(explain)?;
                return Err(error);
            }
        };
        let number = window.map_or(0, Window::number);
        let OpenFile { file, length } = self.keep(place, &volume, Opened { id, window }).await?;
        Ok(DirectFile { file, length, window: number })
    }

    async fn close(&self, caller: &Caller, file: FileId) -> Result<(), FsError> {
        let volume = self.state.volume()?;
        let file = self.state.sessions.close(caller, SessionId::from_number(file.0)).map_err(unknown)?;
        self.state.end_direct(file.window).await;
        volume.close(file.id).await.map_err(explain)
    }

    async fn read(&self, caller: &Caller, file: FileId, offset: u64, bytes: WriteLease) -> Result<usize, FsError> {
        let (volume, file) = self.file(caller, file)?;
        let length = bytes.length()? as u64;
        let mut done = 0;
        let mut lease = Ok(());
        let sink = |piece: &[u8]| {
            if lease.is_ok() {
                lease = bytes.write(done, piece);
                done += piece.len();
            }
        };
        volume.read_with(file, offset, length, sink).await.map_err(explain)?;
        lease?;
        Ok(done)
    }

    async fn write(&self, caller: &Caller, file: FileId, offset: u64, bytes: ReadLease) -> Result<usize, FsError> {
        let (volume, file) = self.file(caller, file)?;
        let length = bytes.length()?;
        let mut piece = vec![0; PIECE.min(length)];
        let mut done = 0;
        while done < length {
            let count = PIECE.min(length - done);
            bytes.read(done, &mut piece[..count])?;
            let at = offset.checked_add(done as u64).ok_or(FsError::FileTooLarge)?;
            match volume.write(file, at, &piece[..count]).await {
                Ok(()) => done += count,
                // What is written is written: the caller learns how far it came.
                Err(Error::NoSpace) if done > 0 => break,
                Err(error) => return Err(explain(error)),
            }
        }
        Ok(done)
    }

    async fn truncate(&self, caller: &Caller, file: FileId, length: u64) -> Result<(), FsError> {
        let (volume, file) = self.file(caller, file)?;
        volume.set_length(file, length).await.map_err(explain)
    }

    async fn metadata(&self, _: &Caller, path: ReadLease) -> Result<Metadata, FsError> {
        let path = path_of(&path)?;
        let status = self.state.volume()?.status(&path).await.map_err(explain)?;
        Ok(metadata_of(&status))
    }

    async fn list(&self, _: &Caller, path: ReadLease, cookie: u64, output: WriteLease) -> Result<Listing, FsError> {
        let path = path_of(&path)?;
        let volume = self.state.volume()?;
        let from = u32::try_from(cookie).map_err(|_| FsError::InvalidCookie)?;
        let room = output.length()?;
        // As many entries as fit for certain are asked for; one at least, so that a listing always goes on.
        let most = (room / 64).clamp(1, LIST_ENTRIES);
        let mut wanted = most;
        loop {
            let listing = volume.list(&path, from, wanted).await.map_err(explain)?;
            let mut bytes = vec![0; room.min(PIECE)];
            let mut used = 0;
            let mut fits = true;
            for entry in &listing.entries {
                let written = DirectoryEntry { metadata: metadata_of(&entry.status), name: &entry.name };
                match written.write(&mut bytes[used..]) {
                    Some(size) => used += size,
                    None => fits = false,
                }
            }
            if fits {
                output.write(0, &bytes[..used])?;
                return Ok(Listing { bytes: used, next: listing.next.map(u64::from) });
            }
            if wanted == 1 {
                return Err(FsError::BadLease);
            }
            wanted = wanted.div_ceil(2);
        }
    }

    async fn create_directory(&self, _: &Caller, path: ReadLease) -> Result<(), FsError> {
        let path = path_of(&path)?;
        self.state.volume()?.make_directory(&path).await.map_err(explain)
    }

    async fn remove_directory(&self, _: &Caller, path: ReadLease) -> Result<(), FsError> {
        let path = path_of(&path)?;
        self.state.volume()?.remove_directory(&path).await.map_err(explain)
    }

    async fn remove(&self, _: &Caller, path: ReadLease) -> Result<(), FsError> {
        let path = path_of(&path)?;
        self.state.volume()?.remove_file(&path).await.map_err(explain)
    }

    async fn rename(&self, _: &Caller, from: ReadLease, to: ReadLease) -> Result<(), FsError> {
        let (from, to) = (path_of(&from)?, path_of(&to)?);
        self.state.volume()?.rename(&from, &to, true).await.map_err(explain)
    }

    async fn sync(&self, _: &Caller) -> Result<(), FsError> {
        self.state.volume()?.sync().await.map_err(explain)
    }

    async fn sync_file(&self, caller: &Caller, file: FileId) -> Result<(), FsError> {
        // A cache that died with its instance is not there to be written: the file's number tells.
        let (volume, _) = self.file(caller, file)?;
        volume.sync().await.map_err(explain)
    }

    async fn volume(&self, _: &Caller) -> Result<VolumeInfo, FsError> {
        let volume = self.state.volume()?;
        let space = volume.space().await.map_err(explain)?;
        let info = volume.info();
        let unit = u64::from(info.cluster_bytes.max(1));
        let format = match info.kind {
            FatKind::Fat12 => "FAT12",
            FatKind::Fat16 => "FAT16",
            FatKind::Fat32 => "FAT32",
        };
        Ok(VolumeInfo {
            label: Text::new(""),
            format: Text::new(format),
            unit: info.cluster_bytes,
            units: space.total / unit,
            units_free: space.free / unit,
            read_only: info.read_only,
        })
    }
}

fn unknown(_: UnknownSession) -> FsError {
    FsError::UnknownSession
}

fn path_of(lease: &ReadLease) -> Result<String, FsError> {
    let path = lease.to_text(PATH_MAX)?;
    if path.starts_with('/') { Ok(path) } else { Err(FsError::InvalidPath) }
}

fn metadata_of(status: &Status) -> Metadata {
    Metadata {
        kind: match status.kind {
            EntryKind::File => NodeKind::File,
            EntryKind::Directory => NodeKind::Directory,
        },
        length: status.size.into(),
        modified: status.modified.to_unix(),
        read_only: status.attributes.contains(Attributes::READ_ONLY),
    }
}

/// The error as clients know it. What names places on the disk goes to the log, for whoever looks after it.
fn explain(error: Error) -> FsError {
    match &error {
        Error::Damaged { .. } | Error::Device(_) | Error::Abandoned => log::error!("{error}"),
        _ => {}
    }
    match error {
        Error::NotFound { .. } => FsError::NotFound,
        Error::AlreadyExists { .. } => FsError::AlreadyExists,
        Error::NotADirectory { .. } => FsError::NotADirectory,
        Error::IsADirectory { .. } => FsError::IsADirectory,
        Error::DirectoryNotEmpty { .. } => FsError::DirectoryNotEmpty,
        Error::InvalidName { fault: NameFault::TooLong, .. } => FsError::NameTooLong,
        Error::InvalidName { .. } => FsError::InvalidName,
        Error::IsRoot => FsError::IsRoot,
        Error::IntoItself { .. } => FsError::IntoItself,
        Error::NoSpace | Error::RootDirectoryFull | Error::DirectoryTooLarge { .. } => FsError::NoSpace,
        Error::FileTooLarge { .. } => FsError::FileTooLarge,
        Error::ReadOnly | Error::ReadOnlyFile { .. } | Error::Device(DeviceError::ReadOnly) => FsError::ReadOnly,
        Error::NotOpenForWriting => FsError::NotWritable,
        Error::InUse { .. } => FsError::InUse,
        Error::UnknownFile => FsError::UnknownSession,
        Error::TooManyOpenFiles => FsError::TooManyOpen,
        Error::Damaged { .. } | Error::Abandoned => FsError::Damaged,
        Error::Device(DeviceError::Gone) | Error::Unmounted => FsError::NoDisk,
        Error::Device(_) => FsError::DeviceFailed,
    }
}
