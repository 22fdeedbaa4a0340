//! What the supervisor knows of each domain.

use crate::bus::Bus;
use crate::death::Death;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use archive::Archive;
use core::cell::{Cell, Ref, RefCell, RefMut};
use interfaces::supervision::{Confinement, DomainState};
use manifest::{DomainIndex, System};
use spawn::{CONTROL_FIXED_PAGES, Custody, DomainResources, Group, Images, Instance, Inventory, Ledger, Rate};
use supervisor::{CrashRecords, Escalation, Life, Mutations, Notes, OwnNotes, Standing, Verdict, shortened};
use userlib::abi::Error;
use userlib::abi::PAGE_SIZE;
use userlib::abi::device::SourceId;
use userlib::abi::syscall::MapAccess;
use userlib::log;
use userlib::memory::{AddressSpace, SharedMemory};
use userlib::session::RegisterWriter;
use userlib::status::{self, CLIENTS_BIT};
use userlib::time::Instant;

/// A driver's device on PCI.
#[derive(Clone, Copy)]
pub(crate) struct Device {
    pub(crate) function: SourceId,
    /// All that the IOMMU cannot tell from it.
    pub(crate) group: Group,
}

/// What the supervisor knows of one domain.
pub(crate) struct Watched {
    pub(crate) state: DomainState,
    pub(crate) instance: Option<Instance>,
    /// How often it was built.
    pub(crate) built: u32,
    /// The processor on which its latest instance runs.
    pub(crate) processor: u8,
    /// Processor time that its latest instance had used, in nanoseconds, when that could last be seen.
    pub(crate) runtime: u64,
    /// When the present instance was started.
    pub(crate) started: Instant,
    /// What `init` keeps of the present instance, so that it outlives this supervisor.
    pub(crate) custody: Option<Custody>,
    /// How often it died within the window of its restart policy.
    pub(crate) deaths: Rate,
    /// For how many milliseconds it waited before its present instance was started.
    pub(crate) waited: u32,
    pub(crate) last_death: Option<Death>,
    /// Processor time that its former instances had used when they were taken apart, in nanoseconds, as far as that could be seen.
    pub(crate) used_before: u64,
    /// The PCI device that it drives, if it drives one.
    pub(crate) device: Option<Device>,
    /// Whether its present instance is being brought to rest because its device is to be taken out.
    pub(crate) is_releasing: bool,
    /// How often its device was refused something.
    pub(crate) strays: u64,
    /// The pages of its control memory with fixed uses: its status page, which outlives its instances, and the one where it
    /// learns which of its clients are gone among them. The supervisor's own are mapped already, at another address.
    control: Option<SharedMemory<'static>>,
    /// The changes that were made to its code.
    pub(crate) mutations: Mutations,
}

impl Watched {
    fn new(control: Option<SharedMemory<'static>>) -> Self {
        Watched {
            state: DomainState::Stopped,
            instance: None,
            built: 0,
            processor: 0,
            runtime: 0,
            started: Instant::now(),
            custody: None,
            deaths: Rate::default(),
            waited: 0,
            last_death: None,
            used_before: 0,
            device: None,
            is_releasing: false,
            strays: 0,
            control,
            mutations: Mutations::default(),
        }
    }

    /// How often it was started again.
    pub(crate) fn restarts(&self) -> u32 {
        self.built.saturating_sub(1)
    }

    /// Processor time that all of its instances have used, in nanoseconds. What cannot be seen, because its thread runs at this
    /// moment, has to be what was seen last.
    pub(crate) fn used(&mut self) -> u64 {
        if let Some(Ok(registers)) = self.instance.as_ref().map(|instance| instance.thread().registers()) {
            self.runtime = registers.runtime;
        }
        self.used_before + self.runtime
    }

    /// What the domain says of itself; not to be believed.
    pub(crate) fn status(&self) -> Option<status::Reader<'static>> {
        status::Reader::new(self.control_page(spawn::STATUS_PAGE)?)
    }

    /// The pages of its control memory with fixed uses.
    pub(crate) fn control(&self) -> Option<SharedMemory<'static>> {
        self.control
    }

    fn control_page(&self, page: u64) -> Option<SharedMemory<'static>> {
        let start = (page * PAGE_SIZE) as usize;
        self.control?.part(start..start + PAGE_SIZE as usize)
    }

    /// Where it learns which of its clients are gone.
    fn clients(&self) -> Option<RegisterWriter<'static>> {
        RegisterWriter::new(self.control_page(spawn::CLIENTS_PAGE)?)
    }
}

/// The supervisor's state. Tasks borrow it between their waits only.
pub(crate) struct Supervisor {
    pub(crate) system: System,
    pub(crate) inventory: Inventory,
    pub(crate) archive: Archive<'static>,
    /// The programs that were read from it.
    pub(crate) images: Images,
    pub(crate) space: AddressSpace,
    pub(crate) bus: Bus,
    /// What the next supervisor will need to know.
    pub(crate) ledger: Option<Ledger<'static>>,
    /// How often groups had to restart something.
    escalation: RefCell<Escalation>,
    /// Shares with `init` in what is gone, since that has last looked.
    gone: Cell<usize>,
    pub(crate) crashes: RefCell<CrashRecords>,
    domains: Vec<RefCell<Watched>>,
    /// Devices that nobody drives and that have strayed.
    strangers: RefCell<Vec<SourceId>>,
    /// Who is still to be started for the first time, in this order.
    unstarted: RefCell<VecDeque<DomainIndex>>,
}

impl Supervisor {
    pub(crate) fn new(
        system: System,
        inventory: Inventory,
        archive: Archive<'static>,
        space: AddressSpace,
        bus: Bus,
    ) -> Self {
        let domains = inventory
            .domains
            .iter()
            .map(|resources| RefCell::new(Watched::new(map_control(&space, resources))))
            .collect();
        let ledger = map_ledger(&space, &inventory, system.domains.len());
        let own = ledger.and_then(|ledger| ledger.read::<OwnNotes>(DomainIndex::SUPERVISOR));
        let own = own.map(|(_, own)| own).unwrap_or_default();
        let escalation = RefCell::new(Escalation::recalled(&system, own.rates));
        let supervisor = Supervisor {
            system,
            inventory,
            archive,
            images: Images::new(),
            space,
            bus,
            ledger,
            escalation,
            gone: Cell::new(0),
            crashes: RefCell::new(CrashRecords::behind(own.crashes)),
            domains,
            strangers: RefCell::default(),
            unstarted: RefCell::default(),
        };
        supervisor.find_own_processor();
        supervisor
    }

    /// Notes where the supervisor itself runs: `init` has put it where the manifest says, if there is such a processor.
    fn find_own_processor(&self) {
        let wanted = self.system[DomainIndex::SUPERVISOR].cpu;
        // Every machine has processor 0.
        let used = self.inventory.system().statistics().map_or(1, |statistics| statistics.processors_used);
        if u64::from(wanted) < used {
            self.watched_mut(DomainIndex::SUPERVISOR).processor = wanted;
        } else {
            log::info!("the machine has no processor {wanted}; the supervisor runs on processor 0");
        }
    }

    /// Gives `init` a share in an instance, so that it outlives this supervisor.
    pub(crate) fn entrust(&self, index: DomainIndex, instance: &Instance) {
        let keeper = self.inventory.keeper();
        let custody = match instance.entrust(keeper) {
            Err(Error::TableFull) => {
                self.have_init_tidy_up();
                instance.entrust(keeper)
            }
            outcome => outcome,
        };
        let custody = custody.map_err(|error| {
            let name = self.name(index);
            log::warn!("{name}: init has no room for it: should the supervisor die, it will be started anew: {error}");
        });
        self.watched_mut(index).custody = custody.ok();
    }

    /// What `init` kept of an instance is gone.
    pub(crate) fn note_gone(&self, custody: &Custody) {
        /// So much is left lying about: `init` has to look through its whole table.
        const MANY: usize = 64;
        self.gone.set(self.gone.get() + custody.handles().count());
        if self.gone.get() >= MANY {
            self.have_init_tidy_up();
        }
    }

    fn have_init_tidy_up(&self) {
        self.gone.set(0);
        if let Err(error) = self.inventory.tidying().notify(1) {
            log::error!("init cannot be told to tidy up: {error}");
        }
    }

    /// What follows from the death of a domain whose life that is over was like this.
    pub(crate) fn decide(&self, index: DomainIndex, life: Life, now: Instant) -> Verdict {
        let verdict = self.escalation.borrow_mut().decide(&self.system, index, life, now.nanoseconds());
        if !matches!(verdict, Verdict::Restart(_)) {
            self.note_own();
        }
        verdict
    }

    /// Notes for a successor what is not about a single domain.
    pub(crate) fn note_own(&self) {
        let rates = self.escalation.borrow().rates().to_vec();
        let notes = OwnNotes { rates, crashes: self.crashes.borrow().count() };
        if let Some(ledger) = self.ledger
            && let Err(error) = ledger.write(DomainIndex::SUPERVISOR, None, &notes)
        {
            log::error!("what groups have done cannot be noted for another supervisor: {error}");
        }
    }

    /// Notes for a successor how far this supervisor has come with a domain.
    pub(crate) fn note(&self, index: DomainIndex, standing: Standing) {
        let Some(ledger) = self.ledger else { return };
        let watched = self.watched_domain(index);
        let notes = Notes {
            standing,
            built: watched.built,
            processor: watched.processor,
            started: watched.started.nanoseconds(),
            deaths: watched.deaths,
            waited: watched.waited,
            used_before: watched.used_before,
            strays: watched.strays,
            function: watched.device.map(|device| device.function.0),
            last_death: watched.last_death.as_ref().map(|death| (death.cause, shortened(&death.story))),
        };
        if let Err(error) = ledger.write(index, watched.custody.as_ref(), &notes) {
            log::error!("{}: it cannot be noted for another supervisor: {error}", self.name(index));
        }
    }

    /// Has a domain started for the first time after those that wait for that already.
    pub(crate) fn queue_up(&self, index: DomainIndex) {
        self.watched_mut(index).state = DomainState::Starting;
        self.unstarted.borrow_mut().push_back(index);
    }

    /// Whose turn it is to be started for the first time.
    pub(crate) fn next_unstarted(&self) -> Option<DomainIndex> {
        self.unstarted.borrow_mut().pop_front()
    }

    /// Takes a domain out of turn. Tells whether it waited for its first start.
    pub(crate) fn take_unstarted(&self, index: DomainIndex) -> bool {
        let mut unstarted = self.unstarted.borrow_mut();
        let place = unstarted.iter().position(|waiting| *waiting == index);
        place.and_then(|place| unstarted.remove(place)).is_some()
    }

    /// Nobody else is started for the first time.
    pub(crate) fn start_nobody_else(&self) {
        self.unstarted.borrow_mut().clear();
    }

    /// Every domain but the supervisor itself.
    pub(crate) fn watched(&self) -> impl Iterator<Item = DomainIndex> + 'static {
        (1..self.domains.len()).map(|index| DomainIndex(index as u16))
    }

    pub(crate) fn watched_domain(&self, index: DomainIndex) -> Ref<'_, Watched> {
        self.domains[index.position()].borrow()
    }

    pub(crate) fn watched_mut(&self, index: DomainIndex) -> RefMut<'_, Watched> {
        self.domains[index.position()].borrow_mut()
    }

    pub(crate) fn resources(&self, index: DomainIndex) -> &DomainResources {
        &self.inventory.domains[index.position()]
    }

    pub(crate) fn name(&self, index: DomainIndex) -> &str {
        &self.system[index].name
    }

    /// Tells the servers that a domain uses that its lives so far are over. They are told when it is gone for certain: no call
    /// of it comes to anybody any more.
    pub(crate) fn tell_servers(&self, client: DomainIndex) {
        let first = self.watched_domain(client).built;
        for usage in &self.system[client].uses {
            let server = self.system[usage.endpoint].server;
            if let Some(register) = self.watched_domain(server).clients() {
                register.end_before(u32::from(client.0), first);
            }
            if let Err(error) = self.resources(server).notification().notify(1 << CLIENTS_BIT) {
                log::error!("{}: it cannot be told of the end of {}: {error}", self.name(server), self.name(client));
            }
        }
    }

    /// To what the machine confines devices.
    pub(crate) fn confinement(&self) -> Confinement {
        match self.inventory.devices().iommu() {
            Ok(Some(iommu)) => {
                let reported = iommu.reports_refusals;
                if iommu.remaps_interrupts {
                    Confinement::MemoryAndInterrupts { reported }
                } else {
                    Confinement::Memory { reported }
                }
            }
            Ok(None) | Err(_) => Confinement::Nothing,
        }
    }

    /// The domain that drives a function, or one that the IOMMU cannot tell from it.
    pub(crate) fn driver_of(&self, source: SourceId) -> Option<(DomainIndex, Device)> {
        self.driver_where(|device| device.group.has(source))
    }

    /// Whether a device that nobody drives has not strayed before. Of very many strangers none is new any more.
    pub(crate) fn is_new_stranger(&self, source: SourceId) -> bool {
        const MOST: usize = 64;
        let mut strangers = self.strangers.borrow_mut();
        let new = strangers.len() < MOST && !strangers.contains(&source);
        if new {
            strangers.push(source);
        }
        new
    }

    /// The domain whose device the IOMMU cannot tell from those of a group.
    pub(crate) fn holder_of(&self, group: Group) -> Option<(DomainIndex, Device)> {
        self.driver_where(|device| device.group.sources().overlaps(group.sources()))
    }

    fn driver_where(&self, is_meant: impl Fn(Device) -> bool) -> Option<(DomainIndex, Device)> {
        self.watched().find_map(|index| {
            let device = self.watched_domain(index).device.filter(|device| is_meant(*device))?;
            Some((index, device))
        })
    }

    /// Says once what the system is and what it lacks.
    pub(crate) fn log_composition(&self) {
        log::info!("{} domains, {} endpoints", self.system.domains.len(), self.system.endpoints.len());
        let confinement = self.confinement();
        match confinement {
            Confinement::Nothing => log::warn!("no IOMMU is in use: a driver's device can reach all of memory"),
            Confinement::Memory { .. } => log::warn!("interrupts are not remapped: a driver's device can forge them"),
            Confinement::MemoryAndInterrupts { .. } => {}
        }
        if let Confinement::Memory { reported: false } | Confinement::MemoryAndInterrupts { reported: false } =
            confinement
        {
            log::warn!("this IOMMU does not report what it refuses: nobody hears of a device that strays");
        }
        if !self.bus.is_present() {
            log::warn!("the machine has no PCI Express configuration space: devices on PCI cannot be used");
        }
    }
}

fn map_ledger(space: &AddressSpace, inventory: &Inventory, domains: usize) -> Option<Ledger<'static>> {
    let memory = inventory.ledger;
    match space.map(memory.cap(), 0, memory.pages, MapAccess::ReadWrite) {
        Ok(mapping) => Ledger::new(mapping.leak_shared(), domains),
        Err(error) => {
            log::error!(
                "the ledger cannot be mapped; should the supervisor die, all domains are started anew: {error}"
            );
            None
        }
    }
}

fn map_control(space: &AddressSpace, resources: &DomainResources) -> Option<SharedMemory<'static>> {
    match space.map(resources.control.cap(), 0, CONTROL_FIXED_PAGES, MapAccess::ReadWrite) {
        Ok(mapping) => Some(mapping.leak_shared()),
        Err(error) => {
            log::error!("a domain's control memory cannot be mapped: {error}");
            None
        }
    }
}
