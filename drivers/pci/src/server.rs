//! The interface `Pci`.

use crate::machine::{Ecam, MappedTable};
use alloc::vec::Vec;
use core::cell::{Ref, RefCell, RefMut};
use core::fmt::Display;
use interfaces::pci::{BarInfo, FunctionInfo, PciError, PciServer};
use pci::bus::{Bus, Refusal};
use pci::message;
use pci::placement::Placement;
use userlib::abi::Error;
use userlib::abi::rights::MemoryRights;
use userlib::cap::{Cap, Interrupt, Memory, Owned};
use userlib::ipc::Caller;
use userlib::memory::AddressSpace;
use userlib::time::{Duration, Instant};
use userlib::{executor, log};

/// How long a function may take to finish what it does on the bus.
const QUIET_TIMEOUT: Duration = Duration::from_millis(500);
/// Wait between two looks at a function that is finishing.
const QUIET_POLL: Duration = Duration::from_millis(1);

/// The bus and the memory of its devices; without configuration space there is none.
#[derive(Debug)]
pub(crate) struct Server {
    bus: Option<RefCell<Bus<Ecam>>>,
    windows: Vec<Cap<Memory>>,
    space: Option<AddressSpace>,
}

/// Notes in the log that a client was refused something, and why; the client learns less.
fn refused(caller: &Caller, what: &str, refusal: Refusal) -> PciError {
    log::warn!("refused to {what} for domain {}: {refusal}", caller.badge());
    refusal.into()
}

/// Notes in the log that something is used up.
fn exhausted(what: &str, error: impl Display) -> PciError {
    log::error!("cannot {what}: {error}");
    PciError::Exhausted
}

impl Server {
    pub(crate) fn new(bus: Option<Bus<Ecam>>, windows: Vec<Cap<Memory>>, space: Option<AddressSpace>) -> Self {
        Self { bus: bus.map(RefCell::new), windows, space }
    }

    fn bus(&self) -> Result<Ref<'_, Bus<Ecam>>, PciError> {
        self.bus.as_ref().map(RefCell::borrow).ok_or(PciError::NoBus)
    }

    fn bus_mut(&self) -> Result<RefMut<'_, Bus<Ecam>>, PciError> {
        self.bus.as_ref().map(RefCell::borrow_mut).ok_or(PciError::NoBus)
    }

    fn table(&self, placement: Placement) -> Result<MappedTable, PciError> {
        let space = self.space.as_ref().ok_or_else(|| exhausted("map an interrupt table", Error::BadHandle))?;
        let Placement { window, first, pages, offset, .. } = placement;
        MappedTable::new(space, self.windows[window], first, pages, offset)
            .map_err(|error| exhausted("map an interrupt table", error))
    }
}

impl PciServer for Server {
    async fn function(&self, _: &Caller, index: u16) -> Result<Option<FunctionInfo>, PciError> {
        Ok(self.bus()?.info(index.into()))
    }

    async fn claim(&self, caller: &Caller) -> Result<FunctionInfo, PciError> {
        let mut bus = self.bus_mut()?;
        let info = bus.claim(caller.badge()).map_err(|refusal| refused(caller, "give a function", refusal))?;
        // What an earlier instance of the driver has enabled is not this one's. A table that cannot be used does not
        // matter unless the driver asks for interrupts: MSI-X itself is off.
        if let Ok(Some((placement, entries))) = bus.message_table(caller.badge()) {
            let table = self.table(placement)?;
            (0..entries).for_each(|entry| message::mask(&table, entry));
        }
        log::info!("{} ({:04x}:{:04x}) is domain {}'s", info.address, info.vendor, info.device, caller.badge());
        Ok(info)
    }

    async fn bar(&self, caller: &Caller, index: u8) -> Result<(BarInfo, Owned<Memory>), PciError> {
        let (placement, prefetchable) =
            self.bus()?.bar(caller.badge(), index).map_err(|refusal| refused(caller, "give registers", refusal))?;
        let Placement { window, first, pages, offset, start, length } = placement;
        let memory = self.windows[window]
            .split(first, pages, MemoryRights::READ | MemoryRights::WRITE)
            .map_err(|error| exhausted("split a window of device memory", error))?;
        Ok((BarInfo { offset, start, length, prefetchable }, memory))
    }

    async fn read_config(&self, caller: &Caller, offset: u16, width: u8) -> Result<u32, PciError> {
        self.bus()?
            .read_config(caller.badge(), offset, width)
            .map_err(|refusal| refused(caller, "read configuration space", refusal))
    }

    async fn write_config(&self, caller: &Caller, offset: u16, width: u8, value: u32) -> Result<(), PciError> {
        self.bus()?
            .write_config(caller.badge(), offset, width, value)
            .map_err(|refusal| refused(caller, "write configuration space", refusal))
    }

    async fn enable_message(&self, caller: &Caller, entry: u16, interrupt: Owned<Interrupt>) -> Result<(), PciError> {
        let bus = self.bus()?;
        let refused = |refusal| refused(caller, "enable an interrupt", refusal);
        let placement = bus.message_entry(caller.badge(), entry).map_err(refused)?;
        let (address, data) = interrupt.message().map_err(|error| {
            log::warn!("domain {} offers an interrupt without a message: {error}", caller.badge());
            PciError::BadInterrupt
        })?;
        message::program(&self.table(placement)?, entry, address, data);
        bus.enable_messages(caller.badge()).map_err(refused)
    }

    async fn disable_message(&self, caller: &Caller, entry: u16) -> Result<(), PciError> {
        let placement = self
            .bus()?
            .message_entry(caller.badge(), entry)
            .map_err(|refusal| refused(caller, "disable an interrupt", refusal))?;
        message::mask(&self.table(placement)?, entry);
        Ok(())
    }

    async fn set_bus_mastering(&self, caller: &Caller, on: bool) -> Result<(), PciError> {
        let refused = |refusal| refused(caller, "switch bus mastering", refusal);
        self.bus()?.set_bus_mastering(caller.badge(), on).map_err(refused)?;
        if on {
            return Ok(());
        }
        let deadline = Instant::now() + QUIET_TIMEOUT;
        while !self.bus()?.is_quiet(caller.badge()).map_err(refused)? {
            if Instant::now() >= deadline {
                log::warn!("the function of domain {} does not come to rest", caller.badge());
                return Err(PciError::NotQuiet);
            }
            executor::sleep(QUIET_POLL).await;
        }
        Ok(())
    }
}
