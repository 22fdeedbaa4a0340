//! Time since boot, deadlines, and sleeping without an executor.

use crate::sys;
use abi::{Error, Handle, Syscall};
use core::ops::{Add, Sub};
pub use core::time::Duration;

/// A moment, in nanoseconds since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// The present.
    pub fn now() -> Self {
        // SAFETY: `Clock` takes no arguments and touches no memory.
        Instant(unsafe { sys::plain(Syscall::Clock, [0; 6]) }.rax)
    }

    /// Nanoseconds since boot.
    pub const fn nanoseconds(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// How long ago this was; zero if it lies in the future.
    pub fn elapsed(self) -> Duration {
        Instant::now().since(self)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(nanoseconds(duration)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    fn sub(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_sub(nanoseconds(duration)))
    }
}

/// When a blocking call gives up: at a moment, or so long after it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Deadline(u64);

impl Deadline {
    /// Waits for ever.
    pub const NEVER: Deadline = Deadline(abi::time::NEVER);
    /// Does what can be done at once and never waits.
    pub const NOW: Deadline = Deadline(abi::time::NOW);

    /// At a moment.
    pub const fn at(moment: Instant) -> Self {
        Deadline(moment.0)
    }

    /// After a while; the clock is read.
    pub fn after(duration: Duration) -> Self {
        Deadline::at(Instant::now() + duration)
    }

    /// So long after the call begins that it is for: each call has as long. The clock is not read.
    pub const fn from_call(duration: Duration) -> Self {
        // A `Duration` of more than 584 years never passes either.
        let nanoseconds = duration.as_nanos();
        Deadline(if nanoseconds > u64::MAX as u128 {
            abi::time::NEVER
        } else {
            abi::time::from_now(nanoseconds as u64)
        })
    }

    /// As the kernel takes it.
    pub const fn to_register(self) -> u64 {
        self.0
    }
}

impl From<Instant> for Deadline {
    fn from(moment: Instant) -> Self {
        Deadline::at(moment)
    }
}

/// Blocks the thread until the deadline. A task on the executor uses [`crate::executor::sleep`] instead.
pub fn sleep_thread(deadline: Deadline) {
    let arguments = [Handle::NONE.0, deadline.to_register(), 0, 0, 0, 0];
    // SAFETY: `Wait` touches no memory.
    let outcome = unsafe { sys::plain(Syscall::Wait, arguments) }.value();
    debug_assert!(matches!(outcome, Err(Error::TimedOut | Error::WouldBlock)));
}
