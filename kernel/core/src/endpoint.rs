//! Endpoints: typed rendezvous for calls.

use crate::identity::{AccountId, NotificationId, ThreadId};
use crate::standing::Standing;
use crate::table::{Reference, Vacant};

/// A typed rendezvous.
///
/// At any time at most one of the two queues holds somebody: callers wait only while nobody receives. All that the short
/// way wants is in one cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(align(64))]
pub struct Endpoint {
    pub(crate) account: Option<AccountId>,
    pub(crate) interface: u64,
    /// The level of its server.
    pub(crate) level: u8,
    /// The priority at which its server works at least.
    pub(crate) ceiling: u8,
    /// Callers that wait to be received, by priority, then first come.
    pub(crate) callers: Option<ThreadId>,
    /// Threads that wait to receive.
    pub(crate) receivers: Option<ThreadId>,
    /// Who waits, in short.
    pub(crate) standing: Standing,
    /// What hears of a call that finds nobody receiving, and with which bits.
    pub(crate) doorbell: Option<Reference<NotificationId>>,
    pub(crate) doorbell_bits: u64,
    /// What hears of a call that was received here and ends without an answer, and with which bits.
    pub(crate) watch: Option<Reference<NotificationId>>,
    pub(crate) watch_bits: u64,
}

impl Vacant for Endpoint {
    const EMPTY: Self = Self {
        account: None,
        interface: 0,
        level: 0,
        ceiling: 0,
        callers: None,
        receivers: None,
        standing: Standing::OTHER,
        doorbell: None,
        doorbell_bits: 0,
        watch: None,
        watch_bits: 0,
    };
}
