//! Linux kernels of Debian's, unpacked into the project's cache: to be run as guests, and to be compared with.

mod initramfs;
mod module;
mod package;
mod vmlinux;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use initramfs::Initramfs;
pub use module::ModuleError;
pub use vmlinux::VmlinuxError;

use crate::progress::Step;
use crate::setup::apt::{self, Scratch};
use crate::workspace;

/// What is loaded into a kernel that has it not built in, for what may be in its machine: devices by virtio, and the button that
/// switches it off with the way by which programs hear of it.
const MODULES: [&str; 7] =
    ["virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "virtio_rng", "button", "evdev"];
/// What every virtio device needs of a kernel of this machine's Debian, where it is not built in.
const VIRTIO: [&str; 5] = ["virtio", "virtio_ring", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci"];
/// Beside a kernel, the names of the modules that belong to it, in the order in which they are loaded.
const ORDER: &str = "modules";
/// Beside those, for what they were chosen: [`MODULES`] at that time.
const WANTED: &str = "wanted";
/// How its file is called, up to its version.
const IMAGE: &str = "vmlinuz-";

/// Why something of Debian's is not there.
#[derive(Debug, thiserror::Error)]
pub enum LinuxError {
    /// It could not be fetched; holds what, and the reason.
    #[error(
        "cannot fetch {what}: {reason}\nIt comes from Debian, by this machine's apt. With a network, `cargo xtask guest fetch` fetches \
         it into {}; it may also be put there by hand from a machine that has it.",
        workspace::cache().display()
    )]
    NotFetched {
        /// What.
        what: String,
        /// What apt or the unpacking said.
        reason: String,
    },
    /// A file of the cache cannot be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// There is no ELF file in the kernel.
    #[error("{path}: {source}")]
    Vmlinux {
        /// The kernel.
        path: PathBuf,
        /// What is wrong with it.
        source: VmlinuxError,
    },
}

/// Whose kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// That of the Debian on this machine.
    Installed,
    /// That of another Debian, so that it is another version.
    Other,
}

impl Release {
    fn folder(self) -> &'static str {
        match self {
            Self::Installed => "linux",
            Self::Other => "linux-other",
        }
    }
}

/// A kernel for machines without hardware of their own, with the modules that it needs in one.
#[derive(Clone, Debug)]
pub struct Linux {
    /// Its version, as its file is called.
    pub version: String,
    /// Its modules by their names, each behind those that it needs.
    pub modules: Vec<String>,
    home: PathBuf,
}

impl Linux {
    /// The kernel in the cache, fetched first if there is none.
    ///
    /// # Errors
    ///
    /// [`LinuxError`].
    pub fn fetch(release: Release) -> Result<Self, LinuxError> {
        let home = workspace::cache().join(release.folder());
        if let Some(linux) = Self::at(&home) {
            return Ok(linux);
        }
        let what = match release {
            Release::Installed => format!("Debian's {}", package::KERNEL),
            Release::Other => format!("another Debian's {}", package::KERNEL),
        };
        let step = Step::start(format!("Fetching {what}"));
        match download(&step, release, &home).and_then(|()| Self::at(&home).ok_or("it holds no kernel".to_owned())) {
            Ok(linux) => {
                step.done(&linux.version);
                Ok(linux)
            }
            Err(reason) => {
                step.quiet();
                Err(LinuxError::NotFetched { what, reason })
            }
        }
    }

    /// The kernel that lies in a folder with its modules, if they are what is wanted today.
    fn at(home: &Path) -> Option<Self> {
        if fs::read_to_string(home.join(WANTED)).ok()? != MODULES.join("\n") {
            return None;
        }
        let modules: Vec<String> = fs::read_to_string(home.join(ORDER)).ok()?.lines().map(str::to_owned).collect();
        let version = fs::read_dir(home)
            .ok()?
            .filter_map(Result::ok)
            .find_map(|entry| entry.file_name().to_str()?.strip_prefix(IMAGE).map(str::to_owned))?;
        let linux = Self { version, modules, home: home.to_owned() };
        linux.modules.iter().all(|name| linux.module_file(name).is_file()).then_some(linux)
    }

    /// Its bzImage.
    pub fn image(&self) -> PathBuf {
        self.home.join(format!("{IMAGE}{}", self.version))
    }

    fn module_file(&self, name: &str) -> PathBuf {
        self.home.join(format!("{name}.ko"))
    }

    /// One of its modules, as the kernel loads it.
    ///
    /// # Errors
    ///
    /// [`LinuxError::File`], also if it has no module of this name.
    pub fn module(&self, name: &str) -> Result<Vec<u8>, LinuxError> {
        read(&self.module_file(name))
    }

    /// Adds the modules of a virtio device with this driver to a first filesystem, where the program of `tests/linux` looks for them.
    ///
    /// # Errors
    ///
    /// [`LinuxError::File`] if it has not got one of them.
    pub(crate) fn add_modules(&self, driver: &str, files: &mut Initramfs) -> Result<(), LinuxError> {
        for name in VIRTIO.into_iter().chain([driver]) {
            files.file(&format!("{name}.ko"), &self.module(name)?);
        }
        Ok(())
    }

    /// The ELF file that its bzImage unpacks itself into, which has an entry for PVH.
    ///
    /// # Errors
    ///
    /// [`LinuxError::Vmlinux`] if there is none.
    pub fn vmlinux(&self) -> Result<Vec<u8>, LinuxError> {
        let path = self.image();
        vmlinux::extract(&read(&path)?).map_err(|source| LinuxError::Vmlinux { path, source })
    }
}

/// The programs of a whole userland in one file, which needs no other.
#[derive(Clone, Debug)]
pub struct Busybox {
    /// The program.
    pub file: PathBuf,
}

impl Busybox {
    /// The one in the cache, fetched first if there is none.
    ///
    /// # Errors
    ///
    /// [`LinuxError`].
    pub fn fetch() -> Result<Self, LinuxError> {
        let home = workspace::cache().join("busybox");
        let file = home.join("busybox");
        if file.is_file() {
            return Ok(Self { file });
        }
        let what = format!("Debian's {}", package::BUSYBOX);
        let step = Step::start(format!("Fetching {what}"));
        let fetched = Scratch::beside(&home).and_then(|scratch| {
            let package = package::busybox(&step, scratch.path())?;
            let tree = scratch.path().join("tree");
            apt::unpack(&package, "*/bin/busybox", 0, &tree).map_err(|error| format!("cannot unpack it: {error}"))?;
            // `bin` is in `usr` or is not, by Debian's release.
            let program = find(&tree, &|name| name == "busybox").pop();
            replace(&home, |new| fs::copy(program.ok_or_else(nothing)?, new.join("busybox")).map(drop))
                .map_err(|error| format!("cannot unpack it: {error}"))
        });
        match fetched {
            Ok(()) => {
                step.done("");
                Ok(Self { file })
            }
            Err(reason) => {
                step.quiet();
                Err(LinuxError::NotFetched { what, reason })
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LinuxError> {
    fs::read(path).map_err(|source| LinuxError::File { path: path.to_owned(), source })
}

fn nothing() -> io::Error {
    io::Error::other("what is wanted is not in the package")
}

/// Every file below `folder` whose name is wanted.
fn find(folder: &Path, is_wanted: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        // Not through links, which may lead anywhere.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(find(&path, is_wanted));
        } else if entry.file_name().to_str().is_some_and(is_wanted) {
            found.push(path);
        }
    }
    found
}

/// Has `fill` make a folder's contents, so that `home` appears complete or not at all.
fn replace(home: &Path, fill: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let new = home.with_extension(format!("new-{}", std::process::id()));
    fs::create_dir_all(&new)?;
    let filled = fill(&new).and_then(|()| match fs::remove_dir_all(home) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::rename(&new, home),
    });
    if filled.is_err() {
        // What could not be removed is only disk space in a cache.
        let _ = fs::remove_dir_all(&new);
    }
    filled
}

fn download(step: &Step, release: Release, home: &Path) -> Result<(), String> {
    let scratch = Scratch::beside(home)?;
    let package = match release {
        Release::Installed => package::kernel(step, scratch.path())?,
        Release::Other => package::other_kernel(step, scratch.path())?,
    };
    step.news("unpacking");
    let tree = scratch.path().join("tree");
    apt::unpack(&package, "*", 0, &tree)
        .and_then(|()| replace(home, |new| arrange(&tree, new)))
        .map_err(|error| format!("cannot unpack {}: {error}", package.display()))
}

/// Puts the kernel of a package's tree into a folder, with the modules that are wanted.
fn arrange(tree: &Path, new: &Path) -> io::Result<()> {
    let image = find(&tree.join("boot"), &|name| name.starts_with(IMAGE)).pop().ok_or_else(nothing)?;
    fs::copy(&image, new.join(image.file_name().ok_or_else(nothing)?))?;
    let name_of = |path: &Path| {
        let file = path.file_name()?.to_str()?;
        Some(module::name(file.split_once(".ko")?.0))
    };
    let mut modules = BTreeMap::new();
    for path in find(tree, &|name| name.ends_with(".ko") || name.ends_with(".ko.xz")) {
        if let Some(name) = name_of(&path) {
            modules.insert(name, path);
        }
    }
    let lists = find(tree, &|name| name == "modules.builtin");
    let list = lists.first().map(fs::read_to_string).transpose()?.unwrap_or_default();
    let built_in: BTreeSet<String> = list.lines().filter_map(|line| name_of(Path::new(line))).collect();
    let unpack = |path: &PathBuf| module::contents(&path.to_string_lossy(), fs::read(path)?);
    let order =
        module::in_order(&MODULES, &built_in, &|name| modules.get(name).map(unpack)).map_err(io::Error::other)?;
    for (name, contents) in &order {
        fs::write(new.join(format!("{name}.ko")), contents)?;
    }
    let names: String = order.iter().flat_map(|(name, _)| [name, "\n"]).collect();
    fs::write(new.join(ORDER), names)?;
    fs::write(new.join(WANTED), MODULES.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_replaced_as_a_whole_or_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let write = |text: &'static str| move |new: &Path| fs::write(new.join("file"), text);
        replace(&home, write("old")).unwrap();
        replace(&home, |new| fs::write(new.join("file"), "half").and(Err(nothing()))).unwrap_err();
        assert_eq!(fs::read_to_string(home.join("file")).unwrap(), "old");
        replace(&home, write("new")).unwrap();
        assert_eq!(fs::read_to_string(home.join("file")).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_folder_without_its_list_or_a_module_holds_no_kernel() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("vmlinuz-6.1-cloud", "kernel");
        assert!(Linux::at(folder.path()).is_none());
        write(ORDER, "virtio_blk\n");
        assert!(Linux::at(folder.path()).is_none());
        write("virtio_blk.ko", "module");
        assert!(Linux::at(folder.path()).is_none(), "nobody knows what it was fetched for");
        write(WANTED, "virtio_blk");
        assert!(Linux::at(folder.path()).is_none(), "it was fetched for less than is wanted today");
        write(WANTED, &MODULES.join("\n"));
        let linux = Linux::at(folder.path()).unwrap();
        assert_eq!((linux.version.as_str(), &linux.modules[..]), ("6.1-cloud", &["virtio_blk".to_owned()][..]));
        assert_eq!(linux.module("virtio_blk").unwrap(), b"module");
        assert!(matches!(linux.module("virtio_net"), Err(LinuxError::File { .. })));
        assert!(matches!(linux.vmlinux(), Err(LinuxError::Vmlinux { .. })));
    }

    #[test]
    fn what_is_not_to_be_had_says_what_to_do() {
        let error = LinuxError::NotFetched { what: "a kernel".into(), reason: "no network".into() };
        let text = error.to_string();
        assert!(text.contains("no network") && text.contains("cargo xtask guest fetch"), "{text}");
    }
}
