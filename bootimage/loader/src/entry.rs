//! From the machine's 32-bit entry to Rust, and from there into the kernel.

use crate::machine::{self, Memory};
use crate::{firmware, serial};
use core::arch::{asm, global_asm};
use core::fmt::Display;
use loader::error::LoadError;
use loader::handover::{self, Handover};

global_asm!(
    // The note by which QEMU and other monitors find the entry. QEMU wants an eight-byte descriptor in a 64-bit file.
    ".section .note.pvh, \"a\", @note",
    ".balign 4",
    ".long 4",
    ".long 8",
    ".long 18",
    ".asciz \"Xen\"",
    ".quad pvh_entry",
    // Entered with paging off, flat segments, interrupts off and ebx = physical address of the start information.
    ".section .entry, \"ax\", @progbits",
    ".code32",
    ".global pvh_entry",
    "pvh_entry:",
    "cli",
    "cld",
    "rdtsc",
    "mov dword ptr [ENTRY_TSC], eax",
    "mov dword ptr [ENTRY_TSC + 4], edx",
    "mov esp, offset stack_end",
    "mov edi, ebx",
    // A CPU without long mode could not run the rest, the error message's code included.
    "mov eax, 0x80000000",
    "cpuid",
    "cmp eax, 0x80000001",
    "jb 3f",
    "mov eax, 0x80000001",
    "cpuid",
    "test edx, 1 << 29",
    "jz 3f",
    // Identity map of the lowest 4 GiB: one table of four entries over four tables of 2 MiB pages.
    "mov eax, offset early_pdpt + 3",
    "mov dword ptr [early_pml4], eax",
    "mov eax, offset early_pd + 3",
    "xor ecx, ecx",
    "2:",
    "mov dword ptr [early_pdpt + ecx * 8], eax",
    "add eax, 4096",
    "inc ecx",
    "cmp ecx, 4",
    "jb 2b",
    "mov eax, 0x83",
    "xor ecx, ecx",
    "2:",
    "mov dword ptr [early_pd + ecx * 8], eax",
    "add eax, 0x200000",
    "inc ecx",
    "cmp ecx, 2048",
    "jb 2b",
    // CR4.PAE, the tables, EFER.LME, CR0.PG and WP, in the order of the Intel SDM volume 3A, 10.8.5.
    "mov eax, cr4",
    "or eax, 1 << 5",
    "mov cr4, eax",
    "mov eax, offset early_pml4",
    "mov cr3, eax",
    "mov ecx, 0xc0000080",
    "rdmsr",
    "or eax, 1 << 8",
    "wrmsr",
    "mov eax, cr0",
    "or eax, 0x80010000",
    "mov cr0, eax",
    "lgdt [gdt_pointer]",
    "push 8",
    "mov eax, offset long_entry",
    "push eax",
    "retf",
    "3:",
    "mov esi, offset no_long_mode",
    "4:",
    "mov bl, byte ptr [esi]",
    "test bl, bl",
    "jz 6f",
    "mov dx, 0x3fd",
    "mov ecx, 100000",
    "5:",
    "in al, dx",
    "test al, 0x20",
    "loopz 5b",
    "mov dx, 0x3f8",
    "mov al, bl",
    "out dx, al",
    "inc esi",
    "jmp 4b",
    "6:",
    "hlt",
    "jmp 6b",
    ".code64",
    "long_entry:",
    "mov ax, 16",
    "mov ds, ax",
    "mov es, ax",
    "mov ss, ax",
    "xor eax, eax",
    "mov fs, ax",
    "mov gs, ax",
    "mov esp, offset stack_end",
    "mov edi, edi",
    "xor ebp, ebp",
    "call {main}",
    "ud2",
    // rdi = page tables, rsi = entry, rdx = boot information. The page is mapped in both address spaces.
    ".section .jump, \"ax\", @progbits",
    ".balign 4096",
    ".global jump_page",
    "jump_page:",
    "mov cr3, rdi",
    "mov rdi, rdx",
    "xor ebp, ebp",
    "xor esp, esp",
    "jmp rsi",
    ".section .rodata.entry, \"a\", @progbits",
    ".balign 8",
    // Null, 64-bit code, data; marked as accessed, so that the CPU need not write.
    "gdt:",
    ".quad 0",
    ".quad 0x00af9b000000ffff",
    ".quad 0x00cf93000000ffff",
    "gdt_pointer:",
    ".word 23",
    ".quad gdt",
    "no_long_mode:",
    ".asciz \"loader: this CPU has no 64-bit mode, in which the kernel runs: use a 64-bit CPU\\n\"",
    ".section .bss.entry, \"aw\", @nobits",
    ".balign 4096",
    "early_pml4:",
    ".skip 4096",
    "early_pdpt:",
    ".skip 4096",
    "early_pd:",
    ".skip 4 * 4096",
    ".skip 64 * 1024",
    "stack_end:",
    main = sym main,
);

/// Time-stamp counter at the entry; written once, before any Rust code runs.
#[unsafe(no_mangle)]
static mut ENTRY_TSC: u64 = 0;

/// The first Rust function: `start_info` is what the machine passed in `ebx`.
extern "C" fn main(start_info: u64) -> ! {
    serial::init();
    // SAFETY: only the entry code above writes it, and that is over; there is one CPU.
    let entry_tsc = unsafe { (&raw const ENTRY_TSC).read() };
    match start(start_info, entry_tsc) {
        Ok(handover) => {
            if handover.left_out > 0 {
                serial::say(format_args!(
                    "the firmware names CPUs, interrupt controllers or IOMMUs that are too many, or in places that are \
                     not supported: {} are left out",
                    handover.left_out
                ));
            }
            enter(&handover)
        }
        Err(error) => fail(&error),
    }
}

fn start(start_info: u64, entry_tsc: u64) -> Result<Handover, LoadError> {
    machine::turn_on_protection()?;
    let mut memory = Memory::new();
    let own = machine::own(entry_tsc);
    handover::prepare(&mut memory, start_info, &own, firmware::discover)
}

/// Leaves the loader for good.
fn enter(handover: &Handover) -> ! {
    // SAFETY: `prepare` mapped this page, under its own address and executable, and the kernel's entry point in the new
    // page tables; nothing of the loader is used after it, and the kernel keeps the contract of `abi::boot`.
    unsafe {
        asm!(
            "jmp {page}",
            page = in(reg) machine::jump_page(),
            in("rdi") handover.page_tables,
            in("rsi") handover.entry,
            in("rdx") handover.boot_info,
            options(noreturn),
        )
    }
}

/// Says why the kernel is not started, and stops.
pub(crate) fn fail(reason: &dyn Display) -> ! {
    serial::say(format_args!("{reason}"));
    loop {
        // Interrupts are off: only a reset ends this.
        x86_64::instructions::hlt();
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    fail(&format_args!("stopped by a mistake in the loader, please report it: {info}"))
}
