//! The rules: who may claim, read, write and enable what.
//!
//! Whether a function was claimed is not remembered but read from it: its decoding of memory is off until then. So a
//! restarted server knows it too.

use crate::assignment::{Assignment, assign};
use crate::bar;
use crate::capability::{Msi, Msix, express};
use crate::config::{ConfigSpace, FunctionAddress, Width, change_command, command, register};
use crate::enumeration::{Header, enumerate, leads_to};
use crate::function::Function;
use crate::placement::{self, Obstacle, Placement, Window};
use crate::record::Entry;
use alloc::vec::Vec;
use core::fmt;
use interfaces::pci::{FunctionInfo, PciError};
use manifest::System;

/// Why the server refused, in more detail than its clients learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The manifest gives no function to this client.
    NotAllowed,
    /// The machine does not have the function that the manifest gives to this client.
    NoDevice,
    /// The function was not claimed.
    NotClaimed(FunctionAddress),
    /// A base address register of the function stands in the way.
    Bar(FunctionAddress, u8, Obstacle),
    /// The function does not decode memory although it was told to.
    NoDecoding(FunctionAddress),
    /// The function has no message-signalled interrupts, or not that one.
    NoMessage(FunctionAddress),
    /// Where the function's MSI-X table lies, it cannot be used.
    Messages(FunctionAddress, Obstacle),
    /// The register does not exist, is not aligned, or is not for drivers to write.
    BadRegister(FunctionAddress, u16),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotAllowed => f.write_str("the manifest gives no function to this client"),
            Refusal::NoDevice => f.write_str("the machine has no such function"),
            Refusal::NotClaimed(address) => write!(f, "{address} was not claimed"),
            Refusal::Bar(address, index, obstacle) => write!(f, "{address}: base address {index}: {obstacle}"),
            Refusal::NoDecoding(address) => write!(f, "{address}: its memory cannot be enabled"),
            Refusal::NoMessage(address) => write!(f, "{address}: there is no such message-signalled interrupt"),
            Refusal::Messages(address, obstacle) => {
                write!(f, "{address}: its interrupt table cannot be used: {obstacle}")
            }
            Refusal::BadRegister(address, offset) => {
                write!(f, "{address}: drivers may not use configuration register {offset:#05x} like this")
            }
        }
    }
}

impl core::error::Error for Refusal {}

impl From<Refusal> for PciError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotAllowed => PciError::NotAllowed,
            Refusal::NoDevice => PciError::NoDevice,
            Refusal::NotClaimed(_) => PciError::NotClaimed,
            Refusal::Bar(_, _, obstacle) | Refusal::Messages(_, obstacle) => obstacle.into(),
            Refusal::NoDecoding(_) => PciError::NotPlaced,
            Refusal::NoMessage(_) => PciError::NoMessage,
            Refusal::BadRegister(..) => PciError::BadRegister,
        }
    }
}

/// What the server knows about registers before it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// It is the first one since the machine started: nobody uses any function.
    First,
    /// There was one before, and drivers may be at work. This is what it has left in the vault.
    Again(&'a [Entry]),
}

/// The bus and what the manifest says of it.
#[derive(Debug)]
pub struct Bus<C> {
    pub(crate) config: C,
    /// In the order of addresses when the server started, then as they have come. Nobody leaves the list: drivers know
    /// their functions by their positions.
    pub(crate) functions: Vec<Function>,
    windows: Vec<Window>,
    assignments: Vec<Assignment>,
}

impl<C: ConfigSpace> Bus<C> {
    /// Finds the functions. At the first start, devices are switched off until they are claimed, and [`Bus::measure`] is
    /// then to be called; at later ones nothing in use is touched.
    pub fn find(config: C, windows: Vec<Window>, start: Start<'_>) -> Self {
        let mut functions: Vec<Function> =
            enumerate(&config).into_iter().map(|address| Function::read(&config, address)).collect();
        if let Start::Again(entries) = start {
            let is_away = |entry: &&Entry| !functions.iter().any(|function| entry.is_of(function));
            let away: Vec<Function> = entries.iter().filter(is_away).map(Function::absent).collect();
            functions.extend(away);
            functions
                .sort_by_key(|function| (function.address.bus, function.address.device, function.address.function));
        }
        for function in functions.iter_mut().filter(|function| function.is_device() && function.is_present) {
            match start {
                Start::First => {
                    change_command(&config, function.address, command::MEMORY | command::BUS_MASTER, 0);
                }
                Start::Again(entries) => {
                    if let Some(entry) = entries.iter().find(|entry| entry.is_of(function)) {
                        recall(&config, function, entry);
                    }
                }
            }
        }
        Bus { config, functions, windows, assignments: Vec::new() }
    }

    /// Measures the registers of every device that is switched off and was not measured.
    pub fn measure(&mut self) {
        for function in &mut self.functions {
            if function.is_device() && !function.measured && !is_on(&self.config, function) {
                function.bars = bar::measure(&self.config, function.address);
                function.measured = true;
            }
        }
    }

    /// Takes over from the manifest who may use what.
    pub fn assign(&mut self, system: &System) {
        self.assignments = assign(system, &self.functions);
    }

    /// What the manifest's wishes came to.
    pub fn assignments(&self) -> &[Assignment] {
        &self.assignments
    }

    /// Every function, also those that were taken out.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// Configuration space.
    pub fn config(&self) -> &C {
        &self.config
    }

    /// What a later server must know: of at most `limit` devices, those that drivers use first.
    pub fn entries(&self, limit: usize) -> Vec<Entry> {
        let devices = (0..self.functions.len()).filter(|&position| self.functions[position].is_device());
        let (mut used, others): (Vec<usize>, Vec<usize>) = devices.partition(|&position| self.is_assigned(position));
        used.extend(others);
        let entry = |position: usize| {
            let function = &self.functions[position];
            Entry::new(function, bar::raw(&self.config, function.address))
        };
        used.into_iter().take(limit).map(entry).collect()
    }

    fn is_assigned(&self, position: usize) -> bool {
        self.assignments.iter().any(|assignment| assignment.function == Ok(position))
    }

    /// The function at a position among those that are there, as clients see it.
    pub fn info(&self, position: usize) -> Option<FunctionInfo> {
        let mut present = self.functions.iter().enumerate().filter(|(_, function)| function.is_present);
        present.nth(position).map(|(position, function)| function.info(self.is_assigned(position)))
    }

    /// The position of a client's function.
    ///
    /// # Errors
    /// [`Refusal::NotAllowed`]; [`Refusal::NoDevice`], also if it was taken out.
    pub fn owned_by(&self, badge: u64) -> Result<usize, Refusal> {
        let assignment = self.assignments.iter().find(|assignment| assignment.badge == badge);
        let position = assignment.ok_or(Refusal::NotAllowed)?.function.map_err(|_| Refusal::NoDevice)?;
        let is_present = self.functions.get(position).is_some_and(|function| function.is_present);
        if is_present { Ok(position) } else { Err(Refusal::NoDevice) }
    }

    /// The position of a client's function, which it has claimed.
    fn claimed_by(&self, badge: u64) -> Result<usize, Refusal> {
        let position = self.owned_by(badge)?;
        let function = &self.functions[position];
        let command = self.config.read(function.address, register::COMMAND, Width::Word);
        let claimed = function.measured && command != 0xffff && command & command::MEMORY != 0;
        if claimed { Ok(position) } else { Err(Refusal::NotClaimed(function.address)) }
    }

    /// Claims a client's function: stops its bus mastering and interrupts, and enables its memory. Its MSI-X table must
    /// then be masked ([`Bus::message_table`]).
    ///
    /// Memory is enabled only if every memory register of the function lies in a window of device memory and nobody
    /// else's registers lie in its pages, since all are enabled at once.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn claim(&mut self, badge: u64) -> Result<FunctionInfo, Refusal> {
        let position = self.owned_by(badge)?;
        let function = &mut self.functions[position];
        let address = function.address;
        let stopped = command::BUS_MASTER | if function.measured { 0 } else { command::MEMORY };
        change_command(&self.config, address, stopped, command::NO_LINE_INTERRUPT);
        if !function.measured {
            // The driver waits for the answer to this call, and nobody else uses the function.
            function.bars = bar::measure(&self.config, address);
            function.measured = true;
        }
        if let Some(msi) = function.msi {
            msi.disable(&self.config, address);
        }
        if let Some(msix) = function.msix {
            self.config.write(address, msix.offset + Msix::CONTROL, Width::Word, Msix::MASK_ALL);
        }
        let rom = self.config.read(address, register::ROM, Width::Long);
        if rom & 1 != 0 {
            self.config.write(address, register::ROM, Width::Long, rom & !1);
        }
        for bar in self.functions[position].bars.iter().flatten() {
            placement::check(&self.functions, &self.windows, position, bar)
                .map_err(|obstacle| Refusal::Bar(address, bar.index, obstacle))?;
        }
        let command = change_command(&self.config, address, 0, command::MEMORY);
        if command & command::MEMORY == 0 || command == 0xffff {
            return Err(Refusal::NoDecoding(address));
        }
        Ok(self.functions[position].info(true))
    }

    /// The memory behind a base address register of a client's function.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn bar(&self, badge: u64, index: u8) -> Result<(Placement, bool), Refusal> {
        let position = self.claimed_by(badge)?;
        let function = &self.functions[position];
        let placement = placement::for_driver(&self.functions, &self.windows, position, index)
            .map_err(|obstacle| Refusal::Bar(function.address, index, obstacle))?;
        let prefetchable =
            function.bars.get(usize::from(index)).is_some_and(|bar| bar.is_some_and(|bar| bar.prefetchable));
        Ok((placement, prefetchable))
    }

    /// Where the MSI-X table of a client's function is, and how many entries it has; `None` if the function has none.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn message_table(&self, badge: u64) -> Result<Option<(Placement, u16)>, Refusal> {
        let position = self.claimed_by(badge)?;
        let function = &self.functions[position];
        let Some(msix) = function.msix else {
            return Ok(None);
        };
        placement::message_table(&self.functions, &self.windows, position)
            .map(|placement| Some((placement, msix.entries)))
            .map_err(|obstacle| Refusal::Messages(function.address, obstacle))
    }

    /// Where the MSI-X table of a client's function is, if it has an entry `entry`.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn message_entry(&self, badge: u64, entry: u16) -> Result<Placement, Refusal> {
        match self.message_table(badge)? {
            Some((placement, entries)) if entry < entries => Ok(placement),
            _ => Err(Refusal::NoMessage(self.functions[self.owned_by(badge)?].address)),
        }
    }

    /// The registers by which a client's function raises its only interrupt, `entry` 0; `None` if it has an MSI-X table.
    fn message_registers(&self, badge: u64, entry: u16) -> Result<Option<(FunctionAddress, Msi)>, Refusal> {
        let function = &self.functions[self.claimed_by(badge)?];
        match (function.msix, function.msi) {
            (Some(_), _) => Ok(None),
            (None, Some(msi)) if entry == 0 => Ok(Some((function.address, msi))),
            _ => Err(Refusal::NoMessage(function.address)),
        }
    }

    /// Makes a client's function that has no MSI-X table write `data` to `address` for its interrupt `entry`; `false` if
    /// it has a table instead, which the caller then programs ([`Bus::message_entry`]).
    ///
    /// # Errors
    /// [`Refusal`]; `NoMessage` also if the function cannot write to that address.
    pub fn program_message(&self, badge: u64, entry: u16, address: u64, data: u32) -> Result<bool, Refusal> {
        let Some((function, msi)) = self.message_registers(badge, entry)? else { return Ok(false) };
        if msi.program(&self.config, function, address, data) { Ok(true) } else { Err(Refusal::NoMessage(function)) }
    }

    /// Stops a client's function that has no MSI-X table from raising its interrupt `entry`; `false` if it has a table
    /// instead.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn stop_message(&self, badge: u64, entry: u16) -> Result<bool, Refusal> {
        let Some((function, msi)) = self.message_registers(badge, entry)? else { return Ok(false) };
        msi.disable(&self.config, function);
        Ok(true)
    }

    /// Lets a client's function raise the interrupts of its MSI-X table's unmasked entries.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn enable_messages(&self, badge: u64) -> Result<(), Refusal> {
        let function = &self.functions[self.claimed_by(badge)?];
        let msix = function.msix.ok_or(Refusal::NoMessage(function.address))?;
        self.config.write(function.address, msix.offset + Msix::CONTROL, Width::Word, Msix::ENABLE);
        Ok(())
    }

    /// Lets a client's function access memory by itself, or stops it. What was under way may still be:
    /// [`Bus::is_quiet`].
    ///
    /// A bridge passes nothing on towards memory unless it is bus master itself (PCI-to-PCI Bridge Architecture 1.2,
    /// 3.2.4.3), and firmware leaves that out where it has not used a device. The bridges before the function are
    /// switched on with it, and stay on: others may be behind them.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn set_bus_mastering(&self, badge: u64, on: bool) -> Result<(), Refusal> {
        let function = &self.functions[self.claimed_by(badge)?];
        if on {
            for bridge in self.functions.iter().filter(|other| other.header == Header::Bridge) {
                if leads_to(&self.config, bridge.address, function.address.bus) {
                    change_command(&self.config, bridge.address, 0, command::BUS_MASTER);
                }
            }
        }
        let (clear, set) = if on { (0, command::BUS_MASTER) } else { (command::BUS_MASTER, 0) };
        change_command(&self.config, function.address, clear, set);
        Ok(())
    }

    /// Whether none of the transactions of a client's function is under way. A function without PCI Express registers
    /// cannot tell; there the write that stopped it waits for them.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn is_quiet(&self, badge: u64) -> Result<bool, Refusal> {
        let function = &self.functions[self.owned_by(badge)?];
        Ok(function.express.is_none_or(|offset| {
            let status = self.config.read(function.address, offset + express::DEVICE_STATUS, Width::Word);
            // All ones: the function is gone, and quiet.
            status & express::TRANSACTIONS_PENDING == 0 || status == 0xffff
        }))
    }

    /// Reads configuration space of a client's function.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn read_config(&self, badge: u64, offset: u16, width: u8) -> Result<u32, Refusal> {
        let function = &self.functions[self.owned_by(badge)?];
        let width = Width::from_bytes(width).filter(|width| width.fits(offset));
        let width = width.ok_or(Refusal::BadRegister(function.address, offset))?;
        Ok(self.config.read(function.address, offset, width))
    }

    /// Writes a register that a driver may write: the status (whose error bits are cleared by it), the cache line size,
    /// the interrupt line and the device status of PCI Express. Everything else moves or enables something, or is a
    /// back door to the function's memory.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn write_config(&self, badge: u64, offset: u16, width: u8, value: u32) -> Result<(), Refusal> {
        let function = &self.functions[self.owned_by(badge)?];
        let device_status = function.express.map(|capability| capability + express::DEVICE_STATUS);
        let width = Width::from_bytes(width).filter(|width| match *width {
            Width::Byte => matches!(offset, register::CACHE_LINE | register::INTERRUPT_LINE),
            Width::Word => offset == register::STATUS || Some(offset) == device_status,
            Width::Long => false,
        });
        let width = width.ok_or(Refusal::BadRegister(function.address, offset))?;
        self.config.write(function.address, offset, width, value & width.mask());
        Ok(())
    }
}

/// Whether somebody may be using the function.
pub(crate) fn is_on(config: &impl ConfigSpace, function: &Function) -> bool {
    config.read(function.address, register::COMMAND, Width::Word) & (command::MEMORY | command::BUS_MASTER) != 0
}

/// Takes over what an earlier server has measured. If it died while it was at that, its record holds no lengths and the
/// function is off; the registers then get back what they held.
fn recall(config: &impl ConfigSpace, function: &mut Function, entry: &Entry) {
    let now = bar::raw(config, function.address);
    if now == entry.raw {
        if let Some(bars) = entry.bars() {
            function.bars = bars;
            function.measured = true;
        }
        return;
    }
    if !is_on(config, function) {
        for (index, value) in (0..bar::COUNT).zip(entry.raw) {
            config.write(function.address, bar::offset(index), Width::Long, value);
        }
        function.bars = bar::read(&bar::raw(config, function.address));
    }
}
