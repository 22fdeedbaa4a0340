//! A disk behind a request ring in shared memory.
//!
//! The cache's pages are the server's own; what moves goes through the ring's buffer area, a contiguous run for each
//! transfer. That is one copy more than if the cache lay in the shared memory itself, and for it nothing that the
//! server has read or is about to write can be changed by the driver any more.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::Cell;
use fat::{
    BlockDevice, Completion, DeviceError, DeviceGeometry, PAGE_SECTORS, PAGE_SIZE, SECTOR_SIZE, Transfer,
    TransferLimits,
};
use userlib::block_ring::{BlockRing, BufferArea, RequestError, SLOTS};
use userlib::executor;

/// Pages that one transfer moves at most.
const TRANSFER_PAGES: usize = 32;

/// A page of the cache.
pub(crate) struct Page {
    bytes: Box<[u8; PAGE_SIZE]>,
    pool: Rc<Cell<usize>>,
}

impl AsRef<[u8]> for Page {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_slice()
    }
}

impl AsMut<[u8]> for Page {
    fn as_mut(&mut self) -> &mut [u8] {
        self.bytes.as_mut_slice()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.pool.set(self.pool.get() + 1);
    }
}

/// The disk.
pub(crate) struct Disk {
    ring: Rc<BlockRing>,
    area: Rc<BufferArea>,
    geometry: DeviceGeometry,
    /// Pages of the cache that may still be made.
    pool: Rc<Cell<usize>>,
}

impl Disk {
    /// A disk of this geometry behind a ring, with at most `cache_pages` pages in memory. Completions are collected by
    /// a task of its own, and another one sees to it that none is missed.
    pub(crate) fn new(ring: Rc<BlockRing>, geometry: DeviceGeometry, cache_pages: usize) -> Self {
        let area = BufferArea::new(ring.buffer_pages());
        let collector = ring.clone();
        executor::spawn(async move { collector.run().await });
        let watcher = ring.clone();
        executor::spawn(async move { watcher.watch().await });
        Disk { ring, area, geometry, pool: Rc::new(Cell::new(cache_pages)) }
    }

    fn device_error(error: RequestError, sector: u64, sectors: u64) -> DeviceError {
        match error {
            RequestError::ReadOnly => DeviceError::ReadOnly,
            RequestError::OutOfRange => DeviceError::OutOfRange { sector, sectors },
            RequestError::NoDevice => DeviceError::Gone,
            RequestError::Refused | RequestError::DeviceError | RequestError::NoWindow | RequestError::Misbehaved => {
                DeviceError::Io { sector }
            }
        }
    }
}

/// The parts of a transfer's buffers, each with where its bytes lie in the run.
fn pieces(transfer: &Transfer<Page>) -> impl Iterator<Item = (usize, core::ops::Range<usize>, usize)> + use<> {
    let (skip, sectors, buffers) = (transfer.skip, transfer.sectors, transfer.buffers.len());
    let mut done = 0;
    (0..buffers).map_while(move |index| {
        let from = if index == 0 { skip } else { 0 };
        let count = (PAGE_SECTORS - from).min(sectors - done);
        if count == 0 {
            return None;
        }
        let piece = (index, from * SECTOR_SIZE..(from + count) * SECTOR_SIZE, done * SECTOR_SIZE);
        done += count;
        Some(piece)
    })
}

impl BlockDevice for Disk {
    type Buffer = Page;

    fn geometry(&self) -> DeviceGeometry {
        self.geometry
    }

    fn limits(&self) -> TransferLimits {
        let pages = self.ring.buffer_pages();
        let buffers_per_transfer = TRANSFER_PAGES.min(pages / 4).max(1);
        TransferLimits { in_flight: (pages / buffers_per_transfer).clamp(1, SLOTS), buffers_per_transfer }
    }

    fn allocate(&self) -> Option<Page> {
        let left = self.pool.get().checked_sub(1)?;
        self.pool.set(left);
        Some(Page { bytes: Box::new([0; PAGE_SIZE]), pool: self.pool.clone() })
    }

    async fn read(&self, mut transfer: Transfer<Page>) -> Completion<Page> {
        let (sector, sectors) = (transfer.sector, transfer.sectors);
        let run = self.area.take(sectors.div_ceil(PAGE_SECTORS)).await;
        let outcome = self.ring.read(sector, sectors as u32, run.first()).await;
        let mut result = outcome.map_err(|error| Disk::device_error(error, sector, sectors as u64));
        if result.is_ok() {
            let area = self.ring.buffer();
            let base = run.offset();
            for (index, range, offset) in pieces(&transfer) {
                let target = &mut transfer.buffers[index].as_mut()[range];
                if area.read(base + offset, target).is_err() {
                    result = Err(DeviceError::Io { sector });
                }
            }
        }
        Completion { transfer, result }
    }

    async fn write(&self, transfer: Transfer<Page>) -> Completion<Page> {
        let (sector, sectors) = (transfer.sector, transfer.sectors);
        let run = self.area.take(sectors.div_ceil(PAGE_SECTORS)).await;
        let area = self.ring.buffer();
        let base = run.offset();
        for (index, range, offset) in pieces(&transfer) {
            if area.write(base + offset, &transfer.buffers[index].as_ref()[range]).is_err() {
                return Completion { transfer, result: Err(DeviceError::Io { sector }) };
            }
        }
        let outcome = self.ring.write(sector, sectors as u32, run.first()).await;
        let result = outcome.map_err(|error| Disk::device_error(error, sector, sectors as u64));
        Completion { transfer, result }
    }

    async fn flush(&self) -> Result<(), DeviceError> {
        self.ring.flush().await.map_err(|error| Disk::device_error(error, 0, 0))
    }
}
