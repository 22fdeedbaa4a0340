//! How a device of the PCI bus is named to an IOMMU.

use core::fmt;

/// Who a request on the bus comes from: the requester id (PCI Express Base Specification 5.0, 2.2.6.2), which Intel
/// calls source id and AMD device id. Devices whose requests pass a bridge to conventional PCI share the bridge's.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u16);

impl SourceId {
    /// The first of all.
    pub const FIRST: Self = Self(0);
    /// The last of all.
    pub const LAST: Self = Self(u16::MAX);

    /// The function `function` (the lowest three bits count) of the device `device` (the lowest five bits count).
    pub const fn new(bus: u8, device: u8, function: u8) -> Self {
        Self((bus as u16) << 8 | (device as u16 & 0x1f) << 3 | function as u16 & 7)
    }

    /// The bus.
    pub const fn bus(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The device on the bus, 0 to 31.
    pub const fn device(self) -> u8 {
        (self.0 >> 3) as u8 & 0x1f
    }

    /// The function of the device, 0 to 7.
    pub const fn function(self) -> u8 {
        self.0 as u8 & 7
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus(), self.device(), self.function())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::string::ToString;

    #[test]
    fn a_source_is_made_of_bus_device_and_function_and_falls_apart_into_them() {
        let source = SourceId::new(0x3a, 0x1f, 5);
        assert_eq!(source, SourceId(0x3afd));
        assert_eq!((source.bus(), source.device(), source.function()), (0x3a, 0x1f, 5));
        assert_eq!(SourceId::new(0xff, 0x1f, 7), SourceId::LAST);
        assert_eq!(SourceId::new(0, 0x20, 8), SourceId::FIRST, "no number reaches into its neighbour");
    }

    #[test]
    fn a_source_is_written_as_everybody_writes_it() {
        assert_eq!(SourceId::new(0, 2, 0).to_string(), "00:02.0");
        assert_eq!(SourceId::new(0xf0, 0x1f, 7).to_string(), "f0:1f.7");
    }
}
