//! Output to the first serial port, byte by byte, and the end of the machine.

use crate::call::{call, port_in, port_out};
use abi::{Syscall, root};
use core::fmt::{self, Write};

const DATA: u64 = 0x3f8;
const LINE_STATUS: u64 = 0x3fd;
const TRANSMITTER_EMPTY: u64 = 1 << 5;
/// Where QEMU's `isa-debug-exit` listens.
const EXIT: u64 = 0xf4;

struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            while port_in(root::PORTS.0, LINE_STATUS, 1).is_ok_and(|status| status & TRANSMITTER_EMPTY == 0) {}
            port_out(root::PORTS.0, DATA, 1, byte.into()).map_err(|_| fmt::Error)?;
        }
        Ok(())
    }
}

/// Writes a line.
pub(crate) fn print(text: fmt::Arguments<'_>) {
    // Without its own port the suite has nobody to tell.
    let _ = Console.write_fmt(text);
}

/// Ends QEMU, if it has the device for that; else sleeps for good.
pub(crate) fn exit(code: u8) -> ! {
    let _ = port_out(root::PORTS.0, EXIT, 1, code.into());
    loop {
        let _ = call(Syscall::Wait, [0, abi::time::NEVER]);
    }
}
