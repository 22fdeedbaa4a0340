//! The kernel's hardware shell for x86-64.
//!
//! The crate `kernel-core` decides; this one enters it and carries out what it says. On every entry, always with
//! interrupts off, the shell has the running thread's registers saved, asks the core, carries the [`kernel_core::Effect`]
//! out, asks who runs next and leaves through `sysret` or `iretq`. It keeps the registers of threads that do not run,
//! the page tables' bits, the interrupt controllers, the clock and the log; it keeps no queue and no right.
//!
//! All code of the kernel that the compiler cannot check is here and in the image's entry point. Four ideas carry it:
//!
//! * user memory and page tables are reached through the direct map only ([`ram`]), after a walk that checks every
//!   level's access bits ([`page_table`]); a user address is never dereferenced;
//! * one [`state`] behind one lock; the saved registers of a thread belong to whoever holds that lock, or, while the
//!   thread runs, to the entry code of its processor ([`context`]);
//! * one kernel stack a processor, reset on each entry ([`entry`]), because no entry ever blocks;
//! * what does not return, such as a fault of the kernel itself, touches nothing but the serial port ([`emergency`]).
#![no_std]

#[cfg(test)]
extern crate std;

pub mod boot;
pub mod clock;
pub mod context;
pub mod dispatch;
pub mod effect;
pub mod emergency;
pub mod entry;
pub mod entry_time;
pub mod extent;
pub mod interrupt_line;
pub mod interrupt_table;
pub mod iommu;
pub mod local_apic;
pub mod log_ring;
pub mod page_table;
pub mod per_cpu;
pub mod processor;
pub mod ram;
pub mod registers;
pub mod root;
pub mod secondary_stack;
pub mod segment;
pub mod serial;
pub mod startup;
pub mod state;
pub mod svm;
pub mod user_memory;
pub mod world;
