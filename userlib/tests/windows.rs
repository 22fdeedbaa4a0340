//! Windows: what rings that a client lends may read of the disk, and when nothing reads it any more.

use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use userlib::block_ring::{
    ClientCore, Limits, Request, RequestError, RingServer, Slot, Status, Taken, Unavailable, WINDOWS,
};
use userlib::memory::SharedMemory;

const PAGES: usize = 16;
const SECTORS: u64 = 4000;
const LIMITS: Limits = Limits { sectors: SECTORS, request_sectors: 64, read_only: false };
const AREA: u16 = 1;
/// Where the table of windows lies, in words, and how many words an entry has.
const TABLE: usize = 64;
const ENTRY: usize = 4;

/// The memory of the ring whose client lends, and of a lent one.
struct Rings {
    own: Vec<AtomicU64>,
    lent: Vec<AtomicU64>,
}

fn memory() -> Vec<AtomicU64> {
    (0..(2 + PAGES) * 512).map(|_| AtomicU64::new(0)).collect()
}

impl Rings {
    fn new() -> Self {
        Self { own: memory(), lent: memory() }
    }

    fn client(&self) -> ClientCore<'_> {
        let mut client = ClientCore::attach(SharedMemory::new(&self.own)).expect("long enough");
        client.reserve_for_windows(2);
        client
    }

    fn reader(&self) -> ClientCore<'_> {
        ClientCore::attach_lent(SharedMemory::new(&self.lent)).expect("long enough")
    }

    /// The driver of both. Of the lent ring it has only what stands before the buffer area.
    fn driver(&self) -> (RingServer<'_>, RingServer<'_>) {
        self.driver_of(AREA)
    }

    fn driver_of(&self, area: u16) -> (RingServer<'_>, RingServer<'_>) {
        let mut own = RingServer::attach(SharedMemory::new(&self.own), LIMITS).expect("long enough");
        let lent = own.attach_lent(SharedMemory::new(&self.lent[..1024]), PAGES, area).expect("long enough");
        (own, lent)
    }
}

/// A file of 20 sectors in three pieces.
const EXTENTS: [(u64, u64); 3] = [(0, 1000), (9, 500), (12, 2000)];

fn completions(reader: &mut ClientCore<'_>) -> Vec<(Slot, Result<u32, RequestError>)> {
    let mut all = Vec::new();
    reader.collect(|slot, outcome| all.push((slot, outcome)));
    all
}

/// What becomes of one request that the device carries out.
fn read(reader: &mut ClientCore<'_>, driver: &mut RingServer<'_>, request: Request) -> Result<u32, RequestError> {
    reader.submit(request).expect("there is room");
    while let Some(taken) = driver.take() {
        driver.complete(taken.slot, Status::Done);
    }
    let all = completions(reader);
    assert_eq!(all.len(), 1);
    all[0].1
}

#[test]
fn a_window_shows_its_sectors_as_far_as_they_lie_together() {
    let rings = Rings::new();
    let (mut client, mut reader) = (rings.client(), rings.reader());
    let (_own, mut lent) = rings.driver();
    let window = client.open_window(AREA, 20, EXTENTS.into_iter()).expect("there is room").number();
    for (sector, count, on_disk, together) in
        [(0, 8, 1000, 8), (0, 64, 1000, 9), (8, 2, 1008, 1), (9, 3, 500, 3), (12, 20, 2000, 8), (19, 1, 2007, 1)]
    {
        let slot = reader.submit(Request::read(sector, count, 3).behind(2).through(window)).expect("there is room");
        let taken = lent.take().expect("it makes sense");
        assert_eq!((taken.request.sector, taken.request.count), (on_disk, together), "sector {sector}");
        assert_eq!(taken.request.buffer_offset(), (2 + 3) * 4096 + 1024);
        lent.complete(taken.slot, Status::Done);
        assert_eq!(completions(&mut reader), [(slot, Ok(together))]);
    }
    assert_eq!(read(&mut reader, &mut lent, Request::read(20, 1, 0).through(window)), Ok(0), "behind the end");
    assert_eq!(read(&mut reader, &mut lent, Request::read(u64::MAX - 8, 8, 0).through(window)), Ok(0));
    let long = client.open_window(AREA, 300, [(0, 0)].into_iter()).expect("there is room").number();
    assert_eq!(read(&mut reader, &mut lent, Request::read(0, 100, 0).through(long)), Ok(64), "the disk takes no more");
}

#[test]
fn nothing_is_reached_without_a_window_that_is_open_to_the_ring() {
    let rings = Rings::new();
    let (mut client, mut reader) = (rings.client(), rings.reader());
    let (_own, mut lent) = rings.driver();
    let of_another = client.open_window(AREA + 1, 20, EXTENTS.into_iter()).expect("there is room").number();
    for window in [0, of_another, of_another + 1, WINDOWS as u16 - 1, WINDOWS as u16, u16::MAX] {
        let outcome = read(&mut reader, &mut lent, Request::read(0, 1, 0).through(window));
        assert_eq!(outcome, Err(RequestError::NoWindow), "window {window}");
    }
    let window = client.open_window(AREA, 20, EXTENTS.into_iter()).expect("there is room").number();
    for request in [Request::write(0, 1, 0), Request::flush()] {
        assert_eq!(read(&mut reader, &mut lent, request.through(window)), Err(RequestError::Refused), "only reading");
    }
    assert_eq!(read(&mut reader, &mut lent, Request::read(0, 1, 0).through(window)), Ok(1));
    // Whoever serves the same ring under another number has other windows.
    let (_own, mut other) = rings.driver_of(AREA + 1);
    assert_eq!(read(&mut reader, &mut other, Request::read(0, 1, 0).through(window)), Err(RequestError::NoWindow));
    let (_own, mut none) = rings.driver_of(0);
    assert_eq!(read(&mut reader, &mut none, Request::read(0, 1, 0).through(window)), Err(RequestError::NoWindow));
}

#[test]
fn a_window_is_over_when_it_was_closed_and_nothing_is_under_way_and_the_client_is_told() {
    let rings = Rings::new();
    let (mut client, mut reader) = (rings.client(), rings.reader());
    let (_own, mut lent) = rings.driver();
    let window = client.open_window(AREA, 20, EXTENTS.into_iter()).expect("there is room");
    let early = [0, 5].map(|sector| reader.submit(Request::read(sector, 1, 0).through(window.number())).expect("room"));
    let taken = [lent.take(), lent.take()].map(|taken| taken.expect("it makes sense"));
    client.close_window(window);
    assert!(!client.is_window_over(window));
    assert_eq!(read_late(&mut reader, &mut lent, window.number()), Err(RequestError::NoWindow));
    lent.complete(taken[0].slot, Status::Done);
    assert!(!lent.take_lenders_notification());
    assert!(!client.is_window_over(window));
    lent.complete(taken[1].slot, Status::Done);
    assert!(lent.take_lenders_notification());
    assert!(client.is_window_over(window));
    assert!(completions(&mut reader).iter().all(|(slot, outcome)| early.contains(slot) && *outcome == Ok(1)));
    // The number is used again when all others were, and whoever still has the old window closes nothing.
    let mut open = || client.open_window(AREA, 20, EXTENTS.into_iter()).expect("there is room");
    let others = (2..WINDOWS).map(|_| open()).inspect(|other| assert_ne!(other.number(), window.number())).count();
    assert_eq!(others, WINDOWS - 2);
    let next = open();
    assert_eq!(next.number(), window.number());
    client.close_window(window);
    assert!(client.is_window_over(window));
    assert_eq!(read(&mut reader, &mut lent, Request::read(0, 1, 0).through(next.number())), Ok(1));
}

/// What becomes of a request while others are under way.
fn read_late(reader: &mut ClientCore<'_>, driver: &mut RingServer<'_>, window: u16) -> Result<u32, RequestError> {
    reader.submit(Request::read(1, 1, 0).through(window)).expect("there is room");
    assert_eq!(driver.take(), None);
    completions(reader)[0].1
}

#[test]
fn there_is_room_for_so_many_windows_and_extents_and_it_comes_back() {
    let rings = Rings::new();
    let mut client = rings.client();
    assert_eq!(client.buffer_pages(), PAGES - 2);
    let open = |client: &mut ClientCore<'_>, count: u64| {
        client.open_window(AREA, count, (0..count).map(|place| (place, 2 * place)).collect::<Vec<_>>().into_iter())
    };
    // Two pages of extents of 16 bytes.
    assert_eq!(open(&mut client, 513), None);
    let all = open(&mut client, 512).expect("just so many");
    assert_eq!(open(&mut client, 1), None);
    client.close_window(all);
    assert!(client.is_window_over(all));
    let windows: Vec<_> = (1..WINDOWS).map(|_| open(&mut client, 8).expect("there is room")).collect();
    assert_eq!(open(&mut client, 0), None, "as many as there are numbers");
    for window in &windows[10..20] {
        client.close_window(*window);
        assert!(client.is_window_over(*window));
    }
    open(&mut client, 80).expect("what was given back is one piece");
    assert_eq!(rings.reader().open_window(AREA, 1, [(0, 0)].into_iter()), None, "there are none into a lent ring");
}

#[test]
fn a_new_driver_repeats_what_goes_through_windows_too() {
    let rings = Rings::new();
    let (mut client, mut reader) = (rings.client(), rings.reader());
    let window = client.open_window(AREA, 20, EXTENTS.into_iter()).expect("there is room");
    let (_own, mut first) = rings.driver();
    let slots: Vec<Slot> = (0..3)
        .map(|sector| reader.submit(Request::read(sector, 1, 0).through(window.number())).expect("there is room"))
        .collect();
    let taken = [first.take(), first.take()].map(|taken| taken.expect("it makes sense"));
    first.complete(taken[1].slot, Status::Done);
    // It dies with one of two still under way.
    let (own, mut second) = rings.driver();
    let statistics = own.statistics();
    assert_eq!((statistics.repeated, statistics.restarts_in_flight, statistics.generations), (1, 1, 2));
    client.close_window(window);
    assert!(client.is_window_over(window), "the next one has not begun anything yet");
    assert_eq!(second.take(), None, "nor does it, through a window that is closed");
    let refused = Err(RequestError::NoWindow);
    assert_eq!(completions(&mut reader), [(slots[0], refused), (slots[1], Ok(1)), (slots[2], refused)]);
}

#[test]
fn a_new_client_closes_windows_and_submits_nothing_until_they_are_over() {
    let rings = Rings::new();
    let (mut client, mut reader) = (rings.client(), rings.reader());
    let (_own, mut lent) = rings.driver();
    let window = client.open_window(AREA, 20, EXTENTS.into_iter()).expect("there is room");
    reader.submit(Request::read(0, 1, 0).through(window.number())).expect("there is room");
    let taken = lent.take().expect("it makes sense");
    let mut next = rings.client();
    assert!(next.has_orphans());
    assert_eq!(next.submit(Request::read(0, 1, 0)), Err(Unavailable::Later));
    assert_eq!(next.open_window(AREA, 20, EXTENTS.into_iter()), None);
    assert_eq!(read_late(&mut reader, &mut lent, window.number()), Err(RequestError::NoWindow));
    lent.complete(taken.slot, Status::Done);
    assert!(lent.take_lenders_notification());
    next.collect(|_, _| {});
    assert!(!next.has_orphans());
    next.submit(Request::read(0, 1, 0)).expect("there is room");
    next.open_window(AREA, 20, EXTENTS.into_iter()).expect("there is room");
}

#[test]
fn a_lent_ring_full_of_garbage_can_be_used_by_the_next_life_of_its_owner() {
    for is_before_the_driver in [true, false] {
        let rings = Rings::new();
        let mut client = rings.client();
        let window = client.open_window(AREA, 20, EXTENTS.into_iter()).expect("there is room").number();
        let scribble = || rings.lent.iter().for_each(|word| word.store(u64::MAX, Ordering::Relaxed));
        if is_before_the_driver {
            scribble();
        }
        let (_own, mut lent) = rings.driver();
        scribble();
        assert_eq!(lent.take(), None);
        let mut reader = rings.reader();
        for _ in 0..2 {
            assert_eq!(lent.take(), None);
            assert_eq!(completions(&mut reader), []);
        }
        assert!(!reader.has_orphans());
        assert_eq!(read(&mut reader, &mut lent, Request::read(0, 1, 0).through(window)), Ok(1));
    }
}

/// What somebody who has gone mad writes, by word.
#[derive(Clone, Debug)]
enum Garbage {
    Own(usize, u64),
    Lent(usize, u64),
    Step,
}

fn garbage() -> impl Strategy<Value = Garbage> {
    let word = || prop_oneof![any::<u64>(), 0..100_u64, Just(u64::MAX), (0..70_u64).prop_map(|w| w << 48 | 1)];
    let entries = TABLE + ENTRY..TABLE + 4 * ENTRY;
    prop_oneof![
        2 => (entries, word()).prop_map(|(place, word)| Garbage::Own(place, word)),
        1 => (15 * 512..(2 + PAGES) * 512_usize, word()).prop_map(|(place, word)| Garbage::Own(place, word)),
        4 => (prop_oneof![16..34_usize, 512..540_usize], word()).prop_map(|(place, word)| Garbage::Lent(place, word)),
        6 => Just(Garbage::Step),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever stands in either ring, nothing is read but sectors that the disk has, and nothing is written but the lent
    /// ring's own buffer area. What stands in the lent ring alone makes nothing be read but what its windows show.
    #[test]
    fn however_mad_everybody_is_the_driver_does_nothing_outside_of_its_limits(
        steps in proptest::collection::vec(garbage(), 1..300),
        is_client_sane in any::<bool>(),
    ) {
        let rings = Rings::new();
        let mut client = rings.client();
        for _ in 0..3 {
            client.open_window(AREA, 20, EXTENTS.into_iter()).expect("there is room");
        }
        let (_own, mut lent) = rings.driver();
        let mut taken: Vec<Taken> = Vec::new();
        for step in &steps {
            match step {
                Garbage::Own(place, word) if !is_client_sane => rings.own[*place].store(*word, Ordering::Relaxed),
                Garbage::Own(..) => {}
                Garbage::Lent(place, word) => rings.lent[*place].store(*word, Ordering::Relaxed),
                Garbage::Step => {
                    // Slots that make sense are rare among garbage.
                    let slot = taken.len() % 20;
                    rings.lent[512 + 4 * slot].fetch_and(0x3f_ffff_ffff, Ordering::Relaxed);
                    if let Some(one) = lent.take() {
                        let Request { sector, count, .. } = one.request;
                        let end = sector + u64::from(count);
                        prop_assert!(end <= SECTORS && count > 0 && count <= LIMITS.request_sectors);
                        let place = one.request.buffer_offset();
                        prop_assert!(place >= 2 * 4096 && place + one.request.bytes() <= (2 + PAGES) * 4096);
                        prop_assert!(taken.iter().all(|other| other.slot != one.slot));
                        let is_shown = EXTENTS.iter().zip([9, 3, 8]).any(|((_, first), count)| *first <= sector && end <= first + count);
                        prop_assert!(is_shown || !is_client_sane);
                        taken.push(one);
                    } else if let Some(one) = taken.pop() {
                        lent.complete(one.slot, Status::Done);
                        lent.complete(one.slot, Status::Done);
                    }
                    prop_assert_eq!(lent.in_flight(), taken.len());
                }
            }
        }
        if is_client_sane {
            for one in taken {
                lent.complete(one.slot, Status::Done);
            }
            prop_assert!(!rings.client().has_orphans(), "what was counted was counted off");
        }
    }
}

#[test]
fn a_request_for_a_window_that_was_closed_does_not_read_the_next_one() {
    let rings = Rings::new();
    let (mut client, mut reader) = (rings.client(), rings.reader());
    let (_own, mut lent) = rings.driver();
    let first = client.open_window(AREA, 20, EXTENTS.into_iter()).expect("there is room");
    client.close_window(first);
    assert!(client.is_window_over(first));
    let next = client.open_window(AREA, 20, [(0, 100)].into_iter()).expect("there is room");
    assert_ne!(first.number(), next.number());
    let outcome = read(&mut reader, &mut lent, Request::read(0, 1, 0).through(first.number()));
    assert_eq!(outcome, Err(RequestError::NoWindow));
}

#[test]
fn one_request_through_a_window_does_not_keep_the_disk_for_long() {
    const LONG: usize = 512;
    let rings = Rings::new();
    let mut client = rings.client();
    let limits = Limits { sectors: 1 << 30, request_sectors: 1 << 20, read_only: false };
    let mut own = RingServer::attach(SharedMemory::new(&rings.own), limits).expect("long enough");
    let memory: Vec<AtomicU64> = (0..(2 + LONG) * 512).map(|_| AtomicU64::new(0)).collect();
    let mut lent = own.attach_lent(SharedMemory::new(&memory[..1024]), LONG, AREA).expect("long enough");
    let window = client.open_window(AREA, 1 << 20, [(0, 0)].into_iter()).expect("there is room").number();
    let mut reader = ClientCore::attach_lent(SharedMemory::new(&memory)).expect("long enough");
    reader.submit(Request::read(0, LONG as u32 * 8, 0).through(window)).expect("there is room");
    assert_eq!(lent.take().map(|taken| taken.request.count), Some(2048), "1 MiB");
}
