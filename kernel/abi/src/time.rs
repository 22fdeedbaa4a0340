//! Time as the kernel tells it: nanoseconds since boot; and deadlines, which are such moments or times from now on.

/// A deadline that never comes.
pub const NEVER: u64 = u64::MAX;

/// A deadline that has always passed: the call does what it can at once and never blocks.
pub const NOW: u64 = 0;

/// The bit that tells a time from now on from a moment.
const FROM_NOW: u64 = 1 << 63;

/// A deadline that passes so many nanoseconds after the call begins, so that nobody needs to read the clock for it.
/// 2⁶³ − 1 nanoseconds, 292 years, never pass.
pub const fn from_now(nanoseconds: u64) -> u64 {
    if nanoseconds >= FROM_NOW { NEVER } else { FROM_NOW | nanoseconds }
}

/// The moment that a deadline means to a call that begins `now`.
pub const fn moment(deadline: u64, now: u64) -> u64 {
    if deadline == NEVER || deadline & FROM_NOW == 0 { deadline } else { now.saturating_add(deadline & !FROM_NOW) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_moment_or_a_time_from_now() {
        assert_eq!(moment(500, 100), 500);
        assert_eq!(moment(NOW, 100), NOW);
        assert_eq!(moment(NEVER, 100), NEVER);
        assert_eq!(moment(from_now(500), 100), 600);
        assert_eq!(moment(from_now(0), 100), 100);
        assert_eq!(from_now(u64::MAX), NEVER);
        assert_eq!(moment(from_now(FROM_NOW - 2), u64::MAX), NEVER);
    }
}
