use crate::device::{FakeDisk, Inner, SEG_MAX, SIZE_MAX, VERSION_1};
use crate::rig::{Rig, start};
use userlib::block_ring::{Request, RequestError};
use virtio_blk::disk::StartError;
use virtio_blk::protocol::Features;

fn refused(change: impl FnOnce(&mut Inner)) -> StartError {
    let device = FakeDisk::new(100);
    change(&mut device.0.borrow_mut());
    start(&device).map(drop).expect_err("the device is not usable")
}

#[test]
fn exactly_the_features_are_accepted_that_are_offered_and_known() {
    let device = FakeDisk::new(100);
    // Among others: indirect descriptors, event indices, packed queues.
    device.0.borrow_mut().features = !(SIZE_MAX | SEG_MAX);
    let disk = start(&device).unwrap();
    let known = Features::all() - Features::SIZE_MAX - Features::SEG_MAX;
    assert_eq!(disk.features(), known);
    assert_eq!(device.0.borrow().accepted, known.bits());
    assert!(known.contains(Features::VERSION_1 | Features::ACCESS_PLATFORM | Features::FLUSH | Features::RO));
}

#[test]
fn devices_that_cannot_be_used_are_refused_with_the_reason() {
    assert_eq!(refused(|device| device.features &= !VERSION_1), StartError::Legacy);
    assert_eq!(refused(|device| device.refuses_features = true), StartError::FeaturesRefused);
    assert_eq!(refused(|device| device.queue_size = 64), StartError::QueueTooSmall(64));
    assert_eq!(refused(|device| device.queue_size = 0), StartError::QueueTooSmall(0));
    assert_eq!(refused(|device| device.has_config = false), StartError::Config);
    assert_eq!(refused(|device| device.unstable = true), StartError::Config);
    assert_eq!(refused(|device| device.refuses_vectors = true), StartError::NoInterrupts);
    assert_eq!(refused(|device| device.features |= SIZE_MAX), StartError::NoRequests);
    let never_ready = |device: &mut Inner| {
        device.status = 4;
        device.stays_set = true;
    };
    assert_eq!(refused(never_ready), StartError::NoReset);
}

#[test]
fn without_a_disk_every_request_is_answered_with_the_reason() {
    let device = FakeDisk::new(100);
    device.0.borrow_mut().queue_size = 16;
    let mut rig = Rig::new(device);
    assert!(rig.driver.geometry().is_err());
    assert_eq!(rig.request(Request::read(0, 1, 0)), Err(RequestError::NoDevice));
    assert_eq!(rig.request(Request::write(1 << 40, 1, 0)), Err(RequestError::NoDevice));
    assert_eq!(rig.request(Request::flush()), Err(RequestError::NoDevice));
    rig.kill();
    assert_eq!(rig.request(Request::read(0, 1, 0)), Err(RequestError::NoDevice));
}
