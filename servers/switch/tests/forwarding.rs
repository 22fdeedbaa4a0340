//! What becomes of frames between ports.

use interfaces::link::{Address, Frame, PortStatistics};
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use switch::{Line, LineClosed, Offered, ROUND_FRAMES, Switch};

const ALL: Address = Address([0xff; 6]);
const SOME: Address = Address([0x01, 0x00, 0x5e, 0, 0, 1]);

/// What a client sees of its line.
#[derive(Debug, Default)]
struct Ends {
    sent: VecDeque<Frame>,
    received: Vec<Vec<u8>>,
    room: usize,
    is_broken: bool,
    /// It was asked to tell of the next frame.
    is_asked: bool,
    shown: PortStatistics,
}

#[derive(Clone, Debug, Default)]
struct Client(Rc<RefCell<Ends>>);

impl Client {
    fn with_room(room: usize) -> Self {
        Self(Rc::new(RefCell::new(Ends { room, ..Ends::default() })))
    }

    fn send(&self, to: Address, from: Address, what: u8) {
        self.0.borrow_mut().sent.push_back(frame(to, from, what));
    }

    /// The last bytes of the frames that it has got.
    fn received(&self) -> Vec<u8> {
        self.0.borrow().received.iter().filter_map(|frame| frame.last().copied()).collect()
    }
}

impl Line for Client {
    fn take(&mut self) -> Result<Option<Frame>, LineClosed> {
        let mut ends = self.0.borrow_mut();
        if ends.is_broken { Err(LineClosed) } else { Ok(ends.sent.pop_front()) }
    }

    fn offer(&mut self, frame: &Frame) -> Result<Offered, LineClosed> {
        let mut ends = self.0.borrow_mut();
        if ends.is_broken {
            return Err(LineClosed);
        }
        if ends.received.len() >= ends.room {
            return Ok(Offered::NoRoom);
        }
        ends.received.push(frame.bytes().expect("nobody is offered what is no frame").to_vec());
        Ok(Offered::Delivered)
    }

    fn may_wait(&mut self) -> Result<bool, LineClosed> {
        let mut ends = self.0.borrow_mut();
        ends.is_asked = ends.sent.is_empty();
        Ok(ends.is_asked)
    }

    fn show(&mut self, statistics: &PortStatistics) {
        self.0.borrow_mut().shown = *statistics;
    }
}

fn frame(to: Address, from: Address, what: u8) -> Frame {
    Frame::new(&[&to.0[..], &from.0, &[8, 0, what]].concat()).expect("it is long enough")
}

/// A frame of zeroes that says to be of so many bytes.
fn frame_of_length(length: u16) -> Frame {
    use zerocopy::{FromZeros, IntoBytes};
    let mut frame = Frame::new_zeroed();
    frame.as_mut_bytes()[..2].copy_from_slice(&length.to_le_bytes());
    frame
}

fn address(number: u16) -> Address {
    Address::of_domain(number)
}

/// Clients 0, 1 and so on, each with room for many frames.
fn connected<const COUNT: usize>() -> (Switch<Client>, [Client; COUNT]) {
    let clients = core::array::from_fn(|_| Client::with_room(1000));
    let mut switch = Switch::default();
    for (number, client) in (0..).zip(&clients) {
        switch.connect(address(number), Some(client.clone()), PortStatistics::default());
    }
    (switch, clients)
}

fn run(switch: &mut Switch<Client>) {
    while switch.round() {}
}

fn statistics(switch: &Switch<Client>, number: u16) -> PortStatistics {
    switch.statistics(address(number)).expect("it is connected")
}

#[test]
fn a_frame_goes_to_whom_it_is_for_and_nobody_else() {
    let (mut switch, [a, b, c]) = connected();
    // Nobody has sent anything before.
    a.send(address(1), address(0), 7);
    run(&mut switch);
    assert_eq!((a.received(), b.received(), c.received()), (vec![], vec![7], vec![]));
    assert_eq!(statistics(&switch, 0), PortStatistics { passed_on: 1, ..PortStatistics::default() });
    assert_eq!(statistics(&switch, 1), PortStatistics { delivered: 1, ..PortStatistics::default() });
    assert_eq!(b.0.borrow().shown, statistics(&switch, 1), "its client is told");
}

#[test]
fn a_frame_for_a_group_goes_to_all_others() {
    let (mut switch, [a, b, c]) = connected();
    a.send(ALL, address(0), 1);
    b.send(SOME, address(1), 2);
    run(&mut switch);
    assert_eq!((a.received(), b.received(), c.received()), (vec![2], vec![1], vec![1, 2]));
}

#[test]
fn a_frame_for_nobody_or_for_its_sender_goes_nowhere() {
    let (mut switch, [a, b]) = connected();
    a.send(address(9), address(0), 1);
    a.send(address(0), address(0), 2);
    run(&mut switch);
    assert_eq!((a.received(), b.received()), (vec![], vec![]));
    assert_eq!(statistics(&switch, 0), PortStatistics { unknown: 2, ..PortStatistics::default() });
}

#[test]
fn who_sends_from_anothers_address_does_not_get_its_frames() {
    let (mut switch, [victim, thief, friend]) = connected();
    thief.send(ALL, address(0), 1);
    thief.send(address(2), address(0), 2);
    thief.send(address(2), ALL, 3);
    run(&mut switch);
    friend.send(address(0), address(2), 4);
    run(&mut switch);
    assert_eq!((victim.received(), thief.received(), friend.received()), (vec![4], vec![], vec![]));
    assert_eq!(statistics(&switch, 1), PortStatistics { forged: 3, ..PortStatistics::default() });
}

#[test]
fn what_is_no_frame_is_dropped() {
    let (mut switch, [a, b]) = connected();
    let lengths = [0, 13, 1519, u16::MAX];
    a.0.borrow_mut().sent.extend(lengths.map(frame_of_length));
    a.send(address(1), address(0), 5);
    run(&mut switch);
    assert_eq!(b.received(), [5]);
    assert_eq!(statistics(&switch, 0), PortStatistics { passed_on: 1, malformed: 4, ..PortStatistics::default() });
}

#[test]
fn who_does_not_take_its_frames_loses_them_and_holds_up_nobody() {
    let (mut switch, [a, b, c]) = connected();
    b.0.borrow_mut().room = 2;
    for what in 0..100 {
        a.send(ALL, address(0), what);
    }
    run(&mut switch);
    assert_eq!((b.received(), c.received()), (vec![0, 1], (0..100).collect()));
    assert_eq!(statistics(&switch, 1), PortStatistics { delivered: 2, lost: 98, ..PortStatistics::default() });
    assert_eq!(statistics(&switch, 2), PortStatistics { delivered: 100, ..PortStatistics::default() });
}

#[test]
fn who_sends_much_gets_no_more_turns_than_others() {
    let (mut switch, [flooding, modest, c]) = connected();
    for _ in 0..500 {
        flooding.send(address(2), address(0), 0);
    }
    modest.send(address(2), address(1), 1);
    assert!(switch.round(), "there is more to do");
    let received = c.received();
    assert_eq!(received.len(), ROUND_FRAMES + 1);
    assert!(received.contains(&1), "its turn came after {ROUND_FRAMES} frames of another");
    assert_eq!(flooding.0.borrow().sent.len(), 500 - ROUND_FRAMES);
}

#[test]
fn the_first_turn_goes_round() {
    let (mut switch, [a, b, c]) = connected();
    for _ in 0..2 {
        a.send(address(2), address(0), 0);
        b.send(address(2), address(1), 1);
        switch.round();
    }
    assert_eq!(c.received(), [0, 1, 1, 0]);
}

#[test]
fn when_there_is_nothing_to_do_everybody_was_asked_to_tell_of_the_next_frame() {
    let (mut switch, [a, b]) = connected();
    a.send(address(1), address(0), 0);
    run(&mut switch);
    assert!(a.0.borrow().is_asked && b.0.borrow().is_asked);
}

#[test]
fn a_line_that_breaks_closes_its_port_and_no_other() {
    let (mut switch, [a, b, c]) = connected();
    b.0.borrow_mut().is_broken = true;
    a.send(ALL, address(0), 1);
    a.send(address(1), address(0), 2);
    run(&mut switch);
    assert_eq!((c.received(), switch.is_open(address(1))), (vec![1], false));
    assert!(switch.is_open(address(0)) && switch.is_open(address(2)));
    // Whoever comes next at this port finds it as if nothing had been.
    let next = Client::with_room(9);
    switch.connect(address(1), Some(next.clone()), PortStatistics::default());
    next.send(address(0), address(1), 3);
    run(&mut switch);
    assert_eq!(a.received(), [3]);
    assert_eq!(statistics(&switch, 1), PortStatistics { passed_on: 1, ..PortStatistics::default() });
}

#[test]
fn a_switch_without_ports_has_nothing_to_do() {
    assert!(!Switch::<Client>::default().round());
}

proptest! {
    #[test]
    fn a_client_gets_what_was_sent_to_it_from_true_addresses_in_its_order(
        frames in prop::collection::vec((0_usize..3, 0_u16..6, 0_u16..4, any::<u8>()), 0..200)
    ) {
        let (mut switch, clients) = connected::<3>();
        let mut expected: [Vec<(u16, u8)>; 3] = Default::default();
        for &(sender, to, from, what) in &frames {
            let destination = if to == 5 { ALL } else { address(to) };
            clients[sender].send(destination, address(from), what);
            if usize::from(from) == sender {
                for (number, expected) in expected.iter_mut().enumerate() {
                    if number != sender && (to == 5 || usize::from(to) == number) {
                        expected.push((from, what));
                    }
                }
            }
        }
        run(&mut switch);
        for (client, expected) in clients.iter().zip(expected) {
            let ends = client.0.borrow();
            prop_assert_eq!(ends.received.len(), expected.len());
            for sender in 0..3 {
                let sent: Vec<u8> = expected.iter().filter(|(from, _)| *from == sender).map(|(_, what)| *what).collect();
                let is_of = |bytes: &&Vec<u8>| bytes[6..12] == address(sender).0;
                let got: Vec<u8> = ends.received.iter().filter(is_of).map(|bytes| bytes[14]).collect();
                prop_assert_eq!(got, sent);
            }
        }
        let taken: u64 = (0..3).map(|number| {
            let PortStatistics { passed_on, forged, unknown, malformed, .. } = statistics(&switch, number);
            passed_on + forged + unknown + malformed
        }).sum();
        prop_assert_eq!(taken, frames.len() as u64);
    }
}
