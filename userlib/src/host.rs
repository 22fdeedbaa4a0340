//! The kernel's place on the host: tests put a double here that answers system calls.
//!
//! [`Loopback`] is a double with which a client and a server meet in one thread, so that generated code runs as it does
//! on the machine, registers, buffer, leases and all.

mod loopback;

pub use loopback::{Loopback, QueuedCall, Reply};

use crate::sys::{Results, Words};
use abi::{Error, Syscall};
use std::cell::RefCell;
use std::rc::Rc;

/// Something that answers system calls.
pub trait Kernel {
    /// Carries out a call. `words` are the message registers; other calls than those with messages ignore them.
    fn enter(&self, call: Syscall, arguments: [u64; 6], words: &mut Words) -> Results;
}

std::thread_local! {
    static KERNEL: RefCell<Option<Rc<dyn Kernel>>> = const { RefCell::new(None) };
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
    let kernel = KERNEL.with(|kernel| kernel.borrow().clone());
    match kernel {
        Some(kernel) => kernel.enter(call, arguments, words),
        None => refusal(Error::UnknownSyscall),
    }
}
