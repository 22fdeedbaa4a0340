//! FAT disk images on the host: made, checked and read back without the help of the system under test.

mod contents;
mod volume;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use fatfs::{FileSystem, FsOptions};
use sha2::{Digest, Sha256};

use crate::progress::Step;
use crate::workspace::{self, find_program};

/// A disk's block, the unit that its size is a multiple of.
pub const BLOCK: u64 = 512;

/// Size of the default disk: with clusters of 2 KiB it has about 80,000, and from 65,525 on a FAT is FAT32.
const DEFAULT_SIZE: u64 = 160 << 20;
const DEFAULT_CLUSTER: u32 = 2048;

/// The folder of the default disk that holds one file of exactly 16 MiB, and its name there.
pub const BIG_FILE: &str = "big16m.bin";

/// Images are read with a library by other authors, so that a mistake of ours is not made twice. It wants what can be
/// written, even for reading: a copy in memory.
type Storage = Cursor<Vec<u8>>;
type Fat = FileSystem<Storage>;

/// Why a disk image is not usable.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The file cannot be read or written.
    #[error("the disk image {path}: {source}")]
    File {
        /// The image.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is a folder, a pipe, or something else that cannot be a disk.
    #[error("{0} is not a file or a block device, so it cannot be a disk")]
    NotAFile(PathBuf),
    /// Its size is no multiple of a block.
    #[error(
        "{path} has {size} bytes, which is not a multiple of {BLOCK}: not a raw disk image, or one that was cut short"
    )]
    BadSize {
        /// The image.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// The filesystem on it cannot be read.
    #[error("the filesystem on {path} cannot be read: {source}")]
    Filesystem {
        /// The image.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// The checker cannot be started.
    #[error("cannot start fsck.fat: {0}; `cargo xtask setup` installs it")]
    NoChecker(io::Error),
}

impl DiskError {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }

    fn filesystem(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Filesystem { path, source }
    }
}

/// Checks that `path` can be a machine's disk; returns whether it may only be read.
///
/// # Errors
///
/// [`DiskError`] if it is missing, no file, unreadable, or of a size that no disk has.
pub fn check_image(path: &Path) -> Result<ReadOnly, DiskError> {
    use std::os::unix::fs::FileTypeExt;

    let kind = fs::metadata(path).map_err(DiskError::file(path))?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Err(DiskError::NotAFile(path.to_owned()));
    }
    let mut file = File::open(path).map_err(DiskError::file(path))?;
    // The end of a block device is found by seeking; its metadata says zero.
    let size = file.seek(SeekFrom::End(0)).map_err(DiskError::file(path))?;
    if !size.is_multiple_of(BLOCK) {
        return Err(DiskError::BadSize { path: path.to_owned(), size });
    }
    Ok(ReadOnly(OpenOptions::new().write(true).open(path).is_err()))
}

/// Whether an image may only be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOnly(pub bool);

/// The disk that a person's machine has unless they name one. It is made once and then keeps what was written to it.
///
/// # Errors
///
/// [`DiskError`] if it cannot be made.
pub fn default_image() -> Result<PathBuf, DiskError> {
    let path = workspace::system_target().join("disk.img");
    if !path.exists() {
        let step = Step::start(format!("Making a disk with files to try things on: {}", path.display()));
        write_default(&path)?;
        step.done("");
    }
    Ok(path)
}

/// Writes a fresh default disk to `path`: always the same bytes.
///
/// # Errors
///
/// [`DiskError`] if it cannot be written.
pub fn write_default(path: &Path) -> Result<(), DiskError> {
    write_volume(path, DEFAULT_SIZE, DEFAULT_CLUSTER, &contents::folder())
}

/// Writes an empty FAT32 filesystem of `size` bytes to `path`; `cluster` is the size of a cluster in bytes.
///
/// # Errors
///
/// [`DiskError`] if it cannot be written or the sizes do not give a FAT32.
pub fn write_empty(path: &Path, size: u64, cluster: u32) -> Result<(), DiskError> {
    write_volume(path, size, cluster, &volume::Folder::default())
}

/// The file of the disk that [`write_load`] makes.
pub const LOAD_FILE: &str = "load.bin";

/// Writes a disk of 280 MiB to `path`, in clusters of 4 KiB, with one file of so many bytes: the word of eight bytes with number
/// `n` in it is `(n + 1) * 0x9e3779b97f4a7c15`.
///
/// # Errors
///
/// [`DiskError`] if it cannot be written.
pub fn write_load(path: &Path, bytes: u64) -> Result<(), DiskError> {
    const SIZE: u64 = 280 << 20;
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut root = volume::Folder::default();
    root.file(LOAD_FILE, (1..=bytes / 8).flat_map(|number| number.wrapping_mul(STEP).to_le_bytes()).collect());
    write_volume(path, SIZE, 4096, &root)
}

fn write_volume(path: &Path, size: u64, cluster: u32, root: &volume::Folder) -> Result<(), DiskError> {
    let image =
        volume::write(size, cluster, *b"BULKHEAD   ", 0xb01c_4ead, root).map_err(DiskError::filesystem(path))?;
    write_sparse(path, &image).map_err(DiskError::file(path))
}

/// The filesystem in `image`.
fn open(image: Vec<u8>) -> io::Result<Fat> {
    FileSystem::new(Cursor::new(image), FsOptions::new())
}

/// Writes `bytes` without the blocks that are all zeros, and so that an interrupted write leaves no disk behind.
pub(crate) fn write_sparse(path: &Path, bytes: &[u8]) -> io::Result<()> {
    const PIECE: usize = 64 << 10;
    let part = path.with_extension(format!("part-{}", std::process::id()));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = File::create(&part)?;
    file.set_len(bytes.len() as u64)?;
    for (number, piece) in bytes.chunks(PIECE).enumerate() {
        if piece.iter().any(|&byte| byte != 0) {
            file.seek(SeekFrom::Start((number * PIECE) as u64))?;
            file.write_all(piece)?;
        }
    }
    fs::rename(part, path)
}

/// A file on a disk image, as the host reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Its length in bytes.
    pub size: u64,
    /// The SHA-256 of its contents.
    pub sha256: [u8; 32],
}

impl Fingerprint {
    /// The fingerprint of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self { size: bytes.len() as u64, sha256: Sha256::digest(bytes).into() }
    }

    /// The SHA-256 as 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.sha256.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.hex(), self.size)
    }
}

/// What is on a disk image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Every file, by its path from the root, such as `/docs/letter.txt`.
    pub files: BTreeMap<String, Fingerprint>,
    /// Every folder but the root, by its path.
    pub folders: Vec<String>,
}

/// Reads every file of the FAT filesystem on `image`.
///
/// # Errors
///
/// [`DiskError`] if the image or the filesystem cannot be read.
pub fn inventory(image: &Path) -> Result<Inventory, DiskError> {
    // The library takes only what can be written, so it gets the bytes in memory.
    let bytes = fs::read(image).map_err(DiskError::file(image))?;
    let filesystem = open(bytes).map_err(DiskError::filesystem(image))?;
    let mut found = Inventory::default();
    walk(&filesystem.root_dir(), "", &mut found).map_err(DiskError::filesystem(image))?;
    found.folders.sort();
    Ok(found)
}

/// The bytes of one file on `image`; `path` is from the root, with or without a slash in front.
///
/// # Errors
///
/// [`DiskError`] if there is no such file.
pub fn read_file(image: &Path, path: &str) -> Result<Vec<u8>, DiskError> {
    let bytes = fs::read(image).map_err(DiskError::file(image))?;
    let filesystem = open(bytes).map_err(DiskError::filesystem(image))?;
    let mut contents = Vec::new();
    filesystem
        .root_dir()
        .open_file(path.trim_start_matches('/'))
        .and_then(|mut file| file.read_to_end(&mut contents))
        .map_err(DiskError::filesystem(image))?;
    Ok(contents)
}

fn walk(folder: &fatfs::Dir<'_, Storage>, path: &str, found: &mut Inventory) -> io::Result<()> {
    for entry in folder.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == "." || name == ".." {
            continue;
        }
        let path = format!("{path}/{name}");
        if entry.is_dir() {
            walk(&entry.to_dir(), &path, found)?;
            found.folders.push(path);
        } else {
            let mut contents = Vec::new();
            entry.to_file().read_to_end(&mut contents)?;
            found.files.insert(path, Fingerprint::of(&contents));
        }
    }
    Ok(())
}

/// What `fsck.fat` finds on an image that it does not repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// Whether it found nothing at all.
    pub clean: bool,
    /// All that it printed.
    pub text: String,
}

/// Marks the FAT32 filesystem on `image` as one that was left in good order, so that what a checker finds is damage, not that the
/// machine was switched off.
///
/// # Errors
///
/// [`DiskError::File`].
pub fn mark_clean(image: &Path) -> Result<(), DiskError> {
    let mark = || {
        let mut file = OpenOptions::new().read(true).write(true).open(image)?;
        let mut boot = [0; BLOCK as usize];
        file.read_exact(&mut boot)?;
        let half = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        // FAT specification 1.03: BPB_BytsPerSec, BPB_RsvdSecCnt, BPB_NumFATs, BPB_FATSz32.
        let (sector, reserved, tables) = (half(11), half(14), u64::from(boot[16]));
        let length = u64::from(u32::from_le_bytes([boot[36], boot[37], boot[38], boot[39]]));
        // The lowest bit of BS_Reserved1 says that the volume is in use; in each table's second entry, ClnShutBitMask that it is not.
        let mut change = |at: u64, clear: u8, set: u8| -> io::Result<()> {
            let mut byte = [0];
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(&mut byte)?;
            file.seek(SeekFrom::Start(at))?;
            file.write_all(&[byte[0] & !clear | set])
        };
        change(65, 1, 0)?;
        (0..tables).try_for_each(|table| change((reserved + table * length) * sector + 7, 0, 8))
    };
    match mark() {
        // A boot sector that leads beyond the image is damage for the checker to find.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        outcome => outcome.map_err(DiskError::file(image)),
    }
}

/// Checks the filesystem on `image` with `fsck.fat -n`.
///
/// # Errors
///
/// [`DiskError::NoChecker`] if it cannot be started.
pub fn fsck(image: &Path) -> Result<Findings, DiskError> {
    let program = find_program("fsck.fat").unwrap_or_else(|| "fsck.fat".into());
    let output = Command::new(program).arg("-n").arg(image).output().map_err(DiskError::NoChecker)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok(Findings { clean: output.status.success(), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_disk_is_a_clean_fat32_with_hundreds_of_files_and_always_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("a.img"), folder.path().join("b.img"));
        write_default(&first).unwrap();
        write_default(&second).unwrap();
        assert!(fs::read(&first).unwrap() == fs::read(&second).unwrap(), "not the same bytes");

        let findings = fsck(&first).unwrap();
        assert!(findings.clean, "{}", findings.text);
        let filesystem = open(fs::read(&first).unwrap()).unwrap();
        assert_eq!(filesystem.fat_type(), fatfs::FatType::Fat32);
        assert!(filesystem.stats().unwrap().total_clusters() >= 66_000);

        let inventory = inventory(&first).unwrap();
        assert!(inventory.files.len() >= 300, "{} files", inventory.files.len());
        assert_eq!(inventory.files[&format!("/{BIG_FILE}")].size, 16 << 20);
        assert!(inventory.files.values().any(|file| file.size == 0));
        assert!(inventory.files.keys().any(|path| path.matches('/').count() > 8));
        assert!(inventory.files.keys().any(|path| path.rsplit('/').next().is_some_and(|name| name.len() > 150)));
    }

    #[test]
    fn a_file_is_read_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("disk.img");
        write_empty(&image, 66_600 * 512, 512).unwrap();
        assert_eq!(inventory(&image).unwrap(), Inventory::default());
        let (mut root, mut folder) = (volume::Folder::default(), volume::Folder::default());
        folder.file("A long name.text", b"hello".to_vec());
        root.folder("a folder", folder);
        write_volume(&image, 66_600 * 512, 512, &root).unwrap();
        assert!(fsck(&image).unwrap().clean);
        let inventory = inventory(&image).unwrap();
        assert_eq!(inventory.folders, ["/a folder"]);
        assert_eq!(
            inventory.files["/a folder/A long name.text"].to_string(),
            "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 (5 bytes)"
        );
        assert_eq!(read_file(&image, "/a folder/A long name.text").unwrap(), b"hello");
        assert!(read_file(&image, "/nothing").is_err());
    }

    #[test]
    fn a_damaged_filesystem_is_found_by_the_checker() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("disk.img");
        write_default(&image).unwrap();
        let mut file = OpenOptions::new().write(true).open(&image).unwrap();
        // Somewhere in the middle of the first FAT.
        file.seek(SeekFrom::Start(32 * 512 + 2000)).unwrap();
        file.write_all(&[0xa5; 512]).unwrap();
        drop(file);
        assert!(!fsck(&image).unwrap().clean);
    }

    #[test]
    fn a_volume_in_use_is_not_taken_for_a_damaged_one_nor_the_other_way_round() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("disk.img");
        write_volume(&image, 66_600 * 512, 512, &volume::Folder::default()).unwrap();
        let mut bytes = fs::read(&image).unwrap();
        bytes[65] |= 1;
        fs::write(&image, &bytes).unwrap();
        assert!(!fsck(&image).unwrap().clean);
        mark_clean(&image).unwrap();
        assert!(fsck(&image).unwrap().clean);
        // Reserved sectors and length of a table that lead beyond the image.
        bytes[14..16].fill(0xff);
        bytes[36..40].fill(0xff);
        fs::write(&image, &bytes).unwrap();
        mark_clean(&image).unwrap();
        assert!(!fsck(&image).unwrap().clean);
    }

    #[test]
    fn an_image_is_checked_before_it_becomes_a_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert!(matches!(check_image(&path("none")), Err(DiskError::File { .. })));
        assert!(matches!(check_image(folder.path()), Err(DiskError::NotAFile(_))));
        fs::write(path("odd"), [0; 1000]).unwrap();
        assert!(matches!(check_image(&path("odd")), Err(DiskError::BadSize { size: 1000, .. })));
        fs::write(path("even"), [0; 1024]).unwrap();
        assert_eq!(check_image(&path("even")).unwrap(), ReadOnly(false));
    }
}
