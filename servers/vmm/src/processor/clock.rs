//! The time, as monitors tell it to guests that ask for it: how fast the time-stamp counter counts, and what it said when (Linux,
//! Documentation/virt/kvm/x86/msr.rst and arch/x86/include/asm/pvclock-abi.h). A guest that measures the counter by a timer
//! instead is at the mercy of how long an access to that timer takes.

use crate::memory::{GuestMemory, OutsideMemory};
use crate::timer::UnixTime;

/// Model-specific registers by which a guest says where it wants the time of day at its start, and a processor's time.
pub(super) const WALL_CLOCK: u32 = 0x4b56_4d00;
pub(super) const SYSTEM_TIME: u32 = 0x4b56_4d01;
/// That a processor's time is wanted at that address.
const ENABLED: u64 = 1;
/// The counters of all processors say the same.
const STABLE: u8 = 1;
/// Even: what is there is whole.
const WHOLE: u32 = 2;
const SECOND: u64 = 1_000_000_000;

/// The time of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestClock {
    /// How often the time-stamp counter counts in a second.
    pub hertz: u64,
    /// What the machine's counter said when the guest was switched on. All processors of a guest are told the same: they would not
    /// agree on the time if each were told what was found out for it.
    pub counter: u64,
    /// The time of day at that moment.
    pub time: UnixTime,
}

impl GuestClock {
    /// By how many bits a difference of the counter is shifted to the left, and the product of it with what, without its lower
    /// 32 bits, is nanoseconds.
    fn scale(&self) -> (i8, u32) {
        let mut ticks = self.hertz.clamp(1, 1 << 40);
        let mut shift = 0;
        while ticks > 2 * SECOND {
            ticks >>= 1;
            shift -= 1;
        }
        while ticks <= SECOND {
            ticks <<= 1;
            shift += 1;
        }
        (shift, ((SECOND << 32) / ticks) as u32)
    }

    /// How many nanoseconds the counter takes for so many ticks, rounded up.
    pub(super) fn nanoseconds(&self, ticks: u64) -> u64 {
        let product = u128::from(ticks) * u128::from(SECOND);
        u64::try_from(product.div_ceil(u128::from(self.hertz.max(1)))).unwrap_or(u64::MAX)
    }

    /// Writes the time of day when the guest began to where it wants it.
    ///
    /// # Errors
    /// If it has no memory there.
    pub(super) fn write_wall_clock(&self, address: u64, memory: &mut dyn GuestMemory) -> Result<(), OutsideMemory> {
        let mut image = [0; 12];
        image[..4].copy_from_slice(&WHOLE.to_le_bytes());
        image[4..8].copy_from_slice(&(self.time as u32).to_le_bytes());
        memory.write(address, &image)
    }

    /// Writes what a processor's counter said when the guest was switched on, to where the guest wants it, if it does. `offset` is what
    /// that counter is ahead of the machine's.
    ///
    /// # Errors
    /// If it has no memory there.
    pub(super) fn write_system_time(
        &self,
        wanted: u64,
        offset: u64,
        memory: &mut dyn GuestMemory,
    ) -> Result<(), OutsideMemory> {
        if wanted & ENABLED == 0 {
            return Ok(());
        }
        let (shift, factor) = self.scale();
        let mut image = [0; 32];
        image[..4].copy_from_slice(&WHOLE.to_le_bytes());
        // Then no time had passed: that stays zero.
        image[8..16].copy_from_slice(&self.counter.wrapping_add(offset).to_le_bytes());
        image[24..28].copy_from_slice(&factor.to_le_bytes());
        image[28] = shift as u8;
        image[29] = STABLE;
        memory.write(wanted & !ENABLED, &image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::FlatMemory;

    /// Nanoseconds of so many ticks, as a guest computes them.
    fn nanoseconds(clock: GuestClock, ticks: u64) -> u64 {
        let (shift, factor) = clock.scale();
        let shifted = if shift < 0 { ticks >> -shift } else { ticks << shift };
        ((u128::from(shifted) * u128::from(factor)) >> 32) as u64
    }

    #[test]
    fn a_second_is_as_many_ticks_as_the_counter_has_hertz() {
        for hertz in [1_000_000, 999_999_999, SECOND, SECOND + 1, 2_596_123_456, 5_100_000_000] {
            let clock = GuestClock { hertz, counter: 0, time: 0 };
            let found = nanoseconds(clock, hertz * 10);
            assert!(found.abs_diff(10 * SECOND) < 100, "{hertz} Hz: {found} ns");
        }
    }

    #[test]
    fn the_times_are_written_where_the_guest_wants_them() {
        let clock = GuestClock { hertz: 2 * SECOND, counter: 100, time: 1_795_368_955 };
        let mut memory = FlatMemory::new(0x1000);
        clock.write_wall_clock(0x100, &mut memory).unwrap();
        assert_eq!(memory.read_u32(0x104), Ok(1_795_368_955));
        clock.write_system_time(0x200, 77, &mut memory).unwrap();
        assert_eq!(memory.read_u64(0x208), Ok(0), "it is not wanted");
        clock.write_system_time(0x201, 77, &mut memory).unwrap();
        assert_eq!((memory.read_u64(0x208), memory.read_u64(0x210)), (Ok(177), Ok(0)));
        assert!(clock.write_system_time(0xfff1, 0, &mut memory).is_err());
    }
}
