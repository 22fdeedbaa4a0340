//! What a monitor shows its guest.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

/// Most disks of a guest.
pub const MAX_DISKS: usize = 8;

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
}

impl Guest {
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
