//! What a monitor shows its guest.

use alloc::{format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::MAX_PROCESSORS;

/// Most disks of a guest.
pub const MAX_DISKS: usize = 8;
/// Interface by which a guest's disks are reached.
pub const BLOCK: &str = "block";
/// Interface by which a guest exchanges frames with others, and what its monitor calls the use of it.
pub const LINK: &str = "link";

/// A file of the boot archive that belongs to a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GuestFile {
    /// The encoded [`Guest`].
    Guest,
    /// What is started in it.
    Kernel,
    /// The kernel's first file system, if it has one.
    Initrd,
}

impl GuestFile {
    /// Every file.
    pub const ALL: [Self; 3] = [Self::Guest, Self::Kernel, Self::Initrd];

    /// What the monitor knows it by, and the key in `system.toml` of those that have one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
        }
    }

    /// Its name in the boot archive, where it belongs to the guest called `guest`. No program has a name with a dot.
    pub fn archive_name(self, guest: &str) -> String {
        format!("{guest}.{}", self.name())
    }
}

/// The machine of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// Bytes of its memory; a multiple of 2 MiB.
    pub memory: u64,
    /// Its processors, from 1 on.
    pub processors: u8,
    /// The processor of the machine on which the first of them runs, counted from 0; the others run on those behind it, as far as
    /// there are some.
    pub cpu: u8,
    /// Priority of its processors, below that of their monitor.
    pub priority: u8,
    /// Longest run of one of them before the next thread of the same priority gets its turn, in microseconds.
    pub time_slice_us: u32,
    /// What its kernel is told.
    pub command_line: String,
    /// Whether it is switched on with the system.
    pub starts: bool,
    /// The monitor's names of its disks, in the guest's order: `disk0`, `disk1` …, each a use of the interface `block` with a ring.
    pub disks: Vec<String>,
    /// Whether it has a network card: the monitor then has a use of the interface `link`, called so, with a ring.
    pub is_linked: bool,
}

impl Guest {
    /// Its memory is a multiple of so many bytes.
    pub const MEMORY_UNIT: u64 = 2 << 20;
    /// Fewest bytes of memory.
    pub const MIN_MEMORY: u64 = 16 << 20;
    /// Most bytes of memory: what lies above is for its devices.
    pub const MAX_MEMORY: u64 = 3 << 30;
    /// Most processors.
    pub const MAX_PROCESSORS: u8 = 16;
    /// Most bytes of a command line: as many as Linux takes, less the zero at its end.
    pub const MAX_COMMAND_LINE_BYTES: usize = 2047;

    /// The monitor's name of the disk with this number, from 0 on.
    pub fn disk_name(number: usize) -> String {
        format!("disk{number}")
    }

    /// Whether everything is in range, and the disks are called as they should be.
    pub fn is_valid(&self) -> bool {
        let names = (0..).map(Self::disk_name);
        (Self::MIN_MEMORY..=Self::MAX_MEMORY).contains(&self.memory)
            && self.memory.is_multiple_of(Self::MEMORY_UNIT)
            && (1..=Self::MAX_PROCESSORS).contains(&self.processors)
            && self.cpu < MAX_PROCESSORS
            && self.time_slice_us > 0
            && self.command_line.len() <= Self::MAX_COMMAND_LINE_BYTES
            && !self.command_line.contains('\0')
            && self.disks.len() <= MAX_DISKS
            && self.disks.iter().zip(names).all(|(disk, name)| *disk == name)
    }

    /// The guest as bytes.
    ///
    /// # Errors
    /// None for any guest that fits into memory.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_allocvec(self)
    }

    /// Reads a guest; bytes behind it are left alone.
    ///
    /// # Errors
    /// If the bytes are no guest.
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        postcard::take_from_bytes(bytes).map(|(guest, _)| guest)
    }
}
