//! The power-management timer (ACPI specification 6.5, section 4.8.2.1): a counter that nothing stops.

use super::ticks;

/// Its frequency.
const HERTZ: u64 = 3_579_545;

/// The power-management timer, of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PmTimer {
    started: u64,
}

impl PmTimer {
    /// One that counts from this time, in nanoseconds.
    #[must_use]
    pub fn new(now: u64) -> Self {
        Self { started: now }
    }

    /// What the guest reads from its port of 32 bits.
    #[must_use]
    pub fn read(&self, now: u64) -> u32 {
        ticks(now.saturating_sub(self.started), HERTZ) as u32
    }
}
