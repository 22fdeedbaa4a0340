use crate::device::{FakeDisk, Lie};
use crate::rig::Rig;
use proptest::prelude::*;
use userlib::block_ring::{Request, RequestError, Status};
use userlib::time::Duration;
use virtio_blk::driver::{PATIENCE, RESETS};

const LIES: [Lie; 12] = [
    Lie::Id(1),
    Lie::Id(127),
    Lie::Id(128),
    Lie::Id(0xffff),
    Lie::Id(u32::MAX),
    Lie::Length(1),
    Lie::Length(-1),
    Lie::Length(i32::MAX),
    Lie::Status(3),
    Lie::Status(0xff),
    Lie::Jump(1),
    Lie::Jump(40_000),
];

#[test]
fn after_a_lie_the_device_is_reset_and_the_request_repeated() {
    for lie in LIES.into_iter().chain([Lie::Twice]) {
        let mut rig = Rig::new(FakeDisk::new(100));
        rig.device.lie(lie, 1);
        rig.put(0, &[0xab; 512]);
        assert_eq!(rig.request(Request::write(5, 1, 0)), Ok(()), "{lie:?}");
        assert_eq!(rig.contents(5, 1), [0xab; 512], "{lie:?}");
        assert_eq!(rig.driver.counts().resets, 1, "{lie:?}");
        assert_eq!(rig.request(Request::read(5, 1, 3)), Ok(()), "{lie:?}");
        assert_eq!(rig.data(3, 512), [0xab; 512], "{lie:?}");
    }
}

#[test]
fn a_request_about_which_the_device_lies_each_time_is_given_up() {
    // Of completions that never were the driver learns after the true one.
    for lie in LIES.into_iter().filter(|lie| !matches!(lie, Lie::Jump(_))) {
        let mut rig = Rig::new(FakeDisk::new(100));
        rig.device.lie(lie, u32::MAX);
        assert_eq!(rig.request(Request::read(5, 1, 0)), Err(RequestError::DeviceError), "{lie:?}");
        assert_eq!(rig.driver.counts().resets, 3, "{lie:?}");
    }
}

#[test]
fn a_device_that_never_tells_the_truth_is_given_up_itself() {
    let mut rig = Rig::new(FakeDisk::new(100));
    rig.device.lie(Lie::Status(77), u32::MAX);
    for _ in 0..10 {
        assert_eq!(rig.request(Request::read(5, 1, 0)), Err(RequestError::DeviceError));
    }
    assert_eq!(rig.driver.counts().resets, u64::from(RESETS) + 1);
    assert_eq!(rig.driver.geometry(), Err(Status::DeviceError));
}

#[test]
fn a_silent_device_is_reset_when_patience_ends_and_not_before() {
    let mut rig = Rig::new(FakeDisk::new(100));
    rig.device.lie(Lie::Silence, 1);
    let slot = rig.submit(Request::read(5, 1, 0)).unwrap();
    rig.settle();
    assert_eq!(rig.driver.deadline(|| rig.now), Some(rig.now + PATIENCE));
    rig.pass(PATIENCE - Duration::from_nanos(1));
    rig.settle();
    assert_eq!((rig.outcome(slot), rig.driver.counts().resets), (None, 0));
    rig.pass(Duration::from_nanos(1));
    rig.settle();
    assert_eq!((rig.outcome(slot), rig.driver.counts().resets), (Some(Ok(())), 1));
    assert_eq!(rig.driver.deadline(|| rig.now), None);
}

#[test]
fn a_device_that_stays_silent_fails_requests_in_the_end() {
    let mut rig = Rig::new(FakeDisk::new(100));
    rig.device.lie(Lie::Silence, u32::MAX);
    let slot = rig.submit(Request::read(5, 1, 0)).unwrap();
    for _ in 0..3 {
        rig.settle();
        assert_eq!(rig.outcome(slot), None);
        rig.pass(PATIENCE);
    }
    rig.settle();
    assert_eq!(rig.outcome(slot), Some(Err(RequestError::DeviceError)));
}

#[test]
fn a_device_that_asks_for_a_reset_gets_it() {
    let mut rig = Rig::new(FakeDisk::new(100));
    let slot = rig.submit(Request::read(5, 1, 0)).unwrap();
    rig.advance();
    rig.device.0.borrow_mut().status |= 64;
    rig.driver.take_config(&mut || true);
    assert_eq!(rig.driver.counts().resets, 1);
    rig.settle();
    assert_eq!(rig.outcome(slot), Some(Ok(())));
}

#[test]
fn a_device_that_does_not_come_back_from_a_reset_is_given_up() {
    let mut rig = Rig::new(FakeDisk::new(100));
    rig.device.lie(Lie::Status(9), 1);
    let other = rig.submit(Request::read(7, 1, 1)).unwrap();
    rig.device.0.borrow_mut().stays_set = true;
    assert_eq!(rig.request(Request::read(5, 1, 0)), Err(RequestError::DeviceError));
    assert_eq!(rig.outcome(other), Some(Err(RequestError::DeviceError)));
    assert_eq!(rig.request(Request::read(9, 1, 0)), Err(RequestError::DeviceError));
}

proptest! {
    /// A device that lies now and then, completes in any order, and is silent at times: every request is answered in the
    /// end, and whatever is answered with success is true.
    #[test]
    fn no_sequence_of_lies_makes_a_successful_answer_wrong(
        steps in proptest::collection::vec((0u8..8, 0usize..13, 0u64..90, any::<u8>()), 1..80),
    ) {
        let mut rig = Rig::new(FakeDisk::new(100));
        let mut model: Vec<Option<u8>> = vec![None; 100];
        let mut waiting = Vec::new();
        for (action, lie, sector, byte) in steps {
            match action {
                0..=2 => {
                    let page = byte % 60;
                    let free = waiting.iter().all(|(_, other, _)| *other != page);
                    if free && let Ok(slot) = rig.submit(Request::write(sector, 1, page.into())) {
                        rig.put(page.into(), &[byte; 512]);
                        waiting.push((slot, page, (sector, byte)));
                    }
                }
                3 => rig.device.lie(LIES.get(lie).copied().unwrap_or(Lie::Silence), 1),
                4..=5 => {
                    rig.device.step(lie);
                }
                6 => rig.pass(PATIENCE / 3),
                _ => {}
            }
            rig.advance();
            waiting.retain(|(slot, _, (sector, byte))| match rig.outcome(*slot) {
                Some(Ok(())) => { model[*sector as usize] = Some(*byte); false }
                Some(Err(_)) => { model[*sector as usize] = None; false }
                None => true,
            });
        }
        rig.device.0.borrow_mut().lie = None;
        for _ in 0..5 {
            rig.settle();
            rig.pass(PATIENCE);
        }
        for (slot, _, (sector, byte)) in waiting {
            match rig.outcome(slot).expect("every request is answered") {
                Ok(()) => model[sector as usize] = Some(byte),
                Err(_) => model[sector as usize] = None,
            }
        }
        for (sector, expected) in model.into_iter().enumerate() {
            if let Some(byte) = expected {
                prop_assert_eq!(rig.contents(sector, 1), [byte; 512], "sector {}", sector);
            }
        }
    }
}
