//! Direct reading: what the server lets clients read, with a driver that the test plays.

use fat::direct::{Direct, tell_of_death};
use fat::{FileLayout, SECTOR_SIZE};
use interfaces::file_ring::{Client, Completion, Gone, PAGE, ReadError, Request, SubmitError};
use interfaces::filesystem::FsError;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use userlib::block_ring::{BUFFER_OFFSET, BlockRing, Limits, RingServer, Status, Taken, Window};
use userlib::cap::Cap;
use userlib::environment::{Peer, RingResources};
use userlib::executor;
use userlib::host::{self, Loopback};
use userlib::memory::SharedMemory;
use userlib::session::ClientId;
use userlib::time::Duration;

/// Bits of the notification that all share here: for the server, of which each instance has its own, since those that are
/// dead live on in these tests; for the client.
const DISK: u64 = 0b11 << 10;
const CLIENT: u64 = 1 << 20;
const AREA: u16 = 1;
const PAGES: usize = 16;
const LIMITS: Limits = Limits { sectors: 4096, request_sectors: 64, read_only: false };

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

/// The driver's side of both rings.
struct Driver {
    own: RingServer<'static>,
    lent: RingServer<'static>,
}

impl Rig {
    fn new() -> Self {
        Self { kernel: Loopback::new(), disk: memory(66), client: memory(2 + PAGES) }
    }

    /// An instance of the file server.
    fn server(&self, instance: u32) -> (Rc<BlockRing>, Rc<Direct>) {
        let rings = || [ring(self.client, 0, AREA)].into_iter();
        tell_of_death(rings());
        let disk = Rc::new(BlockRing::attach(ring(self.disk, 1 << (9 + instance), 0)).expect("a ring"));
        disk.reserve_for_windows(8);
        let collector = disk.clone();
        executor::spawn(async move { collector.run().await });
        (disk.clone(), Rc::new(Direct::new(disk, instance, rings())))
    }

    fn driver(&self) -> Driver {
        let mut own = RingServer::attach(self.disk, LIMITS).expect("a ring");
        let header = self.client.part(0..BUFFER_OFFSET).expect("long enough");
        let lent = own.attach_lent(header, PAGES, AREA).expect("a ring");
        Driver { own, lent }
    }

    /// The client, when it has joined.
    async fn client(&self) -> Client {
        Client::attach(ring(self.client, CLIENT, 0)).await.expect("a ring")
    }

    /// What the device does for a request.
    fn execute(&self, taken: &Taken) {
        for number in 0..u64::from(taken.request.count) {
            let place = taken.request.buffer_offset() + number as usize * SECTOR_SIZE;
            self.client.write(place, &contents(taken.request.sector + number)).expect("inside of the client's ring");
        }
    }

    fn work(&self, driver: &mut Driver) -> usize {
        let mut done = 0;
        while let Some(taken) = driver.lent.take() {
            self.execute(&taken);
            driver.lent.complete(taken.slot, Status::Done);
            done += 1;
        }
        assert_eq!(driver.own.take(), None, "nothing goes through the disk's own ring");
        if driver.lent.take_lenders_notification() {
            self.kernel.post(DISK);
        }
        done
    }

    /// Lets driver and client work until everything is answered.
    fn answers(&self, driver: &mut Driver, client: &mut Client) -> Result<Vec<Answer>, Gone> {
        let mut answers = Vec::new();
        loop {
            let done = self.work(driver);
            let before = answers.len();
            while let Some(Completion { number, sectors }) = client.completion()? {
                answers.push((number, sectors));
            }
            if done == 0 && answers.len() == before {
                answers.sort_by_key(|(number, _)| *number);
                return Ok(answers);
            }
        }
    }

    fn data(&self, page: usize, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.client.read(BUFFER_OFFSET + page * PAGE, &mut bytes).expect("inside");
        bytes
    }
}

type Answer = (u64, Result<u32, ReadError>);

fn ask(
    client: &mut Client,
    window: Window,
    number: u64,
    sector: u64,
    count: u32,
    page: u32,
) -> Result<(), SubmitError> {
    client.submit(&Request { number, window: window.number(), sector, count, page })
}

/// A file of 40 sectors and a half in three pieces.
fn layout() -> FileLayout {
    FileLayout::new([(1000, 9), (500, 3), (2000, 40)].into_iter(), 40 * 512 + 256)
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

/// The window of the one file, for a client that has joined.
async fn open(direct: &Direct) -> Window {
    direct.join(me()).await.expect("it has a ring");
    direct.open(me(), &layout()).expect("there is room").expect("it has joined")
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
        let window = open(&direct).await;
        let mut client = rig.client().await;
        for (number, sector, count, page) in [(1, 0, 8, 0), (2, 7, 16, 1), (3, 38, 8, 5), (4, 41, 1, 6), (5, 0, 40, 8)]
        {
            ask(&mut client, window, number, sector, count, page).expect("it makes sense");
        }
        let all = [(1, Ok(8)), (2, Ok(16)), (3, Ok(2)), (4, Ok(0)), (5, Ok(40))];
        assert_eq!(rig.answers(&mut driver, &mut client), Ok(all.to_vec()));
        assert!(rig.data(0, 4096) == sectors(0, 8));
        assert!(rig.data(1, 16 * 512) == sectors(7, 16));
        assert!(rig.data(5, 1024) == sectors(38, 2), "only whole sectors of the file itself");
        assert_eq!(rig.data(5, 1536)[1024..], [0; 512]);
        assert!(rig.data(8, 40 * 512) == sectors(0, 40));
    });
}

#[test]
fn what_makes_no_sense_is_refused_before_it_is_asked_for() {
    with_rig(async |rig: Rig| {
        let (_, direct) = rig.server(1);
        let mut driver = rig.driver();
        let window = open(&direct).await;
        let mut client = rig.client().await;
        let last = PAGES as u32 - 1;
        for (sector, count, page) in [(0, 0, 0), (0, 8, last + 1), (0, 16, last), (0, 1, u32::MAX), (u64::MAX, 1, 0)] {
            let outcome = ask(&mut client, window, 0, sector, count, page);
            assert_eq!(outcome, Err(SubmitError::Failed(ReadError::OutsideOfBuffer)));
        }
        ask(&mut client, window, 1, 0, 8, last).expect("it makes sense");
        assert_eq!(rig.answers(&mut driver, &mut client), Ok(vec![(1, Ok(8))]));
    });
}

#[test]
fn a_file_in_a_thousand_pieces_is_read_piece_by_piece() {
    with_rig(async |rig: Rig| {
        let (_, direct) = rig.server(1);
        let mut driver = rig.driver();
        direct.join(me()).await.expect("it has a ring");
        let scattered = |pieces: u64| FileLayout::new((0..pieces).map(|sector| (sector * 2, 1)), pieces * 512);
        let window = direct.open(me(), &scattered(1000)).expect("there is room").expect("it has joined");
        let refused = direct.open(me(), &scattered(2000));
        assert_eq!(refused, Err(FsError::TooManyOpen), "there is no room for so many pieces");
        let mut client = rig.client().await;
        for page in 0..PAGES as u32 {
            ask(&mut client, window, page.into(), u64::from(page) * 8, 8, page).expect("there is room");
        }
        let all: Vec<_> = (0..PAGES as u64).map(|number| (number, Ok(8))).collect();
        assert_eq!(rig.answers(&mut driver, &mut client), Ok(all));
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
        let window = open(&direct).await;
        let mut client = rig.client().await;
        for page in 0..8u32 {
            ask(&mut client, window, page.into(), u64::from(page) * 4, 4, page).expect("there is room");
        }
        // It has carried some out, and told of one, when it dies.
        let taken: Vec<_> = (0..5).map(|_| driver.lent.take().expect("there are more")).collect();
        taken[..3].iter().for_each(|taken| rig.execute(taken));
        driver.lent.complete(taken[1].slot, Status::Done);
        let mut next = rig.driver();
        assert_eq!(next.own.statistics().repeated, 4);
        let answers = rig.answers(&mut next, &mut client);
        assert_eq!(answers, Ok((0..8).map(|number| (number, Ok(4))).collect::<Vec<_>>()));
        for page in 0..8 {
            assert!(rig.data(page, 2048) == sectors(page as u64 * 4, 4), "page {page}");
        }
    });
}

#[test]
fn a_server_that_dies_is_noticed_and_its_successor_waits_for_what_the_disk_still_reads() {
    with_rig(async |rig: Rig| {
        let (_, direct) = rig.server(1);
        let mut driver = rig.driver();
        let window = open(&direct).await;
        let mut client = rig.client().await;
        for number in 0..2 {
            ask(&mut client, window, number, 0, 8, number as u32).expect("there is room");
        }
        let taken = driver.lent.take().expect("it makes sense");
        // The dead one's tasks go on in this test, but have nothing to do any more.
        let (disk, next) = rig.server(2);
        assert!(disk.has_orphans(), "the disk still writes to the client's memory");
        let joined = Rc::new(Cell::new(false));
        let (told, joining) = (joined.clone(), next.clone());
        executor::spawn(async move {
            joining.join(me()).await.expect("it has a ring");
            told.set(true);
        });
        executor::sleep(Duration::from_millis(10)).await;
        assert!(!joined.get());
        rig.execute(&taken);
        driver.lent.complete(taken.slot, Status::Done);
        assert!(matches!(client.completion(), Ok(Some(Completion { sectors: Ok(8), .. }))), "it was read in time");
        // What the driver had not begun, it does not begin any more.
        assert_eq!(rig.answers(&mut driver, &mut client), Err(Gone));
        rig.kernel.post(DISK);
        executor::sleep(Duration::from_millis(10)).await;
        assert!(joined.get());
        let window = next.open(me(), &layout()).expect("there is room").expect("it has joined");
        let mut client = rig.client().await;
        ask(&mut client, window, 7, 0, 8, 0).expect("there is room");
        assert_eq!(rig.answers(&mut driver, &mut client), Ok(vec![(7, Ok(8))]));
    });
}

#[test]
fn nothing_is_read_of_a_file_that_is_closed() {
    with_rig(async |rig: Rig| {
        let (_, direct) = rig.server(1);
        let mut driver = rig.driver();
        let window = open(&direct).await;
        let mut client = rig.client().await;
        ask(&mut client, window, 1, 0, 1, 0).expect("there is room");
        let taken = driver.lent.take().expect("it makes sense");
        let closed = Rc::new(Cell::new(false));
        let (told, closing) = (closed.clone(), direct.clone());
        executor::spawn(async move {
            closing.close(window).await;
            told.set(true);
        });
        executor::sleep(Duration::from_millis(5)).await;
        assert!(!closed.get(), "a request for it is under way");
        ask(&mut client, window, 2, 0, 1, 0).expect("there is room");
        rig.execute(&taken);
        driver.lent.complete(taken.slot, Status::Done);
        let answers = rig.answers(&mut driver, &mut client);
        executor::sleep(Duration::from_millis(5)).await;
        assert!(closed.get());
        assert_eq!(answers, Ok(vec![(1, Ok(1)), (2, Err(ReadError::UnknownFile))]));
    });
}

#[test]
fn only_the_living_client_of_a_ring_joins_it_and_has_what_it_has_opened_itself() {
    with_rig(async |rig: Rig| {
        let (_, direct) = rig.server(1);
        assert_eq!(direct.join(ClientId::new(6, 0)).await, Err(FsError::Unsupported), "it has no ring");
        assert_eq!(direct.open(me(), &layout()), Ok(None), "it has not joined");
        let window = open(&direct).await;
        assert_eq!(direct.open(ClientId::new(5, 2), &layout()), Ok(None), "a former life of it");
        // The next life of the client knows nothing of the files of the former one.
        direct.join(ClientId::new(5, 4)).await.expect("it has a ring");
        let mut driver = rig.driver();
        let mut client = rig.client().await;
        ask(&mut client, window, 1, 0, 1, 0).expect("there is room");
        assert_eq!(rig.answers(&mut driver, &mut client), Ok(vec![(1, Err(ReadError::UnknownFile))]));
        // Closing what it had open at its death closes nothing of the next one's.
        let fresh = direct.open(ClientId::new(5, 4), &layout()).expect("there is room").expect("it has joined");
        direct.close(window).await;
        ask(&mut client, fresh, 2, 0, 1, 0).expect("there is room");
        assert_eq!(rig.answers(&mut driver, &mut client), Ok(vec![(2, Ok(1))]));
    });
}

#[test]
fn what_a_former_life_had_asked_for_is_over_before_the_next_one_uses_the_ring() {
    with_rig(async |rig: Rig| {
        let (_, direct) = rig.server(1);
        let mut driver = rig.driver();
        let window = open(&direct).await;
        let mut former = rig.client().await;
        for number in 0..3 {
            ask(&mut former, window, number, 0, 1, 0).expect("there is room");
        }
        direct.join(ClientId::new(5, 4)).await.expect("it has a ring");
        let attached = Rc::new(Cell::new(None));
        let (told, resources) = (attached.clone(), ring(rig.client, CLIENT, 0));
        executor::spawn(async move { told.set(Client::attach(resources).await.ok()) });
        executor::sleep(Duration::from_millis(5)).await;
        let client = attached.take();
        assert!(client.is_none(), "what was submitted is not answered yet");
        assert_eq!(rig.work(&mut driver), 0);
        rig.kernel.post(CLIENT);
        executor::sleep(Duration::from_millis(5)).await;
        let mut client = attached.take().expect("all is over");
        assert_eq!(rig.answers(&mut driver, &mut client), Ok(vec![]));
    });
}

#[test]
fn a_life_that_ends_while_it_joins_does_not_keep_its_successor_out() {
    with_rig(async |rig: Rig| {
        let (_, direct) = rig.server(1);
        let mut driver = rig.driver();
        let window = open(&direct).await;
        let mut former = rig.client().await;
        ask(&mut former, window, 1, 0, 1, 0).expect("there is room");
        let taken = driver.lent.take().expect("it makes sense");
        let outcomes = Rc::new(Cell::new([None; 2]));
        for (place, life) in [4, 5].into_iter().enumerate() {
            let (direct, outcomes) = (direct.clone(), outcomes.clone());
            executor::spawn(async move {
                let outcome = direct.join(ClientId::new(5, life)).await;
                let mut all = outcomes.get();
                all[place] = Some(outcome);
                outcomes.set(all);
            });
            executor::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(outcomes.get(), [None, None], "the disk still reads for a life before");
        driver.lent.complete(taken.slot, Status::Done);
        assert!(driver.lent.take_lenders_notification());
        rig.kernel.post(DISK);
        executor::sleep(Duration::from_millis(5)).await;
        assert_eq!(outcomes.get(), [Some(Err(FsError::UnknownSession)), Some(Ok(()))]);
        assert!(direct.open(ClientId::new(5, 5), &layout()).expect("there is room").is_some());
    });
}
