//! First and last words: written to the first serial port, because no driver is there.

use core::fmt::{self, Write};
use userlib::abi::root;
use userlib::cap::{Cap, PortWidth, Ports};
use userlib::thread;

/// First port of COM1 (PC16550D, 8.0: transmitter holding register; line status register at offset 5).
const COM1: u16 = 0x3f8;
const LINE_STATUS: u16 = COM1 + 5;
const TRANSMITTER_EMPTY: u32 = 1 << 5;
/// How often the line status is read before a byte is given up: a machine without the port must not hang here.
const PATIENCE: u32 = 100_000;

struct SerialLine(Cap<Ports>);

impl SerialLine {
    fn put(&self, byte: u8) {
        for _ in 0..PATIENCE {
            match self.0.read(LINE_STATUS, PortWidth::Byte) {
                Ok(status) if status & TRANSMITTER_EMPTY == 0 => {}
                _ => break,
            }
        }
        // Nobody is left to tell of a failure.
        let _ = self.0.write(COM1, PortWidth::Byte, byte.into());
    }
}

impl Write for SerialLine {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.put(b'\r');
            }
            self.put(byte);
        }
        Ok(())
    }
}

/// Writes a line to the serial port.
pub(crate) fn say(text: fmt::Arguments<'_>) {
    let mut line = SerialLine(Cap::from_handle(root::PORTS));
    let _ = writeln!(line, "init: {text}");
}

/// Says why there is no system and stops for good.
pub(crate) fn stop(why: fmt::Arguments<'_>) -> ! {
    say(why);
    thread::exit(1)
}
