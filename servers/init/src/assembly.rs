//! Makes what outlives every instance of a domain, exactly as the manifest says.

use crate::failure::{AtStep, Failure};
use crate::keeping::{Desk, Keeping};
use crate::ram::{Ram, extent_cap};
use crate::{clock, machine};
use alloc::vec::Vec;
use archive::Archive;
use manifest::{Bus, Device, Domain, DomainIndex, Grant, System};
use spawn::{
    Blueprint, BuildError, CONTROL_FIXED_PAGES, Custody, DMA_PAGES, DomainResources, Handover, Images, Instance,
    Inventory, Ledger, MANIFEST_ENTRY, MemoryRef, PortsRef, Prepared, STATUS_PAGE, ledger_pages,
};
use userlib::abi::fault::FAULT_INTERFACE;
use userlib::abi::rights::{MemoryRights, PortsRights};
use userlib::abi::root::{self, ExtentKind, RootInfo};
use userlib::abi::syscall::{AccountLimits, Charge, InterruptSource, MapAccess};
use userlib::abi::{Error, Handle, PAGE_SIZE};
use userlib::cap::{Account, Cap, Endpoint, InterruptControl, Memory, Ports, Space};
use userlib::memory::{AddressSpace, SharedMemory};
use userlib::status::HEARTBEAT_BIT;

/// The window of init's own space in which it maps what it prepares. The kernel's own mappings for it lie below.
const WINDOW: core::ops::Range<u64> = 0x2000_0000_0000..0x2100_0000_0000;
/// Pages for page tables of that window.
const OWN_TABLES: u64 = 64;
/// Pages in which the supervisor finds its inventory.
const INVENTORY_PAGES: u64 = 8;
/// Page tables on top of what every domain gets: the supervisor maps every other domain's status page, and memory to
/// prepare it.
const SUPERVISOR_EXTRA_TABLES: u64 = 64;
/// Bytes that one page table covers.
const TABLE_REACH: u64 = 512 * PAGE_SIZE;
/// Level of the endpoint at which init hears of the supervisor's death. Faults are not calls: any would do.
const FAULT_LEVEL: u8 = 0;

/// Everything that init keeps.
pub(crate) struct Assembly {
    system: System,
    inventory: Inventory,
    archive: Archive<'static>,
    images: Images,
    own_space: AddressSpace,
    inventory_memory: MemoryRef,
    /// What supervisors have left.
    pub(crate) keeping: Keeping,
    /// The pages of the supervisor's control memory with fixed uses.
    supervisor_control: SharedMemory<'static>,
    /// One of them: what the supervisor tells.
    pub(crate) supervisor_status: SharedMemory<'static>,
    /// Where init hears of the supervisor's faults.
    pub(crate) faults: Cap<Endpoint>,
}

/// Makes everything but the domains themselves.
///
/// # Errors
/// [`Failure`].
pub(crate) fn assemble(info: &'static RootInfo) -> Result<Assembly, Failure> {
    let archive = Archive::parse_checked_before(userlib::root::archive(info)).map_err(Failure::Archive)?;
    let file = archive.file(MANIFEST_ENTRY).ok_or(Failure::NoManifest)?;
    let system = System::decode(file.contents).map_err(Failure::Manifest)?;

    let mut ram = Ram::new(info);
    let own_space = AddressSpace::new(Cap::<Space>::from_handle(root::SPACE), WINDOW);
    let tables = ram.take(OWN_TABLES, "init's page tables")?;
    own_space.use_tables(tables.cap(), 0..tables.pages);

    let account = Cap::<Account>::from_handle(root::ACCOUNT);
    let part = "init";
    let faults = account.create_endpoint(FAULT_INTERFACE, FAULT_LEVEL, 0).at("make a fault endpoint", part)?.leak();
    let supervisor = &system[DomainIndex::SUPERVISOR];
    let supervisor_faults = account
        .create_endpoint(FAULT_INTERFACE, FAULT_LEVEL, supervisor.priority)
        .at("make a fault endpoint", &supervisor.name)?
        .leak();
    let (archive_memory, archive_pages) = archive_extent(info)?;
    let Desk { keeper, tidying } = Desk::open()?;
    let mut inventory = Inventory::new(
        MemoryRef::new(archive_memory, archive_pages),
        info.archive_length,
        Cap::from_handle(root::SYSTEM),
        Cap::from_handle(root::DEVICES),
        supervisor_faults,
    );
    inventory.set_keeper(keeper, tidying);
    // Before anybody else takes what is low.
    let dma = dma_memory(&system, &mut ram)?;
    for endpoint in &system.endpoints {
        let made = account.create_endpoint(endpoint.interface_id, endpoint.level, endpoint.ceiling);
        inventory.push_endpoint(made.at("make an endpoint", &endpoint.interface)?.leak());
    }
    for ring in &system.rings {
        let memory = ram.take(ring.bytes / PAGE_SIZE, &system[ring.endpoint].interface)?;
        clear(&own_space, memory, "ring")?;
        inventory.rings.push(memory);
    }
    let images = Images::new();
    let has_debugger = system.domains().any(|(_, domain)| domain.holds(Grant::Debug));
    for ((index, domain), dma) in system.domains().zip(dma) {
        let mut resources = resources_of(&system, index, &archive, &own_space, &mut ram)?;
        resources.dma = dma;
        // Programs that cannot be read are spoken of when they are to be started.
        if has_debugger && let Ok(image) = images.of(&archive, &system, index) {
            resources.code = ram.take(image.changeable_pages(), &domain.name)?;
        }
        inventory.domains.push(resources);
    }
    inventory.boot_time = clock::boot_time();
    machine::describe(info, userlib::root::boot_info(info), &mut inventory)?;
    let inventory_memory = ram.take(INVENTORY_PAGES, "the supervisor's inventory")?;
    let purpose = "the supervisor's ledger";
    let pages = ledger_pages(system.domains.len());
    let too_short = || Failure::OutOfMemory { purpose: purpose.into(), pages };
    inventory.ledger = ram.take(pages, purpose)?;
    inventory.spare_pages = ram.spare_pages();
    let ledger = map_for_good(&own_space, inventory.ledger, pages, purpose)?;
    let ledger = Ledger::new(ledger, system.domains.len()).ok_or_else(too_short)?;
    ledger.clear();
    let control = inventory.domains[DomainIndex::SUPERVISOR.position()].control;
    let supervisor_control = map_for_good(&own_space, control, CONTROL_FIXED_PAGES, "the supervisor")?;
    let (start, end) = (STATUS_PAGE * PAGE_SIZE, (STATUS_PAGE + 1) * PAGE_SIZE);
    let supervisor_status = supervisor_control.part(start as usize..end as usize).ok_or_else(too_short)?;
    Ok(Assembly {
        system,
        inventory,
        archive,
        images: Images::new(),
        own_space,
        inventory_memory,
        // From here on whatever else is in the table is a supervisor's.
        keeping: Keeping::begin(ledger),
        supervisor_control,
        supervisor_status,
        faults,
    })
}

/// Maps the first pages of a memory for the rest of init's life.
fn map_for_good(
    own_space: &AddressSpace,
    memory: MemoryRef,
    pages: u64,
    purpose: &str,
) -> Result<SharedMemory<'static>, Failure> {
    let mapping = own_space.map(memory.cap(), 0, pages, MapAccess::ReadWrite);
    let mapping = mapping.map_err(|error| Failure::OwnMapping { purpose: purpose.into(), error })?;
    Ok(mapping.leak_shared())
}

impl Assembly {
    /// Builds a supervisor, which takes over what the last one has left, and starts it. `instance` counts the earlier ones.
    ///
    /// # Errors
    /// [`Failure::Supervisor`].
    pub(crate) fn build_supervisor(&self, instance: u32) -> Result<Instance, Failure> {
        let legacy = self.keeping.legacy(self.system.domains.len());
        let give = |target| self.hand_over(target, legacy.clone());
        let blueprint = Blueprint {
            system: &self.system,
            inventory: &self.inventory,
            archive: &self.archive,
            images: &self.images,
            own_space: &self.own_space,
            control: Some(self.supervisor_control),
            faults: (self.faults, spawn::FAULT_BADGE_BASE),
            device: None,
            handover: Some(Handover { memory: self.inventory_memory, give: &give }),
        };
        let prepared = spawn::prepare(&blueprint, DomainIndex::SUPERVISOR, instance);
        prepared.and_then(Prepared::start).map_err(Failure::Supervisor)
    }

    /// Asks the supervisor for a sign of life.
    pub(crate) fn ask_supervisor(&self) {
        let resources = &self.inventory.domains[DomainIndex::SUPERVISOR.position()];
        // Who cannot be asked gives no answer.
        let _ = resources.notification().notify(1 << HEARTBEAT_BIT);
    }

    /// There will be no supervisor any more: who calls one learns it at once instead of waiting for an answer.
    pub(crate) fn close_supervision(&self) {
        let provided = self.system[DomainIndex::SUPERVISOR].provides.iter();
        for endpoint in provided.filter_map(|endpoint| self.inventory.endpoint(*endpoint)) {
            // One that is gone already is what was wanted.
            let _ = endpoint.destroy();
        }
    }

    /// Gives a new supervisor copies of everything.
    fn hand_over(&self, target: Cap<userlib::cap::Domain>, legacy: Vec<Option<Custody>>) -> Result<(), BuildError> {
        let step = "hand the inventory over";
        // The kernel takes the rights that the original has, whatever its kind.
        let all = MemoryRights::from_bits_retain(u16::MAX);
        let give = |handle: u64| {
            let given = Cap::<Memory>::from_handle(Handle(handle)).grant(target, all, 0);
            match given {
                Ok(handle) => Ok(handle.0),
                // A former supervisor has closed the endpoint of a server whose device is not in the machine, or was taking
                // a domain apart.
                Err(Error::StaleHandle) => Ok(Handle::NONE.0),
                Err(error) => Err(BuildError::Refused { step, error }),
            }
        };
        let mut inventory = self.inventory.clone();
        inventory.legacy = legacy;
        let inventory = inventory.try_translate(give)?;
        let bytes = inventory.encode().map_err(|_| BuildError::TooManyThings)?;
        let memory = self.inventory_memory;
        let mapping = self.own_space.map(memory.cap(), 0, memory.pages, MapAccess::ReadWrite)?;
        mapping.shared().write(0, &bytes).map_err(|_| BuildError::TooManyThings)
    }
}

fn archive_extent(info: &RootInfo) -> Result<(Cap<Memory>, u64), Failure> {
    let used = info.extents.iter().take(info.extents_used as usize).enumerate();
    let mut archives = used.filter(|(_, extent)| extent.kind == ExtentKind::Archive as u32);
    archives.next().map(|(index, extent)| (extent_cap(index), extent.pages)).ok_or(Failure::NoManifest)
}

fn clear(own_space: &AddressSpace, memory: MemoryRef, purpose: &str) -> Result<(), Failure> {
    let mapping = own_space
        .map(memory.cap(), 0, memory.pages, MapAccess::ReadWrite)
        .map_err(|error| Failure::OwnMapping { purpose: purpose.into(), error })?;
    mapping.shared().fill_zero();
    Ok(())
}

/// For each domain, what it may share with its device: as low in memory as can be, so that devices which know short
/// addresses only can use it on a machine without an IOMMU, too.
fn dma_memory(system: &System, ram: &mut Ram) -> Result<Vec<MemoryRef>, Failure> {
    let pages = |domain: &Domain| match &domain.device {
        Some(Device { bus: Bus::Pci { .. }, .. }) => DMA_PAGES,
        _ => 0,
    };
    system.domains().map(|(_, domain)| ram.take_low(pages(domain), &domain.name)).collect()
}

/// Makes what one domain's instances are built from.
fn resources_of(
    system: &System,
    index: DomainIndex,
    archive: &Archive<'_>,
    own_space: &AddressSpace,
    ram: &mut Ram,
) -> Result<DomainResources, Failure> {
    let domain = &system[index];
    let account = Cap::<Account>::from_handle(root::ACCOUNT);
    let name = domain.name.as_str();
    let is_supervisor = index == DomainIndex::SUPERVISOR;
    let private_pages = domain.memory / PAGE_SIZE;
    let vault_pages = domain.vault / PAGE_SIZE;
    let rings = system.rings_of(index).count() as u64;
    let ring_pages: u64 = system.rings_of(index).map(|(_, ring)| ring.bytes / PAGE_SIZE).sum();
    let lent = system.rings_lent_to(index).count() as u64;
    let lent_pages: u64 = system.rings_lent_to(index).map(|(_, ring)| ring.bytes / PAGE_SIZE).sum();
    let mapped_pages = ring_pages + lent * spawn::LENT_PAGES;
    let extra = match is_supervisor {
        // It finds the whole archive in its space, in which there may be large files for guests.
        true => SUPERVISOR_EXTRA_TABLES + archive.bytes().len() as u64 / TABLE_REACH,
        false => spawn::guest_tables(archive, domain),
    };
    let control_pages = spawn::control_pages(private_pages, vault_pages, mapped_pages, rings + lent, extra);

    let mut limits = limits_of(domain, private_pages + vault_pages + ring_pages + lent_pages, is_supervisor);
    spawn::allow_guest(&mut limits, archive, domain);
    let own_account = account.create_account(&limits).at("make an account", name)?.leak();
    let notification = account.create_notification().at("make a notification", name)?.leak();
    let private = ram.take(private_pages, name)?;
    let control = ram.take(control_pages, name)?;
    let vault = ram.take(vault_pages, name)?;
    if vault.pages > 0 {
        clear(own_space, vault, name)?;
    }
    let mut resources = DomainResources::new(own_account, notification, private, control, vault);
    resources.guest = ram.take(domain.guest_memory / PAGE_SIZE, name)?;
    match &domain.device {
        Some(Device { bus: Bus::Pci { interrupts, .. }, .. }) => {
            let pages = DMA_PAGES + ring_pages + lent_pages;
            let tables = spawn::device_table_pages(pages, 1 + rings + lent);
            resources.device_tables = ram.take(tables, name)?;
            for _ in 0..*interrupts {
                resources.push_interrupt(interrupt(InterruptSource::Message, name)?);
            }
        }
        Some(Device { bus: Bus::Legacy { ports, irqs }, .. }) => {
            for irq in irqs {
                resources.push_interrupt(interrupt(InterruptSource::Isa(*irq), name)?);
            }
            for range in ports {
                let count = u32::from(range.count);
                let all = Cap::<Ports>::from_handle(root::PORTS);
                let part = all.split(range.base, count, PortsRights::all()).at("split I/O ports", name)?;
                resources.ports.push(PortsRef::new(part.leak(), range.base, count));
            }
        }
        None => {}
    }
    Ok(resources)
}

fn interrupt(source: InterruptSource, name: &str) -> Result<Cap<userlib::cap::Interrupt>, Failure> {
    let control = Cap::<InterruptControl>::from_handle(root::INTERRUPTS);
    Ok(control.create(source).at("make an interrupt", name)?.leak())
}

/// What a domain's objects, made by its builder or by itself, may come to.
fn limits_of(domain: &Domain, pages: u64, is_supervisor: bool) -> AccountLimits {
    let mut limits = [0; Charge::COUNT];
    let mut set = |charge: Charge, limit: u32| limits[charge as usize] = limit;
    set(Charge::CapSlots, domain.capabilities);
    // Its own, and its device's.
    set(Charge::Spaces, if domain.device.is_some() { 2 } else { 1 });
    set(Charge::Domains, 1);
    set(Charge::Threads, domain.threads.into());
    // Its account lets a domain make budgets. One that is bounded must not make itself another, unbounded one.
    set(Charge::Budgets, if domain.bound.is_some() { 1 } else { u32::from(domain.threads) + 1 });
    set(Charge::Endpoints, 4);
    set(Charge::Notifications, 4);
    let windows = (pages * PAGE_SIZE / (2 << 20)) as u32;
    set(Charge::Mappings, 64 + 2 * windows + if is_supervisor { 512 } else { 0 });
    limits
}
