//! The interface `Pci`.

use crate::bus::{Bus, Refusal};
use crate::config::ConfigSpace;
use crate::message::{self, TableRegisters};
use crate::placement::Placement;
use alloc::rc::Rc;
use core::cell::{Ref, RefCell, RefMut};
use core::fmt::Display;
use interfaces::pci::{BarInfo, FunctionInfo, PciError, PciServer};
use userlib::abi::Error;
use userlib::cap::{Interrupt, Memory, Owned};
use userlib::ipc::Caller;
use userlib::memory::MapError;
use userlib::time::{Duration, Instant};
use userlib::{executor, log};

/// How long a function may take to finish what it does on the bus.
const QUIET_TIMEOUT: Duration = Duration::from_millis(500);
/// Wait between two looks at a function that is finishing.
const QUIET_POLL: Duration = Duration::from_millis(1);

/// The bus and the memory of its devices; without configuration space there is none.
#[derive(Debug)]
pub struct Server<C, M> {
    found: Option<(Rc<RefCell<Bus<C>>>, M)>,
}

/// The memory in which devices have their registers.
pub trait DeviceMemory {
    /// An interrupt table, as long as it is used.
    type Table: TableRegisters;

    /// The interrupt table at this place.
    ///
    /// # Errors
    /// If it cannot be mapped.
    fn table(&self, placement: &Placement) -> Result<Self::Table, MapError>;

    /// A capability for the pages at this place.
    ///
    /// # Errors
    /// The kernel's.
    fn part(&self, placement: &Placement) -> Result<Owned<Memory>, Error>;
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

impl<C: ConfigSpace, M: DeviceMemory> Server<C, M> {
    /// A server of this bus, or of a machine that has none.
    pub fn new(found: Option<(Bus<C>, M)>) -> Self {
        Self { found: found.map(|(bus, memory)| (Rc::new(RefCell::new(bus)), memory)) }
    }

    /// The bus, for whoever looks after what comes and goes on it. Nobody keeps it borrowed while waiting.
    pub fn shared_bus(&self) -> Option<Rc<RefCell<Bus<C>>>> {
        self.found.as_ref().map(|(bus, _)| bus.clone())
    }

    fn bus(&self) -> Result<Ref<'_, Bus<C>>, PciError> {
        self.found.as_ref().map(|(bus, _)| bus.borrow()).ok_or(PciError::NoBus)
    }

    fn bus_mut(&self) -> Result<RefMut<'_, Bus<C>>, PciError> {
        self.found.as_ref().map(|(bus, _)| bus.borrow_mut()).ok_or(PciError::NoBus)
    }

    fn memory(&self) -> Result<&M, PciError> {
        self.found.as_ref().map(|(_, memory)| memory).ok_or(PciError::NoBus)
    }

    fn table(&self, placement: &Placement) -> Result<M::Table, PciError> {
        self.memory()?.table(placement).map_err(|error| exhausted("map an interrupt table", error))
    }
}

impl<C: ConfigSpace + 'static, M: DeviceMemory + 'static> PciServer for Server<C, M> {
    async fn function(&self, _: &Caller, index: u16) -> Result<Option<FunctionInfo>, PciError> {
        Ok(self.bus()?.info(index.into()))
    }

    async fn claim(&self, caller: &Caller) -> Result<FunctionInfo, PciError> {
        let mut bus = self.bus_mut()?;
        let info = bus.claim(caller.badge()).map_err(|refusal| refused(caller, "give a function", refusal))?;
        // What an earlier instance of the driver has enabled is not this one's. A table that cannot be used does not
        // matter unless the driver asks for interrupts: MSI-X itself is off.
        if let Ok(Some((placement, entries))) = bus.message_table(caller.badge()) {
            let table = self.table(&placement)?;
            (0..entries).for_each(|entry| message::mask(&table, entry));
        }
        log::info!("{} ({:04x}:{:04x}) is domain {}'s", info.address, info.vendor, info.device, caller.badge());
        Ok(info)
    }

    async fn bar(&self, caller: &Caller, index: u8) -> Result<(BarInfo, Owned<Memory>), PciError> {
        let (placement, prefetchable) =
            self.bus()?.bar(caller.badge(), index).map_err(|refusal| refused(caller, "give registers", refusal))?;
        let memory =
            self.memory()?.part(&placement).map_err(|error| exhausted("split a window of device memory", error))?;
        let Placement { offset, start, length, .. } = placement;
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
        let (address, data) = interrupt.message().map_err(|error| {
            log::warn!("domain {} offers an interrupt without a message: {error}", caller.badge());
            PciError::BadInterrupt
        })?;
        if bus.program_message(caller.badge(), entry, address, data).map_err(refused)? {
            return Ok(());
        }
        let placement = bus.message_entry(caller.badge(), entry).map_err(refused)?;
        message::program(&self.table(&placement)?, entry, address, data);
        bus.enable_messages(caller.badge()).map_err(refused)
    }

    async fn disable_message(&self, caller: &Caller, entry: u16) -> Result<(), PciError> {
        let bus = self.bus()?;
        let refused = |refusal| refused(caller, "disable an interrupt", refusal);
        if !bus.stop_message(caller.badge(), entry).map_err(refused)? {
            let placement = bus.message_entry(caller.badge(), entry).map_err(refused)?;
            message::mask(&self.table(&placement)?, entry);
        }
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
