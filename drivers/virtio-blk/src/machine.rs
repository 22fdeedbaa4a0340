//! The hardware's side: memory for the device, and its registers.

use alloc::rc::Rc;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use userlib::device::DeviceRegisters;
use virtio_blk::dma::Pool;
use virtio_blk::registers::Registers;
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

/// Memory for queues and for the control of requests.
pub(crate) static POOL: Pool = Pool::new();
/// The ring's memory, which holds the data of requests.
pub(crate) static RING: Shared = Shared::new();

/// Where a range lies, for the program and for the device.
#[derive(Debug)]
pub(crate) struct Shared {
    address: AtomicUsize,
    physical: AtomicU64,
    length: AtomicUsize,
}

impl Shared {
    const fn new() -> Self {
        Self { address: AtomicUsize::new(0), physical: AtomicU64::new(0), length: AtomicUsize::new(0) }
    }

    /// Sets it.
    pub(crate) fn set(&self, address: usize, physical: u64, length: usize) {
        self.address.store(address, Ordering::Relaxed);
        self.physical.store(physical, Ordering::Relaxed);
        self.length.store(length, Ordering::Release);
    }

    fn physical(&self, address: usize, length: usize) -> Option<u64> {
        let offset = address.checked_sub(self.address.load(Ordering::Relaxed))?;
        let end = offset.checked_add(length)?;
        (end <= self.length.load(Ordering::Acquire)).then(|| self.physical.load(Ordering::Relaxed) + offset as u64)
    }
}

/// What `virtio-drivers` needs of the platform.
#[derive(Debug)]
pub(crate) enum Platform {}

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
        let physical = RING.physical(address, length).or_else(|| POOL.physical(address, length));
        physical.expect("requests are made of the ring's memory and the pool's")
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {
        // The device used the memory itself, and the processor's caches know of it.
    }
}

/// A structure of registers behind a base address register, which several structures may share.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    registers: Rc<DeviceRegisters>,
    offset: usize,
    length: usize,
}

impl Window {
    /// The `length` bytes from `offset` on; `None` if they are not all mapped.
    pub(crate) fn new(registers: Rc<DeviceRegisters>, offset: u64, length: u64) -> Option<Self> {
        let (offset, length) = (usize::try_from(offset).ok()?, usize::try_from(length).ok()?);
        let inside = offset.checked_add(length)? <= registers.len();
        inside.then_some(Self { registers, offset, length })
    }

    fn at(&self, offset: usize, width: usize) -> usize {
        // Outside of the structure is outside of everything that is mapped.
        if offset.checked_add(width).is_some_and(|end| end <= self.length) { self.offset + offset } else { usize::MAX }
    }
}

impl Registers for Window {
    fn length(&self) -> usize {
        self.length
    }

    fn read8(&self, offset: usize) -> u8 {
        self.registers.read(self.at(offset, 1)).unwrap_or(u8::MAX)
    }

    fn read16(&self, offset: usize) -> u16 {
        self.registers.read(self.at(offset, 2)).unwrap_or(u16::MAX)
    }

    fn read32(&self, offset: usize) -> u32 {
        self.registers.read(self.at(offset, 4)).unwrap_or(u32::MAX)
    }

    // What lies outside of the structure takes no value.
    fn write8(&self, offset: usize, value: u8) {
        let _ = self.registers.write(self.at(offset, 1), value);
    }

    fn write16(&self, offset: usize, value: u16) {
        let _ = self.registers.write(self.at(offset, 2), value);
    }

    fn write32(&self, offset: usize, value: u32) {
        let _ = self.registers.write(self.at(offset, 4), value);
    }
}
