//! A client, a ring, a driver and a device.

use crate::device::FakeDisk;
use std::sync::atomic::AtomicU64;
use userlib::block_ring::{
    ClientCore, HEADER_PAGES, Limits, Request, RequestError, RingServer, SLOTS, Slot, Status, Unavailable,
};
use userlib::memory::SharedMemory;
use userlib::time::{Duration, Instant};
use virtio_blk::disk::{CONTROL_BYTES, Disk, StartError, reset};
use virtio_blk::driver::Driver;
use virtio_blk::region::Region;
use virtio_blk::transport::Vectors;

pub(crate) const PAGES: usize = 66;
pub(crate) const VECTORS: Vectors = Vectors { config: 0, queue: 1 };

/// Memory that lasts as long as the program.
pub(crate) fn memory(bytes: usize) -> &'static [AtomicU64] {
    Vec::leak((0..bytes / 8).map(|_| AtomicU64::new(0)).collect())
}

fn region(words: &'static [AtomicU64]) -> Region {
    Region::new(SharedMemory::new(words), words.as_ptr() as u64)
}

/// Waits twenty times.
pub(crate) fn patience() -> impl FnMut() -> bool {
    let mut left = 20;
    move || {
        left -= 1;
        left > 0
    }
}

pub(crate) fn start(device: &FakeDisk) -> Result<Disk<FakeDisk>, StartError> {
    let mut transport = device.clone();
    reset(&mut transport, &mut patience())?;
    Disk::start(transport, region(memory(CONTROL_BYTES)), VECTORS).map_err(|(_, error)| error)
}

pub(crate) struct Rig {
    pub(crate) device: FakeDisk,
    pub(crate) client: ClientCore<'static>,
    pub(crate) driver: Driver<'static, FakeDisk>,
    words: &'static [AtomicU64],
    /// The memory of the ring that the client lends under number 1.
    lent: &'static [AtomicU64],
    control: Region,
    pub(crate) now: Instant,
    outcomes: [Option<Result<(), RequestError>>; SLOTS],
}

fn attach(
    device: &FakeDisk,
    words: &'static [AtomicU64],
    lent: &'static [AtomicU64],
    control: Region,
) -> Driver<'static, FakeDisk> {
    let limits = Limits { sectors: 0, request_sectors: 0, read_only: true };
    let ring = RingServer::attach(SharedMemory::new(words), limits).expect("a ring");
    let disk = start(device).map_err(|error| {
        eprintln!("{error}");
        Status::NoDevice
    });
    let mut driver = Driver::new(ring, region(words).span(), control, VECTORS, disk);
    let header = SharedMemory::new(&lent[..HEADER_PAGES * 512]);
    driver.serve(header, region(lent).span(), 1).expect("a ring");
    driver
}

impl Rig {
    pub(crate) fn new(device: FakeDisk) -> Self {
        let (words, lent) = (memory(PAGES * 4096), memory(PAGES * 4096));
        let control = region(memory(CONTROL_BYTES));
        let client = ClientCore::attach(SharedMemory::new(words)).expect("a ring");
        let driver = attach(&device, words, lent, control);
        let now = Instant(1_000_000_000);
        Rig { device, client, driver, words, lent, control, now, outcomes: [const { None }; SLOTS] }
    }

    /// The driver dies where it stands, the device is stopped, and another driver takes over.
    pub(crate) fn kill(&mut self) {
        let next = attach(&self.device, self.words, self.lent, self.control);
        // What the dead one had is not given back by it.
        std::mem::forget(std::mem::replace(&mut self.driver, next));
    }

    /// The lent ring as its owner has it.
    pub(crate) fn reader(&self) -> ClientCore<'static> {
        ClientCore::attach_lent(SharedMemory::new(self.lent)).expect("a ring")
    }

    pub(crate) fn submit(&mut self, request: Request) -> Result<Slot, Unavailable> {
        let slot = self.client.submit(request)?;
        self.outcomes[slot.index()] = None;
        Ok(slot)
    }

    /// Lets the driver work, and the client look.
    pub(crate) fn advance(&mut self) {
        self.driver.check_silence(self.now, &mut patience());
        while self.driver.advance(&mut patience()) {}
        let now = self.now;
        self.driver.deadline(|| now);
        let outcomes = &mut self.outcomes;
        self.client.collect(|slot, outcome| outcomes[slot.index()] = Some(outcome.map(|_| ())));
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// Lets all three work until nothing changes any more.
    pub(crate) fn settle(&mut self) {
        for _ in 0..40 {
            self.advance();
            self.device.run();
        }
        self.advance();
    }

    pub(crate) fn outcome(&self, slot: Slot) -> Option<Result<(), RequestError>> {
        self.outcomes[slot.index()]
    }

    /// Carries out one request.
    pub(crate) fn request(&mut self, request: Request) -> Result<(), RequestError> {
        let slot = self.submit(request).expect("the ring is free");
        self.settle();
        self.outcome(slot).expect("the request is complete")
    }

    pub(crate) fn put(&self, page: u32, bytes: &[u8]) {
        self.client.buffer().write(page as usize * 4096, bytes).expect("it fits");
    }

    pub(crate) fn data(&self, page: u32, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.client.buffer().read(page as usize * 4096, &mut bytes).expect("it fits");
        bytes
    }

    pub(crate) fn contents(&self, sector: usize, count: usize) -> Vec<u8> {
        self.device.0.borrow().contents[sector * 512..(sector + count) * 512].to_vec()
    }
}
