//! The same small server twice: as a domain of its own, and as the only process of a Linux in a guest.

use std::fs;

use super::{Entry, GuestError, Memory, folder, memory_with};
use crate::build;
use crate::linux::{Initramfs, Linux, Release};
use crate::machine;
use crate::setup::LibrarySource;

/// The server as a domain.
pub const DOMAIN: &str = "keyvalue";
/// The guest with the server in it.
pub const GUEST: &str = "appliance";
/// The command that asks either.
pub const CLIENT: &str = "kv";
/// Its name of the one.
pub const NATIVE: &str = "native";
/// Its name of the other.
pub const INSIDE: &str = "guest";
/// The guest's memory: Debian's kernel does not start with much less.
pub const MEMORY: Memory = Memory::mebibytes(96);

/// Characters on an emulated serial line cost time.
const COMMAND_LINE: &str = "console=ttyS0 quiet serves=keyvalue";

/// The server, and who asks it and operates the guest.
const SECTIONS: &str = r#"
[domain.keyvalue]
kind = "server"
provides = ["stream"]
memory = "512K"

[domain.kv]
binary = "keyvalue-client"
kind = "app"
provides = ["command"]
uses = [
    { interface = "stream", from = "keyvalue", name = "native" },
    { interface = "stream", from = "appliance", name = "guest" },
    "supervision",
]
heartbeat = "none"
"#;

/// Both of them.
#[derive(Clone, Debug)]
pub struct Appliance {
    /// Linux's version.
    pub version: String,
    entry: Entry,
    section: String,
}

impl Appliance {
    /// Builds what is needed, with a kernel that is fetched if it is not in the project's cache.
    ///
    /// # Errors
    ///
    /// [`GuestError`].
    pub fn obtain(source: &LibrarySource) -> Result<Self, GuestError> {
        let linux = Linux::fetch(Release::Installed)?;
        let program = build::linux_peer(source)?;
        let mut files = Initramfs::new();
        files.program("init", &fs::read(&program).map_err(GuestError::file(&program))?);
        linux.add_modules("virtio_console", &mut files)?;
        let initrd = folder().join("appliance.initrd");
        fs::create_dir_all(folder()).map_err(GuestError::file(&folder()))?;
        build::write(&initrd, &files.finish())?;
        let entry = Entry {
            kernel: linux.image(),
            initrd: Some(initrd),
            command_line: COMMAND_LINE.to_owned(),
            memory: MEMORY,
            starts: false,
            console: CLIENT.to_owned(),
            ..Entry::default()
        };
        Ok(Self { version: linux.version, section: entry.section(GUEST)?, entry })
    }

    /// The manifest `system` with both, and with the command that asks them.
    pub fn system_with(&self, system: &str) -> String {
        build::with_command(system, CLIENT) + SECTIONS + &self.section
    }

    /// Memory of a machine for such a system.
    ///
    /// # Errors
    ///
    /// [`GuestError::File`] if a file is not there.
    pub fn memory(&self) -> Result<machine::Memory, GuestError> {
        memory_with(&[(GUEST, &self.entry)])
    }
}
