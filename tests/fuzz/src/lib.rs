//! Bytes to sequences of system calls, interrupts, faults and time on a small machine with two processors.
//!
//! Any bytes are such a sequence, and a small change of the bytes is a small change of the sequence: that is what a
//! coverage-guided fuzzer needs. [`play`] carries it out on the real core and checks every invariant along the way.
//! The corpus beside this crate is what the fuzzer has found to reach everything that it reaches; the crate's test
//! plays it again.
//!
//! [`device`] does the same with the models of devices that guests see.
#![forbid(unsafe_code)]

mod bytes;
pub mod device;
mod playground;
mod role;
mod step;

pub use step::Step;

use abi::Syscall;
use bytes::Bytes;
use playground::playground;
use std::collections::BTreeSet;

/// At most this many steps are made of one input.
pub const MAX_STEPS: usize = 256;

/// After this many steps every invariant is checked, and once more at the end.
const CHECK_EVERY: usize = 16;

/// What a sequence has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// Steps made.
    pub steps: usize,
    /// System calls that the kernel has carried out at least once.
    pub obeyed: BTreeSet<Syscall>,
    /// System calls that it has refused at least once.
    pub refused: BTreeSet<Syscall>,
}

/// Carries out what the bytes say. `watch` sees each step before it is made.
///
/// # Panics
/// If the core does, or if an invariant is violated.
pub fn play(bytes: &[u8], mut watch: impl FnMut(&Step)) -> Played {
    let mut machine = playground();
    let mut bytes = Bytes::new(bytes);
    let mut played = Played::default();
    while played.steps < MAX_STEPS && !bytes.is_empty() {
        let step = Step::read(&mut bytes, &machine);
        watch(&step);
        let obeyed = step.apply(&mut machine);
        if let Some(syscall) = step.syscall() {
            if obeyed { &mut played.obeyed } else { &mut played.refused }.insert(syscall);
        }
        played.steps += 1;
        if played.steps % CHECK_EVERY == 0 {
            check(&machine);
        }
    }
    check(&machine);
    played
}

fn check(machine: &playground::Machine) {
    if let Err(violation) = machine.check() {
        panic!("{violation}");
    }
}
