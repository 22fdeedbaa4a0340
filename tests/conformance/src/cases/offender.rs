//! A thread of a watched domain that runs one offence after the other, and what must come of each.

use super::victim::{DONE, FOUND, Fault, Victim, done};
use crate::actor::{self, Body, Memory};
use crate::bench::{Bench, PRIORITY, WINDOW};
use crate::call::{call, until};
use crate::outcome::{Failure, Outcome};
use abi::PAGE_SIZE;
use abi::fault::{FaultKind, FaultWord};
use abi::syscall::{MapAccess, Syscall};
use alloc::format;

/// Vectors of exceptions (AMD64 manual volume 2, 8.2).
pub(super) mod vector {
    pub(in super::super) const DIVIDE: u64 = 0;
    pub(in super::super) const DEBUG: u64 = 1;
    pub(in super::super) const BREAKPOINT: u64 = 3;
    pub(in super::super) const INVALID_OPCODE: u64 = 6;
    pub(in super::super) const DEVICE_NOT_AVAILABLE: u64 = 7;
    pub(in super::super) const STACK: u64 = 12;
    pub(in super::super) const PROTECTION: u64 = 13;
    pub(in super::super) const PAGE: u64 = 14;
}

/// Makes a thread's body of instructions alone: what comes after them says that the thread came through.
macro_rules! bodies {
    ($($name:ident: $($instruction:literal),+;)*) => {$(
        #[unsafe(naked)]
        extern "C" fn $name(_: u64) -> ! {
            core::arch::naked_asm!(
                $($instruction,)+
                "jmp {done}",
                // For those that go there with something in `rdi`.
                "# {found}",
                done = sym $crate::cases::offender::came_through,
                found = sym $crate::cases::offender::found
            )
        }
    )*};
}
pub(super) use bodies;

bodies! {
    return_far: "push 0x23", "lea rax, [rip + 2f]", "push rax", "retfq", "2:";
}

/// Where a [`Offender::code`] lies in the offender's space.
pub(super) const CODE: u64 = 0x8e_0000;

/// Says that the thread came through, whatever flags it has set.
#[unsafe(naked)]
pub(super) extern "C" fn came_through(_: u64) -> ! {
    core::arch::naked_asm!("push 2", "popfq", "jmp {done}", done = sym finish)
}

/// Leaves its argument on the board and says that the thread came through, whatever flags it has set.
#[unsafe(naked)]
pub(super) extern "C" fn found(_: u64) -> ! {
    core::arch::naked_asm!("push 2", "popfq", "jmp {done}", done = sym finish_with)
}

extern "C" fn finish_with(found: u64) -> ! {
    actor::write(FOUND, found);
    done()
}

extern "C" fn finish() -> ! {
    done()
}

/// The thread and its domain.
pub(super) struct Offender {
    pub(super) victim: Victim,
    thread: u64,
    place: usize,
}

impl Offender {
    /// A domain with one thread, which does not run yet.
    pub(super) fn new(bench: &mut Bench) -> Result<Self, Failure> {
        let victim = Victim::new(bench)?;
        let (thread, place) = bench.stopped_thread(victim.child.domain, PRIORITY)?;
        Ok(Offender { victim, thread, place })
    }

    /// The stack pointer with which its thread starts unless a case says otherwise.
    pub(super) fn stack(&self) -> u64 {
        actor::stack(self.place)
    }

    /// Starts the thread anew, whatever it did.
    pub(super) fn start(&self, instruction: u64, stack: u64, argument: u64) -> Outcome {
        call(Syscall::ThreadStop, [self.thread])?;
        call(Syscall::ThreadStart, [self.thread, instruction, stack, argument])?;
        Ok(())
    }

    /// Runs a body until its fault.
    pub(super) fn fault(&self, body: Body, argument: u64) -> Result<Fault, Failure> {
        self.fault_at(actor::code(body), self.stack(), argument)
    }

    /// The same from any address, with any stack pointer.
    pub(super) fn fault_at(&self, instruction: u64, stack: u64, argument: u64) -> Result<Fault, Failure> {
        self.start(instruction, stack, argument)?;
        self.victim.fault()
    }

    /// Runs a body that must come through.
    pub(super) fn passes(&self, body: Body, argument: u64) -> Outcome {
        let before = actor::read(DONE);
        self.start(actor::code(body), self.stack(), argument)?;
        if until(|| actor::read(DONE) > before) { Ok(()) } else { Err(Failure::new("it does not come through".into())) }
    }

    /// Each of these bodies must end in its first instructions with an exception of one of these vectors and with error
    /// code 0, and not come through.
    #[track_caller]
    pub(super) fn all_end_in(&self, vectors: &[u64], offences: &[(&str, Body)]) -> Outcome {
        for (name, body) in offences {
            let fault = self.fault(*body, 0).map_err(|failure| Failure::new(format!("{name}: {failure}")))?;
            let (vector, error) = fault.exception();
            let instruction = fault.word(FaultWord::InstructionPointer);
            let first = actor::code(*body);
            if !vectors.contains(&vector) || error != 0 || !(first..first + 32).contains(&instruction) {
                return Err(Failure::new(format!(
                    "{name}: exception {vector} with error {error:#x} at {instruction:#x}, begun at {first:#x}"
                )));
            }
        }
        match actor::read(DONE) {
            0 => Ok(()),
            _ => Err(Failure::new("one of them came through".into())),
        }
    }

    /// Whether this machine's far returns of user mode work at all.
    ///
    /// QEMU 7 reads the stack for them as the kernel would. Where user mode's memory is closed to the kernel, that is a
    /// page fault whatever the return leads to; so this suite also runs on a processor without that protection.
    pub(super) fn returns_far(&self, bench: &Bench) -> Result<bool, Failure> {
        let before = actor::read(DONE);
        self.start(actor::code(return_far), self.stack(), 0)?;
        bench.settle()?;
        if actor::read(DONE) > before {
            actor::write(DONE, before);
            return Ok(true);
        }
        let has_access_prevention = core::arch::x86_64::__cpuid_count(7, 0).ebx & (1 << 20) != 0;
        match self.victim.fault()?.exception() {
            (vector::PAGE, 1) if has_access_prevention => Ok(false),
            other => Err(Failure::new(format!("a far return to oneself ends in exception {other:x?}"))),
        }
    }

    /// Puts these pieces of machine code, of at most 16 bytes each, into a page at [`CODE`] from which the offender can
    /// run them, one every 16 bytes.
    pub(super) fn code<'a>(&self, bench: &mut Bench, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
        let memory = bench.memory(1)?;
        let mapping = bench.map(memory, WINDOW, 1)?;
        for (place, piece) in pieces.enumerate() {
            for (offset, byte) in piece.iter().take(16).enumerate() {
                Memory(WINDOW).set_byte((place * 16 + offset) % PAGE_SIZE as usize, *byte);
            }
        }
        call(Syscall::Unmap, [abi::root::SPACE.0, mapping])?;
        let access = MapAccess::ReadExecute as u64;
        call(Syscall::Map, [self.victim.child.space, memory, CODE, 0, 1, access])?;
        Ok(())
    }
}

/// Whether a fault is that of a gate which user mode may not use. The error code names the gate: eight bytes each, as the
/// manual counts them (AMD64 manual volume 2, 8.4.1), or sixteen, as QEMU 7 does.
pub(super) fn is_refused_gate(fault: &Fault, number: u64) -> bool {
    [(vector::PROTECTION, number << 3 | 2), (vector::PROTECTION, number << 4 | 2)].contains(&fault.exception())
}

impl Fault {
    /// Vector and error code of an exception.
    pub(super) fn exception(&self) -> (u64, u64) {
        let code = self.word(FaultWord::Code);
        (code >> 32, code & 0xffff_ffff)
    }

    /// The kind and the address that was touched.
    pub(super) fn access(&self) -> (FaultKind, u64) {
        (self.kind, self.word(FaultWord::Address))
    }
}
