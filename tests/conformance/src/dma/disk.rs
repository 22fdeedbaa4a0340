//! A virtio block device with one queue, driven by hand (Virtual I/O Device 1.2: 2.7 for queues, 4.1 for PCI, 5.2 for blocks).

use super::function::Function;
use super::lab::Device;
use super::registers::Registers;
use crate::actor::Memory;
use crate::bench::{Bench, WINDOW};
use crate::call::{sleep, until};
use crate::outcome::{Failure, Outcome, holds};
use abi::PAGE_SIZE;
use abi::device::SourceId;
use core::cell::Cell;
use core::sync::atomic::{Ordering, fence};

/// Vendor and device.
const IDENTITY: u32 = 0x1042_1af4;
/// Capabilities that say where registers are (4.1.4): their identifier, and the kinds that are wanted.
const WHERE: u8 = 0x09;
const COMMON: u8 = 1;
const NOTIFY: u8 = 2;

/// Common registers (4.1.4.3).
const FEATURE_HALF: usize = 0x00;
const FEATURES: usize = 0x04;
const ACCEPTED_HALF: usize = 0x08;
const ACCEPTED: usize = 0x0c;
const STATUS: usize = 0x14;
const QUEUE: usize = 0x16;
const QUEUE_LENGTH: usize = 0x18;
const QUEUE_ON: usize = 0x1c;
const QUEUE_PARTS: [usize; 3] = [0x20, 0x28, 0x30];
/// Bits of the status (2.1).
const FOUND_BY_A_DRIVER: u8 = 0b11;
const FEATURES_OK: u8 = 1 << 3;
const DRIVER_OK: u8 = 1 << 2;
const NEEDS_RESET: u8 = 1 << 6;
/// In the upper half of the features: it keeps to the standard, and to what the machine does with its addresses (6).
const MODERN: u32 = 1 << 0;
const PLATFORM: u32 = 1 << 1;

/// Slots of the queue, and where in the page its parts are.
const SLOTS: u16 = 4;
const DESCRIPTORS: usize = 0x000;
const ORDERS: usize = 0x100;
const ANSWERS: usize = 0x200;
const REQUEST: usize = 0x300;
const VERDICT: usize = 0x310;
/// Bytes of an entry of the table of descriptors; its flags: another one follows, and the device writes.
const DESCRIPTOR: usize = 16;
const FOLLOWED: u16 = 1;
const WRITTEN: u16 = 2;

/// Where its pages are mapped.
const PLACE: u64 = 16;
/// The page with the queue.
const RINGS: Memory = Memory(WINDOW + 2 * PAGE_SIZE);

/// What it can be asked to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// From the disk to memory.
    Read = 0,
    /// From memory to the disk.
    Write = 1,
}

/// Where the device finds the parts of its queue.
#[derive(Clone, Copy)]
pub(super) struct Queue {
    pub(super) descriptors: u64,
    pub(super) orders: u64,
    pub(super) answers: u64,
}

impl Queue {
    /// All parts where they belong, in the page that the device finds at `rings`.
    pub(super) const fn at(rings: u64) -> Self {
        Queue {
            descriptors: rings + DESCRIPTORS as u64,
            orders: rings + ORDERS as u64,
            answers: rings + ANSWERS as u64,
        }
    }
}

/// The device.
pub(super) struct Disk {
    function: Function,
    common: Registers,
    bell: Registers,
    bell_at: usize,
    asked: Cell<u16>,
}

impl Disk {
    /// A page of registers and the offset in it that the capability of this kind names.
    fn block(bench: &Bench, function: &Function, kind: u8, place: u64) -> Result<(Registers, usize), Failure> {
        let at = function.capabilities(WHERE).find(|at| (function.word(*at) >> 24) as u8 == kind);
        let at = at.ok_or_else(|| Failure::new("the disk does not say where its registers are".into()))?;
        let address = function.base((function.word(at + 4) & 0xff) as usize) + u64::from(function.word(at + 8));
        Ok((Registers::map(bench, address & !(PAGE_SIZE - 1), place)?, (address % PAGE_SIZE) as usize))
    }

    /// The page for its queue, which the processor sees from now on: the capability.
    pub(super) fn rings(bench: &mut Bench) -> Result<u64, Failure> {
        let memory = bench.memory(1)?;
        bench.map(memory, RINGS.0, 1)?;
        Ok(memory)
    }

    /// Resets it and lets it begin with a queue.
    pub(super) fn start(&self, queue: Queue) -> Outcome {
        let common = &self.common;
        common.write(STATUS, 0_u8);
        holds(until(|| common.read::<u8>(STATUS) == 0), "the disk resets")?;
        (0..PAGE_SIZE as usize).for_each(|place| RINGS.set_byte(place, 0));
        self.asked.set(0);
        common.write(STATUS, FOUND_BY_A_DRIVER);
        common.write(FEATURE_HALF, 1_u32);
        let accepted = common.read::<u32>(FEATURES) & (MODERN | PLATFORM);
        for (half, bits) in [(0_u32, 0_u32), (1, accepted)] {
            common.write(ACCEPTED_HALF, half);
            common.write(ACCEPTED, bits);
        }
        common.write(STATUS, FOUND_BY_A_DRIVER | FEATURES_OK);
        holds(common.read::<u8>(STATUS) & FEATURES_OK != 0, "the disk accepts what is accepted")?;
        common.write(QUEUE, 0_u16);
        common.write(QUEUE_LENGTH, SLOTS);
        for (register, address) in QUEUE_PARTS.into_iter().zip([queue.descriptors, queue.orders, queue.answers]) {
            common.write(register, address as u32);
            common.write(register + 4, (address >> 32) as u32);
        }
        common.write(QUEUE_ON, 1_u16);
        common.write(STATUS, FOUND_BY_A_DRIVER | FEATURES_OK | DRIVER_OK);
        Ok(())
    }

    /// Writes the descriptors of a request to the page of the queue, which the device finds at `rings`.
    fn describe(rings: u64, request: Request, sector: u64, memory: u64, bytes: u32) {
        let written = if request == Request::Read { WRITTEN } else { 0 };
        put(REQUEST, &(request as u32).to_le_bytes());
        put(REQUEST + 4, &[0; 4]);
        put(REQUEST + 8, &sector.to_le_bytes());
        RINGS.set_byte(VERDICT, 0xff);
        let parts = [
            (rings + REQUEST as u64, 16, FOLLOWED),
            (memory, bytes, FOLLOWED | written),
            (rings + VERDICT as u64, 1, WRITTEN),
        ];
        for (number, (address, bytes, flags)) in parts.into_iter().enumerate() {
            let at = DESCRIPTORS + number * DESCRIPTOR;
            put(at, &u64::to_le_bytes(address));
            put(at + 8, &u32::to_le_bytes(bytes));
            put(at + 12, &flags.to_le_bytes());
            put(at + 14, &(number as u16 + 1).to_le_bytes());
        }
    }

    /// Orders a copy between a sector and memory, by a queue in the page that it finds at `rings`, and does not ring yet.
    pub(super) fn order(&self, rings: u64, request: Request, sector: u64, memory: u64, bytes: u32) {
        Self::describe(rings, request, sector, memory, bytes);
        let asked = self.asked.get();
        put(ORDERS + 4 + 2 * usize::from(asked % SLOTS), &0_u16.to_le_bytes());
        self.asked.set(asked.wrapping_add(1));
        put(ORDERS + 2, &self.asked.get().to_le_bytes());
    }

    /// Orders a copy and waits for it: whether the disk says that it is done.
    pub(super) fn ask(
        &self,
        rings: u64,
        request: Request,
        sector: u64,
        memory: u64,
        bytes: u32,
    ) -> Result<bool, Failure> {
        self.order(rings, request, sector, memory, bytes);
        self.ring();
        let asked = self.asked.get();
        let answered = || u16::from_le_bytes([RINGS.byte(ANSWERS + 2), RINGS.byte(ANSWERS + 3)]) == asked;
        let broken = || self.common.read::<u8>(STATUS) & NEEDS_RESET != 0;
        holds(until(|| answered() || broken()), "the disk answers or gives up")?;
        Ok(answered() && RINGS.byte(VERDICT) == 0)
    }

    fn ring(&self) {
        fence(Ordering::SeqCst);
        self.bell.write(self.bell_at, 0_u16);
    }

    /// Rings where no answer is to be seen, and gives it as long as many answers take.
    pub(super) fn ring_unheard(&self) {
        self.ring();
        sleep(200_000_000);
    }
}

/// Bytes of orders that ask for the chain that begins with descriptor 0, as another page may hold them.
pub(super) const ONE_ORDER: [u8; 6] = [0, 0, 1, 0, 0, 0];

/// Writes to the page of the queue.
fn put(at: usize, bytes: &[u8]) {
    bytes.iter().enumerate().for_each(|(place, byte)| RINGS.set_byte(at + place, *byte));
}

impl Device for Disk {
    fn find(bench: &mut Bench) -> Result<Self, Failure> {
        let function = Function::only(bench, IDENTITY, "virtio-blk-pci", PLACE)?;
        let (common, at) = Self::block(bench, &function, COMMON, PLACE + 1)?;
        holds(at == 0, "the common registers begin a page")?;
        let (bell, bell_at) = Self::block(bench, &function, NOTIFY, PLACE + 2)?;
        Ok(Disk { function, common, bell, bell_at, asked: Cell::new(0) })
    }

    fn source(&self) -> SourceId {
        self.function.source
    }

    fn leave(&self) -> Outcome {
        self.common.write(STATUS, 0_u8);
        self.common.unmap()?;
        self.bell.unmap()?;
        self.function.leave()
    }
}
