//! Clocks of a PC: the interval timer, the real-time clock, the power-management timer.

mod clock;
mod interval;
mod power_management;

pub use clock::{RealTimeClock, UnixTime};
pub use interval::{IntervalTimer, MIN_PERIOD_NS};
pub use power_management::PmTimer;

/// How many ticks of a clock of `hertz` are over after so many nanoseconds.
fn ticks(nanoseconds: u64, hertz: u64) -> u64 {
    (u128::from(nanoseconds) * u128::from(hertz) / 1_000_000_000) as u64
}

/// The first nanosecond at which so many ticks of a clock of `hertz` are over.
fn nanoseconds(ticks: u64, hertz: u64) -> u64 {
    u64::try_from((u128::from(ticks) * 1_000_000_000).div_ceil(u128::from(hertz))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nanosecond_of_a_tick_is_the_first_with_it() {
        for count in [1, 2, 3, 11_932, 1_193_182, 0xffff_ffff] {
            let at = nanoseconds(count, 1_193_182);
            assert_eq!((ticks(at, 1_193_182), ticks(at - 1, 1_193_182)), (count, count - 1));
        }
    }
}
