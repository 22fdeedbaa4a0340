//! What belongs to one processor and is reached through its GS base.

use crate::context::Context;
use crate::segment::{Segments, Stacks};
use crate::{interrupt_table, processor};
use core::arch::asm;
use core::cell::{Cell, UnsafeCell};
use core::mem::offset_of;
use kernel_core::CpuId;
use kernel_sync::Presence;

/// What the entry code finds at the GS base. Only the processor itself uses it, with interrupts off; others ask its
/// [`Presence`] at most.
#[repr(C)]
pub struct PerCpu {
    /// Where this is.
    itself: Cell<*const PerCpu>,
    /// Top of the stack on which every entry from user mode begins.
    stack: Cell<u64>,
    /// Where `syscall` puts the user's stack pointer for a moment.
    user_stack: Cell<u64>,
    /// Where the registers of the running thread are saved.
    context: Cell<*mut Context>,
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
            own.stack.set(stacks.kernel);
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

    /// From now on the entry code saves registers there.
    pub fn set_context(&self, context: *mut Context) {
        self.context.set(context);
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

    /// Halts until an interrupt has come and tells its vector.
    pub fn wait_for_interrupt(&self) -> u8 {
        self.woken_by.set(0);
        self.waiting.set(true);
        while self.woken_by.get() == 0 {
            processor::wait_for_interrupt();
        }
        self.waiting.set(false);
        self.woken_by.get()
    }

    /// Notes the interrupt that ends the processor's idleness. False if the processor was not idle.
    pub fn wake_by(&self, vector: u8) -> bool {
        if self.waiting.get() {
            self.woken_by.set(vector);
        }
        self.waiting.get()
    }
}
