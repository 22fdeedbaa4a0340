//! The typed ring: values go through in order, and a peer that goes mad does no harm.

use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use userlib::abi::Handle;
use userlib::cap::Cap;
use userlib::environment::{Peer, RingResources};
use userlib::executor;
use userlib::host::{self, Loopback};
use userlib::memory::SharedMemory;
use userlib::ring::{AttachError, Broken, Consumer, HEADER_WORDS, Producer, PushError, Receiver, Sender};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A value of twelve bytes: a slot has a word and a half of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Packet {
    number: u32,
    contents: [u8; 8],
}

fn packet(number: u32) -> Packet {
    Packet { number, contents: (u64::from(number) << 32 | u64::from(!number)).to_le_bytes() }
}

const PRODUCED: usize = 8;
const CONSUMED: usize = 16;

fn words(slots: usize) -> Vec<AtomicU64> {
    (0..HEADER_WORDS + 2 * slots).map(|_| AtomicU64::new(0)).collect()
}

type Ends<'a> = (Producer<Packet, SharedMemory<'a>>, Consumer<Packet, SharedMemory<'a>>);

fn ends(words: &[AtomicU64]) -> Ends<'_> {
    let memory = SharedMemory::new(words);
    (Producer::attach(memory).unwrap(), Consumer::attach(memory).unwrap())
}

#[test]
fn values_come_out_in_the_order_in_which_they_went_in() {
    let words = words(3);
    let (mut producer, mut consumer) = ends(&words);
    assert_eq!((producer.capacity(), consumer.capacity()), (3, 3));
    assert_eq!(consumer.pop(), Ok(None));
    let mut next = 0;
    for round in 0..100 {
        let count = round % 4;
        for number in next..next + count {
            producer.push(&packet(number)).unwrap();
        }
        if count == 3 {
            assert_eq!(producer.push(&packet(0)), Err(PushError::Full));
        }
        for number in next..next + count {
            assert_eq!(consumer.pop(), Ok(Some(packet(number))));
        }
        assert_eq!(consumer.pop(), Ok(None));
        next += count;
    }
}

#[test]
fn a_burst_costs_one_notification_and_none_if_nobody_waits() {
    let words = words(8);
    let (mut producer, mut consumer) = ends(&words);
    assert_eq!(consumer.may_wait(), Ok(true));
    for number in 0..3 {
        producer.push(&packet(number)).unwrap();
    }
    assert!(producer.must_notify());
    assert!(!producer.must_notify(), "it was told");
    assert_eq!(consumer.may_wait(), Ok(false), "there are values");
    consumer.pop().unwrap();
    producer.push(&packet(3)).unwrap();
    assert!(!producer.must_notify(), "it is awake");
    assert!(!consumer.must_notify(), "there was room all the time");
    for number in 4..9 {
        producer.push(&packet(number)).unwrap();
    }
    assert_eq!(producer.may_wait(), Ok(true));
    consumer.pop().unwrap();
    assert!(consumer.must_notify());
    consumer.pop().unwrap();
    assert!(!consumer.must_notify());
    assert_eq!(producer.may_wait(), Ok(false));
}

#[test]
fn a_new_instance_of_either_side_goes_on_and_tells_what_its_predecessor_did_not() {
    let words = words(2);
    let (mut producer, mut consumer) = ends(&words);
    assert_eq!(consumer.may_wait(), Ok(true));
    producer.push(&packet(1)).unwrap();
    let mut producer = Producer::attach(SharedMemory::new(&words)).unwrap();
    assert!(producer.must_notify(), "the former one died before it could");
    producer.push(&packet(2)).unwrap();
    assert_eq!(producer.may_wait(), Ok(true));
    assert_eq!(consumer.pop(), Ok(Some(packet(1))));
    let mut consumer = Consumer::attach(SharedMemory::new(&words)).unwrap();
    assert!(consumer.must_notify(), "the former one died before it could");
    assert_eq!(consumer.pop(), Ok(Some(packet(2))));
    assert_eq!(consumer.pop(), Ok(None));
}

#[test]
fn memory_of_another_shape_is_refused() {
    let words = words(4);
    let memory = SharedMemory::new(&words);
    let _producer: Producer<Packet, _> = Producer::attach(memory).unwrap();
    assert_eq!(Consumer::<u64, _>::attach(memory).map(drop), Err(AttachError::OtherShape));
    let part = memory.part(0..memory.len() - 16).unwrap();
    assert_eq!(Consumer::<Packet, _>::attach(part).map(drop), Err(AttachError::OtherShape));
    let short = memory.part(0..HEADER_WORDS * 8 + 8).unwrap();
    assert_eq!(Producer::<Packet, _>::attach(short).map(drop), Err(AttachError::TooShort));
    assert_eq!(Consumer::<Packet, _>::attach(memory.part(0..0).unwrap()).map(drop), Err(AttachError::TooShort));
}

#[test]
fn counts_that_make_no_sense_are_told_and_change_nothing() {
    let words = words(4);
    let (mut producer, mut consumer) = ends(&words);
    producer.push(&packet(1)).unwrap();
    producer.push(&packet(2)).unwrap();
    assert_eq!(consumer.pop(), Ok(Some(packet(1))));
    assert_eq!(producer.room(), Ok(3));
    // More taken out than put in; less than before.
    for consumed in [3, 0, u64::MAX] {
        words[CONSUMED].store(consumed, Ordering::Relaxed);
        assert_eq!(producer.push(&packet(9)), Err(PushError::Broken));
        assert_eq!(producer.may_wait(), Err(Broken));
    }
    // More put in than there is room for; fewer than before.
    for produced in [6, 0, u64::MAX] {
        words[PRODUCED].store(produced, Ordering::Relaxed);
        assert_eq!(consumer.pop(), Err(Broken));
        assert_eq!(consumer.may_wait(), Err(Broken));
    }
    words[CONSUMED].store(1, Ordering::Relaxed);
    words[PRODUCED].store(2, Ordering::Relaxed);
    producer.push(&packet(3)).unwrap();
    assert_eq!(consumer.pop(), Ok(Some(packet(2))));
    assert_eq!(consumer.pop(), Ok(Some(packet(3))));
}

/// What happens in a ring.
#[derive(Clone, Debug)]
enum Step {
    Push,
    Pop,
    Rest,
    RestartProducer,
    RestartConsumer,
    /// Somebody writes anything anywhere.
    Scribble(usize, u64),
}

fn honest_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Push),
        4 => Just(Step::Pop),
        2 => Just(Step::Rest),
        1 => Just(Step::RestartProducer),
        1 => Just(Step::RestartConsumer),
    ]
}

fn mad_step() -> impl Strategy<Value = Step> {
    let word = prop_oneof![0..HEADER_WORDS, Just(PRODUCED), Just(CONSUMED), HEADER_WORDS..HEADER_WORDS + 8];
    let value = prop_oneof![0..8u64, any::<u64>(), (u64::MAX - 8)..=u64::MAX];
    prop_oneof![3 => honest_step(), 1 => (word, value).prop_map(|(word, value)| Step::Scribble(word, value))]
}

proptest! {
    #[test]
    fn two_honest_sides_lose_and_repeat_nothing_however_often_they_start_again(
        steps in prop::collection::vec(honest_step(), 0..200),
        slots in 1usize..5,
    ) {
        let words = words(slots);
        let memory = SharedMemory::new(&words);
        let (mut producer, mut consumer) = ends(&words);
        let (mut inside, mut next) = (VecDeque::new(), 0);
        for step in steps {
            match step {
                Step::Push => match producer.push(&packet(next)) {
                    Ok(()) => { inside.push_back(next); next += 1; }
                    Err(error) => { prop_assert_eq!(error, PushError::Full); prop_assert_eq!(inside.len(), slots); }
                },
                Step::Pop => prop_assert_eq!(consumer.pop(), Ok(inside.pop_front().map(packet))),
                Step::Rest => {
                    prop_assert_eq!(consumer.may_wait(), Ok(inside.is_empty()));
                    prop_assert_eq!(producer.may_wait(), Ok(inside.len() == slots));
                }
                Step::RestartProducer => producer = Producer::attach(memory).unwrap(),
                Step::RestartConsumer => consumer = Consumer::attach(memory).unwrap(),
                Step::Scribble(..) => {}
            }
        }
    }

    #[test]
    fn a_mad_peer_makes_errors_and_wrong_values_and_nothing_else(
        steps in prop::collection::vec(mad_step(), 0..200),
        slots in 1usize..5,
    ) {
        let words = words(slots);
        let memory = SharedMemory::new(&words);
        let (mut producer, mut consumer) = ends(&words);
        for step in steps {
            match step {
                Step::Push => { let _ = producer.push(&packet(1)); let _ = producer.must_notify(); }
                Step::Pop => { let _ = consumer.pop(); let _ = consumer.must_notify(); }
                Step::Rest => { let _ = (producer.may_wait(), consumer.may_wait()); }
                Step::RestartProducer => producer = Producer::attach(memory).unwrap(),
                Step::RestartConsumer => if let Ok(new) = Consumer::attach(memory) { consumer = new },
                Step::Scribble(word, value) => if let Some(cell) = words.get(word) { cell.store(value, Ordering::Relaxed) },
            }
            if let Ok(room) = producer.room() { prop_assert!(room <= slots); }
            if let Ok(available) = consumer.available() { prop_assert!(available <= slots); }
        }
    }
}

#[test]
fn tasks_send_and_receive_and_wait_for_each_other() {
    const TO_RECEIVER: u64 = 1;
    const TO_SENDER: u64 = 2;
    let kernel = Loopback::new();
    host::with(kernel.clone(), || {
        let words: &'static [AtomicU64] = Vec::leak(words(2));
        let shared = SharedMemory::new(words);
        // The double knows one notification: both sides are this thread's.
        let notification = Cap::from_handle(Handle::new(9, 1));
        let resources = |peer_bits, bits| RingResources {
            shared,
            memory: Cap::from_handle(Handle::new(8, 1)),
            peer: Peer::new(notification, peer_bits),
            bits,
            client: 0,
            area: 0,
        };
        let mut sender = Sender::attach(resources(TO_RECEIVER, TO_SENDER)).unwrap();
        let mut receiver = Receiver::attach(resources(TO_SENDER, TO_RECEIVER)).unwrap();
        executor::run(async move {
            executor::spawn(async move {
                for number in 0..20 {
                    sender.send(&packet(number)).await.unwrap();
                }
                assert!(sender.send_some(&[packet(20), packet(21), packet(22)]).unwrap() <= 2);
            });
            for number in 0..20 {
                assert_eq!(receiver.receive().await, Ok(packet(number)));
            }
        });
    });
}
