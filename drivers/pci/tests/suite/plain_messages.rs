//! Functions that raise message-signalled interrupts without a table.

use crate::claims::{first, system};
use crate::machine::{Machine, Registers, address};
use pci::bus::{Bus, Refusal};
use pci::config::Width;
use std::iter::once;

const AT: u16 = 0x40;
const WIDE: u8 = 1 << 7;
const MESSAGE: (u64, u32) = (0xfee0_1000, 0x41);

/// QEMU's `edu`: a megabyte of registers, and MSI with an address of 64 bits, which an earlier driver has enabled.
fn edu(control: u8) -> Registers {
    let body = [control | 1, 0, 0xad, 0xde, 0, 0, 0, 0, 0, 0, 0x99, 0];
    Registers::new(0x1234, 0x11e8).bar32(0, 0xc000_0000, 0x10_0000).capability(AT as u8, 0x05, &body).on()
}

fn machine(registers: Registers) -> Machine {
    Machine::new(once(((0, 4, 0), registers)))
}

fn claimed(machine: &Machine) -> Bus<&Machine> {
    let mut bus = first(machine, &system(&[(0x1234, &[0x11e8], 0)]));
    assert_eq!(bus.claim(1).unwrap().messages, 1);
    bus
}

fn read(machine: &Machine, offset: u16, width: Width) -> u32 {
    machine.read(address(0, 4, 0), AT + offset, width)
}

#[test]
fn what_an_earlier_driver_has_enabled_is_disabled_by_a_claim() {
    let machine = machine(edu(WIDE));
    claimed(&machine);
    assert_eq!(read(&machine, 2, Width::Word) & 1, 0);
}

#[test]
fn a_message_is_written_where_the_function_has_it_and_enabled_last() {
    for (control, data_offset) in [(WIDE, 12), (0, 8)] {
        let machine = machine(edu(control));
        let bus = claimed(&machine);
        machine.writes.borrow_mut().clear();
        assert_eq!(bus.program_message(1, 0, MESSAGE.0, MESSAGE.1), Ok(true));
        assert_eq!(read(&machine, 4, Width::Long), 0xfee0_1000);
        assert_eq!(read(&machine, data_offset, Width::Word), 0x41);
        let writes = machine.writes.borrow();
        let control: Vec<_> = writes.iter().filter(|write| write.offset == AT + 2).map(|write| write.value).collect();
        assert_eq!(control, [0, 1], "it is off while it changes, and uses one message");
        assert_eq!(writes.last().unwrap().offset, AT + 2);
        drop(writes);
        assert_eq!(bus.stop_message(1, 0), Ok(true));
        assert_eq!(read(&machine, 2, Width::Word) & 1, 0);
    }
}

#[test]
fn a_function_without_a_table_has_one_interrupt() {
    let machine = machine(edu(WIDE));
    let bus = claimed(&machine);
    let refusal = Err(Refusal::NoMessage(address(0, 4, 0)));
    assert_eq!(bus.program_message(1, 1, MESSAGE.0, MESSAGE.1), refusal);
    assert_eq!(bus.stop_message(1, 1), refusal);
}

#[test]
fn an_address_that_does_not_fit_is_refused_and_the_function_stays_silent() {
    let narrow = machine(edu(0));
    let refusal = Err(Refusal::NoMessage(address(0, 4, 0)));
    assert_eq!(claimed(&narrow).program_message(1, 0, 0x1_fee0_1000, 0x41), refusal);
    assert_eq!(read(&narrow, 2, Width::Word) & 1, 0);
    let wide = machine(edu(WIDE));
    let bus = claimed(&wide);
    assert_eq!(bus.program_message(1, 0, 0x1_fee0_1000, 0x1_0000), refusal);
    assert_eq!(bus.program_message(1, 0, 0x1_fee0_1000, 0x41), Ok(true));
    assert_eq!(read(&wide, 8, Width::Long), 1);
}

#[test]
fn drivers_do_not_write_the_message_themselves() {
    let machine = machine(edu(WIDE));
    let bus = claimed(&machine);
    machine.writes.borrow_mut().clear();
    for offset in AT..AT + 14 {
        for width in [1, 2, 4] {
            let refusal = Err(Refusal::BadRegister(address(0, 4, 0), offset));
            assert_eq!(bus.write_config(1, offset, width, 1), refusal);
        }
    }
    assert_eq!(*machine.writes.borrow(), []);
    assert_eq!(bus.program_message(2, 0, MESSAGE.0, MESSAGE.1), Err(Refusal::NotAllowed));
}

#[test]
fn a_function_with_a_table_uses_that() {
    let registers = Registers::disk(0xc000_0000).capability(AT as u8, 0x05, &[WIDE | 1, 0]);
    let machine = machine(registers);
    let mut bus = first(&machine, &system(&[(0x1af4, &[0x1042], 0)]));
    assert_eq!(bus.claim(1).unwrap().messages, 3);
    assert_eq!(read(&machine, 2, Width::Word) & 1, 0, "and not the other one");
    assert_eq!(bus.program_message(1, 0, MESSAGE.0, MESSAGE.1), Ok(false));
    assert_eq!(bus.stop_message(1, 0), Ok(false));
}
