//! What can go wrong, in sentences: what was wrong, where, and what to do about it.

use crate::device::DeviceError;
use alloc::string::String;
use core::fmt;

/// Why an operation on a mounted volume was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Nothing has this name.
    NotFound {
        /// The path that was asked for.
        path: String,
    },
    /// Something has this name already.
    AlreadyExists {
        /// The path that is taken.
        path: String,
    },
    /// A folder was needed, this is a file.
    NotADirectory {
        /// The path of the file.
        path: String,
    },
    /// A file was needed, this is a folder.
    IsADirectory {
        /// The path of the folder.
        path: String,
    },
    /// The folder still has something in it.
    DirectoryNotEmpty {
        /// The path of the folder.
        path: String,
    },
    /// FAT cannot store this name.
    InvalidName {
        /// The name.
        name: String,
        /// What is wrong with it.
        fault: NameFault,
    },
    /// The root folder can be neither renamed, removed nor replaced.
    IsRoot,
    /// A folder cannot be moved into itself.
    IntoItself {
        /// The folder.
        from: String,
        /// Where it should have gone.
        to: String,
    },
    /// Every cluster is taken.
    NoSpace,
    /// A root folder of fixed size (FAT12, FAT16) has no room for another name.
    RootDirectoryFull,
    /// A folder has reached the format's limit of 65,536 slots.
    DirectoryTooLarge {
        /// The path of the folder.
        path: String,
    },
    /// A FAT file ends at 4 GiB less one byte.
    FileTooLarge {
        /// The length that was asked for.
        length: u64,
    },
    /// The volume is mounted read-only.
    ReadOnly,
    /// The file has the read-only attribute.
    ReadOnlyFile {
        /// The path of the file.
        path: String,
    },
    /// The file was opened for reading only.
    NotOpenForWriting,
    /// The file is open, so it can be neither removed nor replaced.
    InUse {
        /// The path of the file.
        path: String,
    },
    /// The number names no open file (any more).
    UnknownFile,
    /// As many files are open as the server allows.
    TooManyOpenFiles,
    /// The file system's own records contradict themselves.
    Damaged {
        /// The file, folder or structure whose records these are.
        object: String,
        /// The contradiction.
        damage: Damage,
    },
    /// The disk failed.
    Device(DeviceError),
    /// The volume has been unmounted.
    Unmounted,
    /// An earlier operation was abandoned half-way, so that what memory says about the disk cannot be trusted.
    Abandoned,
}

/// What is wrong with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameFault {
    /// The name has no characters.
    Empty,
    /// The name has more than 255 UTF-16 units.
    TooLong,
    /// The name has a character that FAT reserves.
    Character(char),
    /// The name ends in a full stop or a space, which other systems drop.
    Ending,
}

/// A contradiction in the file system's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// A chain of clusters comes back to a cluster that it has passed.
    Loop {
        /// First cluster of the chain.
        first: u32,
    },
    /// A chain goes on into a number that is no cluster of the volume.
    OutOfRange {
        /// The cluster whose entry says so; 0 for a directory record.
        after: u32,
        /// The number.
        value: u32,
    },
    /// A chain goes on into a cluster that is marked free.
    Free {
        /// The free cluster.
        cluster: u32,
    },
    /// A chain goes on into a cluster that is marked bad.
    Bad {
        /// The bad cluster.
        cluster: u32,
    },
    /// A chain ends before the file does.
    TooShort {
        /// First cluster of the chain; 0 if the file has none.
        first: u32,
        /// Clusters in the chain.
        clusters: u32,
    },
    /// A folder's chain is longer than the 65,536 slots that a folder may have.
    DirectoryTooLong {
        /// First cluster of the chain.
        first: u32,
    },
    /// Two files or folders have the same cluster.
    Shared {
        /// The cluster.
        cluster: u32,
    },
    /// A folder contains itself, or folders are nested beyond any reason.
    Nesting {
        /// First cluster of the innermost folder.
        first: u32,
    },
    /// A folder does not start with its `.` and `..` records.
    NoDotRecords {
        /// First cluster of the folder.
        first: u32,
    },
}

impl Error {
    /// The same error, naming `object` if it is about damage and names nothing yet.
    pub(crate) fn about(self, object: &str) -> Self {
        match self {
            Self::Damaged { object: known, damage } if known.is_empty() => {
                Self::Damaged { object: object.into(), damage }
            }
            other => other,
        }
    }
}

impl From<DeviceError> for Error {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

impl From<Damage> for Error {
    fn from(damage: Damage) -> Self {
        Self::Damaged { object: String::new(), damage }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { path } => write!(f, "{path}: there is no such file or folder"),
            Self::AlreadyExists { path } => write!(f, "{path}: exists already; remove it first or choose another name"),
            Self::NotADirectory { path } => write!(f, "{path}: is a file, not a folder"),
            Self::IsADirectory { path } => write!(f, "{path}: is a folder, not a file"),
            Self::DirectoryNotEmpty { path } => {
                write!(f, "{path}: the folder is not empty; remove what is in it first")
            }
            Self::InvalidName { name, fault } => write!(f, "\"{name}\" is no name for a file on FAT: {fault}"),
            Self::IsRoot => f.write_str("the root folder can be neither renamed, removed nor replaced"),
            Self::IntoItself { from, to } => {
                write!(f, "{from}: a folder cannot be moved into itself ({to})")
            }
            Self::NoSpace => f.write_str("the disk is full: remove files to make room"),
            Self::RootDirectoryFull => f.write_str(
                "the root folder of this disk has a fixed size and is full: remove files from it or use a folder",
            ),
            Self::DirectoryTooLarge { path } => {
                write!(f, "{path}: a FAT folder holds at most 65,536 slots; use another folder")
            }
            Self::FileTooLarge { length } => {
                write!(f, "a FAT file ends at 4,294,967,295 bytes; {length} were asked for")
            }
            Self::ReadOnly => f.write_str("the disk is mounted read-only"),
            Self::ReadOnlyFile { path } => write!(f, "{path}: the file is marked read-only"),
            Self::NotOpenForWriting => f.write_str("the file was opened for reading only"),
            Self::InUse { path } => write!(f, "{path}: the file is open; close it first"),
            Self::UnknownFile => f.write_str("this number names no open file; open the file again"),
            Self::TooManyOpenFiles => f.write_str("too many files are open; close some first"),
            Self::Damaged { object, damage } if object.is_empty() => {
                write!(f, "the file system is damaged: {damage}; check the disk with fsck.fat")
            }
            Self::Damaged { object, damage } => {
                write!(f, "{object}: the file system is damaged: {damage}; check the disk with fsck.fat")
            }
            Self::Device(error) => error.fmt(f),
            Self::Unmounted => f.write_str("the disk has been unmounted"),
            Self::Abandoned => f.write_str(
                "an operation on this disk was abandoned half-way; restart the file server to mount it afresh",
            ),
        }
    }
}

impl fmt::Display for NameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TooLong => f.write_str("it is longer than 255 characters"),
            Self::Character(c) => write!(f, "it contains {c:?}"),
            Self::Ending => f.write_str("it ends in a full stop or a space"),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loop { first } => write!(f, "the chain from cluster {first} runs in a circle"),
            Self::OutOfRange { after: 0, value } => {
                write!(f, "its directory record names cluster {value}, which does not exist")
            }
            Self::OutOfRange { after, value } => {
                write!(f, "cluster {after} is followed by {value}, which is no cluster of this volume")
            }
            Self::Free { cluster } => write!(f, "cluster {cluster} is in use but marked free"),
            Self::Bad { cluster } => write!(f, "cluster {cluster} is in use but marked bad"),
            Self::TooShort { first, clusters } => {
                write!(f, "the chain from cluster {first} ends after {clusters} clusters, before the file does")
            }
            Self::DirectoryTooLong { first } => {
                write!(f, "the folder at cluster {first} is longer than a folder can be")
            }
            Self::Shared { cluster } => write!(f, "cluster {cluster} belongs to two files"),
            Self::Nesting { first } => {
                write!(f, "the folder at cluster {first} contains itself or is nested too deeply")
            }
            Self::NoDotRecords { first } => {
                write!(f, "the folder at cluster {first} does not start with '.' and '..'")
            }
        }
    }
}

impl core::error::Error for Error {}

/// Why a disk was not mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountError {
    /// The disk failed while its first sectors were read.
    Device(DeviceError),
    /// The disk has too few sectors for any file system.
    TooSmall {
        /// Its number of sectors.
        sectors: u64,
    },
    /// The first sector is all zeros and nothing else is there.
    Empty,
    /// The disk holds something else that we recognise.
    Foreign {
        /// What it is.
        what: &'static str,
    },
    /// The disk has a partition table without a FAT partition.
    NoFatPartition {
        /// The type bytes of its four entries; 0 is an unused entry.
        types: [u8; 4],
    },
    /// Nothing that we recognise.
    NotFat,
    /// It is FAT, but the boot sector makes no sense.
    DamagedBootSector {
        /// The boot sector's number on the disk.
        sector: u64,
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
        /// What the value should have been.
        expected: &'static str,
        /// Where there is a good copy of the boot sector.
        backup: Option<u64>,
    },
    /// The volume is larger than the disk (a copy that was cut off).
    Truncated {
        /// Sectors that the volume claims.
        claimed: u64,
        /// Sectors that are there.
        present: u64,
    },
    /// Sectors of another size than 512 bytes.
    SectorSize {
        /// Bytes in a sector, as the volume says.
        bytes: u16,
    },
}

impl From<DeviceError> for MountError {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => error.fmt(f),
            Self::TooSmall { sectors } => {
                write!(f, "the disk has only {sectors} sectors, too few for a FAT file system")
            }
            Self::Empty => {
                f.write_str("the disk is empty (its first sector is all zeros): make a file system with mkfs.fat")
            }
            Self::Foreign { what } => {
                write!(f, "the disk holds {what}, not FAT: attach a disk with a FAT file system")
            }
            Self::NoFatPartition { types } => {
                f.write_str("the disk has a partition table without a FAT partition (types")?;
                for kind in types.iter().filter(|kind| **kind != 0) {
                    write!(f, " {kind:#04x}")?;
                }
                f.write_str("): make a FAT partition or use a disk without partitions")
            }
            Self::NotFat => f.write_str(
                "the disk holds neither a FAT file system nor a partition table (sector 0 is neither): \
                 make a file system with mkfs.fat",
            ),
            Self::DamagedBootSector { sector, field, value, expected, backup } => {
                write!(
                    f,
                    "the FAT boot sector (sector {sector}) is damaged: {field} is {value}, expected {expected}; "
                )?;
                match backup {
                    Some(copy) => write!(f, "sector {copy} has a good copy that fsck.fat can restore"),
                    None => f.write_str("restore the disk from a copy"),
                }
            }
            Self::Truncated { claimed, present } => write!(
                f,
                "the FAT volume claims {claimed} sectors but the disk has {present}: it was cut off when it was copied"
            ),
            Self::SectorSize { bytes } => write!(
                f,
                "the FAT volume has sectors of {bytes} bytes; only 512 are supported: make it again with mkfs.fat -S 512"
            ),
        }
    }
}

impl core::error::Error for MountError {}
