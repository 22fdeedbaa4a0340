//! The kernel's log: a ring that a server may read, and the back end of the crate `log`.
//!
//! The log is a stream of bytes; a position in it never means anything else, so a reader that was too slow notices that
//! it has missed some.

use crate::clock::Clock;
use crate::serial;
use core::fmt::{self, Write};
use kernel_sync::FairLock;
use log::{Level, LevelFilter, Log, Metadata, Record};
use spin::once::Once;

/// Bytes that the ring keeps.
pub const LENGTH: usize = 64 * 1024;

/// The last bytes of a stream.
pub struct Ring {
    bytes: [u8; LENGTH],
    written: u64,
}

impl Ring {
    /// An empty ring.
    pub const fn new() -> Self {
        Ring { bytes: [0; LENGTH], written: 0 }
    }

    /// Copies bytes from `position` of the stream to `target`. Tells how many, and from which position they are: a later
    /// one if those asked for have been overwritten, the end of the stream if they are not written yet.
    pub fn read(&self, position: u64, target: &mut [u8]) -> (usize, u64) {
        let oldest = self.written.saturating_sub(LENGTH as u64);
        let start = position.clamp(oldest, self.written);
        let count = target.len().min((self.written - start) as usize);
        for (place, byte) in target[..count].iter_mut().enumerate() {
            *byte = self.bytes[(start as usize + place) % LENGTH];
        }
        (count, start)
    }
}

impl Default for Ring {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Ring {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.bytes[(self.written % LENGTH as u64) as usize] = byte;
            self.written += 1;
        }
        Ok(())
    }
}

static RING: FairLock<Ring> = FairLock::new(Ring::new());
static CLOCK: Once<Clock> = Once::new();

/// Lets lines of the log carry the time from now on.
pub fn set_clock(clock: Clock) {
    CLOCK.call_once(|| clock);
}

/// Copies bytes of the log, see [`Ring::read`].
pub fn read(position: u64, target: &mut [u8]) -> (usize, u64) {
    RING.lock().read(position, target)
}

/// Writes to the log's ring unless its lock is held: the kernel does not go on, so its holder may never give it back.
pub fn write_last(arguments: fmt::Arguments<'_>) {
    if let Some(mut ring) = RING.try_lock() {
        let _ = ring.write_fmt(arguments);
    }
}

/// The kernel's back end of the crate `log`.
struct KernelLog;

static LOG: KernelLog = KernelLog;

/// Makes the macros of the crate `log` write here.
pub fn start() {
    if log::set_logger(&LOG).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

impl Log for KernelLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Info
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // The kernel logs with interrupts off, so the lock cannot be wanted by its own holder.
        let mut ring = RING.lock();
        let now = CLOCK.get().map_or(0, Clock::now);
        let _ = write_line(&mut *ring, now, record);
        serial::if_not_taken_over(|port| {
            let _ = write_line(port, now, record);
        });
    }

    fn flush(&self) {}
}

fn write_line(target: &mut impl Write, now: u64, record: &Record<'_>) -> fmt::Result {
    let (seconds, fraction) = (now / 1_000_000_000, now % 1_000_000_000 / 1_000);
    let warning = match record.level() {
        Level::Error => "error: ",
        Level::Warn => "warning: ",
        _ => "",
    };
    writeln!(target, "[{seconds:4}.{fraction:06}] kernel: {warning}{}", record.args())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;
    use std::string::String;

    fn ring(text: &str) -> Box<Ring> {
        let mut ring = Box::new(Ring::new());
        let _ = ring.write_str(text);
        ring
    }

    #[test]
    fn a_reader_gets_what_was_written_since_its_position() {
        let ring = ring("hello world");
        let mut target = [0; 16];
        assert_eq!(ring.read(6, &mut target), (5, 6));
        assert_eq!(&target[..5], b"world");
        assert_eq!(ring.read(11, &mut target), (0, 11));
    }

    #[test]
    fn a_reader_that_was_too_slow_starts_at_the_oldest_byte() {
        let mut ring = ring(&String::from("x").repeat(LENGTH));
        let _ = ring.write_str("tail");
        let mut target = [0; 2];
        assert_eq!(ring.read(0, &mut target), (2, 4));
    }

    #[test]
    fn a_position_that_does_not_exist_yet_reads_as_the_end() {
        assert_eq!(ring("abc").read(100, &mut [0; 4]), (0, 3));
    }
}
