//! A living domain.

use abi::rights::Kind;
use abi::{Error, Handle};
use serde::{Deserialize, Serialize};
use userlib::cap::{Budget, Cap, Domain, ObjectKind, Owned, Space, Thread};

/// What is kept of an instance beside its builder, so that it outlives that: handles in the keeper's table. A handle is
/// [`Handle::NONE`] where there is nothing, or nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Custody {
    domain: u64,
    space: u64,
    device_space: u64,
    thread: u64,
}

impl Custody {
    /// Applies `give`, which passes one capability on and returns its handle at the receiver, to all of them.
    ///
    /// # Errors
    /// The first one of `give`.
    pub fn try_translate<E>(&self, mut give: impl FnMut(u64) -> Result<u64, E>) -> Result<Self, E> {
        let mut optional = |handle: u64| if handle == Handle::NONE.0 { Ok(handle) } else { give(handle) };
        Ok(Custody {
            domain: optional(self.domain)?,
            space: optional(self.space)?,
            device_space: optional(self.device_space)?,
            thread: optional(self.thread)?,
        })
    }

    /// Every handle of it, with the kind of what it names.
    pub fn handles(&self) -> impl Iterator<Item = (Handle, Kind)> + use<> {
        let spaces = [(self.space, Kind::Space), (self.device_space, Kind::Space)];
        let all = [(self.domain, Kind::Domain), (self.thread, Kind::Thread)].into_iter().chain(spaces);
        all.map(|(handle, kind)| (Handle(handle), kind)).filter(|(handle, _)| !handle.is_none())
    }
}

/// One instance of a domain: what is made anew at each start.
#[derive(Debug)]
pub struct Instance {
    domain: Owned<Domain>,
    space: Owned<Space>,
    device_space: Option<Owned<Space>>,
    /// Of one that was taken over it is not known: it goes with its thread.
    budget: Option<Owned<Budget>>,
    thread: Owned<Thread>,
    processor: u8,
}

fn taken_over<K: ObjectKind>(handle: u64) -> Owned<K> {
    Cap::from_handle(Handle(handle)).into_owned()
}

impl Instance {
    pub(crate) fn new(
        domain: Owned<Domain>,
        space: Owned<Space>,
        device_space: Option<Owned<Space>>,
        budget: Owned<Budget>,
        thread: Owned<Thread>,
        processor: u8,
    ) -> Self {
        Instance { domain, space, device_space, budget: Some(budget), thread, processor }
    }

    /// An instance that somebody else has built, or what is left of it: the handles are of the own table.
    pub fn take_over(kept: &Custody, processor: u8) -> Self {
        let device_space = (kept.device_space != Handle::NONE.0).then(|| taken_over(kept.device_space));
        let (domain, space, thread) = (taken_over(kept.domain), taken_over(kept.space), taken_over(kept.thread));
        Instance { domain, space, device_space, budget: None, thread, processor }
    }

    /// Whether it has both a domain and a thread: one that was taken over may have been half-way gone.
    pub fn is_whole(&self) -> bool {
        !self.domain.is_none() && !self.space.is_none() && !self.thread.is_none()
    }

    /// Gives `keeper` a share in everything that is needed to take the instance over, so that it lives on without its
    /// builder. What has been given goes with the instance, though the keeper's slots are its own to empty.
    ///
    /// # Errors
    /// The kernel's: `TableFull` if the keeper has no room.
    pub fn entrust(&self, keeper: Cap<Domain>) -> Result<Custody, Error> {
        let device_space = match &self.device_space {
            Some(space) => share(space.cap(), keeper)?,
            None => Handle::NONE.0,
        };
        Ok(Custody {
            domain: share(self.domain(), keeper)?,
            space: share(self.space.cap(), keeper)?,
            device_space,
            thread: share(self.thread(), keeper)?,
        })
    }

    /// The domain.
    pub fn domain(&self) -> Cap<Domain> {
        self.domain.cap()
    }

    /// Its first thread.
    pub fn thread(&self) -> Cap<Thread> {
        self.thread.cap()
    }

    /// The processor on which that thread runs on its own behalf: the manifest's, or 0 if the machine has no such one.
    pub fn processor(&self) -> u8 {
        self.processor
    }

    /// Takes it apart: its device sees nothing any more, its threads end, calls it had taken return `PeerDied`, its
    /// capabilities and mappings go, and the pages of its page tables are free again. Calls that wait at its endpoints go
    /// on waiting for the next one. Of one that was half-way gone the rest goes.
    ///
    /// # Errors
    /// The kernel's, at the first step that fails; whoever destroys it again goes on from there.
    pub fn destroy(self) -> Result<(), Error> {
        // First of all: what is freed from here on is used again.
        if let Some(space) = self.device_space {
            space.destroy()?;
        }
        if !self.domain.is_none() {
            self.domain.destroy()?;
        }
        // The thread on it was the last to need it, and nobody else has been given it: it goes with its capability.
        drop(self.budget);
        if self.space.is_none() { Ok(()) } else { self.space.destroy() }
    }
}

fn share<K: ObjectKind>(cap: Cap<K>, keeper: Cap<Domain>) -> Result<u64, Error> {
    cap.grant(keeper, Cap::<K>::all_rights(), 0).map(|handle| handle.0)
}
