//! What a program consists of beside its own code: entry point, heap and panic handler.

use crate::environment::Environment;
use crate::heap::Heap;
use crate::memory::SharedMemory;
use crate::start::StartPage;
use crate::{status, sys, thread};
use abi::PAGE_SIZE;
use abi::message::MessageBuffer;
use abi::root::{self, RootInfo};
use alloc::boxed::Box;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};
use talc::TalcLock;
use talc::source::Manual;

/// The heap. Spinning for the lock is no loss: a domain has one thread, or threads of one priority each of which gives
/// way while it waits.
#[global_allocator]
static HEAP: Heap<TalcLock<spin::Mutex<()>, Manual>> = Heap::new(TalcLock::new(Manual));

/// Codes with which userlib itself ends a thread ([`abi::fault::FaultKind::Panic`]).
pub mod panic_code {
    /// A Rust panic; the message is in the status page.
    pub const PANIC: u64 = 1;
    /// The start page was not one.
    pub const BAD_START_PAGE: u64 = 2;
    /// The heap was too small to be used at all.
    pub const BAD_HEAP: u64 = 3;
    /// A panic within the handling of a panic.
    pub const DOUBLE_PANIC: u64 = 4;
}

static PANICKING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if PANICKING.swap(true, Ordering::AcqRel) {
        sys::thread_panic(panic_code::DOUBLE_PANIC);
    }
    if let Some(page) = status::own() {
        match info.location() {
            Some(location) => page.panic(format_args!(
                "{} at {}:{}:{}",
                info.message(),
                location.file(),
                location.line(),
                location.column()
            )),
            None => page.panic(format_args!("{}", info.message())),
        }
    }
    sys::thread_panic(panic_code::PANIC)
}

/// Gives the heap a range of memory; it may be called more than once, with different ranges.
///
/// # Safety
/// The range is mapped readable and writable for the rest of the domain's life, and nothing else uses it.
pub unsafe fn extend_heap(address: u64, length: usize) -> bool {
    // SAFETY: passed on to the caller.
    unsafe { HEAP.allocator().lock().claim(address as *mut u8, length) }.is_some()
}

/// Where every program that [`entry!`](crate::entry) makes begins, on the first thread's stack.
///
/// # Safety
/// `page` is what the kernel has passed to the domain's first thread, whose builder has kept the contract of
/// [`crate::start`].
pub unsafe fn start(page: *const u8, main: fn(&'static Environment) -> !) -> ! {
    // SAFETY: by the contract a page is mapped there for the rest of the domain's life and nobody changes it.
    let bytes = unsafe { core::slice::from_raw_parts(page, PAGE_SIZE as usize) };
    let Ok(page) = StartPage::from_bytes(bytes) else {
        sys::thread_panic(panic_code::BAD_START_PAGE);
    };
    if page.status != 0 {
        // SAFETY: by the contract the status page is mapped there, and only `status` uses it.
        status::install(unsafe { SharedMemory::from_address(page.status, PAGE_SIZE as usize) });
    }
    // SAFETY: by the contract the heap is mapped and nobody else's.
    if !unsafe { extend_heap(page.heap.address, page.heap.length as usize) } {
        sys::thread_panic(panic_code::BAD_HEAP);
    }
    // SAFETY: by the contract the buffer is this thread's; the thread begins here.
    unsafe {
        thread::enter(page.buffer as *mut MessageBuffer, || {
            let environment = Box::leak(Box::new(Environment::new(page)));
            environment.install();
            main(environment)
        })
    }
}

/// Where the root domain begins that [`root_entry!`](crate::root_entry) makes.
///
/// # Safety
/// `info` is what the kernel has passed to the root domain's first thread, and `heap` is the program's own.
pub unsafe fn start_root(info: *const RootInfo, heap: *mut u8, length: usize, main: fn(&'static RootInfo) -> !) -> ! {
    // SAFETY: the kernel maps the page there, read-only, for ever.
    let info = unsafe { &*info };
    if info.magic != root::MAGIC || info.abi_version != abi::ABI_VERSION {
        sys::thread_panic(panic_code::BAD_START_PAGE);
    }
    // SAFETY: passed on to the caller.
    if !unsafe { extend_heap(heap as u64, length) } {
        sys::thread_panic(panic_code::BAD_HEAP);
    }
    // SAFETY: the kernel has given this thread the message buffer that it maps at this address.
    unsafe { thread::enter(root::BUFFER_ADDRESS as *mut MessageBuffer, || main(info)) }
}
