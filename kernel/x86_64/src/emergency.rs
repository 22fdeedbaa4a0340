//! The end: what the kernel says when it cannot go on.
//!
//! Nothing here takes a lock or uses the core: either may be the cause. All output goes to the serial port, whoever owned
//! it, and to the log's ring, where a debugger finds it.

use crate::entry::KernelFrame;
use crate::{log_ring, processor, secondary_stack, serial, state};
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Return addresses that a backtrace shows at most.
const BACKTRACE_MAX: usize = 32;

/// Where the kernel's stacks lie: the only memory in which a backtrace looks.
static STACKS_START: AtomicU64 = AtomicU64::new(0);
static STACKS_END: AtomicU64 = AtomicU64::new(0);

/// Whether the end has begun: what fails then must not begin it again.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Whether the end has begun, on any processor.
pub fn has_begun() -> bool {
    ENDING.load(Ordering::Relaxed)
}

/// Tells where the backtrace of a panic may look: the kernel's main stack.
pub fn set_stack(start: u64, end: u64) {
    STACKS_START.store(start, Ordering::Relaxed);
    STACKS_END.store(end, Ordering::Relaxed);
}

/// Ends the kernel after a panic of its own.
pub fn panic(info: &PanicInfo<'_>) -> ! {
    let frame: u64;
    // SAFETY: reads a register.
    unsafe { core::arch::asm!("mov {}, rbp", out(reg) frame, options(nomem, nostack, preserves_flags)) };
    end(format_args!("{}", info), None, frame)
}

/// Ends the kernel after an exception in kernel mode.
pub fn exception(frame: &KernelFrame) -> ! {
    let cause = match frame.vector {
        8 => "double fault (a stack may have overflowed)",
        13 => "general protection fault",
        14 => "page fault",
        18 => "machine check",
        _ => "exception",
    };
    end(
        format_args!("{cause} in the kernel, vector {}, error code {:#x}", frame.vector, frame.error),
        Some(frame),
        frame.rbp,
    )
}

/// Ends the kernel because the machine cannot run it.
pub fn unusable_machine(reason: &dyn fmt::Display) -> ! {
    end(format_args!("this machine cannot run the kernel: {reason}"), None, 0)
}

fn end(cause: fmt::Arguments<'_>, registers: Option<&KernelFrame>, frame_pointer: u64) -> ! {
    x86_64::instructions::interrupts::disable();
    if ENDING.swap(true, Ordering::Relaxed) {
        processor::stop();
    }
    if let Some(machine) = state::known() {
        // The others stop at once: whatever is wrong must not spread.
        machine.local_apic.interrupt_others_now();
    }
    let report = Report { cause, registers, frame_pointer };
    // SAFETY: no user program runs again, so the port is the kernel's.
    unsafe {
        serial::start();
        let _ = write!(serial::Raw::new(), "{report}");
    }
    log_ring::write_last(format_args!("{report}"));
    processor::stop()
}

/// What is said at the end.
struct Report<'a> {
    cause: fmt::Arguments<'a>,
    registers: Option<&'a KernelFrame>,
    frame_pointer: u64,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nkernel panic: {}", self.cause)?;
        if let Some(r) = self.registers {
            writeln!(f, "  rip {:016x}  rsp {:016x}  rflags {:08x}", r.rip, r.rsp, r.rflags)?;
            writeln!(f, "  rax {:016x}  rbx {:016x}  rcx {:016x}", r.rax, r.rbx, r.rcx)?;
            writeln!(f, "  rdx {:016x}  rsi {:016x}  rdi {:016x}", r.rdx, r.rsi, r.rdi)?;
            writeln!(f, "  rbp {:016x}  r8  {:016x}  r9  {:016x}", r.rbp, r.r8, r.r9)?;
            writeln!(f, "  r10 {:016x}  r11 {:016x}  r12 {:016x}", r.r10, r.r11, r.r12)?;
            writeln!(f, "  r13 {:016x}  r14 {:016x}  r15 {:016x}", r.r13, r.r14, r.r15)?;
            writeln!(f, "  cr2 {:016x}", processor::fault_address())?;
        }
        writeln!(f, "backtrace (look the addresses up in the kernel's ELF file):")?;
        for address in backtrace(self.frame_pointer) {
            writeln!(f, "  {address:016x}")?;
        }
        writeln!(f, "The machine has stopped.")
    }
}

/// Follows frame pointers upwards, as far as they stay within the kernel's stacks.
fn backtrace(mut frame: u64) -> impl Iterator<Item = u64> {
    let others = secondary_stack::all();
    let (start, end) = if others.contains(&frame) {
        (others.start, others.end)
    } else {
        (STACKS_START.load(Ordering::Relaxed), STACKS_END.load(Ordering::Relaxed))
    };
    let mut lowest = start;
    core::iter::from_fn(move || {
        if frame < lowest || frame.checked_add(16)? > end || !frame.is_multiple_of(8) {
            return None;
        }
        // SAFETY: both words lie within the kernel's stacks, and are aligned. A guard page ends in the double fault of a
        // kernel that has ended already.
        let (next, address) = unsafe {
            let words = core::ptr::with_exposed_provenance::<u64>(frame as usize);
            (words.read_volatile(), words.add(1).read_volatile())
        };
        lowest = frame + 1;
        frame = next;
        (address != 0).then_some(address)
    })
    .take(BACKTRACE_MAX)
}
