//! A guest's network card: the ring of a link's server, which may die and come back meanwhile.

use super::machine::Machine;
use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::time::Duration;
use interfaces::guest::NetworkInfo;
use interfaces::link::{Address, Channel, Frame, LinkClient, Side};
use userlib::environment::RingResources;
use userlib::executor::{self, Events};
use userlib::ipc::RetriedError;
use userlib::ring::{Broken, PushError};
use userlib::start::EntryKind;
use userlib::{Environment, log};
use vmm::virtio::{FRAME_BYTES, Link, LinkBusy};

/// How long the link's server may take to answer. While the monitor waits it answers nobody.
const ATTACH_TIME: Duration = Duration::from_millis(300);
/// How long to wait before it is asked again, and how often it is.
const RETRY: Duration = Duration::from_millis(200);
const ATTEMPTS: u32 = 25;

// What a guest may send fits into the ring.
const _: () = assert!(FRAME_BYTES == interfaces::link::MOST_FRAME_BYTES);

/// The link that the manifest gives a guest, of which one guest after the other makes use.
#[derive(Debug)]
pub(crate) struct Uplink {
    client: LinkClient,
    resources: RingResources,
    address: Address,
    channel: RefCell<Channel>,
    events: Events,
    /// The server does not keep to the rules: nothing comes any more, and what is sent is lost.
    is_broken: Cell<bool>,
}

impl Uplink {
    /// Attaches to the link. `None`, and a line in the log, if it cannot be used.
    pub(crate) async fn find(environment: &'static Environment) -> Option<Rc<Self>> {
        let name = manifest::LINK;
        let (Ok(endpoint), Ok(resources)) = (environment.uses(name), environment.ring(EntryKind::RingClient, name))
        else {
            log::error!("the guest has no network: its monitor was not given the link");
            return None;
        };
        let client = LinkClient::new(endpoint).with_timeout(ATTACH_TIME);
        let port = attach(&client).await?;
        let channel = Channel::attach(resources, Side::Client);
        let channel =
            channel.inspect_err(|error| log::error!("the guest has no network: its ring cannot be used: {error}"));
        Some(Rc::new(Self {
            client,
            resources,
            address: port.address,
            channel: RefCell::new(channel.ok()?),
            events: executor::events(resources.bits),
            is_broken: Cell::new(false),
        }))
    }

    /// What is to be told of it, with what its server says that it has done.
    pub(super) fn info(&self) -> NetworkInfo {
        NetworkInfo { address: self.address, statistics: self.channel.borrow().statistics() }
    }

    /// Wakes the card, whenever there is something new on the link, for ever.
    pub(super) async fn serve(self: Rc<Self>, machine: Rc<Machine>) {
        loop {
            self.events.next().await;
            while machine.work_on_network() {
                executor::yield_now().await;
            }
        }
    }

    fn attempt<T>(&self, done: Result<T, Broken>) -> Option<T> {
        if done.is_err() {
            self.cut();
        }
        done.ok()
    }

    fn cut(&self) {
        if !self.is_broken.replace(true) {
            log::error!("the guest's network is cut: the server of its link does not keep to the rules of the ring");
        }
    }

    /// Attaches again, for another guest: the ring is begun anew, whatever has become of it. If the server does not answer at
    /// once the ring stays, and what came while nobody took it is forgotten: it was for a former guest.
    fn renew(&self) {
        let attached = self.client.attach().is_ok();
        match Channel::attach(self.resources, Side::Client) {
            Ok(channel) if attached => {
                *self.channel.borrow_mut() = channel;
                self.is_broken.set(false);
            }
            _ => {
                let forgotten = self.channel.borrow_mut().forget_incoming();
                self.attempt(forgotten);
            }
        }
    }

    /// Puts a frame into the ring. If there is no room the card will be woken when there is.
    fn send(&self, frame: &Frame) -> Result<(), LinkBusy> {
        let mut channel = self.channel.borrow_mut();
        while !self.is_broken.get() {
            match channel.send(frame) {
                Ok(()) => return Ok(()),
                Err(PushError::Broken) => self.cut(),
                Err(PushError::Full) => {
                    if self.attempt(channel.may_wait_for_room()) == Some(true) {
                        return Err(LinkBusy);
                    }
                }
            }
        }
        // Nobody takes it any more, as from a cable that is cut.
        Ok(())
    }

    /// The next frame in the ring. If there is none the card will be woken when there is.
    fn receive(&self) -> Option<Frame> {
        let mut channel = self.channel.borrow_mut();
        while !self.is_broken.get() {
            match self.attempt(channel.receive())? {
                Some(frame) if frame.bytes().is_some() => return Some(frame),
                // The server is not to pass on what is no frame.
                Some(_) => self.cut(),
                None if self.attempt(channel.may_wait_for_frames())? => return None,
                None => {}
            }
        }
        None
    }
}

/// The card's end of the link, in one life of the guest's machine.
#[derive(Debug)]
struct Cable {
    uplink: Rc<Uplink>,
    /// A frame that was taken out of the ring.
    next: Option<Frame>,
}

impl Link for Cable {
    fn send(&mut self, frame: &[u8]) -> Result<(), LinkBusy> {
        // What is too short for a frame goes nowhere.
        Frame::new(frame).map_or(Ok(()), |frame| self.uplink.send(&frame))
    }

    fn has_frame(&mut self) -> bool {
        if self.next.is_none() {
            self.next = self.uplink.receive();
        }
        self.next.is_some()
    }

    fn receive(&mut self, into: &mut [u8]) -> usize {
        let Some(frame) = self.next.take() else { return 0 };
        let bytes = frame.bytes().unwrap_or_default();
        let length = bytes.len().min(into.len());
        into[..length].copy_from_slice(&bytes[..length]);
        length
    }
}

/// Connects a machine to the link that the manifest names, if there is one.
pub(super) async fn connect(machine: &Rc<Machine>, environment: &'static Environment) {
    if machine.resources.settings.is_linked
        && let Some(uplink) = Uplink::find(environment).await
    {
        *machine.uplink.borrow_mut() = Some(uplink.clone());
        executor::spawn(uplink.serve(machine.clone()));
    }
}

impl Machine {
    /// The card of a machine that is being switched on.
    pub(super) fn network_card(&self) -> Option<(Box<dyn Link>, [u8; 6])> {
        let uplink = self.uplink.borrow().clone()?;
        uplink.renew();
        let address = uplink.address.0;
        Some((Box::new(Cable { uplink, next: None }), address))
    }

    /// Lets the card work. Returns whether it is to work again.
    fn work_on_network(&self) -> bool {
        let mut memory = &self.ram;
        let has_more = self.board.borrow_mut().as_mut().is_some_and(|board| board.work_on_network(&mut memory));
        self.tell();
        has_more
    }
}

/// Asks the link's server for the guest's port, as often as it dies meanwhile.
async fn attach(link: &LinkClient) -> Option<interfaces::link::Port> {
    for _ in 0..ATTEMPTS {
        match link.attach() {
            Ok(port) => return Some(port),
            Err(RetriedError::Failed(answer)) => {
                log::error!("the guest has no network: the server of its link says: {answer}");
                return None;
            }
            Err(RetriedError::Refused(error)) => {
                log::error!("the guest has no network: the server of its link cannot be asked: {error}");
                return None;
            }
            Err(_) => executor::sleep(RETRY).await,
        }
    }
    log::error!("the guest has no network: the server of its link does not answer");
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use core::sync::atomic::{AtomicU64, Ordering};
    use userlib::abi::Handle;
    use userlib::cap::Cap;
    use userlib::environment::Peer;
    use userlib::host::{self, Loopback};
    use userlib::memory::SharedMemory;

    const ONE: Address = Address::of_domain(1);

    fn frame(what: u8) -> Vec<u8> {
        [&ONE.0[..], &ONE.0, &[8, 0, what]].concat()
    }

    /// A card's end of a ring, and the switch's.
    fn connected() -> (Cable, Channel, SharedMemory<'static>) {
        let words: Vec<AtomicU64> = (0..4096).map(|_| AtomicU64::new(0)).collect();
        let shared = SharedMemory::new(Vec::leak(words));
        let resources = RingResources {
            shared,
            memory: Cap::from_handle(Handle::new(8, 1)),
            peer: Peer::new(Cap::from_handle(Handle::new(9, 1)), 1),
            bits: 2,
            client: 1,
            area: 0,
        };
        let server = Channel::begin(resources).unwrap();
        let channel = RefCell::new(Channel::attach(resources, Side::Client).unwrap());
        // Nobody answers calls.
        let client = LinkClient::new(Cap::from_handle(Handle::NONE));
        let uplink = Uplink {
            client,
            resources,
            address: ONE,
            channel,
            events: executor::events(resources.bits),
            is_broken: Cell::new(false),
        };
        (Cable { uplink: Rc::new(uplink), next: None }, server, shared)
    }

    fn received(cable: &mut Cable) -> Vec<u8> {
        let mut bytes = [0; FRAME_BYTES];
        let length = cable.receive(&mut bytes);
        bytes[..length].to_vec()
    }

    #[test]
    fn frames_go_through_the_ring_both_ways() {
        host::with(Loopback::new(), || {
            let (mut cable, mut server, _) = connected();
            cable.send(&frame(1)).unwrap();
            cable.send(&[0; 3]).unwrap();
            assert_eq!(server.receive().unwrap().unwrap().bytes(), Some(&frame(1)[..]));
            assert!(server.receive().unwrap().is_none(), "what is too short is no frame");
            assert!(!cable.has_frame());
            server.send(&Frame::new(&frame(2)).unwrap()).unwrap();
            assert!(cable.has_frame());
            assert_eq!(received(&mut cable), frame(2));
            assert!(!cable.has_frame());
        });
    }

    #[test]
    fn a_card_waits_while_nobody_takes_its_frames() {
        host::with(Loopback::new(), || {
            let (mut cable, mut server, _) = connected();
            while cable.send(&frame(1)).is_ok() {}
            assert_eq!(cable.send(&frame(1)), Err(LinkBusy));
            server.receive().unwrap();
            assert_eq!(cable.send(&frame(1)), Ok(()));
        });
    }

    #[test]
    fn a_link_that_does_not_keep_to_the_rules_is_a_cable_that_is_cut() {
        host::with(Loopback::new(), || {
            let (mut cable, mut server, shared) = connected();
            server.send(&Frame::new(&frame(2)).unwrap()).unwrap();
            shared.words().iter().for_each(|word| word.store(u64::MAX / 3, Ordering::Relaxed));
            assert!(!cable.has_frame());
            for _ in 0..1000 {
                assert_eq!(cable.send(&frame(1)), Ok(()), "the guest does not wait for ever");
            }
        });
    }

    #[test]
    fn the_next_guest_does_not_find_the_frames_of_the_last_one() {
        host::with(Loopback::new(), || {
            let (mut cable, mut server, _) = connected();
            server.send(&Frame::new(&frame(2)).unwrap()).unwrap();
            cable.uplink.renew();
            assert!(!cable.has_frame());
            server.send(&Frame::new(&frame(3)).unwrap()).unwrap();
            assert!(cable.has_frame());
            assert_eq!(received(&mut cable), frame(3));
        });
    }
}
