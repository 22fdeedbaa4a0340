//! System calls after decoding: every argument checked, every handle resolved.

use crate::capability::Capability;
use crate::effect::LeaseCopy;
use crate::frame::Frame;
use crate::identity::{
    AccountId, BudgetId, CapId, CpuId, DomainId, EndpointId, InterruptId, MappingId, NotificationId, SpaceId, ThreadId,
};
use crate::ipc::{Outgoing, Reception};
use crate::memory::MapOrder;
use abi::Error;
use abi::device::{SourceId, SourceRange};
use abi::message::{MAX_CAPS, MessageInfo};
use abi::syscall::{AccountLimits, InterruptSource};

/// A system call as the registers bring it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The processor on which it is made.
    pub cpu: CpuId,
    /// `rax`.
    pub number: u64,
    /// `rdi, rsi, rdx, r8, r9, r10`.
    pub arguments: [u64; 6],
    /// Nanoseconds since boot.
    pub now: u64,
}

/// Why a system call was refused. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub error: Error,
    /// What the second result register tells, for errors that have more to say.
    pub detail: u64,
}

impl Refusal {
    /// What the thread that made the system call finds.
    pub fn result(self) -> [u64; 4] {
        [self.error.to_register(), self.detail, 0, 0]
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal { error, detail: 0 }
    }
}

/// An answer to a pending call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub(crate) caller: ThreadId,
    pub(crate) info: MessageInfo,
    pub(crate) handles: [u64; MAX_CAPS],
}

/// The parameters of a new domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DomainOrder {
    pub(crate) account: AccountId,
    pub(crate) space: SpaceId,
    pub(crate) level: u8,
    pub(crate) table_base: u32,
    pub(crate) table_length: u16,
    pub(crate) fault_handler: Option<EndpointId>,
    pub(crate) fault_badge: u64,
}

/// A system call that cannot fail any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the arguments that `abi::syscall::Syscall` documents")]
pub enum Command {
    Call {
        endpoint: EndpointId,
        badge: u64,
        outgoing: Outgoing,
        deadline: u64,
    },
    Receive(Reception),
    Reply(Answer),
    ReplyReceive {
        answer: Option<Answer>,
        reception: Reception,
    },
    ReplyFault {
        caller: ThreadId,
        code: u64,
    },
    Forward {
        caller: ThreadId,
        endpoint: EndpointId,
        badge: u64,
    },
    Notify {
        notification: NotificationId,
        bits: u64,
    },
    Wait {
        notification: Option<NotificationId>,
        deadline: u64,
    },
    Copy(LeaseCopy),
    /// Answers with registers and changes nothing.
    Report([u64; 4]),
    InsertCap {
        domain: DomainId,
        capability: Capability,
        parent: Option<CapId>,
    },
    MoveCap {
        id: CapId,
        domain: DomainId,
    },
    DeleteCap(CapId),
    RevokeCap(CapId),
    Destroy(Capability),
    CreateAccount {
        parent: AccountId,
        limits: AccountLimits,
    },
    ReportAccount {
        account: AccountId,
        address: u64,
    },
    CreateEndpoint {
        account: AccountId,
        interface: u64,
        level: u8,
        ceiling: u8,
    },
    BindEndpoint {
        endpoint: EndpointId,
        doorbell: Option<(NotificationId, u64)>,
    },
    WatchEndpoint {
        endpoint: EndpointId,
        watch: Option<(NotificationId, u64)>,
    },
    CreateNotification {
        account: AccountId,
    },
    CreateBudget {
        account: AccountId,
        priority: u8,
        slice: u64,
        period: u64,
        cpu: CpuId,
    },
    MoveBudget {
        budget: BudgetId,
        cpu: CpuId,
    },
    CreateSpace {
        account: AccountId,
        root: Frame,
    },
    CreateDeviceSpace {
        account: AccountId,
        root: Frame,
        sources: SourceRange,
    },
    CreateGuestSpace {
        account: AccountId,
        root: Frame,
    },
    CreateVcpu {
        thread: ThreadId,
        space: SpaceId,
    },
    RunVcpu,
    CreateDomain(DomainOrder),
    CreateThread {
        account: AccountId,
        domain: DomainId,
        budget: BudgetId,
    },
    CreateInterrupt {
        account: AccountId,
        source: InterruptSource,
    },
    Map(MapOrder),
    Unmap(MappingId),
    Donate {
        space: SpaceId,
        first: Frame,
        count: u8,
    },
    GiveBuffer {
        thread: ThreadId,
        memory: CapId,
        frame: Frame,
        address: u64,
    },
    BindNotification {
        thread: ThreadId,
        notification: Option<NotificationId>,
    },
    StartThread {
        thread: ThreadId,
        instruction: u64,
        stack: u64,
        argument: u64,
    },
    StopThread(ThreadId),
    ReadThread {
        thread: ThreadId,
        address: u64,
    },
    SetThreadLocal(u64),
    Exit {
        code: u64,
    },
    Panic {
        code: u64,
    },
    Yield,
    BindInterrupt {
        interrupt: InterruptId,
        notification: NotificationId,
        bits: u64,
    },
    Route {
        interrupt: InterruptId,
        source: SourceId,
    },
    WatchDevices(Option<(NotificationId, u64)>),
    TakeStray,
    AckInterrupt(InterruptId),
    MaskInterrupt(InterruptId),
    PortIn {
        port: u16,
        width: u8,
    },
    PortOut {
        port: u16,
        width: u8,
        value: u32,
    },
    ReadLog {
        address: u64,
        length: u64,
        position: u64,
    },
    ReadStatistics {
        address: u64,
    },
    ReadTimes {
        address: u64,
    },
}
