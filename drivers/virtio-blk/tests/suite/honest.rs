use crate::device::{FLUSH, FakeDisk, READ_ONLY, SEG_MAX, SIZE_MAX};
use crate::rig::Rig;
use userlib::block_ring::{Request, RequestError, SLOTS};

#[test]
fn what_is_written_is_on_the_disk_and_what_is_read_was_there() {
    let mut rig = Rig::new(FakeDisk::new(100));
    let text: Vec<u8> = (0..3 * 512).map(|index| (index * 7) as u8).collect();
    rig.put(4, &text);
    assert_eq!(rig.request(Request::write(10, 3, 4)), Ok(()));
    assert_eq!(rig.contents(10, 3), text);
    assert_eq!(rig.request(Request::read(9, 5, 8)), Ok(()));
    assert_eq!(rig.data(8, 5 * 512), rig.contents(9, 5));
}

#[test]
fn many_requests_are_in_flight_together_and_complete_in_any_order() {
    let mut rig = Rig::new(FakeDisk::new(1000));
    let slots: Vec<_> = (0..40).map(|index| rig.submit(Request::read(index * 8, 8, index as u32)).unwrap()).collect();
    rig.advance();
    assert_eq!(rig.driver.in_flight(), 40);
    assert!(rig.device.0.borrow().notified);
    for choice in 0..40 {
        rig.device.step(choice * 13);
        rig.advance();
    }
    for (index, slot) in slots.into_iter().enumerate() {
        assert_eq!(rig.outcome(slot), Some(Ok(())));
        assert_eq!(rig.data(index as u32, 4096), rig.contents(index * 8, 8));
    }
}

#[test]
fn more_requests_than_the_queue_takes_are_carried_out_one_after_the_other() {
    let mut rig = Rig::new(FakeDisk::new(1000));
    let slots: Vec<_> = (0..SLOTS as u64).map(|sector| rig.submit(Request::read(sector, 1, 0)).unwrap()).collect();
    rig.advance();
    assert!(rig.driver.in_flight() < SLOTS);
    rig.settle();
    assert!(slots.into_iter().all(|slot| rig.outcome(slot) == Some(Ok(()))));
    assert_eq!(rig.driver.counts().completed, SLOTS as u64);
}

#[test]
fn the_queue_works_on_after_its_indices_have_wrapped_around() {
    let mut rig = Rig::new(FakeDisk::new(100));
    for round in 0..70_000u64 {
        let slot = rig.submit(Request::read(round % 100, 1, 0)).unwrap();
        rig.device.0.borrow_mut().notified = false;
        rig.advance();
        assert!(rig.device.0.borrow().notified, "round {round}");
        rig.device.run();
        rig.advance();
        assert_eq!(rig.outcome(slot), Some(Ok(())), "round {round}");
    }
}

#[test]
fn a_flush_reaches_the_disk_only_if_it_has_a_cache() {
    let mut rig = Rig::new(FakeDisk::new(100));
    assert_eq!(rig.request(Request::flush()), Ok(()));
    assert_eq!(rig.device.0.borrow().executed, [(4, 0)]);

    let device = FakeDisk::new(100);
    device.0.borrow_mut().features &= !FLUSH;
    let mut rig = Rig::new(device);
    assert_eq!(rig.request(Request::flush()), Ok(()));
    assert_eq!(rig.device.0.borrow().executed, []);
    assert!(!rig.driver.geometry().unwrap().has_cache);
}

#[test]
fn a_disk_that_can_only_be_read_is_read_and_never_asked_to_write() {
    let device = FakeDisk::new(100);
    device.0.borrow_mut().features |= READ_ONLY;
    let mut rig = Rig::new(device);
    assert_eq!(rig.request(Request::read(0, 8, 0)), Ok(()));
    assert_eq!(rig.request(Request::write(0, 1, 0)), Err(RequestError::ReadOnly));
    assert_eq!(rig.device.0.borrow().executed, [(0, 0)]);
}

#[test]
fn requests_behind_the_last_sector_never_reach_the_disk() {
    let mut rig = Rig::new(FakeDisk::new(100));
    assert_eq!(rig.request(Request::read(99, 1, 0)), Ok(()));
    assert_eq!(rig.request(Request::read(99, 2, 0)), Err(RequestError::OutOfRange));
    assert_eq!(rig.request(Request::write(u64::MAX - 1, 1, 0)), Err(RequestError::OutOfRange));
    assert_eq!(rig.device.0.borrow().executed.len(), 1);
}

#[test]
fn an_error_of_the_disk_is_the_requests_error_and_no_others() {
    let mut rig = Rig::new(FakeDisk::new(100));
    rig.device.0.borrow_mut().failing_sector = Some(20);
    let good = rig.submit(Request::read(0, 8, 0)).unwrap();
    assert_eq!(rig.request(Request::read(16, 8, 1)), Err(RequestError::DeviceError));
    assert_eq!(rig.outcome(good), Some(Ok(())));
    let counts = rig.driver.counts();
    assert_eq!((counts.completed, counts.failed, counts.resets), (2, 1, 0));
}

#[test]
fn data_is_cut_as_the_disk_wants_it() {
    let device = FakeDisk::new(500);
    device.0.borrow_mut().features |= SIZE_MAX | SEG_MAX;
    device.0.borrow_mut().size_max = 8 * 512 + 100;
    device.0.borrow_mut().seg_max = 5;
    let mut rig = Rig::new(device);
    assert_eq!(rig.request(Request::read(3, 40, 0)), Ok(()));
    assert_eq!(rig.data(0, 40 * 512), rig.contents(3, 40));
    let text = vec![0x5a; 20 * 512];
    rig.put(10, &text);
    assert_eq!(rig.request(Request::write(300, 20, 10)), Ok(()));
    assert_eq!(rig.contents(300, 20), text);
    assert_eq!(rig.request(Request::read(3, 41, 0)), Err(RequestError::Refused), "it is longer than the disk takes");
}

#[test]
fn a_disk_that_has_grown_takes_requests_for_its_new_sectors() {
    let mut rig = Rig::new(FakeDisk::new(100));
    assert_eq!(rig.request(Request::read(150, 1, 0)), Err(RequestError::OutOfRange));
    rig.device.0.borrow_mut().contents.resize(200 * 512, 9);
    rig.driver.take_config(&mut || true);
    assert_eq!(rig.request(Request::read(150, 1, 0)), Ok(()));
}

#[test]
fn a_driver_at_rest_has_finished_its_requests_and_takes_no_more() {
    let mut rig = Rig::new(FakeDisk::new(100));
    let last = rig.submit(Request::write(1, 1, 0)).unwrap();
    rig.advance();
    rig.driver.stop_accepting();
    let late = rig.submit(Request::write(2, 1, 1)).unwrap();
    assert!(!rig.driver.is_idle());
    rig.settle();
    assert!(rig.driver.is_idle());
    assert_eq!((rig.outcome(last), rig.outcome(late)), (Some(Ok(())), None));
    let resets = rig.device.0.borrow().resets;
    assert_eq!(rig.driver.quiesce(&mut || true), Ok(()));
    assert_eq!((rig.device.0.borrow().resets, rig.device.0.borrow().status), (resets + 1, 0));
    rig.settle();
    assert_eq!(rig.outcome(late), None, "it stays in the ring for the next driver");
    rig.kill();
    rig.settle();
    assert_eq!(rig.outcome(late), Some(Ok(())));
}
