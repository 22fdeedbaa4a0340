//! Virtual processors: what a monitor and the kernel tell each other of a guest's.
//!
//! A thread that [`crate::Syscall::VcpuCreate`] has given a virtual processor enters its guest by [`crate::Syscall::VcpuRun`]. The
//! state of the guest's processor lies in the thread's message buffer, at [`offset::STATE`]: the kernel takes it from there when
//! the guest is entered, and puts it there when it is left. What becomes of an exit is the monitor's business, all of it.
//!
//! Formats are those of AMD's secure virtual machine: segments, events and exit codes as in the control block (AMD64 manual
//! volume 2, appendices B and C).

use static_assertions::const_assert;

/// A segment register, as it lies in the control block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Bits 0–7: bits 40–47 of a descriptor; bits 8–11: bits 52–55 of it.
    pub attributes: u16,
    /// Limit, in bytes.
    pub limit: u32,
    /// Base.
    pub base: u64,
}

/// The state of a guest's processor. Registers that are not here keep their value from run to run: the extended state
/// (floating point and vectors).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "each is the register of that name")]
pub struct VcpuState {
    /// rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8 … r15.
    pub general: [u64; 16],
    pub rip: u64,
    pub rflags: u64,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
    pub dr6: u64,
    pub dr7: u64,
    pub es: Segment,
    pub cs: Segment,
    pub ss: Segment,
    pub ds: Segment,
    pub fs: Segment,
    pub gs: Segment,
    pub gdtr: Segment,
    pub ldtr: Segment,
    pub idtr: Segment,
    pub tr: Segment,
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub sfmask: u64,
    pub kernel_gs_base: u64,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    /// Which components of the extended state the guest has switched on. A value that the processor would refuse is ignored.
    pub xcr0: u64,
    /// What the guest's time-stamp counter is ahead of the machine's.
    pub tsc_offset: u64,
    /// An event to deliver on entry. After an exit one that was being delivered when it came: whoever leaves the word as it
    /// is lets the guest have it.
    pub event: u64,
    /// Bits 0–3: the task priority that the guest has set by cr8; the rest is of [`interrupt`].
    pub interrupts: u64,
    /// Why the guest was left last.
    pub exit: Exit,
}

/// Bits of [`VcpuState::interrupts`].
pub mod interrupt {
    /// To the kernel: leave the guest as soon as it can take an interrupt.
    pub const WINDOW: u64 = 1 << 8;
    /// The guest is in the shadow of an instruction behind which no interrupt comes yet.
    pub const SHADOW: u64 = 1 << 9;
}

/// Why a guest was left. [`Syscall::VcpuRun`](crate::Syscall::VcpuRun) returns the first three as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Exit {
    /// The exit code, of [`code`].
    pub code: u64,
    /// What it means depends on the code.
    pub info1: u64,
    /// The same.
    pub info2: u64,
    /// The address of the next instruction, where the processor tells it; else 0.
    pub next_rip: u64,
}

/// Exit codes that a monitor meets (AMD64 manual volume 2, appendix C).
#[expect(missing_docs, reason = "each is what its name says was intercepted")]
pub mod code {
    /// The first of 32: debug register with this number was read.
    pub const READ_DR: u64 = 0x20;
    /// The first of 32: debug register with this number was written.
    pub const WRITE_DR: u64 = 0x30;
    /// The first of 32: the exception with this vector was raised.
    pub const EXCEPTION: u64 = 0x40;
    /// The guest can take an interrupt: [`super::interrupt::WINDOW`].
    pub const WINDOW: u64 = 0x64;
    pub const RDPMC: u64 = 0x6f;
    pub const CPUID: u64 = 0x72;
    pub const RSM: u64 = 0x73;
    pub const INVD: u64 = 0x76;
    pub const HLT: u64 = 0x78;
    pub const INVLPGA: u64 = 0x7a;
    /// A port; information 1 is as the manual describes it (15.10.2), information 2 the next instruction's address.
    pub const IOIO: u64 = 0x7b;
    /// A model-specific register; information 1 is 1 if it was written.
    pub const MSR: u64 = 0x7c;
    pub const SHUTDOWN: u64 = 0x7f;
    pub const VMRUN: u64 = 0x80;
    pub const VMMCALL: u64 = 0x81;
    pub const WBINVD: u64 = 0x89;
    pub const MONITOR: u64 = 0x8a;
    pub const MWAIT: u64 = 0x8b;
    pub const XSETBV: u64 = 0x8d;
    /// Nothing is mapped there, or not for this access; information 1 is a page fault's error code, information 2 the
    /// guest-physical address.
    pub const NESTED_FAULT: u64 = 0x400;
    /// The processor cannot run such a state.
    pub const INVALID: u64 = u64::MAX;
}

/// Byte offsets in a message buffer and in a [`VcpuState`].
pub mod offset {
    use super::VcpuState;
    use core::mem::offset_of;
    /// Of the [`VcpuState`] in the thread's message buffer.
    pub const STATE: usize = 2048;
    /// Of `rip`; what comes before is the general registers.
    pub const RIP: usize = offset_of!(VcpuState, rip);
    /// Of `es`, the first segment register of ten.
    pub const SEGMENTS: usize = offset_of!(VcpuState, es);
    /// Of `star`, the first of eight registers that lie in the control block in the same order.
    pub const STAR: usize = offset_of!(VcpuState, star);
    /// Of `xcr0`.
    pub const XCR0: usize = offset_of!(VcpuState, xcr0);
    /// Of `tsc_offset`.
    pub const TSC_OFFSET: usize = offset_of!(VcpuState, tsc_offset);
    /// Of `event`.
    pub const EVENT: usize = offset_of!(VcpuState, event);
    /// Of `interrupts`.
    pub const INTERRUPTS: usize = offset_of!(VcpuState, interrupts);
    /// Of `exit`.
    pub const EXIT: usize = offset_of!(VcpuState, exit);
}

const_assert!(offset::STATE >= crate::message::offset::LEASES + 16 * crate::message::MAX_LEASES);
const_assert!(offset::STATE + core::mem::size_of::<VcpuState>() <= crate::PAGE_SIZE as usize);
