//! A disk. Blocks themselves go through a ring in shared memory (`userlib::block_ring`), of which the driver is told by a
//! notification; what is asked by calls is what the disk is.

use crate::sentences;
use userlib::ipc::Text;
use userlib::{Value, interface};

/// Why a disk did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub enum BlockError {
    /// There is no disk.
    NoDevice,
    /// The disk is there but does not work.
    DeviceFailed,
}

sentences!(BlockError {
    NoDevice => "there is no disk",
    DeviceFailed => "the disk does not work",
});

/// What a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub struct BlockInfo {
    /// What the disk calls itself.
    pub name: Text<24>,
    /// How many sectors it has.
    pub sectors: u64,
    /// Bytes of a sector.
    pub sector_size: u32,
    /// The most sectors in one request.
    pub request_sectors: u32,
    /// Whether it can only be read.
    pub read_only: bool,
    /// Whether it has a cache that `Flush` empties.
    pub has_cache: bool,
}

/// What a driver has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Value)]
pub struct BlockStatistics {
    /// Requests completed.
    pub completed: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Requests that were found in the ring at start and repeated.
    pub repeated: u64,
    /// Interrupts taken.
    pub interrupts: u64,
    /// How often the disk was reset because it broke its rules.
    pub resets: u64,
    /// How many drivers have worked on the ring so far, this one included; it outlives them.
    pub instances: u64,
    /// How many of them found requests of their predecessor under way.
    pub restarts_in_flight: u64,
}

/// A disk.
#[interface(name = "block", version = 1)]
pub trait Block {
    /// What the disk is.
    #[idempotent]
    fn info() -> Result<BlockInfo, BlockError>;

    /// What the driver has done.
    #[idempotent]
    fn statistics() -> Result<BlockStatistics, BlockError>;
}
