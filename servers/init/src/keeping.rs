//! What init keeps for supervisors, so that domains outlive whoever has built them.
//!
//! A supervisor puts shares in its domains into init's capability table, for which it has the right and no other, and
//! notes in the ledger which they are. Of the ledger nothing is believed: a handle counts only if it is of a slot that init
//! has not filled itself, of the right kind, and named once. So the worst that a supervisor can do to its successor is to
//! leave it nothing.

use crate::failure::{AtStep, Failure};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use manifest::DomainIndex;
use spawn::{Custody, Ledger, Obituary};
use userlib::abi::rights::{DomainRights, MemoryRights, NotificationRights};
use userlib::abi::{Error, Handle, root};
use userlib::cap::{self, Account, Cap, Domain, Memory, Notification, Thread};
use userlib::memory::SharedMemory;

/// What a supervisor needs to leave something with init.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Desk {
    /// Init's domain, to which things can be given.
    pub(crate) keeper: Cap<Domain>,
    /// Has init look for what is gone.
    pub(crate) tidying: Cap<Notification>,
}

impl Desk {
    /// Makes it, and has init's thread hear when it is to tidy up.
    ///
    /// # Errors
    /// [`Failure::Refused`].
    pub(crate) fn open() -> Result<Self, Failure> {
        let part = "init";
        let own = Cap::<Domain>::from_handle(root::DOMAIN);
        let keeper = own.copy(DomainRights::GRANT).at("copy its own capability", part)?.leak();
        let account = Cap::<Account>::from_handle(root::ACCOUNT);
        let made = account.create_notification().at("make a notification", part)?.leak();
        Cap::<Thread>::from_handle(root::THREAD).bind(Some(made)).at("bind its notification", part)?;
        let tidying = made.copy(NotificationRights::NOTIFY).at("copy its notification", part)?.leak();
        Ok(Desk { keeper, tidying })
    }
}

/// What supervisors have left, and what init itself holds.
pub(crate) struct Keeping {
    ledger: Ledger<'static>,
    /// By slot of init's table: whether init itself has filled it.
    own: Vec<bool>,
}

impl Keeping {
    /// Everything that init holds by now is its own; whatever comes is kept for supervisors.
    pub(crate) fn begin(ledger: Ledger<'static>) -> Self {
        let own = (0..root::TABLE_LENGTH).map(|slot| found_at(slot).is_some()).collect();
        Keeping { ledger, own }
    }

    /// What is left of a dead supervisor beside its domains.
    pub(crate) fn bury_supervisor(&self, status: SharedMemory<'_>, obituary: &Obituary) {
        self.ledger.bury_supervisor(status, obituary);
    }

    /// What the last supervisor has left of each domain. All else that it has left is let go of.
    pub(crate) fn legacy(&self, domains: usize) -> Vec<Option<Custody>> {
        let mut named = BTreeSet::new();
        let legacy = (0..domains as u16).map(|index| {
            let custody = self.ledger.custody(DomainIndex(index))?;
            let is_sound = custody.handles().all(|(handle, kind)| {
                self.is_kept(handle)
                    && cap::describe(handle).is_ok_and(|(found, _)| found == kind)
                    && named.insert(handle.0)
            });
            is_sound.then_some(custody)
        });
        let legacy: Vec<_> = legacy.collect();
        let kept: BTreeSet<u64> =
            legacy.iter().flatten().flat_map(|custody| custody.handles().map(|(handle, _)| handle.0)).collect();
        self.kept().filter(|handle| !kept.contains(&handle.0)).for_each(let_go);
        legacy
    }

    /// Lets go of what is gone anyhow.
    pub(crate) fn tidy(&self) {
        self.kept().filter(|handle| is_gone(*handle)).for_each(let_go);
    }

    /// Lets go of everything: the next supervisor begins anew.
    pub(crate) fn let_go_of_all(&self) {
        self.ledger.forget_entries();
        self.kept().for_each(let_go);
    }

    fn is_kept(&self, handle: Handle) -> bool {
        self.own.get(usize::from(handle.index())).is_some_and(|own| !own)
    }

    /// Every capability in a slot that init has not filled. While no supervisor is being built or taken apart, these are
    /// what supervisors have left, and the present supervisor itself.
    fn kept(&self) -> impl Iterator<Item = Handle> + '_ {
        (0..root::TABLE_LENGTH).filter_map(found_at).filter(|handle| self.is_kept(*handle))
    }
}

/// What a slot of init's table holds.
fn found_at(slot: u16) -> Option<Handle> {
    let found = Cap::<Domain>::from_handle(root::DOMAIN).inspect(slot).ok().flatten();
    found.map(|found| found.handle)
}

fn let_go(handle: Handle) {
    // A slot that is empty already is what was wanted.
    let _ = Cap::<Memory>::from_handle(handle).delete();
}

/// Whether a capability's object is gone, whatever its kind: of such a one there is no copy.
fn is_gone(handle: Handle) -> bool {
    matches!(Cap::<Memory>::from_handle(handle).copy(MemoryRights::empty()), Err(Error::StaleHandle))
}
