//! What init has made once for the whole life of the system, as handles in the reader's own capability table.

use abi::Handle;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use userlib::cap::{Account, Cap, DeviceControl, Domain, Endpoint, Interrupt, Memory, Notification, Ports, System};

use crate::instance::Custody;

/// A memory capability and its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryRef {
    handle: u64,
    /// Pages.
    pub pages: u64,
}

impl MemoryRef {
    /// Names `pages` pages.
    pub const fn new(memory: Cap<Memory>, pages: u64) -> Self {
        MemoryRef { handle: memory.handle().0, pages }
    }

    /// The capability.
    pub const fn cap(&self) -> Cap<Memory> {
        Cap::from_handle(Handle(self.handle))
    }
}

/// A capability for a range of I/O ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortsRef {
    handle: u64,
    /// First port.
    pub first: u16,
    /// How many.
    pub count: u32,
}

impl PortsRef {
    /// Names a range.
    pub const fn new(ports: Cap<Ports>, first: u16, count: u32) -> Self {
        PortsRef { handle: ports.handle().0, first, count }
    }

    /// The capability.
    pub const fn cap(&self) -> Cap<Ports> {
        Cap::from_handle(Handle(self.handle))
    }
}

/// What one domain's instances are built from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainResources {
    account: u64,
    notification: u64,
    /// Its private memory: data, stack, heap.
    pub private: MemoryRef,
    /// Start page, status page, message buffer, then pages for page tables (see [`crate::control_pages`]).
    pub control: MemoryRef,
    /// Memory that outlives its instances; no pages if it has none.
    pub vault: MemoryRef,
    /// Contiguous memory for what its device reads and writes, beside rings; no pages without a PCI device.
    pub dma: MemoryRef,
    /// Pages for the page tables of what its device sees; none without a PCI device.
    pub device_tables: MemoryRef,
    /// Memory for a copy of its code that can be changed; no pages in a system in which nobody may do that.
    pub code: MemoryRef,
    /// Memory of its guest, with what is needed beside it; no pages without a guest.
    pub guest: MemoryRef,
    interrupts: Vec<u64>,
    /// Its I/O ports.
    pub ports: Vec<PortsRef>,
}

impl DomainResources {
    /// What belongs to one domain.
    pub fn new(
        account: Cap<Account>,
        notification: Cap<Notification>,
        private: MemoryRef,
        control: MemoryRef,
        vault: MemoryRef,
    ) -> Self {
        DomainResources {
            account: account.handle().0,
            notification: notification.handle().0,
            private,
            control,
            vault,
            dma: MemoryRef::default(),
            device_tables: MemoryRef::default(),
            code: MemoryRef::default(),
            guest: MemoryRef::default(),
            interrupts: Vec::new(),
            ports: Vec::new(),
        }
    }

    /// Adds an interrupt.
    pub fn push_interrupt(&mut self, interrupt: Cap<Interrupt>) {
        self.interrupts.push(interrupt.handle().0);
    }

    /// The account to which its objects are charged.
    pub const fn account(&self) -> Cap<Account> {
        Cap::from_handle(Handle(self.account))
    }

    /// Its notification.
    pub const fn notification(&self) -> Cap<Notification> {
        Cap::from_handle(Handle(self.notification))
    }

    /// Its interrupts.
    pub fn interrupts(&self) -> impl Iterator<Item = Cap<Interrupt>> + '_ {
        self.interrupts.iter().map(|handle| Cap::from_handle(Handle(*handle)))
    }

    /// Applies `give`, which passes one capability on and returns its handle at the receiver, to all of them.
    ///
    /// # Errors
    /// The first one of `give`.
    pub fn try_translate<E>(&self, give: &mut impl FnMut(u64) -> Result<u64, E>) -> Result<Self, E> {
        let mut memory = |from: MemoryRef| -> Result<MemoryRef, E> {
            let handle = if from.pages == 0 { 0 } else { give(from.handle)? };
            Ok(MemoryRef { handle, pages: from.pages })
        };
        let (private, control) = (memory(self.private)?, memory(self.control)?);
        let (vault, dma) = (memory(self.vault)?, memory(self.dma)?);
        let (device_tables, code, guest) = (memory(self.device_tables)?, memory(self.code)?, memory(self.guest)?);
        Ok(DomainResources {
            account: give(self.account)?,
            notification: give(self.notification)?,
            private,
            control,
            vault,
            dma,
            device_tables,
            code,
            guest,
            interrupts: self.interrupts.iter().map(|handle| give(*handle)).collect::<Result<_, _>>()?,
            ports: self
                .ports
                .iter()
                .map(|ports| Ok(PortsRef { handle: give(ports.handle)?, ..*ports }))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// How the machine is switched off: a value written to a port (ACPI 6.4, 4.8.3.2.1: SLP_TYP and SLP_EN of PM1_CNT).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerOff {
    /// The port, as a range of two.
    pub control: PortsRef,
    /// What to write, 16 bits.
    pub value: u16,
}

/// Memory that the firmware has reserved for functions, which they may use at any time: they see it whoever drives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRegion {
    /// The first function, as the IOMMU knows it.
    pub first: u16,
    /// The last one.
    pub last: u16,
    /// Where it lies, and where they look for it.
    pub address: u64,
    /// The memory.
    pub memory: MemoryRef,
}

/// Everything that outlives instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// By domain, in the order of the manifest; the supervisor first.
    pub domains: Vec<DomainResources>,
    /// By endpoint, in the order of the manifest.
    endpoints: Vec<u64>,
    /// By ring, in the order of the manifest.
    pub rings: Vec<MemoryRef>,
    /// The boot archive, from its first byte.
    pub archive: MemoryRef,
    /// Bytes of the boot archive.
    pub archive_bytes: u64,
    /// PCI configuration space of segment 0 from bus 0 on, 256 pages a bus; no pages on a machine without it.
    pub ecam: MemoryRef,
    /// Windows in which devices may have their registers.
    pub windows: Vec<MemoryRef>,
    /// What the firmware has reserved for devices.
    pub device_regions: Vec<DeviceRegion>,
    system: u64,
    devices: u64,
    faults: u64,
    /// Where a supervisor notes what its successor must know (see [`crate::Ledger`]).
    pub ledger: MemoryRef,
    keeper: u64,
    tidying: u64,
    /// By domain: what the last supervisor has left; empty for the first one.
    pub legacy: Vec<Option<Custody>>,
    /// How to switch off, if the firmware says so.
    pub power_off: Option<PowerOff>,
    /// How to start the machine again, if the firmware says so: eight bits.
    pub reset: Option<PowerOff>,
    /// Time of day at boot, in seconds since 1970; 0 if it is not known.
    pub boot_time: u64,
    /// Frames of RAM that init has not given to anybody.
    pub spare_pages: u64,
}

impl Inventory {
    /// An inventory without endpoints and rings, and nobody who keeps anything.
    pub fn new(
        archive: MemoryRef,
        archive_bytes: u64,
        system: Cap<System>,
        devices: Cap<DeviceControl>,
        faults: Cap<Endpoint>,
    ) -> Self {
        Inventory {
            domains: Vec::new(),
            endpoints: Vec::new(),
            rings: Vec::new(),
            archive,
            archive_bytes,
            ecam: MemoryRef::default(),
            windows: Vec::new(),
            device_regions: Vec::new(),
            system: system.handle().0,
            devices: devices.handle().0,
            faults: faults.handle().0,
            ledger: MemoryRef::default(),
            keeper: Handle::NONE.0,
            tidying: Handle::NONE.0,
            legacy: Vec::new(),
            power_off: None,
            reset: None,
            boot_time: 0,
            spare_pages: 0,
        }
    }

    /// Says who keeps a share in every instance, and how it is told to look through that for what is gone.
    pub fn set_keeper(&mut self, keeper: Cap<Domain>, tidying: Cap<Notification>) {
        (self.keeper, self.tidying) = (keeper.handle().0, tidying.handle().0);
    }

    /// Adds the endpoint that is next in the manifest's order.
    pub fn push_endpoint(&mut self, endpoint: Cap<Endpoint>) {
        self.endpoints.push(endpoint.handle().0);
    }

    /// The endpoint at a position of the manifest. It may be gone, if its server's device is not in the machine.
    pub fn endpoint(&self, index: manifest::EndpointIndex) -> Option<Cap<Endpoint>> {
        self.endpoints.get(index.position()).map(|handle| Cap::from_handle(Handle(*handle)))
    }

    /// The kernel's log and statistics.
    pub const fn system(&self) -> Cap<System> {
        Cap::from_handle(Handle(self.system))
    }

    /// Authority over what devices see.
    pub const fn devices(&self) -> Cap<DeviceControl> {
        Cap::from_handle(Handle(self.devices))
    }

    /// The endpoint at which the supervisor hears of faults.
    pub const fn faults(&self) -> Cap<Endpoint> {
        Cap::from_handle(Handle(self.faults))
    }

    /// The domain that keeps a share in every instance: nothing but giving to it is allowed.
    pub const fn keeper(&self) -> Cap<Domain> {
        Cap::from_handle(Handle(self.keeper))
    }

    /// What has the keeper look for what is gone.
    pub const fn tidying(&self) -> Cap<Notification> {
        Cap::from_handle(Handle(self.tidying))
    }

    /// Applies `give`, which passes one capability on and returns its handle at the receiver, to all of them.
    ///
    /// # Errors
    /// The first one of `give`.
    pub fn try_translate<E>(&self, mut give: impl FnMut(u64) -> Result<u64, E>) -> Result<Self, E> {
        let mut optional = |from: MemoryRef| -> Result<MemoryRef, E> {
            let handle = if from.pages == 0 { 0 } else { give(from.handle)? };
            Ok(MemoryRef { handle, pages: from.pages })
        };
        let (archive, ecam, ledger) = (optional(self.archive)?, optional(self.ecam)?, optional(self.ledger)?);
        let rings = self.rings.iter().map(|ring| optional(*ring)).collect::<Result<_, _>>()?;
        let windows = self.windows.iter().map(|window| optional(*window)).collect::<Result<_, _>>()?;
        let region = |region: &DeviceRegion| -> Result<DeviceRegion, E> {
            Ok(DeviceRegion { memory: optional(region.memory)?, ..*region })
        };
        let device_regions = self.device_regions.iter().map(region).collect::<Result<_, _>>()?;
        let mut switch = |from: Option<PowerOff>| -> Result<Option<PowerOff>, E> {
            let Some(off) = from else { return Ok(None) };
            Ok(Some(PowerOff { control: PortsRef { handle: give(off.control.handle)?, ..off.control }, ..off }))
        };
        let (power_off, reset) = (switch(self.power_off)?, switch(self.reset)?);
        Ok(Inventory {
            domains: self.domains.iter().map(|domain| domain.try_translate(&mut give)).collect::<Result<_, _>>()?,
            endpoints: self.endpoints.iter().map(|handle| give(*handle)).collect::<Result<_, _>>()?,
            rings,
            archive,
            archive_bytes: self.archive_bytes,
            ecam,
            windows,
            device_regions,
            system: give(self.system)?,
            devices: give(self.devices)?,
            faults: give(self.faults)?,
            ledger,
            keeper: give(self.keeper)?,
            tidying: give(self.tidying)?,
            legacy: self
                .legacy
                .iter()
                .map(|kept| kept.as_ref().map(|kept| kept.try_translate(&mut give)).transpose())
                .collect::<Result<_, _>>()?,
            power_off,
            reset,
            boot_time: self.boot_time,
            spare_pages: self.spare_pages,
        })
    }

    /// The inventory as bytes, for the page in which the supervisor finds it.
    ///
    /// # Errors
    /// None for any inventory that fits into memory.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_allocvec(self)
    }

    /// Reads an inventory; bytes behind it are left alone.
    ///
    /// # Errors
    /// If the bytes are no inventory.
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        postcard::take_from_bytes(bytes).map(|(inventory, _)| inventory)
    }
}
