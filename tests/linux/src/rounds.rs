//! Ticks of many rounds.

use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::kernel::Outcome;

/// Rounds before the first that is measured.
const WARM_UP: usize = 32;
/// Rounds that are measured unless the kernel's command line asks for another number.
const ROUNDS: usize = 256;
/// The most that it may ask for.
const MOST: usize = 4096;

/// Rounds that are measured.
static COUNT: AtomicUsize = AtomicUsize::new(ROUNDS);

/// Has each work be done so many times.
pub(crate) fn set_count(count: usize) {
    COUNT.store(count.clamp(1, MOST), Ordering::Relaxed);
}

/// What each round took, the shortest first.
pub(crate) struct Rounds {
    ticks: [u64; MOST],
    count: usize,
}

/// How many ticks there have been.
pub(crate) fn ticks() -> u64 {
    // SAFETY: every 64-bit processor has the instruction, and Linux lets processes use it.
    unsafe { _rdtsc() }
}

impl Rounds {
    /// As many rounds as in Bulkhead's own measurement.
    pub(crate) fn measure(mut round: impl FnMut() -> Outcome<()>) -> Outcome<Self> {
        Self::of(WARM_UP, COUNT.load(Ordering::Relaxed), || {
            let begun = ticks();
            let outcome = round();
            let ended = ticks();
            outcome.map(|()| ended - begun)
        })
    }

    /// So many rounds, at most 4096, after so many that do not count. Each returns what it took.
    pub(crate) fn of(warm_up: usize, count: usize, mut round: impl FnMut() -> Outcome<u64>) -> Outcome<Self> {
        let mut rounds = Self { ticks: [0; MOST], count: count.clamp(1, MOST) };
        for _ in 0..warm_up {
            round()?;
        }
        for place in &mut rounds.ticks[..rounds.count] {
            *place = round()?;
        }
        rounds.ticks[..rounds.count].sort_unstable();
        Ok(rounds)
    }

    /// The shortest.
    pub(crate) fn least(&self) -> u64 {
        self.ticks[0]
    }

    /// The one in the middle.
    pub(crate) fn middle(&self) -> u64 {
        self.ticks[self.count / 2]
    }
}
