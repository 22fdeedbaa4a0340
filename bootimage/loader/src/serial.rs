//! Sentences on the first serial port, for when there is no kernel to say anything.

use core::fmt::{self, Write};
use x86_64::instructions::port::Port;

/// I/O port of COM1.
const BASE: u16 = 0x3f8;
/// Reads of the status register before a byte is given up: a port that is absent must not stop the boot.
const PATIENCE: u32 = 100_000;

/// 115,200 baud, 8 data bits, no parity, no interrupts.
pub(crate) fn init() {
    // Line control with the divisor latch open, divisor 1, latch closed, FIFO on.
    for (offset, value) in [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 3), (2, 7)] {
        // SAFETY: these are the registers of a 16550 serial port (PC16550D, 8.0), which touch no memory; where there is
        // no such port, a PC ignores the writes.
        unsafe { Port::<u8>::new(BASE + offset).write(value) };
    }
}

/// Writes a line that says that it is the loader's.
pub(crate) fn say(sentence: fmt::Arguments<'_>) {
    // Writing to the port cannot fail.
    let _ = writeln!(Com1, "loader: {sentence}");
}

struct Com1;

impl Write for Com1 {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                send(b'\r');
            }
            send(byte);
        }
        Ok(())
    }
}

fn send(byte: u8) {
    for _ in 0..PATIENCE {
        // SAFETY: reading the line status register of a serial port has no effect on memory.
        let status = unsafe { Port::<u8>::new(BASE + 5).read() };
        if status & 0x20 != 0 {
            break;
        }
    }
    // SAFETY: writing the data register of a serial port sends a byte and touches no memory.
    unsafe { Port::<u8>::new(BASE).write(byte) };
}
