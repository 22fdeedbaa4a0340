//! A Linux kernel to compare with: Debian's for cloud machines, with a first process of a few instructions, or one that does the
//! works that are compared.

mod program;
mod works;

use std::fs;
use std::path::Path;

use super::BenchError;
use crate::linux::{Initramfs, Linux, Release};
use crate::machine::Machine;
use crate::workspace;

pub(super) use program::FIRST_WORDS;
pub use works::Costs;
pub(super) use works::Works;

/// The kernel's command line: `quiet`, because every character on an emulated serial line costs time.
pub(super) const COMMAND_LINE: &str = "console=ttyS0 quiet";

/// The same for works: nothing that a processor of today would have to be told to be careful with, which is how Linux is fastest.
const COMMAND_LINE_OF_WORKS: &str = "console=ttyS0 quiet mitigations=off";

/// The kernel to compare with.
#[derive(Debug)]
pub(super) struct Rival {
    linux: Linux,
}

impl Rival {
    /// The kernel of this machine's Debian.
    pub(super) fn fetch() -> Result<Self, BenchError> {
        Ok(Self { linux: Linux::fetch(Release::Installed)? })
    }

    /// Its version.
    pub(super) fn version(&self) -> &str {
        &self.linux.version
    }

    /// The same machine that Bulkhead gets, with this kernel and a first process that says [`FIRST_WORDS`].
    pub(super) fn machine(&self) -> Result<Machine, BenchError> {
        let mut files = Initramfs::new();
        files.program("init", &program::first_process());
        self.machine_with("first-process", files, COMMAND_LINE)
    }

    /// The same with a first process that does works: `program`, the ELF file of `tests/linux`, which is told `words`.
    pub(super) fn machine_of_works(&self, program: &Path, words: &str) -> Result<Machine, BenchError> {
        let mut files = Initramfs::new();
        files.program("init", &fs::read(program).map_err(BenchError::file(program))?);
        files.program("child", &program::child());
        self.linux.add_modules("virtio_blk", &mut files)?;
        self.machine_with("works", files, &format!("{COMMAND_LINE_OF_WORKS} {words}"))
    }

    fn machine_with(&self, name: &str, files: Initramfs, command_line: &str) -> Result<Machine, BenchError> {
        let folder = workspace::system_target();
        let initial_disk = folder.join(format!("linux-{name}.cpio"));
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&initial_disk, files.finish()))
            .map_err(BenchError::file(&initial_disk))?;
        let mut machine = Machine::new(self.linux.image());
        machine.extra = vec!["-initrd".into(), initial_disk.into(), "-append".into(), command_line.into()];
        Ok(machine)
    }
}
