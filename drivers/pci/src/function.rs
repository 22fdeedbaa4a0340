//! Everything known of one function.

use crate::bar::{self, Bars};
use crate::capability::{self, CapabilityList, Damage, Msi, Msix};
use crate::config::{ConfigSpace, FunctionAddress, Width, read16, register};
use crate::enumeration::Header;
use crate::record::Entry;
use interfaces::pci::FunctionInfo;

/// Base class of bridges, which carry the traffic of others. They are left as the firmware has set them up, but for passing on what
/// a driver's device behind them does by itself.
pub const CLASS_BRIDGE: u8 = 0x06;

/// One function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Where it is.
    pub address: FunctionAddress,
    /// Vendor.
    pub vendor: u16,
    /// Device.
    pub device: u16,
    /// Subsystem vendor.
    pub subsystem_vendor: u16,
    /// Subsystem.
    pub subsystem: u16,
    /// Class, sub-class, programming interface and revision, from the highest byte to the lowest.
    pub class: u32,
    /// Layout of its header.
    pub header: Header,
    /// Memory behind its base address registers.
    pub bars: Bars,
    /// Whether the lengths of `bars` are known.
    pub measured: bool,
    /// Its MSI-X table.
    pub msix: Option<Msix>,
    /// Its registers for MSI, which are used if it has no MSI-X table.
    pub msi: Option<Msi>,
    /// Offset of its PCI Express capability.
    pub express: Option<u16>,
    /// What is wrong with its capability list.
    pub damage: Option<Damage>,
    /// Whether it is there: not if it was taken out. It keeps its place in the list, and belongs to whom it belonged.
    pub is_present: bool,
}

impl Function {
    /// Reads what a function says of itself, without writing to it.
    pub fn read(config: &impl ConfigSpace, address: FunctionAddress) -> Self {
        let header = Header::of(config, address);
        let endpoint = header == Header::Endpoint;
        let list = CapabilityList::read(config, address);
        let subsystem = |offset| if endpoint { read16(config, address, offset) } else { 0 };
        Function {
            address,
            vendor: read16(config, address, register::VENDOR),
            device: read16(config, address, register::DEVICE),
            subsystem_vendor: subsystem(register::SUBSYSTEM_VENDOR),
            subsystem: subsystem(register::SUBSYSTEM),
            class: config.read(address, register::CLASS, Width::Long),
            header,
            bars: if endpoint { bar::read(&bar::raw(config, address)) } else { Bars::default() },
            measured: !endpoint,
            msix: list.find(capability::MSIX).and_then(|offset| Msix::read(config, address, offset)),
            msi: list.find(capability::MSI).and_then(|offset| Msi::read(config, address, offset)),
            express: list.find(capability::EXPRESS),
            damage: list.damage,
            is_present: true,
        }
    }

    /// What an earlier server knew of a device that is away now.
    pub fn absent(entry: &Entry) -> Self {
        Function {
            address: entry.address,
            vendor: entry.identity.0,
            device: entry.identity.1,
            subsystem_vendor: 0,
            subsystem: 0,
            class: 0,
            header: Header::Endpoint,
            bars: Bars::default(),
            measured: true,
            msix: None,
            msi: None,
            express: None,
            damage: None,
            is_present: false,
        }
    }

    /// Notes that it was taken out: nothing is where its registers were.
    pub fn take_out(&mut self) {
        self.bars = Bars::default();
        self.is_present = false;
    }

    /// Whether it is the same kind of device in the same place.
    pub fn is_like(&self, other: &Function) -> bool {
        (self.address, self.vendor, self.device) == (other.address, other.vendor, other.device)
    }

    /// Base class.
    pub const fn base_class(&self) -> u8 {
        (self.class >> 24) as u8
    }

    /// Whether the server may switch its decoding and bus mastering: an endpoint that is no bridge of any kind.
    pub fn is_device(&self) -> bool {
        self.header == Header::Endpoint && self.base_class() != CLASS_BRIDGE
    }

    /// As clients see it.
    pub fn info(&self, assigned: bool) -> FunctionInfo {
        let [revision, programming_interface, subclass, class] = self.class.to_le_bytes();
        FunctionInfo {
            address: self.address,
            vendor: self.vendor,
            device: self.device,
            subsystem_vendor: self.subsystem_vendor,
            subsystem: self.subsystem,
            class,
            subclass,
            programming_interface,
            revision,
            messages: self.msix.map_or(u16::from(self.msi.is_some()), |msix| msix.entries),
            assigned,
        }
    }
}
