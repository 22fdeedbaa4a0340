//! `virtio-drivers`' transport over the PCI registers of a device that this domain holds by capability.

use core::fmt;
use driver::{TooShort, Window};
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error, PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

driver::registers! {
    /// What all virtio devices have (Virtual I/O Device 1.2, 4.1.4.3). Addresses are written in two halves, as 4.1.3.1
    /// lets all devices have them.
    struct Common {
        0x00 => device_feature_select: u32, read write;
        0x04 => device_feature: u32, read;
        0x08 => driver_feature_select: u32, read write;
        0x0c => driver_feature: u32, read write;
        0x10 => config_vector: u16, read write;
        0x14 => status: u8, read write;
        0x15 => generation: u8, read;
        0x16 => queue_select: u16, read write;
        0x18 => queue_size: u16, read write;
        0x1a => queue_vector: u16, read write;
        0x1c => queue_enable: u16, read write;
        0x1e => queue_notify_offset: u16, read;
        0x20 => descriptors_low: u32, read write;
        0x24 => descriptors_high: u32, read write;
        0x28 => driver_area_low: u32, read write;
        0x2c => driver_area_high: u32, read write;
        0x30 => device_area_low: u32, read write;
        0x34 => device_area_high: u32, read write;
    }
}

/// No interrupt for this.
const NO_VECTOR: u16 = 0xffff;

/// Entries of the MSI-X table that the device is told to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vectors {
    /// When its configuration has changed.
    pub config: u16,
    /// When requests are complete.
    pub queue: u16,
}

/// What a disk needs beside the queues' transport.
pub trait Device: Transport {
    /// Tells the device which interrupts to raise. It is called after a reset and before queues are set up.
    ///
    /// # Errors
    /// [`VectorRefused`].
    fn set_vectors(&mut self, vectors: Vectors) -> core::result::Result<(), VectorRefused>;

    /// Whether the device has taken the interrupt of its queues.
    fn has_queue_vector(&self) -> bool;

    /// Whether the device answers no more. Its status then reads as all ones, which no device may have: two of the bits have no
    /// meaning (Virtual I/O Device 1.2, 2.1), and a failed device is not at work.
    fn is_gone(&self) -> bool {
        self.get_status().bits() == GONE
    }
}

/// The device status, one byte, where no device answers.
const GONE: u32 = 0xff;

/// The device does not take the number of an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorRefused;

impl fmt::Display for VectorRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the device has no room for its message-signalled interrupts")
    }
}

impl core::error::Error for VectorRefused {}

/// A virtio device on the PCI bus.
#[derive(Debug)]
pub struct PciTransport {
    common: Common,
    notify: Window,
    notify_multiplier: u32,
    device: Option<Window>,
    device_type: DeviceType,
    vectors: Option<Vectors>,
    queue_vector_taken: bool,
    /// Where queue 0 is notified, once it is set up.
    notify_offset: Option<usize>,
}

impl PciTransport {
    /// A device with these structures.
    ///
    /// # Errors
    /// [`TooShort`].
    pub fn new(
        device_type: DeviceType,
        common: Window,
        notify: (Window, u32),
        device: Option<Window>,
    ) -> core::result::Result<Self, TooShort> {
        let (notify, notify_multiplier) = notify;
        Ok(Self {
            common: common.block()?,
            notify,
            notify_multiplier,
            device,
            device_type,
            vectors: None,
            queue_vector_taken: false,
            notify_offset: None,
        })
    }

    fn select(&self, queue: u16) {
        self.common.queue_select().write(queue);
    }
}

impl Transport for PciTransport {
    fn device_type(&self) -> DeviceType {
        self.device_type
    }

    fn read_device_features(&mut self) -> u64 {
        self.common.device_feature_select().write(0);
        let low = self.common.device_feature().read();
        self.common.device_feature_select().write(1);
        u64::from(self.common.device_feature().read()) << 32 | u64::from(low)
    }

    fn write_driver_features(&mut self, features: u64) {
        self.common.driver_feature_select().write(0);
        self.common.driver_feature().write(features as u32);
        self.common.driver_feature_select().write(1);
        self.common.driver_feature().write((features >> 32) as u32);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.select(queue);
        self.common.queue_size().read().into()
    }

    fn notify(&mut self, queue: u16) {
        // A queue whose place is outside of the structure was refused when it was set up.
        if let Some(offset) = self.notify_offset {
            self.notify.write(offset, queue);
        }
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.common.status().read().into())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.common.status().write(status.bits() as u8);
    }

    fn set_guest_page_size(&mut self, _: u32) {
        // For legacy devices only.
    }

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.select(queue);
        let offset = usize::from(self.common.queue_notify_offset().read());
        let offset = offset.checked_mul(self.notify_multiplier as usize);
        self.notify_offset = offset.filter(|offset| offset.is_multiple_of(2) && offset + 2 <= self.notify.length());
        self.common.queue_size().write(size as u16);
        self.common.descriptors_low().write(descriptors as u32);
        self.common.descriptors_high().write((descriptors >> 32) as u32);
        self.common.driver_area_low().write(driver_area as u32);
        self.common.driver_area_high().write((driver_area >> 32) as u32);
        self.common.device_area_low().write(device_area as u32);
        self.common.device_area_high().write((device_area >> 32) as u32);
        let vector = self.vectors.map_or(NO_VECTOR, |vectors| vectors.queue);
        self.common.queue_vector().write(vector);
        self.queue_vector_taken = self.notify_offset.is_some() && self.common.queue_vector().read() == vector;
        self.common.queue_enable().write(1);
    }

    fn queue_unset(&mut self, _: u16) {
        // A queue of such a device is disabled by resetting the device.
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.select(queue);
        self.common.queue_enable().read() != 0
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        // Message-signalled interrupts need no acknowledgement at the device.
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        self.common.generation().read().into()
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        let device = self.device.as_ref().ok_or(Error::ConfigSpaceMissing)?;
        let end = offset.checked_add(size_of::<T>()).ok_or(Error::ConfigSpaceTooSmall)?;
        if end > device.length() {
            return Err(Error::ConfigSpaceTooSmall);
        }
        let mut value = T::new_zeroed();
        let bytes = value.as_mut_bytes();
        if offset.is_multiple_of(4) && bytes.len().is_multiple_of(4) {
            // Fields are read with their width (4.1.3.1); those of 64 bits are two of 32.
            for (index, word) in bytes.chunks_exact_mut(4).enumerate() {
                word.copy_from_slice(&device.read::<u32>(offset + index * 4).to_le_bytes());
            }
        } else if offset.is_multiple_of(2) && bytes.len() == 2 {
            bytes.copy_from_slice(&device.read::<u16>(offset).to_le_bytes());
        } else {
            bytes.iter_mut().enumerate().for_each(|(index, byte)| *byte = device.read::<u8>(offset + index));
        }
        Ok(value)
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, _: usize, _: T) -> Result<()> {
        // A disk's configuration has nothing that this driver would write.
        Err(Error::Unsupported)
    }
}

impl Device for PciTransport {
    fn set_vectors(&mut self, vectors: Vectors) -> core::result::Result<(), VectorRefused> {
        self.vectors = Some(vectors);
        self.common.config_vector().write(vectors.config);
        if self.common.config_vector().read() == vectors.config { Ok(()) } else { Err(VectorRefused) }
    }

    fn has_queue_vector(&self) -> bool {
        self.queue_vector_taken
    }
}
