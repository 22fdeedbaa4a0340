//! The kernel's image: what the loader jumps to. Everything else is in the crates `kernel-core`, which decides, and
//! `kernel-x86_64`, which carries out.
#![no_std]
#![no_main]

use abi::boot::BootInfo;
use core::arch::global_asm;
use core::panic::PanicInfo;
use kernel_x86_64::segment::Stacks;
use kernel_x86_64::{boot, emergency};

// The loader enters here with the boot information in rdi and no stack.
global_asm!(
    ".global kernel_entry",
    "kernel_entry:",
    "lea rsp, [rip + kernel_stack_top]",
    "xor ebp, ebp",
    "call {start}",
    "ud2",
    start = sym start,
);

// SAFETY: `kernel.ld` defines these places; only their addresses are taken, so their type does not matter.
unsafe extern "C" {
    static kernel_stack_bottom: u8;
    static kernel_stack_top: u8;
    static double_fault_stack_top: u8;
    static machine_check_stack_top: u8;
    static nmi_stack_top: u8;
    static debug_stack_top: u8;
}

extern "C" fn start(info: *const BootInfo) -> ! {
    let stacks = Stacks {
        kernel: (&raw const kernel_stack_top) as u64,
        double_fault: (&raw const double_fault_stack_top) as u64,
        machine_check: (&raw const machine_check_stack_top) as u64,
        non_maskable: (&raw const nmi_stack_top) as u64,
        debug: (&raw const debug_stack_top) as u64,
    };
    emergency::set_stack((&raw const kernel_stack_bottom) as u64, stacks.kernel);
    // SAFETY: the entry point runs once, in the state in which the loader enters, on the kernel's stack; the linker script
    // places the stacks apart from everything else.
    unsafe { boot::start(info, &stacks) }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    emergency::panic(info)
}
