//! Devices on the PCI bus.

use crate::device_space::DeviceSpace;
use crate::legacy::bind;
use crate::{AttachError, Dma, DmaMemory, Given, Interrupt, RegisterBlock, TooShort, Window};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, OnceCell, RefCell};
use interfaces::pci::{BarInfo, FunctionInfo, PciClient, PciError};
use userlib::abi::{Error, PAGE_SIZE};
use userlib::cap::{Cap, Interrupt as InterruptKind, Memory};
use userlib::device::{DeviceRegisters, DmaBuffer};
use userlib::environment::NotGiven;
use userlib::ipc::RetriedError;
use userlib::memory::{AddressSpace, MapError};
use userlib::start::{DEVICE_SPACE, EntryKind};
use userlib::{Environment, log};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Name of the memory that the domain may share with its device.
const DMA: &str = "dma";
/// The vendor in configuration space, and what it reads as where there is no device (PCI Local Bus 3.0, 6.1).
const VENDOR: u16 = 0x00;
const NO_VENDOR: u32 = 0xffff;
/// What cannot be mapped.
const REGISTERS: &str = "the device's registers";
const SHARED: &str = "the memory to be shared with the device";

/// A device on the PCI bus, as `device = { pci = … }` in the manifest gives it. Copies name the same device; with the last
/// one, or when the domain comes to rest, it is quieted.
///
/// The order in which a driver brings its device to work: reset it by its registers, take its interrupts and memory, then
/// [`enable`](PciDevice::enable) it. A former instance of the driver may have left it in any state.
#[derive(Clone, Debug)]
pub struct PciDevice(Rc<State>);

#[derive(Debug)]
struct State {
    environment: &'static Environment,
    space: &'static AddressSpace,
    pci: PciClient,
    info: FunctionInfo,
    bars: RefCell<Vec<Bar>>,
    interrupts: RefCell<Vec<(u16, Interrupt)>>,
    memory: OnceCell<DmaMemory>,
    /// What the device sees, on a machine with an IOMMU.
    seen: Option<DeviceSpace>,
    enabled: Cell<bool>,
}

/// A base address register that is mapped.
#[derive(Debug)]
struct Bar {
    index: u8,
    info: BarInfo,
    registers: Rc<DeviceRegisters>,
}

fn ask<T>(step: &'static str, result: Result<T, RetriedError<PciError>>) -> Result<T, AttachError> {
    result.map_err(|error| AttachError::Pci { step, error })
}

impl PciDevice {
    /// What the device is.
    pub fn info(&self) -> FunctionInfo {
        self.0.info
    }

    /// The registers behind base address register `index`, from its first byte on.
    ///
    /// # Errors
    /// [`AttachError`]; `TooShort` if there are fewer than the block describes.
    pub fn registers<B: RegisterBlock>(&self, index: u8) -> Result<B, AttachError> {
        Ok(self.window(index, 0, B::LENGTH as u64)?.block()?)
    }

    /// The `length` bytes of registers from `offset` on behind base address register `index`.
    ///
    /// # Errors
    /// [`AttachError`]; `TooShort` if they are not all there. Pages in which the device has its table of interrupts are
    /// not given to drivers and so are not there either.
    pub fn window(&self, index: u8, offset: u64, length: u64) -> Result<Window, AttachError> {
        let mut bars = self.0.bars.borrow_mut();
        if !bars.iter().any(|bar| bar.index == index) {
            bars.push(self.map(index)?);
        }
        let bar = bars.iter().find(|bar| bar.index == index);
        let window = bar.and_then(|Bar { info, registers, .. }| {
            let start = offset.checked_sub(info.start)?;
            let inside = start.checked_add(length)? <= info.length;
            let at = usize::try_from(info.offset.checked_add(start)?).ok()?;
            let end = at.checked_add(usize::try_from(length).ok()?)?;
            inside.then(|| Window::of_memory(registers.clone(), at..end)).flatten()
        });
        let given = bar.map_or(0, |bar| bar.info.start.saturating_add(bar.info.length) as usize);
        let needed = offset.saturating_add(length) as usize;
        window.ok_or(AttachError::TooShort(TooShort { needed, given }))
    }

    fn map(&self, index: u8) -> Result<Bar, AttachError> {
        let (info, memory) = ask("give the device's registers", self.0.pci.bar(index))?;
        let pages = info.offset.saturating_add(info.length).div_ceil(PAGE_SIZE);
        let mapped = DeviceRegisters::map(self.0.space, memory.cap(), 0, pages);
        let registers = Rc::new(mapped.map_err(|error| AttachError::Map { what: REGISTERS, error })?);
        // The capability lasts as long as the mapping: for ever.
        memory.leak();
        Ok(Bar { index, info, registers })
    }

    /// Reads `width` (1, 2 or 4) bytes of the device's configuration space.
    ///
    /// # Errors
    /// As [`PciClient::read_config`].
    pub fn read_config(&self, offset: u16, width: u8) -> Result<u32, RetriedError<PciError>> {
        self.0.pci.read_config(offset, width)
    }

    /// Whether the device answers no more: it was taken out while the machine runs, or has lost its power. Its registers then
    /// read as all ones, and whatever is written to them is lost.
    ///
    /// # Errors
    /// As [`PciClient::read_config`].
    pub fn is_gone(&self) -> Result<bool, RetriedError<PciError>> {
        match self.read_config(VENDOR, 2) {
            Ok(vendor) => Ok(vendor == NO_VENDOR),
            Err(RetriedError::Failed(PciError::NoDevice)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// How many interrupts the driver can have: as many as the manifest gives it and the device can raise.
    pub fn interrupts(&self) -> usize {
        let given = self.0.environment.page().entries_of(EntryKind::Interrupt).count();
        given.min(self.0.info.messages.into())
    }

    /// The device's message-signalled interrupt `number`. From here on it may come, once the device is
    /// [enabled](PciDevice::enable).
    ///
    /// # Errors
    /// [`AttachError::TooFew`] if the manifest gives no such interrupt; what the PCI server says if the device has none.
    pub fn interrupt(&self, number: u16) -> Result<Interrupt, AttachError> {
        if let Some((_, known)) = self.0.interrupts.borrow().iter().find(|(known, _)| *known == number) {
            return Ok(known.clone());
        }
        let interrupt = Interrupt::of_messages(bind(self.0.environment, number.into())?);
        let entry = self.0.environment.page().entries_of(EntryKind::Interrupt).nth(number.into());
        if let Some(entry) = entry {
            let source: Cap<InterruptKind> = Cap::from_handle(entry.handle());
            ask("let the device raise its interrupt", self.0.pci.enable_message(number, source))?;
        }
        self.0.interrupts.borrow_mut().push((number, interrupt.clone()));
        Ok(interrupt)
    }

    /// The memory that the domain may share with its device.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn memory(&self) -> Result<&DmaMemory, AttachError> {
        if self.0.memory.get().is_none() {
            let memory = self.0.environment.memory(DMA)?;
            let failed = |error| AttachError::Map { what: SHARED, error };
            let bus = self.lend(memory)?;
            let shared = DmaBuffer::new(self.0.space, memory).map_err(failed)?.leak_shared();
            let memory = self.0.memory.get_or_init(|| DmaMemory::new(shared, bus));
            memory.set_in_use(self.0.enabled.get());
        }
        self.0.memory.get().ok_or(AttachError::NoMemory { bytes: 0 })
    }

    /// Memory for `count` values that the device reads and writes, all zero.
    ///
    /// # Errors
    /// [`AttachError::NoMemory`] if so much is not left.
    pub fn dma<T: FromBytes + IntoBytes + Immutable>(&self, count: usize) -> Result<Dma<T>, AttachError> {
        let bytes = count.saturating_mul(size_of::<T>());
        self.memory()?.take(count).ok_or(AttachError::NoMemory { bytes })
    }

    /// As [`PciDevice::dma`], for a device that can use only so many `bits` of an address.
    ///
    /// # Errors
    /// As [`PciDevice::dma`], and [`AttachError::OutOfReach`] if the memory lies beyond.
    pub fn dma_within<T: FromBytes + IntoBytes + Immutable>(
        &self,
        bits: u32,
        count: usize,
    ) -> Result<Dma<T>, AttachError> {
        let part = self.dma::<T>(count)?;
        let last = part.bus_address() + (count.saturating_mul(size_of::<T>()) as u64).saturating_sub(1);
        if last.checked_shr(bits).unwrap_or(0) > 0 {
            return Err(AttachError::OutOfReach { address: part.bus_address(), bits });
        }
        Ok(part)
    }

    /// Lets the device use further memory, such as a ring's, as soon as it is [enabled](PciDevice::enable): where the
    /// device finds it. The capability needs the right `DMA`.
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn lend(&self, memory: Cap<Memory>) -> Result<u64, AttachError> {
        let failed = |error| AttachError::Map { what: SHARED, error };
        let info = memory.memory_info().map_err(|error: Error| failed(error.into()))?;
        let frame = info.first_frame.filter(|_| !info.device).ok_or(failed(MapError::WrongMemory))?;
        match &self.0.seen {
            Some(seen) => seen.show(memory, frame, info.pages).map_err(failed),
            // Without an IOMMU the device finds memory where it is, and there is nothing else to be done.
            None => Ok(frame * PAGE_SIZE),
        }
    }

    /// Lets the device access memory by itself, which is also how it raises interrupts. Whatever it was told by a former
    /// driver must be forgotten by now: reset it before.
    ///
    /// # Errors
    /// What the PCI server says.
    pub fn enable(&self) -> Result<(), AttachError> {
        ask("let the device use memory", self.0.pci.set_bus_mastering(true))?;
        self.0.enabled.set(true);
        if let Some(memory) = self.0.memory.get() {
            memory.set_in_use(true);
        }
        Ok(())
    }

    /// Stops the device's accesses to memory, and with them its interrupts, until it is [enabled](PciDevice::enable)
    /// again; those under way are finished first. Memory that was dropped meanwhile can then be used again.
    ///
    /// # Errors
    /// What the PCI server says; `NotQuiet` if the device does not stop in time.
    pub fn disable(&self) -> Result<(), AttachError> {
        ask("stop the device's use of memory", self.0.pci.set_bus_mastering(false))?;
        self.0.enabled.set(false);
        if let Some(memory) = self.0.memory.get() {
            memory.set_in_use(false);
        }
        Ok(())
    }

    /// The driver has reset the device and seen that the reset is done: nothing that it was told before holds any more,
    /// and memory that was dropped can be used again.
    pub fn was_reset(&self) {
        if let Some(memory) = self.0.memory.get() {
            memory.reclaim();
        }
    }
}

impl State {
    /// Ends the device's accesses to memory, and its interrupts.
    fn quiesce(&self) {
        if let Err(error) = self.pci.set_bus_mastering(false) {
            log::error!("the device's use of memory cannot be stopped: {error}");
        } else if let Some(memory) = self.memory.get() {
            memory.set_in_use(false);
        }
        self.enabled.set(false);
        for (number, interrupt) in self.interrupts.borrow().iter() {
            if let Err(error) = self.pci.disable_message(*number) {
                log::warn!("the device's interrupt {number} cannot be disabled: {error}");
            }
            if let Err(error) = interrupt.mask() {
                log::warn!("interrupt {number} cannot be masked: {error}");
            }
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.quiesce();
    }
}

impl Given for PciDevice {
    fn given(environment: &'static Environment) -> Result<Self, AttachError> {
        let pci = PciClient::new(environment.uses("pci")?);
        let space = environment.address_space().ok_or(NotGiven { kind: "space", name: "(its own)" })?;
        let info = ask("give the device to this driver", pci.claim())?;
        Ok(Self(Rc::new(State {
            environment,
            space,
            pci,
            info,
            bars: RefCell::new(Vec::new()),
            interrupts: RefCell::new(Vec::new()),
            memory: OnceCell::new(),
            seen: environment.capability(DEVICE_SPACE).ok().map(DeviceSpace::new),
            enabled: Cell::new(false),
        })))
    }

    fn quiesce(&self) {
        self.0.quiesce();
    }
}
