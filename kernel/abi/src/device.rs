//! Devices as the IOMMU knows them.

use core::fmt;

/// Who accesses memory, as every access on the bus says: bus, device and function (PCI Express Base Specification 4.0, 2.2.4.2,
/// "Requester ID").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct SourceId(pub u16);

impl SourceId {
    /// The first of all.
    pub const FIRST: Self = Self(0);
    /// The last of all.
    pub const LAST: Self = Self(u16::MAX);

    /// The function with this place. Of the device's number five bits count, of the function's three.
    pub const fn new(bus: u8, device: u8, function: u8) -> Self {
        SourceId((bus as u16) << 8 | (device as u16 & 31) << 3 | function as u16 & 7)
    }

    /// Its bus.
    pub const fn bus(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// Its number on the bus, 0 to 31.
    pub const fn device(self) -> u8 {
        (self.0 >> 3) as u8 & 31
    }

    /// Its number in the device, 0 to 7.
    pub const fn function(self) -> u8 {
        self.0 as u8 & 7
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus(), self.device(), self.function())
    }
}

/// Functions that share one device space: one, or several of one bus that the IOMMU cannot tell apart, such as all behind
/// a bridge to conventional PCI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceRange {
    first: u16,
    /// The last one's number on the bus.
    last: u8,
}

impl SourceRange {
    /// One function.
    pub const fn one(source: SourceId) -> Self {
        SourceRange { first: source.0, last: source.0 as u8 }
    }

    /// All from `first` to `last`; none if they are on different buses or in the wrong order.
    pub const fn new(first: SourceId, last: SourceId) -> Option<Self> {
        if first.bus() == last.bus() && first.0 <= last.0 {
            Some(SourceRange { first: first.0, last: last.0 as u8 })
        } else {
            None
        }
    }

    /// The first.
    pub const fn first(self) -> SourceId {
        SourceId(self.first)
    }

    /// The last.
    pub const fn last(self) -> SourceId {
        SourceId(self.first & 0xff00 | self.last as u16)
    }

    /// As a register: the first in bits 0 to 15, the last in bits 16 to 31.
    pub const fn to_register(self) -> u64 {
        self.first as u64 | (self.last().0 as u64) << 16
    }

    /// From a register.
    pub const fn from_register(value: u64) -> Option<Self> {
        if value >> 32 != 0 {
            return None;
        }
        Self::new(SourceId(value as u16), SourceId((value >> 16) as u16))
    }

    /// Whether a function is among them.
    pub const fn contains(self, source: SourceId) -> bool {
        self.first <= source.0 && source.0 <= self.last().0
    }

    /// Whether a function is among these as well as among those.
    pub const fn overlaps(self, other: SourceRange) -> bool {
        self.first <= other.last().0 && other.first <= self.last().0
    }
}

/// Why the IOMMU has refused a device something, as far as all of them can tell.
///
/// None of them is 0, so that "no stray" is all zero: tables of nothing then take no room in the kernel's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum StrayKind {
    /// It wanted to read memory that is not in its space.
    Read = 1,
    /// It wanted to write memory that is not in its space.
    Write = 2,
    /// It wanted to raise an interrupt that is not its own.
    Interrupt = 3,
}

/// An access that the IOMMU has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stray {
    /// Whose it was.
    pub source: SourceId,
    /// What it wanted.
    pub kind: StrayKind,
    /// What the hardware says of it: the reason by the number that its manual gives.
    pub reason: u8,
    /// The address, or of an interrupt the number under which it was to be raised.
    pub address: u64,
}

impl Stray {
    /// All but the address as a register.
    pub const fn to_register(&self) -> u64 {
        self.source.0 as u64 | (self.kind as u64) << 16 | (self.reason as u64) << 24
    }

    /// From that register and the address.
    pub const fn from_registers(value: u64, address: u64) -> Option<Self> {
        let kind = match (value >> 16) as u8 {
            1 => StrayKind::Read,
            2 => StrayKind::Write,
            3 => StrayKind::Interrupt,
            _ => return None,
        };
        Some(Stray { source: SourceId(value as u16), kind, reason: (value >> 24) as u8, address })
    }
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stray { source, kind, reason, address } = self;
        match kind {
            StrayKind::Read => write!(f, "{source} wanted to read {address:#x} (reason {reason:#x})"),
            StrayKind::Write => write!(f, "{source} wanted to write {address:#x} (reason {reason:#x})"),
            StrayKind::Interrupt => {
                write!(f, "{source} wanted to raise interrupt {address:#x} (reason {reason:#x})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::string::ToString;

    #[test]
    fn a_source_has_a_place() {
        let source = SourceId::new(3, 31, 7);
        assert_eq!((source.bus(), source.device(), source.function()), (3, 31, 7));
        assert_eq!(source.to_string(), "03:1f.7");
    }

    #[test]
    fn a_range_is_of_one_bus_and_in_order() {
        let (one, two) = (SourceId::new(1, 2, 0), SourceId::new(1, 2, 7));
        let range = SourceRange::new(one, two).expect("one bus, in order");
        assert_eq!((range.first(), range.last()), (one, two));
        assert_eq!(SourceRange::from_register(range.to_register()), Some(range));
        assert_eq!(SourceRange::new(two, one), None);
        assert_eq!(SourceRange::new(one, SourceId::new(2, 2, 7)), None);
        assert_eq!(SourceRange::from_register(range.to_register() | 1 << 32), None);
    }

    #[test]
    fn ranges_overlap_if_a_function_is_in_both() {
        let range = |first, last| SourceRange::new(SourceId(first), SourceId(last)).expect("a range");
        assert!(range(8, 15).contains(SourceId(8)) && range(8, 15).contains(SourceId(15)));
        assert!(!range(8, 15).contains(SourceId(7)) && !range(8, 15).contains(SourceId(16)));
        for (other, overlaps) in
            [(range(0, 7), false), (range(0, 8), true), (range(15, 20), true), (range(16, 20), false)]
        {
            assert_eq!(range(8, 15).overlaps(other), overlaps, "{other:?}");
            assert_eq!(other.overlaps(range(8, 15)), overlaps, "{other:?}");
        }
    }

    #[test]
    fn a_stray_access_travels_in_two_registers() {
        for kind in [StrayKind::Read, StrayKind::Write, StrayKind::Interrupt] {
            let stray = Stray { source: SourceId(0x1234), kind, reason: 0x26, address: 0xdead_b000 };
            assert_eq!(Stray::from_registers(stray.to_register(), stray.address), Some(stray));
        }
        for kind in [0, 4] {
            assert_eq!(Stray::from_registers(kind << 16, 0), None);
        }
    }
}
