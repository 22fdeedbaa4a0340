//! A machine made of functions in a table.

use pci::config::{ConfigSpace, FunctionAddress, Width, register};
use pci::placement::Window;
use std::cell::RefCell;
use std::collections::BTreeMap;

pub(crate) const PAGE: u64 = 4096;
/// Control word of the disk's MSI-X capability.
pub(crate) const MSIX_CONTROL: u16 = 0x9a;
/// Where a port with a slot has its PCI Express capability.
pub(crate) const SLOT_PORT: u16 = 0x40;
/// Where device memory is: 256 MiB from 0xc000_0000 on.
pub(crate) const WINDOW: Window = Window { frame: 0xc_0000, pages: 0x1_0000 };

pub(crate) fn address(bus: u8, device: u8, function: u8) -> FunctionAddress {
    FunctionAddress { segment: 0, bus, device, function }
}

/// A function's registers, and which bits of its base address registers can be set.
#[derive(Clone)]
pub(crate) struct Registers {
    bytes: Vec<u8>,
    settable: [u32; 6],
}

impl Registers {
    pub(crate) fn new(vendor: u16, device: u16) -> Self {
        let mut registers = Registers { bytes: vec![0; 4096], settable: [0; 6] };
        registers.put(register::VENDOR, &vendor.to_le_bytes());
        registers.put(register::DEVICE, &device.to_le_bytes());
        // A storage controller.
        registers.put(register::CLASS, &[1, 0, 0, 1]);
        registers
    }

    /// A virtio disk as QEMU makes one: MSI-X behind BAR 1, registers behind the 64-bit BAR 4.
    pub(crate) fn disk(base: u64) -> Self {
        Registers::new(0x1af4, 0x1042)
            .bar32(1, base as u32, 0x1000)
            .bar64(4, base + 0x4000, 0x4000)
            .msix(0x98, 3, (1, 0), (1, 0x800))
            .on()
    }

    pub(crate) fn bridge(secondary: u8, subordinate: u8) -> Self {
        let mut registers = Registers::new(0x1b36, 0x000c);
        registers.put(register::CLASS, &[0, 0, 4, 6]);
        registers.put(register::HEADER_TYPE, &[1]);
        registers.put(register::SECONDARY_BUS, &[secondary, subordinate]);
        registers
    }

    /// A root port with a slot whose device can come and go, as QEMU makes one: its windows of addresses are `0xc800_0000` to
    /// `0xc81f_ffff` and, for what may be prefetched, `0x10_0000_0000` to `0x10_000f_ffff`.
    pub(crate) fn slot_port(secondary: u8) -> Self {
        let express = [
            // A root port with a slot; the link's status is told; power controller and hot plug.
            (0x02, 0x0142u16.to_le_bytes().to_vec()),
            (0x0c, (1u32 << 20).to_le_bytes().to_vec()),
            (0x14, 0x7bu32.to_le_bytes().to_vec()),
            (0x18, 0x07c0u16.to_le_bytes().to_vec()),
        ];
        let mut registers = Registers::bridge(secondary, secondary).capability(SLOT_PORT as u8, 0x10, &[]);
        express.iter().for_each(|(offset, bytes)| registers.put(SLOT_PORT + offset, bytes));
        registers
            .with(0x20, &[0x00, 0xc8, 0x10, 0xc8])
            .with(0x24, &[0x01, 0x00, 0x01, 0x00])
            .with(0x28, &[0x10, 0, 0, 0, 0x10, 0, 0, 0])
    }

    pub(crate) fn put(&mut self, offset: u16, bytes: &[u8]) {
        self.bytes[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn with(mut self, offset: u16, bytes: &[u8]) -> Self {
        self.put(offset, bytes);
        self
    }

    pub(crate) fn raw_bar(mut self, index: usize, value: u32, settable: u32) -> Self {
        self.put(register::BAR + index as u16 * 4, &value.to_le_bytes());
        self.settable[index] = settable;
        self
    }

    pub(crate) fn bar32(self, index: usize, base: u32, length: u32) -> Self {
        self.raw_bar(index, base, !(length - 1))
    }

    pub(crate) fn bar64(self, index: usize, base: u64, length: u64) -> Self {
        let mask = !(length - 1);
        self.raw_bar(index, base as u32 | 0b1100, mask as u32).raw_bar(
            index + 1,
            (base >> 32) as u32,
            (mask >> 32) as u32,
        )
    }

    /// Adds a capability in front of the list.
    pub(crate) fn capability(mut self, offset: u8, id: u8, body: &[u8]) -> Self {
        let next = self.bytes[register::CAPABILITIES as usize];
        self.put(offset.into(), &[id, next]);
        self.put(u16::from(offset) + 2, body);
        self.put(register::CAPABILITIES, &[offset]);
        self.bytes[register::STATUS as usize] |= 1 << 4;
        self
    }

    pub(crate) fn msix(self, offset: u8, entries: u16, table: (u32, u32), pending: (u32, u32)) -> Self {
        let mut body = Vec::new();
        body.extend_from_slice(&(entries - 1).to_le_bytes());
        body.extend_from_slice(&(table.0 | table.1).to_le_bytes());
        body.extend_from_slice(&(pending.0 | pending.1).to_le_bytes());
        self.capability(offset, 0x11, &body)
    }

    fn is_slot_port(&self) -> bool {
        self.bytes[SLOT_PORT as usize] == 0x10 && self.bytes[0x0e] & 0x7f == 1
    }

    /// Memory decoding and bus mastering as firmware leaves them.
    pub(crate) fn on(self) -> Self {
        self.with(register::COMMAND, &[0b111])
    }
}

/// What was written to configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) function: FunctionAddress,
    pub(crate) offset: u16,
    pub(crate) value: u32,
    /// Whether the function decoded memory at that time.
    pub(crate) decoding: bool,
}

#[derive(Default)]
pub(crate) struct Machine {
    functions: RefCell<BTreeMap<(u8, u8, u8), Registers>>,
    pub(crate) writes: RefCell<Vec<Written>>,
}

impl Machine {
    pub(crate) fn new(functions: impl IntoIterator<Item = ((u8, u8, u8), Registers)>) -> Self {
        Machine { functions: RefCell::new(functions.into_iter().collect()), writes: RefCell::default() }
    }

    pub(crate) fn command(&self, at: (u8, u8, u8)) -> u32 {
        self.read(address(at.0, at.1, at.2), register::COMMAND, Width::Word)
    }

    /// A function is put in.
    pub(crate) fn add(&self, at: (u8, u8, u8), registers: Registers) {
        self.functions.borrow_mut().insert(at, registers);
    }

    /// A function is taken out.
    pub(crate) fn remove(&self, at: (u8, u8, u8)) {
        self.functions.borrow_mut().remove(&at);
    }

    pub(crate) fn set(&self, at: (u8, u8, u8), offset: u16, bytes: &[u8]) {
        self.functions.borrow_mut().get_mut(&at).expect("the function is there").put(offset, bytes);
    }
}

impl ConfigSpace for &Machine {
    fn buses(&self) -> u16 {
        256
    }

    fn read(&self, function: FunctionAddress, offset: u16, width: Width) -> u32 {
        (**self).read(function, offset, width)
    }

    fn write(&self, function: FunctionAddress, offset: u16, width: Width, value: u32) {
        let mut functions = self.functions.borrow_mut();
        let Some(registers) = functions.get_mut(&(function.bus, function.device, function.function)) else {
            return;
        };
        let decoding = registers.bytes[register::COMMAND as usize] & 2 != 0;
        self.writes.borrow_mut().push(Written { function, offset, value, decoding });
        if (register::BAR..register::BAR + 24).contains(&offset) && registers.bytes[0x0e] & 0x7f == 0 {
            let index = usize::from((offset - register::BAR) / 4);
            let at = offset as usize;
            let old = u32::from_le_bytes(registers.bytes[at..at + 4].try_into().unwrap());
            let new = value & registers.settable[index] | old & !registers.settable[index];
            registers.put(offset, &new.to_le_bytes());
        } else if registers.is_slot_port() && offset == SLOT_PORT + 0x1a {
            // Events are cleared by writing them.
            let status = u16::from_le_bytes([registers.bytes[offset as usize], registers.bytes[offset as usize + 1]]);
            registers.put(offset, &(status & !(value as u16 & 0x11f)).to_le_bytes());
        } else if offset == MSIX_CONTROL {
            // The length of the table cannot be written.
            let length = u16::from_le_bytes([registers.bytes[0x9a], registers.bytes[0x9b]]) & 0x7ff;
            registers.put(offset, &(value as u16 & 0xc000 | length).to_le_bytes());
        } else {
            registers.put(offset, &value.to_le_bytes()[..width.bytes() as usize]);
        }
    }
}

impl Machine {
    pub(crate) fn read(&self, function: FunctionAddress, offset: u16, width: Width) -> u32 {
        let functions = self.functions.borrow();
        let Some(registers) = functions.get(&(function.bus, function.device, function.function)) else {
            return width.mask();
        };
        assert!(width.fits(offset), "an access of {width:?} at {offset:#x}");
        let mut value = [0; 4];
        let length = width.bytes() as usize;
        value[..length].copy_from_slice(&registers.bytes[offset as usize..offset as usize + length]);
        u32::from_le_bytes(value)
    }
}
