//! System calls: their numbers and what each register means.
//!
//! The number is in `rax`, arguments in `rdi, rsi, rdx, r8, r9, r10`, message words in `r12, r13, r14, r15, rbx, rbp`.
//! The result is in `rax` (an [`crate::Error`] as a negative number, else a value), further results in `rdi, rsi, rdx`.
//! `rcx` and `r11` are lost to the `syscall` instruction; `r8`, `r9`, `r10` come back as zero.

macro_rules! syscalls {
    ($($(#[doc = $doc:expr])* $name:ident = $number:literal;)*) => {
        /// A system call's number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Syscall { $($(#[doc = $doc])* $name = $number,)* }

        impl Syscall {
            /// Every system call.
            pub const ALL: &'static [Syscall] = &[$(Syscall::$name),*];

            /// The highest number of all.
            pub const LAST: u64 = {
                let (mut last, mut index) = (0, 0);
                while index < Self::ALL.len() {
                    if Self::ALL[index] as u64 > last {
                        last = Self::ALL[index] as u64;
                    }
                    index += 1;
                }
                last
            };

            /// The call with this number.
            #[inline(always)]
            pub const fn from_number(number: u64) -> Option<Syscall> {
                match number { $($number => Some(Syscall::$name),)* _ => None }
            }
        }
    };
}

syscalls! {
    // ---- IPC ----
    /// `(endpoint, info, deadline, interface)` → `(0, _, reply info)`. Sends the message and waits for the reply.
    Call = 0;
    /// `(endpoint, accept, deadline)` → message: `(0, badge, info, caller token)`; notification: `(1, bits)`.
    /// Receives a call, or the bits of the notification bound to the thread, whichever is there first. `accept` is the
    /// number of capabilities (0–4) for which the receiver has room. Endpoint 0: the notification only. Refused with
    /// `WrongDirection` if the endpoint's level is below the receiver's domain's, unless that is the root's level.
    Receive = 1;
    /// `(token, info)` → `(0)`. Answers a call that the caller's domain has taken. Never blocks.
    Reply = 2;
    /// `(endpoint, info, deadline, token, accept)`: `Reply` and then `Receive`. If the caller is gone, the reply is
    /// dropped and the call goes on to receive. Results as for `Receive`.
    ReplyReceive = 3;
    /// `(token, code)` → `(0)`. Answers a call by faulting its caller ([`crate::fault::FaultKind::Protocol`]).
    ReplyFault = 4;
    /// `(notification, bits)` → `(0)`. Sets bits; a badged capability sets only bits of its badge.
    Notify = 5;
    /// `(notification, deadline)` → `(bits)`, which are cleared. With no bits set, waits; handle 0 just sleeps
    /// until the deadline and returns `TimedOut`.
    Wait = 6;
    /// `(token, lease, offset, address, length)` → `(bytes)`. Copies from the caller's lease to one's own memory; at
    /// most [`crate::message::MAX_LEASE_COPY`] bytes an entry, the result says how many.
    LeaseRead = 7;
    /// `(token, lease, offset, address, length)` → `(bytes)`. Copies from one's own memory to the caller's lease.
    LeaseWrite = 8;
    /// `(token, lease)` → `(length | access bits)`, see [`crate::message::Lease`]. `CallerGone` once the call is over,
    /// `BadLease` while it waits and has no such lease.
    LeaseInfo = 9;
    /// `(token, endpoint)` → `(0)`. Passes a pending call on: words and leases go as the caller sent them, under the badge of
    /// the forwarder's capability; capabilities that came with the call stay with the forwarder. The endpoint is of the
    /// interface that was called and below both the forwarder's and the caller's level. A fault cannot be forwarded
    /// (`WrongState`).
    Forward = 10;

    // ---- capabilities ----
    /// `(cap, rights, badge)` → `(handle)`. Copies a capability within the table with a subset of its rights. A badge
    /// other than 0 needs the right to mint and an unbadged original.
    CapCopy = 16;
    /// `(domain, cap, rights, badge)` → `(handle in that domain's table)`. As `CapCopy`, into another domain's table.
    CapGrant = 17;
    /// `(domain, cap)` → `(handle in that domain's table)`. Moves a capability; its place among its relatives stays.
    CapMove = 18;
    /// `(cap)` → `(0)`. Removes it; capabilities and mappings made from it become its parent's. An object dies with its
    /// last capability.
    CapDelete = 19;
    /// `(cap)` → `(0)`. Removes every capability and mapping made from it.
    CapRevoke = 20;
    /// `(cap)` → `(kind, rights, badge)`.
    CapInfo = 21;
    /// `(domain, index)` → `(kind, rights, badge, handle)`; kind 0 for an empty slot.
    CapInspect = 22;

    // ---- objects ----
    /// `(parent account, limits address)` → `(handle)`. The limits ([`AccountLimits`]) are taken out of the parent. Accounts
    /// nest [`ACCOUNT_DEPTH`] deep (`BadArgument`).
    AccountCreate = 32;
    /// `(account, [u32 limit, u32 used] array address, count)` → `(0)`. Reads limits and use by kind.
    AccountInfo = 33;
    /// `(account, interface, level, ceiling priority)` → `(handle)`.
    EndpointCreate = 34;
    /// `(account)` → `(handle)`.
    NotificationCreate = 35;
    /// `(account, priority, slice ns, period ns, processor)` → `(handle)`. Slice and period are 10 µs to an hour. A slice that
    /// is as long as its period is a turn among equals that never runs dry. A shorter one bounds what the budget gives: in
    /// no stretch as long as a period more than a slice of that processor's time; what was used comes back a period after
    /// the run began in which it was used.
    BudgetCreate = 36;
    /// `(account, memory, page)` → `(handle)`. That page of the memory is donated as the root table.
    SpaceCreate = 37;
    /// `(account, space, level, table length, fault endpoint, fault badge)` → `(handle)`. The length is a power of two
    /// from 16 to 1024; the fault endpoint may be 0. The root's level, 255, is not given to others (`BadArgument`).
    DomainCreate = 38;
    /// `(account, domain, budget)` → `(handle)`. The new thread is stopped. A budget is one thread's own (`InUse`).
    ThreadCreate = 39;
    /// `(interrupt control, source)` → `(handle)`. See [`InterruptSource`].
    InterruptCreate = 40;
    /// `(endpoint, notification, bits)` → `(0)`. From now on a call that finds nobody receiving also sets these bits, so
    /// that one thread can serve several endpoints; notification 0 ends it.
    EndpointBind = 42;
    /// `(budget, processor)` → `(0)`. Moves a budget, and with it the thread that runs on it, to another processor.
    BudgetMove = 43;
    /// `(endpoint, notification, bits)` → `(0)`. From now on these bits are set whenever a call that was received at the
    /// endpoint ends without an answer: its deadline has passed, or its thread was stopped or is dead. Which call it was, the
    /// server finds out by asking for each that it works on (`LeaseInfo`). A call that was passed on is watched where it was
    /// received last. Notification 0 ends it.
    EndpointWatch = 44;
    /// `(account, memory, page, device control, sources)` → `(handle)`. A space for devices: what is mapped into it is all that
    /// these functions ([`crate::device::SourceRange`]) can read and write by themselves, at the addresses at which it is
    /// mapped. That page of the memory is donated as its root table. `InUse` if one of them has a space already,
    /// `NoHardware` without an IOMMU, `KernelTableFull` if the IOMMU has no room for what they see.
    DeviceSpaceCreate = 45;
    /// `(account, memory, page)` → `(handle)`. A space for a guest: what is mapped into it is the guest's physical memory, at the
    /// addresses at which it is mapped, which begin at 0. That page of the memory is donated as its root table. No domain runs in
    /// it. `NoHardware` where the processor has no nested paging.
    GuestSpaceCreate = 46;
    /// `(cap)` → `(0)`. Destroys the object whoever else has capabilities for it. Restarted by the kernel until done.
    Destroy = 41;

    // ---- memory ----
    /// `(memory, first page, pages, rights)` → `(handle)`. A capability for a part of an extent.
    MemorySplit = 48;
    /// `(memory)` → `(first frame number, pages, is device)`. The frame number is 0 without the right `DMA`.
    MemoryInfo = 49;
    /// `(space, memory, address, first page, pages, access)` → `(mapping id)`, or `NeedTables` with the number in rdi.
    /// The range lies within one 2 MiB-aligned window. `access` is of [`MapAccess`]. Into a device's space only memory with
    /// the right `DMA` is mapped, not executable, and not where devices raise interrupts
    /// ([`DEVICE_INTERRUPTS`]).
    Map = 50;
    /// `(space, mapping id)` → `(0)`.
    Unmap = 51;
    /// `(space, memory, first page, pages)` → `(0)`. Donates at most [`DONATION_MAX`] pages to the space's pool of page tables.
    SpaceDonate = 52;

    // ---- threads ----
    /// `(thread, memory, page, address)` → `(0)`. Gives a thread its message buffer: that page, which stays pinned.
    /// `address` is where the thread's space maps it, for information only.
    ThreadBuffer = 64;
    /// `(thread, notification)` → `(0)`. Binds the notification whose bits `Receive` also returns; 0 unbinds.
    ThreadBind = 65;
    /// `(thread, instruction pointer, stack pointer, argument)` → `(0)`. Starts a stopped thread; the argument is its
    /// `rdi`.
    ThreadStart = 66;
    /// `(thread)` → `(0)`. Takes it out of whatever it does. A pending call of it ends.
    ThreadStop = 67;
    /// `(thread, address)` → `(0)`. Writes its [`crate::syscall::Registers`] to the address. `WrongState` if it runs at this
    /// moment.
    ThreadRead = 68;
    /// `(address)` → `(0)`. Sets the calling thread's FS base.
    ThreadLocal = 69;
    /// `(code)`, never returns. Ends the calling thread with a fault message of kind `Exit`.
    ThreadExit = 70;
    /// `(code)`, never returns. Ends the calling thread with a fault message of kind `Panic`.
    ThreadPanic = 71;
    /// `()` → `(0)`. Lets others of the same priority run first.
    Yield = 72;
    /// `(thread, guest space)` → `(0)`. Gives a stopped thread a virtual processor of that guest, for as long as it lives. Two pages
    /// come out of the space's pool, or `NeedTables` tells in rdi how many are missing. `InUse` if it has one.
    VcpuCreate = 73;
    /// `()` → exit: `(0, exit code, information 1, information 2)`; notification: `(1, bits)`. Enters the calling thread's guest with
    /// the state in its message buffer ([`crate::vcpu::VcpuState`]) and leaves it for what only the monitor can do, or because
    /// bits of the notification that is bound to the thread are set. Meanwhile the thread is interrupted, scheduled and
    /// accounted for like any other. `WrongState` without a virtual processor or a message buffer, or while it works on a call.
    VcpuRun = 74;

    // ---- devices ----
    /// `(interrupt, notification, bits)` → `(0)`. What an interrupt sets; it starts masked, `InterruptAck` unmasks it.
    InterruptBind = 80;
    /// `(interrupt)` → `(0)`. Done with the last one: the next may come.
    InterruptAck = 81;
    /// `(interrupt)` → `(address, data)`. The write that raises a message-signalled interrupt.
    InterruptMessage = 82;
    /// `(interrupt)` → `(0)`. Masks it until the next `InterruptAck`.
    InterruptMask = 83;
    /// `(ports, first, count, rights)` → `(handle)`. A capability for a part of a range (absolute port numbers).
    PortsSplit = 84;
    /// `(ports, port, width 1, 2 or 4)` → `(value)`.
    PortIn = 85;
    /// `(ports, port, width 1, 2 or 4, value)` → `(0)`.
    PortOut = 86;

    /// `(device control, interrupt, source)` → `(0)`. From now on that function ([`crate::device::SourceId`]), and no other, can
    /// raise the message-signalled interrupt. `NoHardware` where interrupts are not remapped: there any device can.
    /// `KernelTableFull` if the IOMMU has no room for the interrupts of one more function.
    DeviceRoute = 87;
    /// `(device control, notification, bits)` → `(0)`. What is set when a device was refused something; notification 0 ends
    /// it.
    DeviceWatch = 88;
    /// `(device control)` → `(0, address, the rest, lost)`: the earliest refused access that was not told of yet
    /// ([`crate::device::Stray`]), and how many after it were lost because too many came. `WouldBlock` if there is none.
    DeviceStray = 89;
    /// `(device control)` → `(address bits, interrupts are remapped, refusals are reported)`: of the addresses that devices use,
    /// how many bits count; 0 without an IOMMU. Interrupts are remapped: 1, or 0. What a device is refused can be heard of by
    /// `DeviceWatch` and `DeviceStray`: 1, or 0.
    DeviceInfo = 90;

    // ---- system ----
    /// `()` → `(nanoseconds since boot)`.
    Clock = 96;
    /// `(system, address, length, position)` → `(bytes, next position)`. Reads the kernel's log from a position; at
    /// most 4096 bytes an entry.
    LogRead = 97;
    /// `(system, address)` → `(0)`. Writes [`Statistics`] to the address.
    Statistics = 98;
    /// `(system, address)` → `(0)`. Writes the longest stay in the kernel for each [`EntryKind`] since the last such call to
    /// the address: [`ENTRY_KINDS`] numbers of 32 bits, in ticks of the time-stamp counter.
    EntryTimes = 99;
}

/// How a range is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MapAccess {
    /// Readable.
    Read = 1,
    /// Readable and writable.
    ReadWrite = 3,
    /// Readable and executable.
    ReadExecute = 5,
    /// All three: in a guest's space only, where the guest decides what is what.
    All = 7,
}

impl MapAccess {
    const WRITES: u8 = 2;
    const EXECUTES: u8 = 4;

    /// The access with this number. What is writable and executable at once is a guest's.
    pub const fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            1 => MapAccess::Read,
            3 => MapAccess::ReadWrite,
            5 => MapAccess::ReadExecute,
            7 => MapAccess::All,
            _ => return None,
        })
    }

    /// Whether stores are allowed.
    pub const fn writes(self) -> bool {
        self as u8 & MapAccess::WRITES != 0
    }

    /// Whether instructions may be fetched.
    pub const fn executes(self) -> bool {
        self as u8 & MapAccess::EXECUTES != 0
    }
}

/// The most pages that one [`Syscall::SpaceDonate`] takes.
pub const DONATION_MAX: u64 = 64;

/// Addresses at which a device's write is an interrupt, whatever its space maps (Intel SDM volume 3A, 10.11.1).
pub const DEVICE_INTERRUPTS: core::ops::Range<u64> = 0xfee0_0000..0xfef0_0000;

/// The bits of a notification that can be used: the lowest 62. With the others a result would look like an error.
pub const NOTIFICATION_BITS: u64 = (1 << 62) - 1;

/// Where an interrupt comes from, as the argument of [`Syscall::InterruptCreate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InterruptSource {
    /// An ISA line by its number; the kernel applies the firmware's overrides.
    Isa(u8),
    /// A message-signalled interrupt: the kernel picks the vector.
    Message,
}

impl InterruptSource {
    /// As a register: 0–15 an ISA line, 0x100 a message.
    pub const fn to_register(self) -> u64 {
        match self {
            InterruptSource::Isa(line) => line as u64,
            InterruptSource::Message => 0x100,
        }
    }

    /// From a register.
    pub const fn from_register(value: u64) -> Option<Self> {
        match value {
            0..=15 => Some(InterruptSource::Isa(value as u8)),
            0x100 => Some(InterruptSource::Message),
            _ => None,
        }
    }
}

/// The kinds of thing that an account limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Charge {
    /// Sub-accounts.
    Accounts = 0,
    /// Slots of capability tables.
    CapSlots = 1,
    /// Spaces.
    Spaces = 2,
    /// Domains.
    Domains = 3,
    /// Threads.
    Threads = 4,
    /// Budgets.
    Budgets = 5,
    /// Endpoints.
    Endpoints = 6,
    /// Notifications.
    Notifications = 7,
    /// Mappings, charged to the account of the space.
    Mappings = 8,
    /// Interrupt objects.
    Interrupts = 9,
}

impl Charge {
    /// How many kinds of charge there are.
    pub const COUNT: usize = 10;
}

/// How many accounts can lie between an account and the first one, so that closing an account is bounded work.
pub const ACCOUNT_DEPTH: u8 = 16;

/// Limits of an account, by [`Charge`].
pub type AccountLimits = [u32; Charge::COUNT];

/// What `ThreadRead` tells of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Registers {
    /// General registers: rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8 … r15.
    pub general: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
    /// Base of FS.
    pub fs_base: u64,
    /// Processor time used so far, in nanoseconds.
    pub runtime: u64,
}

/// Statistics of the whole machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Statistics {
    /// Frames of RAM known to the kernel.
    pub frames: u64,
    /// Frames donated to the kernel (page tables).
    pub kernel_frames: u64,
    /// Frames that are mapped or pinned at least once.
    pub mapped_frames: u64,
    /// Live objects by [`Charge`].
    pub objects: [u64; Charge::COUNT],
    /// Nanoseconds the processor was idle.
    pub idle: u64,
    /// Processors found by the loader.
    pub processors: u64,
    /// Processors that run threads.
    pub processors_used: u64,
}

/// How many kinds of entry there are.
pub const ENTRY_KINDS: usize = 112;

/// What the kernel was entered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A system call of this number.
    Syscall(u64),
    /// A system call of a number that means nothing.
    UnknownSyscall,
    /// The timer.
    Timer,
    /// A device's interrupt.
    Interrupt,
    /// Another processor's wish.
    Kick,
    /// An exception in user mode.
    Exception,
}

impl EntryKind {
    /// A system call by the number that the caller gave.
    pub const fn of_syscall(number: u64) -> Self {
        match Syscall::from_number(number) {
            Some(_) => EntryKind::Syscall(number),
            None => EntryKind::UnknownSyscall,
        }
    }

    /// Its place among the [`ENTRY_KINDS`]: system calls by their number, then the others.
    pub const fn index(self) -> usize {
        const OTHERS: usize = 104;
        match self {
            EntryKind::Syscall(number) if number < OTHERS as u64 => number as usize,
            EntryKind::Syscall(_) | EntryKind::UnknownSyscall => OTHERS,
            EntryKind::Timer => OTHERS + 1,
            EntryKind::Interrupt => OTHERS + 2,
            EntryKind::Kick => OTHERS + 3,
            EntryKind::Exception => OTHERS + 4,
        }
    }
}

/// The `rax` of a [`Syscall::Receive`] that returns a message.
pub const RECEIVED_MESSAGE: u64 = 0;
/// The `rax` of a [`Syscall::Receive`] that returns notification bits.
pub const RECEIVED_BITS: u64 = 1;
