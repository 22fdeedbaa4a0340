//! How fast the machine's time-stamp counter counts.

use userlib::guest;
use userlib::time::Instant;

/// How often both are read: whoever is interrupted between the two reads them too far apart.
const ATTEMPTS: u32 = 8;

/// What the counter said at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// The counter.
    pub(super) counter: u64,
    /// The time in nanoseconds.
    pub(super) at: u64,
}

impl Reading {
    /// Reads both.
    pub(super) fn take() -> Self {
        let mut best = (u64::MAX, Self { counter: 0, at: 0 });
        for _ in 0..ATTEMPTS {
            let before = guest::timestamp();
            let at = Instant::now().nanoseconds();
            let took = guest::timestamp().wrapping_sub(before);
            if took < best.0 {
                best = (took, Self { counter: before.wrapping_add(took / 2), at });
            }
        }
        best.1
    }

    /// How often it has counted in a second since `earlier`.
    pub(super) fn hertz_since(self, earlier: Self) -> u64 {
        let ticks = u128::from(self.counter.wrapping_sub(earlier.counter));
        let passed = u128::from(self.at.saturating_sub(earlier.at).max(1));
        u64::try_from(ticks * 1_000_000_000 / passed).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_was_counted_in_the_time_that_has_passed() {
        let earlier = Reading { counter: u64::MAX - 4, at: 1_000 };
        assert_eq!(Reading { counter: 2_595, at: 2_000 }.hertz_since(earlier), 2_600_000_000);
        assert_eq!(earlier.hertz_since(earlier), 0);
    }
}
