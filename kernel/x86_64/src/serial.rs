//! The first serial port, as far as the kernel uses it: a few lines before user space takes it over, and a panic.

use core::fmt;
use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicBool, Ordering};
use x86_64::instructions::port::Port;

/// The port's registers (16550 data sheet).
const BASE: u16 = 0x3f8;
/// The ports of the registers.
pub const PORTS: RangeInclusive<u16> = BASE..=BASE + 7;

const INTERRUPT_ENABLE: u16 = BASE + 1;
const FIFO_CONTROL: u16 = BASE + 2;
const LINE_CONTROL: u16 = BASE + 3;
const MODEM_CONTROL: u16 = BASE + 4;
const LINE_STATUS: u16 = BASE + 5;
/// The transmitter has room.
const TRANSMITTER_EMPTY: u8 = 1 << 5;
/// How often the status is read at most for one byte; a port that is not there never has room.
const READS_MAX: u32 = 100_000;

/// Set when user space writes to the port for the first time: from then on the kernel leaves it alone.
static TAKEN_OVER: AtomicBool = AtomicBool::new(false);

/// User space uses the port from now on.
pub fn hand_over() {
    TAKEN_OVER.store(true, Ordering::Relaxed);
}

/// Sets the port to 115,200 baud, 8 bits, no parity, without interrupts.
///
/// # Safety
/// Nobody else uses the port: user space has not taken it over, or will never run again.
pub unsafe fn start() {
    let steps = [
        (INTERRUPT_ENABLE, 0x00),
        (LINE_CONTROL, 0x80),
        (BASE, 0x01),
        (INTERRUPT_ENABLE, 0x00),
        (LINE_CONTROL, 0x03),
        (FIFO_CONTROL, 0x07),
        (MODEM_CONTROL, 0x03),
    ];
    for (port, value) in steps {
        // SAFETY: the ports are those of the serial port, which is the caller's.
        unsafe { Port::<u8>::new(port).write(value) }
    }
}

/// Writes text to the port, whoever owns it.
pub struct Raw(());

impl Raw {
    /// The port.
    ///
    /// # Safety
    /// Nobody else uses the port while the value lives.
    pub const unsafe fn new() -> Self {
        Raw(())
    }

    fn write_byte(&mut self, byte: u8) {
        let mut status = Port::<u8>::new(LINE_STATUS);
        for _ in 0..READS_MAX {
            // SAFETY: `new` promises that the port is ours; reading the status clears error bits that nobody looks at.
            if unsafe { status.read() } & TRANSMITTER_EMPTY != 0 {
                break;
            }
            core::hint::spin_loop();
        }
        // SAFETY: `new` promises that the port is ours.
        unsafe { Port::<u8>::new(BASE).write(byte) }
    }
}

impl fmt::Write for Raw {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.write_byte(b'\r');
            }
            self.write_byte(byte);
        }
        Ok(())
    }
}

/// Runs `write` with the port, unless user space has taken it over. The log's lock makes the writers take turns.
pub(crate) fn if_not_taken_over(write: impl FnOnce(&mut Raw)) {
    if !TAKEN_OVER.load(Ordering::Relaxed) {
        // SAFETY: user space has not taken the port over, and the only callers hold the log's lock.
        write(&mut unsafe { Raw::new() });
    }
}
