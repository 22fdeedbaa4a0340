//! Guests on the host's side: kernels to run in them and what these find first, how a guest is written into a manifest, and a
//! dialogue with the shell in one.

pub mod appliance;
mod dialogue;
mod entry;
pub mod handmade;
mod system;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use dialogue::{Answer, Dialogue, LEAVE, PROMPT, READY};
pub use entry::{COMMAND_LINE, Entry, Memory, OptionError, Processors, Wish};
pub use system::{DISK_DRIVER, LINK, manifest_with, memory_with};

use crate::build::{self, BuildError};
use crate::linux::{Busybox, Initramfs, Linux, LinuxError, Release};
use crate::workspace;

/// What the first process of a guest does.
const INIT: &str = include_str!("init.sh");
/// Where the kernel's filesystems go, and temporary files.
const FOLDERS: [&str; 9] = ["bin", "proc", "sys", "tmp", "mnt", "modules", "etc", "etc/acpi", "etc/acpi/PWRF"];
/// What is done when somebody presses the power button: BusyBox's `acpid` looks there for it.
const POWER_BUTTON: (&str, &str) = ("etc/acpi/PWRF/00000080", "#!/bin/sh\nsync\npoweroff -f\n");

/// Why there is no kernel to run, or none to read.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// It is not to be had.
    #[error("{0}")]
    Linux(#[from] LinuxError),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is none that a guest can be started from.
    #[error(
        "{0} is neither a bzImage nor an ELF file, so no guest can be started from it; `cargo xtask guest fetch` fetches kernels that can"
    )]
    NotAKernel(PathBuf),
    /// The userland does not say what is in it.
    #[error("{program} does not list its commands on this machine: {reason}; it is a program for Linux on x86-64")]
    Busybox {
        /// The program.
        program: PathBuf,
        /// What came of starting it.
        reason: String,
    },
    /// A file cannot be put where it belongs.
    #[error("{0}")]
    Build(#[from] BuildError),
}

impl GuestError {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

/// A kernel that can be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// That of this machine's Debian for cloud machines, a bzImage.
    Linux,
    /// The same unpacked: an ELF file with an entry for PVH.
    Unpacked,
    /// That of another Debian, so of another version.
    Other,
}

/// A kernel with what it finds first, in files.
#[derive(Clone, Debug)]
pub struct Bootable {
    /// Its version.
    pub version: String,
    /// The kernel.
    pub kernel: PathBuf,
    /// Its first filesystem: a shell and its commands, and the modules for its devices.
    pub initrd: PathBuf,
}

impl Kernel {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Linux, Self::Unpacked, Self::Other];

    fn release(self) -> Release {
        match self {
            Self::Linux | Self::Unpacked => Release::Installed,
            Self::Other => Release::Other,
        }
    }

    /// The file in [`folder`], and that of its first filesystem.
    fn files(self) -> (&'static str, &'static str) {
        match self {
            Self::Linux => ("linux.bzimage", "linux.initrd"),
            Self::Unpacked => ("linux.elf", "linux.initrd"),
            Self::Other => ("other.bzimage", "other.initrd"),
        }
    }

    /// Puts it into [`folder`], fetched first if it is not in the project's cache.
    ///
    /// # Errors
    ///
    /// [`GuestError`].
    pub fn obtain(self) -> Result<Bootable, GuestError> {
        let linux = Linux::fetch(self.release())?;
        let busybox = Busybox::fetch()?;
        let (kernel, initrd) = self.files();
        let bootable =
            Bootable { kernel: folder().join(kernel), initrd: folder().join(initrd), version: linux.version.clone() };
        let image = match self {
            Self::Unpacked => linux.vmlinux()?,
            Self::Linux | Self::Other => fs::read(linux.image()).map_err(GuestError::file(&linux.image()))?,
        };
        fs::create_dir_all(folder()).map_err(GuestError::file(&folder()))?;
        build::write(&bootable.kernel, &image)?;
        build::write(&bootable.initrd, &first_filesystem(&linux, &busybox)?)?;
        Ok(bootable)
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linux => "of this machine's Debian, for cloud machines, a bzImage",
            Self::Unpacked => "the same, unpacked: an ELF file with a PVH entry",
            Self::Other => "of another Debian, a bzImage",
        })
    }
}

/// Where kernels for guests are put.
pub fn folder() -> PathBuf {
    workspace::system_target().join("guest")
}

/// Puts every kernel there is into [`folder`] and says where, for a person; and whether all are there.
pub fn fetch() -> (String, bool) {
    let mut text = String::new();
    let mut found_all = true;
    let mut found_any = false;
    for kernel in Kernel::ALL {
        match kernel.obtain() {
            Ok(found) => {
                found_any = true;
                let line = format!("Linux {}, {kernel}\n  kernel  {}\n", found.version, found.kernel.display());
                text += &line;
                text += &format!("  initrd  {}\n", found.initrd.display());
            }
            Err(error) => {
                found_all = false;
                text += &format!("not there: Linux {kernel}\n  {error}\n");
            }
        }
    }
    if found_any {
        text += "\nThe initrds hold BusyBox's shell and commands, and modules for virtio devices. To run the first one:\n\n    \
             cargo xtask run --guest\n\nor another, by the options --guest-kernel and --guest-initrd.\n";
    }
    (text, found_all)
}

/// Refuses what no guest can be started from.
///
/// # Errors
///
/// [`GuestError::NotAKernel`], or [`GuestError::File`] if it cannot be read.
pub fn check_kernel(path: &Path) -> Result<(), GuestError> {
    let bytes = fs::read(path).map_err(GuestError::file(path))?;
    let is_kernel = bytes.starts_with(b"\x7fELF") || bytes.get(0x202..0x206) == Some(b"HdrS");
    if is_kernel { Ok(()) } else { Err(GuestError::NotAKernel(path.to_owned())) }
}

/// What a kernel finds first: the shell with its commands, the first process, and the kernel's modules.
fn first_filesystem(linux: &Linux, busybox: &Busybox) -> Result<Vec<u8>, GuestError> {
    let program = fs::read(&busybox.file).map_err(GuestError::file(&busybox.file))?;
    let mut files = Initramfs::new();
    for folder in FOLDERS {
        files.folder(folder);
    }
    files.program("bin/busybox", &program);
    for name in commands(&busybox.file)? {
        files.link(&format!("bin/{name}"), "busybox");
    }
    for name in &linux.modules {
        files.file(&format!("modules/{name}.ko"), &linux.module(name)?);
    }
    let order: String = linux.modules.iter().flat_map(|name| [name, "\n"]).collect();
    files.file("modules/order", order.as_bytes());
    files.program(POWER_BUTTON.0, POWER_BUTTON.1.as_bytes());
    files.program("init", INIT.as_bytes());
    Ok(files.finish())
}

/// The commands that the program has within itself, but for itself.
fn commands(program: &Path) -> Result<Vec<String>, GuestError> {
    let failed = |reason: String| GuestError::Busybox { program: program.to_owned(), reason };
    let listed = Command::new(program).arg("--list").stdin(Stdio::null()).output();
    let listed = listed.map_err(|error| failed(error.to_string()))?;
    let list = String::from_utf8_lossy(&listed.stdout);
    let names: Vec<String> = list.lines().filter(|name| *name != "busybox").map(str::to_owned).collect();
    if !listed.status.success() || !names.iter().any(|name| name == "sh") {
        return Err(failed(format!("it ended with {} and named {} of them", listed.status, names.len())));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kernels_are_taken_for_such() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        check_kernel(&file("elf", &handmade::spinning())).unwrap();
        let mut image = vec![0; 0x400];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        check_kernel(&file("bzimage", &image)).unwrap();
        let text = check_kernel(&file("text", b"hello")).unwrap_err().to_string();
        assert!(text.contains("neither a bzImage") && text.contains("guest fetch"), "{text}");
        assert!(matches!(check_kernel(Path::new("/nonexistent")), Err(GuestError::File { .. })));
    }

    #[test]
    fn a_program_that_lists_no_commands_is_named() {
        for program in ["/nonexistent/busybox", "/bin/true"] {
            let error = commands(Path::new(program)).unwrap_err();
            assert!(error.to_string().contains(program), "{error}");
        }
    }

    #[test]
    fn the_first_process_uses_nothing_that_is_not_there() {
        for folder in INIT.lines().filter_map(|line| line.strip_prefix("mount ")?.rsplit_once(" /")) {
            assert!(folder.1 == "dev" || FOLDERS.contains(&folder.1), "{}", folder.1);
        }
        assert!(INIT.contains(&format!("PS1='{PROMPT}'")), "the dialogue knows its prompt");
        assert!(INIT.contains(&format!("echo '{READY}'")));
    }
}
