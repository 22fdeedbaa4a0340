//! The kernel's place on the host: tests put a double here that answers system calls.
//!
//! [`Loopback`] is a double with which a client and a server meet in one thread, so that generated code runs as it does
//! on the machine, registers, buffer, leases and all. Tests of servers use it through the [`Double`] that
//! [`macro@crate::interface`] makes of each interface: a server's logic behind a typed client, with a plan of what goes
//! wrong between both ([`Faults`]).

mod double;
mod faults;
pub mod fuzz;
mod loopback;

pub use double::Double;
pub use faults::{Fault, Faults};
pub use loopback::{Loopback, QueuedCall, Reply};

use crate::executor::{self, Reactor};
use crate::sys::{Results, Words};
use abi::{Error, Syscall};
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::vec::Vec;

/// Something that answers system calls.
pub trait Kernel {
    /// Carries out a call. `words` are the message registers; other calls than those with messages ignore them.
    fn enter(&self, call: Syscall, arguments: [u64; 6], words: &mut Words) -> Results;

    /// The double for clients and servers, if it is that: with it [`Double`]s join in.
    fn as_loopback(self: Rc<Self>) -> Option<Rc<Loopback>> {
        None
    }
}

std::thread_local! {
    static KERNEL: RefCell<Option<Rc<dyn Kernel>>> = const { RefCell::new(None) };
    /// What the doubles of the thread share where no kernel was put in place.
    static SHARED: RefCell<Weak<Loopback>> = const { RefCell::new(Weak::new()) };
    /// The executors of servers that work on calls of other servers, the innermost last.
    static NESTED: RefCell<Vec<Rc<Reactor>>> = const { RefCell::new(Vec::new()) };
}

/// Who answers the thread's system calls.
fn kernel() -> Option<Rc<dyn Kernel>> {
    KERNEL.with(|kernel| kernel.borrow().clone()).or_else(|| Some(SHARED.with(|shared| shared.borrow().upgrade())?))
}

/// The double for clients and servers of this thread: it is made if there is none.
fn loopback() -> Rc<Loopback> {
    if let Some(loopback) = kernel().and_then(Kernel::as_loopback) {
        return loopback;
    }
    let loopback = Loopback::new();
    SHARED.with(|shared| *shared.borrow_mut() = Rc::downgrade(&loopback));
    loopback
}

/// The executor of the server that works at this moment, unless it is the thread's own.
pub(crate) fn nested_reactor() -> Option<Rc<Reactor>> {
    NESTED.with(|nested| nested.borrow().last().cloned())
}

/// Runs `body` on the thread's executor, or, where that is at work already, on the server's own.
fn on_executor_of<R>(served: &double::Served, body: impl FnOnce() -> R) -> R {
    /// Takes it away again, after a panic too.
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            NESTED.with(|nested| nested.borrow_mut().pop());
        }
    }
    if !executor::is_running() {
        return body();
    }
    NESTED.with(|nested| nested.borrow_mut().push(served.reactor()));
    let _leave = Leave;
    body()
}

/// Makes `kernel` answer the calling thread's system calls while `body` runs.
pub fn with<R>(kernel: Rc<dyn Kernel>, body: impl FnOnce() -> R) -> R {
    /// Puts the former one back, after a panic too.
    struct Restore(Option<Rc<dyn Kernel>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let former = self.0.take();
            KERNEL.with(|kernel| *kernel.borrow_mut() = former);
        }
    }
    let former = KERNEL.with(|place| place.borrow_mut().replace(kernel));
    let _restore = Restore(former);
    body()
}

/// What a refused call leaves in the registers.
pub const fn refusal(error: Error) -> Results {
    values(error.to_register(), 0, 0, 0)
}

/// Results of a call.
pub const fn values(rax: u64, rdi: u64, rsi: u64, rdx: u64) -> Results {
    Results { rax, rdi, rsi, rdx }
}

pub(crate) fn enter(call: Syscall, arguments: [u64; 6], words: &mut Words) -> Results {
    match kernel() {
        Some(kernel) => kernel.enter(call, arguments, words),
        None => refusal(Error::UnknownSyscall),
    }
}
