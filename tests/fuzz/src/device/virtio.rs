//! Virtio devices: arbitrary accesses to their registers, arbitrary rings and descriptors.

use super::steps;
use crate::bytes::Bytes;
use vmm::memory::{FlatMemory, GuestMemory};
use vmm::pci::Function;
use vmm::virtio::{
    Block, Console, Device, Disk, DiskBusy, DiskError, Entropy, EntropySource, Link, LinkBusy, Network, PciTransport,
    Request, Tag,
};

const REGISTERS: u32 = 0xc000_0000;
const TABLE: u32 = 0xc000_4000;
const MEMORY: usize = 0x1_0000;
/// Where the rings of a queue are: descriptors, then what is available, then what is used.
const RINGS: u64 = 0x1000;
const AVAILABLE: u64 = 0x800;
const USED: u64 = 0xa00;
const DATA: u64 = 0x4000;
/// Flags of a descriptor.
const NEXT: u16 = 1;
const WRITE: u16 = 2;
/// Messages that a device of ours can have to send at once: one a queue, and one for the configuration.
const MESSAGES: usize = 3;

/// Requests that were not carried out yet.
#[derive(Debug, Default)]
struct Requests(Vec<(Tag, u64)>);

impl Disk for Requests {
    fn sectors(&self) -> u64 {
        64
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), DiskBusy> {
        if self.0.len() >= 4 {
            return Err(DiskBusy);
        }
        assert!(request.length <= 64 * 512 && request.sector + request.length / 512 <= 64, "{request:?}");
        let mut data = [0; 512];
        let _known = request.data(0, &mut data);
        self.0.push((request.tag, request.length));
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Wire {
    room: usize,
    coming: usize,
}

impl Link for Wire {
    fn send(&mut self, frame: &[u8]) -> Result<(), LinkBusy> {
        assert!(!frame.is_empty() && frame.len() <= vmm::virtio::FRAME_BYTES);
        self.room = self.room.checked_sub(1).ok_or(LinkBusy)?;
        Ok(())
    }

    fn has_frame(&mut self) -> bool {
        self.coming > 0
    }

    fn receive(&mut self, into: &mut [u8]) -> usize {
        self.coming -= 1;
        into.len().min(self.coming * 100)
    }
}

#[derive(Debug)]
struct Nines;

impl EntropySource for Nines {
    fn fill(&mut self, into: &mut [u8]) {
        into.fill(9);
    }
}

pub(super) fn disk(bytes: &mut Bytes<'_>) -> usize {
    play(Block::new(Requests::default(), "fuzz"), bytes, |disk, what, memory| {
        if disk.disk().0.is_empty() {
            return;
        }
        let index = usize::from(what) % disk.disk().0.len();
        let (tag, length) = disk.disk().0.swap_remove(index);
        let filled = disk.fill(tag, 0, &vec![7; length as usize], memory);
        let outcome = if what & 0x80 == 0 { Ok(()) } else { Err(DiskError) };
        let completed = disk.complete(tag, outcome);
        assert!(completed.is_ok() || filled.is_err(), "what can be filled can be completed");
    })
}

pub(super) fn console(bytes: &mut Bytes<'_>) -> usize {
    play(Console::new(80, 25), bytes, |console, what, _| {
        console.receive(&vec![what; usize::from(what) * 8]);
        if what & 1 != 0 {
            assert!(console.take_output().len() <= 4096);
        }
    })
}

pub(super) fn network(bytes: &mut Bytes<'_>) -> usize {
    play(Network::new(Wire::default(), [2, 0, 0, 0, 0, 1]), bytes, |network, what, _| {
        network.link().room = usize::from(what & 3);
        network.link().coming = usize::from(what >> 2 & 15);
    })
}

pub(super) fn entropy(bytes: &mut Bytes<'_>) -> usize {
    play(Entropy::new(Nines), bytes, |_, _, _| {})
}

/// A driver and its device.
struct Guest<D> {
    function: PciTransport<D>,
    memory: FlatMemory,
    next: [u16; 2],
}

impl<D: Device> Guest<D> {
    fn write(&mut self, offset: u64, value: u64, size: usize) {
        if let Some((memory, offset)) = self.function.memory_at(u64::from(REGISTERS) + offset) {
            self.function.write(memory, offset, &value.to_le_bytes()[..size]);
        }
    }

    fn status(&mut self) -> u8 {
        let mut status = [0];
        self.function.read(0, 20, &mut status);
        status[0]
    }

    /// As a driver that obeys the rules.
    fn start(&mut self) {
        self.function.write_config(0x04, &[0x06, 0]);
        self.function.write_config(0x10, &REGISTERS.to_le_bytes());
        self.function.write_config(0x14, &TABLE.to_le_bytes());
        self.write(20, 0, 1);
        self.write(20, 3, 1);
        self.write(8, 1, 4);
        self.write(12, 1, 4);
        self.write(20, 11, 1);
        for queue in 0..2 {
            let rings = RINGS + 0x1000 * queue;
            self.write(22, queue, 2);
            for (offset, value, size) in [
                (24, 8, 2),
                (32, rings, 8),
                (40, rings + AVAILABLE, 8),
                (48, rings + USED, 8),
                (26, queue + 1, 2),
                (28, 1, 2),
            ] {
                self.write(offset, value, size);
            }
            let zeroes = self.memory.write(rings + AVAILABLE, &[0; 0x400]);
            assert!(zeroes.is_ok());
        }
        self.next = [0; 2];
        self.write(20, 15, 1);
        assert_eq!((self.status(), self.function.error()), (15, None), "a driver that obeys the rules can start");
    }

    /// Makes a chain available that begins anywhere, if the queue is where the driver has put it.
    fn offer(&mut self, queue: usize, head: u16) {
        let ring = RINGS + 0x1000 * queue as u64 + AVAILABLE;
        let place = ring + 4 + 2 * u64::from(self.next[queue] % 8);
        self.next[queue] = self.next[queue].wrapping_add(1);
        let written = self
            .memory
            .write(place, &head.to_le_bytes())
            .and(self.memory.write(ring + 2, &self.next[queue].to_le_bytes()));
        assert!(written.is_ok());
    }

    /// Makes a chain available that is one of the disk's requests: a header, data, room for a status.
    fn ask(&mut self, queue: usize, bytes: &mut Bytes<'_>) {
        let what = bytes.byte();
        let kind = u32::from(what & 15);
        let sector = if what & 0x80 == 0 { u64::from(bytes.byte()) } else { bytes.word() };
        let length = u32::from(bytes.byte()) * if what & 0x40 == 0 { 512 } else { 100 };
        let first = u64::from(what >> 4 & 3);
        let header = DATA + 16 * first;
        let data_flags = if kind == 1 { NEXT } else { NEXT | WRITE };
        let pieces = [(header, 16, NEXT), (DATA + 0x100, length, data_flags), (DATA + 0x80 + first, 1, WRITE)];
        let mut written = self.memory.write(header, &[u64::from(kind).to_le_bytes(), sector.to_le_bytes()].concat());
        for (index, (address, length, flags)) in (first..).zip(pieces) {
            let place = RINGS + 0x1000 * queue as u64 + 16 * index;
            let head =
                [address.to_le_bytes(), (u64::from(length) | u64::from(flags) << 32 | (index + 1) << 48).to_le_bytes()];
            written = written.and(self.memory.write(place, &head.concat()));
        }
        assert!(written.is_ok());
        self.offer(queue, first as u16);
    }
}

fn play<D: Device>(device: D, bytes: &mut Bytes<'_>, mut behind: impl FnMut(&mut D, u8, &mut FlatMemory)) -> usize {
    let function = PciTransport::new(device, REGISTERS, TABLE, 10);
    let mut guest = Guest { function, memory: FlatMemory::new(MEMORY), next: [0; 2] };
    if bytes.byte() & 1 == 0 {
        guest.start();
    }
    let made = steps(bytes, |bytes| {
        let what = bytes.byte();
        let queue = usize::from(what >> 4 & 1);
        match what & 15 {
            0 => {
                let offset = u64::from(bytes.byte() & 63);
                guest.write(offset, bytes.word(), 1 << (what >> 4 & 3));
            }
            1 => {
                let offset = u64::from(bytes.short() % 0x5000);
                guest.write(offset, u64::from(bytes.double()), 1 << (what >> 4 & 3));
            }
            2 => guest.function.read(usize::from(what >> 4), u64::from(bytes.double()), &mut [0; 8]),
            3 => {
                let offset = usize::from(bytes.byte() & 0xfc);
                guest.function.write_config(offset, &bytes.double().to_le_bytes());
                guest.function.read_config(offset, &mut [0; 4]);
            }
            4..=7 => {
                // A descriptor: a place near the data or any, a length, flags and where it goes on.
                let index = u64::from(bytes.byte() & 7);
                let address = if what & 0x20 == 0 { DATA + u64::from(bytes.short()) % 0x3000 } else { bytes.word() };
                let length = u32::from(bytes.short()) << (what >> 6 & 2);
                let (flags, next) = (u16::from(bytes.byte() & 7), u16::from(bytes.byte() & 15));
                let head = [address.to_le_bytes().to_vec(), length.to_le_bytes().to_vec()].concat();
                let tail = [flags.to_le_bytes(), next.to_le_bytes()].concat();
                let written = guest.memory.write(RINGS + 0x1000 * queue as u64 + 16 * index, &[head, tail].concat());
                assert!(written.is_ok());
            }
            8 => guest.offer(queue, u16::from(bytes.byte() & 15)),
            9 => guest.ask(queue, bytes),
            10 => {
                let written =
                    guest.memory.write(u64::from(bytes.short()) % (MEMORY as u64 - 8), &bytes.word().to_le_bytes());
                assert!(written.is_ok());
            }
            11 => guest.start(),
            12 => behind(guest.function.device(), bytes.byte(), &mut guest.memory),
            13 => {
                let taken = (0..=MESSAGES).take_while(|_| guest.function.take_message().is_some()).count();
                assert!(taken <= MESSAGES, "a cause is one message");
            }
            _ => {
                guest.write(0x3000 + 4 * queue as u64, queue as u64, 2);
                guest.function.process(&mut guest.memory);
            }
        }
        let failed = guest.function.error().is_some();
        assert!(!failed || guest.status() & 64 != 0, "whoever broke the rules is told");
    });
    guest.start();
    made
}
