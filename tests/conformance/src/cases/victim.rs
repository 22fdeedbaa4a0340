//! A domain whose faults the first thread hears of, and what its threads can do wrong.

use crate::actor::{self, Body};
use crate::bench::{Bench, Child, PRIORITY};
use crate::call::{Received, Words, receive, reply, soon, wait};
use crate::outcome::Failure;
use abi::fault::{FaultKind, FaultWord};
use abi::message::MessageInfo;
use abi::time::NEVER;
use alloc::format;

/// The badge under which the first thread hears of the victim's faults.
pub(super) const BADGE: u64 = 0xbad;
/// The word of the board in which a victim says that it came through.
pub(super) const DONE: usize = 20;
/// The word of the board in which a victim leaves what it read.
pub(super) const FOUND: usize = 21;

/// A domain that is watched.
pub(super) struct Victim {
    pub(super) child: Child,
    pub(super) endpoint: u64,
}

/// A fault message.
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    pub(super) badge: u64,
    pub(super) words: Words,
    token: u64,
}

impl Fault {
    pub(super) fn word(&self, word: FaultWord) -> u64 {
        self.words[word as usize]
    }

    /// Lets the thread go on.
    pub(super) fn repaired(&self) -> Result<(), Failure> {
        Ok(reply(self.token, MessageInfo::new(0, 0), &[0; 6])?)
    }
}

impl Victim {
    pub(super) fn new(bench: &mut Bench) -> Result<Self, Failure> {
        let endpoint = bench.fault_endpoint()?;
        let child = bench.child_with(50, endpoint, BADGE)?;
        Ok(Victim { child, endpoint })
    }

    /// Starts a thread of the domain.
    pub(super) fn start(&self, bench: &mut Bench, body: Body, argument: u64) -> Result<u64, Failure> {
        bench.thread_at(self.child.domain, PRIORITY, body, argument)
    }

    /// Waits for a fault.
    pub(super) fn fault(&self) -> Result<Fault, Failure> {
        let mut words: Words = [0; 6];
        match receive(self.endpoint, 0, soon(), &mut words)? {
            Received::Message { badge, info, token } => {
                let kind = FaultKind::from_label(info.label())
                    .ok_or_else(|| Failure::new(format!("no fault has the label {}", info.label())))?;
                Ok(Fault { kind, badge, words, token })
            }
            Received::Bits(bits) => Err(Failure::new(format!("received bits {bits:#x} instead of a fault"))),
        }
    }

    /// Starts a thread and waits for its fault.
    pub(super) fn fault_of(&self, bench: &mut Bench, body: Body, argument: u64) -> Result<Fault, Failure> {
        self.start(bench, body, argument)?;
        self.fault()
    }
}

/// Says that it came through and sleeps for ever.
pub(super) fn done() -> ! {
    actor::add(DONE, 1);
    loop {
        let _ = wait(0, NEVER);
    }
}

/// Reads a byte of the address that it is given.
pub(super) extern "C" fn load(address: u64) -> ! {
    actor::write(FOUND, actor::Memory(address).byte(0).into());
    done()
}

/// Writes a byte to the address that it is given.
pub(super) extern "C" fn store(address: u64) -> ! {
    actor::Memory(address).set_byte(0, 0x5a);
    done()
}

/// Goes on at the address that it is given.
pub(super) extern "C" fn jump(address: u64) -> ! {
    // SAFETY: wherever it leads, it is this thread's own domain that bears it.
    unsafe { core::arch::asm!("jmp {}", in(reg) address, options(noreturn)) }
}
