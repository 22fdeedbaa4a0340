use crate::machine::{Machine, Registers, address};
use pci::capability::{Capability, CapabilityList, Damage, Msix};
use pci::config::register;
use proptest::prelude::*;

fn list(registers: Registers) -> CapabilityList {
    CapabilityList::read(&&Machine::new([((0, 1, 0), registers)]), address(0, 1, 0))
}

#[test]
fn capabilities_are_listed_in_their_order() {
    let registers = Registers::new(1, 2).capability(0x40, 9, &[]).capability(0x60, 0x11, &[]);
    let entries = vec![Capability { id: 0x11, offset: 0x60 }, Capability { id: 9, offset: 0x40 }];
    assert_eq!(list(registers), CapabilityList { entries, damage: None });
}

#[test]
fn without_the_status_bit_there_is_no_list() {
    let registers = Registers::new(1, 2).capability(0x40, 9, &[]).with(register::STATUS, &[0]);
    assert_eq!(list(registers), CapabilityList::default());
}

#[test]
fn a_list_that_runs_in_a_circle_ends_where_it_begins_again() {
    let registers = Registers::new(1, 2).capability(0x40, 9, &[]).capability(0x60, 5, &[]).with(0x41, &[0x60]);
    let list = list(registers);
    assert_eq!(list.damage, Some(Damage::Circle(0x60)));
    assert_eq!(list.entries.len(), 2);
}

#[test]
fn a_list_that_leads_into_the_header_ends_there() {
    let registers = Registers::new(1, 2).capability(0x40, 9, &[]).with(0x41, &[0x10]);
    assert_eq!(list(registers).damage, Some(Damage::IntoHeader(0x10)));
}

#[test]
fn a_function_that_answers_all_ones_has_a_list_with_an_end() {
    let list = list(Registers::new(1, 2).with(2, &[0xff; 4094]));
    assert_eq!(list.damage, Some(Damage::Circle(0xfc)));
}

#[test]
fn an_interrupt_table_is_where_its_capability_says() {
    let registers = Registers::new(1, 2).msix(0x70, 2048, (5, 0x2000), (3, 0x18));
    let machine = Machine::new([((0, 1, 0), registers)]);
    let msix = Msix::read(&&machine, address(0, 1, 0), 0x70).unwrap();
    assert_eq!((msix.entries, msix.table_bar, msix.table_offset), (2048, 5, 0x2000));
    assert_eq!((msix.pending_bar, msix.pending_offset), (3, 0x18));
    assert_eq!((msix.table_bytes(), msix.pending_bytes()), (32768, 256));
}

#[test]
fn an_interrupt_table_behind_a_register_that_cannot_be_is_none() {
    let machine = Machine::new([((0, 1, 0), Registers::new(1, 2).msix(0x70, 1, (6, 0), (0, 0)))]);
    assert_eq!(Msix::read(&&machine, address(0, 1, 0), 0x70), None);
}

proptest! {
    #[test]
    fn whatever_bytes_a_function_answers_its_list_ends(bytes in proptest::collection::vec(any::<u8>(), 256)) {
        let list = list(Registers::new(1, 2).with(4, &bytes[4..]));
        prop_assert!(list.entries.len() <= 48);
        prop_assert!(list.entries.iter().all(|entry| entry.offset >= 0x40 && entry.offset % 4 == 0));
    }
}
