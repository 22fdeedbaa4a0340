//! What the hardware shell is to do: the only words in which the core speaks to the machine.

use crate::frame::Frame;
use crate::identity::{InterruptId, SpaceId, ThreadId};
use crate::ipc::CopyFault;
use abi::device::{SourceId, SourceRange};
use abi::fault::FaultKind;
use abi::message::MAX_CAPS;
use abi::syscall::{InterruptSource, MapAccess, Statistics};

/// Page tables that one entry gives back at most: each is zeroed.
pub(crate) const TABLES_RETURNED: usize = 16;

/// One thing for the shell to carry out before it asks [`crate::Kernel::schedule`] who runs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing beyond the tables changed.
    None,
    /// Deliver messages, in this order.
    Deliver([Option<Transfer>; 2]),
    /// Copy a piece of a lease, then call [`crate::Kernel::copied`].
    Copy(LeaseCopy),
    /// Fill page-table entries.
    Map(MapPiece),
    /// Clear page-table entries and forget them: those of a user space in this processor's TLB (other processors are the
    /// core's business), those of a device space in the IOMMU, and wait until no access that began before is under way.
    Unmap(UnmapPiece),
    /// Zero this frame, which is the root table of a new space, and give it the kernel's half.
    MakeRoot(Frame),
    /// Zero this frame, which is the root table of a new guest space.
    MakeGuestRoot(Frame),
    /// Prepare these frames for a virtual processor.
    MakeVcpu {
        /// The control block's.
        control: Frame,
        /// For the rest of the state.
        extended: Frame,
    },
    /// Zero these frames, which were page tables and go back to user space. No other processor uses one of them as a root
    /// table; if this one does, switch to the kernel's own first.
    ReturnTables([Option<Frame>; TABLES_RETURNED]),
    /// Zero this frame, and let these functions see the space of which it is the root table. Until now they saw nothing.
    AttachDevices {
        /// The functions.
        sources: SourceRange,
        /// The space.
        space: SpaceId,
        /// Its root table.
        root: Frame,
    },
    /// Let these functions see nothing any more, and wait until no access that began before is under way.
    DetachDevices {
        /// The functions.
        sources: SourceRange,
        /// The space that they saw.
        space: SpaceId,
    },
    /// Start a thread: all registers zero but these.
    StartThread {
        /// The thread.
        thread: ThreadId,
        /// Its instruction pointer.
        instruction: u64,
        /// Its stack pointer.
        stack: u64,
        /// Its `rdi`.
        argument: u64,
    },
    /// Write the saved registers of `thread`, its processor time `runtime` included, as [`abi::syscall::Registers`] to
    /// user memory that was checked to be writable.
    WriteRegisters {
        /// Whose registers.
        thread: ThreadId,
        /// Nanoseconds it has run.
        runtime: u64,
        /// Root table of the space to write to.
        root: Frame,
        /// Where.
        address: u64,
    },
    /// Write 8-byte words to user memory that was checked to be writable.
    WriteWords {
        /// Root table of the space to write to.
        root: Frame,
        /// Where.
        address: u64,
        /// How many of `words`.
        count: u8,
        /// The words.
        words: [u64; 16],
    },
    /// Write the statistics to user memory that was checked to be writable; the shell fills in what it alone knows
    /// (idle time, processors).
    WriteStatistics {
        /// Root table of the space to write to.
        root: Frame,
        /// Where.
        address: u64,
        /// What the core knows.
        statistics: Statistics,
    },
    /// Write how long the kernel was entered for at most, by [`abi::syscall::EntryKind`], to user memory that was checked to
    /// be writable, and begin anew.
    WriteTimes {
        /// Root table of the space to write to.
        root: Frame,
        /// Where.
        address: u64,
    },
    /// Copy the kernel's log from `position` to user memory that was checked to be writable, then call
    /// [`crate::Kernel::log_read`] with the bytes copied and the next position.
    ReadLog {
        /// Root table of the space to write to.
        root: Frame,
        /// Where.
        address: u64,
        /// At most this many bytes.
        length: u64,
        /// From this position of the stream.
        position: u64,
    },
    /// Set the FS base of the running thread.
    SetThreadLocal(u64),
    /// Read a port and call [`crate::Kernel::port_read`] with the value.
    PortIn {
        /// The port.
        port: u16,
        /// 1, 2 or 4 bytes.
        width: u8,
    },
    /// Write a port.
    PortOut {
        /// The port.
        port: u16,
        /// 1, 2 or 4 bytes.
        width: u8,
        /// What to write.
        value: u32,
    },
    /// Connect an interrupt source to its vector ([`InterruptId::vector`]), masked.
    ConnectInterrupt {
        /// The interrupt.
        interrupt: InterruptId,
        /// Where it comes from.
        source: InterruptSource,
    },
    /// Disconnect an interrupt source for good.
    DisconnectInterrupt {
        /// The interrupt.
        interrupt: InterruptId,
        /// Where it came from.
        source: InterruptSource,
    },
    /// Let this function, and no other, raise a message-signalled interrupt.
    RouteInterrupt {
        /// The interrupt.
        interrupt: InterruptId,
        /// The function.
        source: SourceId,
    },
    /// Hear again of what devices are refused, by [`crate::Kernel::stray`]: first of what has come meanwhile.
    HearStrays,
    /// Let an interrupt come.
    UnmaskInterrupt {
        /// The interrupt.
        interrupt: InterruptId,
        /// Where it comes from.
        source: InterruptSource,
    },
    /// Keep an interrupt from coming. Message-signalled interrupts cannot be masked here; the core drops them.
    MaskInterrupt {
        /// The interrupt.
        interrupt: InterruptId,
        /// Where it comes from.
        source: InterruptSource,
    },
}

/// Where the words of a message come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferSource {
    /// The message registers of this thread's saved context and, from the seventh word on, its message buffer.
    Thread(ThreadId, Option<Frame>),
    /// A fault of this thread: the words of [`abi::fault::FaultWord`], made from its saved context and this report.
    Fault(ThreadId, FaultReport),
}

/// Moves the words of one message. Badge, info and token are in the receiver's [`Resume`] already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Where the words come from.
    pub source: TransferSource,
    /// Whose saved context gets the words.
    pub target: ThreadId,
    /// The target's message buffer, if it has one.
    pub target_buffer: Option<Frame>,
    /// How many words; more than [`abi::message::REGISTER_WORDS`] only if both sides have a buffer. Registers beyond
    /// the count become zero in the target, so that nothing of the sender leaks.
    pub words: u8,
    /// How many of `handles` to write to the target's buffer at [`abi::message::offset::CAPS_IN`].
    pub caps: u8,
    /// Handles in the target's table.
    pub handles: [u64; MAX_CAPS],
}

/// Why a thread stopped, as far as the core knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FaultReport {
    /// The kind.
    pub kind: FaultKind,
    /// The address that was touched, or 0.
    pub address: u64,
    /// Exit or panic code, or vector and error code.
    pub code: u64,
}

/// Copies bytes between two spaces, at most [`abi::message::MAX_LEASE_COPY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseCopy {
    /// Root table of the space to read from.
    pub source_root: Frame,
    /// Where to read.
    pub source: u64,
    /// Root table of the space to write to.
    pub target_root: Frame,
    /// Where to write.
    pub target: u64,
    /// Bytes.
    pub length: u64,
    /// Which side is the lender's.
    pub lender: CopyFault,
}

/// The page tables of a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Their root table.
    pub root: Frame,
    /// The device space whose they are; none for a user space.
    pub device: Option<SpaceId>,
}

/// Maps a run of frames within one 2 MiB window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapPiece {
    /// Where.
    pub tree: Tree,
    /// First address.
    pub address: u64,
    /// First frame.
    pub frame: Frame,
    /// Pages, 1 to 512.
    pub pages: u16,
    /// How.
    pub access: MapAccess,
    /// Device registers: uncached.
    pub device: bool,
    /// Frames to zero and to link in as tables where they are missing, outermost first.
    pub tables: [Option<Frame>; 3],
}

/// Unmaps a run of pages within one 2 MiB window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnmapPiece {
    /// Where.
    pub tree: Tree,
    /// First address.
    pub address: u64,
    /// Pages, 1 to 512.
    pub pages: u16,
}

/// What a thread finds in its registers when it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resume {
    /// Everything as it was: it was preempted, has just started, or its fault was repaired.
    Continue,
    /// The result of a system call: `rax`, `rdi`, `rsi`, `rdx`; `r8`, `r9`, `r10` become zero. The message
    /// registers stay the thread's own unless a [`Transfer`] has filled them.
    Result([u64; 4]),
    /// The same, with this in `rax`, and zeros.
    Value(u64),
    /// The same system call again: the saved instruction pointer goes back by the two bytes of `syscall`, all other
    /// registers are as they were.
    Again,
    /// It enters its guest ([`crate::Kernel::guest`]) with the state in its message buffer.
    EnterGuest,
    /// It leaves its guest, whose state is put into its message buffer, with a result ([`crate::Kernel::result_of_guest`]).
    LeaveGuest,
}

impl Resume {
    /// The result that a thread finds, if that is all.
    pub const fn result(self) -> Option<[u64; 4]> {
        match self {
            Resume::Result(result) => Some(result),
            Resume::Value(value) => Some([value, 0, 0, 0]),
            Resume::Continue | Resume::Again | Resume::EnterGuest | Resume::LeaveGuest => None,
        }
    }

    /// Whether more than a result is to be prepared.
    pub(crate) const fn is_more_than_a_result(self) -> bool {
        matches!(self, Resume::Again | Resume::EnterGuest | Resume::LeaveGuest)
    }
}

/// The thread that has entered the kernel goes on, with nothing else to be prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    /// What to change in its saved registers; no more than a result.
    pub resume: Resume,
    /// Arm the timer for this time (nanoseconds since boot).
    pub timer: u64,
}

/// What the processor does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Run this thread.
    Run {
        /// The thread.
        thread: ThreadId,
        /// Root table of its space.
        root: Frame,
        /// What to change in its saved registers first.
        resume: Resume,
        /// Arm the timer for this time (nanoseconds since boot).
        timer: u64,
        /// Forget every translation of user space first, even if the root table stays the same.
        forgets: bool,
    },
    /// Halt until an interrupt, with the kernel's own root table.
    Idle {
        /// Arm the timer for this time, unless it is [`abi::time::NEVER`].
        timer: u64,
    },
}
