//! Which functions are found, and which of them the IOMMU cannot tell apart.

use std::collections::BTreeMap;

use abi::device::{SourceId, SourceRange};
use spawn::Group;
use supervisor::{BusRegisters, Topology};

/// The PCI Express capability's kinds (PCI Express 4.0, 7.5.3.2).
const ENDPOINT: u8 = 0;
const ROOT_PORT: u8 = 4;
const UPSTREAM: u8 = 5;
const DOWNSTREAM: u8 = 6;
const TO_PCI: u8 = 7;
const FROM_PCI: u8 = 8;

/// Where the tests' functions have that capability.
const EXPRESS: u8 = 0x60;

/// A function's first 256 bytes.
type Header = [u8; 256];

/// A machine made of functions in a table.
#[derive(Clone, Default)]
struct Machine(BTreeMap<SourceId, Header>);

/// One of its buses.
struct Wires<'a>(&'a Machine, u8);

impl BusRegisters for Wires<'_> {
    fn byte(&self, function: SourceId, offset: u16) -> u8 {
        assert_eq!(function.bus(), self.1, "another bus is looked at than was opened");
        self.0.0.get(&function).map_or(u8::MAX, |header| header[usize::from(offset)])
    }

    fn word(&self, function: SourceId, offset: u16) -> u16 {
        u16::from_le_bytes([self.byte(function, offset), self.byte(function, offset + 1)])
    }
}

fn at(bus: u8, device: u8, function: u8) -> SourceId {
    SourceId::new(bus, device, function)
}

impl Machine {
    fn with(mut self, place: SourceId, header: Header) -> Self {
        self.0.insert(place, header);
        self
    }

    fn device(self, place: SourceId) -> Self {
        self.with(place, header(0x11e8))
    }

    fn bridge(self, place: SourceId, buses: (u8, u8), express: Option<u8>) -> Self {
        let mut header = header(0x000e);
        header[0x0e] = 1;
        (header[0x19], header[0x1a]) = buses;
        self.with(place, express.map_or(header, |kind| with_express(header, kind)))
    }

    fn topology(&self) -> Topology {
        Topology::find(256, |bus| Some(Wires(self, bus)))
    }

    fn group_of(&self, function: SourceId) -> Group {
        self.topology().group_of(function)
    }
}

fn header(device: u16) -> Header {
    let mut header = [0; 256];
    header[..2].copy_from_slice(&0x1234_u16.to_le_bytes());
    header[2..4].copy_from_slice(&device.to_le_bytes());
    header
}

/// With a capability list: power management, then PCI Express.
fn with_express(mut header: Header, kind: u8) -> Header {
    header[0x06] |= 1 << 4;
    header[0x34] = 0x40;
    (header[0x40], header[0x41]) = (0x01, EXPRESS);
    (header[usize::from(EXPRESS)], header[usize::from(EXPRESS) + 2]) = (0x10, kind << 4 | 2);
    header
}

fn range(first: SourceId, last: SourceId) -> SourceRange {
    SourceRange::new(first, last).expect("one bus, in order")
}

#[test]
fn functions_of_the_root_bus_are_groups_of_their_own() {
    let machine = Machine::default().device(at(0, 1, 0)).device(at(0, 2, 0));
    for place in [at(0, 1, 0), at(0, 2, 0)] {
        let group = machine.group_of(place);
        assert_eq!((group.sources(), group.bridge()), (SourceRange::one(place), None));
        assert_eq!(group.interrupt_source(), place);
    }
}

#[test]
fn functions_behind_ports_of_pci_express_keep_their_numbers() {
    let machine = Machine::default()
        .bridge(at(0, 1, 0), (1, 4), Some(ROOT_PORT))
        .bridge(at(1, 0, 0), (2, 4), Some(UPSTREAM))
        .bridge(at(2, 0, 0), (3, 3), Some(DOWNSTREAM))
        .bridge(at(2, 1, 0), (4, 4), Some(DOWNSTREAM))
        .device(at(3, 0, 0))
        .device(at(4, 0, 0));
    for place in [at(3, 0, 0), at(4, 0, 0)] {
        assert_eq!(machine.group_of(place), Group::alone(place));
    }
}

#[test]
fn functions_of_one_device_are_told_apart() {
    let mut first = header(0x11e8);
    first[0x0e] = 1 << 7;
    let machine = Machine::default().with(at(0, 3, 0), first).device(at(0, 3, 5));
    assert_eq!(machine.group_of(at(0, 3, 0)), Group::alone(at(0, 3, 0)));
    assert_eq!(machine.group_of(at(0, 3, 5)), Group::alone(at(0, 3, 5)));
}

#[test]
fn all_behind_a_bridge_from_pci_express_to_pci_are_one() {
    let machine = Machine::default()
        .bridge(at(0, 5, 0), (1, 1), Some(TO_PCI))
        .device(at(1, 1, 0))
        .device(at(1, 4, 0))
        .device(at(0, 6, 0));
    let group = machine.group_of(at(1, 1, 0));
    assert_eq!(group, machine.group_of(at(1, 4, 0)));
    assert_eq!(group.bridge(), Some(at(0, 5, 0)));
    assert_eq!(group.sources(), range(at(1, 0, 0), at(1, 4, 0)), "the bus's own number and everybody on it");
    assert_eq!(group.interrupt_source(), at(1, 0, 0));
    assert_ne!(group, machine.group_of(at(0, 6, 0)));
    let members: Vec<_> = machine.topology().members(group).collect();
    assert_eq!(members, [at(1, 1, 0), at(1, 4, 0)], "without the bridge, on which the others depend");
}

#[test]
fn all_behind_a_conventional_bridge_have_the_bridge_s_number() {
    let machine = Machine::default()
        .bridge(at(0, 30, 0), (1, 2), None)
        .device(at(1, 1, 0))
        .bridge(at(1, 2, 0), (2, 2), None)
        .device(at(2, 7, 0));
    let group = machine.group_of(at(1, 1, 0));
    assert_eq!(group, machine.group_of(at(2, 7, 0)));
    assert_eq!(group.sources(), SourceRange::one(at(0, 30, 0)));
    assert_eq!(group.interrupt_source(), at(0, 30, 0));
    for stray in [at(0, 30, 0), at(1, 1, 0), at(2, 31, 7)] {
        assert!(group.has(stray), "{stray}");
    }
    assert!(!group.has(at(0, 29, 0)) && !group.has(at(3, 0, 0)));
}

#[test]
fn of_several_bridges_the_one_next_to_the_iommu_answers() {
    let machine = Machine::default()
        .bridge(at(0, 1, 0), (1, 5), Some(ROOT_PORT))
        .bridge(at(1, 0, 0), (2, 5), Some(TO_PCI))
        .device(at(2, 1, 0))
        .bridge(at(2, 2, 0), (3, 3), None)
        .device(at(3, 1, 0))
        .bridge(at(2, 3, 0), (4, 5), Some(FROM_PCI))
        .bridge(at(4, 0, 0), (5, 5), Some(DOWNSTREAM))
        .device(at(5, 0, 0));
    let group = machine.group_of(at(2, 1, 0));
    assert_eq!(group.bridge(), Some(at(1, 0, 0)));
    assert_eq!(group.sources(), range(at(2, 0, 0), at(2, 3, 0)));
    for place in [at(3, 1, 0), at(5, 0, 0)] {
        assert_eq!(machine.group_of(place), group, "{place}");
    }
    let members: Vec<_> = machine.topology().members(group).collect();
    assert_eq!(members, [at(2, 1, 0), at(3, 1, 0), at(5, 0, 0)]);
}

#[test]
fn an_endpoint_of_pci_express_may_be_behind_a_bridge_as_well() {
    let machine = Machine::default()
        .bridge(at(0, 5, 0), (1, 1), Some(TO_PCI))
        .with(at(1, 0, 0), with_express(header(0x1042), ENDPOINT));
    assert_eq!(machine.group_of(at(1, 0, 0)).sources(), SourceRange::one(at(1, 0, 0)));
    assert_eq!(machine.group_of(at(1, 0, 0)).bridge(), Some(at(0, 5, 0)));
}

#[test]
fn what_is_reserved_for_one_is_reserved_for_its_group() {
    let machine = Machine::default()
        .bridge(at(0, 5, 0), (2, 3), Some(TO_PCI))
        .device(at(2, 1, 0))
        .bridge(at(2, 2, 0), (3, 3), None)
        .device(at(3, 1, 0));
    let group = machine.group_of(at(2, 1, 0));
    for (first, last, meant) in [
        (at(2, 1, 0), at(2, 1, 0), true),
        (at(3, 1, 0), at(3, 1, 0), true),
        (at(0, 0, 0), at(255, 31, 7), true),
        (at(0, 0, 0), at(1, 31, 7), false),
        (at(4, 0, 0), at(4, 31, 7), false),
    ] {
        assert_eq!(group.is_among(first, last), meant, "{first} to {last}");
    }
    let alone = Group::alone(at(0, 1, 0));
    assert!(alone.is_among(at(0, 1, 0), at(0, 1, 0)) && !alone.is_among(at(0, 1, 1), at(0, 2, 0)));
}

#[test]
fn the_nth_of_the_functions_that_match_is_counted_in_the_order_of_places() {
    let machine = Machine::default()
        .bridge(at(0, 2, 0), (3, 3), Some(ROOT_PORT))
        .bridge(at(0, 3, 0), (1, 1), Some(TO_PCI))
        .device(at(3, 0, 0))
        .device(at(1, 1, 0))
        .with(at(0, 4, 0), header(0x1042))
        .device(at(0, 9, 0));
    let topology = machine.topology();
    let nth = |index| topology.nth(0x1234, &[0x11e8, 0x11e9], index);
    assert_eq!([nth(0), nth(1), nth(2)], [Some(at(0, 9, 0)), Some(at(1, 1, 0)), Some(at(3, 0, 0))]);
    assert_eq!(nth(3), None);
    assert_eq!(topology.nth(0x1235, &[0x11e8], 0), None);
}

#[test]
fn bridges_that_lead_back_or_nowhere_are_not_followed() {
    let machine = Machine::default()
        .bridge(at(0, 1, 0), (0, 0), None)
        .bridge(at(0, 2, 0), (7, 3), None)
        .bridge(at(0, 3, 0), (1, 9), Some(ROOT_PORT))
        .bridge(at(0, 4, 0), (1, 9), None)
        .bridge(at(1, 0, 0), (1, 9), None)
        .device(at(1, 2, 0))
        .device(at(7, 1, 0));
    assert_eq!(machine.topology().nth(0x1234, &[0x11e8], 1), None, "bus 7 is nobody's");
    assert_eq!(machine.group_of(at(1, 2, 0)), Group::alone(at(1, 2, 0)));
}

#[test]
fn a_capability_list_that_leads_in_a_circle_ends() {
    let mut circle = header(0x000e);
    (circle[0x0e], circle[0x19], circle[0x1a]) = (1, 1, 1);
    circle[0x06] = 1 << 4;
    (circle[0x34], circle[0x40], circle[0x41]) = (0x40, 0x01, 0x40);
    let machine = Machine::default().with(at(0, 1, 0), circle).device(at(1, 0, 0));
    let group = machine.group_of(at(1, 0, 0));
    assert_eq!(group.sources(), SourceRange::one(at(0, 1, 0)), "it has not said that it is of PCI Express");
}

#[test]
fn buses_that_the_machine_has_no_registers_of_are_left_out() {
    let machine = Machine::default().bridge(at(0, 1, 0), (1, 1), None).device(at(1, 0, 0));
    let narrow = Topology::find(1, |bus| Some(Wires(&machine, bus)));
    assert_eq!(narrow.nth(0x1234, &[0x11e8], 0), None);
    assert_eq!(Topology::find(256, |_| None::<Wires<'_>>), Topology::default());
}
