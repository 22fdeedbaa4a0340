use driver::TooShort;
use driver::double::{self, RegisterDouble};
use std::cell::RefCell;
use std::rc::Rc;
use virtio_blk::transport::{Device, PciTransport, VectorRefused, Vectors};
use virtio_drivers::transport::{DeviceStatus, DeviceType, Transport};

/// Registers that keep what is written, and remember the order.
#[derive(Clone)]
struct Plain {
    bytes: Rc<RefCell<Vec<u8>>>,
    writes: Rc<RefCell<Vec<(usize, u32)>>>,
    /// Where writes are ignored.
    fixed: Option<usize>,
}

impl Plain {
    fn new(length: usize) -> Self {
        Plain { bytes: Rc::new(RefCell::new(vec![0; length])), writes: Rc::default(), fixed: None }
    }

    fn window(&self) -> driver::Window {
        double::window(Rc::new(self.clone()))
    }

    fn value(&self, offset: usize, width: usize) -> u64 {
        RegisterDouble::read(self, offset, width)
    }
}

impl RegisterDouble for Plain {
    fn length(&self) -> usize {
        self.bytes.borrow().len()
    }

    fn read(&self, offset: usize, width: usize) -> u64 {
        let mut value = [0; 8];
        value[..width].copy_from_slice(&self.bytes.borrow()[offset..offset + width]);
        u64::from_le_bytes(value)
    }

    fn write(&self, offset: usize, width: usize, value: u64) {
        self.writes.borrow_mut().push((offset, value as u32));
        if self.fixed != Some(offset) {
            self.bytes.borrow_mut()[offset..offset + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
    }
}

const VECTORS: Vectors = Vectors { config: 0, queue: 1 };

fn transport(common: &Plain, notify: &Plain, multiplier: u32) -> PciTransport {
    PciTransport::new(DeviceType::Block, common.window(), (notify.window(), multiplier), Some(Plain::new(64).window()))
        .unwrap()
}

#[test]
fn a_queue_is_enabled_after_everything_else_is_in_place() {
    let common = Plain::new(0x38);
    let mut transport = transport(&common, &Plain::new(8), 4);
    transport.set_vectors(VECTORS).unwrap();
    transport.queue_set(0, 128, 0x1_2345_6000, 0x7000, 0x8000);
    assert_eq!(common.writes.borrow().last(), Some(&(0x1c, 1)));
    assert_eq!(common.value(0x20, 4), 0x2345_6000);
    assert_eq!(common.value(0x24, 4), 1);
    assert_eq!((common.value(0x18, 2), common.value(0x10, 2), common.value(0x1a, 2)), (128, 0, 1));
    assert!(transport.has_queue_vector());
}

#[test]
fn queues_are_notified_at_their_own_place() {
    let (common, notify) = (Plain::new(0x38), Plain::new(16));
    let mut transport = transport(&common, &notify, 4);
    common.bytes.borrow_mut()[0x1e] = 3;
    transport.queue_set(0, 128, 0, 0, 0);
    transport.notify(0);
    assert_eq!(*notify.writes.borrow(), [(12, 0)]);
}

#[test]
fn a_queue_whose_place_for_notifications_is_nowhere_is_not_usable() {
    let (common, notify) = (Plain::new(0x38), Plain::new(16));
    let mut transport = transport(&common, &notify, u32::MAX);
    common.bytes.borrow_mut()[0x1e..0x20].copy_from_slice(&[0xff, 0xff]);
    transport.set_vectors(VECTORS).unwrap();
    transport.queue_set(0, 128, 0, 0, 0);
    assert!(!transport.has_queue_vector());
    transport.notify(0);
    assert_eq!(*notify.writes.borrow(), []);
}

#[test]
fn a_device_that_does_not_keep_its_interrupts_numbers_refuses_them() {
    let mut common = Plain::new(0x38);
    common.fixed = Some(0x10);
    common.bytes.borrow_mut()[0x10..0x12].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(transport(&common, &Plain::new(8), 0).set_vectors(VECTORS), Err(VectorRefused));
    let mut common = Plain::new(0x38);
    common.fixed = Some(0x1a);
    let mut transport = transport(&common, &Plain::new(8), 0);
    transport.set_vectors(VECTORS).unwrap();
    transport.queue_set(0, 128, 0, 0, 0);
    assert!(!transport.has_queue_vector());
}

#[test]
fn features_status_and_configuration_are_read_and_written_in_their_widths() {
    let common = Plain::new(0x38);
    let mut transport = transport(&common, &Plain::new(8), 0);
    transport.write_driver_features(0x1_0000_0200);
    assert_eq!(*common.writes.borrow(), [(0x08, 0), (0x0c, 0x200), (0x08, 1), (0x0c, 1)]);
    transport.set_status(DeviceStatus::ACKNOWLEDGE);
    assert_eq!(transport.get_status(), DeviceStatus::ACKNOWLEDGE);
    assert_eq!(transport.read_config_space::<u64>(0), Ok(0));
    assert!(transport.read_config_space::<u64>(60).is_err());
    assert!(transport.read_config_space::<u32>(usize::MAX).is_err());
}

#[test]
fn a_device_with_too_few_registers_is_refused() {
    let short = PciTransport::new(DeviceType::Block, Plain::new(0x37).window(), (Plain::new(2).window(), 0), None);
    assert_eq!(short.map(drop).unwrap_err(), TooShort { needed: 0x38, given: 0x37 });
}
