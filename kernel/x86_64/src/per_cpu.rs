//! What belongs to one processor and is reached through its GS base.

use crate::context::Context;
use crate::segment::{Segments, Stacks};
use crate::{interrupt_table, processor};
use core::cell::{Cell, UnsafeCell};
use core::mem::offset_of;

/// What the entry code finds at the GS base. Only the processor itself uses it, with interrupts off.
#[repr(C)]
pub struct PerCpu {
    /// Top of the stack on which every entry from user mode begins.
    stack: Cell<u64>,
    /// Where `syscall` puts the user's stack pointer for a moment.
    user_stack: Cell<u64>,
    /// Where the registers of the running thread are saved.
    context: Cell<*mut Context>,
    /// The vector of the interrupt that ended the processor's idleness, 0 if none has yet.
    woken_by: Cell<u8>,
    /// Whether the processor waits for an interrupt: only then may one come in kernel mode.
    waiting: Cell<bool>,
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

/// The boot processor's. Others get theirs when they start to run threads.
static BOOT: BootCell<PerCpu> = BootCell(UnsafeCell::new(PerCpu {
    stack: Cell::new(0),
    user_stack: Cell::new(0),
    context: Cell::new(core::ptr::null_mut()),
    woken_by: Cell::new(0),
    waiting: Cell::new(false),
}));

static BOOT_SEGMENTS: BootCell<Segments> = BootCell(UnsafeCell::new(Segments::new()));

/// Something of the boot processor's.
struct BootCell<T>(UnsafeCell<T>);

// SAFETY: only the boot processor touches these, with interrupts off; the entry code does so while no Rust code of the
// same processor runs.
unsafe impl<T> Sync for BootCell<T> {}

impl PerCpu {
    /// Makes this processor, the boot processor, use the kernel's segments, interrupt table and per-processor data.
    ///
    /// # Safety
    /// Called once, on the boot processor, with interrupts off and stacks that nobody else uses.
    pub unsafe fn initialise_boot(stacks: &Stacks) {
        // SAFETY: the caller vouches that this is the one call, so nobody else has a reference to either.
        unsafe {
            (*BOOT_SEGMENTS.0.get()).load(stacks);
            (*BOOT.0.get()).stack.set(stacks.kernel);
            interrupt_table::load();
            processor::set_kernel_gs(BOOT.0.get() as u64);
        }
    }

    /// This processor's.
    pub fn current() -> &'static PerCpu {
        // SAFETY: all threads run on the boot processor, so this is it. All fields are cells, so a shared reference
        // excludes nobody.
        unsafe { &*BOOT.0.get() }
    }

    /// From now on the entry code saves registers there.
    pub fn set_context(&self, context: *mut Context) {
        self.context.set(context);
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
