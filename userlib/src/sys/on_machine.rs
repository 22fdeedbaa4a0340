//! The `syscall` instruction.

use super::{Results, Words};
use abi::syscall::Syscall;
use core::arch::asm;

/// A call without message words: `rbx`, `rbp` and `r12`–`r15` keep their values.
#[inline(always)]
pub(super) unsafe fn plain(call: Syscall, arguments: [u64; 6]) -> Results {
    let (rax, rdi, rsi, rdx);
    // SAFETY: the kernel keeps every register that is not named here (`abi::syscall`), and memory is touched only as the
    // caller of this function has allowed. `rcx` and `r11` are lost to the instruction itself.
    unsafe {
        asm!(
            "syscall",
            inout("rax") call as u64 => rax,
            inout("rdi") arguments[0] => rdi,
            inout("rsi") arguments[1] => rsi,
            inout("rdx") arguments[2] => rdx,
            inout("r8") arguments[3] => _,
            inout("r9") arguments[4] => _,
            inout("r10") arguments[5] => _,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    Results { rax, rdi, rsi, rdx }
}

/// A call with message words. `rbx` and `rbp` cannot be operands of inline assembly (the compiler keeps a base and a
/// frame pointer in them), so their words travel to and from the instruction in `rcx` and `r11`, which it destroys
/// anyway: eight instructions around the one that matters, and no word ever goes through memory that the compiler would
/// not have used itself.
#[inline(always)]
pub(super) unsafe fn message(call: Syscall, arguments: [u64; 5], words: &mut Words) -> Results {
    let (rax, rdi, rsi, rdx);
    // SAFETY: `rbx` and `rbp` are restored from the stack before the block ends; the target has no red zone that the two
    // pushes could damage. Everything else that the kernel changes is named, and memory is touched only as the caller of
    // this function has allowed.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "mov rbx, rcx",
            "mov rbp, r11",
            "syscall",
            "mov rcx, rbx",
            "mov r11, rbp",
            "pop rbp",
            "pop rbx",
            inout("rax") call as u64 => rax,
            inout("rdi") arguments[0] => rdi,
            inout("rsi") arguments[1] => rsi,
            inout("rdx") arguments[2] => rdx,
            inout("r8") arguments[3] => _,
            inout("r9") arguments[4] => _,
            out("r10") _,
            inout("r12") words[0],
            inout("r13") words[1],
            inout("r14") words[2],
            inout("r15") words[3],
            inout("rcx") words[4],
            inout("r11") words[5],
        );
    }
    Results { rax, rdi, rsi, rdx }
}

/// The kernel does not come back from a call that ends the thread. Should it refuse, there is nothing left to run.
pub(super) fn unreachable_after(_: Syscall, _: Results) -> ! {
    loop {
        super::yield_now();
    }
}
