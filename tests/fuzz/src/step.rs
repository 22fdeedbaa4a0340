//! One thing that happens.

use crate::bytes::Bytes;
use crate::playground::Machine;
use crate::role::{Role, roles};
use abi::Syscall;
use abi::device::{SourceId, Stray, StrayKind};
use abi::fault::FaultKind;
use abi::message::{Lease, MessageInfo, offset};
use kernel_core::{CpuId, FaultReport, InterruptId, ThreadId};
use model::machine::{BUFFER, DATA, SLICE};

/// One thing that happens on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The running thread makes a system call, after filling its message buffer with a handle and a lease.
    Call {
        /// Which.
        syscall: Syscall,
        /// Its registers.
        arguments: [u64; 6],
        /// The first handle in the buffer.
        handle: u64,
        /// The first lease in the buffer.
        lease: Lease,
    },
    /// The running thread makes a system call with a number of its own choice.
    Number(u64),
    /// The running thread executes its system call again.
    Again,
    /// The running thread faults.
    Fault(FaultKind),
    /// What follows happens on this processor.
    Switch(usize),
    /// The guest that runs does something that is its monitor's business.
    GuestExit,
    /// The processor is asked to look.
    Look,
    /// Nanoseconds pass, and the timer interrupts.
    Tick(u64),
    /// The first deadline passes.
    Deadline,
    /// A device interrupts.
    Interrupt(usize),
    /// The IOMMU has refused a device this.
    Stray(Stray),
}

/// The last interrupt of the table.
const INTERRUPTS: u8 = 7;

/// Faults that the hardware reports.
const FAULTS: [FaultKind; 8] = [
    FaultKind::Read,
    FaultKind::Write,
    FaultKind::Execute,
    FaultKind::IllegalInstruction,
    FaultKind::Divide,
    FaultKind::Exception,
    FaultKind::Breakpoint,
    FaultKind::FloatingPoint,
];

impl Step {
    /// The next step. What runs, and what it holds, decides what a byte means. A system call is its own number, so that
    /// the corpus means the same when there are more of them.
    pub(crate) fn read(bytes: &mut Bytes<'_>, machine: &Machine) -> Step {
        let kind = bytes.byte();
        let runs = machine.current();
        match (kind, runs) {
            (0..148, Some(thread)) if machine.context(thread).in_guest => Step::GuestExit,
            (0..128, Some(thread)) if machine.context(thread).again => Step::Again,
            (0..128, Some(thread)) => match Syscall::from_number(kind.into()) {
                Some(syscall) => Self::read_call(syscall, bytes, machine, thread),
                None => Step::Number(kind.into()),
            },
            (128..144, Some(_)) => Step::Fault(FAULTS[usize::from(kind) % FAULTS.len()]),
            (144..148, Some(thread)) if !machine.context(thread).again => Step::Number(bytes.word()),
            (148..172, _) => Step::Switch(usize::from(kind) % 2),
            (172..196, _) => Step::Look,
            (196..210, _) => Step::Interrupt(usize::from(1 + kind % INTERRUPTS)),
            (210..212, _) => Step::Stray(Stray {
                source: SourceId(u16::from(kind)),
                kind: StrayKind::Write,
                reason: 5,
                address: DATA,
            }),
            (212..228, _) => Step::Deadline,
            _ => Step::Tick(SLICE >> (kind % 16)),
        }
    }

    fn read_call(syscall: Syscall, bytes: &mut Bytes<'_>, machine: &Machine, thread: ThreadId) -> Step {
        let mut arguments = [0; 6];
        for (argument, role) in arguments.iter_mut().zip(roles(syscall)) {
            *argument = role.read(bytes, machine, thread);
        }
        let (mut handle, mut lease) = (0, Lease::default());
        if matches!(syscall, Syscall::Call | Syscall::Reply | Syscall::ReplyReceive) {
            let counts = bytes.byte();
            let info = MessageInfo::new(7, counts & 15).with_caps(counts >> 4 & 1).with_leases(counts >> 5 & 1);
            arguments[1] = if counts >= 0xf0 { bytes.word() } else { info.0 };
            handle = if info.caps() > 0 { Role::Any.read(bytes, machine, thread) } else { 0 };
            if info.leases() > 0 {
                let length = bytes.byte();
                lease.address = Role::Address.read(bytes, machine, thread);
                lease.length_and_access = u64::from(length & 63) << (length >> 6) | Lease::READ | Lease::WRITE;
            }
        }
        Step::Call { syscall, arguments, handle, lease }
    }

    /// The system call that this is.
    pub(crate) fn syscall(&self) -> Option<Syscall> {
        match self {
            Step::Call { syscall, .. } => Some(*syscall),
            _ => None,
        }
    }

    /// Lets it happen; tells whether the kernel has obeyed.
    pub(crate) fn apply(&self, machine: &mut Machine) -> bool {
        match *self {
            Step::Call { syscall, arguments, handle, lease } => {
                if let Some(buffer) = machine.frame_behind(BUFFER) {
                    let place = buffer.address();
                    machine.world.set_word(place + offset::CAPS_OUT as u64, handle);
                    machine.world.set_word(place + offset::LEASES as u64, lease.address);
                    machine.world.set_word(place + offset::LEASES as u64 + 8, lease.length_and_access);
                }
                return machine.enter(syscall as u64, arguments).is_ok();
            }
            Step::Number(number) => return machine.enter(number, [0; 6]).is_ok(),
            Step::Again => return machine.repeat(),
            Step::Fault(kind) => machine.fault(FaultReport { kind, address: DATA, code: 0 }),
            Step::Switch(index) => machine.cpu = CpuId::from_index(index).unwrap_or(CpuId::BOOT),
            Step::GuestExit => machine.leave_guest(),
            Step::Look => machine.look(),
            Step::Tick(nanoseconds) => machine.tick(nanoseconds),
            Step::Deadline => {
                let first = machine.kernel.first_deadline(machine.cpu).unwrap_or(0);
                machine.tick(first.saturating_sub(machine.now));
            }
            Step::Interrupt(index) => {
                if let Some(interrupt) = InterruptId::from_index(index) {
                    machine.interrupt(interrupt);
                }
            }
            Step::Stray(stray) => machine.stray(stray),
        }
        true
    }
}
