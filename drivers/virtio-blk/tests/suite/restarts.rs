use crate::device::FakeDisk;
use crate::rig::{Rig, patience};
use proptest::prelude::*;
use userlib::block_ring::Request;
use virtio_blk::driver::PATIENCE;

#[test]
fn what_was_under_way_when_a_driver_died_is_carried_out_by_the_next() {
    let mut rig = Rig::new(FakeDisk::new(200));
    let slots: Vec<_> = (0..10).map(|index| rig.submit(Request::read(index * 8, 8, index as u32)).unwrap()).collect();
    rig.advance();
    rig.device.step(0);
    rig.device.step(5);
    rig.kill();
    let statistics = rig.client.statistics();
    assert_eq!((statistics.repeated, statistics.restarts_in_flight, statistics.generations), (10, 1, 2));
    rig.settle();
    for (index, slot) in slots.into_iter().enumerate() {
        assert_eq!(rig.outcome(slot), Some(Ok(())));
        assert_eq!(rig.data(index as u32, 4096), rig.contents(index * 8, 8));
    }
}

#[test]
fn a_driver_that_died_idle_leaves_nothing_to_repeat() {
    let mut rig = Rig::new(FakeDisk::new(200));
    rig.request(Request::read(0, 8, 0)).unwrap();
    rig.kill();
    let statistics = rig.client.statistics();
    assert_eq!((statistics.repeated, statistics.restarts_in_flight, statistics.generations), (0, 0, 2));
}

#[test]
fn requests_that_nobody_has_seen_yet_wait_for_the_next_driver() {
    let mut rig = Rig::new(FakeDisk::new(200));
    let slot = rig.submit(Request::write(3, 1, 0)).unwrap();
    rig.kill();
    assert_eq!(rig.client.statistics().restarts_in_flight, 0, "it was not under way");
    rig.settle();
    assert_eq!(rig.outcome(slot), Some(Ok(())));
}

#[test]
fn what_was_under_way_when_the_device_was_taken_out_waits_until_it_is_back() {
    let mut rig = Rig::new(FakeDisk::new(200));
    rig.put(1, &[0xab; 512]);
    let slots = [Request::read(8, 8, 0), Request::write(3, 1, 1), Request::flush()];
    let slots = slots.map(|request| rig.submit(request).unwrap());
    rig.advance();
    rig.device.leave();
    rig.advance();
    assert!(!rig.driver.has_lost_device(), "nobody has looked");
    rig.driver.check_presence();
    assert!(rig.driver.has_lost_device());
    let late = rig.submit(Request::read(16, 1, 2)).unwrap();
    rig.advance();
    rig.pass(2 * PATIENCE);
    rig.advance();
    assert!(slots.iter().all(|slot| rig.outcome(*slot).is_none()), "nothing is said to have failed");

    rig.device.come_back();
    rig.kill();
    rig.settle();
    assert!(slots.iter().chain([&late]).all(|slot| rig.outcome(*slot) == Some(Ok(()))));
    assert_eq!(rig.contents(3, 1), [0xab; 512]);
    assert_eq!(rig.data(0, 4096), rig.contents(8, 8));
}

#[test]
fn a_device_that_is_taken_out_while_it_is_reset_is_gone_and_not_broken() {
    // As many looks as there are from a fault to a device that works again, and one more: then it has not gone meanwhile.
    let mut gone = 0;
    for looks in 0..8 {
        let mut rig = Rig::new(FakeDisk::new(200));
        let slot = rig.submit(Request::read(0, 8, 0)).unwrap();
        rig.advance();
        rig.device.leave_after(looks);
        rig.pass(PATIENCE);
        rig.driver.check_silence(rig.now, &mut patience());
        assert!(rig.outcome(slot).is_none(), "{looks} looks: nothing is said to have failed");
        gone += usize::from(rig.driver.has_lost_device());
        rig.device.leave();
        rig.driver.check_presence();
        assert!(rig.driver.has_lost_device(), "{looks} looks");
    }
    assert!((3..8).contains(&gone), "{gone} of the moments were within the reset");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Drivers die at any moment between any two steps: the client never sees an error or a wrong byte.
    #[test]
    fn however_drivers_die_every_byte_is_right(
        steps in proptest::collection::vec((0u8..10, any::<u8>(), 0u64..180, 1u32..16), 1..200),
    ) {
        let mut rig = Rig::new(FakeDisk::new(200));
        let mut model = rig.contents(0, 200);
        // Each page-pair of the buffer belongs to at most one request.
        let mut waiting: Vec<Option<(userlib::block_ring::Slot, Request, u8)>> = vec![None; 32];
        for (action, byte, sector, count) in steps {
            let place = usize::from(byte) % waiting.len();
            let page = place as u32 * 2;
            match action {
                0..=4 if waiting[place].is_none() => {
                    let request = match action {
                        0..=2 => Request::write(sector, count, page),
                        _ => Request::read(sector, count, page),
                    };
                    rig.put(page, &vec![byte; request.bytes()]);
                    waiting[place] = rig.submit(request).ok().map(|slot| (slot, request, byte));
                }
                5..=7 => { rig.device.step(byte.into()); }
                8 => rig.kill(),
                _ => {}
            }
            rig.advance();
            check(&rig, &mut waiting, &mut model)?;
        }
        rig.settle();
        check(&rig, &mut waiting, &mut model)?;
        prop_assert!(waiting.iter().all(Option::is_none));
        prop_assert_eq!(rig.contents(0, 200), model);
        prop_assert_eq!(rig.driver.counts().failed, 0);
        prop_assert_eq!(rig.driver.counts().resets, 0);
    }
}

fn check(
    rig: &Rig,
    waiting: &mut [Option<(userlib::block_ring::Slot, Request, u8)>],
    model: &mut [u8],
) -> Result<(), TestCaseError> {
    for place in waiting {
        let Some((slot, request, byte)) = *place else { continue };
        let Some(outcome) = rig.outcome(slot) else { continue };
        prop_assert_eq!(outcome, Ok(()));
        let start = request.sector as usize * 512;
        let sectors = &mut model[start..start + request.bytes()];
        if request.operation == userlib::block_ring::Operation::Write {
            sectors.fill(byte);
        } else {
            prop_assert_eq!(rig.data(request.page, request.bytes()), sectors.to_vec());
        }
        *place = None;
    }
    Ok(())
}
