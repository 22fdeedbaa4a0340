//! QEMU's device `edu`, which copies between memory and itself to and from whatever address it is told (QEMU,
//! `docs/specs/edu.txt`). Driven by hand, without a PCI server.

use crate::bench::{Bench, WINDOW};
use crate::call::{call, until};
use crate::outcome::{Failure, holds};
use abi::PAGE_SIZE;
use abi::device::SourceId;
use abi::root;
use abi::syscall::{MapAccess, Syscall};

/// Vendor and device.
const IDENTITY: u32 = 0x11e8_1234;
/// Where its registers are put: between the machine's configuration space and its interrupt controllers.
const REGISTERS: u64 = 0xfe00_0000;
/// Where its own memory begins, as it counts; a page.
const OWN: u64 = 0x4_0000;

/// Offsets in configuration space (PCI Local Bus 3.0, 6.1).
const COMMAND: usize = 0x04;
const BASE_ADDRESS: usize = 0x10;
const MEMORY_AND_MASTER: u32 = 0b110;

/// Registers of its copying engine.
const SOURCE: usize = 0x80;
const TARGET: usize = 0x88;
const COUNT: usize = 0x90;
const START: usize = 0x98;
const RUNNING: u64 = 1;
const TO_MEMORY: u64 = 2;

/// Pages of the own space at which registers are mapped.
const AT: u64 = WINDOW + 0x7_0000;

/// A page of registers, mapped into the own space.
struct Page {
    address: u64,
    mapping: u64,
}

impl Page {
    fn map(bench: &Bench, physical: u64, address: u64) -> Result<Self, Failure> {
        let (memory, page) = bench.find(physical / PAGE_SIZE)?;
        let arguments = [root::SPACE.0, memory, address, page, 1, MapAccess::ReadWrite as u64];
        Ok(Page { address, mapping: call(Syscall::Map, arguments)? })
    }

    fn unmap(&self) -> Result<(), Failure> {
        call(Syscall::Unmap, [root::SPACE.0, self.mapping])?;
        Ok(())
    }

    fn read(&self, offset: usize) -> u32 {
        // SAFETY: the page is mapped until `unmap`, and device registers may be read.
        unsafe { core::ptr::with_exposed_provenance::<u32>(self.address as usize + offset).read_volatile() }
    }

    fn write(&self, offset: usize, value: u32) {
        // SAFETY: as for `read`; what the device does with it is what the suite is about.
        unsafe { core::ptr::with_exposed_provenance_mut::<u32>(self.address as usize + offset).write_volatile(value) }
    }

    fn read_wide(&self, offset: usize) -> u64 {
        // SAFETY: as for `read`.
        unsafe { core::ptr::with_exposed_provenance::<u64>(self.address as usize + offset).read_volatile() }
    }

    fn write_wide(&self, offset: usize, value: u64) {
        // SAFETY: as for `write`.
        unsafe { core::ptr::with_exposed_provenance_mut::<u64>(self.address as usize + offset).write_volatile(value) }
    }
}

/// The device.
pub(super) struct Edu {
    registers: Page,
    /// Who it is to the IOMMU.
    pub(super) source: SourceId,
}

impl Edu {
    /// Finds it on the first bus and lets it use memory.
    pub(super) fn find(bench: &Bench) -> Result<Self, Failure> {
        let windows = bench.boot_info().platform.ecam.as_slice();
        let window = windows.first().ok_or_else(|| Failure::new("no configuration space".into()))?;
        for device in 0..32 {
            let source = SourceId::new(0, device, 0);
            let page = Page::map(bench, window.phys + u64::from(source.0) * PAGE_SIZE, AT)?;
            let found = page.read(0) == IDENTITY;
            if found {
                page.write(BASE_ADDRESS, REGISTERS as u32);
                page.write(COMMAND, page.read(COMMAND) | MEMORY_AND_MASTER);
            }
            page.unmap()?;
            if found {
                return Ok(Edu { registers: Page::map(bench, REGISTERS, AT)?, source });
            }
        }
        Err(Failure::new("the machine has no device `edu`".into()))
    }

    /// Has it copy `count` bytes from memory to itself.
    pub(super) fn take(&self, from: u64, count: u64) -> Result<(), Failure> {
        self.copy(from, OWN, count, RUNNING)
    }

    /// Has it copy `count` bytes from itself to memory.
    pub(super) fn give(&self, to: u64, count: u64) -> Result<(), Failure> {
        self.copy(OWN, to, count, RUNNING | TO_MEMORY)
    }

    fn copy(&self, from: u64, to: u64, count: u64, start: u64) -> Result<(), Failure> {
        self.registers.write_wide(SOURCE, from);
        self.registers.write_wide(TARGET, to);
        self.registers.write_wide(COUNT, count);
        self.registers.write_wide(START, start);
        holds(until(|| self.registers.read_wide(START) & RUNNING == 0), "the device has copied")
    }

    /// Gives its registers back.
    pub(super) fn leave(self) -> Result<(), Failure> {
        self.registers.unmap()
    }
}
