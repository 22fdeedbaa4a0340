//! From resources to a running domain.

mod guest;

use crate::error::{AtStep, BuildError};
use crate::group::Group;
use crate::guest::{guest_files, pages_of};
use crate::image::{Image, Images, Segment};
use crate::instance::Instance;
use crate::inventory::{DomainResources, Inventory, MemoryRef};
use crate::layout::{
    BUFFER_PAGE, CONTROL_FIXED_PAGES, FIXED_RANGE, LENT_PAGES, START_PAGE, STATUS_PAGE, stack_and_heap, tables_for,
};
use crate::{
    ARCHIVE_ENTRY, DEVICE_WINDOW_PREFIX, DMA_ENTRY, ECAM_ENTRY, FIRST_INTERRUPT_BIT, INTERRUPT_PREFIX, INVENTORY_ENTRY,
    MANIFEST_ENTRY, PORTS_PREFIX, SYSTEM_ENTRY, requests,
};
use abi::device::SourceId;
use abi::rights::{
    AccountRights, DomainRights, EndpointRights, InterruptRights, MemoryRights, NotificationRights, PortsRights,
    SpaceRights, SystemRights, ThreadRights,
};
use abi::syscall::MapAccess;
use abi::{Error, Handle, PAGE_SIZE};
use alloc::format;
use archive::Archive;
use core::cell::Cell;
use core::time::Duration;
use manifest::{Bound, Bus, DomainIndex, Grant, Ring, System};
use userlib::cap::{Account, Budget, Cap, Domain, Endpoint, Memory, ObjectKind, Owned, Space};
use userlib::memory::{AddressSpace, SharedMemory};
use userlib::start::{DEVICE_SPACE, Entry, EntryKind, Range, StartPage, layout};

/// Bytes of the window within which one `map` must lie.
const MAP_WINDOW: u64 = 512 * PAGE_SIZE;
/// Pages donated with one call at most.
const DONATION: u64 = abi::syscall::DONATION_MAX;

/// Everything that a builder needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Blueprint<'a> {
    /// The composition.
    pub system: &'a System,
    /// What there is, as handles of the builder.
    pub inventory: &'a Inventory,
    /// The boot archive's bytes.
    pub archive: &'a Archive<'a>,
    /// The programs that were read from it before.
    pub images: &'a Images,
    /// The builder's own space, in which it maps what it prepares.
    pub own_space: &'a AddressSpace,
    /// The pages of the domain's control memory with fixed uses, if the builder has them mapped.
    pub control: Option<SharedMemory<'a>>,
    /// Who hears of the domain's faults, and under which badge.
    pub faults: (Cap<Endpoint>, u64),
    /// The function that it drives and all that the IOMMU cannot tell from it, if it drives one.
    pub device: Option<Group>,
    /// What the supervisor is given beyond the manifest; nobody else.
    pub handover: Option<Handover<'a>>,
}

/// How the supervisor gets what it builds the others from.
#[derive(Clone, Copy)]
pub struct Handover<'a> {
    /// The memory in which it finds its inventory.
    pub memory: MemoryRef,
    /// Gives the new domain every capability of the inventory and writes the inventory, with the domain's own handles,
    /// into that memory.
    pub give: &'a dyn Fn(Cap<Domain>) -> Result<(), BuildError>,
}

impl core::fmt::Debug for Handover<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Handover").field("memory", &self.memory).finish_non_exhaustive()
    }
}

/// Where the parts of the private memory lie, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PrivateLayout {
    /// First page of the stack, behind which the heap lies.
    stack: u64,
    stack_pages: u64,
    heap_pages: u64,
}

impl PrivateLayout {
    fn of(image: &Image, resources: &DomainResources) -> Result<Self, BuildError> {
        let (stack, given) = (image.private_pages(), resources.private.pages);
        let (stack_pages, heap_pages) = stack_and_heap(given.saturating_sub(stack))
            .map_err(|least| BuildError::TooSmall { needed: stack + least, given })?;
        Ok(PrivateLayout { stack, stack_pages, heap_pages })
    }

    /// Top of the stack, and the heap's first address.
    const fn stack_top(self) -> u64 {
        layout::STACK + self.stack_pages * PAGE_SIZE
    }
}

/// Where the stack of a domain's first thread lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stack {
    /// Where its domain has it.
    pub address: u64,
    /// Its first page in the domain's private memory.
    pub first_page: u64,
    /// How many there are.
    pub pages: u64,
}

/// Where the stack of a domain's first thread lies in every life of it.
///
/// # Errors
/// [`BuildError`], if it could not be built either.
pub fn stack(
    images: &Images,
    archive: &Archive<'_>,
    system: &System,
    resources: &DomainResources,
    index: DomainIndex,
) -> Result<Stack, BuildError> {
    let private = PrivateLayout::of(&*images.of(archive, system, index)?, resources)?;
    Ok(Stack { address: layout::STACK, first_page: private.stack, pages: private.stack_pages })
}

/// A domain that is built and does not run yet.
#[derive(Debug)]
pub struct Prepared {
    instance: Instance,
    entry: u64,
    stack: u64,
}

impl Prepared {
    /// What was built.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Lets it run.
    ///
    /// # Errors
    /// The kernel's refusal; nothing is left of the domain.
    pub fn start(self) -> Result<Instance, BuildError> {
        let Prepared { instance, entry, stack } = self;
        // SAFETY: the thread belongs to the new domain, whose space holds nothing of this one's; what it runs is its image.
        let started = unsafe { instance.thread().start(entry, stack, layout::START_PAGE) };
        if let Err(error) = started {
            // Somebody may have been given a share in it: dropping would not do.
            let _ = instance.destroy();
            return Err(BuildError::Refused { step: "start it", error });
        }
        Ok(instance)
    }
}

/// Builds a domain. `instance` counts its earlier starts.
///
/// # Errors
/// [`BuildError`]; nothing is left of what had been made.
pub fn prepare(blueprint: &Blueprint<'_>, index: DomainIndex, instance: u32) -> Result<Prepared, BuildError> {
    let domain = &blueprint.system[index];
    let resources = blueprint.inventory.domains.get(index.position()).ok_or(BuildError::TooManyThings)?;
    let image = blueprint.images.of(blueprint.archive, blueprint.system, index)?;
    let private = PrivateLayout::of(&image, resources)?;
    let account = resources.account();

    let control = resources.control;
    let tables = needed_tables(blueprint, index, &image, resources);
    let space = control.cap().create_space(account, CONTROL_FIXED_PAGES).at("make its space")?;
    let device_space = device_space(blueprint, resources)?;
    let built = Building {
        blueprint,
        index,
        resources,
        image: &image,
        private,
        space: &space,
        device_space: device_space.as_ref(),
        next_entry: Cell::new(layout::ENTRIES),
    };
    built.donate_tables(CONTROL_FIXED_PAGES + 1, tables - 1)?;

    let capabilities = u16::try_from(domain.capabilities).unwrap_or(u16::MAX);
    let level = domain.level;
    let made = account.create_domain(space.cap(), level, capabilities, Some(blueprint.faults));
    let target = made.at("make it")?;
    // From here on, what has been made must be destroyed if a later step fails: dropping the capabilities does it,
    // because an object dies with its last one.
    let (budget, processor) = make_budget(account, domain).at("make its budget")?;
    let thread = account.create_thread(target.cap(), budget.cap()).at("make its thread")?;

    built.map_image()?;
    built.map_private()?;
    let mut page = StartPage::new(&domain.name);
    page.instance = instance;
    page.own.thread = thread.grant(target.cap(), ThreadRights::CONTROL | ThreadRights::INSPECT, 0).at("give")?.0;
    built.describe(&mut page, target.cap(), tables)?;
    built.map_control(&page)?;

    thread.set_buffer(control.cap(), BUFFER_PAGE, layout::BUFFER).at("give it a message buffer")?;
    requests::take_back(resources.notification())?;
    thread.bind(Some(resources.notification())).at("bind its notification")?;
    let instance = Instance::new(target, space, device_space, budget, thread, processor);
    Ok(Prepared { instance, entry: image.entry, stack: private.stack_top() })
}

/// Page tables of the space, its root among them, once everything is mapped that the domain finds there.
fn needed_tables(blueprint: &Blueprint<'_>, index: DomainIndex, image: &Image, resources: &DomainResources) -> u64 {
    let segments = image.segments.iter().map(|segment| (segment.address, segment.pages()));
    let private = resources.private.pages - image.private_pages();
    let annex = resources.code.pages - resources.code.pages.min(image.code_pages());
    let annex = (layout::ANNEX, if annex > 0 { layout::ANNEX_PAGES + 2 } else { 0 });
    let fixed = [annex, FIXED_RANGE, (layout::STACK, private), (layout::VAULT, resources.vault.pages)];
    let rings = blueprint.system.rings_of(index).map(|(_, ring)| ring.bytes / PAGE_SIZE);
    let lent = blueprint.system.rings_lent_to(index).map(|(_, ring)| (ring.bytes / PAGE_SIZE).min(LENT_PAGES));
    let mut next = layout::ENTRIES;
    let entries =
        rings.chain(lent).chain(constants(blueprint, index)).map(|pages| (place_entry(&mut next, pages), pages));
    tables_for(segments.chain(fixed).chain(entries))
}

/// The address of the next entry's memory; the one after it lies in another window.
fn place_entry(next: &mut u64, pages: u64) -> u64 {
    let address = *next;
    *next = (address + (pages + 1) * PAGE_SIZE).next_multiple_of(MAP_WINDOW);
    address
}

/// Pages of what the domain finds mapped of the archive, beside its program.
fn constants(blueprint: &Blueprint<'_>, index: DomainIndex) -> impl Iterator<Item = u64> {
    let file = blueprint.system[index].holds(Grant::Ecam).then(|| blueprint.archive.file(MANIFEST_ENTRY)).flatten();
    let whole = blueprint.handover.is_some().then_some(blueprint.inventory.archive_bytes);
    let of_guest = guest_files(blueprint.archive, &blueprint.system[index]).filter_map(|(_, file)| file);
    let whole = whole.map(|bytes| bytes.div_ceil(PAGE_SIZE));
    file.into_iter().map(|file| pages_of(&file)).chain(whole).chain(of_guest.map(|file| pages_of(&file)))
}

/// Makes the space that the domain's device sees, empty, and lets the device raise the domain's interrupts and no others.
/// `None` without a device, or on a machine that cannot confine it.
fn device_space(blueprint: &Blueprint<'_>, resources: &DomainResources) -> Result<Option<Owned<Space>>, BuildError> {
    let Some(group) = blueprint.device else { return Ok(None) };
    let (control, tables) = (blueprint.inventory.devices(), resources.device_tables);
    for interrupt in resources.interrupts() {
        match control.route(interrupt, group.interrupt_source()) {
            Ok(()) | Err(Error::NoHardware) => {}
            Err(error) => return Err(BuildError::Refused { step: "let its device raise its interrupts", error }),
        }
    }
    let space = match control.create_space(resources.account(), tables.cap(), 0, group.sources()) {
        Ok(space) => space,
        Err(Error::NoHardware) => return Ok(None),
        Err(error) => return Err(BuildError::Refused { step: "confine its device", error }),
    };
    let mut done = 1;
    while done < tables.pages {
        let count = DONATION.min(tables.pages - done);
        space.donate(tables.cap(), done, count).at("donate page tables for its device")?;
        done += count;
    }
    let regions = blueprint.inventory.device_regions.iter();
    for region in regions.filter(|region| group.is_among(SourceId(region.first), SourceId(region.last))) {
        let step = "show its device what the firmware has reserved for it";
        map_in(space.cap(), region.memory.cap(), region.address, 0, region.memory.pages, MapAccess::ReadWrite, step)?;
    }
    Ok(Some(space))
}

/// Makes the budget of a domain's first thread, on its processor if the machine has that, else on processor 0, which
/// every machine has. Tells which one it is.
fn make_budget(account: Cap<Account>, domain: &manifest::Domain) -> Result<(Owned<Budget>, u8), Error> {
    let turn = Bound { slice_us: domain.time_slice_us, period_us: domain.time_slice_us };
    let Bound { slice_us, period_us } = domain.bound.unwrap_or(turn);
    let (slice, period) = (Duration::from_micros(slice_us.into()), Duration::from_micros(period_us.into()));
    let make = |processor| account.create_budget(domain.priority, slice, period, processor);
    match make(domain.cpu) {
        // Of what can be wrong with these arguments, the manifest leaves nothing but the processor.
        Err(Error::BadArgument) if domain.cpu != 0 => Ok((make(0)?, 0)),
        made => Ok((made?, domain.cpu)),
    }
}

/// Maps pages of a memory at an address of a space, in as many pieces as windows are touched.
fn map_in(
    space: Cap<Space>,
    memory: Cap<Memory>,
    address: u64,
    first: u64,
    pages: u64,
    access: MapAccess,
    step: &'static str,
) -> Result<(), BuildError> {
    let mut done = 0;
    while done < pages {
        let at = address + done * PAGE_SIZE;
        let in_window = (MAP_WINDOW - at % MAP_WINDOW) / PAGE_SIZE;
        let count = in_window.min(pages - done);
        space.map(memory, at, first + done, count, access).map_err(Error::from).at(step)?;
        done += count;
    }
    Ok(())
}

/// Moves a capability of the builder's into the domain's table; tells its handle there.
fn give_away<K: ObjectKind>(owned: Owned<K>, target: Cap<Domain>, step: &'static str) -> Result<Handle, BuildError> {
    owned.move_to(target).map_err(|(_, error)| error).at(step)
}

/// Makes the pages with fixed uses those of a domain that has just begun.
fn write_control(memory: SharedMemory<'_>, page: &StartPage) -> Result<(), BuildError> {
    memory.fill_zero();
    memory.write(0, page.as_bytes()).map_err(|_| BuildError::TooManyThings)
}

/// A domain that is being built.
struct Building<'a> {
    blueprint: &'a Blueprint<'a>,
    index: DomainIndex,
    resources: &'a DomainResources,
    image: &'a Image,
    private: PrivateLayout,
    space: &'a Owned<Space>,
    device_space: Option<&'a Owned<Space>>,
    /// Where the next entry's memory is mapped.
    next_entry: Cell<u64>,
}

impl Building<'_> {
    fn donate_tables(&self, first: u64, pages: u64) -> Result<(), BuildError> {
        let mut done = 0;
        while done < pages {
            let count = DONATION.min(pages - done);
            self.space.donate(self.resources.control.cap(), first + done, count).at("donate page tables")?;
            done += count;
        }
        Ok(())
    }

    /// Maps pages of a memory at an address of the new space.
    fn map(
        &self,
        memory: Cap<Memory>,
        address: u64,
        first: u64,
        pages: u64,
        access: MapAccess,
        step: &'static str,
    ) -> Result<(), BuildError> {
        map_in(self.space.cap(), memory, address, first, pages, access, step)
    }

    /// Maps the program: code and constants are shared with the archive, what can be written is a fresh copy. So is the code
    /// where somebody may change it.
    fn map_image(&self) -> Result<(), BuildError> {
        let archive = self.blueprint.inventory.archive.cap();
        let (private, code) = (self.resources.private.cap(), self.resources.code);
        self.prepare_private()?;
        let has_own_code = code.pages >= self.image.changeable_pages();
        if has_own_code {
            self.prepare_code()?;
        }
        let (mut next, mut next_code) = (0, 0);
        for segment in &self.image.segments {
            if segment.access.writes() {
                let step = "map its data";
                self.map(private, segment.address, next, segment.pages(), MapAccess::ReadWrite, step)?;
                next += segment.pages();
            } else if segment.access == MapAccess::ReadExecute && has_own_code {
                let step = "map its copy of the code";
                self.map(code.cap(), segment.address, next_code, segment.pages(), MapAccess::ReadExecute, step)?;
                next_code += segment.pages();
            } else {
                let first = segment.offset / PAGE_SIZE;
                self.map(archive, segment.address, first, segment.pages(), segment.access, "map its code")?;
            }
        }
        if has_own_code && self.image.has_annex() {
            let (step, data) = ("map the annex of its code", next_code + layout::ANNEX_PAGES);
            self.map(code.cap(), layout::ANNEX, next_code, layout::ANNEX_PAGES, MapAccess::ReadExecute, step)?;
            self.map(code.cap(), layout::ANNEX_DATA, data, 1, MapAccess::ReadWrite, step)?;
        }
        Ok(())
    }

    /// Zeroes the private memory and copies the initial data in.
    fn prepare_private(&self) -> Result<(), BuildError> {
        let pages = self.resources.private.pages;
        let mapping = self.blueprint.own_space.map(self.resources.private.cap(), 0, pages, MapAccess::ReadWrite)?;
        let memory = mapping.shared();
        memory.fill_zero();
        let mut offset = 0;
        for segment in self.image.segments.iter().filter(|segment| segment.access.writes()) {
            let contents = self.contents(segment)?;
            memory.write(offset, contents).map_err(|_| BuildError::BadProgram("its data does not fit"))?;
            offset += (segment.pages() * PAGE_SIZE) as usize;
        }
        Ok(())
    }

    /// Makes the domain's copy of the code what the archive has.
    fn prepare_code(&self) -> Result<(), BuildError> {
        let code = self.resources.code;
        let mapping = self.blueprint.own_space.map(code.cap(), 0, code.pages, MapAccess::ReadWrite)?;
        let memory = mapping.shared();
        // What the annex had in it was its predecessor's.
        memory.fill_zero();
        let mut offset = 0;
        for segment in self.image.code() {
            let contents = self.contents(segment)?;
            memory.write(offset, contents).map_err(|_| BuildError::BadProgram("its code does not fit"))?;
            offset += (segment.pages() * PAGE_SIZE) as usize;
        }
        Ok(())
    }

    fn contents(&self, segment: &Segment) -> Result<&[u8], BuildError> {
        let (start, length) = (segment.offset as usize, segment.file_bytes as usize);
        let bytes = self.blueprint.archive.bytes();
        bytes.get(start..start + length).ok_or(BuildError::BadProgram("a segment reaches beyond the archive"))
    }

    /// Maps memory that an entry names wherever there is room for it.
    fn map_entry(
        &self,
        memory: Cap<Memory>,
        first: u64,
        pages: u64,
        access: MapAccess,
        step: &'static str,
    ) -> Result<u64, BuildError> {
        let mut next = self.next_entry.get();
        let address = place_entry(&mut next, pages);
        self.map(memory, address, first, pages, access, step)?;
        self.next_entry.set(next);
        Ok(address)
    }

    fn map_private(&self) -> Result<(), BuildError> {
        let (memory, first) = (self.resources.private.cap(), self.private.stack);
        let pages = self.private.stack_pages + self.private.heap_pages;
        let access = MapAccess::ReadWrite;
        self.map(memory, layout::STACK, first, pages, access, "map its stack and heap")?;
        let vault = self.resources.vault;
        if vault.pages > 0 {
            self.map(vault.cap(), layout::VAULT, 0, vault.pages, access, "map its vault")?;
        }
        Ok(())
    }

    fn map_control(&self, page: &StartPage) -> Result<(), BuildError> {
        let control = self.resources.control.cap();
        match self.blueprint.control {
            Some(memory) => write_control(memory, page)?,
            None => {
                let space = self.blueprint.own_space;
                write_control(space.map(control, 0, CONTROL_FIXED_PAGES, MapAccess::ReadWrite)?.shared(), page)?;
            }
        }
        // The start page and the register of clients, then the status page and the message buffer.
        self.map(control, layout::START_PAGE, START_PAGE, 2, MapAccess::Read, "map its start page")?;
        self.map(control, layout::STATUS_PAGE, STATUS_PAGE, 2, MapAccess::ReadWrite, "map its status page")
    }

    /// Gives the domain what the manifest says and writes it into the start page.
    fn describe(&self, page: &mut StartPage, target: Cap<Domain>, tables: u64) -> Result<(), BuildError> {
        let domain = &self.blueprint.system[self.index];
        let resources = self.resources;
        page.own.account = resources.account().grant(target, AccountRights::CREATE, 0).at("give its account")?.0;
        page.own.space = self.space.grant(target, SpaceRights::MAP, 0).at("give its space")?.0;
        let control = resources.control;
        let first = CONTROL_FIXED_PAGES + tables;
        let spare = control.pages.saturating_sub(first);
        if spare > 0 {
            let own = control.cap().split(first, spare, MemoryRights::DONATE).at("set its page tables aside")?;
            page.own.tables = give_away(own, target, "give its page tables")?.0;
            page.own.tables_pages = spare;
        }
        let rights = NotificationRights::WAIT | NotificationRights::NOTIFY;
        page.notification = resources.notification().grant(target, rights, 0).at("give its notification")?.0;
        page.buffer = layout::BUFFER;
        page.status = layout::STATUS_PAGE;
        page.clients = layout::CLIENTS;
        page.boot_time = self.blueprint.inventory.boot_time;
        page.heap = Range::new(self.private.stack_top(), self.private.heap_pages * PAGE_SIZE);
        page.window = Range::new(layout::WINDOW, layout::WINDOW_LENGTH);
        if resources.vault.pages > 0 {
            page.vault = Range::new(layout::VAULT, resources.vault.pages * PAGE_SIZE);
        }
        if let (Some(first), Some(last)) = (self.image.segments.first(), self.image.segments.last()) {
            page.image = Range::new(first.address, last.address + last.memory_bytes - first.address);
        }
        if !domain.args.is_empty() {
            page.set_arguments(&domain.args.join(" ")).map_err(|_| BuildError::TooManyThings)?;
        }
        self.give_endpoints(page, target)?;
        self.give_rings(page, target)?;
        self.give_device(page, target)?;
        self.give_grants(page, target)?;
        self.give_guest(page, target)
    }

    fn push(page: &mut StartPage, entry: Entry) -> Result<(), BuildError> {
        page.push(entry).map_err(|_| BuildError::TooManyThings)
    }

    fn give_endpoints(&self, page: &mut StartPage, target: Cap<Domain>) -> Result<(), BuildError> {
        let Blueprint { system, inventory, .. } = self.blueprint;
        let domain = &system[self.index];
        for &provided in &domain.provides {
            let endpoint = inventory.endpoint(provided).ok_or(BuildError::TooManyThings)?;
            let mut entry = Entry::new(EntryKind::Provides, &system[provided].interface);
            entry.interface = system[provided].interface_id;
            entry.handle = endpoint.grant(target, EndpointRights::RECEIVE, 0).at("give an endpoint to serve")?.0;
            Self::push(page, entry)?;
        }
        for usage in &domain.uses {
            let endpoint = inventory.endpoint(usage.endpoint).ok_or(BuildError::TooManyThings)?;
            let rights = EndpointRights::CALL | EndpointRights::GRANT;
            // The kernel vouches for the life of the client as well: what one has left with a server is not the next one's.
            let badge = usage.badge | u64::from(page.instance) << 32;
            let handle = match endpoint.grant(target, rights, badge) {
                Ok(handle) => handle,
                // Its server's device is not in this machine. The client starts without it, and sees that.
                Err(Error::StaleHandle | Error::BadHandle) => continue,
                Err(error) => return Err(BuildError::Refused { step: "give an endpoint to call", error }),
            };
            let mut entry = Entry::new(EntryKind::Uses, &usage.name);
            entry.interface = system[usage.endpoint].interface_id;
            entry.handle = handle.0;
            Self::push(page, entry)?;
        }
        Ok(())
    }

    fn give_rings(&self, page: &mut StartPage, target: Cap<Domain>) -> Result<(), BuildError> {
        let Blueprint { system, inventory, .. } = self.blueprint;
        for (index, ring) in system.rings_of(self.index) {
            let memory = inventory.rings.get(index.position()).ok_or(BuildError::TooManyThings)?;
            let serves = ring.driver == self.index;
            let kind = if serves { EntryKind::RingServer } else { EntryKind::RingClient };
            let mut rights = MemoryRights::READ | MemoryRights::WRITE;
            if serves {
                rights |= MemoryRights::DMA;
            }
            // Its client knows a ring by the use that it belongs to, of which it may have several of one interface.
            let usage = system[self.index].uses.iter().find(|usage| !serves && usage.ring == Some(index));
            let name = usage.map_or(&system[ring.endpoint].interface, |usage| &usage.name);
            let mut entry = Entry::new(kind, name);
            entry.interface = system[ring.endpoint].interface_id;
            entry.handle = memory.cap().grant(target, rights, 0).at("give a ring")?.0;
            // Whoever lends a ring has nothing to say or to hear through it.
            if !serves || ring.lent_to.is_none() {
                self.give_signals(&mut entry, ring, target)?;
            }
            if serves {
                (entry.client, entry.area) = (ring.client.0, system.area_of(index));
            }
            let address = self.map_entry(memory.cap(), 0, memory.pages, MapAccess::ReadWrite, "map a ring")?;
            entry.memory = Range::new(address, memory.pages * PAGE_SIZE);
            Self::push(page, entry)?;
        }
        for (index, ring) in system.rings_lent_to(self.index) {
            let memory = inventory.rings.get(index.position()).ok_or(BuildError::TooManyThings)?;
            let mut entry = Entry::new(EntryKind::LentRing, &system[ring.endpoint].interface);
            entry.area = system.area_of(index);
            let rights = MemoryRights::READ | MemoryRights::WRITE | MemoryRights::DMA;
            entry.handle = memory.cap().grant(target, rights, 0).at("lend a ring")?.0;
            self.give_signals(&mut entry, ring, target)?;
            // The data is for the device.
            let pages = memory.pages.min(LENT_PAGES);
            let address = self.map_entry(memory.cap(), 0, pages, MapAccess::ReadWrite, "map a lent ring")?;
            entry.memory = Range::new(address, pages * PAGE_SIZE);
            Self::push(page, entry)?;
        }
        Ok(())
    }

    /// Gives the client of a ring, or whoever completes its requests, what tells the other one.
    fn give_signals(&self, entry: &mut Entry, ring: &Ring, target: Cap<Domain>) -> Result<(), BuildError> {
        let (own, peer, other) = match ring.client == self.index {
            true => (ring.completion, ring.doorbell, ring.worker()),
            false => (ring.doorbell, ring.completion, ring.client),
        };
        let resources = self.blueprint.inventory.domains.get(other.position()).ok_or(BuildError::TooManyThings)?;
        let granted = resources.notification().grant(target, NotificationRights::NOTIFY, peer.mask());
        entry.peer = granted.at("give a ring's signal")?.0;
        (entry.peer_bits, entry.bits) = (peer.mask(), own.mask());
        Ok(())
    }

    fn give_device(&self, page: &mut StartPage, target: Cap<Domain>) -> Result<(), BuildError> {
        let resources = self.resources;
        for (number, interrupt) in resources.interrupts().enumerate() {
            let mut entry = Entry::new(EntryKind::Interrupt, &format!("{INTERRUPT_PREFIX}{number}"));
            let rights = InterruptRights::HANDLE | InterruptRights::MESSAGE;
            entry.handle = interrupt.grant(target, rights, 0).at("give an interrupt")?.0;
            entry.bits = 1 << (FIRST_INTERRUPT_BIT + number as u32);
            Self::push(page, entry)?;
        }
        for (number, ports) in resources.ports.iter().enumerate() {
            let mut entry = Entry::new(EntryKind::Ports, &format!("{PORTS_PREFIX}{number}"));
            let rights = PortsRights::IN | PortsRights::OUT;
            entry.handle = ports.cap().grant(target, rights, 0).at("give I/O ports")?.0;
            entry.memory = Range::new(ports.first.into(), ports.count.into());
            Self::push(page, entry)?;
        }
        let is_pci = matches!(
            self.blueprint.system[self.index].device.as_ref().map(|device| &device.bus),
            Some(Bus::Pci { .. })
        );
        if is_pci && resources.dma.pages > 0 {
            let rights = MemoryRights::READ | MemoryRights::WRITE | MemoryRights::DMA;
            self.give_memory(page, target, DMA_ENTRY, resources.dma, rights)?;
        }
        if let Some(space) = self.device_space {
            let mut entry = Entry::new(EntryKind::Capability, DEVICE_SPACE);
            entry.handle = space.grant(target, SpaceRights::MAP, 0).at("give what its device sees")?.0;
            Self::push(page, entry)?;
        }
        Ok(())
    }

    fn give_grants(&self, page: &mut StartPage, target: Cap<Domain>) -> Result<(), BuildError> {
        let Blueprint { system, inventory, .. } = self.blueprint;
        let domain = &system[self.index];
        let registers = MemoryRights::READ | MemoryRights::WRITE;
        if domain.holds(Grant::Ecam) {
            if inventory.ecam.pages > 0 {
                self.give_memory(page, target, ECAM_ENTRY, inventory.ecam, registers)?;
            }
            for (number, window) in inventory.windows.iter().enumerate() {
                // Whoever hands out parts of a window must know where they lie.
                let rights = registers | MemoryRights::SPLIT | MemoryRights::DMA;
                self.give_memory(page, target, &format!("{DEVICE_WINDOW_PREFIX}{number}"), *window, rights)?;
            }
            self.give_file(page, target, MANIFEST_ENTRY)?;
        }
        if domain.holds(Grant::KernelLog) && self.index != DomainIndex::SUPERVISOR {
            let mut entry = Entry::new(EntryKind::Capability, SYSTEM_ENTRY);
            entry.handle = inventory.system().grant(target, SystemRights::all(), 0).at("give the kernel's log")?.0;
            Self::push(page, entry)?;
        }
        if let Some(handover) = self.blueprint.handover {
            self.give_memory(page, target, INVENTORY_ENTRY, handover.memory, MemoryRights::READ)?;
            self.give_constant(page, target, ARCHIVE_ENTRY, 0, inventory.archive_bytes)?;
            // Whoever tells what every domain holds is no exception.
            page.own.domain = target.grant(target, DomainRights::INSPECT, 0).at("give it itself")?.0;
            (handover.give)(target)?;
        }
        Ok(())
    }

    /// Gives a file of the archive, mapped read-only: nobody ever changes it.
    fn give_file(&self, page: &mut StartPage, target: Cap<Domain>, name: &str) -> Result<(), BuildError> {
        let file = self.blueprint.archive.file(name).ok_or_else(|| BuildError::NoProgram(name.into()))?;
        let (first, length) = (file.offset as u64 / PAGE_SIZE, file.contents.len() as u64);
        self.give_constant(page, target, name, first, length)
    }

    /// Gives bytes of the archive from a page on, mapped read-only.
    fn give_constant(
        &self,
        page: &mut StartPage,
        target: Cap<Domain>,
        name: &str,
        first: u64,
        length: u64,
    ) -> Result<(), BuildError> {
        let pages = length.div_ceil(PAGE_SIZE);
        let archive = self.blueprint.inventory.archive.cap();
        let part = archive.split(first, pages, MemoryRights::READ).at("set a file aside")?;
        let address = self.map_entry(archive, first, pages, MapAccess::Read, "map a file")?;
        let mut entry = Entry::new(EntryKind::Memory, name);
        entry.handle = give_away(part, target, "give a file")?.0;
        entry.memory = Range::new(address, length);
        Self::push(page, entry)
    }

    fn give_memory(
        &self,
        page: &mut StartPage,
        target: Cap<Domain>,
        name: &str,
        memory: MemoryRef,
        rights: MemoryRights,
    ) -> Result<(), BuildError> {
        let mut entry = Entry::new(EntryKind::Memory, name);
        entry.handle = memory.cap().grant(target, rights, 0).at("give memory")?.0;
        Self::push(page, entry)
    }
}
