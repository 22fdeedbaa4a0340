//! What each thread has for itself: its message buffer and its executor.
//!
//! On the machine the thread's block is found through the FS base, so that every thread of a domain has its own. On the
//! host each test thread gets one at first use.

use crate::executor::Reactor;
use crate::sys;
use abi::message::MessageBuffer;
use alloc::rc::Rc;
use core::cell::{Cell, OnceCell};

/// The block of one thread.
#[repr(C)]
pub(crate) struct ThreadBlock {
    /// Its own address: what `fs:[0]` reads.
    this: Cell<*const ThreadBlock>,
    /// The message buffer, or null.
    buffer: Cell<*mut MessageBuffer>,
    /// The executor's state, made at first use.
    reactor: OnceCell<Rc<Reactor>>,
}

impl ThreadBlock {
    fn new(buffer: *mut MessageBuffer) -> Self {
        Self { this: Cell::new(core::ptr::null()), buffer: Cell::new(buffer), reactor: OnceCell::new() }
    }

    /// The executor's state of this thread.
    pub(crate) fn reactor(&self) -> Rc<Reactor> {
        #[cfg(not(target_os = "none"))]
        if let Some(nested) = crate::host::nested_reactor() {
            return nested;
        }
        self.reactor.get_or_init(|| Rc::new(Reactor::new())).clone()
    }

    /// The thread's message buffer, if it has one. The pointer is good for reads and writes by this thread between its
    /// system calls.
    pub(crate) fn buffer(&self) -> Option<*mut MessageBuffer> {
        let buffer = self.buffer.get();
        (!buffer.is_null()).then_some(buffer)
    }
}

/// Runs `body` as the rest of the calling thread's life, with the message buffer at `buffer` (null for none). Every
/// thread goes through here, once, before it uses anything of this library but [`crate::sys`] and [`crate::cap`].
///
/// # Safety
/// `buffer` is null or the page that the kernel uses as this thread's message buffer, and nobody else touches it. The
/// thread has not been through here before.
pub unsafe fn enter(buffer: *mut MessageBuffer, body: impl FnOnce() -> core::convert::Infallible) -> ! {
    let block = ThreadBlock::new(buffer);
    let address = &raw const block;
    block.this.set(address);
    // SAFETY: this is the module that owns the FS base.
    let installed = unsafe { sys::set_thread_local(address as u64) };
    if installed.is_err() {
        // Without its block the thread could not even report a panic.
        sys::thread_panic(u64::MAX);
    }
    // This frame is never left, so the block stays where it is.
    match body() {}
}

/// The calling thread's block.
#[cfg(target_os = "none")]
#[inline(always)]
pub(crate) fn current() -> &'static ThreadBlock {
    let block: *const ThreadBlock;
    // SAFETY: `enter` has put the block's address into its first word and its own address into the FS base; it lives as
    // long as the thread, and only this thread gets a reference to it.
    unsafe {
        core::arch::asm!("mov {}, fs:[0]", out(reg) block, options(nostack, preserves_flags, readonly));
        &*block
    }
}

/// The calling thread's block.
#[cfg(not(target_os = "none"))]
pub(crate) fn current() -> &'static ThreadBlock {
    std::thread_local! {
        static BLOCK: &'static ThreadBlock = {
            let buffer = std::boxed::Box::leak(std::boxed::Box::new(crate::ipc::EMPTY_BUFFER));
            std::boxed::Box::leak(std::boxed::Box::new(ThreadBlock::new(buffer)))
        };
    }
    BLOCK.with(|block| *block)
}

/// Ends the calling thread; its domain's fault handler learns the code.
pub fn exit(code: u64) -> ! {
    sys::thread_exit(code)
}
