use crate::machine::{Machine, Registers, address};
use pci::config::{FunctionAddress, register};
use pci::enumeration::enumerate;

fn found(functions: Vec<((u8, u8, u8), Registers)>) -> Vec<FunctionAddress> {
    enumerate(&&Machine::new(functions))
}

fn plain() -> Registers {
    Registers::new(1, 2)
}

#[test]
fn functions_are_found_behind_bridges_in_the_order_of_addresses() {
    let functions = vec![
        ((0, 3, 0), Registers::bridge(2, 5)),
        ((2, 1, 0), Registers::bridge(4, 5)),
        ((4, 0, 0), plain()),
        ((0, 1, 0), Registers::bridge(1, 1)),
        ((1, 31, 0), plain()),
    ];
    let addresses = [address(0, 1, 0), address(0, 3, 0), address(1, 31, 0), address(2, 1, 0), address(4, 0, 0)];
    assert_eq!(found(functions), addresses);
}

#[test]
fn further_functions_are_looked_for_only_in_devices_that_have_several() {
    let several = plain().with(register::HEADER_TYPE, &[0x80]);
    let functions = vec![((0, 1, 0), several), ((0, 1, 5), plain()), ((0, 2, 0), plain()), ((0, 2, 1), plain())];
    assert_eq!(found(functions), [address(0, 1, 0), address(0, 1, 5), address(0, 2, 0)]);
}

#[test]
fn a_device_without_function_zero_is_not_there() {
    assert_eq!(found(vec![((0, 4, 3), plain())]), []);
}

#[test]
fn bridges_that_lead_back_or_nowhere_are_not_followed() {
    let functions = vec![
        ((0, 1, 0), Registers::bridge(0, 0)),
        ((0, 2, 0), Registers::bridge(7, 3)),
        ((0, 3, 0), Registers::bridge(1, 9)),
        ((0, 4, 0), Registers::bridge(1, 9)),
        ((1, 0, 0), Registers::bridge(1, 9)),
        ((1, 1, 0), Registers::bridge(0, 9)),
    ];
    assert_eq!(found(functions).len(), 6);
}

#[test]
fn a_machine_without_functions_has_none() {
    assert_eq!(found(vec![]), []);
}
