//! Segment descriptors and the task-state segment: what is left of segmentation in 64-bit mode.

use core::arch::asm;
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::structures::gdt::{Descriptor, DescriptorFlags, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;

/// Selector of the kernel's code.
pub const KERNEL_CODE: u16 = 0x08;
/// Selector of the kernel's stack.
pub const KERNEL_DATA: u16 = 0x10;
/// Selector of user data. `sysret` wants it one before user code.
pub const USER_DATA: u16 = 0x18 | 3;
/// Selector of user code.
pub const USER_CODE: u16 = 0x20 | 3;
/// Selector of the task-state segment.
const TASK_STATE: u16 = 0x28;
/// From this selector `sysret` counts those of user mode.
pub const SYSRET_BASE: u16 = 0x10 | 3;

/// Stacks of their own, so that an exception which may come at any instruction finds a usable one. The numbers are those
/// of a gate descriptor's field, which counts from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum InterruptStack {
    /// For double faults.
    DoubleFault = 1,
    /// For machine checks.
    MachineCheck = 2,
    /// For non-maskable interrupts.
    NonMaskable = 3,
    /// For debug exceptions.
    Debug = 4,
}

/// Tops of the stacks that a processor uses.
#[derive(Clone, Copy, Debug)]
pub struct Stacks {
    /// For everything that comes from user mode, and for interrupts while the processor is idle.
    pub kernel: u64,
    /// For double faults.
    pub double_fault: u64,
    /// For machine checks.
    pub machine_check: u64,
    /// For non-maskable interrupts.
    pub non_maskable: u64,
    /// For debug exceptions.
    pub debug: u64,
}

/// The tables of one processor.
pub struct Segments {
    descriptors: GlobalDescriptorTable,
    task_state: TaskStateSegment,
}

impl Segments {
    /// Tables that are not filled yet.
    pub const fn new() -> Self {
        Segments { descriptors: GlobalDescriptorTable::empty(), task_state: TaskStateSegment::new() }
    }

    /// Fills the tables and makes this processor use them.
    ///
    /// # Safety
    /// Called once for each processor, on it, with stacks that nobody else uses.
    pub unsafe fn load(&'static mut self, stacks: &Stacks) {
        self.task_state.privilege_stack_table[0] = VirtAddr::new(stacks.kernel);
        for (stack, top) in [
            (InterruptStack::DoubleFault, stacks.double_fault),
            (InterruptStack::MachineCheck, stacks.machine_check),
            (InterruptStack::NonMaskable, stacks.non_maskable),
            (InterruptStack::Debug, stacks.debug),
        ] {
            self.task_state.interrupt_stack_table[stack as usize - 1] = VirtAddr::new(top);
        }
        for flags in [
            DescriptorFlags::KERNEL_CODE64,
            DescriptorFlags::KERNEL_DATA,
            DescriptorFlags::USER_DATA,
            DescriptorFlags::USER_CODE64,
        ] {
            self.descriptors.append(Descriptor::UserSegment(flags.bits()));
        }
        self.descriptors.append(Descriptor::tss_segment(&self.task_state));
        self.descriptors.load();
        // SAFETY: the selectors are those of the descriptors just appended, in this order.
        unsafe {
            CS::set_reg(SegmentSelector(KERNEL_CODE));
            SS::set_reg(SegmentSelector(KERNEL_DATA));
            load_tss(SegmentSelector(TASK_STATE));
        }
        // After reset there is a local descriptor table, 64 KiB long from linear address 0 (AMD64 manual volume 2, 14.1.3):
        // in user space, where a program could put descriptors of its own into it, call gates to the kernel among them.
        // SAFETY: the null selector means that there is no such table; nobody uses one.
        unsafe { asm!("lldt {0:x}", in(reg) 0u16, options(nostack, preserves_flags)) };
    }
}

impl Default for Segments {
    fn default() -> Self {
        Self::new()
    }
}
