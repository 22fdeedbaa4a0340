//! The hardware's side: configuration space, device memory and interrupt tables as mapped memory.

use crate::config::{ConfigSpace, DEVICES, FUNCTION_BYTES, FUNCTIONS, FunctionAddress, Width};
use crate::message::TableRegisters;
use crate::placement::Placement;
use crate::server::DeviceMemory;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use userlib::abi::rights::MemoryRights;
use userlib::abi::{Error, PAGE_SIZE};
use userlib::cap::{Cap, Memory, Owned};
use userlib::device::DeviceRegisters;
use userlib::log;
use userlib::memory::{AddressSpace, MapError};

/// Pages of configuration space that a bus has.
const BUS_PAGES: u64 = DEVICES as u64 * FUNCTIONS as u64 * FUNCTION_BYTES as u64 / PAGE_SIZE;

/// Configuration space in memory (PCI Express 3.0, 7.2.2). All of it would need more page tables than this server has, so
/// one bus is mapped at a time: the one that was used last.
#[derive(Debug)]
pub struct Ecam {
    space: AddressSpace,
    memory: Cap<Memory>,
    buses: u16,
    mapped: RefCell<Option<(u8, DeviceRegisters)>>,
    complained: Cell<bool>,
}

impl Ecam {
    /// Uses `memory`, which holds whole buses from bus 0 on.
    ///
    /// # Errors
    /// The kernel's, if it does not say how much memory that is.
    pub fn new(space: AddressSpace, memory: Cap<Memory>) -> Result<Self, userlib::abi::Error> {
        let buses = (memory.memory_info()?.pages / BUS_PAGES).min(256) as u16;
        Ok(Self { space, memory, buses, mapped: RefCell::new(None), complained: Cell::new(false) })
    }

    fn with<R>(&self, bus: u8, access: impl FnOnce(&DeviceRegisters) -> R) -> Option<R> {
        let mut mapped = self.mapped.borrow_mut();
        if mapped.as_ref().is_none_or(|(mapped, _)| *mapped != bus) {
            // First the old one goes, so that its addresses are used again.
            *mapped = None;
            match DeviceRegisters::map(&self.space, self.memory, u64::from(bus) * BUS_PAGES, BUS_PAGES) {
                Ok(registers) => *mapped = Some((bus, registers)),
                Err(error) => {
                    if !self.complained.replace(true) {
                        log::error!("the configuration space of bus {bus} cannot be mapped: {error}");
                    }
                    return None;
                }
            }
        }
        mapped.as_ref().map(|(_, registers)| access(registers))
    }
}

/// Offset of a register in its bus's part of configuration space.
fn bus_offset(function: FunctionAddress, offset: u16) -> usize {
    let function = usize::from(function.device) * usize::from(FUNCTIONS) + usize::from(function.function);
    function * usize::from(FUNCTION_BYTES) + usize::from(offset)
}

impl ConfigSpace for Ecam {
    fn buses(&self) -> u16 {
        self.buses
    }

    fn read(&self, function: FunctionAddress, offset: u16, width: Width) -> u32 {
        let at = bus_offset(function, offset);
        let value = self.with(function.bus, |registers| match width {
            Width::Byte => registers.read::<u8>(at).map(u32::from),
            Width::Word => registers.read::<u16>(at).map(u32::from),
            Width::Long => registers.read::<u32>(at),
        });
        value.and_then(Result::ok).unwrap_or(width.mask())
    }

    fn write(&self, function: FunctionAddress, offset: u16, width: Width, value: u32) {
        let at = bus_offset(function, offset);
        // What cannot be mapped was complained of; what is not there takes no value.
        let _ = self.with(function.bus, |registers| match width {
            Width::Byte => registers.write(at, value as u8),
            Width::Word => registers.write(at, value as u16),
            Width::Long => registers.write(at, value),
        });
    }
}

/// An MSI-X table, mapped while it is used.
#[derive(Debug)]
pub struct MappedTable {
    registers: DeviceRegisters,
    offset: u64,
}

impl TableRegisters for MappedTable {
    fn read(&self, offset: u64) -> u32 {
        self.registers.read((self.offset + offset) as usize).unwrap_or(u32::MAX)
    }

    fn write(&self, offset: u64, value: u32) {
        // Entries were compared with the table's length before.
        let _ = self.registers.write((self.offset + offset) as usize, value);
    }
}

/// The windows of device memory that the domain was given.
#[derive(Debug)]
pub struct Windows {
    caps: Vec<Cap<Memory>>,
    space: AddressSpace,
}

impl Windows {
    /// These, in the order in which placements count them.
    pub fn new(caps: Vec<Cap<Memory>>, space: AddressSpace) -> Self {
        Self { caps, space }
    }

    fn window(&self, placement: &Placement) -> Result<Cap<Memory>, Error> {
        self.caps.get(placement.window).copied().ok_or(Error::BadHandle)
    }
}

impl DeviceMemory for Windows {
    type Table = MappedTable;

    fn table(&self, placement: &Placement) -> Result<MappedTable, MapError> {
        let Placement { first, pages, offset, .. } = *placement;
        let registers = DeviceRegisters::map(&self.space, self.window(placement)?, first, pages)?;
        Ok(MappedTable { registers, offset })
    }

    fn part(&self, placement: &Placement) -> Result<Owned<Memory>, Error> {
        let rights = MemoryRights::READ | MemoryRights::WRITE;
        self.window(placement)?.split(placement.first, placement.pages, rights)
    }
}
