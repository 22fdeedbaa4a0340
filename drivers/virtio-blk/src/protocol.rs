//! What a virtio disk understands (Virtual I/O Device 1.2, 5.2).

use bitflags::bitflags;
use userlib::block_ring::{Operation, SECTOR_SIZE};

bitflags! {
    /// Features of the device and of the transport.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Features: u64 {
        /// A segment has a greatest length.
        const SIZE_MAX = 1 << 1;
        /// A request has a greatest number of segments.
        const SEG_MAX = 1 << 2;
        /// The disk can only be read.
        const RO = 1 << 5;
        /// The disk has a block size of its own.
        const BLK_SIZE = 1 << 6;
        /// The disk has a cache and can flush it.
        const FLUSH = 1 << 9;
        /// Each side says from which request on it wants to be told (2.7.10).
        const EVENT_IDX = 1 << 29;
        /// The device is one of virtio 1.0 or later.
        const VERSION_1 = 1 << 32;
        /// The device uses addresses as the platform gives them to it, through an IOMMU if there is one.
        const ACCESS_PLATFORM = 1 << 33;
    }
}

/// Features that this driver uses if the device has them.
pub const SUPPORTED: Features = Features::all();

/// Offsets in the disk's configuration.
pub mod config {
    /// Sectors of 512 bytes, 64 bits.
    pub const CAPACITY: usize = 0;
    /// Greatest length of a segment, 32 bits.
    pub const SIZE_MAX: usize = 8;
    /// Greatest number of segments in a request, 32 bits.
    pub const SEG_MAX: usize = 12;
    /// Block size, 32 bits.
    pub const BLK_SIZE: usize = 20;
}

/// Bytes of a request's header.
pub const HEADER_BYTES: usize = 16;

/// The header of a request, in words of eight bytes.
pub const fn header(operation: Operation, sector: u64) -> [u64; HEADER_BYTES / 8] {
    let kind = match operation {
        Operation::Read => 0,
        Operation::Write => 1,
        Operation::Flush => 4,
    };
    [kind, sector]
}

/// What the driver puts where the device is to write the status: no status that exists.
pub const NO_STATUS: u8 = 0xff;

/// What the device says became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Carried out.
    Done,
    /// An error of the device or the driver.
    Failed,
    /// The device does not do such things.
    Unsupported,
}

impl Outcome {
    /// The outcome with this status byte.
    pub const fn from_status(status: u8) -> Option<Self> {
        match status {
            0 => Some(Outcome::Done),
            1 => Some(Outcome::Failed),
            2 => Some(Outcome::Unsupported),
            _ => None,
        }
    }
}

/// How data is cut into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// Bytes of a segment at most, a multiple of the sector size.
    pub bytes: usize,
    /// Segments of a request at most.
    pub count: usize,
}

/// The most segments that this driver uses for one request.
pub const SEGMENTS_MAX: usize = 16;
/// Bytes of a segment if the device names no limit.
const SEGMENT_BYTES: usize = 8 << 20;

impl Segmentation {
    /// What the device's limits allow; `None` if not even one sector fits.
    pub fn new(size_max: Option<u32>, seg_max: Option<u32>) -> Option<Self> {
        let bytes = size_max.map_or(SEGMENT_BYTES, |bytes| bytes as usize).min(SEGMENT_BYTES);
        let bytes = bytes - bytes % SECTOR_SIZE;
        let count = seg_max.map_or(SEGMENTS_MAX, |count| count as usize).min(SEGMENTS_MAX);
        // A device without a limit for segments takes a request of any length in one.
        let count = if size_max.is_none() { count.min(1) } else { count };
        (bytes > 0 && count > 0).then_some(Segmentation { bytes, count })
    }

    /// Sectors of a request at most.
    pub const fn sectors(self) -> u32 {
        (self.bytes * self.count / SECTOR_SIZE) as u32
    }
}
