//! A driver of virtio devices, as far as tests need one: it finds the device as Linux does and fills its queues.

use vmm::memory::{FlatMemory, GuestMemory};
use vmm::pci::{ConfigPorts, Function, HostBridge, InterruptMessage};
use vmm::virtio::{Device, PciTransport};

pub(super) const REGISTERS: u32 = 0xc000_0000;
pub(super) const TABLE: u32 = 0xc000_4000;
/// Where the rings of queue 0 are, and how far the next ones are behind.
pub(super) const RINGS: u64 = 0x1000;
pub(super) const RINGS_APART: u64 = 0x4000;
const AVAILABLE: u64 = 0x1000;
const USED: u64 = 0x2000;
/// Memory for buffers.
pub(super) const DATA: u64 = 0x1_0000;
pub(super) const MEMORY: usize = 0x4_0000;
const VERSION_1: u64 = 1 << 32;

pub(super) const NEXT: u16 = 1;
pub(super) const WRITE: u16 = 2;

/// A device on a bus, memory, and what a driver knows of them.
pub(super) struct Bench<D: Device> {
    pub(super) function: PciTransport<D>,
    pub(super) memory: FlatMemory,
    next: Vec<u16>,
    seen: Vec<u16>,
}

impl<D: Device> Bench<D> {
    pub(super) fn new(device: D) -> Self {
        let queues = device.queue_sizes().len();
        let function = PciTransport::new(device, REGISTERS, TABLE, 10);
        let mut bench =
            Self { function, memory: FlatMemory::new(MEMORY), next: vec![0; queues], seen: vec![0; queues] };
        bench.config_write(0x04, &[0x06, 0x00]);
        bench
    }

    /// One whose driver is at work, with all features.
    pub(super) fn started(device: D) -> Self {
        let mut bench = Self::new(device);
        bench.start();
        bench
    }

    pub(super) fn config_write(&mut self, offset: u32, bytes: &[u8]) {
        let mut ports = ConfigPorts::new();
        let (mut bridge, address) = (HostBridge::new(), 0x8000_0800 | offset & 0xfc);
        let mut slots: [&mut dyn Function; 2] = [&mut bridge, &mut self.function];
        assert!(ports.write(0xcf8, &address.to_le_bytes(), &mut slots));
        assert!(ports.write(0xcfc + (offset & 3) as u16, bytes, &mut slots));
    }

    pub(super) fn config_read(&mut self, offset: u32) -> u32 {
        let mut ports = ConfigPorts::new();
        let (mut bridge, address) = (HostBridge::new(), 0x8000_0800 | offset & 0xfc);
        let mut slots: [&mut dyn Function; 2] = [&mut bridge, &mut self.function];
        assert!(ports.write(0xcf8, &address.to_le_bytes(), &mut slots));
        let mut bytes = [0; 4];
        assert!(ports.read(0xcfc, &mut bytes, &mut slots));
        u32::from_le_bytes(bytes)
    }

    pub(super) fn get(&mut self, address: u32, size: usize) -> u64 {
        let (memory, offset) = self.function.memory_at(u64::from(address)).expect("the memory is enabled");
        let mut bytes = [0; 8];
        self.function.read(memory, offset, &mut bytes[..size]);
        u64::from_le_bytes(bytes)
    }

    pub(super) fn set(&mut self, address: u32, size: usize, value: u64) {
        let (memory, offset) = self.function.memory_at(u64::from(address)).expect("the memory is enabled");
        self.function.write(memory, offset, &value.to_le_bytes()[..size]);
    }

    pub(super) fn common(&mut self, offset: u32, size: usize) -> u64 {
        self.get(REGISTERS + offset, size)
    }

    pub(super) fn set_common(&mut self, offset: u32, size: usize, value: u64) {
        self.set(REGISTERS + offset, size, value);
    }

    pub(super) fn status(&mut self) -> u8 {
        self.common(20, 1) as u8
    }

    pub(super) fn features(&mut self) -> u64 {
        self.set_common(0, 4, 0);
        let low = self.common(4, 4);
        self.set_common(0, 4, 1);
        low | self.common(4, 4) << 32
    }

    pub(super) fn accept(&mut self, features: u64) {
        for (select, half) in [(0, features & 0xffff_ffff), (1, features >> 32)] {
            self.set_common(8, 4, select);
            self.set_common(12, 4, half);
        }
    }

    pub(super) fn start(&mut self) {
        self.set_common(20, 1, 0);
        assert_eq!(self.status(), 0);
        self.set_common(20, 1, 1);
        self.set_common(20, 1, 3);
        let features = self.features();
        assert_ne!(features & VERSION_1, 0);
        self.accept(features);
        self.set_common(20, 1, 0xb);
        assert_eq!(self.status(), 0xb, "the features are accepted");
        for queue in 0..self.common(18, 2) {
            self.set_common(22, 2, queue);
            let rings = RINGS + RINGS_APART * queue;
            self.set_common(32, 8, rings);
            self.set_common(40, 8, rings + AVAILABLE);
            self.set_common(48, 8, rings + USED);
            self.memory.write(rings, &[0; RINGS_APART as usize]).unwrap();
            self.set_common(26, 2, queue + 1);
            self.set_common(28, 2, 1);
            assert_eq!(self.common(28, 2), 1);
        }
        self.next.fill(0);
        self.seen.fill(0);
        self.set_common(20, 1, 0xf);
        assert_eq!(self.status(), 0xf);
        self.process();
    }

    pub(super) fn descriptor(
        &mut self,
        queue: usize,
        index: u16,
        (address, length, flags, next): (u64, u32, u16, u16),
    ) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&address.to_le_bytes());
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        let place = RINGS + RINGS_APART * queue as u64 + 16 * u64::from(index);
        self.memory.write(place, &bytes).unwrap();
    }

    /// Makes a chain available whose descriptors begin at `first`: pieces of memory with their flags.
    pub(super) fn offer(&mut self, queue: usize, first: u16, pieces: &[(u64, u32, u16)]) {
        for (at, (address, length, flags)) in pieces.iter().enumerate() {
            let index = first + at as u16;
            let more = if at + 1 < pieces.len() { NEXT } else { 0 };
            self.descriptor(queue, index, (*address, *length, flags | more, index + 1));
        }
        self.make_available(queue, first);
    }

    pub(super) fn make_available(&mut self, queue: usize, head: u16) {
        self.set_common(22, 2, queue as u64);
        let size = self.common(24, 2) as u16;
        let ring = RINGS + RINGS_APART * queue as u64 + AVAILABLE;
        self.memory.write(ring + 4 + 2 * u64::from(self.next[queue] % size), &head.to_le_bytes()).unwrap();
        self.next[queue] = self.next[queue].wrapping_add(1);
        self.set_available(queue, self.next[queue]);
    }

    pub(super) fn set_available(&mut self, queue: usize, index: u16) {
        let ring = RINGS + RINGS_APART * queue as u64 + AVAILABLE;
        self.memory.write(ring + 2, &index.to_le_bytes()).unwrap();
    }

    /// Asks for no interrupts of this queue.
    pub(super) fn silence(&mut self, queue: usize) {
        let ring = RINGS + RINGS_APART * queue as u64 + AVAILABLE;
        self.memory.write(ring, &1_u16.to_le_bytes()).unwrap();
    }

    pub(super) fn notify(&mut self, queue: usize) {
        self.set(REGISTERS + 0x3000 + 4 * queue as u32, 2, queue as u64);
        self.process();
    }

    pub(super) fn process(&mut self) {
        self.function.process(&mut self.memory);
    }

    /// The next chain that came back, and how many bytes were written to it.
    pub(super) fn used(&mut self, queue: usize) -> Option<(u32, u32)> {
        self.set_common(22, 2, queue as u64);
        let size = self.common(24, 2) as u16;
        let ring = RINGS + RINGS_APART * queue as u64 + USED;
        if self.memory.read_u16(ring + 2).unwrap() == self.seen[queue] {
            return None;
        }
        let place = ring + 4 + 8 * u64::from(self.seen[queue] % size);
        self.seen[queue] = self.seen[queue].wrapping_add(1);
        Some((self.memory.read_u32(place).unwrap(), self.memory.read_u32(place + 4).unwrap()))
    }

    /// Puts the function's memory back to where it was, and lets it access memory.
    pub(super) fn place(&mut self) {
        self.config_write(0x04, &[0x06, 0x00]);
        self.config_write(0x10, &REGISTERS.to_le_bytes());
        self.config_write(0x14, &TABLE.to_le_bytes());
    }

    pub(super) fn queue_exists(&mut self, queue: usize) -> bool {
        self.set_common(22, 2, queue as u64);
        self.common(24, 2) != 0
    }

    pub(super) fn memory_write(&mut self, address: u64, bytes: &[u8]) {
        self.memory.write(address, bytes).unwrap();
    }

    pub(super) fn bytes(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory.read(address, &mut bytes).unwrap();
        bytes
    }

    /// Switches MSI-X on, with the vector's number as data.
    pub(super) fn enable_messages(&mut self) {
        let at = self.config_read(0x34) & 0xff;
        assert_eq!(self.config_read(at) & 0xff, 0x11, "MSI-X comes first");
        let vectors = (self.config_read(at) >> 16 & 0x7ff) + 1;
        for vector in 0..vectors {
            let entry = TABLE + 16 * vector;
            self.set(entry, 4, 0xfee0_1000);
            self.set(entry + 8, 4, 0x40 + u64::from(vector));
            self.set(entry + 12, 4, 0);
        }
        self.config_write(at + 2, &((vectors - 1) as u16 | 1 << 15).to_le_bytes());
    }

    pub(super) fn messages(&mut self) -> Vec<u32> {
        let mut data = Vec::new();
        while let Some(InterruptMessage { address, data: one }) = self.function.take_message() {
            assert_eq!(address, 0xfee0_1000);
            data.push(one);
        }
        data
    }
}
