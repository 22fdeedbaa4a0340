//! What the short ways ask of an endpoint or a notification: one word.

use crate::capability::halves;
use crate::identity::{CpuId, EndpointId, NotificationId};

/// An endpoint or a notification in its generation, in one word: index, 16 bits of zero, generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct ObjectName(u64);

impl ObjectName {
    /// None: no index is 0.
    pub(crate) const NONE: ObjectName = ObjectName(0);

    pub(crate) const fn of_endpoint(id: EndpointId, generation: u32) -> Self {
        Self::new(id.index(), generation)
    }

    pub(crate) const fn of_notification(id: NotificationId, generation: u32) -> Self {
        Self::new(id.index(), generation)
    }

    const fn new(index: usize, generation: u32) -> Self {
        ObjectName(((generation as u64) << 32) | index as u64)
    }

    #[expect(clippy::cast_possible_truncation, reason = "a part is what is wanted")]
    pub(crate) const fn index(self) -> usize {
        self.0 as u16 as usize
    }

    /// The endpoint, if it is one's name.
    pub(crate) const fn endpoint(self) -> Option<EndpointId> {
        EndpointId::from_index(self.index())
    }

    pub(crate) const fn generation(self) -> u32 {
        halves(self.0)[1]
    }

    pub(crate) const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// Who waits at an endpoint or for a notification, as far as the short ways ask, and whether it lives: one word, which the
/// object's name alone gives for each of the answers that they want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub(crate) struct Standing(u64);

impl Standing {
    /// Not one of the others.
    pub(crate) const OTHER: Standing = Standing(0);

    /// It lives, and nobody waits there.
    pub(crate) const fn quiet(name: ObjectName) -> Self {
        Standing(name.0)
    }

    /// It lives, nobody calls, and exactly one thread waits, without a deadline, whose own budget never runs dry and whose
    /// registers are this processor's.
    pub(crate) const fn awaited(name: ObjectName, cpu: CpuId) -> Self {
        Standing(name.0 + ((cpu.index() as u64 + 1) << 16))
    }
}
