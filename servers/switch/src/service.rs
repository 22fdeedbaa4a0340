//! The switch between the rings of its clients.

use crate::forwarding::{Line, LineClosed, Offered, Switch};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use interfaces::link::{Address, Channel, Frame, LinkError, LinkServer, MTU, Port, PortStatistics, Side};
use userlib::environment::RingResources;
use userlib::ipc::Caller;
use userlib::ring::PushError;
use userlib::sync::{Event, either};
use userlib::{executor, log};

/// A ring as a line of the switch.
#[derive(Debug)]
pub struct RingLine {
    channel: Channel,
    address: Address,
}

impl RingLine {
    fn closed(&self) -> LineClosed {
        log::warn!(
            "the client with the address {} does not keep to the rules of its ring: its port is closed",
            self.address
        );
        LineClosed
    }
}

impl Line for RingLine {
    fn take(&mut self) -> Result<Option<Frame>, LineClosed> {
        self.channel.receive().map_err(|_| self.closed())
    }

    fn offer(&mut self, frame: &Frame) -> Result<Offered, LineClosed> {
        match self.channel.send(frame) {
            Ok(()) => Ok(Offered::Delivered),
            Err(PushError::Full) => Ok(Offered::NoRoom),
            Err(PushError::Broken) => Err(self.closed()),
        }
    }

    fn may_wait(&mut self) -> Result<bool, LineClosed> {
        self.channel.may_wait_for_frames().map_err(|_| self.closed())
    }

    fn show(&mut self, statistics: &PortStatistics) {
        self.channel.tell(statistics);
    }
}

/// The rings of all clients, with the switch between them.
#[derive(Debug)]
pub struct Ports {
    rings: Vec<RingResources>,
    switch: RefCell<Switch<RingLine>>,
    /// A client has attached.
    attached: Event,
}

impl Ports {
    /// Goes on with rings as a former instance has left them. A client has one: of several, the first.
    #[must_use]
    pub fn new(rings: impl Iterator<Item = RingResources>) -> Rc<Self> {
        let (mut known, mut switch) = (Vec::<RingResources>::new(), Switch::default());
        for ring in rings {
            let address = Address::of_domain(ring.client);
            if known.iter().any(|other| other.client == ring.client) {
                log::warn!("the client with the address {address} has several rings: one of them is used");
                continue;
            }
            let channel = Channel::attach(ring, Side::Server);
            let channel = channel.inspect_err(|error| {
                log::warn!("no frame passes the port with the address {address} until its client attaches: {error}");
            });
            let line = channel.ok().map(|channel| RingLine { channel, address });
            let statistics = line.as_ref().map_or_else(PortStatistics::default, |line| line.channel.statistics());
            switch.connect(address, line, statistics);
            known.push(ring);
        }
        Rc::new(Self { rings: known, switch: RefCell::new(switch), attached: Event::new() })
    }

    /// Brings frames to where they belong, as [`Switch::round`] does.
    pub fn round(&self) -> bool {
        self.switch.borrow_mut().round()
    }

    /// Brings frames to where they belong, for ever. Between rounds others have their turn.
    pub async fn run(&self) {
        let bits = self.rings.iter().fold(0, |bits, ring| bits | ring.bits);
        let events = executor::events(bits);
        loop {
            let attached = self.attached.next();
            if self.round() {
                executor::yield_now().await;
            } else {
                either(attached, events.next()).await;
            }
        }
    }

    fn attach(&self, domain: u32) -> Result<Port, LinkError> {
        let ring = self.rings.iter().find(|ring| u32::from(ring.client) == domain).ok_or(LinkError::NoRing)?;
        let address = Address::of_domain(ring.client);
        let channel = Channel::begin(*ring).map_err(|_| LinkError::RingTooShort)?;
        let line = RingLine { channel, address };
        self.switch.borrow_mut().connect(address, Some(line), PortStatistics::default());
        // The next round asks the client to tell of its frames.
        self.attached.signal();
        Ok(Port { address, mtu: MTU })
    }
}

/// What clients may ask of the switch.
#[derive(Debug)]
pub struct Service(Rc<Ports>);

impl Service {
    /// Serves the clients that have these rings.
    #[must_use]
    pub const fn new(ports: Rc<Ports>) -> Self {
        Self(ports)
    }
}

impl LinkServer for Service {
    async fn attach(&self, caller: &Caller) -> Result<Port, LinkError> {
        self.0.attach(caller.client().domain())
    }
}
