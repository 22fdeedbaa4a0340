//! What the running domain was given, by name.

use crate::cap::{
    self, Account, Cap, Domain, Endpoint, Interrupt, Memory, Notification, ObjectKind, Ports, Space, Thread,
};
use crate::executor;
use crate::ipc::{Connection, InterfaceInfo, Service};
use crate::memory::{AddressSpace, SharedMemory};
use crate::session::Register;
use crate::start::{Entry, EntryKind, Range, StartPage};
use abi::{Error, Handle};
use core::fmt;
use core::sync::atomic::{AtomicPtr, Ordering};

/// Something that a domain needs and was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotGiven {
    /// What kind of thing.
    pub kind: &'static str,
    /// Under which name.
    pub name: &'static str,
}

impl fmt::Display for NotGiven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "this domain was given no {} named '{}': the system's manifest says what each domain gets",
            self.kind, self.name
        )
    }
}

impl core::error::Error for NotGiven {}

/// What the domain was given when it started.
pub struct Environment {
    page: &'static StartPage,
    space: Option<AddressSpace>,
}

static ENVIRONMENT: AtomicPtr<Environment> = AtomicPtr::new(core::ptr::null_mut());

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.page.fmt(f)
    }
}

/// A ring's memory and how to reach who is at its other end.
#[derive(Clone, Copy, Debug)]
pub struct RingResources {
    /// The memory, mapped.
    pub shared: SharedMemory<'static>,
    /// The memory's capability; the server's has the right `DMA`.
    pub memory: Cap<Memory>,
    /// What to notify after a change.
    pub peer: Peer,
    /// Bits of the own notification that the peer sets after a change.
    pub bits: u64,
    /// Whose ring it is, for its server: the lower half of the badge with which that client calls.
    pub client: u16,
    /// The number of a lent ring for who lends it and whom it is lent to; 0 if it is not lent.
    pub area: u16,
}

fn ring_of(entry: &Entry) -> Option<RingResources> {
    Some(RingResources {
        shared: shared(entry.memory)?,
        memory: Cap::from_handle(entry.handle()),
        peer: Peer::new(Cap::from_handle(Handle(entry.peer)), entry.peer_bits),
        bits: entry.bits,
        client: entry.client,
        area: entry.area,
    })
}

/// Another domain's notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    notification: Cap<Notification>,
    bits: u64,
}

impl Peer {
    /// Sets `bits` of `notification`.
    pub const fn new(notification: Cap<Notification>, bits: u64) -> Self {
        Self { notification, bits }
    }

    /// Tells the peer.
    ///
    /// # Errors
    /// As [`Cap::<Notification>::notify`].
    pub fn notify(&self) -> Result<(), Error> {
        self.notification.notify(self.bits)
    }
}

impl Environment {
    /// Reads a start page.
    pub fn new(page: &'static StartPage) -> Self {
        let own = &page.own;
        let space = (own.space != 0).then(|| {
            let window = page.window.address..page.window.end();
            let space = AddressSpace::new(Cap::from_handle(Handle(own.space)), window);
            if own.tables != 0 {
                let pages = own.tables_first..own.tables_first.saturating_add(own.tables_pages);
                space.use_tables(Cap::from_handle(Handle(own.tables)), pages);
            }
            space
        });
        Self { page, space }
    }

    /// Makes it what [`Environment::current`] returns.
    #[cfg(target_os = "none")]
    pub(crate) fn install(&'static self) {
        ENVIRONMENT.store(core::ptr::from_ref(self).cast_mut(), Ordering::Release);
    }

    /// The running domain's, if it was started with one.
    pub fn current() -> Option<&'static Environment> {
        let environment = ENVIRONMENT.load(Ordering::Acquire);
        // SAFETY: only `install` writes the pointer, from a reference that lives for ever.
        unsafe { environment.as_ref() }
    }

    /// The start page itself.
    pub fn page(&self) -> &'static StartPage {
        self.page
    }

    /// The domain's name.
    pub fn name(&self) -> &'static str {
        self.page.name.as_str()
    }

    /// The arguments.
    pub fn arguments(&self) -> &'static str {
        self.page.arguments()
    }

    fn own<K: ObjectKind>(handle: u64) -> Option<Cap<K>> {
        (handle != 0).then(|| Cap::from_handle(Handle(handle)))
    }

    /// The domain's account, if it may create objects.
    pub fn account(&self) -> Option<Cap<Account>> {
        Self::own(self.page.own.account)
    }

    /// The domain's space, if it may map.
    pub fn space(&self) -> Option<Cap<Space>> {
        Self::own(self.page.own.space)
    }

    /// The domain itself, if it was given that.
    pub fn domain(&self) -> Option<Cap<Domain>> {
        Self::own(self.page.own.domain)
    }

    /// The domain's first thread, if it was given that.
    pub fn thread(&self) -> Option<Cap<Thread>> {
        Self::own(self.page.own.thread)
    }

    /// The notification that is bound to the first thread.
    pub fn notification(&self) -> Option<Cap<Notification>> {
        Self::own(self.page.notification)
    }

    /// Where the domain maps memory, if it may.
    pub fn address_space(&self) -> Option<&AddressSpace> {
        self.space.as_ref()
    }

    /// Memory that outlives the domain, if there is any.
    pub fn vault(&self) -> Option<SharedMemory<'static>> {
        shared(self.page.vault)
    }

    /// Where the supervisor tells which clients are gone, if there is such a page.
    pub fn clients(&self) -> Option<Register<'static>> {
        let address = self.page.clients;
        // SAFETY: the start page is the builder's word that the page is mapped, readable, as long as the domain lives.
        (address != 0 && address.is_multiple_of(8)).then(|| unsafe { Register::from_address(address) })
    }

    /// The entry of a kind and name.
    ///
    /// # Errors
    /// [`NotGiven`].
    pub fn entry(&self, kind: EntryKind, name: &'static str) -> Result<&'static Entry, NotGiven> {
        self.page.entries_of(kind).find(|entry| entry.name.as_str() == name).ok_or(NotGiven {
            kind: match kind {
                EntryKind::Provides => "endpoint to serve",
                EntryKind::Uses => "endpoint to call",
                EntryKind::RingClient => "ring to submit to",
                EntryKind::RingServer => "ring to serve",
                EntryKind::Interrupt => "interrupt",
                EntryKind::Ports => "range of ports",
                EntryKind::Memory => "memory",
                EntryKind::Peer => "notification of a peer",
                EntryKind::Capability => "capability",
                EntryKind::LentRing => "ring of others",
            },
            name,
        })
    }

    /// The endpoint on which the domain serves `name`.
    ///
    /// # Errors
    /// [`NotGiven`].
    pub fn provides(&self, name: &'static str) -> Result<Cap<Endpoint>, NotGiven> {
        self.entry(EntryKind::Provides, name).map(|entry| Cap::from_handle(entry.handle()))
    }

    /// The endpoint by which the domain uses `name`.
    ///
    /// # Errors
    /// [`NotGiven`].
    pub fn uses(&self, name: &'static str) -> Result<Cap<Endpoint>, NotGiven> {
        self.entry(EntryKind::Uses, name).map(|entry| Cap::from_handle(entry.handle()))
    }

    /// The ring named `name`, as its client or as its server.
    ///
    /// # Errors
    /// [`NotGiven`], also if the ring's memory is not mapped.
    pub fn ring(&self, kind: EntryKind, name: &'static str) -> Result<RingResources, NotGiven> {
        let entry = self.entry(kind, name)?;
        ring_of(entry).ok_or(NotGiven { kind: "mapping of the ring", name })
    }

    /// Every ring named `name` that the domain serves, one for each client that has one.
    pub fn served_rings(&self, name: &str) -> impl Iterator<Item = RingResources> {
        let entries = self.page.entries_of(EntryKind::RingServer);
        entries.filter(move |entry| entry.name.as_str() == name).filter_map(ring_of)
    }

    /// Every ring that the client of a ring of this domain lends to it. Their buffer areas are not mapped: they are for the
    /// domain's device.
    pub fn lent_rings(&self) -> impl Iterator<Item = RingResources> {
        self.page.entries_of(EntryKind::LentRing).filter_map(ring_of)
    }

    /// The interrupt named `name`, bound to its bits of the domain's notification.
    ///
    /// # Errors
    /// [`NotGiven`] as an inner error if it is missing, otherwise the kernel's refusal.
    pub fn interrupt(&self, name: &'static str) -> Result<InterruptEvents, InterruptError> {
        let entry = self.entry(EntryKind::Interrupt, name)?;
        self.bind_interrupt(Cap::from_handle(entry.handle()), entry.bits)
    }

    /// Binds an interrupt that the domain has got otherwise to `bits` of its notification, and lets the first one come.
    ///
    /// # Errors
    /// [`InterruptError`].
    pub fn bind_interrupt(&self, interrupt: Cap<Interrupt>, bits: u64) -> Result<InterruptEvents, InterruptError> {
        let notification = self.notification().ok_or(NotGiven { kind: "notification", name: "(its own)" })?;
        interrupt.bind(notification, bits)?;
        interrupt.acknowledge()?;
        Ok(InterruptEvents { interrupt, bits })
    }

    /// The I/O ports named `name`: the capability, the first port, and how many there are.
    ///
    /// # Errors
    /// [`NotGiven`].
    pub fn ports(&self, name: &'static str) -> Result<(Cap<Ports>, u16, u32), NotGiven> {
        let entry = self.entry(EntryKind::Ports, name)?;
        let range = entry.memory;
        Ok((Cap::from_handle(entry.handle()), range.address as u16, range.length as u32))
    }

    /// The memory named `name`.
    ///
    /// # Errors
    /// [`NotGiven`].
    pub fn memory(&self, name: &'static str) -> Result<Cap<Memory>, NotGiven> {
        self.entry(EntryKind::Memory, name).map(|entry| Cap::from_handle(entry.handle()))
    }

    /// The contents of the memory named `name`, which its builder has mapped because nobody ever changes it.
    ///
    /// # Errors
    /// [`NotGiven`], also if it is not mapped.
    pub fn constant(&self, name: &'static str) -> Result<&'static [u8], NotGiven> {
        let Range { address, length } = self.entry(EntryKind::Memory, name)?.memory;
        if address == 0 {
            return Err(NotGiven { kind: "mapped memory", name });
        }
        // SAFETY: the start page is the builder's word that memory with an address in an entry of this kind is mapped
        // readable for the rest of the domain's life and that nobody changes it.
        Ok(unsafe { core::slice::from_raw_parts(address as *const u8, length as usize) })
    }

    /// The peer named `name`.
    ///
    /// # Errors
    /// [`NotGiven`].
    pub fn peer(&self, name: &'static str) -> Result<Peer, NotGiven> {
        let entry = self.entry(EntryKind::Peer, name)?;
        Ok(Peer::new(Cap::from_handle(Handle(entry.peer)), entry.peer_bits))
    }

    /// A connection to the endpoint to call that is named `name`. If the manifest gives none, this is noted in the log,
    /// and every call is refused with `BadHandle`.
    pub fn connection(&self, name: &'static str) -> Connection {
        let endpoint = self.uses(name).unwrap_or_else(|missing| {
            log::warn!("{missing}");
            Cap::from_handle(Handle::NONE)
        });
        Connection::new(endpoint)
    }

    /// The endpoints to call that have this interface, each with its name.
    pub fn uses_of(&self, interface: InterfaceInfo) -> impl Iterator<Item = (&'static str, Cap<Endpoint>)> + use<> {
        self.page
            .entries_of(EntryKind::Uses)
            .filter(move |entry| entry.interface == interface.id)
            .map(|entry| (entry.name.as_str(), Cap::from_handle(entry.handle())))
    }

    /// The rest of a server's life: answers the calls that come to the endpoint named `name`.
    ///
    /// # Panics
    /// If the manifest does not let the domain provide that, or lets it provide another interface than `service` is of,
    /// or if the thread serves an endpoint already: a server that cannot serve has nothing to live for, and its
    /// supervisor tells why it died.
    pub fn serve(&self, name: &'static str, service: impl Service + 'static) -> ! {
        let entry = self.entry(EntryKind::Provides, name).unwrap_or_else(|missing| panic!("{missing}"));
        assert!(
            entry.interface == service.interface(),
            "the manifest says that this domain provides '{name}' in another version than it does"
        );
        if let Err(error) = executor::serve(Cap::from_handle(entry.handle()), service) {
            panic!("{error}");
        }
        executor::run_forever()
    }

    /// Another capability named `name`, of kind `K`.
    ///
    /// # Errors
    /// [`NotGiven`], also if it is of another kind.
    pub fn capability<K: ObjectKind>(&self, name: &'static str) -> Result<Cap<K>, NotGiven> {
        let entry = self.entry(EntryKind::Capability, name)?;
        match cap::describe(entry.handle()) {
            Ok((kind, _)) if kind == K::KIND => Ok(Cap::from_handle(entry.handle())),
            _ => Err(NotGiven { kind: "capability of this kind", name }),
        }
    }
}

/// A range that the builder has mapped for the rest of the domain's life, if there is one.
fn shared(range: Range) -> Option<SharedMemory<'static>> {
    if range.address == 0 || !range.address.is_multiple_of(8) {
        return None;
    }
    // SAFETY: the start page is the builder's word that the range is mapped, readable and writable, as long as the
    // domain lives, and that nothing of the program itself lies there.
    Some(unsafe { SharedMemory::from_address(range.address, range.length as usize) })
}

/// Why an interrupt cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterruptError {
    /// The domain was not given it.
    NotGiven(NotGiven),
    /// The kernel refused.
    Refused(Error),
}

impl fmt::Display for InterruptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InterruptError::NotGiven(missing) => missing.fmt(f),
            InterruptError::Refused(error) => write!(f, "the kernel refused to bind the interrupt: {error}"),
        }
    }
}

impl core::error::Error for InterruptError {}

impl From<NotGiven> for InterruptError {
    fn from(missing: NotGiven) -> Self {
        InterruptError::NotGiven(missing)
    }
}

impl From<Error> for InterruptError {
    fn from(error: Error) -> Self {
        InterruptError::Refused(error)
    }
}

/// An interrupt as a sequence of events on the executor.
#[derive(Debug)]
pub struct InterruptEvents {
    interrupt: Cap<Interrupt>,
    bits: u64,
}

impl InterruptEvents {
    /// Waits for the next one. The device's cause is then removed, and [`InterruptEvents::acknowledge`] lets the one
    /// after it come.
    pub async fn next(&self) {
        executor::bits(self.bits).await;
    }

    /// Lets the next one come.
    ///
    /// # Errors
    /// As [`Cap::<Interrupt>::acknowledge`].
    pub fn acknowledge(&self) -> Result<(), Error> {
        self.interrupt.acknowledge()
    }

    /// The interrupt's capability.
    pub fn interrupt(&self) -> Cap<Interrupt> {
        self.interrupt
    }
}
