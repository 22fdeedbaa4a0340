//! What hostile domains have done, counted.

use super::attacker::OUTCOMES;
use super::offender::Offender;
use super::place::{CALLS, THREADS};
use crate::console::print;
use crate::outcome::{Outcome, holds};
use abi::fault::FaultKind;
use abi::{Error, Syscall};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::sync::atomic::Ordering::Relaxed;

/// Vectors of exceptions.
const VECTORS: usize = 32;
/// Kinds of fault, by their labels.
const KINDS: usize = 16;

/// The counts of all domains together.
#[derive(Default)]
pub(super) struct Tally {
    results: Vec<[u64; OUTCOMES]>,
    faults: [u64; KINDS],
    vectors: [u64; VECTORS],
    leaps: u64,
    idle: u64,
    /// Threads that were begun anew after a fault.
    pub(super) restarted: u64,
    /// Threads that were begun anew since they made no progress.
    pub(super) silent: u64,
    /// Domains that were taken apart and built again because their time had come.
    pub(super) rebuilt: u64,
    /// The same because one of their threads was gone.
    pub(super) lost: u64,
}

impl Tally {
    /// Notes a fault.
    pub(super) fn fault(&mut self, kind: Option<FaultKind>, vector: u64) {
        if let Some(count) = self.faults.get_mut(kind.map_or(0, |kind| kind as usize)) {
            *count += 1;
        }
        if kind == Some(FaultKind::Exception)
            && let Some(count) = self.vectors.get_mut(vector as usize)
        {
            *count += 1;
        }
    }

    /// Adds what a domain's threads have noted.
    pub(super) fn add(&mut self, offender: &Offender) {
        self.results.resize(CALLS, [0; OUTCOMES]);
        for thread in 0..THREADS as usize {
            let record = offender.record(thread);
            let mut calls = 0;
            for (sums, counts) in self.results.iter_mut().zip(&record.results) {
                for (sum, count) in sums.iter_mut().zip(counts) {
                    *sum += u64::from(count.load(Relaxed));
                    calls += u64::from(count.load(Relaxed));
                }
            }
            self.leaps += record.leaps.load(Relaxed);
            self.idle += u64::from(calls == 0);
        }
    }

    fn calls(&self) -> u64 {
        self.results.iter().flatten().sum()
    }

    /// Whether every thread made calls, and faults came and were dealt with.
    pub(super) fn is_lively(&self) -> Outcome {
        holds(self.idle == 0, "every thread has made calls")?;
        holds(self.faults.iter().sum::<u64>() > 0 && self.restarted > 0, "offenders faulted and began anew")
    }

    /// Prints a table.
    pub(super) fn print(&self) {
        print(format_args!("{:>6} {:<19} {:>10} {:>10}  refused\n", "number", "system call", "made", "carried out"));
        for (place, outcomes) in self.results.iter().enumerate() {
            let made: u64 = outcomes.iter().sum();
            let (number, name) = match Syscall::ALL.get(place) {
                Some(call) => (format!("{}", *call as u64), format!("{call:?}")),
                None => ("others".into(), "unknown".into()),
            };
            let mut refused = String::new();
            let mut errors: Vec<_> = outcomes.iter().enumerate().skip(1).filter(|(_, count)| **count > 0).collect();
            errors.sort_by_key(|(_, count)| core::cmp::Reverse(**count));
            for (code, count) in errors {
                let _ = match Error::from_code(code as u16) {
                    Some(error) => write!(refused, " {error:?} {count}"),
                    None => write!(refused, " {code} {count}"),
                };
            }
            print(format_args!("{number:>6} {name:<19} {made:>10} {:>10} {refused}\n", outcomes[0]));
        }
        print(format_args!("{} system calls, {} leaps into random bytes\n", self.calls(), self.leaps));
        let mut line = String::from("faults:");
        for (label, count) in self.faults.iter().enumerate().filter(|(_, count)| **count > 0) {
            let _ = match FaultKind::from_label(label as u32) {
                Some(FaultKind::Exception) => write!(line, " Exception {count}{}", self.exceptions()),
                Some(kind) => write!(line, " {kind:?} {count}"),
                None => write!(line, " unknown {count}"),
            };
        }
        print(format_args!("{line}\n"));
        print(format_args!(
            "offenders begun anew: {} after a fault, {} for silence; domains built anew: {} in turn, {} after they had lost a thread\n",
            self.restarted, self.silent, self.rebuilt, self.lost
        ));
    }

    fn exceptions(&self) -> String {
        let mut text = String::from(" (vectors");
        for (vector, count) in self.vectors.iter().enumerate().filter(|(_, count)| **count > 0) {
            let _ = write!(text, " {vector}: {count}");
        }
        text.push(')');
        text
    }
}
