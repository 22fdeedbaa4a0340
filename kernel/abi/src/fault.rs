//! Faults as messages: what a domain's fault handler receives when one of its threads cannot go on.
//!
//! The message's label is a [`FaultKind`], its badge the one under which the handler was given to the domain, and its
//! words are those of [`FaultWord`]. A reply makes the thread go on where it stopped (after a cause was repaired);
//! destroying the thread or its domain ends it.

/// Id of the interface that an endpoint must have to be a fault handler.
pub const FAULT_INTERFACE: u64 = 0xfa17_0000_0000_0001;

/// Why a thread stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum FaultKind {
    /// A read of memory that is not mapped or not readable.
    Read = 1,
    /// A write to memory that is not mapped or not writable.
    Write = 2,
    /// An instruction fetch from memory that is not mapped or not executable.
    Execute = 3,
    /// An instruction that the processor does not know or that needs privilege.
    IllegalInstruction = 4,
    /// A division by zero or an overflow of one.
    Divide = 5,
    /// A general protection fault or another exception; the code word holds vector and error code.
    Exception = 6,
    /// A breakpoint or debug exception.
    Breakpoint = 7,
    /// Use of the floating-point or vector unit without permission.
    FloatingPoint = 8,
    /// The thread ended itself; the code word holds its exit code.
    Exit = 9,
    /// The thread reported a panic; the code word is its own.
    Panic = 10,
    /// A server blamed the thread for breaking its protocol; the code word is the server's.
    Protocol = 11,
}

impl FaultKind {
    /// The kind with this label.
    pub const fn from_label(label: u32) -> Option<Self> {
        Some(match label {
            1 => FaultKind::Read,
            2 => FaultKind::Write,
            3 => FaultKind::Execute,
            4 => FaultKind::IllegalInstruction,
            5 => FaultKind::Divide,
            6 => FaultKind::Exception,
            7 => FaultKind::Breakpoint,
            8 => FaultKind::FloatingPoint,
            9 => FaultKind::Exit,
            10 => FaultKind::Panic,
            11 => FaultKind::Protocol,
            _ => return None,
        })
    }
}

/// Where each fact stands in the fault message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum FaultWord {
    /// The address that was touched, if any.
    Address = 0,
    /// Instruction pointer.
    InstructionPointer = 1,
    /// Stack pointer.
    StackPointer = 2,
    /// Exit code, panic code, or exception vector << 32 | error code.
    Code = 3,
    /// Frame pointer, where a backtrace begins.
    FramePointer = 4,
    /// The thread's index in the kernel's table.
    Thread = 5,
}

/// Words in a fault message.
pub const FAULT_WORDS: u8 = 6;
