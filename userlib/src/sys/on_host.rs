//! System calls on the host go to the double that the running test has installed.

use super::{Results, Words};
use crate::host;
use abi::syscall::Syscall;

pub(super) unsafe fn plain(call: Syscall, arguments: [u64; 6]) -> Results {
    host::enter(call, arguments, &mut [0; 6])
}

pub(super) unsafe fn message(call: Syscall, arguments: [u64; 5], words: &mut Words) -> Results {
    let [a, b, c, d, e] = arguments;
    host::enter(call, [a, b, c, d, e, 0], words)
}

pub(super) fn unreachable_after(call: Syscall, results: Results) -> ! {
    panic!("{call:?} came back with {results:?}")
}
