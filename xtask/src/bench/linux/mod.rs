//! A Linux kernel to compare with: Debian's for cloud machines, with a first process of a few instructions, or one that does the
//! works that are compared.

mod archive;
mod program;
mod works;

use std::fs;
use std::path::{Path, PathBuf};

use crate::machine::Machine;
use crate::progress::Step;
use crate::setup::apt::{self, Apt, Scratch};
use crate::workspace;

pub(super) use program::FIRST_WORDS;
pub use works::Costs;
pub(super) use works::Works;

/// The kernel's command line: `quiet`, because every character on an emulated serial line costs time.
pub(super) const COMMAND_LINE: &str = "console=ttyS0 quiet";

/// The package that depends on the current one of Debian's kernels for cloud machines.
const PACKAGE: &str = "linux-image-cloud-amd64";

/// The same for works: nothing that a processor of today would have to be told to be careful with, which is how Linux is fastest.
const COMMAND_LINE_OF_WORKS: &str = "console=ttyS0 quiet mitigations=off";

/// The kernel's modules that a virtio disk needs.
const MODULES: [&str; 6] = [
    "virtio.ko",
    "virtio_ring.ko",
    "virtio_pci_modern_dev.ko",
    "virtio_pci_legacy_dev.ko",
    "virtio_pci.ko",
    "virtio_blk.ko",
];

/// The kernel, unpacked into the project's cache.
#[derive(Debug)]
pub(super) struct Linux {
    /// Its version, as its file is called.
    pub(super) version: String,
    home: PathBuf,
}

impl Linux {
    /// The kernel in the cache, downloaded first if there is none.
    pub(super) fn fetch() -> Result<Self, String> {
        let home = workspace::cache().join("linux");
        let version = match version_in(&home) {
            Some(version) => version,
            None => {
                let step = Step::start(format!("Fetching Debian's {PACKAGE} to compare with"));
                match download(&step, &home) {
                    Ok(()) => step.done(""),
                    Err(reason) => {
                        step.quiet();
                        return Err(reason);
                    }
                }
                version_in(&home).ok_or("the package holds no kernel")?
            }
        };
        Ok(Self { home, version })
    }

    /// The same machine that Bulkhead gets, with this kernel and a first process that says [`FIRST_WORDS`].
    pub(super) fn machine(&self) -> Result<Machine, String> {
        self.machine_with("first-process", &[("init", program::first_process())], COMMAND_LINE)
    }

    /// The same with a first process that does works: `program`, the ELF file of `tests/linux`, which is told `words`.
    pub(super) fn machine_of_works(&self, program: &Path, words: &str) -> Result<Machine, String> {
        let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        let mut files = vec![("init", read(program)?), ("child", program::child())];
        for module in MODULES {
            files.push((module, read(&self.home.join(module))?));
        }
        self.machine_with("works", &files, &format!("{COMMAND_LINE_OF_WORKS} {words}"))
    }

    fn machine_with(&self, name: &str, files: &[(&str, Vec<u8>)], command_line: &str) -> Result<Machine, String> {
        let folder = workspace::system_target();
        let initial_disk = folder.join(format!("linux-{name}.cpio"));
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&initial_disk, archive::archive(files)))
            .map_err(|error| format!("{}: {error}", initial_disk.display()))?;
        let mut machine = Machine::new(self.home.join(format!("vmlinuz-{}", self.version)));
        machine.extra = vec!["-initrd".into(), initial_disk.into(), "-append".into(), command_line.into()];
        Ok(machine)
    }
}

/// The version of the kernel that lies there with its modules.
fn version_in(home: &Path) -> Option<String> {
    if !MODULES.iter().all(|module| home.join(module).is_file()) {
        return None;
    }
    fs::read_dir(home)
        .ok()?
        .filter_map(Result::ok)
        .find_map(|entry| entry.file_name().to_str()?.strip_prefix("vmlinuz-").map(str::to_owned))
}

fn download(step: &Step, home: &Path) -> Result<(), String> {
    Apt::check()?;
    let scratch = Scratch::beside(home)?;
    let mut apt = Apt::of_machine();
    let package = match apt.dependency_of(PACKAGE) {
        Some(package) => package,
        None => {
            apt = Apt::of_machine_refreshed(step, scratch.path())?;
            apt.dependency_of(PACKAGE).ok_or_else(|| format!("this machine's apt does not know {PACKAGE}"))?
        }
    };
    let file = apt.download(step, &package, scratch.path())?;
    let tree = scratch.path().join("tree");
    apt::unpack(&file, "./boot/vmlinuz-*", 2, &tree)
        .and_then(|()| apt::unpack(&file, "./lib/modules/*/kernel/drivers/virtio/virtio*.ko", 7, &tree))
        .and_then(|()| apt::unpack(&file, "./lib/modules/*/kernel/drivers/block/virtio_blk.ko", 7, &tree))
        .and_then(|()| match fs::remove_dir_all(home) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => fs::rename(&tree, home),
        })
        .map_err(|error| format!("cannot unpack {package}: {error}"))
}
