//! How long the kernel kept the processor, as it tells itself.

use crate::call::call;
use crate::console::print;
use abi::root;
use abi::syscall::{ENTRY_KINDS, EntryKind, Syscall};

/// The numbers that the kernel writes.
struct Longest([u32; ENTRY_KINDS]);

/// Writes a line for each kind of entry that there was since this was asked last: `entry NAME TICKS`.
pub(crate) fn report() {
    let mut longest = Longest([0; ENTRY_KINDS]);
    if let Err(error) = call(Syscall::EntryTimes, [root::SYSTEM.0, longest.0.as_mut_ptr() as u64]) {
        print(format_args!("FAIL entry times: {error}\n"));
        return;
    }
    for syscall in Syscall::ALL {
        line(&longest, EntryKind::Syscall(*syscall as u64), format_args!("{syscall:?}"));
    }
    for (kind, name) in [
        (EntryKind::UnknownSyscall, "(unknown-number)"),
        (EntryKind::Timer, "(timer)"),
        (EntryKind::Interrupt, "(interrupt)"),
        (EntryKind::Kick, "(kick)"),
        (EntryKind::Exception, "(exception)"),
    ] {
        line(&longest, kind, format_args!("{name}"));
    }
}

fn line(longest: &Longest, kind: EntryKind, name: core::fmt::Arguments<'_>) {
    let ticks = longest.0[kind.index() % ENTRY_KINDS];
    if ticks > 0 {
        print(format_args!("entry {name} {ticks}\n"));
    }
}
