//! `virtio-drivers`' transport over the PCI registers of a device that this domain holds by capability.

use crate::registers::Registers;
use core::fmt;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error, PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Offsets in the common structure (Virtual I/O Device 1.2, 4.1.4.3).
mod common {
    pub(super) const DEVICE_FEATURE_SELECT: usize = 0x00;
    pub(super) const DEVICE_FEATURE: usize = 0x04;
    pub(super) const DRIVER_FEATURE_SELECT: usize = 0x08;
    pub(super) const DRIVER_FEATURE: usize = 0x0c;
    pub(super) const CONFIG_VECTOR: usize = 0x10;
    pub(super) const STATUS: usize = 0x14;
    pub(super) const GENERATION: usize = 0x15;
    pub(super) const QUEUE_SELECT: usize = 0x16;
    pub(super) const QUEUE_SIZE: usize = 0x18;
    pub(super) const QUEUE_VECTOR: usize = 0x1a;
    pub(super) const QUEUE_ENABLE: usize = 0x1c;
    pub(super) const QUEUE_NOTIFY_OFFSET: usize = 0x1e;
    pub(super) const QUEUE_DESCRIPTORS: usize = 0x20;
    pub(super) const QUEUE_DRIVER_AREA: usize = 0x28;
    pub(super) const QUEUE_DEVICE_AREA: usize = 0x30;
    pub(super) const LENGTH: usize = 0x38;
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
}

/// The device does not take the number of an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorRefused;

impl fmt::Display for VectorRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the device has no room for its message-signalled interrupts")
    }
}

impl core::error::Error for VectorRefused {}

/// A device's registers are too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooShort;

impl fmt::Display for TooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its registers are fewer than those of a virtio device")
    }
}

impl core::error::Error for TooShort {}

/// A virtio device on the PCI bus.
#[derive(Debug)]
pub struct PciTransport<R> {
    common: R,
    notify: R,
    notify_multiplier: u32,
    device: Option<R>,
    device_type: DeviceType,
    vectors: Option<Vectors>,
    queue_vector_taken: bool,
    /// Where queue 0 is notified, once it is set up.
    notify_offset: Option<usize>,
}

impl<R: Registers> PciTransport<R> {
    /// A device with these structures.
    ///
    /// # Errors
    /// [`TooShort`].
    pub fn new(
        device_type: DeviceType,
        common: R,
        notify: (R, u32),
        device: Option<R>,
    ) -> core::result::Result<Self, TooShort> {
        if common.length() < common::LENGTH {
            return Err(TooShort);
        }
        let (notify, notify_multiplier) = notify;
        Ok(Self {
            common,
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
        self.common.write16(common::QUEUE_SELECT, queue);
    }

    fn write_address(&self, offset: usize, address: PhysAddr) {
        self.common.write32(offset, address as u32);
        self.common.write32(offset + 4, (address >> 32) as u32);
    }
}

impl<R: Registers> Transport for PciTransport<R> {
    fn device_type(&self) -> DeviceType {
        self.device_type
    }

    fn read_device_features(&mut self) -> u64 {
        self.common.write32(common::DEVICE_FEATURE_SELECT, 0);
        let low = self.common.read32(common::DEVICE_FEATURE);
        self.common.write32(common::DEVICE_FEATURE_SELECT, 1);
        u64::from(self.common.read32(common::DEVICE_FEATURE)) << 32 | u64::from(low)
    }

    fn write_driver_features(&mut self, features: u64) {
        self.common.write32(common::DRIVER_FEATURE_SELECT, 0);
        self.common.write32(common::DRIVER_FEATURE, features as u32);
        self.common.write32(common::DRIVER_FEATURE_SELECT, 1);
        self.common.write32(common::DRIVER_FEATURE, (features >> 32) as u32);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.select(queue);
        self.common.read16(common::QUEUE_SIZE).into()
    }

    fn notify(&mut self, queue: u16) {
        // A queue whose place is outside of the structure was refused when it was set up.
        if let Some(offset) = self.notify_offset {
            self.notify.write16(offset, queue);
        }
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.common.read8(common::STATUS).into())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.common.write8(common::STATUS, status.bits() as u8);
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
        let offset = usize::from(self.common.read16(common::QUEUE_NOTIFY_OFFSET));
        let offset = offset.checked_mul(self.notify_multiplier as usize);
        self.notify_offset = offset.filter(|offset| offset.is_multiple_of(2) && offset + 2 <= self.notify.length());
        self.common.write16(common::QUEUE_SIZE, size as u16);
        self.write_address(common::QUEUE_DESCRIPTORS, descriptors);
        self.write_address(common::QUEUE_DRIVER_AREA, driver_area);
        self.write_address(common::QUEUE_DEVICE_AREA, device_area);
        let vector = self.vectors.map_or(NO_VECTOR, |vectors| vectors.queue);
        self.common.write16(common::QUEUE_VECTOR, vector);
        self.queue_vector_taken = self.notify_offset.is_some() && self.common.read16(common::QUEUE_VECTOR) == vector;
        self.common.write16(common::QUEUE_ENABLE, 1);
    }

    fn queue_unset(&mut self, _: u16) {
        // A queue of such a device is disabled by resetting the device.
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.select(queue);
        self.common.read16(common::QUEUE_ENABLE) != 0
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        // Message-signalled interrupts need no acknowledgement at the device.
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        self.common.read8(common::GENERATION).into()
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
                word.copy_from_slice(&device.read32(offset + index * 4).to_le_bytes());
            }
        } else if offset.is_multiple_of(2) && bytes.len() == 2 {
            bytes.copy_from_slice(&device.read16(offset).to_le_bytes());
        } else {
            bytes.iter_mut().enumerate().for_each(|(index, byte)| *byte = device.read8(offset + index));
        }
        Ok(value)
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, _: usize, _: T) -> Result<()> {
        // A disk's configuration has nothing that this driver would write.
        Err(Error::Unsupported)
    }
}

impl<R: Registers> Device for PciTransport<R> {
    fn set_vectors(&mut self, vectors: Vectors) -> core::result::Result<(), VectorRefused> {
        self.vectors = Some(vectors);
        self.common.write16(common::CONFIG_VECTOR, vectors.config);
        if self.common.read16(common::CONFIG_VECTOR) == vectors.config { Ok(()) } else { Err(VectorRefused) }
    }

    fn has_queue_vector(&self) -> bool {
        self.queue_vector_taken
    }
}
