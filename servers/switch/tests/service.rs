//! The switch as its clients see it: by its interface, and through their rings.

use interfaces::link::{Address, Channel, Frame, LinkDouble, LinkError, PortStatistics, Side};
use proptest::prelude::*;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use switch::{Ports, Service};
use userlib::abi::Handle;
use userlib::cap::Cap;
use userlib::environment::{Peer, RingResources};
use userlib::host::{self, Loopback};
use userlib::ipc::RetriedError;
use userlib::memory::SharedMemory;
use userlib::ring::PushError;
use userlib::session::ClientId;

const RING_WORDS: usize = 8192;
const SHORT: u16 = 9;

/// A ring of a client, as both sides have it.
fn ring(client: u16, words: usize) -> RingResources {
    let words: Vec<AtomicU64> = (0..words).map(|_| AtomicU64::new(0)).collect();
    RingResources {
        shared: SharedMemory::new(Vec::leak(words)),
        memory: Cap::from_handle(Handle::new(8, 1)),
        peer: Peer::new(Cap::from_handle(Handle::new(9, 1)), 1 << client),
        bits: 1 << client,
        client,
        area: 0,
    }
}

/// The clients 1, 2 and 3 with a ring each, and one whose ring is too short.
struct Link {
    rings: Vec<RingResources>,
    ports: Rc<Ports>,
    double: LinkDouble,
}

impl Link {
    fn new() -> Self {
        let mut rings: Vec<_> = (1..4).map(|client| ring(client, RING_WORDS)).collect();
        rings.push(ring(SHORT, 64));
        let ports = Ports::new(rings.iter().copied());
        let double = LinkDouble::new(Service::new(ports.clone()));
        Self { rings, ports, double }
    }

    fn attach(&self, client: u16, life: u32) -> Channel {
        let caller = self.double.client_with_badge(ClientId::new(client.into(), life).badge());
        let port = caller.attach().expect("it has a ring");
        assert_eq!((port.address, port.mtu), (Address::of_domain(client), 1500));
        self.side(client)
    }

    /// The client's side of its ring, as it stands.
    fn side(&self, client: u16) -> Channel {
        let ring = self.rings.iter().find(|ring| ring.client == client).expect("it has a ring");
        Channel::attach(*ring, Side::Client).expect("it is long enough")
    }

    fn run(&self) {
        while self.ports.round() {}
    }

    /// Word number so many of a client's ring.
    fn word(&self, client: u16, word: usize) -> &'static AtomicU64 {
        &self.rings[usize::from(client) - 1].shared.words()[word]
    }
}

fn with_link(test: impl FnOnce(Link)) {
    host::with(Loopback::new(), || test(Link::new()));
}

fn frame(to: u16, from: u16, what: u8) -> Frame {
    let (to, from) = (Address::of_domain(to), Address::of_domain(from));
    Frame::new(&[&to.0[..], &from.0, &[8, 0, what]].concat()).expect("it is long enough")
}

fn next(channel: &mut Channel) -> Option<u8> {
    let frame = channel.receive().expect("the switch keeps to the rules")?;
    frame.bytes().expect("it is a frame").last().copied()
}

#[test]
fn frames_go_through_the_rings() {
    with_link(|link| {
        let (mut one, mut two) = (link.attach(1, 0), link.attach(2, 0));
        for what in 0..5 {
            one.send(&frame(2, 1, what)).unwrap();
        }
        two.send(&frame(1, 2, 9)).unwrap();
        link.run();
        assert_eq!(core::array::from_fn(|_| next(&mut two)), [Some(0), Some(1), Some(2), Some(3), Some(4), None]);
        assert_eq!((next(&mut one), next(&mut one)), (Some(9), None));
        assert_eq!(one.statistics(), PortStatistics { passed_on: 5, delivered: 1, ..PortStatistics::default() });
    });
}

#[test]
fn the_next_instance_of_the_switch_goes_on_with_what_is_in_the_rings() {
    with_link(|link| {
        let (mut one, mut two) = (link.attach(1, 0), link.attach(2, 0));
        one.send(&frame(2, 1, 1)).unwrap();
        link.run();
        one.send(&frame(2, 1, 2)).unwrap();
        let next_instance = Ports::new(link.rings.iter().copied());
        while next_instance.round() {}
        one.send(&frame(2, 1, 3)).unwrap();
        while next_instance.round() {}
        assert_eq!(core::array::from_fn(|_| next(&mut two)), [Some(1), Some(2), Some(3), None]);
        assert_eq!(two.statistics(), PortStatistics { delivered: 3, ..PortStatistics::default() });
    });
}

#[test]
fn numbers_that_a_client_has_written_are_counted_on_as_far_as_they_go() {
    with_link(|link| {
        let (mut one, two) = (link.attach(1, 0), link.attach(2, 0));
        link.word(2, 1).store(u64::MAX, Ordering::Relaxed);
        one.send(&frame(2, 1, 1)).unwrap();
        while Ports::new(link.rings.iter().copied()).round() {}
        assert_eq!(two.statistics(), PortStatistics { delivered: u64::MAX, ..PortStatistics::default() });
    });
}

#[test]
fn the_next_life_of_a_client_finds_nothing_of_the_former_one() {
    with_link(|link| {
        let (mut one, mut two) = (link.attach(1, 0), link.attach(2, 0));
        one.send(&frame(2, 1, 1)).unwrap();
        two.send(&frame(1, 2, 2)).unwrap();
        link.run();
        two.send(&frame(1, 2, 3)).unwrap();
        let mut reborn = link.attach(2, 1);
        link.run();
        assert_eq!((next(&mut reborn), next(&mut one), next(&mut one)), (None, Some(2), None));
        assert_eq!(reborn.statistics(), PortStatistics::default());
        one.send(&frame(2, 1, 4)).unwrap();
        link.run();
        assert_eq!(next(&mut reborn), Some(4));
    });
}

#[test]
fn who_has_no_ring_or_one_that_is_too_short_is_told_so() {
    with_link(|link| {
        let attach = |client: u32| link.double.client_with_badge(ClientId::new(client, 0).badge()).attach();
        assert_eq!(attach(7), Err(RetriedError::Failed(LinkError::NoRing)));
        assert_eq!(attach(0x1_0001), Err(RetriedError::Failed(LinkError::NoRing)));
        assert_eq!(attach(SHORT.into()), Err(RetriedError::Failed(LinkError::RingTooShort)));
    });
}

#[test]
fn a_client_whose_counts_make_no_sense_is_cut_off_until_it_attaches_anew() {
    with_link(|link| {
        let (mut one, mut two, mut three) = (link.attach(1, 0), link.attach(2, 0), link.attach(3, 0));
        // How many frames the client has put in stands in the ninth word of its part, behind eight of statistics.
        link.word(1, 8 + 8).store(u64::MAX / 2, Ordering::Relaxed);
        two.send(&frame(3, 2, 5)).unwrap();
        two.send(&frame(1, 2, 6)).unwrap();
        link.run();
        assert_eq!((next(&mut three), next(&mut one)), (Some(5), None));
        let next_instance = Ports::new(link.rings.iter().copied());
        while next_instance.round() {}
        let mut reborn = link.attach(1, 1);
        two.send(&frame(1, 2, 7)).unwrap();
        link.run();
        assert_eq!(next(&mut reborn), Some(7));
    });
}

#[test]
fn a_ring_that_nobody_empties_is_full_at_some_time_and_frames_for_it_are_lost() {
    with_link(|link| {
        let (mut one, _two, mut three) = (link.attach(1, 0), link.attach(2, 0), link.attach(3, 0));
        for what in 0..200 {
            one.send(&frame(2, 1, what)).unwrap();
            one.send(&frame(3, 1, what)).unwrap();
            link.run();
            assert_eq!(next(&mut three), Some(what));
        }
        let PortStatistics { delivered, lost, .. } = link.side(2).statistics();
        assert!(delivered > 10 && lost > 10 && delivered + lost == 200, "{delivered} and {lost}");
    });
}

#[test]
fn who_puts_in_faster_than_the_switch_takes_out_has_to_wait() {
    with_link(|link| {
        let mut one = link.attach(1, 0);
        while one.send(&frame(2, 1, 0)).is_ok() {}
        assert_eq!(one.send(&frame(2, 1, 0)), Err(PushError::Full));
        assert_eq!(one.may_wait_for_room(), Ok(true));
        link.run();
        assert_eq!(one.may_wait_for_room(), Ok(false));
        assert_eq!(one.send(&frame(2, 1, 0)), Ok(()));
    });
}

#[test]
fn any_messages_to_link() {
    host::with(Loopback::new(), || {
        let double = LinkDouble::new(Service::new(Ports::new((1..4).map(|client| ring(client, RING_WORDS)))));
        let tally = double.fuzz(&[], |_| ());
        assert_eq!(tally.answered.len(), 1, "{tally}");
    });
}

proptest! {
    #[test]
    fn whatever_a_client_writes_into_its_ring_others_exchange_frames(
        writes in prop::collection::vec((0_usize..RING_WORDS, any::<u64>()), 0..40),
        headers in prop::collection::vec((8_usize..8 + 32, 0_u64..200), 0..10),
    ) {
        with_link(|link| {
            let (_hostile, mut two, mut three) = (link.attach(1, 0), link.attach(2, 0), link.attach(3, 0));
            for (number, &(word, value)) in writes.iter().chain(&headers).enumerate() {
                link.word(1, word).store(value, Ordering::Relaxed);
                let what = number as u8;
                two.send(&frame(3, 2, what)).unwrap();
                // It may have forged nothing, so what comes is the other's, or to all and its own.
                for _ in 0..100 {
                    link.ports.round();
                }
                let mut got = None;
                while let Some(frame) = three.receive().unwrap() {
                    if frame.source() == Address::of_domain(2) {
                        assert_eq!(got.replace(frame.bytes().unwrap()[14]), None);
                    } else {
                        assert_eq!(frame.source(), Address::of_domain(1));
                    }
                }
                assert_eq!(got, Some(what));
            }
        });
    }
}
