//! What can happen next.

use crate::machine::{BUFFER, DATA, Machine, SLICE};
use crate::sizes::Tiny;
use abi::device::{SourceId, Stray, StrayKind};
use abi::fault::FaultKind;
use abi::message::{Lease, MessageInfo, offset};
use abi::syscall::Charge;
use abi::{Error, Syscall};
use kernel_core::{CpuId, FaultReport, InterruptId, Refusal, Request};

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The running thread makes a system call, with this word as the first capability and this as the first lease in
    /// its message buffer.
    Syscall {
        /// Which.
        syscall: Syscall,
        /// Its arguments.
        arguments: [u64; 6],
        /// The handle in the message buffer.
        cap: u64,
        /// The lease in the message buffer.
        lease: Lease,
    },
    /// The running thread executes its system call again.
    Repeat,
    /// The running thread faults.
    Fault(FaultKind),
    /// The running thread's slice ends.
    SliceEnd,
    /// The first deadline passes.
    Deadline,
    /// A device interrupts.
    Interrupt(InterruptId),
    /// The IOMMU refuses a device something.
    Stray,
    /// The guest that runs does something that is its monitor's business.
    GuestExit,
    /// The processor enters the kernel because another one has asked it to.
    Look,
    /// What follows happens on this processor.
    Processor(CpuId),
}

impl Event {
    /// A system call without anything in the buffer.
    pub fn syscall(syscall: Syscall, given: &[u64]) -> Event {
        let mut arguments = [0; 6];
        arguments[..given.len()].copy_from_slice(given);
        Event::Syscall { syscall, arguments, cap: 0, lease: Lease::default() }
    }

    /// What kind of event this is: which system call, or which other.
    pub fn kind(self) -> (u8, u64) {
        match self {
            Event::Syscall { syscall, .. } => (0, syscall as u64),
            Event::Repeat => (1, 0),
            Event::Fault(_) => (2, 0),
            Event::SliceEnd => (3, 0),
            Event::Deadline => (4, 0),
            Event::Interrupt(_) => (5, 0),
            Event::Look => (6, 0),
            Event::Processor(_) => (7, 0),
            Event::Stray => (8, 0),
            Event::GuestExit => (9, 0),
        }
    }

    /// Whether this ends something for good.
    pub fn is_destructive(self) -> bool {
        use Syscall as S;
        match self {
            Event::Syscall { syscall, .. } => matches!(
                syscall,
                S::Destroy | S::CapDelete | S::CapRevoke | S::CapMove | S::ThreadExit | S::ThreadPanic | S::ThreadStop
            ),
            Event::Fault(_) => true,
            Event::Repeat
            | Event::SliceEnd
            | Event::Deadline
            | Event::Interrupt(_)
            | Event::Look
            | Event::GuestExit
            | Event::Stray
            | Event::Processor(_) => false,
        }
    }

    /// Fills the memory that the call reads, as the running thread would itself: its message buffer, or the limits of an
    /// account, which allow 16 slots and one object of each other kind.
    fn prepare(self, machine: &mut Machine<Tiny>) {
        let Event::Syscall { syscall, cap, lease, .. } = self else { return };
        match syscall {
            Syscall::Call | Syscall::Reply | Syscall::ReplyReceive => {
                let Some(buffer) = machine.frame_behind(BUFFER) else { return };
                let place = buffer.address();
                machine.world.set_word(place + offset::CAPS_OUT as u64, cap);
                machine.world.set_word(place + offset::LEASES as u64, lease.address);
                machine.world.set_word(place + offset::LEASES as u64 + 8, lease.length_and_access);
            }
            Syscall::AccountCreate => {
                let Some(page) = machine.frame_behind(DATA) else { return };
                let mut limits = [1; Charge::COUNT];
                limits[Charge::CapSlots as usize] = 16;
                for (index, pair) in limits.chunks_exact(2).enumerate() {
                    machine.world.set_word(page.address() + 8 * index as u64, pair[0] | (pair[1] << 32));
                }
            }
            _ => {}
        }
    }

    /// Whether the kernel refuses this, whatever is in memory, so that nothing happens.
    pub fn is_refused(self, machine: &Machine<Tiny>) -> bool {
        let Event::Syscall { syscall, arguments, .. } = self else { return false };
        let now = machine.now + machine.entry_time;
        let request = Request { cpu: machine.cpu, number: syscall as u64, arguments, now };
        let Err(refusal) = machine.kernel.decode(&machine.world, &request) else { return false };
        match syscall {
            Syscall::Call | Syscall::Reply | Syscall::ReplyReceive => {
                !matches!(refusal.error, Error::BadHandle | Error::StaleHandle | Error::BadAddress)
            }
            Syscall::AccountCreate => refusal.error != Error::QuotaExceeded,
            _ => true,
        }
    }

    /// Lets it happen. Tells why the kernel has refused it, if it has.
    pub fn apply(self, machine: &mut Machine<Tiny>) -> Option<Refusal> {
        match self {
            Event::Syscall { syscall, arguments, .. } => {
                self.prepare(machine);
                return machine.enter(syscall as u64, arguments).err();
            }
            Event::Repeat => {
                let (number, arguments) = machine.repeated()?;
                return machine.enter(number, arguments).err();
            }
            Event::Fault(kind) => machine.fault(FaultReport { kind, address: 0, code: 0 }),
            Event::SliceEnd => machine.tick(SLICE),
            Event::Deadline => {
                let first = machine.kernel.first_deadline(machine.cpu).unwrap_or(0);
                machine.tick(first.saturating_sub(machine.now));
            }
            Event::Interrupt(interrupt) => machine.interrupt(interrupt),
            Event::Look => machine.look(),
            Event::GuestExit => machine.leave_guest(),
            Event::Stray => {
                let source = SourceId(8);
                machine.stray(Stray { source, kind: StrayKind::Write, reason: 5, address: 0x1000 });
            }
            Event::Processor(cpu) => {
                machine.on(cpu);
            }
        }
        None
    }

    /// The event in words, with who runs.
    pub fn describe(self, machine: &Machine<Tiny>) -> String {
        let who = machine.current().map_or("idle".to_owned(), |thread| format!("{thread:?}"));
        match self {
            Event::Syscall { syscall, arguments, cap, lease } => {
                let mut sent = String::new();
                if let Syscall::Call | Syscall::Reply | Syscall::ReplyReceive = syscall {
                    sent = format!(" {:?}", MessageInfo(arguments[1]));
                    if cap != 0 {
                        sent += &format!(" with capability {cap:#x}");
                    }
                    if lease != Lease::default() {
                        sent += &format!(" with {lease:x?}");
                    }
                }
                format!("{who}: {syscall:?} {arguments:x?}{sent}")
            }
            Event::Repeat => format!("{who}: again"),
            other => format!("{who}: {other:?}"),
        }
    }
}
