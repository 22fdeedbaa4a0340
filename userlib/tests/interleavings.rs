//! Every order in which the two sides of a ring can meet, explored by loom. Built with `--cfg loom`.
#![cfg(loom)]

use loom::sync::atomic::{AtomicU64, Ordering, fence};
use loom::sync::{Arc, Notify};
use loom::thread;
use userlib::ring::{Cells, Consumer, HEADER_WORDS, Producer, PushError};

/// The ring's memory, in which every access is a place where the other side may come in between. Words that nobody uses are
/// left out: loom counts each.
struct Memory {
    cells: Vec<(usize, AtomicU64)>,
    count: usize,
}

/// The words of the header that are used.
const USED: [usize; 5] = [0, 8, 9, 16, 17];

fn memory(slots: usize) -> Shared {
    let count = HEADER_WORDS + 2 * slots;
    let cells = USED.into_iter().chain(HEADER_WORDS..count).map(|word| (word, AtomicU64::new(0))).collect();
    Shared { memory: Arc::new(Memory { cells, count }), fenced: true }
}

#[derive(Clone)]
struct Shared {
    memory: Arc<Memory>,
    fenced: bool,
}

impl Shared {
    fn cell(&self, word: usize) -> &AtomicU64 {
        &self.memory.cells.iter().find(|(at, _)| *at == word).expect("a word of the ring").1
    }
}

impl Cells for Shared {
    fn count(&self) -> usize {
        self.memory.count
    }

    fn load(&self, word: usize, ordering: Ordering) -> u64 {
        self.cell(word).load(ordering)
    }

    fn store(&self, word: usize, value: u64, ordering: Ordering) {
        self.cell(word).store(value, ordering);
    }

    fn fence(&self) {
        if self.fenced {
            fence(Ordering::SeqCst);
        }
    }
}

/// A value of two words, whose halves must never come from different values.
type Pair = [u64; 2];

const fn pair(number: u64) -> Pair {
    [number, !number]
}

/// Both sides put and take `count` values, each waiting for the other where it has to. A notification that is lost ends in
/// a deadlock, which loom tells.
fn exchange(shared: Shared, count: u64) {
    let (values, room) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut producer = Producer::<Pair, _>::attach(shared.clone()).unwrap();
    let mut consumer = Consumer::<Pair, _>::attach(shared).unwrap();
    let other = {
        let (values, room) = (values.clone(), room.clone());
        thread::spawn(move || {
            for number in 1..=count {
                loop {
                    match producer.push(&pair(number)) {
                        Ok(()) => break,
                        Err(PushError::Full) => {
                            if producer.may_wait().expect("an honest consumer") {
                                room.wait();
                            }
                        }
                        Err(PushError::Broken) => panic!("an honest consumer"),
                    }
                }
                if producer.must_notify() {
                    values.notify();
                }
            }
        })
    };
    for number in 1..=count {
        loop {
            if let Some(value) = consumer.pop().expect("an honest producer") {
                assert_eq!(value, pair(number), "a value was read before it was written");
                break;
            }
            if consumer.may_wait().expect("an honest producer") {
                values.wait();
            }
        }
        if consumer.must_notify() {
            room.notify();
        }
    }
    other.join().expect("it comes to an end");
}

/// Explores the orders with few changes of turn, in which most mistakes show: all of them would take minutes.
fn explore(body: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(body);
}

#[test]
fn no_value_is_read_before_it_is_written_and_no_wake_up_is_lost() {
    loom::model(|| exchange(memory(2), 2));
}

#[test]
fn a_producer_that_waits_for_room_is_woken_and_writes_over_nothing() {
    explore(|| exchange(memory(1), 2));
}

#[test]
fn a_full_ring_and_an_empty_one_take_turns() {
    explore(|| exchange(memory(1), 3));
}

/// The producer puts one value in while the consumer finds none and goes to sleep: one of them notices the other.
fn meet(shared: Shared) {
    let mut producer = Producer::<Pair, _>::attach(shared.clone()).unwrap();
    let mut consumer = Consumer::<Pair, _>::attach(shared).unwrap();
    let other = thread::spawn(move || {
        producer.push(&pair(1)).expect("there is room");
        producer.must_notify()
    });
    let sleeps = consumer.may_wait().expect("an honest producer");
    let is_woken = other.join().expect("it comes to an end");
    assert!(is_woken || !sleeps, "a wake-up is lost");
}

#[test]
fn whoever_goes_to_sleep_is_woken_by_what_comes_meanwhile() {
    loom::model(|| meet(memory(1)));
}

#[test]
#[should_panic(expected = "a wake-up is lost")]
fn without_the_fence_a_wake_up_would_be_lost() {
    loom::model(|| meet(Shared { fenced: false, ..memory(1) }));
}
