//! Instructions and images of kernels.

use super::steps;
use crate::bytes::Bytes;
use vmm::boot::{Boot, MemoryMap, load};
use vmm::instruction::{Mode, PortTarget, Registers, Target, emulate, emulate_port_string};
use vmm::memory::FlatMemory;

/// Counts accesses, and sees that they are ones that devices know.
#[derive(Debug, Default)]
struct Counter(usize);

impl Counter {
    fn see(&mut self, size: usize, value: u64) {
        assert!(matches!(size, 1 | 2 | 4 | 8) && (size == 8 || value >> (8 * size) == 0), "{value:#x} of {size}");
        self.0 += 1;
    }
}

impl Target for Counter {
    fn read(&mut self, address: u64, size: usize) -> u64 {
        self.see(size, 0);
        assert!(address % 4096 + size as u64 <= 4096);
        address & (u64::MAX >> (64 - 8 * size))
    }

    fn write(&mut self, address: u64, size: usize, value: u64) {
        self.see(size, value);
        assert!(address % 4096 + size as u64 <= 4096);
    }
}

impl PortTarget for Counter {
    fn input(&mut self, _port: u16, size: usize) -> u32 {
        self.see(size, 0);
        0x1234_5678
    }

    fn output(&mut self, _port: u16, size: usize, value: u32) {
        self.see(size, u64::from(value));
    }

    fn load(&mut self, address: u64, into: &mut [u8]) -> bool {
        into.fill(1);
        !address.is_multiple_of(7)
    }

    fn can_store(&mut self, address: u64, _size: usize) -> bool {
        !address.is_multiple_of(5)
    }

    fn store(&mut self, address: u64, _bytes: &[u8]) -> bool {
        !address.is_multiple_of(7)
    }
}

pub(super) fn instruction(bytes: &mut Bytes<'_>) -> usize {
    let mut registers = Registers { instruction: 0x1000, ..Registers::default() };
    registers.general = [(); 16].map(|()| bytes.word());
    registers.flags = bytes.word();
    steps(bytes, |bytes| {
        let mode = match bytes.byte() % 3 {
            0 => Mode::Bits16,
            1 => Mode::Bits32,
            _ => Mode::Bits64,
        };
        let code = [(); 15].map(|()| bytes.byte());
        let (before, mut target) = (registers, Counter::default());
        if emulate(&code, mode, &mut registers, &mut target).is_err() {
            assert_eq!((registers, target.0), (before, 0), "what is refused leaves no trace");
        }
        assert!(target.0 <= 2, "an instruction reads once and writes once");
        let _refusal = emulate_port_string(&code, mode, &mut registers, &mut target);
    })
}

pub(super) fn image(mut bytes: Bytes<'_>) -> usize {
    const MEGABYTES: u64 = 3;
    let map = MemoryMap::new(MEGABYTES << 20);
    let files = [5; 300];
    let initrd = (bytes.byte() & 1 == 0).then_some(&files[..]);
    let boot = Boot { image: bytes.rest(), initrd, command_line: "console=ttyS0", map, rsdp: 0xe_0000 };
    let mut memory = FlatMemory::new((MEGABYTES << 20) as usize);
    if let Ok(state) = load(&boot, &mut memory) {
        assert!(state.instruction <= u64::from(u32::MAX));
    }
    1
}
