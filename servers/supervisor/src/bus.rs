//! Quieting PCI functions without the help of any driver.
//!
//! The supervisor holds the configuration space itself, so that a dead driver's device can be silenced although nobody
//! else is alive. It looks for functions and clears one bit; everything else is the `pci` server's.

use crate::state::Device;
use alloc::vec::Vec;
use core::cell::RefCell;
use manifest::Bus as BusKind;
use spawn::{Group, MemoryRef};
use supervisor::{BusRegisters, Topology, express_capability};
use userlib::abi::PAGE_SIZE;
use userlib::abi::device::SourceId;
use userlib::device::DeviceRegisters;
use userlib::log;
use userlib::memory::AddressSpace;

/// Pages of configuration space of one bus (PCI Express 4.0, 7.2.2: 4 KiB a function, 256 functions).
const PAGES_PER_BUS: u64 = 256;

/// Offsets in a function's configuration space (PCI Local Bus 3.0, 6.1 and 6.2).
const COMMAND: u16 = 0x04;

const BUS_MASTER: u16 = 1 << 2;
/// What registers read as where there is no function (PCI Local Bus 3.0, 6.1). Some bits of the command and of the device status
/// are 0 in every function.
const NOBODY: u16 = u16::MAX;
/// In the PCI Express capability the device tells of transactions under way (PCI Express 4.0, 7.5.3.5).
const DEVICE_STATUS: u16 = 0x0a;
const TRANSACTIONS_PENDING: u16 = 1 << 5;
/// How often pending transactions are looked at before they are given up.
const PATIENCE: u32 = 10_000;

/// Pages of the configuration space, mapped. It has a page for each function, in the order of their numbers.
struct ConfigPages {
    registers: DeviceRegisters,
    first: SourceId,
}

impl ConfigPages {
    fn map(space: &AddressSpace, ecam: MemoryRef, first: SourceId, pages: u64) -> Option<Self> {
        match DeviceRegisters::map(space, ecam.cap(), first.0.into(), pages) {
            Ok(registers) => Some(ConfigPages { registers, first }),
            Err(error) => {
                log::error!("the configuration space from {first} on cannot be mapped: {error}");
                None
            }
        }
    }

    fn place(&self, function: SourceId, offset: u16) -> usize {
        usize::from(function.0.wrapping_sub(self.first.0)) * PAGE_SIZE as usize + usize::from(offset)
    }

    fn write_word(&self, function: SourceId, offset: u16, value: u16) -> bool {
        self.registers.write(self.place(function, offset), value).is_ok()
    }
}

// Reading where nothing is gives all ones, on the bus as here.
impl BusRegisters for ConfigPages {
    fn byte(&self, function: SourceId, offset: u16) -> u8 {
        self.registers.read(self.place(function, offset)).unwrap_or(u8::MAX)
    }

    fn word(&self, function: SourceId, offset: u16) -> u16 {
        self.registers.read(self.place(function, offset)).unwrap_or(u16::MAX)
    }
}

/// The configuration space.
pub(crate) struct Bus {
    space: AddressSpace,
    ecam: Option<MemoryRef>,
    topology: RefCell<Topology>,
}

impl Bus {
    pub(crate) fn open(space: &AddressSpace, ecam: MemoryRef) -> Self {
        let ecam = (ecam.pages > 0).then_some(ecam);
        let bus = Bus { space: space.clone(), ecam, topology: RefCell::default() };
        bus.look_again();
        bus
    }

    /// Finds out anew which functions there are: devices may have gone or come.
    pub(crate) fn look_again(&self) {
        let Some(ecam) = self.ecam else { return };
        let buses = (ecam.pages / PAGES_PER_BUS) as usize;
        let open = |bus| ConfigPages::map(&self.space, ecam, SourceId::new(bus, 0, 0), PAGES_PER_BUS);
        let topology = Topology::find(buses, open);
        *self.topology.borrow_mut() = topology;
    }

    pub(crate) fn is_present(&self) -> bool {
        self.ecam.is_some()
    }

    /// The function that the manifest means.
    pub(crate) fn find(&self, kind: &BusKind) -> Option<SourceId> {
        let BusKind::Pci { vendor, devices, index, .. } = kind else { return None };
        self.topology.borrow().nth(*vendor, devices, *index)
    }

    /// Whether the function at this place is there, and one that the manifest means.
    pub(crate) fn has(&self, function: SourceId, kind: &BusKind) -> bool {
        let BusKind::Pci { vendor, devices, .. } = kind else { return false };
        self.topology.borrow().has(function, *vendor, devices)
    }

    /// All that the IOMMU cannot tell from a function.
    pub(crate) fn group_of(&self, function: SourceId) -> Group {
        self.topology.borrow().group_of(function)
    }

    /// Silences a device and every other one of its group. Bridges go on: others may be behind them. Tells whether the
    /// device itself answers.
    pub(crate) fn silence_all(&self, device: Device) -> bool {
        let others = self.topology.borrow().members(device.group).filter(|member| *member != device.function).collect();
        let others: Vec<SourceId> = others;
        others.into_iter().for_each(|function| {
            self.silence(function);
        });
        // Whoever was taken out may not be known as a member any more.
        self.silence(device.function)
    }

    /// Stops a function's own accesses to memory and waits until those under way are done: afterwards its memory can be
    /// given to others. Tells whether it answers: one that is gone is silent.
    pub(crate) fn silence(&self, function: SourceId) -> bool {
        let Some(ecam) = self.ecam else { return true };
        let Some(registers) = ConfigPages::map(&self.space, ecam, function, 1) else { return true };
        let command = registers.word(function, COMMAND);
        if command == NOBODY {
            return false;
        }
        // Reading back makes sure that the write has arrived.
        let written = registers.write_word(function, COMMAND, command & !BUS_MASTER);
        if !written || registers.word(function, COMMAND) & BUS_MASTER != 0 {
            log::error!("{function} goes on as bus master although it was told to stop");
        }
        let Some(express) = express_capability(&registers, function) else { return true };
        for _ in 0..PATIENCE {
            let status = registers.word(function, express + DEVICE_STATUS);
            if status & TRANSACTIONS_PENDING == 0 {
                return true;
            }
            // It has gone meanwhile.
            if status == NOBODY {
                return false;
            }
        }
        log::warn!("{function} still has transactions under way after it was told to stop");
        true
    }
}
