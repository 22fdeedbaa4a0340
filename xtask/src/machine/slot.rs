//! Slots out of which a disk can be taken while the machine runs.

use serde_json::{Value, json};

/// Ports by which a PC reaches configuration space (PCI Local Bus 3.0, 3.2.2.3.2).
pub(super) const ADDRESS_PORT: u16 = 0xcf8;
pub(super) const DATA_PORT: u16 = 0xcfc;
/// Where the first capability of a function is.
pub(super) const CAPABILITIES: u8 = 0x34;
/// Id of the PCI Express capability, and where its slot control is (PCI Express Base Specification 4.0, 7.5.3.10).
pub(super) const EXPRESS: u8 = 0x10;
pub(super) const SLOT_CONTROL: u8 = 0x18;
/// Bits of the slot control: no power, and an indicator that says so.
pub(super) const POWER_AND_INDICATOR_OFF: u16 = 1 << 10 | 0b11 << 8;

/// The number of the first port on the first bus: behind whatever QEMU places by itself.
const FIRST_DEVICE: usize = 0x10;

/// The slot in which a drive of a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    number: usize,
}

impl Slot {
    /// That of the drive with this number, counted from 0.
    pub const fn of_drive(number: usize) -> Self {
        Self { number }
    }

    /// QEMU's name for the device in it.
    pub fn card(self) -> String {
        format!("card{}", self.number)
    }

    /// Its port, as the value of QEMU's option `-device`.
    pub(super) fn port(self) -> String {
        let number = self.number;
        format!("pcie-root-port,id=slot{number},chassis={},addr={:#x}", number + 1, FIRST_DEVICE + number)
    }

    /// The disk in it, likewise.
    pub(super) fn disk(self, is_confined: bool) -> String {
        let platform = if is_confined { ",iommu_platform=on" } else { "" };
        let (card, number) = (self.card(), self.number);
        format!("virtio-blk-pci,id={card},bus=slot{number},drive=disk{number},disable-legacy=on{platform}")
    }

    /// The same for QEMU's monitor.
    pub(super) fn disk_as_json(self, is_confined: bool) -> Value {
        let text = self.disk(is_confined);
        let mut properties = text.split(',');
        let mut object = json!({ "driver": properties.next() });
        for (name, value) in properties.filter_map(|property| property.split_once('=')) {
            object[name] = value.into();
        }
        object
    }

    /// The address of four bytes of its port's configuration space.
    pub(super) fn config_address(self, offset: u8) -> u32 {
        1 << 31 | ((FIRST_DEVICE + self.number) as u32) << 11 | u32::from(offset & !3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_what_was_there() {
        let slot = Slot::of_drive(2);
        assert_eq!(
            slot.disk_as_json(true),
            json!({
                "driver": "virtio-blk-pci", "id": "card2", "bus": "slot2", "drive": "disk2",
                "disable-legacy": "on", "iommu_platform": "on",
            })
        );
        assert!(slot.disk_as_json(false).get("iommu_platform").is_none());
    }

    #[test]
    fn configuration_space_is_addressed_by_device_and_register() {
        assert_eq!(Slot::of_drive(0).config_address(0x1b), 0x8000_8018);
        assert_eq!(Slot::of_drive(1).config_address(0x34), 0x8000_8834);
    }
}
