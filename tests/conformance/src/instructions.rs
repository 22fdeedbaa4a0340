//! Counting instructions, in a machine in which a tick of the time-stamp counter is one (QEMU's
//! `-icount shift=0,sleep=off`, one processor).

use crate::outcome::{Failure, Outcome};
use core::arch::x86_64::_rdtsc;

/// Rounds before the first that is measured: first uses of memory and of the heap.
const WARM_UP: u64 = 32;
/// Rounds that are measured; the shortest counts, since the machine's timer lengthens some.
const ROUNDS: u64 = 256;

/// How many there have been.
pub(crate) fn ticks() -> u64 {
    // SAFETY: every 64-bit processor has the instruction, and user mode may use it.
    unsafe { _rdtsc() }
}

/// The fewest of one round.
pub(crate) fn fewest(mut round: impl FnMut() -> Outcome) -> Result<u64, Failure> {
    for _ in 0..WARM_UP {
        round()?;
    }
    let mut least = u64::MAX;
    for _ in 0..ROUNDS {
        let begun = ticks();
        let outcome = round();
        least = least.min(ticks() - begun);
        outcome?;
    }
    Ok(least)
}
