//! The way into the kernel and out of it.
//!
//! Every entry from user mode saves the thread's registers in its [`Context`], takes the processor's one kernel stack
//! from its top, and calls [`crate::dispatch`], which returns the context to go on with. So nothing of an entry outlives
//! it on the stack.
//!
//! GS: user mode cannot change its GS base (CR4.FSGSBASE is off), and the kernel swaps bases once on the way in and once
//! on the way out. Exceptions that may come between entry and swap (debug, non-maskable interrupt, double fault, machine
//! check) have stacks of their own, and what they run in kernel mode does not use GS.

use crate::context::{Context, general, offset};
use crate::dispatch;
use crate::per_cpu::offset as cpu;
use crate::segment::{USER_CODE, USER_DATA};
use abi::message::{MAX_WORDS, REGISTER_WORDS};
use abi::syscall::{RECEIVED_MESSAGE, Syscall};
use core::arch::global_asm;

/// Bytes from the entry of one vector to that of the next.
const VECTOR_SIZE: usize = 16;

// SAFETY: the assembly of this file defines these symbols. The entries are never called, only their addresses are taken;
// `kernel_resume` takes its argument as the C calling convention passes it.
unsafe extern "C" {
    fn kernel_syscall_entry();
    fn kernel_vector_entries();
    fn kernel_resume(context: *const Context) -> !;
}

/// Where `syscall` enters the kernel.
pub fn syscall_entry() -> u64 {
    kernel_syscall_entry as *const () as u64
}

/// Where a vector enters the kernel.
pub fn vector_entry(vector: u8) -> u64 {
    kernel_vector_entries as *const () as u64 + (vector as usize * VECTOR_SIZE) as u64
}

/// Leaves the kernel for good: goes on with a thread's registers.
///
/// # Safety
/// The context is that of the thread which [`crate::per_cpu::PerCpu::set_context`] names, its space is loaded, and its
/// instruction pointer is canonical. No lock is held.
pub unsafe fn resume(context: *const Context) -> ! {
    // SAFETY: the caller vouches for the context.
    unsafe { kernel_resume(context) }
}

/// The registers of the kernel where an exception or interrupt has met it.
#[repr(C)]
#[derive(Debug)]
#[expect(missing_docs, reason = "each is the register of that name")]
pub struct KernelFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

global_asm!(
    // ---- a call or an answer the short way: `r10` and `rax` are free ----
    // The words of the message are in registers that functions preserve, so they are where the other thread wants them, unless
    // it turns out that there is more to do.
    ".macro begin_short_way",
    "mov rax, gs:[{CPU_CONTEXT}]",
    "mov [rax + 8*{RSP}], rsp",
    "mov rsp, gs:[{CPU_STACK}]",
    "mov [rax + {INSTRUCTION}], rcx",
    "mov [rax + {FLAGS}], r11",
    "mov [rax + 8*{RDI}], rdi",
    // The description of the message stays as it is.
    "push rsi",
    ".endm",
    ".macro keep_words context",
    "mov [\\context + 8*{R12}], r12",
    "mov [\\context + 8*{R13}], r13",
    "mov [\\context + 8*{R14}], r14",
    "mov [\\context + 8*{R15}], r15",
    "mov [\\context + 8*{RBX}], rbx",
    "mov [\\context + 8*{RBP}], rbp",
    ".endm",
    ".macro end_short_way",
    "pop rsi",
    "mov rcx, [rax + {INSTRUCTION}]",
    "mov r11, [rax + {FLAGS}]",
    "mov rsp, [rax + 8*{RSP}]",
    "xor r8d, r8d",
    "xor r9d, r9d",
    "xor r10d, r10d",
    ".endm",

    // ---- syscall ----
    ".balign 64",
    ".global kernel_syscall_entry",
    "kernel_syscall_entry:",
    "swapgs",
    "cmp rax, {CALL}",
    "jne 30f",
    // Without a deadline, and with words only: see `kernel_core::is_plain`.
    "cmp rdx, -1",
    "jne 50f",
    "cmp esi, {REGISTER_WORDS}",
    "ja 22f",
    "begin_short_way",
    // Whoever forwards the call sends them again.
    "keep_words rax",
    "call {call_at_once}",
    "20:",
    "test rax, rax",
    "jz 21f",
    "mov rdi, [rax + 8*{RDI}]",
    "end_short_way",
    "mov eax, {RECEIVED_MESSAGE}",
    "swapgs",
    "sysretq",
    "21:",
    "mov rsp, gs:[{CPU_STACK}]",
    "mov rdi, gs:[{CPU_CONTEXT}]",
    "mov qword ptr [rdi + 8*{RAX}], {CALL}",
    "mov qword ptr [rdi + {ENTERED}], 1",
    "jmp 60f",
    "22:",
    "cmp esi, {MAX_WORDS}",
    "ja 50f",
    "begin_short_way",
    "keep_words rax",
    "call {long_call_at_once}",
    "jmp 20b",

    "30:",
    "cmp rax, {REPLY_RECEIVE}",
    "jne 50f",
    "cmp rdx, -1",
    "jne 50f",
    "cmp esi, {REGISTER_WORDS}",
    "ja 33f",
    "begin_short_way",
    "mov [rax + 8*{R9}], r9",
    "call {answer_at_once}",
    "31:",
    "test rax, rax",
    "jz 32f",
    "end_short_way",
    "xor eax, eax",
    "xor edi, edi",
    "xor edx, edx",
    "swapgs",
    "sysretq",
    "32:",
    "mov rsp, gs:[{CPU_STACK}]",
    "mov rdi, gs:[{CPU_CONTEXT}]",
    "mov qword ptr [rdi + 8*{RAX}], {REPLY_RECEIVE}",
    "mov qword ptr [rdi + {ENTERED}], 1",
    "keep_words rdi",
    "jmp 60f",
    "33:",
    "cmp esi, {MAX_WORDS}",
    "ja 50f",
    "begin_short_way",
    "mov [rax + 8*{R9}], r9",
    "call {long_answer_at_once}",
    "jmp 31b",

    // ---- everything else ----
    "50:",
    "mov gs:[{CPU_USER_STACK}], rsp",
    "mov rsp, gs:[{CPU_CONTEXT}]",
    "mov [rsp + 8*{RAX}], rax",
    "mov [rsp + 8*{RBX}], rbx",
    "mov [rsp + 8*{RDX}], rdx",
    "mov [rsp + 8*{RSI}], rsi",
    "mov [rsp + 8*{RDI}], rdi",
    "mov [rsp + 8*{RBP}], rbp",
    "mov [rsp + 8*{R8}], r8",
    "mov [rsp + 8*{R9}], r9",
    "mov [rsp + 8*{R10}], r10",
    "mov [rsp + 8*{R12}], r12",
    "mov [rsp + 8*{R13}], r13",
    "mov [rsp + 8*{R14}], r14",
    "mov [rsp + 8*{R15}], r15",
    "mov [rsp + {INSTRUCTION}], rcx",
    "mov [rsp + {FLAGS}], r11",
    "mov qword ptr [rsp + {ENTERED}], 1",
    "mov rax, gs:[{CPU_USER_STACK}]",
    "mov [rsp + 8*{RSP}], rax",
    "mov rdi, rsp",
    "mov rsp, gs:[{CPU_STACK}]",
    "60:",
    "xor ebp, ebp",
    "push rbp",
    "call {syscall}",
    "mov rdi, rax",
    // Falls through.

    // ---- back to user mode: rdi is the context ----
    ".global kernel_resume",
    "kernel_resume:",
    "mov rax, [rdi + 8*{RAX}]",
    "mov rbx, [rdi + 8*{RBX}]",
    "mov rdx, [rdi + 8*{RDX}]",
    "mov rsi, [rdi + 8*{RSI}]",
    "mov rbp, [rdi + 8*{RBP}]",
    "mov r8, [rdi + 8*{R8}]",
    "mov r9, [rdi + 8*{R9}]",
    "mov r10, [rdi + 8*{R10}]",
    "mov r12, [rdi + 8*{R12}]",
    "mov r13, [rdi + 8*{R13}]",
    "mov r14, [rdi + 8*{R14}]",
    "mov r15, [rdi + 8*{R15}]",
    "cmp qword ptr [rdi + {ENTERED}], 0",
    "je 2f",
    "mov rcx, [rdi + {INSTRUCTION}]",
    "mov r11, [rdi + {FLAGS}]",
    "mov rsp, [rdi + 8*{RSP}]",
    "mov rdi, [rdi + 8*{RDI}]",
    "swapgs",
    "sysretq",
    "2:",
    "push {USER_DATA}",
    "push qword ptr [rdi + 8*{RSP}]",
    "push qword ptr [rdi + {FLAGS}]",
    "push {USER_CODE}",
    "push qword ptr [rdi + {INSTRUCTION}]",
    "mov rcx, [rdi + 8*{RCX}]",
    "mov r11, [rdi + 8*{R11}]",
    "mov rdi, [rdi + 8*{RDI}]",
    "swapgs",
    "iretq",

    // ---- exceptions and interrupts: vector and error code are pushed, then all go the same way ----
    ".balign 64",
    "kernel_trap:",
    "test byte ptr [rsp + 24], 3",
    "jz kernel_trap_in_kernel",
    "swapgs",
    "push rax",
    "mov rax, gs:[{CPU_CONTEXT}]",
    "mov [rax + 8*{RBX}], rbx",
    "mov [rax + 8*{RCX}], rcx",
    "mov [rax + 8*{RDX}], rdx",
    "mov [rax + 8*{RSI}], rsi",
    "mov [rax + 8*{RDI}], rdi",
    "mov [rax + 8*{RBP}], rbp",
    "mov [rax + 8*{R8}], r8",
    "mov [rax + 8*{R9}], r9",
    "mov [rax + 8*{R10}], r10",
    "mov [rax + 8*{R11}], r11",
    "mov [rax + 8*{R12}], r12",
    "mov [rax + 8*{R13}], r13",
    "mov [rax + 8*{R14}], r14",
    "mov [rax + 8*{R15}], r15",
    "pop qword ptr [rax + 8*{RAX}]",
    "pop rsi",
    "pop rdx",
    "pop qword ptr [rax + {INSTRUCTION}]",
    "pop rcx",
    "pop qword ptr [rax + {FLAGS}]",
    "pop qword ptr [rax + 8*{RSP}]",
    "mov qword ptr [rax + {ENTERED}], 0",
    "mov rdi, rax",
    "mov rsp, gs:[{CPU_STACK}]",
    // Direction and alignment-check flag are the user's still.
    "push 2",
    "popfq",
    "xor ebp, ebp",
    "push rbp",
    "call {trap}",
    "mov rdi, rax",
    "jmp kernel_resume",

    // ---- the same, met in kernel mode: an interrupt while idle, or the end ----
    "kernel_trap_in_kernel:",
    "push rax",
    "push rbx",
    "push rcx",
    "push rdx",
    "push rsi",
    "push rdi",
    "push rbp",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov rdi, rsp",
    "cld",
    "call {trap_in_kernel}",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rbp",
    "pop rdi",
    "pop rsi",
    "pop rdx",
    "pop rcx",
    "pop rbx",
    "pop rax",
    "add rsp, 16",
    "iretq",
    RAX = const general::RAX,
    RBX = const general::RBX,
    RCX = const general::RCX,
    RDX = const general::RDX,
    RSI = const general::RSI,
    RDI = const general::RDI,
    RBP = const general::RBP,
    RSP = const general::RSP,
    R8 = const general::R8,
    R9 = const general::R9,
    R10 = const general::R10,
    R11 = const general::R11,
    R12 = const general::R12,
    R13 = const general::R13,
    R14 = const general::R14,
    R15 = const general::R15,
    INSTRUCTION = const offset::INSTRUCTION,
    FLAGS = const offset::FLAGS,
    ENTERED = const offset::ENTERED,
    CPU_STACK = const cpu::STACK,
    CPU_USER_STACK = const cpu::USER_STACK,
    CPU_CONTEXT = const cpu::CONTEXT,
    USER_CODE = const USER_CODE,
    USER_DATA = const USER_DATA,
    REGISTER_WORDS = const REGISTER_WORDS,
    MAX_WORDS = const MAX_WORDS,
    CALL = const Syscall::Call as u64,
    REPLY_RECEIVE = const Syscall::ReplyReceive as u64,
    RECEIVED_MESSAGE = const RECEIVED_MESSAGE,
    call_at_once = sym dispatch::call_at_once,
    long_call_at_once = sym dispatch::long_call_at_once,
    answer_at_once = sym dispatch::answer_at_once,
    long_answer_at_once = sym dispatch::long_answer_at_once,
    syscall = sym dispatch::syscall,
    trap = sym dispatch::trap,
    trap_in_kernel = sym dispatch::trap_in_kernel,
);

global_asm!(
    // ---- one entry a vector; non-maskable interrupts, double faults and machine checks are the kernel's whatever they
    // interrupted ----
    ".balign 16",
    ".global kernel_vector_entries",
    "kernel_vector_entries:",
    ".set vector, 0",
    ".rept 256",
    ".balign 16",
    ".if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21 && vector != 29 && vector != 30",
    "pushq $0",
    ".endif",
    "pushq $vector",
    ".if vector == 2 || vector == 8 || vector == 18",
    "jmp kernel_trap_in_kernel",
    ".else",
    "jmp kernel_trap",
    ".endif",
    ".set vector, vector + 1",
    ".endr",
    options(att_syntax),
);
