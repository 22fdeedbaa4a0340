//! Time: the time-stamp counter, measured once against a timer of known speed.

use crate::local_apic::LocalApic;
use crate::registers::RegisterPage;
use abi::boot::{Platform, PmTimer};
use core::arch::x86_64::_rdtsc;
use x86_64::instructions::port::Port;

/// Nanoseconds that a measurement takes at least.
const MEASUREMENT: u64 = 10_000_000;
/// The power-management timer's speed in Hz (ACPI 6.4, 4.8.2.1).
const PM_TIMER_HZ: u64 = 3_579_545;
/// The interval timer's speed in Hz.
const PIT_HZ: u64 = 1_193_182;
/// A time-stamp counter slower or faster than this, in Hz, was not measured but misread.
const PLAUSIBLE: core::ops::RangeInclusive<u64> = 1_000_000..=100_000_000_000;
/// How often a timer is read at most before it is taken for one that stands still.
const READS_MAX: u32 = 50_000_000;

/// A ratio of two speeds, as a multiplication and a shift by 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale(u64);

impl Scale {
    /// So that `from` units become `to` units.
    pub const fn new(from: u64, to: u64) -> Self {
        let from = if from == 0 { 1 } else { from };
        Scale((((to as u128) << 32) / from as u128) as u64)
    }

    /// Applies the ratio; the highest number if the result does not fit.
    pub const fn apply(self, value: u64) -> u64 {
        let product = (value as u128 * self.0 as u128) >> 32;
        if product > u64::MAX as u128 { u64::MAX } else { product as u64 }
    }

    /// The same where it is known that the result fits: 64 bits are nanoseconds of 584 years.
    #[inline(always)]
    const fn apply_within(self, value: u64) -> u64 {
        ((value as u128 * self.0 as u128) >> 32) as u64
    }
}

/// A timer of known speed.
#[derive(Clone, Copy, Debug)]
pub enum Reference {
    /// The high-precision event timer; its period in femtoseconds.
    Hpet(RegisterPage, u64),
    /// The power-management timer.
    PowerManagement(PmTimer),
    /// Channel 2 of the interval timer.
    IntervalTimer,
}

impl core::fmt::Display for Reference {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Reference::Hpet(..) => "HPET",
            Reference::PowerManagement(_) => "PM timer",
            Reference::IntervalTimer => "PIT",
        })
    }
}

/// The HPET's main counter and capabilities (IA-PC HPET specification 1.0a, 2.3).
mod hpet {
    pub(super) const PERIOD: usize = 0x04;
    pub(super) const CONFIGURATION: usize = 0x10;
    pub(super) const COUNTER: usize = 0xf0;
    pub(super) const ENABLE: u32 = 1;
    /// The longest period that the specification allows, in femtoseconds.
    pub(super) const PERIOD_MAX: u64 = 100_000_000;
}

impl Reference {
    /// The timers that this machine has, the best first.
    ///
    /// # Safety
    /// The loader has mapped the HPET's registers and nothing else uses the timers.
    unsafe fn all(platform: &Platform) -> [Option<Reference>; 3] {
        // SAFETY: the caller vouches for the mapping.
        let hpet = unsafe { RegisterPage::new(&platform.hpet) }.and_then(|registers| {
            let period = u64::from(registers.read(hpet::PERIOD));
            (1..=hpet::PERIOD_MAX).contains(&period).then_some(Reference::Hpet(registers, period))
        });
        let power = (platform.pm_timer.port != 0).then_some(Reference::PowerManagement(platform.pm_timer));
        [hpet, power, Some(Reference::IntervalTimer)]
    }

    fn hz(&self) -> u64 {
        match self {
            Reference::Hpet(_, period) => 1_000_000_000_000_000 / period,
            Reference::PowerManagement(_) => PM_TIMER_HZ,
            Reference::IntervalTimer => PIT_HZ,
        }
    }

    /// Bits that count.
    fn mask(&self) -> u32 {
        match self {
            Reference::Hpet(..) => u32::MAX,
            Reference::PowerManagement(timer) if timer.bits == 32 => u32::MAX,
            Reference::PowerManagement(_) => 0x00ff_ffff,
            Reference::IntervalTimer => 0xffff,
        }
    }

    fn start(&self) {
        match self {
            Reference::Hpet(registers, _) => {
                let configuration = registers.read(hpet::CONFIGURATION);
                registers.write(hpet::CONFIGURATION, configuration | hpet::ENABLE);
            }
            Reference::PowerManagement(_) => {}
            Reference::IntervalTimer => {
                // SAFETY: ports of the interval timer and of its gate, which nothing else uses: gate on, speaker off;
                // channel 2 counts down from the top, again and again (8254 data sheet, mode 2).
                unsafe {
                    let mut gate = Port::<u8>::new(0x61);
                    let value = gate.read();
                    gate.write(value & !2 | 1);
                    Port::<u8>::new(0x43).write(0b1011_0100);
                    Port::<u8>::new(0x42).write(0);
                    Port::<u8>::new(0x42).write(0);
                }
            }
        }
    }

    /// The counter, made to count up.
    fn read(&self) -> u32 {
        match self {
            Reference::Hpet(registers, _) => registers.read(hpet::COUNTER),
            // SAFETY: reading the power-management timer has no side effect.
            Reference::PowerManagement(timer) => unsafe { Port::<u32>::new(timer.port).read() },
            Reference::IntervalTimer => {
                // SAFETY: latches and reads channel 2, which nothing else uses.
                let value = unsafe {
                    Port::<u8>::new(0x43).write(0b1000_0000);
                    let mut counter = Port::<u8>::new(0x42);
                    u16::from_le_bytes([counter.read(), counter.read()])
                };
                u32::from(0u16.wrapping_sub(value))
            }
        }
    }
}

/// Reads the time-stamp counter.
pub fn time_stamp() -> u64 {
    // SAFETY: every 64-bit processor has the instruction, and it changes nothing.
    unsafe { _rdtsc() }
}

/// How often a counter is read to be read well once.
const SAMPLES: usize = 16;

/// A counter's value and the time stamp at which it was read.
#[derive(Clone, Copy, Debug)]
struct Sample {
    value: u32,
    stamp: u64,
}

impl Sample {
    /// Reads a counter some times and takes the reading that took the shortest time: a machine that is stopped for a
    /// while between the reading of counter and time stamp must not spoil the clock.
    fn take(read: impl Fn() -> u32) -> Self {
        let mut shortest = u64::MAX;
        let mut best = Sample { value: 0, stamp: 0 };
        for _ in 0..SAMPLES {
            let before = time_stamp();
            let value = read();
            let took = time_stamp().wrapping_sub(before);
            if took < shortest {
                shortest = took;
                best = Sample { value, stamp: before.wrapping_add(took / 2) };
            }
        }
        best
    }
}

/// What one measurement found. The two pairs belong to two stretches of time that are almost the same.
#[derive(Clone, Copy, Debug)]
struct Measurement {
    nanoseconds: u64,
    time_stamps: u64,
    timer_ticks: u64,
    timer_time_stamps: u64,
}

impl Measurement {
    /// Lets time-stamp counter and local timer run beside a reference, and `meanwhile`; `None` if the reference stands
    /// still.
    fn take(reference: &Reference, timer: &LocalApic, meanwhile: impl FnOnce()) -> Option<Self> {
        reference.start();
        timer.start_measurement();
        let wanted = (reference.hz() * MEASUREMENT / 1_000_000_000) as u32;
        let passed_since = |first: u32| reference.read().wrapping_sub(first) & reference.mask();
        let (first, timer_first) = (Sample::take(|| reference.read()), Sample::take(|| timer.measured()));
        meanwhile();
        (0..READS_MAX).find(|_| passed_since(first.value) >= wanted)?;
        let (last, timer_last) = (Sample::take(|| reference.read()), Sample::take(|| timer.measured()));
        let passed = last.value.wrapping_sub(first.value) & reference.mask();
        Some(Measurement {
            nanoseconds: (u128::from(passed) * 1_000_000_000 / u128::from(reference.hz())) as u64,
            time_stamps: last.stamp.wrapping_sub(first.stamp),
            timer_ticks: u64::from(timer_last.value.wrapping_sub(timer_first.value)),
            timer_time_stamps: timer_last.stamp.wrapping_sub(timer_first.stamp),
        })
    }

    /// Nanoseconds in which the local timer ticked as often as it did.
    fn timer_nanoseconds(&self) -> u64 {
        Scale::new(self.time_stamps, self.nanoseconds).apply(self.timer_time_stamps)
    }

    fn time_stamp_hz(&self) -> u64 {
        (u128::from(self.time_stamps) * 1_000_000_000 / u128::from(self.nanoseconds.max(1))) as u64
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    boot: u64,
    to_nanoseconds: Scale,
    to_timer_ticks: Scale,
}

/// No timer of the machine can tell how fast the time-stamp counter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoReference;

/// How the clock was measured.
#[derive(Clone, Copy, Debug)]
pub struct Calibration {
    /// The clock.
    pub clock: Clock,
    /// Speed of the time-stamp counter in Hz.
    pub hz: u64,
    /// Against what.
    pub reference: Reference,
}

impl Clock {
    /// Measures the time-stamp counter, which read `boot` at time 0, and the local timer. The machine does not wait for
    /// that: it does `meanwhile`, once.
    ///
    /// # Errors
    /// [`NoReference`] if no timer of the machine gives a plausible result.
    ///
    /// # Safety
    /// The loader has mapped the HPET's registers and nothing else uses the machine's timers.
    pub unsafe fn calibrate(
        platform: &Platform,
        boot: u64,
        timer: &LocalApic,
        meanwhile: impl FnOnce(),
    ) -> Result<Calibration, NoReference> {
        let mut work = Some(meanwhile);
        let mut meanwhile = || work.take().map_or((), |work| work());
        // SAFETY: the caller vouches for the timers.
        for reference in unsafe { Reference::all(platform) }.into_iter().flatten() {
            // This one begins anew after 55 ms, which are sooner over than any work.
            if matches!(reference, Reference::IntervalTimer) {
                meanwhile();
            }
            let Some(measured) = Measurement::take(&reference, timer, &mut meanwhile) else {
                continue;
            };
            let hz = measured.time_stamp_hz();
            if PLAUSIBLE.contains(&hz) && measured.timer_ticks > 0 {
                return Ok(Calibration {
                    clock: Clock {
                        boot,
                        to_nanoseconds: Scale::new(measured.time_stamps, measured.nanoseconds),
                        to_timer_ticks: Scale::new(measured.timer_nanoseconds(), measured.timer_ticks),
                    },
                    hz,
                    reference,
                });
            }
        }
        Err(NoReference)
    }

    /// Nanoseconds since boot.
    #[inline(always)]
    pub fn now(&self) -> u64 {
        self.to_nanoseconds.apply_within(time_stamp().wrapping_sub(self.boot))
    }

    /// Ticks of the local timer in this many nanoseconds; as many as it can count if there are more.
    pub fn timer_ticks(&self, nanoseconds: u64) -> u32 {
        // One more, so that the timer never fires before the deadline.
        let ticks = self.to_timer_ticks.apply(nanoseconds).saturating_add(1);
        ticks.min(u64::from(u32::MAX)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    #[test]
    fn a_reading_that_took_long_is_not_used() {
        let readings = Cell::new(0);
        let sample = Sample::take(|| {
            readings.set(readings.get() + 1);
            if readings.get() != 3 {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            readings.get()
        });
        assert_eq!(sample.value, 3);
    }

    #[test]
    fn a_scale_keeps_its_precision_over_a_year() {
        let scale = Scale::new(2_500_000_000, 1_000_000_000);
        let year = 365 * 24 * 3600;
        let expected = year * 1_000_000_000;
        let error = scale.apply(year * 2_500_000_000).abs_diff(expected);
        assert!(error < expected / 1_000_000_000, "off by {error} ns");
    }

    #[test]
    fn a_scale_saturates_instead_of_wrapping() {
        assert_eq!(Scale::new(1, 1000).apply(u64::MAX), u64::MAX);
    }

    #[test]
    fn timer_ticks_are_bounded_by_what_the_timer_can_count() {
        let clock = Clock { boot: 0, to_nanoseconds: Scale::new(1, 1), to_timer_ticks: Scale::new(16, 1) };
        assert_eq!(clock.timer_ticks(160), 11);
        assert_eq!(clock.timer_ticks(u64::MAX), u32::MAX);
    }
}
