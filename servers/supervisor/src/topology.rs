//! Which functions the PCI bus has, and which of them the IOMMU cannot tell apart.
//!
//! An access says who makes it, by bus, device and function. On PCI Express that is so; on conventional PCI nobody says, and
//! the bridge between them answers for all behind it (PCI Express to PCI/PCI-X Bridge Specification 1.0, 2.3).

use abi::device::{SourceId, SourceRange};
use alloc::vec::Vec;
use spawn::Group;

/// Buses of a segment.
const BUSES: usize = 256;
/// Devices on a bus and functions of a device.
const DEVICES: u8 = 32;
const FUNCTIONS: u8 = 8;

/// Offsets in a function's configuration space (PCI Local Bus 3.0, 6.1; PCI-to-PCI Bridge Architecture 1.2, 3.2).
const VENDOR: u16 = 0x00;
const DEVICE: u16 = 0x02;
const STATUS: u16 = 0x06;
const HEADER_TYPE: u16 = 0x0e;
const SECONDARY_BUS: u16 = 0x19;
const SUBORDINATE_BUS: u16 = 0x1a;
const CAPABILITIES: u16 = 0x34;

const HAS_CAPABILITIES: u16 = 1 << 4;
const MULTI_FUNCTION: u8 = 1 << 7;
const BRIDGE: u8 = 1;
/// The id of the PCI Express capability (PCI Express 4.0, 7.5.3).
const PCI_EXPRESS: u8 = 0x10;
/// Its register that says what kind of port it is, in bits 4 to 7.
const EXPRESS_FLAGS: u16 = 0x02;
const EXPRESS_ROOT_PORT: u16 = 4;
const EXPRESS_UPSTREAM_PORT: u16 = 5;
const EXPRESS_DOWNSTREAM_PORT: u16 = 6;
const EXPRESS_TO_PCI: u16 = 7;
/// Capabilities are behind the header.
const FIRST_CAPABILITY: u8 = 0x40;
/// Capabilities that are followed at most: a function whose list is a loop must not hang the supervisor.
const MAX_CAPABILITIES: usize = 48;

/// The configuration space of one bus.
pub trait BusRegisters {
    /// A byte of a function's registers; all ones if there is no such function.
    fn byte(&self, function: SourceId, offset: u16) -> u8;
    /// Two bytes, at an even offset.
    fn word(&self, function: SourceId, offset: u16) -> u16;
}

/// Where a function has its PCI Express capability, if it has one.
pub fn express_capability(registers: &impl BusRegisters, function: SourceId) -> Option<u16> {
    if registers.word(function, STATUS) & HAS_CAPABILITIES == 0 {
        return None;
    }
    let mut at = registers.byte(function, CAPABILITIES) & !3;
    for _ in 0..MAX_CAPABILITIES {
        if at < FIRST_CAPABILITY {
            return None;
        }
        if registers.byte(function, at.into()) == PCI_EXPRESS {
            return Some(at.into());
        }
        at = registers.byte(function, u16::from(at) + 1) & !3;
    }
    None
}

/// How a bridge passes on what comes from behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passing {
    /// Under the number of whoever it came from.
    Unchanged,
    /// As function 0 of device 0 of the bus behind it; of PCI-X, perhaps unchanged.
    AsItsBus,
    /// As its own.
    AsItself,
}

impl Passing {
    fn of(registers: &impl BusRegisters, bridge: SourceId) -> Self {
        // Conventional bridges have no such capability. One from PCI to PCI Express is on a conventional bus itself.
        let Some(express) = express_capability(registers, bridge) else { return Passing::AsItself };
        match registers.word(bridge, express + EXPRESS_FLAGS) >> 4 & 0xf {
            EXPRESS_ROOT_PORT | EXPRESS_UPSTREAM_PORT | EXPRESS_DOWNSTREAM_PORT => Passing::Unchanged,
            EXPRESS_TO_PCI => Passing::AsItsBus,
            _ => Passing::AsItself,
        }
    }
}

/// A bridge and the buses behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bridge {
    place: SourceId,
    secondary: u8,
    subordinate: u8,
    passing: Passing,
}

/// One function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Function {
    place: SourceId,
    vendor: u16,
    device: u16,
    is_bridge: bool,
}

/// The functions of a machine and the bridges between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// In the order of their places.
    functions: Vec<Function>,
    bridges: Vec<Bridge>,
}

impl Topology {
    /// Looks for every function on bus 0 and behind bridges; `open` gives the registers of one of the first `buses` buses.
    /// Bus numbers are those that the firmware has given; a bridge whose numbers make no sense leads nowhere.
    pub fn find<R: BusRegisters>(buses: usize, open: impl Fn(u8) -> Option<R>) -> Self {
        let mut topology = Topology::default();
        let mut reachable = [false; BUSES];
        reachable[0] = true;
        // What is behind a bridge has higher numbers: when a bus has its turn, every bridge to it is known.
        for bus in (0..=u8::MAX).take(buses) {
            if reachable[usize::from(bus)]
                && let Some(registers) = open(bus)
            {
                topology.look_at(bus, &registers, &mut reachable);
            }
        }
        topology
    }

    fn look_at(&mut self, bus: u8, registers: &impl BusRegisters, reachable: &mut [bool; BUSES]) {
        for device in 0..DEVICES {
            for function in 0..FUNCTIONS {
                let place = SourceId::new(bus, device, function);
                let vendor = registers.word(place, VENDOR);
                let header = registers.byte(place, HEADER_TYPE);
                if vendor != u16::MAX {
                    let is_bridge = header & !MULTI_FUNCTION == BRIDGE;
                    let device = registers.word(place, DEVICE);
                    self.functions.push(Function { place, vendor, device, is_bridge });
                    if is_bridge {
                        self.follow(place, registers, reachable);
                    }
                }
                if function == 0 && (vendor == u16::MAX || header & MULTI_FUNCTION == 0) {
                    break;
                }
            }
        }
    }

    fn follow(&mut self, place: SourceId, registers: &impl BusRegisters, reachable: &mut [bool; BUSES]) {
        let secondary = registers.byte(place, SECONDARY_BUS);
        let subordinate = registers.byte(place, SUBORDINATE_BUS);
        let leads_on = secondary > place.bus() && subordinate >= secondary;
        if leads_on && !core::mem::replace(&mut reachable[usize::from(secondary)], true) {
            let passing = Passing::of(registers, place);
            self.bridges.push(Bridge { place, secondary, subordinate, passing });
        }
    }

    /// Of the functions of a vendor with one of these device numbers, the one at position `index`.
    pub fn nth(&self, vendor: u16, devices: &[u16], index: u8) -> Option<SourceId> {
        let matches = |function: &&Function| function.vendor == vendor && devices.contains(&function.device);
        self.functions.iter().filter(matches).nth(index.into()).map(|function| function.place)
    }

    /// Whether there is a function at this place, of this vendor and with one of these device numbers.
    pub fn has(&self, place: SourceId, vendor: u16, devices: &[u16]) -> bool {
        let is_it = |function: &Function| {
            function.place == place && function.vendor == vendor && devices.contains(&function.device)
        };
        self.functions.iter().any(is_it)
    }

    /// All that the IOMMU cannot tell from a function.
    ///
    /// Behind several bridges it is the one next to the IOMMU that counts: it answers for the others.
    pub fn group_of(&self, function: SourceId) -> Group {
        let mut group = Group::alone(function);
        let mut bus = function.bus();
        // Each bridge is on a bus with a lower number than the one behind it, so that this ends.
        while let Some(bridge) = self.bridges.iter().find(|bridge| bridge.secondary == bus) {
            let behind = |sources| Group::behind(bridge.place, bridge.secondary, bridge.subordinate, sources);
            match bridge.passing {
                Passing::Unchanged => {}
                Passing::AsItsBus => group = behind(self.sources_on(bridge.secondary)),
                Passing::AsItself => group = behind(SourceRange::one(bridge.place)),
            }
            bus = bridge.place.bus();
        }
        group
    }

    /// From function 0 of device 0, which answers for all, to the last function that there is.
    fn sources_on(&self, bus: u8) -> SourceRange {
        let first = SourceId::new(bus, 0, 0);
        let on_bus = self.functions.iter().filter(|function| function.place.bus() == bus);
        let last = on_bus.map(|function| function.place).max().unwrap_or(first);
        SourceRange::new(first, last).unwrap_or(SourceRange::one(first))
    }

    /// The functions of a group that are no bridges.
    pub fn members(&self, group: Group) -> impl Iterator<Item = SourceId> + '_ {
        let devices = self.functions.iter().filter(|function| !function.is_bridge);
        // By the bridges that lead to it: what a bridge says of the buses behind it may be more than there is.
        let own = move |place: &SourceId| self.group_of(*place).sources() == group.sources();
        devices.map(|function| function.place).filter(own)
    }
}
