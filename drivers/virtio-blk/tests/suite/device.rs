//! A virtio disk in memory. Physical addresses are those of this program.

use std::cell::RefCell;
use std::rc::Rc;
use virtio_blk::transport::{Device, VectorRefused, Vectors};
use virtio_drivers::Error;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use zerocopy::{FromBytes, Immutable, IntoBytes};

pub(crate) const VERSION_1: u64 = 1 << 32;
pub(crate) const EVENT_INDEX: u64 = 1 << 29;
pub(crate) const FLUSH: u64 = 1 << 9;
pub(crate) const READ_ONLY: u64 = 1 << 5;
pub(crate) const SIZE_MAX: u64 = 1 << 1;
pub(crate) const SEG_MAX: u64 = 1 << 2;
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// How the device breaks its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// It completes a request of this number instead.
    Id(u32),
    /// It says that it has written so many bytes more.
    Length(i32),
    /// It writes this status.
    Status(u8),
    /// It says that it has completed so many requests more than it has.
    Jump(u16),
    /// It completes everything twice.
    Twice,
    /// It never completes anything.
    Silence,
}

#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    descriptors: u64,
    available: u64,
    used: u64,
    size: u16,
    taken: u16,
    completed: u16,
    enabled: bool,
}

/// The device's state.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) contents: Vec<u8>,
    pub(crate) features: u64,
    pub(crate) accepted: u64,
    pub(crate) refuses_features: bool,
    pub(crate) status: u32,
    pub(crate) queue_size: u32,
    pub(crate) size_max: u32,
    pub(crate) seg_max: u32,
    pub(crate) has_config: bool,
    pub(crate) generation: u32,
    pub(crate) unstable: bool,
    pub(crate) refuses_vectors: bool,
    pub(crate) stays_set: bool,
    /// Looks at the status until the device is taken out; it is gone when none are left.
    pub(crate) leaves_after: Option<u32>,
    pub(crate) resets: usize,
    pub(crate) lie: Option<Lie>,
    /// Requests until the lie, and how many lies there are.
    pub(crate) lies_left: u32,
    pub(crate) failing_sector: Option<u64>,
    pub(crate) notified: bool,
    pub(crate) executed: Vec<(u32, u64)>,
    /// Heads that were taken from the queue and are not complete.
    waiting: Vec<u16>,
    queue: Queue,
}

#[derive(Clone, Debug)]
pub(crate) struct FakeDisk(pub(crate) Rc<RefCell<Inner>>);

impl FakeDisk {
    pub(crate) fn new(sectors: usize) -> Self {
        FakeDisk(Rc::new(RefCell::new(Inner {
            contents: (0..sectors * 512).map(|index| (index / 512 + index) as u8).collect(),
            features: VERSION_1 | FLUSH | EVENT_INDEX,
            accepted: 0,
            refuses_features: false,
            status: 0,
            queue_size: 256,
            size_max: 0,
            seg_max: 0,
            has_config: true,
            generation: 0,
            unstable: false,
            refuses_vectors: false,
            stays_set: false,
            leaves_after: None,
            resets: 0,
            lie: None,
            lies_left: 0,
            failing_sector: None,
            notified: false,
            executed: Vec::new(),
            waiting: Vec::new(),
            queue: Queue::default(),
        })))
    }

    /// It is taken out, and does nothing any more.
    pub(crate) fn leave(&self) {
        self.leave_after(0);
    }

    /// It is taken out when the driver has looked at its status so many times.
    pub(crate) fn leave_after(&self, looks: u32) {
        self.0.borrow_mut().leaves_after = Some(looks);
    }

    /// It is put back, and remembers nothing but what is stored.
    pub(crate) fn come_back(&self) {
        let mut inner = self.0.borrow_mut();
        (inner.leaves_after, inner.status, inner.queue) = (None, 0, Queue::default());
        inner.waiting.clear();
    }

    pub(crate) fn lie(&self, lie: Lie, times: u32) {
        let mut inner = self.0.borrow_mut();
        inner.lie = Some(lie);
        inner.lies_left = times;
    }

    /// Executes everything that is in the queue.
    pub(crate) fn run(&self) {
        while self.step(0) {}
    }

    /// Executes one of the requests in the queue: which one follows from `choice`. Whether there was one.
    pub(crate) fn step(&self, choice: usize) -> bool {
        self.0.borrow_mut().step(choice)
    }
}

/// Reads a value of the program's memory as a device does.
fn load<T: Copy>(address: u64) -> T {
    // SAFETY: the driver under test names only memory that it has; a mistake of its is a crash of the test.
    unsafe { (address as *const T).read_volatile() }
}

fn store<T>(address: u64, value: T) {
    // SAFETY: as in `load`.
    unsafe { (address as *mut T).write_volatile(value) };
}

impl Inner {
    fn step(&mut self, choice: usize) -> bool {
        if self.status & DeviceStatus::DRIVER_OK.bits() == 0 || !self.queue.enabled {
            return false;
        }
        let queue = &mut self.queue;
        while queue.taken != load::<u16>(queue.available + 2) {
            let place = u64::from(queue.taken % queue.size);
            self.waiting.push(load(queue.available + 4 + 2 * place));
            queue.taken = queue.taken.wrapping_add(1);
        }
        // From the next one on the device wants to be told.
        store(queue.used + 4 + 8 * u64::from(queue.size), queue.taken);
        if self.waiting.is_empty() {
            return false;
        }
        let head = self.waiting.remove(choice % self.waiting.len());
        let (status_address, status, written) = self.execute(head);
        let lie = self.lie.filter(|_| self.lies_left > 0);
        self.lies_left -= u32::from(lie.is_some());
        let (mut id, mut length, mut result, mut times) = (u32::from(head), written, status, 1);
        let mut jump = 0;
        match lie {
            Some(Lie::Silence) => return true,
            Some(Lie::Id(other)) => id = other,
            Some(Lie::Length(more)) => length = length.wrapping_add_signed(more),
            Some(Lie::Status(other)) => result = other,
            Some(Lie::Jump(more)) => jump = more,
            Some(Lie::Twice) => times = 2,
            None => {}
        }
        store(status_address, result);
        let queue = &mut self.queue;
        for _ in 0..times {
            let element = queue.used + 4 + 8 * u64::from(queue.completed % queue.size);
            store(element, id);
            store(element + 4, length);
            queue.completed = queue.completed.wrapping_add(1);
        }
        store(queue.used + 2, queue.completed.wrapping_add(jump));
        true
    }

    /// Executes the request at `head`: where its status belongs, its status, and how many bytes were written.
    fn execute(&mut self, head: u16) -> (u64, u8, u32) {
        let mut index = head;
        let mut parts = Vec::new();
        loop {
            assert!(index < self.queue.size, "a descriptor is in the table");
            let descriptor = self.queue.descriptors + 16 * u64::from(index);
            let (address, length) = (load::<u64>(descriptor), load::<u32>(descriptor + 8));
            let flags = load::<u16>(descriptor + 12);
            parts.push((address, length as usize, flags & WRITE != 0));
            if flags & NEXT == 0 {
                break;
            }
            index = load(descriptor + 14);
        }
        let (header, status) = (parts.remove(0), parts.pop().expect("a status"));
        assert_eq!((header.1, header.2), (16, false));
        assert_eq!((status.1, status.2), (1, true));
        if self.accepted & SIZE_MAX != 0 {
            assert!(parts.iter().all(|part| part.1 <= self.size_max as usize));
        }
        if self.accepted & SEG_MAX != 0 {
            assert!(parts.len() <= self.seg_max as usize);
        }
        let (kind, sector) = (load::<u32>(header.0), load::<u64>(header.0 + 8));
        let mut offset = sector as usize * 512;
        let end = offset + parts.iter().map(|part| part.1).sum::<usize>();
        let sectors = sector..sector.max((end / 512) as u64);
        self.executed.push((kind, sector));
        if end > self.contents.len() || self.failing_sector.is_some_and(|failing| sectors.contains(&failing)) {
            return (status.0, 1, 1);
        }
        let mut written = 1;
        for (address, length, writable) in parts {
            let range = &mut self.contents[offset..offset + length];
            match kind {
                0 => {
                    assert!(writable);
                    (0u64..).zip(range.iter()).for_each(|(at, byte)| store(address + at, *byte));
                    written += length as u32;
                }
                1 => {
                    assert!(!writable && self.features & READ_ONLY == 0);
                    (0u64..).zip(range.iter_mut()).for_each(|(at, byte)| *byte = load(address + at));
                }
                _ => panic!("a request of kind {kind} with data"),
            }
            offset += length;
        }
        let known = kind <= 1 || kind == 4 && self.accepted & FLUSH != 0;
        (status.0, if known { 0 } else { 2 }, written)
    }
}

impl Transport for FakeDisk {
    fn device_type(&self) -> DeviceType {
        DeviceType::Block
    }

    fn read_device_features(&mut self) -> u64 {
        self.0.borrow().features
    }

    fn write_driver_features(&mut self, features: u64) {
        let mut inner = self.0.borrow_mut();
        assert_eq!(features & !inner.features, 0, "only what was offered is accepted");
        inner.accepted = features;
    }

    fn max_queue_size(&mut self, _: u16) -> u32 {
        self.0.borrow().queue_size
    }

    fn notify(&mut self, _: u16) {
        self.0.borrow_mut().notified = true;
    }

    fn get_status(&self) -> DeviceStatus {
        let mut inner = self.0.borrow_mut();
        match &mut inner.leaves_after {
            Some(0) => DeviceStatus::from_bits_retain(0xff),
            Some(left) => {
                *left -= 1;
                DeviceStatus::from_bits_retain(inner.status)
            }
            None => DeviceStatus::from_bits_retain(inner.status),
        }
    }

    fn set_status(&mut self, status: DeviceStatus) {
        let mut inner = self.0.borrow_mut();
        if inner.leaves_after == Some(0) {
            return;
        }
        if status.is_empty() {
            if inner.stays_set {
                return;
            }
            inner.resets += 1;
            inner.waiting.clear();
            inner.queue = Queue::default();
        }
        inner.status = status.bits();
        if inner.refuses_features {
            inner.status &= !DeviceStatus::FEATURES_OK.bits();
        }
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(&mut self, _: u16, size: u32, descriptors: u64, available: u64, used: u64) {
        let size = size as u16;
        self.0.borrow_mut().queue = Queue { descriptors, available, used, size, taken: 0, completed: 0, enabled: true };
    }

    fn queue_unset(&mut self, _: u16) {}

    fn queue_used(&mut self, _: u16) -> bool {
        self.0.borrow().queue.enabled
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        let mut inner = self.0.borrow_mut();
        inner.generation += u32::from(inner.unstable);
        inner.generation
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T, Error> {
        let inner = self.0.borrow();
        if !inner.has_config {
            return Err(Error::ConfigSpaceMissing);
        }
        let mut config = [0; 64];
        config[..8].copy_from_slice(&(inner.contents.len() as u64 / 512).to_le_bytes());
        config[8..12].copy_from_slice(&inner.size_max.to_le_bytes());
        config[12..16].copy_from_slice(&inner.seg_max.to_le_bytes());
        T::read_from_bytes(&config[offset..offset + size_of::<T>()]).map_err(|_| Error::ConfigSpaceTooSmall)
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, _: usize, _: T) -> Result<(), Error> {
        unreachable!("nothing is written there")
    }
}

impl Device for FakeDisk {
    fn set_vectors(&mut self, _: Vectors) -> Result<(), VectorRefused> {
        Ok(())
    }

    fn has_queue_vector(&self) -> bool {
        !self.0.borrow().refuses_vectors
    }
}
