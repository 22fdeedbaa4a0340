//! What makes a function a program: [`entry!`](macro@crate::entry) and [`root_entry!`](crate::root_entry).
//!
//! The same source is a program of Bulkhead on the bare machine and an ordinary one on the host, where it has nothing to
//! do: so `cargo build`, `cargo test` and editors take a server's program like any other.

use crate::start;
use abi::program::{BuiltFor, Note};

/// What programs with this library are built for.
pub const BUILT_FOR: BuiltFor = BuiltFor { abi: abi::ABI_VERSION, start: start::VERSION };

/// The note about it in a program's file.
pub const NOTE: Note = Note::new(BUILT_FOR);

/// A program's place on the host.
#[cfg(not(target_os = "none"))]
pub fn refuse_to_run() -> ! {
    std::eprintln!("this is a program of Bulkhead and runs there only: `cargo xtask run` starts the system");
    std::process::exit(2)
}

/// Makes `$main`, a `fn(&'static Environment) -> !` or a closure like that without captures, the program of a domain.
///
/// Defines the program's entry, which sets up heap, status page, log and message buffer. It stands in the root module of
/// a program that has no `fn main`, and begins with `#![cfg_attr(target_os = "none", no_std, no_main)]`.
#[macro_export]
macro_rules! entry {
    ($main:expr) => {
        $crate::__program! { fn(&'static $crate::Environment) -> !, $main, |page: u8| {
            // SAFETY: only `_start` leads here, with what the kernel has passed to the first thread.
            unsafe { $crate::program::start(page, __MAIN) }
        }}
    };
}

/// Makes `$main`, a `fn(&'static RootInfo) -> !`, the program of the root domain, with a heap of `$heap` bytes in its
/// own image.
#[macro_export]
macro_rules! root_entry {
    ($main:expr, heap = $heap:expr) => {
        $crate::__program! { fn(&'static $crate::abi::root::RootInfo) -> !, $main, |info: $crate::abi::root::RootInfo| {
            /// Aligned so that the heap loses nothing at its start.
            #[repr(align(64))]
            struct Heap(::core::cell::UnsafeCell<[u8; $heap]>);
            // SAFETY: nobody but the heap, which has a lock, ever touches the contents.
            unsafe impl Sync for Heap {}
            static HEAP: Heap = Heap(::core::cell::UnsafeCell::new([0; $heap]));
            // SAFETY: only `_start` leads here, with what the kernel has passed to the first thread; `HEAP` is named
            // nowhere else.
            unsafe { $crate::program::start_root(info, HEAP.0.get().cast(), $heap, __MAIN) }
        }}
    };
}

/// What both kinds of program have: the function `__MAIN`, the note, and the entry that leads to `$start` with the address
/// of what the kernel has put there for the program.
#[doc(hidden)]
#[macro_export]
macro_rules! __program {
    ($type:ty, $main:expr, |$given:ident: $what:ty| $start:block) => {
        const __MAIN: $type = $main;

        #[cfg(target_os = "none")]
        #[used]
        #[unsafe(link_section = ".note.bulkhead")]
        static __NOTE: $crate::abi::program::Note = $crate::entry::NOTE;

        /// The thread starts here with a stack pointer that is a multiple of 16 and an address in `rdi`. The call leaves
        /// the stack as the calling convention wants it, and a zero frame pointer ends every backtrace.
        #[cfg(target_os = "none")]
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".text._start")]
        unsafe extern "C" fn _start() -> ! {
            ::core::arch::naked_asm!("xor ebp, ebp", "call {}", "ud2", sym __program_start)
        }

        #[cfg(target_os = "none")]
        extern "C" fn __program_start($given: *const $what) -> ! {
            $start
        }

        #[cfg(not(target_os = "none"))]
        fn main() {
            // Named, so that the host's compiler takes nothing of the program for unused.
            let _ = __MAIN;
            $crate::entry::refuse_to_run()
        }
    };
}
