//! What the file server asks of a disk.
//!
//! A [`BlockDevice`] moves whole 512-byte sectors between the disk and buffers that belong to the device (in the
//! system: pages of the request ring's shared memory, so that nothing is copied on the way). A buffer is *given* to
//! the device for the time of a transfer and comes back with the [`Completion`]; nobody else can touch it meanwhile.

use alloc::vec::Vec;
use core::fmt;
use core::future::Future;

/// Bytes in a sector: the unit of every address here.
pub const SECTOR_SIZE: usize = 512;
/// Bytes in a buffer, and so in a page of the cache.
pub const PAGE_SIZE: usize = 4096;
/// Sectors in a buffer.
pub const PAGE_SECTORS: usize = PAGE_SIZE / SECTOR_SIZE;

/// One transfer: a run of consecutive sectors, to or from one or several buffers.
///
/// The first sector lies `skip` sectors into the first buffer; the run goes on into the following buffers, each of
/// which holds [`PAGE_SECTORS`] sectors. Only the first buffer is entered in the middle, only the last left early.
#[derive(Debug)]
pub struct Transfer<B> {
    /// First sector on the device.
    pub sector: u64,
    /// Sectors before the run in the first buffer: below [`PAGE_SECTORS`].
    pub skip: usize,
    /// Sectors in the run: at least one.
    pub sectors: usize,
    /// The buffers, in the order of the disk.
    pub buffers: Vec<B>,
}

/// What became of a transfer; carries its buffers back.
#[derive(Debug)]
pub struct Completion<B> {
    /// The transfer as it was given, buffers included.
    pub transfer: Transfer<B>,
    /// Whether all of it was done. After an error any part of it may have been.
    pub result: Result<(), DeviceError>,
}

/// What kind of disk this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceGeometry {
    /// Number of 512-byte sectors.
    pub sectors: u64,
    /// The disk refuses writes.
    pub read_only: bool,
}

/// How much the device takes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferLimits {
    /// Transfers worth having in flight at the same time.
    pub in_flight: usize,
    /// Buffers that one transfer may carry.
    pub buffers_per_transfer: usize,
}

/// A disk, as seen by the cache.
///
/// # Contract
/// * A write that lies within one buffer happens as a whole or not at all when the *file server* dies; the request is
///   either in the ring or it is not. The order in which the file server keeps its promises rests on this.
/// * Completed writes are seen by later reads. [`flush`](BlockDevice::flush) makes them survive a loss of power.
/// * The cache never has two transfers in flight that overlap.
/// * When the future of a transfer is dropped, the device keeps the buffers until it no longer uses them.
pub trait BlockDevice {
    /// A page-sized buffer ([`PAGE_SIZE`] bytes, by both views) that the device can transfer from and to.
    type Buffer: AsRef<[u8]> + AsMut<[u8]>;

    /// Size and kind of the disk.
    fn geometry(&self) -> DeviceGeometry;

    /// What the device can take at a time.
    fn limits(&self) -> TransferLimits;

    /// A buffer from the device's pool, or `None` when the pool is empty. Dropping the buffer gives it back.
    fn allocate(&self) -> Option<Self::Buffer>;

    /// Fills the transfer's sectors from the disk.
    fn read(&self, transfer: Transfer<Self::Buffer>) -> impl Future<Output = Completion<Self::Buffer>>;

    /// Writes the transfer's sectors to the disk.
    fn write(&self, transfer: Transfer<Self::Buffer>) -> impl Future<Output = Completion<Self::Buffer>>;

    /// Makes every completed write durable (a barrier).
    fn flush(&self) -> impl Future<Output = Result<(), DeviceError>>;
}

/// Why a transfer was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceError {
    /// The disk, or its driver for good, is gone.
    Gone,
    /// The disk could not read or write near this sector.
    Io {
        /// First sector of the transfer that failed.
        sector: u64,
    },
    /// The disk refuses writes.
    ReadOnly,
    /// The transfer reaches beyond the end of the disk.
    OutOfRange {
        /// First sector of the transfer.
        sector: u64,
        /// Its length in sectors.
        sectors: u64,
    },
    /// The device's buffer pool is too small to work with.
    NoBuffers,
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the disk is gone: check that its device and driver are still there"),
            Self::Io { sector } => {
                write!(f, "the disk failed at sector {sector}: copy what you can and replace it")
            }
            Self::ReadOnly => f.write_str("the disk is read-only: attach it writable to change files"),
            Self::OutOfRange { sector, sectors } => {
                write!(f, "a transfer of {sectors} sectors at sector {sector} reaches beyond the end of the disk")
            }
            Self::NoBuffers => {
                f.write_str("the disk's buffer pool is empty: give the file server more transfer memory")
            }
        }
    }
}

impl core::error::Error for DeviceError {}
