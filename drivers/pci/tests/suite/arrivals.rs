//! Functions that come and go, and addresses for their registers.

use crate::claims::{first, system};
use crate::machine::{Machine, PAGE, Registers, WINDOW, address};
use pci::allocation::{BridgeWindows, Wish, allocate};
use pci::arrival::Unusable;
use pci::bar::{self, Bar};
use pci::bus::{Bus, Refusal, Start};
use pci::config::register;
use pci::record::{decode, encode};
use pci::slot::Port;
use proptest::prelude::*;

const PORT: (u8, u8, u8) = (0, 4, 0);
const CARD: (u8, u8, u8) = (1, 0, 0);
/// What the port passes on.
const PASSED_ON: std::ops::Range<u64> = 0xc800_0000..0xc820_0000;

/// A machine with a disk on the first bus and a slot with `card` in it.
fn machine(card: Option<Registers>) -> Machine {
    let machine = Machine::new([((0, 3, 0), Registers::disk(0xc000_0000)), (PORT, Registers::slot_port(1))]);
    if let Some(card) = card {
        machine.add(CARD, card);
    }
    machine
}

/// Drivers of the first and of the second disk.
fn bus(machine: &Machine) -> Bus<&Machine> {
    first(machine, &system(&[(0x1af4, &[0x1042], 0), (0x1af4, &[0x1042], 1)]))
}

fn port(bus: &Bus<&Machine>) -> Port {
    bus.functions().iter().find_map(|function| Port::of(bus.config(), function)).expect("there is one")
}

#[test]
fn a_device_that_comes_back_gets_addresses_that_its_port_passes_on_and_its_driver() {
    let machine = machine(Some(Registers::disk(0xc800_0000)));
    let mut bus = bus(&machine);
    let port = port(&bus);
    bus.claim(2).unwrap();
    bus.take_out(&port);
    machine.remove(CARD);
    assert_eq!(bus.claim(2), Err(Refusal::NoDevice));
    assert_eq!(bus.info(2), None, "who is not there is not shown");
    // Firmware has not seen it: its registers hold nothing.
    machine.add(CARD, Registers::disk(0).with(register::BAR + 16, &[0x0c, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(bus.take_in(&port), []);
    assert_eq!(bus.claim(2).unwrap().address, address(1, 0, 0));
    let bars = bar::read(&bar::raw(&&machine, address(1, 0, 0)));
    for bar in [bars[1], bars[4]].map(|bar| bar.expect("a memory register")) {
        assert!(PASSED_ON.contains(&bar.base) && bar.base % PAGE == 0, "{bar:?}");
    }
    assert_eq!(bus.bar(2, 4).unwrap().0.length, 0x4000);
    assert_eq!(bus.claim(1).unwrap().address, address(0, 3, 0), "the other driver has what it had");
}

#[test]
fn a_device_that_is_in_use_stays_as_it_is() {
    let machine = machine(Some(Registers::disk(0xc800_0000)));
    let mut bus = bus(&machine);
    bus.claim(2).unwrap();
    machine.writes.borrow_mut().clear();
    let port = port(&bus);
    assert_eq!(bus.take_in(&port), []);
    assert_eq!(*machine.writes.borrow(), []);
    assert!(bus.bar(2, 4).is_ok());
}

#[test]
fn another_kind_of_device_in_the_same_slot_is_nobodys() {
    let machine = machine(Some(Registers::disk(0xc800_0000)));
    let mut bus = bus(&machine);
    let port = port(&bus);
    bus.take_out(&port);
    machine.add(CARD, Registers::new(0x8086, 0x10d3).bar32(0, 0, 0x2_0000));
    assert_eq!(bus.take_in(&port), []);
    assert_eq!(bus.claim(2), Err(Refusal::NoDevice));
    let shown = bus.info(2).expect("it can be seen");
    assert_eq!((shown.vendor, shown.assigned), (0x8086, false));
    // The first one is known when it is back.
    machine.add(CARD, Registers::disk(0));
    bus.take_in(&port);
    assert_eq!(bus.claim(2).unwrap().vendor, 0x1af4);
    assert_eq!(bus.info(3), None);
}

#[test]
fn while_a_disk_is_away_a_restarted_server_takes_no_other_one_for_it() {
    let machine = Machine::new([
        (PORT, Registers::slot_port(1)),
        (CARD, Registers::disk(0xc800_0000)),
        ((2, 0, 0), Registers::disk(0xc000_0000)),
        ((0, 5, 0), Registers::bridge(2, 2)),
    ]);
    let mut bus = bus(&machine);
    let port = port(&bus);
    assert_eq!(bus.claim(1).unwrap().address.bus, 1);
    bus.take_out(&port);
    machine.remove(CARD);
    let record = decode(&encode(&bus.entries(50))).unwrap();

    let mut again = Bus::find(&machine, vec![WINDOW], Start::Again(&record));
    again.assign(&system(&[(0x1af4, &[0x1042], 0), (0x1af4, &[0x1042], 1)]));
    again.measure();
    assert_eq!(again.claim(1), Err(Refusal::NoDevice));
    assert_eq!(again.claim(2).unwrap().address.bus, 2);
    machine.add(CARD, Registers::disk(0));
    assert_eq!(again.take_in(&port), []);
    assert_eq!(again.claim(1).unwrap().address.bus, 1);
}

#[test]
fn what_cannot_be_used_is_named() {
    let at = address(1, 0, 0);
    for (card, expected) in [
        (Registers::new(1, 2).bar32(0, 0, 0x40_0000), Unusable::NoRoom(at)),
        (Registers::new(1, 2).raw_bar(0, 0, 0xffff_0ff0), Unusable::NoRoom(at)),
        (Registers::bridge(2, 2), Unusable::Bridge(at)),
    ] {
        let machine = machine(Some(card));
        let mut bus = bus(&machine);
        let port = port(&bus);
        bus.take_out(&port);
        assert_eq!(bus.take_in(&port), [expected]);
    }
}

#[test]
fn functions_of_a_device_that_has_only_one_are_not_believed() {
    let machine = machine(None);
    let mut bus = bus(&machine);
    let port = port(&bus);
    machine.add((1, 7, 0), Registers::disk(0));
    assert_eq!(bus.take_in(&port), []);
    assert_eq!(bus.functions().len(), 2, "behind a port there is device 0 alone");
}

#[test]
fn a_bridge_passes_on_what_its_registers_say_if_that_makes_sense() {
    let windows = |registers: Registers| BridgeWindows::read(&&Machine::new([(PORT, registers)]), address(0, 4, 0));
    let bar = |base, length, prefetchable| Bar { index: 0, base, length: Some(length), prefetchable };
    let both = windows(Registers::slot_port(1));
    assert!(both.contain(&bar(0xc800_0000, 0x20_0000, false)));
    assert!(!both.contain(&bar(0xc800_0000, 0x40_0000, false)));
    assert!(both.contain(&bar(0x10_0000_0000, 0x10_0000, true)));
    assert!(!both.contain(&bar(0x10_0000_0000, 0x10_0000, false)), "reading there may be repeated");
    assert!(!both.contain(&bar(0, 0x1000, false)), "nobody has given it an address");
    // The end before the start, and all ones.
    for nonsense in [[0x10, 0xc8, 0x00, 0xc8], [0xff; 4], [0; 4]] {
        let none = windows(Registers::bridge(1, 1).with(0x20, &nonsense).with(0x24, &nonsense));
        assert!(!none.contain(&bar(0xc800_0000, 0x1000, true)), "{nonsense:?}");
    }
}

#[test]
fn registers_of_32_bits_are_not_put_where_they_cannot_reach() {
    let only_high = Registers::slot_port(1).with(0x20, &[0x10, 0, 0, 0]);
    let windows = BridgeWindows::read(&&Machine::new([(PORT, only_high)]), address(0, 4, 0));
    let wish = |is_wide| Wish { bar: Bar { index: 0, base: 0, length: Some(0x1000), prefetchable: true }, is_wide };
    assert_eq!(allocate(&windows, &[], &[wish(true)]), Some(vec![0x10_0000_0000]));
    assert_eq!(allocate(&windows, &[], &[wish(false)]), None);
}

proptest! {
    /// Addresses are aligned, passed on by the port, and nobody else's.
    #[test]
    fn no_two_registers_get_the_same_page(
        lengths in proptest::collection::vec((4u32..21, any::<bool>(), any::<bool>()), 1..6),
        taken in proptest::collection::vec((PASSED_ON, 1u64..0x1_0000), 0..4),
    ) {
        let windows = BridgeWindows::read(&&machine(None), address(0, 4, 0));
        let taken: Vec<_> = taken.into_iter().map(|(start, length)| start..start + length).collect();
        let wishes: Vec<Wish> = lengths
            .into_iter()
            .map(|(bits, prefetchable, is_wide)| {
                Wish { bar: Bar { index: 0, base: 0, length: Some(1 << bits), prefetchable }, is_wide }
            })
            .collect();
        let Some(bases) = allocate(&windows, &taken, &wishes) else { return Ok(()) };
        let mut pages: Vec<std::ops::Range<u64>> = Vec::new();
        for (wish, base) in wishes.iter().zip(bases) {
            let length = wish.bar.length.unwrap();
            let placed = Bar { base, ..wish.bar };
            prop_assert!(windows.contain(&placed) && base % length == 0, "{placed:x?}");
            let own = base..base + length.max(PAGE);
            let meets = |other: &std::ops::Range<u64>| other.start < own.end && own.start < other.end;
            prop_assert!(!taken.iter().any(meets) && !pages.iter().any(meets), "{own:x?}");
            pages.push(own);
        }
    }
}
