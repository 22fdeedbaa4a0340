//! Direct reading, between a client's ring and the disk's, with a driver that the test plays.

use fat::direct::Direct;
use fat::{FileLayout, SECTOR_SIZE};
use interfaces::file_ring::{BUFFER_OFFSET, Completion, PAGE, Parts, ReadError, Request};
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use userlib::block_ring::{BlockRing, Limits, RingServer, Status, Taken};
use userlib::cap::Cap;
use userlib::environment::{Peer, RingResources};
use userlib::executor;
use userlib::host::{self, Loopback};
use userlib::memory::SharedMemory;
use userlib::ring::{Consumer, Producer};
use userlib::session::ClientId;
use userlib::time::Duration;

/// Bits of the server's notification: from the disk's driver, from the client. Each instance of the server has its own, since
/// those that are dead live on in these tests.
const DISK: u64 = 0b11 << 10;
const CLIENT: u64 = 0b11 << 20;
const AREA: u16 = 1;
const PAGES: usize = 16;
const LIMITS: Limits = Limits { sectors: 4096, request_sectors: 64, read_only: false };
/// The id of the one file.
const FILE: u64 = 77;

fn memory(pages: usize) -> SharedMemory<'static> {
    SharedMemory::new(Vec::leak((0..pages * PAGE / 8).map(|_| AtomicU64::new(0)).collect()))
}

fn ring(shared: SharedMemory<'static>, bits: u64, area: u16) -> RingResources {
    let none = userlib::abi::Handle::NONE;
    let peer = Peer::new(Cap::from_handle(none), 1);
    RingResources { shared, memory: Cap::from_handle(none), peer, bits, client: 5, area }
}

/// What lies in a sector of the disk.
fn contents(sector: u64) -> Vec<u8> {
    (0..SECTOR_SIZE).map(|byte| (sector * 31 + byte as u64) as u8).collect()
}

/// Disk, server, client.
struct Rig {
    kernel: Rc<Loopback>,
    disk: SharedMemory<'static>,
    client: SharedMemory<'static>,
}

/// The client's side of its ring.
struct Client {
    requests: Producer<Request, SharedMemory<'static>>,
    completions: Consumer<Completion, SharedMemory<'static>>,
}

impl Rig {
    fn new() -> Self {
        Self { kernel: Loopback::new(), disk: memory(6), client: memory(2 + PAGES) }
    }

    /// An instance of the file server.
    fn server(&self, instance: u32) -> (Rc<BlockRing>, Rc<Direct>) {
        let disk = Rc::new(BlockRing::attach(ring(self.disk, 1 << (9 + instance), 0)).expect("a ring"));
        let rings = [ring(self.client, 1 << (19 + instance), AREA)].into_iter();
        let direct = Rc::new(Direct::new(disk.clone(), LIMITS.request_sectors, instance, rings));
        disk.set_sender(direct.clone());
        let (collector, reader) = (disk.clone(), direct.clone());
        executor::spawn(async move { collector.run().await });
        executor::spawn(async move { reader.run().await });
        (disk, direct)
    }

    fn driver(&self) -> RingServer<'static> {
        let mut driver = RingServer::attach(self.disk, LIMITS).expect("a ring");
        driver.lend(AREA, 2 + PAGES);
        driver
    }

    fn attach(&self) -> Client {
        let parts = Parts::of(self.client).expect("long enough");
        Client {
            requests: Producer::attach(parts.requests).expect("a queue"),
            completions: Consumer::attach(parts.completions).expect("a queue"),
        }
    }

    /// What the device does for a request.
    fn execute(&self, taken: &Taken) {
        assert_eq!(taken.request.area, AREA, "nothing goes through the disk's own ring");
        for number in 0..u64::from(taken.request.count) {
            let place = taken.request.buffer_offset() + number as usize * SECTOR_SIZE;
            assert!(place >= BUFFER_OFFSET, "the queues are not written to");
            self.client.write(place, &contents(taken.request.sector + number)).expect("inside of the client's ring");
        }
    }

    fn work(&self, driver: &mut RingServer<'static>) -> usize {
        let mut done = 0;
        while let Some(taken) = driver.take() {
            self.execute(&taken);
            driver.complete(taken.slot, Status::Done);
            done += 1;
        }
        done
    }

    /// Lets everybody work until nothing is left to do.
    async fn settle(&self, driver: &mut RingServer<'static>) {
        for _ in 0..6 {
            self.kernel.post(CLIENT);
            executor::sleep(Duration::from_millis(2)).await;
            self.work(driver);
            self.kernel.post(DISK);
            executor::sleep(Duration::from_millis(2)).await;
        }
    }

    fn data(&self, page: usize, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.client.read(BUFFER_OFFSET + page * PAGE, &mut bytes).expect("inside");
        bytes
    }
}

impl Client {
    fn ask(&mut self, number: u64, offset: u64, length: usize, page: u32) {
        let request = Request { number, file: FILE, offset, length: length as u32, page };
        self.requests.push(&request).expect("there is room");
    }

    fn answers(&mut self) -> Vec<(u64, Result<usize, ReadError>)> {
        let next = || self.completions.pop().expect("whole");
        let mut answers: Vec<_> =
            std::iter::from_fn(next).map(|completion| (completion.number, completion.bytes())).collect();
        answers.sort_by_key(|(number, _)| *number);
        answers
    }
}

/// A file of 40 sectors and a half in three pieces.
fn layout() -> Rc<FileLayout> {
    Rc::new(FileLayout::new([(1000, 9), (500, 3), (2000, 40)].into_iter(), 40 * 512 + 256))
}

/// Its sectors, where the disk has them.
fn sectors(from: u64, count: u64) -> Vec<u8> {
    let place = |sector: u64| match sector {
        0..9 => 1000 + sector,
        9..12 => 500 + sector - 9,
        _ => 2000 + sector - 12,
    };
    (from..from + count).flat_map(|sector| contents(place(sector))).collect()
}

fn me() -> ClientId {
    ClientId::new(5, 3)
}

fn with_rig(test: impl AsyncFnOnce(Rig)) {
    let rig = Rig::new();
    host::with(rig.kernel.clone(), || executor::run(test(rig)));
}

#[test]
fn what_is_asked_for_arrives_where_it_is_wanted_wherever_the_file_lies() {
    with_rig(async |rig: Rig| {
        let (_, direct) = rig.server(1);
        let mut driver = rig.driver();
        direct.join(me()).await.expect("it has a ring");
        direct.offer(me(), FILE, layout());
        let mut client = rig.attach();
        client.ask(1, 0, 4096, 0);
        client.ask(2, 7 * 512, 16 * 512, 1);
        client.ask(3, 38 * 512, 4096, 5);
        client.ask(4, 41 * 512, 512, 6);
        client.ask(5, 0, 0, 0);
        rig.settle(&mut driver).await;
        let all = [(1, Ok(4096)), (2, Ok(16 * 512)), (3, Ok(1024)), (4, Ok(0)), (5, Ok(0))];
        assert_eq!(client.answers(), all);
        assert!(rig.data(0, 4096) == sectors(0, 8));
        assert!(rig.data(1, 16 * 512) == sectors(7, 16));
        assert!(rig.data(5, 1024) == sectors(38, 2), "only whole sectors of the file itself");
        assert_eq!(rig.data(5, 1536)[1024..], [0; 512]);
    });
}

#[test]
fn what_makes_no_sense_is_refused_and_harms_nobody() {
    with_rig(async |rig: Rig| {
        let (_, direct) = rig.server(1);
        let mut driver = rig.driver();
        direct.join(me()).await.expect("it has a ring");
        direct.offer(me(), FILE, layout());
        direct.offer(ClientId::new(5, 2), 78, layout());
        let mut client = rig.attach();
        client.ask(1, 1, 512, 0);
        client.ask(2, 0, 513, 0);
        client.ask(3, 0, 4096, PAGES as u32);
        client.ask(4, 0, 8192, PAGES as u32 - 1);
        client.ask(5, 0, 512, u32::MAX);
        client.ask(6, u64::MAX - 511, 512, 0);
        client.requests.push(&Request { number: 7, file: 78, offset: 0, length: 512, page: 0 }).expect("room");
        client.ask(8, 0, 512, 0);
        rig.settle(&mut driver).await;
        let outside = Err(ReadError::OutsideOfBuffer);
        let unaligned = Err(ReadError::Unaligned);
        let expected = [
            (1, unaligned),
            (2, unaligned),
            (3, outside),
            (4, outside),
            (5, outside),
            (6, Ok(0)),
            (7, Err(ReadError::UnknownFile)),
            (8, Ok(512)),
        ];
        assert_eq!(client.answers(), expected);
    });
}

#[test]
fn more_than_the_disk_takes_at_once_is_read_bit_by_bit() {
    with_rig(async |rig: Rig| {
        let (_, direct) = rig.server(1);
        let mut driver = rig.driver();
        direct.join(me()).await.expect("it has a ring");
        direct.offer(me(), FILE, Rc::new(FileLayout::new((0..2000).map(|sector| (sector * 2, 1)), 2000 * 512)));
        let mut client = rig.attach();
        // Each sector is a request of its own to the disk: 16 times 8 are more than may be under way.
        for page in 0..PAGES as u32 {
            client.ask(page.into(), u64::from(page) * 4096, 4096, page);
        }
        rig.kernel.post(CLIENT);
        executor::sleep(Duration::from_millis(2)).await;
        let first = rig.work(&mut driver);
        assert!((50..PAGES * 8).contains(&first), "{first}");
        rig.kernel.post(DISK);
        rig.settle(&mut driver).await;
        assert_eq!(client.answers().len(), PAGES);
        for page in 0..PAGES {
            let expected: Vec<u8> = (0..8).flat_map(|sector| contents((page * 8 + sector) as u64 * 2)).collect();
            assert!(rig.data(page, 4096) == expected, "page {page}");
        }
    });
}

#[test]
fn a_driver_that_dies_with_requests_in_flight_is_not_noticed() {
    with_rig(async |rig: Rig| {
        let (_, direct) = rig.server(1);
        let mut driver = rig.driver();
        direct.join(me()).await.expect("it has a ring");
        direct.offer(me(), FILE, layout());
        let mut client = rig.attach();
        for page in 0..8u32 {
            client.ask(page.into(), u64::from(page) * 2048, 2048, page);
        }
        rig.kernel.post(CLIENT);
        executor::sleep(Duration::from_millis(2)).await;
        // It has carried some out, and told of one, when it dies.
        let taken: Vec<_> = (0..5).map(|_| driver.take().expect("there are more")).collect();
        taken[..3].iter().for_each(|taken| rig.execute(taken));
        driver.complete(taken[1].slot, Status::Done);
        let mut next = rig.driver();
        assert_eq!(next.statistics().repeated, 4);
        rig.kernel.post(DISK);
        rig.settle(&mut next).await;
        assert_eq!(client.answers(), (0..8).map(|number| (number, Ok(2048))).collect::<Vec<_>>());
        for page in 0..8 {
            assert!(rig.data(page, 2048) == sectors(page as u64 * 4, 4), "page {page}");
        }
    });
}

#[test]
fn a_server_that_dies_is_noticed_only_when_the_disk_is_done_with_what_it_asked_for() {
    with_rig(async |rig: Rig| {
        let parts = Parts::of(rig.client).expect("long enough");
        let mark = || rig.client.load(0, std::sync::atomic::Ordering::Acquire).expect("inside");
        let (first, direct) = rig.server(1);
        let mut driver = rig.driver();
        direct.join(me()).await.expect("it has a ring");
        assert_eq!(mark(), 2);
        direct.offer(me(), FILE, layout());
        let mut client = rig.attach();
        client.ask(1, 0, 4096, 0);
        rig.kernel.post(CLIENT);
        executor::sleep(Duration::from_millis(2)).await;
        assert_eq!(first.in_flight(), 1);
        // The dead one's tasks go on in this test, but have nothing to do any more.
        let (_, next) = rig.server(2);
        executor::sleep(Duration::from_millis(20)).await;
        assert_eq!(mark(), 2, "the disk still writes to the client's memory");
        rig.work(&mut driver);
        for _ in 0..3 {
            rig.kernel.post(DISK);
            executor::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(mark(), 0);
        next.join(me()).await.expect("it has a ring");
        assert_eq!(mark(), 3);
        assert_eq!(
            parts.requests.load(64, std::sync::atomic::Ordering::Relaxed),
            Ok(0),
            "what the dead one had taken is gone"
        );
    });
}

#[test]
fn nothing_is_read_of_a_file_that_is_closed() {
    with_rig(async |rig: Rig| {
        let (_, direct) = rig.server(1);
        let mut driver = rig.driver();
        direct.join(me()).await.expect("it has a ring");
        let layout = layout();
        direct.offer(me(), FILE, layout.clone());
        let mut client = rig.attach();
        client.ask(1, 0, 512, 0);
        rig.kernel.post(CLIENT);
        executor::sleep(Duration::from_millis(2)).await;
        let closing = {
            let (direct, layout) = (direct.clone(), layout.clone());
            let done = Rc::new(std::cell::Cell::new(false));
            let told = done.clone();
            executor::spawn(async move {
                direct.forget(&layout).await;
                told.set(true);
            });
            done
        };
        executor::sleep(Duration::from_millis(5)).await;
        assert!(!closing.get(), "a request for it is under way");
        client.ask(2, 0, 512, 0);
        rig.settle(&mut driver).await;
        assert!(closing.get());
        assert_eq!(client.answers(), [(1, Ok(512)), (2, Err(ReadError::UnknownFile))]);
    });
}

#[test]
fn only_the_living_client_of_a_ring_joins_it() {
    with_rig(async |rig: Rig| {
        let (_, direct) = rig.server(1);
        assert!(direct.join(ClientId::new(6, 0)).await.is_err(), "it has no ring");
        direct.join(me()).await.expect("it has a ring");
        direct.offer(me(), FILE, layout());
        // The next life of the client knows nothing of the files of the former one.
        direct.join(ClientId::new(5, 4)).await.expect("it has a ring");
        let mut driver = rig.driver();
        let mut client = rig.attach();
        client.ask(1, 0, 512, 0);
        rig.settle(&mut driver).await;
        assert_eq!(client.answers(), [(1, Err(ReadError::UnknownFile))]);
    });
}
