//! What it costs to make a domain from an image and to start one again: guest instructions, everything included that the
//! builder, the kernel and the new domain do.
//!
//! The builder is the crate `spawn`, by which `init` and the supervisor build all domains; the program is `newcomer`. Like
//! [`crate::costs`], it runs in a machine that counts instructions, and each work writes a line `cost NAME N`.

use crate::bench::{Bench, PRIORITY, statistics};
use crate::call::{Received, receive, reply};
use crate::cases::Case;
use crate::console::print;
use crate::costs::CallCost;
use crate::instructions::ticks;
use crate::outcome::{Failure, Outcome};
use abi::device::SourceId;
use abi::message::{MessageInfo, REGISTER_WORDS};
use abi::root::{self, ExtentKind, FIRST_EXTENT};
use abi::syscall::{AccountLimits, Charge, InterruptSource, MapAccess};
use abi::time::NEVER;
use abi::{Handle, PAGE_SIZE};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use archive::Archive;
use manifest::{
    Bus, Device, Domain, DomainIndex, Endpoint, EndpointIndex, Kind, Notification, NotificationIndex, OnDeath, Restart,
    Ring, RingIndex, Signal, System, Use,
};
use newcomer::ArrivalsClient;
use spawn::{
    Blueprint, CONTROL_FIXED_PAGES, DMA_PAGES, DomainResources, Group, Image, Images, Instance, Inventory, Least,
    MemoryRef, Prepared,
};
use userlib::cap::{Account, Cap, InterruptControl, Memory, Space};
use userlib::memory::{AddressSpace, SharedMemory};

/// Lists works as cases.
macro_rules! works {
    ($($name:literal: $work:expr),* $(,)?) => {
        /// The works.
        pub(crate) const CASES: &[Case] = &[$(Case { name: $name, run: |bench| $work(bench) }),*];
    };
}

works! {
    "spawn": spawn_works,
    "restart": restart_works,
    "density": density_works,
}

/// The program's name in the boot archive.
const PROGRAM: &str = "newcomer";
/// Addresses of the own space at which the builder maps what it prepares.
const BUILDERS_WINDOW: core::ops::Range<u64> = 0x2000_0000_0000..0x2001_0000_0000;
/// Pages for the page tables of that window.
const BUILDERS_TABLES: u64 = 16;
/// The builder's own place in the composition, and the new domain's.
const BUILDER: DomainIndex = DomainIndex(0);
const NEW: DomainIndex = DomainIndex(1);
/// Level of the new domain.
const LEVEL: u8 = 2;
/// Rounds before the first that counts, and those that do.
const WARM_UP: u32 = 4;
const ROUNDS: u32 = 24;
/// A function that is in no machine: whatever is shown to it, nobody reads.
const FUNCTION: SourceId = SourceId::new(0, 30, 0);

fn cost(name: &str, instructions: u64) {
    print(format_args!("cost {name} {instructions}\n"));
}

/// What domains are built from.
struct Yard {
    system: System,
    inventory: Inventory,
    archive: Archive<'static>,
    images: Images,
    space: AddressSpace,
    /// The new domain's control memory, which a supervisor has mapped for as long as it lives.
    control: SharedMemory<'static>,
    arrivals: u64,
    group: Option<Group>,
}

fn domain(name: &str, level: u8, memory: u64) -> Domain {
    Domain {
        name: String::from(name),
        binary: String::from(PROGRAM),
        kind: Kind::Server,
        level,
        priority: PRIORITY as u8,
        cpu: 0,
        time_slice_us: 2000,
        bound: None,
        memory,
        vault: 0,
        capabilities: manifest::MIN_CAPABILITIES,
        threads: 1,
        restart: Restart::Never,
        heartbeat_ms: 0,
        provides: Vec::new(),
        uses: Vec::new(),
        device: None,
        args: Vec::new(),
        grants: Vec::new(),
        guest: None,
        guest_memory: 0,
    }
}

/// A domain that is told nothing but where to say that it has arrived.
fn plain(memory: u64) -> System {
    let mut new = domain("newcomer", LEVEL, memory);
    let on_death = OnDeath::Error;
    new.uses.push(Use { endpoint: EndpointIndex(0), name: "arrivals".into(), badge: 1, ring: None, on_death });
    System {
        domains: vec![domain("builder", 0, 0), new],
        endpoints: vec![Endpoint {
            interface: "arrivals".into(),
            interface_id: ArrivalsClient::INTERFACE.id,
            server: BUILDER,
            level: 1,
            ceiling: 0,
        }],
        notifications: Vec::new(),
        rings: Vec::new(),
        groups: Vec::new(),
        reserve: 0,
    }
}

/// A driver as the system has one: it serves an endpoint and a ring, and has a device with two interrupts.
fn driver(memory: u64) -> System {
    let mut system = plain(memory);
    let new = &mut system.domains[NEW.position()];
    new.capabilities = 64;
    new.provides.push(EndpointIndex(1));
    let bus = Bus::Pci { vendor: 0, devices: vec![0], index: 0, interrupts: 2 };
    new.device = Some(Device { bus, required: true, needs_iommu: false });
    system.endpoints.push(Endpoint {
        interface: "block".into(),
        interface_id: 0xb10c,
        server: NEW,
        level: LEVEL,
        ceiling: 0,
    });
    for owner in [BUILDER, NEW] {
        system.notifications.push(Notification { owner, assigned: 1 });
    }
    system.rings.push(Ring {
        endpoint: EndpointIndex(1),
        client: BUILDER,
        driver: NEW,
        bytes: 64 << 10,
        doorbell: Signal { notification: NotificationIndex(1), bit: 0 },
        completion: Signal { notification: NotificationIndex(0), bit: 0 },
        lent_to: None,
    });
    debug_assert_eq!(system.rings_of(NEW).next().map(|(index, _)| index), Some(RingIndex(0)));
    system
}

/// Where the builder maps what it prepares.
fn builders_space(bench: &mut Bench) -> Result<AddressSpace, Failure> {
    let space = AddressSpace::new(Cap::<Space>::from_handle(root::SPACE), BUILDERS_WINDOW);
    space.use_tables(memory(bench.memory(BUILDERS_TABLES)?), 0..BUILDERS_TABLES);
    Ok(space)
}

impl Yard {
    fn new(bench: &mut Bench, system: System, space: &AddressSpace) -> Result<Self, Failure> {
        let wrong = |what: &str| Failure::new(format!("no {what}"));
        let archive = Archive::parse_checked_before(userlib::root::archive(bench.info))
            .map_err(|error| Failure::new(format!("{error}")))?;
        let extents = bench.info.extents.iter().take(bench.info.extents_used as usize);
        let (place, extent) = extents
            .enumerate()
            .find(|(_, extent)| extent.kind == ExtentKind::Archive as u32)
            .ok_or_else(|| wrong("archive"))?;
        let archive_memory = MemoryRef::new(memory(Handle::new(FIRST_EXTENT + place as u16, 1).0), extent.pages);

        let account = Cap::<Account>::from_handle(root::ACCOUNT);
        let faults = bench.fault_endpoint()?;
        let mut inventory = Inventory::new(
            archive_memory,
            bench.info.archive_length,
            Cap::from_handle(root::SYSTEM),
            Cap::from_handle(root::DEVICES),
            Cap::from_handle(Handle(faults)),
        );
        let mut arrivals = 0;
        for endpoint in &system.endpoints {
            let made = bench.endpoint_with(endpoint.interface_id, endpoint.level.into())?;
            if endpoint.server == BUILDER {
                arrivals = made;
            }
            inventory.push_endpoint(Cap::from_handle(Handle(made)));
        }
        for ring in &system.rings {
            inventory.rings.push(take(bench, ring.bytes / PAGE_SIZE)?);
        }
        for (index, domain) in system.domains() {
            let (private, rings) = (domain.memory / PAGE_SIZE, system.rings_of(index).count() as u64);
            let ring_pages = system.rings_of(index).map(|(_, ring)| ring.bytes / PAGE_SIZE).sum::<u64>();
            let control = spawn::control_pages(private, 0, ring_pages, rings, 0);
            let mut resources = DomainResources::new(
                account.create_account(&limits(domain))?.leak(),
                account.create_notification()?.leak(),
                take(bench, private)?,
                take(bench, control)?,
                MemoryRef::default(),
            );
            if let Some(device) = &domain.device {
                let Bus::Pci { interrupts, .. } = device.bus else { return Err(wrong("PCI device")) };
                resources.dma = take(bench, DMA_PAGES)?;
                resources.device_tables = take(bench, spawn::device_table_pages(DMA_PAGES + ring_pages, 1 + rings))?;
                for _ in 0..interrupts {
                    let control = Cap::<InterruptControl>::from_handle(root::INTERRUPTS);
                    resources.push_interrupt(control.create(InterruptSource::Message)?.leak());
                }
            }
            inventory.domains.push(resources);
        }
        let group = system[NEW].device.is_some().then(|| Group::alone(FUNCTION));
        let control = inventory.domains[NEW.position()].control;
        let control = space
            .map(control.cap(), 0, CONTROL_FIXED_PAGES, MapAccess::ReadWrite)
            .map_err(|error| Failure::new(format!("{error}")))?
            .leak_shared();
        Ok(Yard { system, inventory, archive, images: Images::new(), space: space.clone(), control, arrivals, group })
    }

    fn build(&self, instance: u32) -> Result<Instance, Failure> {
        self.build_from(&self.inventory, Some(self.control), instance)
    }

    fn build_from(
        &self,
        inventory: &Inventory,
        control: Option<SharedMemory<'_>>,
        instance: u32,
    ) -> Result<Instance, Failure> {
        let blueprint = Blueprint {
            system: &self.system,
            inventory,
            archive: &self.archive,
            images: &self.images,
            own_space: &self.space,
            control,
            faults: (self.inventory.faults(), 1),
            device: self.group,
            handover: None,
        };
        let prepared = spawn::prepare(&blueprint, NEW, instance);
        prepared.and_then(Prepared::start).map_err(|error| Failure::new(format!("{error}")))
    }

    /// Waits until the new domain says that it is there; tells when that was.
    fn welcome(&self) -> Result<u64, Failure> {
        let mut words = [0; REGISTER_WORDS];
        let received = receive(self.arrivals, 0, NEVER, &mut words)?;
        let when = ticks();
        let Received::Message { token, .. } = received else {
            return Err(Failure::new("bits instead of a message".into()));
        };
        reply(token, MessageInfo::new(0, 0), &words)?;
        Ok(when)
    }
}

fn memory(handle: u64) -> Cap<Memory> {
    Cap::from_handle(Handle(handle))
}

fn take(bench: &mut Bench, pages: u64) -> Result<MemoryRef, Failure> {
    Ok(if pages == 0 { MemoryRef::default() } else { MemoryRef::new(memory(bench.memory(pages)?), pages) })
}

fn limits(domain: &Domain) -> AccountLimits {
    let mut limits = [0; Charge::COUNT];
    for (charge, limit) in [
        (Charge::CapSlots, domain.capabilities),
        (Charge::Spaces, 2),
        (Charge::Domains, 1),
        (Charge::Threads, 1),
        (Charge::Budgets, 2),
        (Charge::Mappings, 64),
    ] {
        limits[charge as usize] = limit;
    }
    limits
}

/// What one life costs, by its parts; the least of each is kept.
struct Life {
    build: u64,
    arrival: u64,
    destroy: u64,
    again: u64,
}

fn live(yard: &Yard) -> Result<Life, Failure> {
    let mut least = Life { build: u64::MAX, arrival: u64::MAX, destroy: u64::MAX, again: u64::MAX };
    for round in 0..WARM_UP + ROUNDS {
        let begun = ticks();
        let instance = yard.build(round)?;
        let built = ticks();
        let arrived = yard.welcome()?;
        let dying = ticks();
        instance.destroy()?;
        let dead = ticks();
        if round >= WARM_UP {
            least.build = least.build.min(built - begun);
            least.arrival = least.arrival.min(arrived - begun);
            least.destroy = least.destroy.min(dead - dying);
            least.again = least.again.min(dead - dying + built - begun);
        }
    }
    Ok(least)
}

/// A domain of the least memory: from its image to its first message, and to nothing again.
fn spawn_works(bench: &mut Bench) -> Outcome {
    let space = builders_space(bench)?;
    let yard = Yard::new(bench, plain(16 * PAGE_SIZE), &space)?;
    let life = live(&yard)?;
    cost("spawn-build", life.build);
    cost("spawn-first-message", life.arrival);
    cost("spawn-destroy", life.destroy);
    Ok(())
}

/// A driver with 512 KiB: destroyed and built again up to the start of its first thread, and what of that is zeroing.
fn restart_works(bench: &mut Bench) -> Outcome {
    let space = builders_space(bench)?;
    let yard = Yard::new(bench, driver(512 << 10), &space)?;
    let life = live(&yard)?;
    cost("restart-driver", life.again);
    cost("restart-driver-destroy", life.destroy);
    let private = yard.inventory.domains[NEW.position()].private;
    let mapping = yard
        .space
        .map(private.cap(), 0, private.pages, MapAccess::ReadWrite)
        .map_err(|error| Failure::new(format!("{error}")))?;
    let begun = ticks();
    mapping.shared().fill_zero();
    cost("restart-driver-zeroing", ticks() - begun);
    Ok(())
}

/// How many idle domains there are when it is looked what calls, new domains and restarts cost.
const POPULATIONS: [u64; 3] = [10, 1_000, 10_000];
/// Mappings of a domain that is given nothing to map: a program's code, constants and data, stack and heap, start page, status
/// page.
const MAPPINGS: u32 = 6;
/// How many domains one table of capabilities keeps alive.
const HELD_BY_ONE: u64 = 1000;

/// Domains that have said that they are there, and wait. What keeps each alive is one capability, in the table of a domain
/// that never runs.
struct Crowd {
    count: u64,
    holder: Option<Cap<userlib::cap::Domain>>,
    least: Least,
}

impl Crowd {
    fn new(yard: &Yard) -> Result<Self, Failure> {
        let wrong = |error| Failure::new(format!("{error}"));
        let image = Image::find(&yard.archive, PROGRAM).map_err(wrong)?;
        Ok(Crowd { count: 0, holder: None, least: Least::of(&image) })
    }

    /// One more.
    fn grow(&mut self, bench: &mut Bench, yard: &Yard) -> Outcome {
        if self.count.is_multiple_of(HELD_BY_ONE) {
            let space = bench.space()?;
            let account = Cap::<Account>::from_handle(root::ACCOUNT);
            let space = Cap::<Space>::from_handle(Handle(space));
            self.holder = Some(account.create_domain(space, 0, root::TABLE_LENGTH, None)?.leak());
        }
        let holder = self.holder.ok_or_else(|| Failure::new("nobody holds them".into()))?;
        let account = Cap::<Account>::from_handle(root::ACCOUNT);
        let mut limits = limits(&yard.system[NEW]);
        limits[Charge::Mappings as usize] = MAPPINGS;
        limits[Charge::Spaces as usize] = 1;
        limits[Charge::Budgets as usize] = 1;
        let own = account.create_account(&limits)?;
        let notification = account.create_notification()?;
        let (private, control) = (take(bench, self.least.private)?, take(bench, self.least.control)?);
        let mut inventory = yard.inventory.clone();
        inventory.domains[NEW.position()] =
            DomainResources::new(own.cap(), notification.cap(), private, control, MemoryRef::default());
        let instance = yard.build_from(&inventory, None, 0)?;
        yard.welcome()?;
        instance
            .domain()
            .copy(Cap::<userlib::cap::Domain>::all_rights())?
            .move_to(holder)
            .map_err(|(_, error)| error)?;
        private.cap().delete()?;
        control.cap().delete()?;
        self.count += 1;
        Ok(())
    }
}

/// What others cost beside many domains that do nothing.
fn density_works(bench: &mut Bench) -> Outcome {
    let space = builders_space(bench)?;
    let idle = Yard::new(bench, plain(16 * PAGE_SIZE), &space)?;
    let restarted = Yard::new(bench, driver(512 << 10), &space)?;
    let mut crowd = Crowd::new(&idle)?;
    let call = CallCost::new(bench)?;
    let before = statistics()?;
    for population in POPULATIONS {
        while crowd.count < population {
            crowd.grow(bench, &idle)?;
        }
        let after = statistics()?;
        let pages = after.kernel_frames + after.mapped_frames - before.kernel_frames - before.mapped_frames;
        cost(&format!("density-pages-{population}"), pages);
        cost(&format!("density-call-{population}"), call.measure()?);
        cost(&format!("density-spawn-{population}"), live(&idle)?.arrival);
        cost(&format!("density-restart-{population}"), live(&restarted)?.again);
    }
    Ok(())
}
