//! The processor's own switches: which protections it has, and the instructions that no memory access can express.

use crate::ram::{RamPage, WORDS};
use crate::segment;
use bitflags::bitflags;
use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::ops::Range;
use kernel_core::Frame;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr2, Cr3, Cr3Flags, Cr4, Cr4Flags, Efer, EferFlags};
use x86_64::registers::model_specific::Msr;
use x86_64::registers::rflags::RFlags;

/// `STAR`, `LSTAR` and `SFMASK`: what `syscall` loads (AMD64 manual volume 2, 6.1.1).
const STAR: u32 = 0xc000_0081;
const LSTAR: u32 = 0xc000_0082;
const SFMASK: u32 = 0xc000_0084;
/// Model-specific register: FS base.
pub const FS_BASE: u32 = 0xc000_0100;
const GS_BASE: u32 = 0xc000_0101;
const KERNEL_GS_BASE: u32 = 0xc000_0102;
/// The beginnings of the names of those who make processors of this kind (CPUID, leaf 0, ebx).
const AMD: u32 = u32::from_le_bytes(*b"Auth");
const HYGON: u32 = u32::from_le_bytes(*b"Hygo");
const INTEL: u32 = u32::from_le_bytes(*b"Genu");
/// The page-attribute table: entry 3 must be "uncached", which it is after reset.
const PAT: u32 = 0x277;
/// The page-attribute table after reset.
pub const PAT_RESET: u64 = 0x0007_0406_0007_0406;

bitflags! {
    /// Protections that the kernel uses where the processor has them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Protections: u8 {
        /// The kernel cannot execute user pages.
        const SMEP = 1 << 0;
        /// The kernel cannot touch user pages by their user addresses.
        const SMAP = 1 << 1;
        /// User mode cannot read the addresses of descriptor tables.
        const UMIP = 1 << 2;
        /// Translations of the kernel's half survive a change of address space.
        const GLOBAL_PAGES = 1 << 3;
        /// A machine check reaches the kernel instead of stopping the processor.
        const MACHINE_CHECK = 1 << 4;
    }
}

impl Protections {
    /// What this processor has.
    pub fn detect() -> Self {
        let (highest, basic) = (__cpuid(0).eax, __cpuid(1));
        let mut found = Protections::empty();
        found.set(Protections::GLOBAL_PAGES, basic.edx & (1 << 13) != 0);
        found.set(Protections::MACHINE_CHECK, basic.edx & (1 << 7) != 0);
        if highest >= 7 {
            let extended = __cpuid_count(7, 0);
            found.set(Protections::SMEP, extended.ebx & (1 << 7) != 0);
            found.set(Protections::SMAP, extended.ebx & (1 << 20) != 0);
            found.set(Protections::UMIP, extended.ecx & (1 << 2) != 0);
        }
        found
    }
}

impl core::fmt::Display for Protections {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("NX")?;
        for (protection, name) in
            [(Protections::SMEP, " SMEP"), (Protections::SMAP, " SMAP"), (Protections::UMIP, " UMIP")]
        {
            if self.contains(protection) {
                f.write_str(name)?;
            }
        }
        Ok(())
    }
}

/// Whether a processor of this kind can be started as soon as it has been reset: all with 64 bits by AMD and Hygon, and
/// Intel's of family 6.
pub fn resets_at_once() -> bool {
    let family = __cpuid(1).eax >> 8 & 0xf;
    matches!((__cpuid(0).ebx, family), (AMD | HYGON, _) | (INTEL, 6))
}

/// How many bits a physical address has.
pub fn physical_address_bits() -> u32 {
    if __cpuid(0x8000_0000).eax >= 0x8000_0008 { (__cpuid(0x8000_0008).eax & 0xff).clamp(32, 52) } else { 36 }
}

/// Switches this processor's protections on, and its floating-point unit off: the first use of that is a fault.
///
/// # Safety
/// Called on each processor once, in kernel mode, with the kernel's page tables loaded.
pub unsafe fn enable_protections(protections: Protections) {
    // SAFETY: the kernel is mapped by pages of its own half and touches no user page, so SMEP and SMAP take nothing from
    // it. It is built for soft float, so TS takes nothing either. OSFXSR makes SSE instructions report "device not
    // available" instead of "invalid opcode" while TS is set. FSGSBASE stays off: user mode cannot set its GS base.
    unsafe {
        Cr0::update(|flags| {
            flags.remove(
                Cr0Flags::EMULATE_COPROCESSOR
                    | Cr0Flags::ALIGNMENT_MASK
                    | Cr0Flags::CACHE_DISABLE
                    | Cr0Flags::NOT_WRITE_THROUGH,
            );
            flags.insert(
                Cr0Flags::WRITE_PROTECT
                    | Cr0Flags::MONITOR_COPROCESSOR
                    | Cr0Flags::TASK_SWITCHED
                    | Cr0Flags::NUMERIC_ERROR,
            );
        });
        Cr4::update(|flags| {
            flags.remove(
                Cr4Flags::FSGSBASE
                    | Cr4Flags::OSXSAVE
                    | Cr4Flags::PERFORMANCE_MONITOR_COUNTER
                    | Cr4Flags::TIMESTAMP_DISABLE,
            );
            flags.insert(Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE);
            for (protection, flag) in [
                (Protections::SMEP, Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION),
                (Protections::SMAP, Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION),
                (Protections::UMIP, Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION),
                (Protections::GLOBAL_PAGES, Cr4Flags::PAGE_GLOBAL),
                (Protections::MACHINE_CHECK, Cr4Flags::MACHINE_CHECK_EXCEPTION),
            ] {
                flags.set(flag, protections.contains(protection));
            }
        });
        Msr::new(PAT).write(PAT_RESET);
    }
}

/// Lets `syscall` enter at `entry`.
///
/// # Safety
/// `entry` is the kernel's entry code for `syscall`, and the segments of [`crate::segment`] are loaded.
pub unsafe fn enable_syscall(entry: u64) {
    // Everything that could disturb the kernel: interrupts, single stepping, direction, nested task, alignment check,
    // and the arithmetic flags because they are nobody's.
    let masked =
        RFlags::all() - RFlags::VIRTUAL_8086_MODE - RFlags::VIRTUAL_INTERRUPT - RFlags::VIRTUAL_INTERRUPT_PENDING;
    let star = u64::from(segment::SYSRET_BASE) << 48 | u64::from(segment::KERNEL_CODE) << 32;
    // SAFETY: the caller vouches for the entry point and the selectors.
    unsafe {
        Msr::new(STAR).write(star);
        Msr::new(LSTAR).write(entry);
        Msr::new(SFMASK).write(masked.bits());
        Efer::update(|flags| flags.insert(EferFlags::SYSTEM_CALL_EXTENSIONS | EferFlags::NO_EXECUTE_ENABLE));
    }
}

/// Sets the GS base of the kernel, in which it finds its per-processor data, and that of user mode to 0.
///
/// # Safety
/// `base` is this processor's [`crate::per_cpu::PerCpu`].
pub unsafe fn set_kernel_gs(base: u64) {
    // SAFETY: the caller vouches for the base; the kernel runs with the GS base, user mode gets the other by `swapgs`.
    unsafe {
        Msr::new(GS_BASE).write(base);
        Msr::new(KERNEL_GS_BASE).write(0);
    }
}

/// Loads what user mode can see of the segments: null selectors, whatever the thread before has loaded, and the FS base.
pub fn load_user_segments(thread_local: u64) {
    // SAFETY: in 64-bit mode neither kernel nor user data accesses go through these selectors. Loading GS may change the
    // active GS base, so it happens while that is user mode's.
    unsafe {
        asm!(
            "mov ds, {zero:e}",
            "mov es, {zero:e}",
            "mov fs, {zero:e}",
            "swapgs",
            "mov gs, {zero:e}",
            "swapgs",
            zero = in(reg) 0u32,
            options(nostack, preserves_flags)
        );
    }
    load_thread_local(thread_local);
}

/// Loads the FS base, a canonical address.
#[inline(always)]
pub fn load_thread_local(address: u64) {
    // SAFETY: nothing in kernel mode uses this base.
    unsafe { Msr::new(FS_BASE).write(address) };
}

/// The address whose access faulted last.
pub fn fault_address() -> u64 {
    Cr2::read_raw()
}

/// The root table in use.
pub fn root_table() -> Frame {
    Frame((Cr3::read().0.start_address().as_u64() >> 12) as u32)
}

/// Loads a root table, which forgets all translations but global ones.
///
/// # Safety
/// The kernel's half of the table is the kernel's own.
pub unsafe fn load_root_table(root: Frame) {
    let frame =
        x86_64::structures::paging::PhysFrame::containing_address(x86_64::PhysAddr::new_truncate(root.address()));
    // SAFETY: the caller vouches for the kernel's half, in which code, stack and data of the kernel lie.
    unsafe { Cr3::write(frame, Cr3Flags::empty()) }
}

/// Forgets the translation of one address, global or not, in this processor.
pub fn forget_translation(address: u64) {
    x86_64::instructions::tlb::flush(x86_64::VirtAddr::new_truncate(address));
}

/// Writes what this processor's caches hold of a word back to memory, where devices see it that do not look into caches.
pub fn flush_word(page: RamPage, index: usize) {
    // SAFETY: the instruction changes nothing that a program can see; the address is mapped.
    unsafe { asm!("clflush [{}]", in(reg) page.address_of(index), options(nostack, preserves_flags)) }
}

/// The same for words that follow one another.
pub fn flush_words(page: RamPage, places: Range<usize>) {
    const WORDS_OF_A_LINE: usize = 8;
    let first = places.start / WORDS_OF_A_LINE * WORDS_OF_A_LINE;
    (first..places.end).step_by(WORDS_OF_A_LINE).for_each(|index| flush_word(page, index));
}

/// The same for a whole page.
pub fn flush(page: RamPage) {
    flush_words(page, 0..WORDS);
}

/// Halts until an interrupt has been taken. Interrupts are off before and after.
pub fn wait_for_interrupt() {
    // SAFETY: `sti` takes effect after the next instruction, so no interrupt is lost before `hlt`. The kernel's interrupt
    // entry notes the vector and returns with interrupts off (see `dispatch`).
    unsafe { asm!("sti", "hlt", "cli") }
}

/// Lets interrupts come for a moment, without a halt. Interrupts are off before and after.
pub fn let_interrupts_come() {
    // SAFETY: as above; one that waits is taken behind `nop`, which `sti` still keeps it from. (`pause` would make QEMU take a lock
    // that the device wants.)
    unsafe { asm!("sti", "nop", "cli") }
}

/// Stops this processor for good.
pub fn stop() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}
