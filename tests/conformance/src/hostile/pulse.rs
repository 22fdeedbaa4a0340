//! The pulse of every processor: a thread above all others that sleeps and says how late it woke up. What it measures is
//! the machine's own delay, as no other thread can keep it from running.
//!
//! An emulator that runs processors in turn stays with one until an interrupt arrives at any of them, QEMU for a tenth of a
//! second at most. The pulse sees to it that interrupts arrive often enough for all of them to advance.

use crate::actor;
use crate::bench::Bench;
use crate::call::{call, now, wait};
use crate::outcome::Outcome;
use abi::root;
use abi::syscall::Syscall;

/// Above everybody.
const PRIORITY: u64 = 250;
/// Nanoseconds between two beats.
const BEAT: u64 = 1_000_000;
/// The most processors that have one: the others have no stack for it.
const PROCESSORS: usize = 8;

/// Lets every processor have its pulse.
pub(super) fn start(bench: &mut Bench, processors: u64) -> Outcome {
    for cpu in 0..processors.min(PROCESSORS as u64) {
        let budget = call(Syscall::BudgetCreate, [root::ACCOUNT.0, PRIORITY, BEAT, BEAT, cpu])?;
        bench.thread_on(budget, root::DOMAIN.0, beat, cpu)?;
    }
    Ok(())
}

/// The most nanoseconds by which a beat was late, on any processor.
pub(super) fn lateness() -> u64 {
    (0..PROCESSORS).map(actor::read).max().unwrap_or(0)
}

extern "C" fn beat(cpu: u64) -> ! {
    let word = cpu as usize;
    actor::write(word, 0);
    loop {
        let deadline = now() + BEAT;
        let _ = wait(0, deadline);
        actor::write(word, actor::read(word).max(now().saturating_sub(deadline)));
    }
}
