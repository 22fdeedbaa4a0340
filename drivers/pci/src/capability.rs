//! The list of capabilities in a function's configuration space (PCI 3.0, 6.7).

use crate::config::{ConfigSpace, FunctionAddress, STATUS_CAPABILITIES, Width, read8, read16, register};
use alloc::vec::Vec;
use core::fmt;

/// Id of the MSI capability.
pub const MSI: u8 = 0x05;
/// Id of the MSI-X capability.
pub const MSIX: u8 = 0x11;
/// Id of the PCI Express capability.
pub const EXPRESS: u8 = 0x10;

/// Capabilities lie behind the header.
const FIRST: u8 = 0x40;

/// One capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Capability {
    /// What it is.
    pub id: u8,
    /// Where it lies.
    pub offset: u8,
}

/// Why a list ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Damage {
    /// It leads back to itself at this offset.
    Circle(u8),
    /// It leads into the header, to this offset.
    IntoHeader(u8),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Circle(offset) => write!(f, "its capability list leads in a circle at offset {offset:#04x}"),
            Damage::IntoHeader(offset) => {
                write!(f, "its capability list leads into the header, to offset {offset:#04x}")
            }
        }
    }
}

/// A function's capabilities as far as the list can be followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapabilityList {
    /// In the order of the list.
    pub entries: Vec<Capability>,
    /// What was wrong with the list.
    pub damage: Option<Damage>,
}

impl CapabilityList {
    /// Follows a function's list.
    pub fn read(config: &impl ConfigSpace, function: FunctionAddress) -> Self {
        let mut list = CapabilityList::default();
        if config.read(function, register::STATUS, Width::Word) & STATUS_CAPABILITIES == 0 {
            return list;
        }
        // One bit for each place at which a capability can begin.
        let mut seen = 0u64;
        // The two lowest bits are reserved.
        let mut offset = read8(config, function, register::CAPABILITIES) & !3;
        while offset != 0 {
            if offset < FIRST {
                list.damage = Some(Damage::IntoHeader(offset));
                break;
            }
            let place = 1 << (offset / 4);
            if seen & place != 0 {
                list.damage = Some(Damage::Circle(offset));
                break;
            }
            seen |= place;
            let id = read8(config, function, offset.into());
            list.entries.push(Capability { id, offset });
            offset = read8(config, function, u16::from(offset) + 1) & !3;
        }
        list
    }

    /// Offset of the first capability with this id.
    pub fn find(&self, id: u8) -> Option<u16> {
        self.entries.iter().find(|capability| capability.id == id).map(|capability| capability.offset.into())
    }
}

/// Registers of a function that raises message-signalled interrupts without a table (PCI 3.0, 6.8.1). One message is
/// used, however many the function offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Msi {
    /// Offset of the capability.
    pub offset: u16,
    /// Whether the address has 64 bits.
    pub wide: bool,
}

impl Msi {
    /// Offset of the control word in the capability.
    pub const CONTROL: u16 = 2;
    /// Bit of the control word: the function uses MSI.
    pub const ENABLE: u32 = 1;
    const WIDE: u16 = 1 << 7;
    /// Capabilities lie in the first 256 bytes.
    const END: u16 = 0x100;

    /// Reads the capability at `offset`; `None` if it makes no sense.
    pub fn read(config: &impl ConfigSpace, function: FunctionAddress, offset: u16) -> Option<Self> {
        let wide = read16(config, function, offset + Self::CONTROL) & Self::WIDE != 0;
        let end = offset + if wide { 14 } else { 10 };
        (end <= Self::END).then_some(Msi { offset, wide })
    }

    /// Stops the function from using it. The other bits of the control word can only be read, or say how many messages
    /// are used beyond the first.
    pub fn disable(&self, config: &impl ConfigSpace, function: FunctionAddress) {
        config.write(function, self.offset + Self::CONTROL, Width::Word, 0);
    }

    /// Makes the function write `data` to `address` when it raises its interrupt; `false` if it cannot. It does not use
    /// it while it changes: half of an address is another address.
    pub fn program(&self, config: &impl ConfigSpace, function: FunctionAddress, address: u64, data: u32) -> bool {
        self.disable(config, function);
        let (high, fits) = ((address >> 32) as u32, data <= 0xffff);
        if !fits || high != 0 && !self.wide {
            return false;
        }
        config.write(function, self.offset + 4, Width::Long, address as u32);
        let data_offset = if self.wide {
            config.write(function, self.offset + 8, Width::Long, high);
            12
        } else {
            8
        };
        config.write(function, self.offset + data_offset, Width::Word, data);
        config.write(function, self.offset + Self::CONTROL, Width::Word, Self::ENABLE);
        true
    }
}

/// Where a function's MSI-X table is (PCI 3.0, 6.8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Msix {
    /// Offset of the capability.
    pub offset: u16,
    /// Entries of the table, 1 to 2048.
    pub entries: u16,
    /// Base address register behind which the table lies.
    pub table_bar: u8,
    /// Where it begins there.
    pub table_offset: u64,
    /// Base address register behind which the array of pending bits lies.
    pub pending_bar: u8,
    /// Where it begins there.
    pub pending_offset: u64,
}

impl Msix {
    /// Bytes of an entry of the table.
    pub const ENTRY_BYTES: u64 = 16;
    /// Offset of the control word in the capability.
    pub const CONTROL: u16 = 2;
    /// Bit of the control word: the function uses MSI-X.
    pub const ENABLE: u32 = 1 << 15;
    /// Bit of the control word: all entries are masked.
    pub const MASK_ALL: u32 = 1 << 14;
    const ENTRIES_LESS_ONE: u16 = 0x7ff;
    const BAR_MASK: u32 = 7;

    /// Reads the capability at `offset`; `None` if it makes no sense.
    pub fn read(config: &impl ConfigSpace, function: FunctionAddress, offset: u16) -> Option<Self> {
        let control = read16(config, function, offset + Self::CONTROL);
        let table = config.read(function, offset + 4, Width::Long);
        let pending = config.read(function, offset + 8, Width::Long);
        let (table_bar, pending_bar) = ((table & Self::BAR_MASK) as u8, (pending & Self::BAR_MASK) as u8);
        (table_bar < 6 && pending_bar < 6).then(|| Msix {
            offset,
            entries: (control & Self::ENTRIES_LESS_ONE) + 1,
            table_bar,
            table_offset: u64::from(table & !Self::BAR_MASK),
            pending_bar,
            pending_offset: u64::from(pending & !Self::BAR_MASK),
        })
    }

    /// Bytes of the table.
    pub const fn table_bytes(&self) -> u64 {
        self.entries as u64 * Self::ENTRY_BYTES
    }

    /// Bytes of the array of pending bits: words of 64.
    pub const fn pending_bytes(&self) -> u64 {
        (self.entries as u64).div_ceil(64) * 8
    }
}

/// Registers of the PCI Express capability (PCI Express 3.0, 7.8).
pub mod express {
    /// Offset of the device status.
    pub const DEVICE_STATUS: u16 = 0x0a;
    /// Bit of the device status: transactions are under way.
    pub const TRANSACTIONS_PENDING: u32 = 1 << 5;
}
