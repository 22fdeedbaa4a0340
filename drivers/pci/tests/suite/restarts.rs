use crate::claims::{first, system};
use crate::machine::{Machine, Registers, WINDOW, address};
use pci::bar;
use pci::bus::{Bus, Start};
use pci::config::register;
use pci::record::{Entry, capacity, decode, encode};
use proptest::prelude::*;

const DISKS: &[(u16, &[u16], u8)] = &[(0x1af4, &[0x1042], 0), (0x1af4, &[0x1042], 1)];

fn two_disks() -> Machine {
    Machine::new([((0, 3, 0), Registers::disk(0xc000_0000)), ((0, 5, 0), Registers::disk(0xc001_0000))])
}

/// A server that comes back and finds `record`.
fn again<'a>(machine: &'a Machine, record: &[Entry]) -> Bus<&'a Machine> {
    let mut bus = Bus::find(machine, vec![WINDOW], Start::Again(record));
    bus.assign(&system(DISKS));
    bus.measure();
    bus
}

#[test]
fn a_restarted_server_touches_no_running_function_and_knows_its_registers() {
    let machine = two_disks();
    let mut bus = first(&machine, &system(DISKS));
    bus.claim(1).unwrap();
    bus.set_bus_mastering(1, true).unwrap();
    let given = bus.bar(1, 4).unwrap();
    let record = decode(&encode(&bus.entries(50))).unwrap();
    machine.writes.borrow_mut().clear();

    let bus = again(&machine, &record);
    assert!(machine.writes.borrow().iter().all(|write| write.function != address(0, 3, 0)));
    assert_eq!(bus.bar(1, 4), Ok(given));
    assert!(bus.message_entry(1, 2).is_ok());
}

#[test]
fn without_a_record_registers_in_use_are_measured_when_their_driver_claims_again() {
    let machine = two_disks();
    let mut bus = first(&machine, &system(DISKS));
    bus.claim(1).unwrap();
    let given = bus.bar(1, 4).unwrap();
    machine.writes.borrow_mut().clear();

    let mut bus = again(&machine, &[]);
    assert!(machine.writes.borrow().iter().all(|write| write.function != address(0, 3, 0)));
    assert!(bus.bar(1, 4).is_err());
    bus.claim(1).unwrap();
    assert_eq!(bus.bar(1, 4), Ok(given));
    let writes = machine.writes.borrow();
    let bars = register::BAR..register::ROM;
    assert!(writes.iter().filter(|write| bars.contains(&write.offset)).all(|write| !write.decoding));
}

#[test]
fn registers_that_a_server_was_measuring_when_it_died_get_back_what_they_held() {
    let machine = two_disks();
    let mut bus = Bus::find(&machine, vec![WINDOW], Start::First);
    bus.assign(&system(DISKS));
    let record = bus.entries(50);
    assert!(record.iter().all(|entry| entry.lengths.is_none()));
    let before = bar::raw(&&machine, address(0, 5, 0));
    machine.set((0, 5, 0), register::BAR + 16, &[0x0c, 0xc0, 0xff, 0xff, 0xff]);

    let mut bus = again(&machine, &record);
    assert_eq!(bar::raw(&&machine, address(0, 5, 0)), before);
    bus.claim(2).unwrap();
    assert_eq!(bus.bar(2, 4).unwrap().0.pages, 4);
}

#[test]
fn a_record_of_another_function_in_the_same_place_is_not_used() {
    let machine = two_disks();
    let bus = first(&machine, &system(DISKS));
    let mut record = bus.entries(50);
    for entry in &mut record {
        entry.identity.1 ^= 1;
        entry.lengths = Some([1 << 40; 6]);
    }
    let mut bus = again(&machine, &record);
    bus.claim(1).unwrap();
    assert_eq!(bus.bar(1, 4).unwrap().0.pages, 4);
}

#[test]
fn when_the_vault_is_small_functions_that_drivers_use_are_kept_first() {
    let plain = Registers::new(1, 2).bar32(0, 0xc100_0000, 0x1000);
    let machine = Machine::new([((0, 1, 0), plain), ((0, 3, 0), Registers::disk(0xc000_0000))]);
    let bus = first(&machine, &system(DISKS));
    let kept: Vec<_> = bus.entries(1).iter().map(|entry| entry.address).collect();
    assert_eq!(kept, [address(0, 3, 0)]);
    assert_eq!(capacity(4096), 51);
    assert_eq!(capacity(0), 0);
}

#[test]
fn a_record_with_one_changed_bit_is_no_record() {
    let bus_machine = two_disks();
    let bytes = encode(&first(&bus_machine, &system(DISKS)).entries(50));
    assert_eq!(decode(&bytes).map(|entries| entries.len()), Some(2));
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(decode(&damaged), None, "bit {bit}");
    }
    assert_eq!(decode(&vec![0; 4096]), None);
}

proptest! {
    #[test]
    fn no_bytes_in_the_vault_make_reading_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut with_magic = b"PCIBARS\x01".to_vec();
        with_magic.extend_from_slice(&bytes);
        prop_assert_eq!(decode(&bytes), None);
        let _ = decode(&with_magic);
    }
}
