//! The kernel's whole state.

use crate::account::Account;
use crate::budget::Budget;
use crate::capability::{Blocks, CapSlot};
use crate::cpu::{Cpu, Shootdown, Undisturbed};
use crate::device::Strays;
use crate::domain::{Domain, Interrupt, Notification};
use crate::endpoint::Endpoint;
use crate::frame::{FrameEntry, Frames};
use crate::identity::{CpuId, CpuSet, SpaceId, ThreadId};
use crate::space::{Mapping, Space};
use crate::table::{FrameStore, Slot, Slots, Table};
use crate::thread::Thread;
use abi::boot::Measure;
use abi::syscall::Charge;
use core::mem::offset_of;

/// How long each table is: the machine has long ones, the model checker short ones.
pub trait Tables {
    /// How much of taking things apart one entry does, in units of some hundred instructions. The least, one piece, lets others
    /// come in between wherever they can: that is what the model checker is to see.
    const CREDIT: u32 = 1;
    /// Accounts.
    type Accounts: Slots<Slot<Account>>;
    /// The arena of capability slots.
    type Caps: Slots<CapSlot>;
    /// Spaces.
    type Spaces: Slots<Slot<Space>>;
    /// Domains.
    type Domains: Slots<Slot<Domain>>;
    /// Threads.
    type Threads: Slots<Slot<Thread>>;
    /// A processor's timer heap: as long as the table of threads.
    type Timers: Slots<Option<ThreadId>>;
    /// Processors.
    type Cpus: Slots<Cpu<Self::Timers>>;
    /// Budgets.
    type Budgets: Slots<Slot<Budget>>;
    /// Endpoints.
    type Endpoints: Slots<Slot<Endpoint>>;
    /// Notifications.
    type Notifications: Slots<Slot<Notification>>;
    /// Mappings; more than threads, each of which may have a message buffer.
    type Mappings: Slots<Slot<Mapping>>;
    /// Interrupts.
    type Interrupts: Slots<Slot<Interrupt>>;
    /// The frame table.
    type Frames: FrameStore;
}

/// The tables of the real machine.
#[derive(Clone, Copy, Debug)]
pub struct MachineTables;

/// How many spaces there can be. Index 0 is never used.
pub const SPACES_MAX: usize = 16384;

impl MachineTables {
    /// How many threads there can be, and so how many saved contexts the shell needs. Index 0 is never used.
    pub const THREADS: usize = 16384;
}

// The objects that capabilities name have indices of 16 bits; so have frames' owners.
static_assertions::const_assert!(SPACES_MAX <= 1 << 16 && MachineTables::THREADS <= 1 << 16);

impl Tables for MachineTables {
    const CREDIT: u32 = 90;
    type Accounts = [Slot<Account>; 16384];
    type Caps = [CapSlot; 262_144];
    type Spaces = [Slot<Space>; SPACES_MAX];
    type Domains = [Slot<Domain>; 16384];
    type Threads = [Slot<Thread>; MachineTables::THREADS];
    type Timers = [Option<ThreadId>; MachineTables::THREADS];
    type Cpus = [Cpu<Self::Timers>; CpuId::MAX];
    type Budgets = [Slot<Budget>; 16384];
    type Endpoints = [Slot<Endpoint>; 16384];
    type Notifications = [Slot<Notification>; 32768];
    type Mappings = [Slot<Mapping>; 131_072];
    type Interrupts = [Slot<Interrupt>; 256];
    type Frames = &'static mut [FrameEntry];
}

/// Number of priorities.
pub(crate) const PRIORITIES: usize = 256;

/// Everything that the kernel knows. In tables that can be copied it can be copied: to compare, and to explore what could happen.
/// First comes what the short ways look at besides the tables: it shares a page with what the shell has before it.
#[derive(Clone)]
#[repr(C)]
pub struct Kernel<T: Tables> {
    /// Who runs undisturbed on each processor.
    pub(crate) undisturbed: [Undisturbed; CpuId::MAX],
    pub(crate) accounts: Table<Account, T::Accounts>,
    pub(crate) caps: T::Caps,
    pub(crate) blocks: Blocks,
    pub(crate) spaces: Table<Space, T::Spaces>,
    pub(crate) domains: Table<Domain, T::Domains>,
    pub(crate) threads: Table<Thread, T::Threads>,
    pub(crate) cpus: T::Cpus,
    pub(crate) budgets: Table<Budget, T::Budgets>,
    pub(crate) endpoints: Table<Endpoint, T::Endpoints>,
    pub(crate) notifications: Table<Notification, T::Notifications>,
    pub(crate) mappings: Table<Mapping, T::Mappings>,
    pub(crate) interrupts: Table<Interrupt, T::Interrupts>,
    pub(crate) frames: Frames<T::Frames>,
    /// Interrupt lines that an interrupt object holds, one bit each.
    pub(crate) lines: u16,
    /// Live objects by kind.
    pub(crate) objects: [u64; Charge::COUNT],
    /// The processor whose entry the kernel works on, and when that began.
    pub(crate) active: CpuId,
    pub(crate) now: u64,
    /// Processors that run threads.
    pub(crate) online: CpuSet,
    /// Processors to which an interrupt is to be sent.
    pub(crate) kicks: CpuSet,
    /// The last shootdown, and the threads that wait for one to be over, the earliest first.
    pub(crate) last_shootdown: Option<Shootdown>,
    pub(crate) forgetting: Option<ThreadId>,
    /// First of the spaces that devices see.
    pub(crate) seen: Option<SpaceId>,
    /// What devices were refused.
    pub(crate) strays: Strays,
}

/// Where a table lies in the state of the machine's kernel. What is before a table's slots, and behind them, is in pages that
/// are there anyway.
macro_rules! partial {
    ($field:ident: $slots:ident, $measure:ident) => {
        (offset_of!(Kernel<MachineTables>, $field), size_of::<<MachineTables as Tables>::$slots>(), Measure::$measure)
    };
}

impl Kernel<MachineTables> {
    /// Where in the kernel's state each table lies of which only a part may be there: offset, bytes, and what decides.
    pub const PARTIAL_TABLES: [(usize, usize, Measure); 10] = [
        partial!(accounts: Accounts, Memory),
        partial!(caps: Caps, Memory),
        partial!(spaces: Spaces, Memory),
        partial!(domains: Domains, Memory),
        partial!(threads: Threads, Memory),
        partial!(budgets: Budgets, Memory),
        partial!(endpoints: Endpoints, Memory),
        partial!(notifications: Notifications, Memory),
        partial!(mappings: Mappings, Memory),
        partial!(cpus: Cpus, Processors),
    ];
}

impl<T: Tables> Kernel<T> {
    /// A kernel with empty tables, all of it zero. It has no frame table until [`Kernel::attach_frames`], and nothing exists in it
    /// until [`Kernel::declare_ram`] and [`Kernel::create_root`].
    pub const EMPTY: Self = Kernel {
        accounts: Table::EMPTY,
        caps: T::Caps::EMPTY,
        blocks: Blocks::new(),
        spaces: Table::EMPTY,
        domains: Table::EMPTY,
        threads: Table::EMPTY,
        cpus: T::Cpus::EMPTY,
        undisturbed: Slots::EMPTY,
        budgets: Table::EMPTY,
        endpoints: Table::EMPTY,
        notifications: Table::EMPTY,
        mappings: Table::EMPTY,
        interrupts: Table::EMPTY,
        frames: Frames::new(None),
        lines: 0,
        objects: [0; Charge::COUNT],
        active: CpuId::BOOT,
        now: 0,
        online: CpuSet(0),
        kicks: CpuSet(0),
        last_shootdown: None,
        forgetting: None,
        seen: None,
        strays: Strays::NONE,
    };

    /// Gives the kernel its frame table: one zeroed entry for each frame up to the last one of RAM.
    pub fn attach_frames(&mut self, frames: T::Frames) {
        self.frames = Frames::new(Some(frames));
    }

    pub(crate) fn thread(&self, id: ThreadId) -> &Thread {
        self.threads.at(id.index())
    }

    pub(crate) fn thread_mut(&mut self, id: ThreadId) -> &mut Thread {
        self.threads.at_mut(id.index())
    }

    pub(crate) fn cpu(&self, id: CpuId) -> &Cpu<T::Timers> {
        self.cpus.at(id.index())
    }

    pub(crate) fn cpu_mut(&mut self, id: CpuId) -> &mut Cpu<T::Timers> {
        self.cpus.at_mut(id.index())
    }

    /// The thread that runs on a processor, if any does. Another processor may have stopped it already.
    pub fn current(&self, cpu: CpuId) -> Option<ThreadId> {
        self.undisturbed.at(cpu.index()).thread.or(self.cpu(cpu).current)
    }

    /// The thread in whose name the kernel works: that of the entry's processor.
    pub(crate) fn running(&self) -> Option<ThreadId> {
        self.current(self.active)
    }
}

impl<T: Tables> core::fmt::Debug for Kernel<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Kernel").field("active", &self.active).field("objects", &self.objects).finish_non_exhaustive()
    }
}
