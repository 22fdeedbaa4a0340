//! Domains, interrupts and notifications: the smaller objects' records.

use crate::identity::{AccountId, EndpointId, NotificationId, SpaceId, ThreadId};
use crate::standing::Standing;
use crate::table::{Reference, Vacant};
use abi::device::SourceId;

/// A protection domain: one space, one capability table, one account, one fault handler, one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Domain {
    pub(crate) account: Option<AccountId>,
    pub(crate) space: Option<SpaceId>,
    /// First slot of its table in the arena.
    pub(crate) table_base: u32,
    pub(crate) table_length: u16,
    /// First slot of the table's free list, 0 if it is empty.
    pub(crate) free_slot: u16,
    /// Slots from this one on have not been used yet.
    pub(crate) fresh_slot: u16,
    pub(crate) level: u8,
    /// Who hears of its threads' faults, and under which badge.
    pub(crate) fault_handler: Option<Reference<EndpointId>>,
    pub(crate) fault_badge: u64,
    /// Its threads, linked by `next_in_domain`.
    pub(crate) first_thread: Option<ThreadId>,
    /// Callers whose calls it has taken, not answered and put aside, linked by their queue links. Those on which its threads
    /// work are known to these.
    pub(crate) taken: Option<ThreadId>,
}

impl Vacant for Domain {
    const EMPTY: Self = Self {
        account: None,
        space: None,
        table_base: 0,
        table_length: 0,
        free_slot: 0,
        fresh_slot: 0,
        level: 0,
        fault_handler: None,
        fault_badge: 0,
        first_thread: None,
        taken: None,
    };
}

/// A word of sticky event bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(align(64))]
pub struct Notification {
    pub(crate) account: Option<AccountId>,
    pub(crate) bits: u64,
    /// Threads that wait for it, by priority.
    pub(crate) waiters: Option<ThreadId>,
    /// The thread whose `Receive` also returns these bits.
    pub(crate) bound: Option<ThreadId>,
    /// Who waits, in short.
    pub(crate) standing: Standing,
}

impl Vacant for Notification {
    const EMPTY: Self = Self { account: None, bits: 0, waiters: None, bound: None, standing: Standing::OTHER };
}

impl Notification {
    /// The bits that can be used.
    pub(crate) const USABLE: u64 = abi::syscall::NOTIFICATION_BITS;
}

/// Authority over one interrupt source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interrupt {
    pub(crate) account: Option<AccountId>,
    /// [`abi::syscall::InterruptSource`] as a register.
    pub(crate) source: u16,
    pub(crate) notification: Option<Reference<NotificationId>>,
    pub(crate) bits: u64,
    /// The function that may raise it, where the machine can tell.
    pub(crate) device: Option<SourceId>,
    /// It may come: set by `InterruptAck`, cleared by `InterruptMask`.
    pub(crate) unmasked: bool,
}

impl Vacant for Interrupt {
    const EMPTY: Self = Self { account: None, source: 0, notification: None, bits: 0, device: None, unmasked: false };
}
