//! A guest's processor: a thread that enters the guest when its monitor says so, and does nothing else.

use super::GuestSpace;
use crate::cap::{Account, Budget, Cap, Domain, MapFailure, Memory, Notification, Owned, Thread};
use crate::executor::{self, Events};
use crate::memory::{AddressSpace, MapError, Mapping};
use crate::sys;
use abi::syscall::{MapAccess, RECEIVED_BITS, Syscall};
use abi::vcpu::{VcpuState, offset};
use abi::{Error, PAGE_SIZE};
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

/// To the thread: enter the guest.
const GO: u64 = 1;
/// To the thread: come out of the guest.
const KICK: u64 = 1 << 1;

/// Where a virtual processor is made, and what for.
#[derive(Clone, Copy, Debug)]
pub struct Seat<'a> {
    /// To which its objects are charged.
    pub account: Cap<Account>,
    /// The monitor's own domain, in which the thread runs; with the right `SPAWN`.
    pub domain: Cap<Domain>,
    /// The monitor's own space.
    pub own_space: &'a AddressSpace,
    /// The guest.
    pub guest: &'a GuestSpace,
    /// Memory of which [`super::layout::THREAD_PAGES`] pages from `first_page` on are for the thread.
    pub memory: Cap<Memory>,
    /// The first of them.
    pub first_page: u64,
    /// Scheduling priority: below the monitor's own.
    pub priority: u8,
    /// Turn among equals.
    pub turn: Duration,
    /// The processor on which it runs, counted from 0; where the machine does not have that one, it is processor 0.
    pub processor: u8,
    /// The monitor's notification, and the bit of it by which the thread says that it has left the guest.
    pub monitor: Cap<Notification>,
    /// A single bit.
    pub bit: u64,
}

/// Why a virtual processor was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VcpuError {
    /// The thread's pages could not be mapped.
    Memory(MapError),
    /// The kernel has refused a step.
    Refused {
        /// Which one.
        step: &'static str,
        /// Why.
        error: Error,
    },
}

impl fmt::Display for VcpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VcpuError::Memory(error) => write!(f, "a virtual processor's thread has no memory: {error}"),
            VcpuError::Refused { step, error } => {
                write!(f, "the kernel did not {step} of a virtual processor: {error}")
            }
        }
    }
}

impl core::error::Error for VcpuError {}

/// Why the guest was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// For something that only the monitor can do; the code and two words of information, see [`abi::vcpu::code`].
    Exit {
        /// The exit code.
        code: u64,
        /// What it means depends on the code.
        info: [u64; 2],
    },
    /// Because the monitor has asked for it.
    Kicked,
    /// The kernel does not enter it.
    Refused(Error),
}

/// What monitor and thread tell each other, in the part of the message buffer that is for words of messages: the thread sends
/// none.
#[repr(C)]
struct Mailbox {
    own: AtomicU64,
    monitor: AtomicU64,
    monitor_bit: AtomicU64,
    /// How often the guest was left.
    left: AtomicU64,
    result: [AtomicU64; 4],
}

const _: () = assert!(size_of::<Mailbox>() <= offset::STATE);

/// A virtual processor that is not in its guest.
#[derive(Debug)]
pub struct Vcpu {
    /// Destroyed before the rest goes.
    thread: Owned<Thread>,
    _budget: Owned<Budget>,
    notification: Owned<Notification>,
    left: u64,
    events: Events,
    mapping: Mapping,
}

impl Drop for Vcpu {
    fn drop(&mut self) {
        // It does not go with its capability, and would find its memory gone.
        if let Err(error) = self.thread.destroy() {
            log::error!("the thread of a guest's processor does not end: {error}");
        }
    }
}

/// What calls a virtual processor out of its guest. If it is not in there, nothing happens, or it comes out once without a
/// reason.
#[derive(Clone, Copy, Debug)]
pub struct Kicker(Cap<Notification>);

impl Kicker {
    /// Calls it.
    pub fn kick(self) {
        // A processor that is gone is in no guest.
        let _ = self.0.notify(KICK);
    }
}

impl Vcpu {
    /// Makes one, with a state of zeroes.
    ///
    /// # Errors
    /// [`VcpuError`]; nothing is left of what was made.
    pub fn create(seat: &Seat<'_>) -> Result<Self, VcpuError> {
        let at = |step: &'static str| move |error: Error| VcpuError::Refused { step, error };
        let budget = |processor| seat.account.create_budget(seat.priority, seat.turn, seat.turn, processor);
        let budget = match budget(seat.processor) {
            Err(Error::BadArgument) if seat.processor != 0 => budget(0),
            made => made,
        };
        let budget = budget.map_err(at("make the budget"))?;
        let notification = seat.account.create_notification().map_err(at("make the notification"))?;
        let (memory, first) = (seat.memory, seat.first_page);
        let mapping = seat.own_space.map(memory, first, super::layout::THREAD_PAGES, MapAccess::ReadWrite);
        let mapping = mapping.map_err(VcpuError::Memory)?;
        mapping.shared().fill_zero();
        let buffer = mapping.address();
        let thread = seat.account.create_thread(seat.domain, budget.cap()).map_err(at("make the thread"))?;
        // From here on it goes with the value, whatever fails.
        let vcpu = Self { thread, _budget: budget, notification, left: 0, events: executor::events(seat.bit), mapping };
        let thread = vcpu.thread.cap();
        thread.set_buffer(memory, first, buffer).map_err(at("set the message buffer"))?;
        thread.bind(Some(vcpu.notification.cap())).map_err(at("bind the notification"))?;
        loop {
            match thread.create_vcpu(seat.guest.cap()) {
                Ok(()) => break,
                Err(MapFailure::NeedTables(missing)) => {
                    seat.guest.donate(missing).map_err(at("get the pages"))?;
                }
                Err(MapFailure::Refused(error)) => return Err(at("make the other face")(error)),
            }
        }
        let mailbox = vcpu.mailbox();
        mailbox.own.store(vcpu.notification.handle().0, Ordering::Relaxed);
        mailbox.monitor.store(seat.monitor.handle().0, Ordering::Relaxed);
        mailbox.monitor_bit.store(seat.bit, Ordering::Relaxed);
        let stack = buffer + super::layout::THREAD_PAGES * PAGE_SIZE;
        // The function expects the stack as a call leaves it.
        // SAFETY: the thread touches its mailbox by atomics, its stack, and nothing else of the domain; both stay mapped for as
        // long as it lives, because `mapping` goes after it.
        let started = unsafe { vcpu.thread.start(enter_when_told as *const () as u64, stack - 8, buffer) };
        started.map_err(at("start the thread"))?;
        Ok(vcpu)
    }

    /// What calls it out of its guest.
    pub fn kicker(&self) -> Kicker {
        Kicker(self.notification.cap())
    }

    /// The state of the guest's processor.
    pub fn state(&mut self) -> &mut VcpuState {
        let place = (self.mapping.address() as usize + offset::STATE) as *mut VcpuState;
        // SAFETY: the state lies at that place of the buffer's page, behind the mailbox, and the page is mapped as long as `self`
        // lives. Every pattern of bits is one. The kernel touches it only while the thread is in the guest, and then there is no
        // `Vcpu` to call this on: `run` takes it.
        unsafe { &mut *place }
    }

    /// Enters the guest, and waits until it is left. If the future is dropped before, the processor is gone.
    pub async fn run(mut self) -> (Self, Left) {
        if let Err(error) = self.notification.notify(GO) {
            return (self, Left::Refused(error));
        }
        while self.mailbox().left.load(Ordering::Acquire) == self.left {
            self.events.next().await;
        }
        self.left = self.left.wrapping_add(1);
        let [kind, second, third, fourth] = self.mailbox().result.each_ref().map(|word| word.load(Ordering::Relaxed));
        let left = match Error::from_register(kind) {
            Err(error) => Left::Refused(error),
            Ok(RECEIVED_BITS) => Left::Kicked,
            Ok(_) => Left::Exit { code: second, info: [third, fourth] },
        };
        (self, left)
    }

    fn mailbox(&self) -> &Mailbox {
        // SAFETY: the page is mapped as long as `self` lives, begins with the mailbox, and monitor and thread use that by
        // atomics only.
        unsafe { &*(self.mapping.address() as *const Mailbox) }
    }
}

/// What the thread does. It has no executor, uses no heap and does not panic.
extern "C" fn enter_when_told(buffer: u64) -> ! {
    // SAFETY: the thread was started with the address of its mailbox, which is mapped as long as it lives.
    let mailbox = unsafe { &*(buffer as *const Mailbox) };
    loop {
        let own = mailbox.own.load(Ordering::Relaxed);
        // SAFETY: `Wait` touches no memory.
        let told = unsafe { sys::plain(Syscall::Wait, [own, abi::time::NEVER, 0, 0, 0, 0]) };
        let result = match told.value() {
            Ok(bits) if bits & GO == 0 => continue,
            // It was called out before it was in.
            Ok(bits) if bits & KICK != 0 => [RECEIVED_BITS, bits, 0, 0],
            _ => {
                // SAFETY: the kernel reads and writes the state in this thread's message buffer, which nobody looks at meanwhile.
                let left = unsafe { sys::plain(Syscall::VcpuRun, [0; 6]) };
                [left.rax, left.rdi, left.rsi, left.rdx]
            }
        };
        for (place, value) in mailbox.result.iter().zip(result) {
            place.store(value, Ordering::Relaxed);
        }
        mailbox.left.fetch_add(1, Ordering::Release);
        let (monitor, bit) = (mailbox.monitor.load(Ordering::Relaxed), mailbox.monitor_bit.load(Ordering::Relaxed));
        // SAFETY: `Notify` touches no memory.
        let _ = unsafe { sys::plain(Syscall::Notify, [monitor, bit, 0, 0, 0, 0]) };
    }
}
