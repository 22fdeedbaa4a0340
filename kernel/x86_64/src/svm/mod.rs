//! Virtual machines with AMD's secure virtual machine and nested paging (AMD64 manual volume 2, chapter 15).
//!
//! A guest runs in the name of a thread, whose saved registers say so ([`crate::context::Entered::InGuest`]): then the way out of
//! the kernel leads there instead of to user mode. An interrupt that ends the guest's stay is taken like one
//! in user mode; everything else is its monitor's business.

mod control_block;
mod extended;
mod page;
mod permission;

pub use control_block::ControlBlock;
pub use extended::ExtendedState;

use crate::context::Context;
use crate::per_cpu::PerCpu;
use crate::{dispatch, processor};
use core::arch::asm;
use core::arch::x86_64::__cpuid;
use extended::place::GENERAL;
use kernel_core::Frame;
use page::Use;
use x86_64::registers::control::{Efer, EferFlags};
use x86_64::registers::model_specific::Msr;

/// `VM_CR`: bit 4 is set where firmware has switched virtual machines off.
const VM_CR: u32 = 0xc001_0114;
const DISABLED: u64 = 1 << 4;
/// `VM_HSAVE_PA`: where the processor keeps the host's state.
const VM_HSAVE_PA: u32 = 0xc001_0117;

/// Exit codes of what concerns the host: interrupts of four kinds (physical, non-maskable, system management, INIT).
const HOST_EXITS: core::ops::RangeInclusive<u64> = 0x60..=0x63;

/// Whether this processor can run guests, with the kernel where it lies; `root` is its own root table.
pub fn is_there(root: Frame) -> bool {
    let highest = __cpuid(0x8000_0000).eax;
    if highest < 0x8000_000a || __cpuid(0x8000_0001).ecx & 1 << 2 == 0 {
        return false;
    }
    let nested_paging = __cpuid(0x8000_000a).edx & 1 != 0;
    let saves = __cpuid(1).ecx & 1 << 26 != 0 && extended::detect() != 0;
    // SAFETY: processors with virtual machines have the register.
    nested_paging && saves && page::are_contiguous(root) && unsafe { Msr::new(VM_CR).read() } & DISABLED == 0
}

/// Writes what all processors use. Called once, before any guest is entered.
pub fn fill() {
    permission::fill();
}

/// Lets this processor run guests.
///
/// # Safety
/// [`is_there`]; called on each processor once.
pub unsafe fn enable() {
    // SAFETY: the page is this processor's own.
    unsafe {
        Efer::update(|flags| flags.insert(EferFlags::SECURE_VIRTUAL_MACHINE_ENABLE));
        Msr::new(VM_HSAVE_PA).write(page::frame(Use::Host(PerCpu::own_cpu())).address());
    }
}

/// Enters the guest of the thread whose registers these are, and takes care of what comes of it. Returns the context to go on with.
pub(crate) extern "C" fn run(context: *mut Context) -> *const Context {
    // SAFETY: the entry code passes the context of the thread that this processor runs, which nobody else uses meanwhile.
    let Some([control, extended]) = (unsafe { (*context).guest() }) else { processor::stop() };
    // SAFETY: the core has had the frames prepared for a virtual processor, which is alive for as long as its thread runs.
    let (control, extended) = unsafe { (ControlBlock::at(control), ExtendedState::at(extended)) };
    let components = extended::components();
    // SAFETY: interrupts are off; what is loaded is saved behind the guest.
    unsafe {
        extended.load(components);
        enter(control, page::frame(Use::Host(PerCpu::own_cpu())), extended);
        extended.save(components);
    }
    let exit = control.exit();
    if !HOST_EXITS.contains(&exit[0]) {
        return dispatch::guest_left(exit);
    }
    match PerCpu::current().take_interrupt() {
        Some(vector) => dispatch::trap(context, vector.into(), 0),
        // It was withdrawn, or none that the kernel is told of.
        None => context,
    }
}

/// Runs the guest until something is intercepted.
///
/// # Safety
/// The control block is one that [`ControlBlock::import`] has filled, `host` this processor's page for the host's state, and
/// interrupts are off.
unsafe fn enter(control: ControlBlock, host: Frame, extended: ExtendedState) {
    // SAFETY: all that the guest can use and the host needs is switched: by `vmrun` what its page holds, by `vmsave` and `vmload` the
    // rest but for the general registers, which are saved here. The global interrupt flag keeps everything out meanwhile.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "push rdx",
            "push rdi",
            "clgi",
            "mov rax, rdx",
            "vmsave rax",
            "mov rax, rsi",
            "vmload rax",
            // Interrupts are on behind `vmrun` only, where each is an exit; what follows keeps it out of the shadow of `sti`.
            "sti",
            "mov rbx, [rdi + {G} + 8]",
            "mov rcx, [rdi + {G} + 16]",
            "mov rdx, [rdi + {G} + 24]",
            "mov rsi, [rdi + {G} + 32]",
            "mov rbp, [rdi + {G} + 48]",
            "mov r8, [rdi + {G} + 64]",
            "mov r9, [rdi + {G} + 72]",
            "mov r10, [rdi + {G} + 80]",
            "mov r11, [rdi + {G} + 88]",
            "mov r12, [rdi + {G} + 96]",
            "mov r13, [rdi + {G} + 104]",
            "mov r14, [rdi + {G} + 112]",
            "mov r15, [rdi + {G} + 120]",
            "mov rdi, [rdi + {G} + 40]",
            "vmrun rax",
            "cli",
            "xchg rdi, [rsp]",
            "mov [rdi + {G} + 8], rbx",
            "mov [rdi + {G} + 16], rcx",
            "mov [rdi + {G} + 24], rdx",
            "mov [rdi + {G} + 32], rsi",
            "mov [rdi + {G} + 48], rbp",
            "mov [rdi + {G} + 64], r8",
            "mov [rdi + {G} + 72], r9",
            "mov [rdi + {G} + 80], r10",
            "mov [rdi + {G} + 88], r11",
            "mov [rdi + {G} + 96], r12",
            "mov [rdi + {G} + 104], r13",
            "mov [rdi + {G} + 112], r14",
            "mov [rdi + {G} + 120], r15",
            "pop qword ptr [rdi + {G} + 40]",
            "vmsave rax",
            "pop rax",
            "vmload rax",
            // Writing the task priority, which is 0 all the time, has QEMU ask the local APIC again: an interrupt that arrives in
            // the moment of an exit it can forget, and a processor without another one would sleep for ever.
            "xor ecx, ecx",
            "mov cr8, rcx",
            "stgi",
            "pop rbp",
            "pop rbx",
            G = const GENERAL,
            inout("rdi") extended.address() => _,
            inout("rsi") control.address() => _,
            inout("rdx") host.address() => _,
            out("rax") _, out("rcx") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _, out("r12") _, out("r13") _,
            out("r14") _, out("r15") _,
        );
    }
}
