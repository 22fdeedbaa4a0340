//! What `virtio-drivers` needs of the platform.

use crate::dma::Pool;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use userlib::memory::SharedMemory;
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

/// Memory for queues.
pub static POOL: Pool = Pool::new();
/// The ring's memory, which holds the data of requests.
pub static RING: Shared = Shared::new();
/// Headers and status of requests.
pub static CONTROL: Shared = Shared::new();

/// Where memory lies that is shared with the device, for the program and on the bus.
#[derive(Debug)]
pub struct Shared {
    address: AtomicUsize,
    bus: AtomicU64,
    length: AtomicUsize,
}

impl Shared {
    const fn new() -> Self {
        Self { address: AtomicUsize::new(0), bus: AtomicU64::new(0), length: AtomicUsize::new(0) }
    }

    /// Sets it.
    pub fn set(&self, memory: SharedMemory<'static>, bus: u64) {
        self.address.store(memory.address() as usize, Ordering::Relaxed);
        self.bus.store(bus, Ordering::Relaxed);
        self.length.store(memory.len(), Ordering::Release);
    }

    fn find(&self, address: usize, length: usize) -> Option<u64> {
        let offset = address.checked_sub(self.address.load(Ordering::Relaxed))?;
        let end = offset.checked_add(length)?;
        (end <= self.length.load(Ordering::Acquire)).then(|| self.bus.load(Ordering::Relaxed) + offset as u64)
    }
}

/// The machine.
#[derive(Debug)]
pub enum Platform {}

// SAFETY: memory comes from the pool, which gives out each page once, zeroed and mapped for ever; addresses are
// translated exactly.
unsafe impl Hal for Platform {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        // A physical address of 0 means that there is no memory.
        POOL.allocate(pages).unwrap_or((0, NonNull::dangling()))
    }

    unsafe fn dma_dealloc(_: PhysAddr, address: NonNull<u8>, pages: usize) -> i32 {
        POOL.free(address, pages);
        0
    }

    unsafe fn mmio_phys_to_virt(_: PhysAddr, _: usize) -> NonNull<u8> {
        unreachable!("only transports of virtio-drivers itself ask for this, and this driver has its own")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        let (address, length) = (buffer.as_ptr().cast::<u8>() as usize, buffer.len());
        let bus = RING.find(address, length).or_else(|| CONTROL.find(address, length));
        bus.expect("requests are made of the ring's memory and the control memory")
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {
        // The device used the memory itself, and the processor's caches know of it.
    }
}
