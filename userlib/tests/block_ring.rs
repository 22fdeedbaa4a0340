//! The request ring, with drivers that die and peers that lie.

use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use userlib::abi::Handle;
use userlib::block_ring::{
    BlockRing, ClientCore, Limits, Operation, Request, RequestError, RingError, RingServer, SECTOR_SIZE, Slot, Status,
    Taken, Unavailable,
};
use userlib::cap::Cap;
use userlib::environment::{Peer, RingResources};
use userlib::executor;
use userlib::host::{self, Loopback};
use userlib::memory::SharedMemory;

const PAGES: usize = 2 + 64;
const SECTORS: u64 = 1000;
const LIMITS: Limits = Limits { sectors: SECTORS, request_sectors: 64, read_only: false };

fn memory() -> Vec<AtomicU64> {
    (0..PAGES * 512).map(|_| AtomicU64::new(0)).collect()
}

/// A disk in the host's memory.
struct Disk(Vec<u8>);

impl Disk {
    fn new() -> Self {
        Self(vec![0; SECTORS as usize * SECTOR_SIZE])
    }

    fn carry_out(&mut self, memory: SharedMemory<'_>, request: &Request) -> Status {
        let start = request.sector as usize * SECTOR_SIZE;
        let bytes = &mut self.0[start..start + request.bytes()];
        match request.operation {
            Operation::Read => memory.write(request.buffer_offset(), bytes).unwrap(),
            Operation::Write => memory.read(request.buffer_offset(), bytes).unwrap(),
            Operation::Flush => {}
        }
        Status::Done
    }
}

fn completions(client: &mut ClientCore<'_>) -> Vec<(Slot, Result<(), RequestError>)> {
    let mut all = Vec::new();
    client.collect(|slot, outcome| all.push((slot, outcome.map(|_| ()))));
    all
}

#[test]
fn what_is_written_is_read_back() {
    let memory = memory();
    let shared = SharedMemory::new(&memory);
    let mut client = ClientCore::attach(shared).unwrap();
    let mut driver = RingServer::attach(shared, LIMITS).unwrap();
    let mut disk = Disk::new();
    client.buffer().write(3 * 4096, &[0xa5; 1024]).unwrap();
    for request in [Request::write(10, 2, 3), Request::flush(), Request::read(11, 1, 5)] {
        let slot = client.submit(request).unwrap();
        let taken = driver.take().unwrap();
        assert_eq!(taken, Taken { slot, request });
        assert_eq!(driver.take(), None);
        assert_eq!(completions(&mut client), []);
        driver.complete(slot, disk.carry_out(driver.memory(), &request));
        assert!(driver.take_notification());
        assert_eq!(completions(&mut client), [(slot, Ok(()))]);
    }
    let mut bytes = [0; 513];
    client.buffer().read(5 * 4096, &mut bytes).unwrap();
    assert_eq!(bytes[..512], [0xa5; 512]);
    assert_eq!(bytes[512], 0);
    let statistics = client.statistics();
    assert_eq!((statistics.submitted, statistics.completed, statistics.generations), (3, 3, 1));
}

#[test]
fn overlapping_requests_are_held_back_unless_both_read() {
    let memory = memory();
    let shared = SharedMemory::new(&memory);
    let mut client = ClientCore::attach(shared).unwrap();
    let mut driver = RingServer::attach(shared, LIMITS).unwrap();
    let write = client.submit(Request::write(10, 4, 0)).unwrap();
    assert_eq!(client.submit(Request::read(13, 4, 1)), Err(Unavailable::Later));
    assert_eq!(client.submit(Request::write(8, 3, 1)), Err(Unavailable::Later));
    client.submit(Request::read(14, 4, 1)).unwrap();
    client.submit(Request::read(15, 4, 2)).unwrap();
    driver.take().unwrap();
    driver.complete(write, Status::Done);
    completions(&mut client);
    client.submit(Request::read(13, 1, 3)).unwrap();
}

#[test]
fn a_driver_refuses_what_a_client_should_not_have_submitted() {
    let memory = memory();
    let shared = SharedMemory::new(&memory);
    let mut driver = RingServer::attach(shared, LIMITS).unwrap();
    let put = |slot: usize, operation: u64, sector: u64, count: u64, page: u64| {
        shared.store(4096 + 32 * slot, count << 32 | operation, Ordering::Relaxed).unwrap();
        shared.store(4096 + 32 * slot + 8, sector, Ordering::Relaxed).unwrap();
        shared.store(4096 + 32 * slot + 16, page, Ordering::Relaxed).unwrap();
        shared.word(128).unwrap().fetch_or(1 << slot, Ordering::Release);
    };
    put(0, 1, 100, 8, 0);
    assert!(driver.take().is_some());
    for (slot, operation, sector, count, page) in [
        (1, 9, 0, 8, 0),
        (2, 1, 0, 0, 0),
        (3, 1, 0, 65, 0),
        (4, 1, 0, 8, 64),
        (5, 1, 0, 16, 63),
        (6, 1, u64::MAX, 8, 0),
        (7, 2, 107, 1, 0),
        // More sectors behind a page's begin than a page has; data that reaches behind the last page by that; a window.
        (8, 1, 0, 8, 8 << 32),
        (12, 1, 0, 8, 1 << 32 | 63),
        (13, 1, 0, 8, 1 << 48),
        (9, 3, 0, 1, 0),
    ] {
        put(slot, operation, sector, count, page);
        assert_eq!(driver.take(), None, "slot {slot}");
        let status = shared.load(4096 + 32 * slot + 24, Ordering::Relaxed).unwrap();
        assert_eq!(status, Status::Refused as u64, "slot {slot}");
    }
    put(10, 1, SECTORS - 1, 2, 0);
    assert_eq!(driver.take(), None);
    assert_eq!(shared.load(4096 + 320 + 24, Ordering::Relaxed), Ok(Status::OutOfRange as u64));
    driver.set_limits(Limits { read_only: true, ..LIMITS });
    put(11, 2, 0, 1, 0);
    assert_eq!(driver.take(), None);
    assert_eq!(shared.load(4096 + 352 + 24, Ordering::Relaxed), Ok(Status::ReadOnly as u64));
    assert_eq!(driver.in_flight(), 1);
}

#[test]
fn a_new_driver_repeats_what_its_predecessor_left_and_counts_it() {
    let memory = memory();
    let shared = SharedMemory::new(&memory);
    let mut client = ClientCore::attach(shared).unwrap();
    let mut first = RingServer::attach(shared, LIMITS).unwrap();
    let requests = [Request::read(0, 1, 0), Request::write(5, 1, 1), Request::read(9, 1, 2)];
    let slots: Vec<Slot> = requests.iter().map(|request| client.submit(*request).unwrap()).collect();
    first.take().unwrap();
    first.take().unwrap();
    // It dies having taken two of three.
    let mut second = RingServer::attach(shared, LIMITS).unwrap();
    assert!(second.take_notification());
    let taken: Vec<Taken> = std::iter::from_fn(|| second.take()).collect();
    assert_eq!(taken.iter().map(|taken| taken.request).collect::<Vec<_>>(), requests);
    for taken in taken {
        second.complete(taken.slot, Status::Done);
    }
    let done: Vec<Slot> = completions(&mut client).iter().map(|(slot, _)| *slot).collect();
    assert_eq!(done, slots);
    let statistics = client.statistics();
    assert_eq!((statistics.repeated, statistics.restarts_in_flight, statistics.generations), (2, 1, 2));
    // One that dies idle repeats nothing.
    RingServer::attach(shared, LIMITS).unwrap();
    let statistics = client.statistics();
    assert_eq!((statistics.restarts_in_flight, statistics.generations), (1, 3));
}

#[test]
fn a_completion_that_was_half_done_is_finished_and_not_repeated() {
    let memory = memory();
    let shared = SharedMemory::new(&memory);
    let mut client = ClientCore::attach(shared).unwrap();
    let mut first = RingServer::attach(shared, LIMITS).unwrap();
    let slot = client.submit(Request::write(1, 1, 0)).unwrap();
    first.take().unwrap();
    first.complete(slot, Status::DeviceError);
    // As if it had died just before it cleared the bit.
    shared.word(128).unwrap().fetch_or(1 << slot.index(), Ordering::Relaxed);
    assert_eq!(completions(&mut client), []);
    let mut second = RingServer::attach(shared, LIMITS).unwrap();
    assert_eq!(second.take(), None);
    assert_eq!(completions(&mut client), [(slot, Err(RequestError::DeviceError))]);
}

#[test]
fn a_new_client_submits_nothing_until_its_predecessors_requests_are_complete() {
    let memory = memory();
    let shared = SharedMemory::new(&memory);
    let mut driver = RingServer::attach(shared, LIMITS).unwrap();
    let mut first = ClientCore::attach(shared).unwrap();
    let old = first.submit(Request::write(1, 1, 0)).unwrap();
    let mut second = ClientCore::attach(shared).unwrap();
    assert_eq!(second.submit(Request::read(500, 1, 9)), Err(Unavailable::Later));
    driver.take().unwrap();
    driver.complete(old, Status::Done);
    assert_eq!(completions(&mut second), [], "nobody waits for it");
    assert_eq!(second.in_flight(), 0);
    second.submit(Request::read(500, 1, 9)).unwrap();
}

#[test]
fn all_slots_can_be_in_flight_and_no_more() {
    let memory = memory();
    let shared = SharedMemory::new(&memory);
    let mut client = ClientCore::attach(shared).unwrap();
    let mut driver = RingServer::attach(shared, LIMITS).unwrap();
    for sector in 0..128 {
        client.submit(Request::write(sector, 1, 0)).unwrap();
    }
    assert_eq!(client.submit(Request::write(500, 1, 0)), Err(Unavailable::Later));
    assert_eq!(std::iter::from_fn(|| driver.take()).count(), 128);
}

#[test]
fn a_driver_that_drops_requests_or_lies_about_them_makes_them_fail() {
    let memory = memory();
    let shared = SharedMemory::new(&memory);
    let mut client = ClientCore::attach(shared).unwrap();
    let dropped = client.submit(Request::read(0, 1, 0)).unwrap();
    let lied = client.submit(Request::read(1, 1, 1)).unwrap();
    shared.word(128).unwrap().fetch_and(!0b11, Ordering::Relaxed);
    shared.word(192).unwrap().fetch_or(0b10, Ordering::Relaxed);
    shared.store(4096 + 32 + 24, 77, Ordering::Relaxed).unwrap();
    assert_eq!(
        completions(&mut client),
        [(dropped, Err(RequestError::Misbehaved)), (lied, Err(RequestError::Misbehaved))]
    );
}

#[test]
fn rings_without_room_or_of_another_layout_are_refused() {
    let short: Vec<AtomicU64> = (0..2 * 512).map(|_| AtomicU64::new(0)).collect();
    assert_eq!(ClientCore::attach(SharedMemory::new(&short)).unwrap_err(), RingError::TooShort);
    let memory = memory();
    let shared = SharedMemory::new(&memory);
    ClientCore::attach(shared).unwrap();
    shared.store(8, 99, Ordering::Relaxed).unwrap();
    assert_eq!(RingServer::attach(shared, LIMITS).unwrap_err(), RingError::OtherLayout);
}

#[test]
fn a_driver_that_attaches_while_the_client_does_finds_the_ring_empty_or_in_order() {
    let memory = memory();
    let shared = SharedMemory::new(&memory);
    // As far as a client can have come before it says that the layout is there.
    shared.store(8, 128 << 32 | 1, Ordering::Relaxed).unwrap();
    RingServer::attach(shared, LIMITS).unwrap();
    for _ in 0..200 {
        shared.store(0, 0, Ordering::Relaxed).unwrap();
        shared.store(8, 0, Ordering::Relaxed).unwrap();
        std::thread::scope(|scope| {
            let driver = scope.spawn(|| (0..50).try_for_each(|_| RingServer::attach(shared, LIMITS).map(drop)));
            ClientCore::attach(shared).unwrap();
            assert_eq!(driver.join().unwrap(), Ok(()));
        });
    }
}

/// Ends a thread's loop when it goes, by a panic as well: a test that fails does not hang.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Client and driver in two threads. The driver is killed at arbitrary moments, between any two of its steps; the disk
/// must hold exactly what the client's requests have left there, in the client's order.
#[test]
fn no_write_is_lost_or_undone_however_often_the_driver_dies() {
    let memory = memory();
    let stop = AtomicBool::new(false);
    let disk = std::thread::scope(|scope| {
        let driver = scope.spawn(|| {
            let _gone = StopOnDrop(&stop);
            let mut disk = Disk::new();
            let mut random: u64 = 1;
            let mut next = move || {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                random >> 33
            };
            while !stop.load(Ordering::Acquire) {
                let shared = SharedMemory::new(&memory);
                let mut ring = RingServer::attach(shared, LIMITS).unwrap();
                let mut taken = Vec::new();
                // This instance's life: some steps, in an order of the disk's own.
                for _ in 0..next() % 40 {
                    taken.extend(ring.take());
                    if next() % 3 > 0 && !taken.is_empty() {
                        let one: Taken = taken.swap_remove(next() as usize % taken.len());
                        let status = disk.carry_out(shared, &one.request);
                        if next() % 10 == 0 {
                            // Carried out, but it dies before it can say so.
                            break;
                        }
                        ring.complete(one.slot, status);
                    }
                }
            }
            disk
        });
        let _gone = StopOnDrop(&stop);
        let shared = SharedMemory::new(&memory);
        let mut client = ClientCore::attach(shared).unwrap();
        let mut random: u64 = 99;
        let mut next = move || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            random >> 33
        };
        let mut expected: HashMap<u64, u8> = HashMap::new();
        let mut pages: Vec<u32> = (0..64).collect();
        let mut in_flight: HashMap<Slot, (Request, u8)> = HashMap::new();
        let mut to_do = 4_000;
        while to_do > 0 || !in_flight.is_empty() {
            assert!(!driver.is_finished(), "the driver's thread has panicked");
            if to_do > 0
                && let Some(page) = pages.pop()
            {
                let sector = next() % 40;
                let value = next() as u8;
                let request =
                    if next() % 2 == 0 { Request::write(sector, 1, page) } else { Request::read(sector, 1, page) };
                let fill = if request.operation == Operation::Write { value } else { 0xee };
                client.buffer().write(page as usize * 4096, &[fill; 512]).unwrap();
                match client.submit(request) {
                    Ok(slot) => {
                        to_do -= 1;
                        let content = if request.operation == Operation::Write {
                            expected.insert(sector, value);
                            value
                        } else {
                            expected.get(&sector).copied().unwrap_or(0)
                        };
                        in_flight.insert(slot, (request, content));
                    }
                    Err(error) => {
                        assert_eq!(error, Unavailable::Later);
                        pages.push(page);
                        std::thread::yield_now();
                    }
                }
            }
            for (slot, outcome) in completions(&mut client) {
                assert_eq!(outcome, Ok(()));
                let (request, content) = in_flight.remove(&slot).unwrap();
                let mut bytes = [0; 512];
                client.buffer().read(request.page as usize * 4096, &mut bytes).unwrap();
                assert_eq!(bytes, [content; 512], "{request:?}");
                pages.push(request.page);
            }
        }
        assert!(client.statistics().restarts_in_flight > 20);
        stop.store(true, Ordering::Release);
        let disk = driver.join().unwrap();
        for (sector, value) in &expected {
            assert_eq!(disk.0[*sector as usize * 512], *value, "sector {sector}");
        }
        disk
    });
    assert_eq!(disk.0.len(), SECTORS as usize * 512);
}

/// What a peer that has gone mad writes.
#[derive(Clone, Debug)]
enum Garbage {
    Word(usize, u64),
    Flip(usize, u32),
    Step,
}

fn garbage() -> impl Strategy<Value = Garbage> {
    // Words of the header, and of the first slots, are where garbage can do most.
    let offset = prop_oneof![0..40_usize, 512..540_usize, 0..PAGES * 512];
    prop_oneof![
        3 => (offset, prop_oneof![any::<u64>(), 0..200_u64, Just(u64::MAX)]).prop_map(|(o, w)| Garbage::Word(o, w)),
        3 => (prop_oneof![16..18_usize, 24..26_usize, 32..34_usize], 0..64_u32).prop_map(|(o, b)| Garbage::Flip(o, b)),
        6 => Just(Garbage::Step),
    ]
}

fn write_garbage(memory: &[AtomicU64], garbage: &Garbage) {
    match garbage {
        Garbage::Word(offset, word) => memory[*offset].store(*word, Ordering::Relaxed),
        Garbage::Flip(offset, bit) => {
            memory[*offset].fetch_xor(1 << bit, Ordering::Relaxed);
        }
        Garbage::Step => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_mad_client_makes_a_driver_do_nothing_outside_of_its_limits(steps in proptest::collection::vec(garbage(), 1..200)) {
        let memory = memory();
        let shared = SharedMemory::new(&memory);
        let mut driver = RingServer::attach(shared, LIMITS).unwrap();
        let mut taken: Vec<Taken> = Vec::new();
        for step in &steps {
            write_garbage(&memory, step);
            if let Garbage::Step = step {
                if let Some(one) = driver.take() {
                    let request = one.request;
                    prop_assert!(request.sector + u64::from(request.count) <= SECTORS);
                    prop_assert!(request.buffer_offset() + request.bytes() <= PAGES * 4096);
                    prop_assert!(taken.iter().all(|other| !other.request.conflicts_with(&request)));
                    prop_assert!(taken.iter().all(|other| other.slot != one.slot));
                    taken.push(one);
                } else if let Some(one) = taken.pop() {
                    driver.complete(one.slot, Status::Done);
                    driver.complete(one.slot, Status::Done);
                }
                prop_assert_eq!(driver.in_flight(), taken.len());
            }
        }
    }

    #[test]
    fn a_mad_driver_makes_requests_fail_and_nothing_else(steps in proptest::collection::vec(garbage(), 1..200)) {
        let memory = memory();
        let shared = SharedMemory::new(&memory);
        let mut client = ClientCore::attach(shared).unwrap();
        let mut in_flight: Vec<Slot> = Vec::new();
        let mut sector = 0;
        for step in &steps {
            write_garbage(&memory, step);
            if let Garbage::Step = step {
                sector += 1;
                if let Ok(slot) = client.submit(Request::write(sector, 1, 0)) {
                    prop_assert!(!in_flight.contains(&slot));
                    in_flight.push(slot);
                }
                for (slot, _) in completions(&mut client) {
                    prop_assert!(in_flight.contains(&slot), "completed twice or never submitted");
                    in_flight.retain(|other| *other != slot);
                }
                prop_assert_eq!(client.in_flight(), in_flight.len());
            }
        }
    }
}

#[test]
fn a_completion_of_which_nobody_was_told_is_found() {
    let memory: &'static [AtomicU64] = memory().leak();
    let shared = SharedMemory::new(memory);
    host::with(Loopback::new(), || {
        let resources = RingResources {
            shared,
            memory: Cap::from_handle(Handle::NONE),
            peer: Peer::new(Cap::from_handle(Handle::NONE), 1),
            bits: 2,
            client: 0,
            area: 0,
        };
        let ring = Rc::new(BlockRing::attach(resources).unwrap());
        let (collector, watcher, reader) = (ring.clone(), ring.clone(), ring.clone());
        executor::spawn(async move { collector.run().await });
        executor::spawn(async move { watcher.watch().await });
        let outcome = Rc::new(RefCell::new(None));
        let told = outcome.clone();
        executor::spawn(async move { *told.borrow_mut() = Some(reader.read(10, 4, 0).await) });
        executor::run(async {
            executor::sleep(Duration::from_millis(1)).await;
            let mut server = RingServer::attach(shared, LIMITS).unwrap();
            let taken = server.take().expect("it was submitted");
            server.complete(taken.slot, Status::Done);
            // The notification is lost.
            executor::sleep(Duration::from_millis(1)).await;
            assert_eq!(*outcome.borrow(), None);
            executor::sleep(Duration::from_secs(1)).await;
        });
        assert_eq!(*outcome.borrow(), Some(Ok(())));
    });
}

#[test]
fn futures_of_overlapping_requests_are_carried_out_in_order_across_a_death() {
    let memory: &'static [AtomicU64] = memory().leak();
    let shared = SharedMemory::new(memory);
    let kernel = Loopback::new();
    host::with(kernel.clone(), || {
        let resources = RingResources {
            shared,
            memory: Cap::from_handle(Handle::NONE),
            peer: Peer::new(Cap::from_handle(Handle::NONE), 1),
            bits: 2,
            client: 0,
            area: 0,
        };
        let ring = Rc::new(BlockRing::attach(resources).unwrap());
        let order = Rc::new(RefCell::new(Vec::new()));
        let collector = ring.clone();
        executor::spawn(async move { collector.run().await });
        for (number, request) in [
            Request::write(10, 4, 0),
            Request::write(12, 4, 1),
            Request::read(12, 1, 2),
            Request::read(100, 1, 3),
            Request::read(0, 0, 0),
        ]
        .into_iter()
        .enumerate()
        {
            let (ring, order) = (ring.clone(), order.clone());
            executor::spawn(async move {
                let outcome = ring.submit(request).await;
                order.borrow_mut().push((number, outcome));
            });
        }
        executor::run(async {
            executor::sleep(Duration::from_millis(1)).await;
            // The request that makes no sense has failed at once, and two of the others wait for their turn.
            assert_eq!(*order.borrow(), [(4, Err(RequestError::Refused))]);
            assert_eq!(ring.in_flight(), 2);
            let mut first = RingServer::attach(shared, LIMITS).unwrap();
            first.take().unwrap();
            let mut second = RingServer::attach(shared, LIMITS).unwrap();
            for _ in 0..10 {
                while let Some(taken) = second.take() {
                    second.complete(taken.slot, Status::Done);
                }
                kernel.post(2);
                executor::sleep(Duration::from_millis(1)).await;
            }
        });
        let order: Vec<usize> = order.borrow().iter().map(|(number, _)| *number).collect();
        assert_eq!(order.len(), 5);
        let position = |number: usize| order.iter().position(|n| *n == number).unwrap();
        assert!(position(0) < position(1) && position(1) < position(2));
        assert_eq!(ring.statistics().repeated, 1);
    });
}
