//! Counting instructions, in a machine in which a tick of the time-stamp counter is one (QEMU's
//! `-icount shift=0,sleep=off`, one processor).

use crate::outcome::{Failure, Outcome};
use alloc::vec;
use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Rounds before the first that is measured: first uses of memory and of the heap.
const WARM_UP: usize = 32;
/// Rounds that are measured unless the host asks for another number; the shortest counts, since the machine's timer lengthens some.
const ROUNDS: usize = 256;
/// The most that the host may ask for.
const MOST: usize = 4096;

/// Rounds that are measured.
static COUNT: AtomicUsize = AtomicUsize::new(ROUNDS);

/// Has each work be done so many times.
pub(crate) fn set_rounds(count: u64) {
    COUNT.store(usize::try_from(count).unwrap_or(MOST).clamp(1, MOST), Ordering::Relaxed);
}

/// How many there have been.
pub(crate) fn ticks() -> u64 {
    // SAFETY: every 64-bit processor has the instruction, and user mode may use it.
    unsafe { _rdtsc() }
}

/// The median of the rounds that were measured last.
static MIDDLE: AtomicU64 = AtomicU64::new(0);

/// What the round in the middle took of those whose fewest ticks were told last: where ticks are time, the shortest says little.
pub(crate) fn middle() -> u64 {
    MIDDLE.load(Ordering::Relaxed)
}

/// The fewest of one round.
pub(crate) fn fewest(mut round: impl FnMut() -> Outcome) -> Result<u64, Failure> {
    fewest_of(
        #[inline(always)]
        || {
            let begun = ticks();
            let outcome = round();
            let taken = ticks() - begun;
            outcome.map(|()| taken)
        },
    )
}

/// The fewest that a round says it took.
pub(crate) fn fewest_of(mut round: impl FnMut() -> Result<u64, Failure>) -> Result<u64, Failure> {
    let mut rounds = vec![0; COUNT.load(Ordering::Relaxed)];
    // One loop, so that the compiler puts the round into it rather than calling it.
    for number in 0..WARM_UP + rounds.len() {
        let taken = round()?;
        if let Some(place) = number.checked_sub(WARM_UP) {
            rounds[place] = taken;
        }
    }
    rounds.sort_unstable();
    MIDDLE.store(rounds[rounds.len() / 2], Ordering::Relaxed);
    Ok(rounds[0])
}
