//! Files and directories of one volume.
//!
//! Paths are absolute, with `/` between names. Files are open by number ([`FileId`]) in the server that has opened
//! them: a new instance answers [`FsError::UnknownSession`], and the client opens the file again.

use crate::sentences;
use userlib::ipc::{LeaseError, Text};
use userlib::{Value, interface};

/// Most bytes of a path.
pub const PATH_MAX: usize = 1024;
/// Most bytes of a name.
pub const NAME_MAX: usize = 765;

/// Why an operation on files was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Value)]
pub enum FsError {
    /// There is no such file or directory.
    NotFound,
    /// There is something with that name already.
    AlreadyExists,
    /// A part of the path that should be a directory is a file.
    NotADirectory,
    /// It is a directory.
    IsADirectory,
    /// The directory is not empty.
    DirectoryNotEmpty,
    /// The root directory cannot be removed or renamed.
    IsRoot,
    /// A directory cannot be moved into itself.
    IntoItself,
    /// The volume, or the file, can only be read.
    ReadOnly,
    /// The volume is full.
    NoSpace,
    /// The file would become larger than the volume's format allows.
    FileTooLarge,
    /// The name has characters that the volume's format does not allow.
    InvalidName,
    /// The name or path is too long.
    NameTooLong,
    /// The path does not begin with a slash, or is no UTF-8.
    InvalidPath,
    /// The file is open, so that it cannot be removed or replaced.
    InUse,
    /// The file is open for reading only.
    NotWritable,
    /// No more files can be open at once.
    TooManyOpen,
    /// The file is not open in this instance of the server.
    UnknownSession,
    /// The directory's cookie does not come from a listing of that directory.
    InvalidCookie,
    /// What was lent could not be read or written.
    BadLease,
    /// There is no disk.
    NoDisk,
    /// The disk holds no filesystem that the server knows.
    UnknownFormat,
    /// The filesystem contradicts itself.
    Damaged,
    /// The disk could not read or write.
    DeviceFailed,
    /// The server cannot do this.
    Unsupported,
}

sentences!(FsError {
    NotFound => "no such file or directory",
    AlreadyExists => "a file or directory with that name exists already",
    NotADirectory => "a part of the path is a file, not a directory",
    IsADirectory => "it is a directory",
    DirectoryNotEmpty => "the directory is not empty",
    IsRoot => "the root directory cannot be removed or renamed",
    IntoItself => "a directory cannot be moved into itself",
    ReadOnly => "the disk or the file can only be read",
    NoSpace => "the disk is full",
    FileTooLarge => "the file would become larger than the filesystem allows",
    InvalidName => "the name has characters that the filesystem does not allow",
    NameTooLong => "the name or the path is too long",
    InvalidPath => "the path is not absolute or is no valid text",
    InUse => "the file is open",
    NotWritable => "the file is open for reading only",
    TooManyOpen => "too many files are open",
    UnknownSession => "the file server was restarted, and the file is no longer open",
    InvalidCookie => "the position in the directory is not one that the file server has given",
    BadLease => "the lent memory could not be read or written",
    NoDisk => "there is no disk",
    UnknownFormat => "the disk holds no filesystem that is known here",
    Damaged => "the filesystem on the disk is damaged",
    DeviceFailed => "the disk could not read or write",
    Unsupported => "the file server cannot do this",
});

impl From<LeaseError> for FsError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::BadText => FsError::InvalidPath,
            _ => FsError::BadLease,
        }
    }
}

/// An open file, in the instance of the server that has opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Value)]
pub struct FileId(pub u64);

/// What an open file may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub enum Access {
    /// Reading.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// A file that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub struct OpenFile {
    /// Names it from now on.
    pub file: FileId,
    /// Its length in bytes.
    pub length: u64,
}

/// A file that was opened for direct reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub struct DirectFile {
    /// Names it from now on.
    pub file: FileId,
    /// Its length in bytes.
    pub length: u64,
    /// Names it in the ring that the client has joined ([`crate::file_ring`]); 0 if it has none, and reads by calls.
    pub window: u16,
}

/// What something in a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub enum NodeKind {
    /// A file.
    File,
    /// A directory.
    Directory,
}

/// What is known of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub struct Metadata {
    /// File or directory.
    pub kind: NodeKind,
    /// Length in bytes; 0 for a directory.
    pub length: u64,
    /// When its contents last changed, in seconds since 1970 in the volume's own time zone; 0 if unknown.
    pub modified: u64,
    /// Whether it can only be read.
    pub read_only: bool,
}

/// A part of a directory's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub struct Listing {
    /// Bytes of the output that are used.
    pub bytes: usize,
    /// Where to go on; `None` at the end.
    pub next: Option<u64>,
}

/// A mounted volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub struct VolumeInfo {
    /// Its label.
    pub label: Text<16>,
    /// Its format, such as "FAT32".
    pub format: Text<16>,
    /// Bytes of an allocation unit.
    pub unit: u32,
    /// Allocation units for data.
    pub units: u64,
    /// Those of them that are free.
    pub units_free: u64,
    /// Whether it can only be read.
    pub read_only: bool,
}

/// Files and directories.
#[interface(name = "filesystem", version = 1)]
pub trait Filesystem {
    /// Opens a file that exists.
    #[idempotent]
    fn open(path: &str, access: Access) -> Result<OpenFile, FsError>;

    /// Makes a new, empty file and opens it for reading and writing.
    fn create(path: &str) -> Result<OpenFile, FsError>;

    /// Joins the ring that the manifest gives the client ([`crate::file_ring`]): answers when nothing of what was asked for
    /// through it before is under way any more. What was open for direct reading is closed.
    #[idempotent]
    fn join_ring() -> Result<(), FsError>;

    /// Opens a file for direct reading through the ring: what is read goes from the disk to the ring's buffer area, and no
    /// cache serves it. While it is open it cannot be open for writing; the other way round it is `InUse`.
    #[idempotent]
    fn open_direct(path: &str) -> Result<DirectFile, FsError>;

    /// Closes a file.
    #[idempotent]
    fn close(file: FileId) -> Result<(), FsError>;

    /// Reads from a byte offset on. Fewer bytes than asked mean the end of the file.
    #[idempotent]
    fn read(file: FileId, offset: u64, bytes: &mut [u8]) -> Result<usize, FsError>;

    /// Writes at a byte offset; the file grows as needed, and a gap behind its end is filled with zeros. Returns how many
    /// bytes were written, which is all of them unless the volume is full.
    #[idempotent]
    fn write(file: FileId, offset: u64, bytes: &[u8]) -> Result<usize, FsError>;

    /// Cuts a file off, or fills it up with zeros, to a length.
    #[idempotent]
    fn truncate(file: FileId, length: u64) -> Result<(), FsError>;

    /// What is known of a file or directory.
    #[idempotent]
    fn metadata(path: &str) -> Result<Metadata, FsError>;

    /// A part of a directory's contents, as [`entries`] reads it. `cookie` is 0 at first.
    #[idempotent]
    fn list(path: &str, cookie: u64, output: &mut [u8]) -> Result<Listing, FsError>;

    /// Makes a directory.
    fn create_directory(path: &str) -> Result<(), FsError>;

    /// Removes an empty directory.
    fn remove_directory(path: &str) -> Result<(), FsError>;

    /// Removes a file.
    fn remove(path: &str) -> Result<(), FsError>;

    /// Gives a file or directory another path. A file at that path is replaced.
    fn rename(from: &str, to: &str) -> Result<(), FsError>;

    /// Answers when everything that this instance of the server has answered before is on the disk. Whether that is the one which
    /// has answered somebody's writes is told by `sync_file`.
    #[idempotent]
    fn sync() -> Result<(), FsError>;

    /// The volume.
    #[idempotent]
    fn volume() -> Result<VolumeInfo, FsError>;

    /// Answers when everything that was answered to whom has this file open, since it was opened, is on the disk. `UnknownSession`
    /// if the server was restarted since: what it had not brought to the disk by then is lost.
    #[idempotent]
    fn sync_file(file: FileId) -> Result<(), FsError>;
}

/// One entry of a [`Listing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryEntry<'a> {
    /// What it is.
    pub metadata: Metadata,
    /// Its name.
    pub name: &'a str,
}

/// Bytes of an entry before its name: length (8), time of change (8), name length (2), flags (1).
const ENTRY_HEADER: usize = 19;
const DIRECTORY: u8 = 1;
const READ_ONLY: u8 = 2;

impl DirectoryEntry<'_> {
    /// Bytes that the entry takes in a listing.
    pub fn size(&self) -> usize {
        ENTRY_HEADER + self.name.len()
    }

    /// Writes the entry to the start of `output` and returns its size; `None` if it does not fit.
    pub fn write(&self, output: &mut [u8]) -> Option<usize> {
        let length = u16::try_from(self.name.len()).ok()?;
        let output = output.get_mut(..self.size())?;
        let (header, name) = output.split_at_mut(ENTRY_HEADER);
        let mut flags = 0;
        if self.metadata.kind == NodeKind::Directory {
            flags |= DIRECTORY;
        }
        if self.metadata.read_only {
            flags |= READ_ONLY;
        }
        header[..8].copy_from_slice(&self.metadata.length.to_le_bytes());
        header[8..16].copy_from_slice(&self.metadata.modified.to_le_bytes());
        header[16..18].copy_from_slice(&length.to_le_bytes());
        header[18] = flags;
        name.copy_from_slice(self.name.as_bytes());
        Some(self.size())
    }
}

/// The entries in the used bytes of a listing; it ends at the first that makes no sense.
pub fn entries(bytes: &[u8]) -> impl Iterator<Item = DirectoryEntry<'_>> {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let (header, tail) = rest.split_first_chunk::<ENTRY_HEADER>()?;
        let word = |at: usize| header[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let length = u16::from_le_bytes([header[16], header[17]]).into();
        let flags = header[18];
        let name = core::str::from_utf8(tail.get(..length)?).ok()?;
        let entry = DirectoryEntry {
            metadata: Metadata {
                kind: if flags & DIRECTORY != 0 { NodeKind::Directory } else { NodeKind::File },
                length: word(0)?,
                modified: word(8)?,
                read_only: flags & READ_ONLY != 0,
            },
            name,
        };
        rest = &tail[length..];
        Some(entry)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(name: &str, kind: NodeKind) -> DirectoryEntry<'_> {
        DirectoryEntry {
            metadata: Metadata {
                kind,
                length: 0x1234_5678_9abc,
                modified: 1_700_000_000,
                read_only: kind == NodeKind::File,
            },
            name,
        }
    }

    #[test]
    fn a_listing_is_read_as_it_was_written() {
        let written = [entry("a", NodeKind::File), entry("Grüße.txt", NodeKind::Directory), entry("", NodeKind::File)];
        let mut bytes = [0; 200];
        let mut used = 0;
        for entry in &written {
            used += entry.write(&mut bytes[used..]).unwrap();
        }
        assert!(entries(&bytes[..used]).eq(written));
    }

    #[test]
    fn an_entry_that_does_not_fit_is_not_written() {
        let entry = entry("name", NodeKind::File);
        let mut bytes = [0; ENTRY_HEADER + 3];
        assert_eq!(entry.write(&mut bytes), None);
        assert_eq!(bytes, [0; ENTRY_HEADER + 3]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_as_some_listing(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let total: usize = entries(&bytes).map(|entry| entry.size()).sum();
            prop_assert!(total <= bytes.len());
        }
    }
}
