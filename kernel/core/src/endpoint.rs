//! Endpoints: typed rendezvous for calls.

use crate::capability::halves;
use crate::identity::{AccountId, CpuId, EndpointId, NotificationId, ThreadId};
use crate::table::Reference;

/// An endpoint in its generation, in one word: index, 16 bits of zero, generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct EndpointName(u64);

impl EndpointName {
    /// None: no index is 0.
    pub(crate) const NONE: EndpointName = EndpointName(0);

    pub(crate) const fn new(id: EndpointId, generation: u32) -> Self {
        EndpointName(((generation as u64) << 32) | id.index() as u64)
    }

    #[expect(clippy::cast_possible_truncation, reason = "a part is what is wanted")]
    pub(crate) const fn index(self) -> usize {
        self.0 as u16 as usize
    }

    pub(crate) const fn id(self) -> Option<EndpointId> {
        EndpointId::from_index(self.index())
    }

    pub(crate) const fn generation(self) -> u32 {
        halves(self.0)[1]
    }

    pub(crate) const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// Who waits at an endpoint, as far as the short way asks, and whether it lives: one word, which the endpoint's name alone
/// gives for each of the answers that it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub(crate) struct Standing(u64);

impl Standing {
    /// Not one of the others.
    pub(crate) const OTHER: Standing = Standing(0);

    /// It lives, and nobody waits there.
    pub(crate) const fn quiet(name: EndpointName) -> Self {
        Standing(name.0)
    }

    /// It lives, nobody calls, and exactly one thread receives, without a deadline, whose own budget never runs dry and whose
    /// registers are this processor's.
    pub(crate) const fn receiving(name: EndpointName, cpu: CpuId) -> Self {
        Standing(name.0 + ((cpu.index() as u64 + 1) << 16))
    }
}

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

impl Endpoint {
    /// The contents of an empty slot.
    pub const EMPTY: Endpoint = Endpoint {
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
