//! Starting the other processors (Intel SDM volume 3A, 9.4.4; AMD64 manual volume 2, 15.27.8).
//!
//! A processor that is sent a start-up interrupt begins in real mode at the start of a page below 1 MiB. Four pages there
//! serve as its way up: code and what it needs to know, and page tables that are the kernel's own but for the first two
//! megabytes, which they map as they are. Processors start one after the other, since they share these pages.

use crate::page_table::PageTable;
use crate::per_cpu::PerCpu;
use crate::ram::RamPage;
use crate::secondary_stack;
use crate::state::{self, Machine};
use crate::{dispatch, entry, processor, svm};
use abi::PAGE_SIZE;
use abi::boot::{BootInfo, RegionKind};
use core::arch::global_asm;
use core::sync::atomic::{AtomicU32, Ordering};
use kernel_core::{CpuId, Frame};

/// Pages of the way up: code, and three levels of page tables.
const PAGES: u64 = 4;
/// Above this physical address a start-up interrupt cannot begin.
const END: u64 = 0xa_0000;
/// Nanoseconds between the reset of old processors and their start.
const RESET: u64 = 10_000_000;
/// Nanoseconds after which a processor that has not come is asked again.
const SECOND_TRY: u64 = 10_000_000;
/// Nanoseconds after which a processor that has not come is given up.
const GIVEN_UP: u64 = 1_000_000_000;

/// The processors that have come, one bit each.
static ARRIVED: AtomicU32 = AtomicU32::new(0);

// SAFETY: the assembly below defines these symbols; only their addresses are taken.
unsafe extern "C" {
    static startup_begin: u8;
    static startup_protected: u8;
    static startup_long: u8;
    static startup_end: u8;
}

/// Where the code finds what it needs to know, from the start of its page. The code itself lies before that.
mod place {
    /// Segment descriptors: none, 32-bit code, data, 64-bit code.
    pub(super) const DESCRIPTORS: usize = 0x200;
    /// Their number and address, as `lgdt` wants them.
    pub(super) const DESCRIPTOR_TABLE: usize = 0x220;
    /// Where to jump in protected mode: address, then selector.
    pub(super) const PROTECTED: usize = 0x230;
    /// Where to jump in long mode.
    pub(super) const LONG: usize = 0x238;
    /// The processor's stack.
    pub(super) const STACK: usize = 0x240;
    /// The processor's number.
    pub(super) const CPU: usize = 0x248;
    /// Where it arrives.
    pub(super) const MAIN: usize = 0x250;
}

const DESCRIPTORS: [u64; 4] = [0, 0x00cf_9a00_0000_ffff, 0x00cf_9200_0000_ffff, 0x00af_9a00_0000_ffff];

global_asm!(
    ".section .rodata.startup, \"a\"",
    ".balign 16",
    ".code16",
    ".global startup_begin",
    "startup_begin:",
    "cli",
    "cld",
    "mov ax, cs",
    "mov ds, ax",
    // ebx: where the page lies.
    "xor ebx, ebx",
    "mov bx, ax",
    "shl ebx, 4",
    // lgdt with a base of 32 bits.
    ".byte 0x66",
    "lgdt [{DESCRIPTOR_TABLE}]",
    "mov eax, cr0",
    "or eax, 1",
    "mov cr0, eax",
    // A far jump of 32 bits through [PROTECTED].
    ".byte 0x66, 0xff, 0x2e",
    ".word {PROTECTED}",
    ".code32",
    ".global startup_protected",
    "startup_protected:",
    "mov ax, 0x10",
    "mov ds, ax",
    "mov es, ax",
    "mov ss, ax",
    // Physical address extension and global pages; the page tables follow this page.
    "mov eax, cr4",
    "or eax, 0xa0",
    "mov cr4, eax",
    "lea eax, [ebx + 0x1000]",
    "mov cr3, eax",
    // Long mode, and pages that are not executable.
    "mov ecx, 0xc0000080",
    "rdmsr",
    "or eax, 0x900",
    "wrmsr",
    // Paging, write protection, caches on.
    "mov eax, cr0",
    "or eax, 0x80010000",
    "and eax, 0x9fffffff",
    "mov cr0, eax",
    // A far jump of 32 bits through [ebx + LONG].
    ".byte 0xff, 0xab",
    ".long {LONG}",
    ".code64",
    ".global startup_long",
    "startup_long:",
    "mov rsp, [rbx + {STACK}]",
    "mov rdi, [rbx + {CPU}]",
    "mov rax, [rbx + {MAIN}]",
    "xor ebp, ebp",
    "call rax",
    "ud2",
    ".global startup_end",
    "startup_end:",
    ".previous",
    DESCRIPTOR_TABLE = const place::DESCRIPTOR_TABLE,
    PROTECTED = const place::PROTECTED,
    LONG = const place::LONG,
    STACK = const place::STACK,
    CPU = const place::CPU,
    MAIN = const place::MAIN,
);

/// Starts every other processor that the loader has found. Those that do not come are left out.
///
/// # Safety
/// Called once, by the boot processor, without the big lock, before any thread runs: low memory is nobody's yet.
pub unsafe fn start_others(machine: &'static Machine, info: &BootInfo) {
    let processors = machine.processors.as_slice();
    if processors.len() < 2 {
        return;
    }
    let Some(pages) = find_pages(info) else {
        log::warn!("no memory below {END:#x} for starting other processors: 1 of {} in use", processors.len());
        return;
    };
    // SAFETY: the caller vouches that nobody uses low memory.
    let way = unsafe { Way::prepare(pages, machine.root) };
    let apic = &machine.local_apic;
    let others = || (1..processors.len()).filter_map(CpuId::from_index);
    others().for_each(|cpu| apic.reset_processor(machine.apic_id(cpu)));
    // Those of today are ready when the command has reached them, as Linux has relied on for years.
    if !processor::resets_at_once() {
        wait(machine, RESET, || false);
    }
    for cpu in others() {
        let Some(stacks) = secondary_stack::of(cpu, machine.root) else { continue };
        way.lead(cpu, stacks.kernel);
        let arrived = || ARRIVED.load(Ordering::Acquire) & cpu.bit() != 0;
        apic.start_processor(machine.apic_id(cpu), way.page());
        if !wait(machine, SECOND_TRY, arrived) {
            apic.start_processor(machine.apic_id(cpu), way.page());
        }
        if !wait(machine, GIVEN_UP, arrived) {
            // It may still come, and then it finds its own stack: so nobody else is led along the same way.
            log::warn!("processor {} does not start; it and those after it are not used", cpu.index());
            return;
        }
    }
}

/// Waits until something is true, but not longer than this. Tells whether it is.
fn wait(machine: &Machine, nanoseconds: u64, done: impl Fn() -> bool) -> bool {
    let end = machine.clock.now().saturating_add(nanoseconds);
    while machine.clock.now() < end {
        if done() {
            return true;
        }
        core::hint::spin_loop();
    }
    done()
}

/// Pages in a row below 640 KiB, not the first one.
fn find_pages(info: &BootInfo) -> Option<Frame> {
    let mut regions = info.memory.as_slice().iter().rev().filter(|region| region.kind == RegionKind::LowMemory);
    regions.find_map(|region| {
        let end = region.extent.end().min(END) / PAGE_SIZE;
        let first = end.checked_sub(PAGES)?;
        (first * PAGE_SIZE >= region.extent.start.max(PAGE_SIZE)).then_some(Frame(first as u32))
    })
}

/// The pages along which a processor comes up.
struct Way {
    code: RamPage,
}

impl Way {
    /// Fills the pages.
    ///
    /// # Safety
    /// The pages from `first` on are RAM that nobody uses; `root` is the kernel's root table.
    unsafe fn prepare(first: Frame, root: Frame) -> Self {
        // SAFETY: the caller vouches for the pages.
        let [code, root_table, directories, directory] =
            [0, 1, 2, 3].map(|index| unsafe { RamPage::new(first.offset(index)) });
        for page in [code, root_table, directories, directory] {
            page.zero();
        }
        let begin = &raw const startup_begin;
        // SAFETY: the assembly above lies between these symbols, in constant memory.
        let bytes = unsafe { core::slice::from_raw_parts(begin, (&raw const startup_end).offset_from_unsigned(begin)) };
        assert!(bytes.len() <= place::DESCRIPTORS, "the code leaves room for what it needs to know");
        code.part(0, bytes.len()).write(bytes);
        let base = code.frame().address();
        for (index, descriptor) in DESCRIPTORS.into_iter().enumerate() {
            code.set_word(place::DESCRIPTORS / 8 + index, descriptor);
        }
        const LIMIT: u64 = size_of_val(&DESCRIPTORS) as u64 - 1;
        code.set_word(place::DESCRIPTOR_TABLE / 8, LIMIT | (base + place::DESCRIPTORS as u64) << 16);
        for (place, symbol, selector) in
            [(place::PROTECTED, &raw const startup_protected, 0x08), (place::LONG, &raw const startup_long, 0x18)]
        {
            let offset = symbol as u64 - begin as u64;
            code.set_word(place / 8, (base + offset) | selector << 32);
        }
        code.set_word(place::MAIN / 8, main as *const () as u64);
        // SAFETY: the caller vouches for the kernel's root table; the new one has nothing in its lower half but the way.
        unsafe { PageTable::at(root_table.frame()).share_kernel_half(PageTable::at(root)) };
        const PRESENT_WRITABLE: u64 = 0b11;
        const PRESENT_LARGE: u64 = 0b1000_0001;
        root_table.set_word(0, directories.frame().address() | PRESENT_WRITABLE);
        directories.set_word(0, directory.frame().address() | PRESENT_WRITABLE);
        // Executable, not writable.
        directory.set_word(0, PRESENT_LARGE);
        Way { code }
    }

    /// The page at which a processor begins, as a start-up interrupt names it.
    fn page(&self) -> u8 {
        self.code.frame().0 as u8
    }

    /// Tells the next processor who it is.
    fn lead(&self, cpu: CpuId, stack: u64) {
        self.code.set_word(place::STACK / 8, stack);
        self.code.set_word(place::CPU / 8, cpu.index() as u64);
        core::sync::atomic::fence(Ordering::Release);
    }
}

/// Where a processor arrives, on its own stack.
extern "C" fn main(number: u32) -> ! {
    let machine = state::machine();
    let Some(cpu) = CpuId::from_index(number as usize) else { processor::stop() };
    let Some(stacks) = secondary_stack::of(cpu, machine.root) else { processor::stop() };
    // SAFETY: each processor comes here once, under its own number and on its own stack, which the kernel's own tables map.
    unsafe {
        processor::load_root_table(machine.root);
        PerCpu::initialise(cpu, &stacks);
        processor::enable_protections(machine.protections);
        processor::enable_syscall(entry::syscall_entry());
        machine.local_apic.start_here();
        if machine.has_guests {
            svm::enable();
        }
    }
    machine.local_apic.enable_timer();
    let mut state = state::lock();
    // SAFETY: it is in use already; this makes it known.
    unsafe { PerCpu::current().use_root(machine.root) };
    state.kernel.start_cpu(cpu);
    ARRIVED.fetch_or(cpu.bit(), Ordering::Release);
    let context = dispatch::leave(state, machine, machine.clock.now());
    // SAFETY: `leave` has chosen the thread, loaded its space and told the entry code.
    unsafe { entry::resume(context) }
}
