//! The cases, by what they are about.

mod account;
mod canonical;
mod capability;
pub(crate) mod device;
mod device_space;
mod exception;
mod fault;
mod flag;
mod guest;
mod hostile;
mod ipc;
mod lease;
mod memory;
mod notification;
mod offender;
mod privilege;
mod processor;
mod schedule;
mod segment;
mod server;
mod system;
mod thread;
mod transfer;
mod victim;

use crate::bench::Bench;
use crate::outcome::Outcome;

/// One behaviour of the kernel.
pub(crate) struct Case {
    /// Its name: a sentence.
    pub(crate) name: &'static str,
    /// Looks for it.
    pub(crate) run: fn(&mut Bench) -> Outcome,
}

/// Lists functions as cases under their own names.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// The cases of this module.
        pub(super) const CASES: &[$crate::cases::Case] =
            &[$($crate::cases::Case { name: stringify!($name), run: $name }),*];
    };
}
use cases;

/// Every case.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    [
        system::CASES,
        capability::CASES,
        account::CASES,
        memory::CASES,
        notification::CASES,
        ipc::CASES,
        server::CASES,
        transfer::CASES,
        lease::CASES,
        fault::CASES,
        exception::CASES,
        privilege::CASES,
        segment::CASES,
        canonical::CASES,
        flag::CASES,
        thread::CASES,
        schedule::CASES,
        processor::CASES,
        device::CASES,
        device_space::CASES,
        guest::CASES,
        hostile::CASES,
    ]
    .into_iter()
    .flatten()
}
