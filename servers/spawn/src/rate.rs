//! How often something happens.

use serde::{Deserialize, Serialize};

/// Parts into which a window is divided.
const PARTS: u64 = 15;
/// Counts that are kept: of the parts of a window, and of the one that begins.
const COUNTS: usize = PARTS as usize + 1;

/// How often something has happened within a window that moves on with time: deaths, for example.
///
/// It takes the same few bytes however often it happens. An event counts for as long as the window at least, and for about
/// a fifteenth longer at most, if the window has many units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// How often in each of the last parts; the part numbered `n` is at `n % COUNTS`.
    counts: [u32; COUNTS],
    /// The part of the last event, counted from boot.
    last: u64,
}

impl Rate {
    /// One more, at `now`; tells how many there were within the window until now, this one among them. Both times are of
    /// one unit; `now` never falls.
    pub fn note(&mut self, now: u64, window: u64) -> u32 {
        self.move_on(now, window);
        let part = self.place(self.last);
        self.counts[part] = self.counts[part].saturating_add(1);
        self.sum()
    }

    /// How many there were within the window until `now`.
    pub fn count(&self, now: u64, window: u64) -> u32 {
        let mut later = *self;
        later.move_on(now, window);
        later.sum()
    }

    fn sum(&self) -> u32 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    fn place(&self, part: u64) -> usize {
        (part % COUNTS as u64) as usize
    }

    /// Forgets what is too long ago.
    fn move_on(&mut self, now: u64, window: u64) {
        let part = (now / window.div_ceil(PARTS).max(1)).max(self.last);
        for gone in (self.last..=part).skip(1).take(COUNTS) {
            let place = self.place(gone);
            self.counts[place] = 0;
        }
        if part - self.last >= COUNTS as u64 {
            self.counts = [0; COUNTS];
        }
        self.last = part;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_within_the_window_counts() {
        let mut rate = Rate::default();
        assert_eq!(rate.note(1000, 150), 1);
        assert_eq!(rate.note(1001, 150), 2);
        assert_eq!(rate.note(1100, 150), 3);
        assert_eq!(rate.count(1150, 150), 3, "both are within the window still");
        assert_eq!(rate.count(1161, 150), 1, "two of them are longer ago than the window and a part of it");
        assert_eq!(rate.note(1300, 150), 1);
    }

    #[test]
    fn every_event_counts_for_the_window_at_least() {
        for window in [15, 100, 1000, 60_000, 10_000_000_000] {
            for begin in [0, 7, 999, 123_456] {
                let mut rate = Rate::default();
                rate.note(begin, window);
                for later in [0, window / 2, window] {
                    assert_eq!(rate.count(begin + later, window), 1, "{later} of {window} after {begin}");
                }
                let forgotten = begin + window + window.div_ceil(PARTS) * 2;
                assert_eq!(rate.count(forgotten, window), 0, "{window} after {begin}");
            }
        }
    }

    #[test]
    fn a_window_of_nothing_and_a_count_without_end_do_no_harm() {
        let mut rate = Rate { counts: [u32::MAX; COUNTS], last: 5 };
        assert_eq!(rate.note(5, 0), u32::MAX);
        assert_eq!(rate.note(u64::MAX, 0), 1);
        assert_eq!(rate.note(0, u64::MAX), 2, "time does not go back");
    }
}
