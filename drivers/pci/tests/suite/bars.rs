use crate::machine::{Machine, Registers, address};
use pci::bar::{self, Bar};
use pci::config::register;
use proptest::prelude::*;

fn measured(registers: Registers) -> bar::Bars {
    bar::measure(&&Machine::new([((0, 1, 0), registers)]), address(0, 1, 0))
}

#[test]
fn memory_registers_are_measured_and_left_as_they_were() {
    let registers = Registers::disk(0xfe00_0000);
    let machine = Machine::new([((0, 1, 0), registers)]);
    let before = bar::raw(&&machine, address(0, 1, 0));
    let bars = bar::measure(&&machine, address(0, 1, 0));
    assert_eq!(bar::raw(&&machine, address(0, 1, 0)), before);
    let one = Bar { index: 1, base: 0xfe00_0000, length: Some(0x1000), prefetchable: false };
    let four = Bar { index: 4, base: 0xfe00_4000, length: Some(0x4000), prefetchable: true };
    assert_eq!(bars, [None, Some(one), None, None, Some(four), None]);
}

#[test]
fn a_register_of_64_bits_can_be_longer_and_higher_than_4_gib() {
    let bars = measured(Registers::new(1, 2).bar64(2, 0x38_0000_0000, 1 << 33));
    let bar = bars[2].unwrap();
    assert_eq!((bar.base, bar.length), (0x38_0000_0000, Some(1 << 33)));
}

#[test]
fn registers_of_ports_and_those_that_are_not_there_are_left_out() {
    assert_eq!(measured(Registers::new(1, 2).raw_bar(0, 0xc001, 0xffff_ff80)), bar::Bars::default());
}

#[test]
fn a_register_of_64_bits_in_the_last_place_is_none() {
    assert_eq!(measured(Registers::new(1, 2).raw_bar(5, 0xc000_000c, 0xffff_f000)), bar::Bars::default());
}

#[test]
fn a_register_whose_mask_has_gaps_is_never_in_its_place() {
    let bar = measured(Registers::new(1, 2).raw_bar(0, 0xc000_0000, 0xffff_00f0))[0].unwrap();
    assert_eq!(bar.length, Some(0));
    assert!(!bar.is_placed());
}

#[test]
fn a_register_that_cannot_be_moved_is_not_measured_as_something() {
    // All of its bits are read-only: only those that the write left set come back.
    let bar = measured(Registers::new(1, 2).raw_bar(0, 0xc000_1230, 0))[0].unwrap();
    assert!(!bar.is_placed());
}

#[test]
fn an_address_that_is_no_multiple_of_the_length_is_no_place() {
    let bar = Bar { index: 0, base: 0xc000_1000, length: Some(0x4000), prefetchable: false };
    assert!(!bar.is_placed());
    assert!(!Bar { base: 0, ..bar }.is_placed());
    assert!(!Bar { base: u64::MAX << 14, ..bar }.is_placed(), "it would end behind the last address");
    assert!(Bar { base: 0xc000_4000, ..bar }.is_placed());
}

proptest! {
    #[test]
    fn garbage_in_all_registers_is_measured_without_harm(values: [u32; 6], masks: [u32; 6]) {
        let mut registers = Registers::new(1, 2);
        for index in 0..6 {
            registers = registers.raw_bar(index, values[index], masks[index]);
        }
        let machine = Machine::new([((0, 1, 0), registers)]);
        let before = bar::raw(&&machine, address(0, 1, 0));
        let bars = bar::measure(&&machine, address(0, 1, 0));
        prop_assert_eq!(bar::raw(&&machine, address(0, 1, 0)), before);
        for bar in bars.iter().flatten().filter(|bar| bar.is_placed()) {
            let length = bar.length.unwrap();
            prop_assert!(length.is_power_of_two() && bar.base % length == 0);
            prop_assert!(bar.end().is_some());
        }
        let touched = machine.writes.borrow();
        prop_assert!(touched.iter().all(|write| (register::BAR..register::BAR + 24).contains(&write.offset)));
    }
}
