//! The first process of a Linux kernel that Bulkhead is compared with: it does the same works, without a C library, and tells
//! what they cost, in ticks of the time-stamp counter, or in nanoseconds where the disk is read. In a machine that counts instructions a
//! tick is one.
//!
//! The kernel's command line says which: `works=NAME,NAME`, where a name stands for every work that begins with it, and
//! with `rounds=N` how often each of the short ones is done. Each work writes two lines, `cost NAME N` with the fewest ticks of a round and `middle NAME N` with the median; the last line of all is
//! `linux: N measured`. With `serves=keyvalue` it measures nothing and is a server of values by their keys.
#![no_std]
#![no_main]

extern crate alloc;

mod disk;
mod files;
mod kernel;
mod keyvalue;
mod processes;
mod rounds;
mod text;

use core::ffi::{CStr, c_char};
use core::panic::PanicInfo;

use rounds::Rounds;
use text::line;

/// What can be measured.
type Work = fn() -> kernel::Outcome<Rounds>;

/// The works, by the names with which they are asked for.
const WORKS: &[(&str, Work)] = &[
    ("refused", processes::refused_call),
    ("getppid", processes::parent),
    ("pipe-8", processes::pipe_of_8),
    ("pipe-4096", processes::pipe_of_4096),
    ("eventfd", processes::eventfd),
    ("mmap-munmap", processes::map_and_unmap),
    ("vfork-exec", processes::execute),
    ("disk-random-1", disk::random_one_at_a_time),
    ("disk-random-32", disk::random_many_at_once),
    ("disk-sequential-direct", disk::sequential_direct),
    ("disk-sequential-cached", disk::sequential_cached),
];

// The kernel starts a process with the number of its arguments and their addresses on the stack.
core::arch::global_asm!(
    ".global _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {main}",
    "ud2",
    main = sym main,
);

/// # Safety
///
/// `stack` is where Linux starts a process's stack.
unsafe extern "C" fn main(stack: *const *const c_char) -> ! {
    // SAFETY: there is the number of arguments, and behind them and a null the environment, which ends with a null as well; the
    // kernel puts words of its command line that have an `=` there. They stay for as long as the process does.
    let (wanted, serves) = unsafe {
        let arguments = *stack.cast::<usize>();
        let mut variable = stack.add(arguments + 2);
        let (mut wanted, mut serves) = ("", false);
        while !(*variable).is_null() {
            let text = CStr::from_ptr(*variable).to_str().unwrap_or_default();
            wanted = text.strip_prefix("works=").unwrap_or(wanted);
            serves |= text == "serves=keyvalue";
            if let Some(count) = text.strip_prefix("rounds=").and_then(|count| count.parse().ok()) {
                rounds::set_count(count);
            }
            variable = variable.add(1);
        }
        (wanted, serves)
    };
    if serves && let Err(refused) = keyvalue::serve() {
        line(format_args!("FAIL keyvalue: {refused}"));
    }
    let mut measured = 0;
    for (name, work) in WORKS {
        if !wanted.split(',').any(|prefix| !prefix.is_empty() && name.starts_with(prefix)) {
            continue;
        }
        match work() {
            Ok(rounds) => {
                line(format_args!("cost {name} {}", rounds.least()));
                line(format_args!("middle {name} {}", rounds.middle()));
                measured += 1;
            }
            Err(refused) => line(format_args!("FAIL {name}: {refused}")),
        }
    }
    line(format_args!("linux: {measured} measured"));
    // If the first process ended, the kernel would panic.
    loop {
        kernel::pause();
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    line(format_args!("FAIL {info}"));
    loop {
        kernel::pause();
    }
}
