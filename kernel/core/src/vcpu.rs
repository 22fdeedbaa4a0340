//! Virtual processors: threads that enter guests.
//!
//! A virtual processor is a second face of a thread. While the thread is in its guest it is ready or runs, like any other: it is
//! scheduled, preempted and charged the same way, and what it does there is between the hardware, its guest space and its monitor.
//! Only who takes it out of the guest is of interest here: an exit, or bits of the notification that is bound to it.

use crate::effect::{Effect, Resume};
use crate::frame::Frame;
use crate::identity::{AccountId, CpuId, SpaceId, ThreadId};
use crate::kernel::{Kernel, Tables};
use crate::space::{Flavour, Space};
use crate::thread::Thread;
use abi::syscall::{RECEIVED_BITS, RECEIVED_MESSAGE};

/// Pages of a virtual processor, out of its guest space's pool.
pub(crate) const VCPU_PAGES: u32 = 2;

/// What a thread has that enters a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Vcpu {
    /// The guest's memory.
    pub(crate) space: SpaceId,
    /// The page in which the processor finds what to run.
    pub(crate) control: Frame,
    /// The page for what it does not save there.
    pub(crate) extended: Frame,
}

/// What the shell needs to enter a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guest {
    /// Root table of the guest's memory.
    pub root: Frame,
    /// The control block's page.
    pub control: Frame,
    /// The page for the rest of the state.
    pub extended: Frame,
    /// The thread's message buffer; it may have lost it meanwhile.
    pub buffer: Option<Frame>,
}

impl<T: Tables> Kernel<T> {
    #[cold]
    pub(crate) fn create_guest_space(&mut self, account: AccountId, root: Frame) -> ((usize, u32), Effect) {
        let made = self.create_space(account, root);
        *self.spaces.at_mut(made.0) = Space { flavour: Flavour::Guest, ..*self.spaces.at(made.0) };
        (made, Effect::MakeGuestRoot(root))
    }

    /// Gives a thread a virtual processor; there are pages for it.
    #[cold]
    pub(crate) fn create_vcpu(&mut self, thread: ThreadId, space: SpaceId) -> Effect {
        let (Some(control), Some(extended)) = (self.take_table(space), self.take_table(space)) else {
            return Effect::None;
        };
        self.enter_space(space);
        self.thread_mut(thread).vcpu = Some(Vcpu { space, control, extended });
        Effect::MakeVcpu { control, extended }
    }

    /// A thread that dies has no virtual processor any more. The pages stay the guest space's.
    pub(crate) fn drop_vcpu(&mut self, thread: ThreadId) {
        if let Some(vcpu) = self.thread(thread).vcpu {
            self.lose_vcpu(thread, vcpu);
        }
    }

    #[cold]
    fn lose_vcpu(&mut self, thread: ThreadId, vcpu: Vcpu) {
        self.thread_mut(thread).vcpu = None;
        self.leave_space(vcpu.space);
    }

    /// The running thread enters its guest, unless there are bits for it.
    #[cold]
    pub(crate) fn run_vcpu(&mut self, thread: ThreadId) {
        let bits = match self.thread(thread).bound {
            Some(bound) => core::mem::take(&mut self.notifications.at_mut(bound.index()).bits),
            None => 0,
        };
        let entry = self.thread_mut(thread);
        entry.in_guest = bits == 0;
        entry.resume = if bits == 0 { Resume::EnterGuest } else { Resume::Result([RECEIVED_BITS, bits, 0, 0]) };
    }

    /// Takes a thread out of its guest, because of bits that it is to receive.
    #[cold]
    pub(crate) fn interrupt_guest(&mut self, thread: ThreadId, bits: u64) {
        self.leave_guest(thread, [RECEIVED_BITS, bits, 0, 0]);
        if let Some(cpu) = self.runs_elsewhere(thread) {
            self.kick(cpu);
        }
    }

    fn leave_guest(&mut self, thread: ThreadId, result: [u64; 4]) {
        let entry = self.thread_mut(thread);
        entry.in_guest = false;
        // Who was not let in yet has nothing to show: the state is what its monitor made it.
        if entry.resume == Resume::EnterGuest {
            entry.resume = Resume::Result(result);
            return;
        }
        entry.guest_result = result;
        entry.resume = Resume::LeaveGuest;
    }

    /// The guest of the thread that runs on this processor has done something that is its monitor's business. If the thread was
    /// taken out of the guest meanwhile, the guest will do it again.
    #[cold]
    pub fn guest_left(&mut self, cpu: CpuId, [code, info1, info2]: [u64; 3], now: u64) {
        self.enter(cpu, now);
        if let Some(thread) = self.running().filter(|thread| self.thread(*thread).in_guest) {
            self.leave_guest(thread, [RECEIVED_MESSAGE, code, info1, info2]);
        }
    }

    /// What a thread finds that leaves its guest.
    pub fn result_of_guest(&self, thread: ThreadId) -> [u64; 4] {
        self.thread(thread).guest_result
    }

    /// What the shell needs to enter a thread's guest, if it has one.
    #[cold]
    pub fn guest(&self, thread: ThreadId) -> Option<Guest> {
        let &Thread { vcpu, buffer, .. } = self.thread(thread);
        let Vcpu { space, control, extended } = vcpu?;
        Some(Guest { root: self.spaces.at(space.index()).root, control, extended, buffer })
    }
}
