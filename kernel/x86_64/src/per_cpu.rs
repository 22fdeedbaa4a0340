//! What belongs to one processor and is reached through its GS base.

use crate::context::{self, Context};
use crate::segment::{Segments, Stacks};
use crate::{interrupt_table, processor};
use core::arch::asm;
use core::cell::{Cell, UnsafeCell};
use core::mem::offset_of;
use kernel_core::{CpuId, Frame};
use kernel_sync::Presence;

/// What the entry code finds at the GS base. Only the processor itself uses it, with interrupts off; others ask its
/// [`Presence`] at most.
#[repr(C)]
pub struct PerCpu {
    /// Where this is.
    itself: Cell<*const PerCpu>,
    /// Top of the stack on which every entry from user mode begins: with one word on it, it is where functions want it, at a
    /// multiple of 16.
    stack: Cell<u64>,
    /// Where `syscall` puts the user's stack pointer for a moment.
    user_stack: Cell<u64>,
    /// Where the registers of the running thread are saved.
    context: Cell<*mut Context>,
    /// Address of the root table in use.
    root: Cell<u64>,
    /// Which processor it is.
    cpu: Cell<CpuId>,
    /// The vector of the interrupt that ended the processor's idleness, 0 if none has yet.
    woken_by: Cell<u8>,
    /// Whether the processor waits for an interrupt: only then may one come in kernel mode.
    waiting: Cell<bool>,
    presence: Presence,
}

/// Offsets of [`PerCpu`]'s fields for the entry code.
pub mod offset {
    use super::{PerCpu, offset_of};
    /// Of the stack's top.
    pub const STACK: usize = offset_of!(PerCpu, stack);
    /// Of the user's stack pointer.
    pub const USER_STACK: usize = offset_of!(PerCpu, user_stack);
    /// Of the pointer to the running thread's context.
    pub const CONTEXT: usize = offset_of!(PerCpu, context);
}

impl PerCpu {
    const fn empty() -> PerCpu {
        PerCpu {
            itself: Cell::new(core::ptr::null()),
            stack: Cell::new(0),
            user_stack: Cell::new(0),
            context: Cell::new(core::ptr::null_mut()),
            root: Cell::new(0),
            cpu: Cell::new(CpuId::BOOT),
            woken_by: Cell::new(0),
            waiting: Cell::new(false),
            presence: Presence::outside(),
        }
    }
}

/// Something that each processor has one of.
struct Each<T>([UnsafeCell<T>; CpuId::MAX]);

// SAFETY: each processor touches its own only, with interrupts off; the entry code does so while no Rust code of the same
// processor runs. What others may ask is atomic.
unsafe impl<T> Sync for Each<T> {}

impl<T> Each<T> {
    fn of(&self, cpu: CpuId) -> *mut T {
        self.0[cpu.index() % CpuId::MAX].get()
    }
}

#[unsafe(link_section = ".bss.tables.processors")]
static ALL: Each<PerCpu> = Each([const { UnsafeCell::new(PerCpu::empty()) }; CpuId::MAX]);
static SEGMENTS: Each<Segments> = Each([const { UnsafeCell::new(Segments::new()) }; CpuId::MAX]);

impl PerCpu {
    /// Makes this processor use the kernel's segments, interrupt table and per-processor data.
    ///
    /// # Safety
    /// Called once on each processor, under a number of its own, with interrupts off and stacks that nobody else uses; on
    /// the boot processor first, after [`interrupt_table::fill`].
    pub unsafe fn initialise(cpu: CpuId, stacks: &Stacks) {
        // SAFETY: the caller vouches that this is the one call for this processor, so nobody else has a reference to its
        // segments, and nobody but itself uses its data.
        unsafe {
            (*SEGMENTS.of(cpu)).load(stacks);
            let own = &*ALL.of(cpu);
            own.itself.set(own);
            own.stack.set(stacks.kernel - 8);
            own.cpu.set(cpu);
            own.presence.enter();
            interrupt_table::load();
            processor::set_kernel_gs(ALL.of(cpu) as u64);
        }
    }

    /// This processor's.
    pub fn current() -> &'static PerCpu {
        let own: *const PerCpu;
        // SAFETY: in kernel mode the GS base is that of this processor's data, which begins with its address. All fields
        // are cells or atomic, so a shared reference excludes nobody.
        unsafe {
            asm!("mov {}, gs:[{}]", out(reg) own, const offset_of!(PerCpu, itself),
                options(nostack, preserves_flags, readonly));
            &*own
        }
    }

    /// Which processor this is.
    pub fn cpu(&self) -> CpuId {
        self.cpu.get()
    }

    /// Where the registers of the running thread are saved.
    pub fn context(&self) -> *mut Context {
        self.context.get()
    }

    /// Which processor this is, without a look at anything else.
    #[inline(always)]
    pub fn own_cpu() -> CpuId {
        let number: u32;
        // SAFETY: in kernel mode the GS base is that of this processor's data.
        unsafe {
            asm!("movzx {:e}, byte ptr gs:[{}]", out(reg) number, const offset_of!(PerCpu, cpu),
                options(nostack, preserves_flags, readonly, pure));
        }
        // SAFETY: what lies there is a `CpuId`.
        unsafe { core::hint::assert_unchecked((number as usize) < CpuId::MAX) };
        CpuId::from_index(number as usize).unwrap_or(CpuId::BOOT)
    }

    /// This processor goes on with the registers in a context, but for the general ones: FS base and space.
    ///
    /// # Safety
    /// It is the context of a living thread, which has run.
    #[inline(always)]
    pub unsafe fn switch_to(context: *mut Context) {
        // SAFETY: in kernel mode the GS base is that of this processor's data. The FS base in a context is canonical, and only
        // user mode uses it. The root table in it is of a living space, as the core named it when the thread ran, and has
        // the kernel's half.
        unsafe {
            asm!(
                "mov eax, [{context} + {THREAD_LOCAL}]",
                "mov edx, [{context} + {THREAD_LOCAL} + 4]",
                "mov ecx, {FS_BASE}",
                "wrmsr",
                "mov gs:[{CONTEXT}], {context}",
                "mov rax, [{context} + {ROOT}]",
                "mov gs:[{CPU_ROOT}], rax",
                "mov cr3, rax",
                context = in(reg) context,
                THREAD_LOCAL = const context::offset::THREAD_LOCAL,
                ROOT = const context::offset::ROOT,
                FS_BASE = const processor::FS_BASE,
                CONTEXT = const offset::CONTEXT,
                CPU_ROOT = const offset_of!(PerCpu, root),
                out("rax") _, out("rcx") _, out("rdx") _,
                options(nostack, preserves_flags),
            );
        }
    }

    /// From now on the entry code saves registers there. Tells whether it did not yet.
    pub fn set_context(&self, context: *mut Context) -> bool {
        self.context.replace(context) != context
    }

    /// Makes this the root table in use.
    ///
    /// # Safety
    /// The table's kernel half is the kernel's own.
    #[inline(always)]
    pub unsafe fn use_root(&self, root: Frame) {
        if !self.uses_root(root) {
            // SAFETY: the caller vouches for the table.
            unsafe { processor::load_root_table(root) };
            self.root.set(root.address());
        }
    }

    /// Whether this is the root table in use.
    pub fn uses_root(&self, root: Frame) -> bool {
        self.root.get() == root.address()
    }

    /// Forgets every translation of user space.
    pub fn forget_translations(&self) {
        x86_64::instructions::tlb::flush_all();
    }

    /// The processor has entered the kernel and will look at its state.
    pub fn enter(&self) {
        self.presence.enter();
    }

    /// The processor leaves the kernel or halts. While it holds the big lock.
    pub fn leave(&self) {
        self.presence.leave();
    }

    /// Whether another processor would miss a change of the kernel's state without an interrupt. While the big lock is
    /// held.
    pub fn needs_interrupt(cpu: CpuId) -> bool {
        // SAFETY: of another processor's data only the presence is used, which is atomic.
        let presence = unsafe { &(*ALL.of(cpu)).presence };
        presence.needs_interrupt()
    }

    /// Waits until an interrupt has come and tells its vector; halts only when it `may`.
    pub fn wait_for_interrupt(&self, may_halt: impl Fn() -> bool) -> u8 {
        self.woken_by.set(0);
        self.waiting.set(true);
        while self.woken_by.get() == 0 {
            if may_halt() { processor::wait_for_interrupt() } else { processor::let_interrupts_come() }
        }
        self.waiting.set(false);
        self.woken_by.get()
    }

    /// Takes an interrupt that is there, and tells its vector.
    pub fn take_interrupt(&self) -> Option<u8> {
        self.woken_by.set(0);
        self.waiting.set(true);
        processor::let_interrupts_come();
        self.waiting.set(false);
        Some(self.woken_by.get()).filter(|vector| *vector != 0)
    }

    /// Notes the interrupt that ends the processor's idleness. False if the processor was not idle.
    pub fn wake_by(&self, vector: u8) -> bool {
        if self.waiting.get() {
            self.woken_by.set(vector);
        }
        self.waiting.get()
    }
}
