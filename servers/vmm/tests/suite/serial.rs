use proptest::prelude::*;
use vmm::serial::{INPUT_BYTES, OUTPUT_BYTES, Uart};

const DATA: u16 = 0x3f8;
const INTERRUPT_ENABLE: u16 = 0x3f9;
const IDENTIFICATION: u16 = 0x3fa;
const LINE_CONTROL: u16 = 0x3fb;
const MODEM_CONTROL: u16 = 0x3fc;
const LINE_STATUS: u16 = 0x3fd;
const MODEM_STATUS: u16 = 0x3fe;
const SCRATCH: u16 = 0x3ff;

/// FIFOs on, interrupts let through, as Linux leaves it.
fn started() -> Uart {
    let mut uart = Uart::new();
    uart.write(IDENTIFICATION, 0x01);
    uart.write(MODEM_CONTROL, 0x0b);
    uart
}

#[test]
fn what_the_guest_sends_comes_out_in_order() {
    let mut uart = started();
    for byte in b"Linux version" {
        assert_eq!(uart.read(LINE_STATUS) & 0x60, 0x60, "the transmitter is ready");
        uart.write(DATA, *byte);
    }
    assert_eq!(uart.take_output(), b"Linux version");
    assert_eq!(uart.take_output(), b"");
}

#[test]
fn linux_recognises_a_16550a() {
    // As autoconfig in drivers/tty/serial/8250/8250_port.c probes.
    let mut uart = Uart::new();
    uart.write(INTERRUPT_ENABLE, 0);
    assert_eq!(uart.read(INTERRUPT_ENABLE) & 0x0f, 0);
    uart.write(INTERRUPT_ENABLE, 0x0f);
    assert_eq!(uart.read(INTERRUPT_ENABLE) & 0x0f, 0x0f);
    uart.write(INTERRUPT_ENABLE, 0);
    uart.write(MODEM_CONTROL, 0x1a);
    assert_eq!(uart.read(MODEM_STATUS) & 0xf0, 0x90, "the loop test");
    uart.write(MODEM_CONTROL, 0);
    uart.write(IDENTIFICATION, 0x01);
    assert_eq!(uart.read(IDENTIFICATION) >> 6, 3, "the FIFOs work");
    uart.write(SCRATCH, 0xa5);
    assert_eq!(uart.read(SCRATCH), 0xa5);
}

#[test]
fn the_divisor_is_apart_from_data() {
    let mut uart = started();
    uart.write(LINE_CONTROL, 0x83);
    uart.write(DATA, 1);
    uart.write(INTERRUPT_ENABLE, 2);
    assert_eq!((uart.read(DATA), uart.read(INTERRUPT_ENABLE)), (1, 2));
    uart.write(LINE_CONTROL, 0x03);
    assert_eq!(uart.read(INTERRUPT_ENABLE), 0);
    assert_eq!(uart.take_output(), b"");
}

#[test]
fn input_interrupts_until_it_is_read() {
    let mut uart = started();
    assert_eq!(uart.receive(b"ls"), 2);
    assert!(!uart.interrupt_level(), "it was not enabled");
    uart.write(INTERRUPT_ENABLE, 1);
    assert!(uart.interrupt_level());
    assert_eq!(uart.read(IDENTIFICATION) & 0x0f, 4);
    assert_eq!(uart.read(DATA), b'l');
    assert!(uart.interrupt_level());
    assert_eq!(uart.read(DATA), b's');
    assert!(!uart.interrupt_level());
}

#[test]
fn an_empty_transmitter_interrupts_once_per_byte_and_when_it_is_asked_for() {
    let mut uart = started();
    uart.write(INTERRUPT_ENABLE, 2);
    assert!(uart.interrupt_level());
    assert_eq!(uart.read(IDENTIFICATION) & 0x0f, 2);
    assert!(!uart.interrupt_level(), "it was told");
    uart.write(DATA, b'x');
    assert!(uart.interrupt_level());
    uart.write(INTERRUPT_ENABLE, 0);
    assert!(!uart.interrupt_level());
    uart.write(INTERRUPT_ENABLE, 2);
    assert!(uart.interrupt_level());
}

#[test]
fn output_that_nobody_takes_makes_the_transmitter_busy_until_it_is_taken() {
    let mut uart = started();
    uart.write(INTERRUPT_ENABLE, 2);
    for _ in 0..OUTPUT_BYTES {
        uart.write(DATA, b'x');
    }
    assert_eq!(uart.read(LINE_STATUS) & 0x60, 0);
    assert!(!uart.interrupt_level());
    uart.write(DATA, b'y');
    assert_eq!(uart.lost(), 1);
    assert_eq!(uart.take_output().len(), OUTPUT_BYTES);
    assert_eq!(uart.read(LINE_STATUS) & 0x60, 0x60);
    assert!(uart.interrupt_level(), "the driver can go on");
}

#[test]
fn input_waits_while_the_port_is_full() {
    let mut uart = started();
    assert_eq!(uart.receive(&[7; 100]), INPUT_BYTES);
    assert_eq!(uart.receive(&[7; 100]), 0);
    uart.read(DATA);
    assert_eq!(uart.input_room(), 1);
}

proptest! {
    #[test]
    fn no_accesses_make_it_hold_more_than_it_says(
        accesses in prop::collection::vec((0_u16..8, any::<Option<u8>>()), 0..300)
    ) {
        let mut uart = Uart::new();
        for _ in 0..OUTPUT_BYTES - 50 {
            uart.write(0, 0);
        }
        for (port, value) in accesses {
            match value {
                Some(value) => uart.write(port, value),
                None => { uart.read(port); }
            }
            prop_assert!(uart.input_room() <= INPUT_BYTES);
            let _level = uart.interrupt_level();
        }
        prop_assert!(uart.take_output().len() <= OUTPUT_BYTES);
    }
}
