//! Rings that the client lends.

use crate::device::FakeDisk;
use crate::rig::Rig;
use proptest::prelude::*;
use userlib::block_ring::{ClientCore, Request, RequestError, SLOTS, Slot, Status};

/// A file of 100 sectors in two pieces.
const EXTENTS: [(u64, u64); 2] = [(0, 100), (60, 20)];
const SECTORS: u64 = 100;

/// Where a sector of it lies.
fn place(sector: u64) -> usize {
    if sector < 60 { 100 + sector as usize } else { 20 + sector as usize - 60 }
}

fn rig_with_file() -> (Rig, ClientCore<'static>, u16) {
    let mut rig = Rig::new(FakeDisk::new(200));
    rig.client.reserve_for_windows(1);
    let window = rig.client.open_window(1, SECTORS, EXTENTS.into_iter()).expect("there is room");
    let reader = rig.reader();
    (rig, reader, window.number())
}

fn completions(reader: &mut ClientCore<'_>) -> Vec<(Slot, Result<u32, RequestError>)> {
    let mut all = Vec::new();
    reader.collect(|slot, outcome| all.push((slot, outcome)));
    all
}

fn data(reader: &ClientCore<'_>, page: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    reader.buffer().read(page as usize * 4096, &mut bytes).expect("it fits");
    bytes
}

#[test]
fn what_is_read_through_a_window_lies_in_the_lent_ring_and_its_owner_is_told() {
    let (mut rig, mut reader, window) = rig_with_file();
    reader.set_waiting(false);
    let slot = reader.submit(Request::read(58, 8, 3).through(window)).expect("there is room");
    let own = rig.submit(Request::read(7, 8, 3)).expect("there is room");
    assert_eq!(rig.driver.take_notifications().collect::<Vec<_>>(), [0], "the owner is not awaited yet");
    reader.set_waiting(true);
    rig.settle();
    assert_eq!(rig.driver.take_notifications().collect::<Vec<_>>(), [0, 1]);
    assert_eq!(rig.outcome(own), Some(Ok(())));
    assert_eq!(completions(&mut reader), [(slot, Ok(2))], "the rest lies elsewhere");
    assert_eq!(data(&reader, 3, 1024), rig.contents(158, 2));
    assert_eq!(rig.data(3, 4096), rig.contents(7, 8), "the client's own ring has its own");
}

#[test]
fn a_client_that_has_closed_a_window_is_told_when_it_is_over() {
    let (mut rig, mut reader, _) = rig_with_file();
    reader.set_waiting(false);
    let window = rig.client.open_window(1, SECTORS, EXTENTS.into_iter()).expect("there is room");
    reader.submit(Request::read(0, 8, 0).through(window.number())).expect("there is room");
    rig.advance();
    assert_eq!(rig.driver.take_notifications().collect::<Vec<_>>(), [0]);
    rig.client.close_window(window);
    assert!(!rig.client.is_window_over(window));
    rig.settle();
    assert_eq!(rig.driver.take_notifications().collect::<Vec<_>>(), [0]);
    assert!(rig.client.is_window_over(window));
}

#[test]
fn a_ring_that_is_always_full_does_not_keep_another_ones_requests_out() {
    let (mut rig, mut reader, window) = rig_with_file();
    let fill = |reader: &mut ClientCore<'_>| {
        while reader.submit(Request::read(0, 1, 0).through(window)).is_ok() {}
        completions(reader).len()
    };
    fill(&mut reader);
    rig.advance();
    let own = rig.submit(Request::write(7, 1, 3)).expect("there is room");
    let mut done = 0;
    while rig.outcome(own).is_none() {
        rig.device.run();
        rig.advance();
        done += fill(&mut reader);
        assert!(done < 4 * SLOTS, "it waits for ever");
    }
}

#[test]
fn without_a_disk_every_ring_is_told_so() {
    let device = FakeDisk::new(100);
    device.0.borrow_mut().features = 0;
    let mut rig = Rig::new(device);
    rig.client.reserve_for_windows(1);
    let window = rig.client.open_window(1, SECTORS, EXTENTS.into_iter()).expect("there is room");
    let mut reader = rig.reader();
    let slot = reader.submit(Request::read(0, 1, 0).through(window.number())).expect("there is room");
    rig.advance();
    assert_eq!(rig.driver.geometry(), Err(Status::NoDevice));
    assert_eq!(completions(&mut reader), [(slot, Err(RequestError::NoDevice))]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Drivers die at any moment between any two steps, while files are opened and closed: what is read is right, what is
    /// refused was closed, and what is closed and over is not read.
    #[test]
    fn however_drivers_die_what_is_read_through_windows_is_right(
        steps in proptest::collection::vec((0u8..12, any::<u8>(), 0..SECTORS), 1..200),
    ) {
        let (mut rig, mut reader, _) = rig_with_file();
        let mut window = rig.client.open_window(1, SECTORS, EXTENTS.into_iter()).expect("there is room");
        let mut is_open = true;
        let mut waiting: Vec<(Slot, u64, u32)> = Vec::new();
        for (action, byte, sector) in steps {
            match action {
                0..=4 => {
                    let page = u32::from(byte) % 60;
                    if waiting.iter().all(|(_, _, other)| *other != page)
                        && let Ok(slot) = reader.submit(Request::read(sector, 1, page).through(window.number()))
                    {
                        waiting.push((slot, sector, page));
                    }
                }
                5..=7 => { rig.device.step(byte.into()); }
                8 => rig.kill(),
                9 if is_open => {
                    rig.client.close_window(window);
                    is_open = false;
                }
                10 if !is_open && rig.client.is_window_over(window) => {
                    let fresh = rig.client.open_window(1, SECTORS, EXTENTS.into_iter());
                    window = fresh.expect("there is room");
                    is_open = true;
                }
                _ => rig.advance(),
            }
            check(&rig, &mut reader, &mut waiting)?;
        }
        rig.settle();
        check(&rig, &mut reader, &mut waiting)?;
        prop_assert!(waiting.is_empty());
        rig.client.close_window(window);
        prop_assert!(rig.client.is_window_over(window));
        prop_assert_eq!((rig.driver.counts().failed, rig.driver.counts().resets), (0, 0));
    }
}

fn check(rig: &Rig, reader: &mut ClientCore<'_>, waiting: &mut Vec<(Slot, u64, u32)>) -> Result<(), TestCaseError> {
    for (slot, outcome) in completions(reader) {
        let place_of = waiting.iter().position(|(other, _, _)| *other == slot);
        let (_, sector, page) = waiting.swap_remove(place_of.expect("it was asked for"));
        match outcome {
            Ok(sectors) => {
                prop_assert_eq!(sectors, 1);
                prop_assert_eq!(data(reader, page, 512), rig.contents(place(sector), 1));
            }
            Err(error) => prop_assert_eq!(error, RequestError::NoWindow),
        }
    }
    Ok(())
}
