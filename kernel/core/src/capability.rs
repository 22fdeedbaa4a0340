//! Capabilities: slots of domains' tables, and the derivation tree that ties them together.

use crate::identity::{CapId, DomainId, EndpointId, MappingId, NotificationId};
use crate::kernel::{Kernel, MachineTables, Tables};
use crate::standing::ObjectName;
use crate::table::{Slots, Vacant, count, short};
use abi::rights::{EndpointRights, Kind, NotificationRights, RawRights};
use abi::{Error, Handle};
use bitflags::bitflags;

/// An unforgeable reference: object, rights and badge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Capability {
    pub(crate) kind: Kind,
    pub(crate) rights: RawRights,
    /// Index of the object in its table; 0 for kinds that have no table.
    pub(crate) object: u16,
    /// Generation of the object; 0 for kinds that have no table.
    pub(crate) generation: u32,
    /// Badge of an endpoint or a notification; [`Extent`] of memory; first port and count of ports.
    pub(crate) badge: u64,
}

/// A run of frames, as a memory capability's badge holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Extent {
    pub(crate) frame: u32,
    pub(crate) pages: u32,
}

impl Extent {
    pub(crate) const fn to_badge(self) -> u64 {
        ((self.pages as u64) << 32) | self.frame as u64
    }

    pub(crate) const fn from_badge(badge: u64) -> Self {
        let [frame, pages] = halves(badge);
        Extent { frame, pages }
    }

    /// The part from page `first` with `pages` pages, if it lies inside and is not empty.
    pub(crate) fn part(self, first: u64, pages: u64) -> Option<Extent> {
        let end = first.checked_add(pages)?;
        if pages == 0 || end > u64::from(self.pages) {
            return None;
        }
        Some(Extent { frame: self.frame + u32::try_from(first).ok()?, pages: u32::try_from(pages).ok()? })
    }
}

/// The lower and the upper half of a word.
#[expect(clippy::cast_possible_truncation, reason = "a half is what is wanted")]
pub(crate) const fn halves(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

bitflags! {
    /// What the holder of a capability may do with it in the short ways. With an endpoint its level is considered: neither it
    /// nor the endpoint's ever changes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct ShortWays: u8 {
        /// Call: it has the right, and the call goes down.
        const CALL = 1;
        /// Receive: it has the right, and calls to the endpoint go down to the holder.
        const RECEIVE = 2;
        /// Notify.
        const NOTIFY = 4;
        /// Wait for bits.
        const WAIT = 8;
    }
}

/// A slot of the arena: one cache line, with all that a call or an answer wants of a capability.
///
/// Children are what was made from the capability: copies (linked here) and mappings (linked in their own table).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C, align(64))]
pub struct CapSlot {
    /// Generation of the slot, as in handles.
    pub(crate) generation: u32,
    /// What is in it: a [`Capability`], if there is a kind.
    pub(crate) object_generation: u32,
    pub(crate) badge: u64,
    pub(crate) object: u16,
    pub(crate) rights: RawRights,
    pub(crate) kind: Option<Kind>,
    /// What the short ways may do with it, with which object.
    pub(crate) short_ways: ShortWays,
    pub(crate) name: ObjectName,
    pub(crate) parent: Option<CapId>,
    pub(crate) first_child: Option<CapId>,
    pub(crate) next: Option<CapId>,
    pub(crate) previous: Option<CapId>,
    pub(crate) first_mapping: Option<MappingId>,
    /// Whose table the slot is in.
    pub(crate) domain: Option<DomainId>,
    /// Next free slot of that table, by index in the table.
    pub(crate) next_free: u16,
}

static_assertions::const_assert_eq!(core::mem::size_of::<CapSlot>(), 64);

impl Vacant for CapSlot {
    const EMPTY: Self = Self {
        generation: 0,
        object_generation: 0,
        badge: 0,
        object: 0,
        rights: 0,
        kind: None,
        short_ways: ShortWays::empty(),
        name: ObjectName::NONE,
        parent: None,
        first_child: None,
        next: None,
        previous: None,
        first_mapping: None,
        domain: None,
        next_free: 0,
    };
}

impl CapSlot {
    /// What is in it.
    pub(crate) fn capability(&self) -> Option<Capability> {
        let CapSlot { object_generation: generation, badge, object, rights, .. } = *self;
        self.kind.map(|kind| Capability { kind, rights, object, generation, badge })
    }

    pub(crate) fn fill(&mut self, capability: Option<Capability>) {
        let (kind, rights, object, generation, badge) = match capability {
            Some(Capability { kind, rights, object, generation, badge }) => {
                (Some(kind), rights, object, generation, badge)
            }
            None => (None, 0, 0, 0, 0),
        };
        (self.kind, self.rights, self.object, self.object_generation, self.badge) =
            (kind, rights, object, generation, badge);
    }
}

/// Slots that a capability table is given at a time: tables are runs of whole blocks of the arena.
pub(crate) const BLOCK: usize = 16;

/// The arena's blocks in use, one bit each. Sized for the largest arena; smaller ones use the first bits.
pub(crate) const BLOCK_WORDS: usize = 256;

/// Which blocks of the arena are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Blocks {
    words: [u64; BLOCK_WORDS],
    /// Words all of whose blocks are in use, one bit each: nobody looks at them to find a free one.
    full: [u64; BLOCK_WORDS / 64],
    /// Blocks for which the machine has no memory: in use for ever.
    pub(crate) missing: u32,
}

impl Blocks {
    pub(crate) const fn new() -> Self {
        Blocks { words: [0; BLOCK_WORDS], full: [0; BLOCK_WORDS / 64], missing: 0 }
    }

    /// The word that holds a block's bit.
    #[expect(clippy::indexing_slicing, reason = "it is taken modulo the array's length")]
    fn word(&self, block: usize) -> u64 {
        self.words[(block / 64) % BLOCK_WORDS]
    }

    fn is_used(&self, block: usize) -> bool {
        self.word(block) & (1 << (block % 64)) != 0
    }

    /// From a block at which a word begins, the first one behind words that are full.
    fn behind_full_words(&self, block: usize, limit: usize) -> usize {
        let mut word = block / 64;
        while word * 64 < limit {
            let full = self.full.get(word / 64).map_or(0, |full| full >> (word % 64));
            let ahead = (full.trailing_ones() as usize).min(64 - word % 64);
            word += ahead;
            if ahead == 0 || !word.is_multiple_of(64) {
                break;
            }
        }
        word * 64
    }

    /// The first run of `count` free blocks below `limit`.
    pub(crate) fn find(&self, count: usize, limit: usize) -> Option<usize> {
        let mut run = 0;
        let mut block = 0;
        while block < limit {
            if block.is_multiple_of(64) {
                let open = self.behind_full_words(block, limit);
                if open != block {
                    run = 0;
                    block = open;
                    continue;
                }
            }
            run = if self.is_used(block) { 0 } else { run + 1 };
            if run == count {
                return Some(block + 1 - count);
            }
            block += 1;
        }
        None
    }

    /// Whether every block of a run is in use.
    pub(crate) fn all_used(&self, first: usize, count: usize) -> bool {
        (first..first + count).all(|block| self.is_used(block))
    }

    /// How many blocks are in use by tables.
    pub(crate) fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum::<usize>() - self.missing as usize
    }

    /// Of the arena's blocks, only the first ones are there.
    pub(crate) fn shorten(&mut self, present: usize, all: usize) {
        self.set(present, all - present, true);
        self.missing = count(all - present);
    }

    #[expect(clippy::indexing_slicing, reason = "they are taken modulo the arrays' lengths")]
    pub(crate) fn set(&mut self, first: usize, count: usize, used: bool) {
        for block in first..first + count {
            let number = (block / 64) % BLOCK_WORDS;
            let word = &mut self.words[number];
            let bit = 1 << (block % 64);
            *word = if used { *word | bit } else { *word & !bit };
            let (full, bit) = (&mut self.full[number / 64], 1 << (number % 64));
            *full = if *word == u64::MAX { *full | bit } else { *full & !bit };
        }
    }
}

impl<T: Tables> Kernel<T> {
    pub(crate) fn cap(&self, id: CapId) -> &CapSlot {
        self.caps.at(id.index())
    }

    pub(crate) fn cap_mut(&mut self, id: CapId) -> &mut CapSlot {
        self.caps.at_mut(id.index())
    }

    /// Finds a capability of a domain by its handle.
    #[inline(always)]
    pub(crate) fn lookup(&self, domain: DomainId, handle: Handle) -> Result<(CapId, Capability), Error> {
        let owner = self.domains.at(domain.index());
        let index = handle.index();
        let generation = handle.generation().ok_or(Error::BadHandle)?;
        if index == 0 || index >= owner.table_length {
            return Err(Error::BadHandle);
        }
        let id = CapId::from_index(owner.table_base as usize + index as usize).ok_or(Error::BadHandle)?;
        let slot = self.cap(id);
        match slot.capability() {
            Some(capability) if slot.generation == generation => Ok((id, capability)),
            _ => Err(Error::StaleHandle),
        }
    }

    /// The same, of a kind, with rights, and with a living object. Each of its callers asks for one kind, so that the table
    /// of its objects is known where this is compiled.
    #[inline(always)]
    pub(crate) fn lookup_kind(
        &self,
        domain: DomainId,
        handle: Handle,
        kind: Kind,
        rights: RawRights,
    ) -> Result<(CapId, Capability), Error> {
        let (id, capability) = self.lookup(domain, handle)?;
        if capability.kind != kind {
            return Err(Error::WrongKind);
        }
        if !self.is_live(kind, capability.object, capability.generation) {
            return Err(Error::StaleHandle);
        }
        if capability.rights & rights != rights {
            return Err(Error::MissingRight);
        }
        Ok((id, capability))
    }

    /// Whether the object of a capability still lives. Kinds without a table always do.
    pub(crate) fn is_object_live(&self, capability: &Capability) -> bool {
        self.is_live(capability.kind, capability.object, capability.generation)
    }

    #[inline(always)]
    fn is_live(&self, kind: Kind, object: u16, generation: u32) -> bool {
        let index = usize::from(object);
        match kind {
            Kind::Account => self.accounts.get(index, generation).is_some(),
            Kind::Space => self.spaces.get(index, generation).is_some(),
            Kind::Domain => self.domains.get(index, generation).is_some(),
            Kind::Thread => self.threads.get(index, generation).is_some(),
            Kind::Budget => self.budgets.get(index, generation).is_some(),
            Kind::Endpoint => self.endpoints.get(index, generation).is_some(),
            Kind::Notification => self.notifications.get(index, generation).is_some(),
            Kind::Interrupt => self.interrupts.get(index, generation).is_some(),
            Kind::Memory | Kind::Ports | Kind::InterruptControl | Kind::System | Kind::DeviceControl => true,
        }
    }

    /// The handle under which a domain knows one of its slots.
    pub(crate) fn handle_of(&self, id: CapId) -> Handle {
        let slot = self.cap(id);
        let base = slot.domain.map_or(0, |domain| self.domains.at(domain.index()).table_base as usize);
        Handle::new(short(id.index().wrapping_sub(base)), slot.generation)
    }

    /// Whether a domain's table has a free slot.
    pub(crate) fn has_free_slot(&self, domain: DomainId) -> bool {
        let owner = self.domains.at(domain.index());
        owner.free_slot != 0 || owner.fresh_slot < owner.table_length
    }

    /// Takes a free slot; the caller has checked that there is one.
    fn take_slot(&mut self, domain: DomainId) -> Option<CapId> {
        let owner = self.domains.at(domain.index());
        let base = owner.table_base as usize;
        let (index, from_list) = if owner.free_slot != 0 {
            (owner.free_slot, true)
        } else if owner.fresh_slot < owner.table_length {
            (owner.fresh_slot, false)
        } else {
            return None;
        };
        let id = CapId::from_index(base + index as usize)?;
        let next_free = self.cap(id).next_free;
        let owner = self.domains.at_mut(domain.index());
        if from_list {
            owner.free_slot = next_free;
        } else {
            owner.fresh_slot += 1;
        }
        Some(id)
    }

    /// Puts a capability into a domain's table as a child of `parent`, or as a root without one, and keeps its object
    /// alive. Returns the handle; [`Handle::NONE`] if the table was full, which callers have excluded.
    pub(crate) fn insert_cap(&mut self, domain: DomainId, capability: Capability, parent: Option<CapId>) -> Handle {
        let Some(id) = self.take_slot(domain) else { return Handle::NONE };
        self.retain_object(&capability);
        let sibling = parent.and_then(|parent| self.cap(parent).first_child);
        let (name, short_ways) = self.short_ways(domain, &capability);
        let slot = self.cap_mut(id);
        slot.fill(Some(capability));
        slot.name = name;
        slot.short_ways = short_ways;
        slot.domain = Some(domain);
        slot.parent = parent;
        slot.next = sibling;
        slot.previous = None;
        slot.first_child = None;
        slot.first_mapping = None;
        slot.next_free = 0;
        if slot.generation == 0 {
            slot.generation = 1;
        }
        if let Some(sibling) = sibling {
            self.cap_mut(sibling).previous = Some(id);
        }
        if let Some(parent) = parent {
            self.cap_mut(parent).first_child = Some(id);
        }
        self.handle_of(id)
    }

    /// What a domain may do with a capability in the short way.
    pub(crate) fn short_ways(&self, domain: DomainId, capability: &Capability) -> (ObjectName, ShortWays) {
        let none = (ObjectName::NONE, ShortWays::empty());
        if !self.is_object_live(capability) {
            return none;
        }
        match capability.kind {
            Kind::Endpoint => self.ways_to_endpoint(domain, capability).unwrap_or(none),
            Kind::Notification => ways_to_notification(capability).unwrap_or(none),
            _ => none,
        }
    }

    fn ways_to_endpoint(&self, domain: DomainId, capability: &Capability) -> Option<(ObjectName, ShortWays)> {
        let id = EndpointId::from_index(capability.object.into())?;
        let (own, level) = (self.domains.at(domain.index()).level, self.endpoints.at(id.index()).level);
        let rights = EndpointRights::from_bits_truncate(capability.rights);
        let mut ways = ShortWays::empty();
        ways.set(ShortWays::CALL, rights.contains(EndpointRights::CALL) && own > level);
        let receives = own == abi::root::LEVEL || own <= level;
        ways.set(ShortWays::RECEIVE, rights.contains(EndpointRights::RECEIVE) && receives);
        Some((ObjectName::of_endpoint(id, capability.generation), ways))
    }

    /// Takes a capability out of its parent's list of children.
    pub(crate) fn unlink_cap(&mut self, id: CapId) {
        let CapSlot { parent, next, previous, .. } = *self.cap(id);
        match previous {
            Some(previous) => self.cap_mut(previous).next = next,
            None => {
                if let Some(parent) = parent {
                    self.cap_mut(parent).first_child = next;
                }
            }
        }
        if let Some(next) = next {
            self.cap_mut(next).previous = previous;
        }
        let slot = self.cap_mut(id);
        slot.parent = None;
        slot.next = None;
        slot.previous = None;
    }

    /// Makes a capability a child of `parent` (or a root).
    fn link_cap(&mut self, id: CapId, parent: Option<CapId>) {
        let sibling = parent.and_then(|parent| self.cap(parent).first_child);
        let slot = self.cap_mut(id);
        slot.parent = parent;
        slot.next = sibling;
        slot.previous = None;
        if let Some(sibling) = sibling {
            self.cap_mut(sibling).previous = Some(id);
        }
        if let Some(parent) = parent {
            self.cap_mut(parent).first_child = Some(id);
        }
    }

    /// Hands up to `limit` children of a capability to its parent; tells whether none is left.
    pub(crate) fn hand_children_up(&mut self, id: CapId, limit: usize) -> bool {
        for _ in 0..limit {
            let CapSlot { first_child, parent, .. } = *self.cap(id);
            let Some(child) = first_child else { return true };
            self.unlink_cap(child);
            self.link_cap(child, parent);
        }
        self.cap(id).first_child.is_none()
    }

    /// Empties a slot that has no children left and frees it. Returns what was in it.
    pub(crate) fn empty_slot(&mut self, id: CapId) -> Option<Capability> {
        self.unlink_cap(id);
        let slot = self.cap_mut(id);
        let capability = slot.capability();
        slot.fill(None);
        slot.name = ObjectName::NONE;
        slot.short_ways = ShortWays::empty();
        let domain = slot.domain.take();
        // A slot whose generations are used up stays empty for ever.
        let reusable = slot.generation < u32::MAX;
        slot.generation = slot.generation.saturating_add(1);
        if let Some(domain) = domain
            && reusable
        {
            let owner = self.domains.at(domain.index());
            let (base, free) = (owner.table_base as usize, owner.free_slot);
            self.cap_mut(id).next_free = free;
            self.domains.at_mut(domain.index()).free_slot = short(id.index() - base);
        }
        capability
    }

    /// Moves a capability that has no children and no mappings into another table; its place in the tree stays.
    pub(crate) fn move_cap(&mut self, id: CapId, target: DomainId) -> Handle {
        let parent = self.cap(id).parent;
        let Some(capability) = self.cap(id).capability() else { return Handle::NONE };
        let handle = self.insert_cap(target, capability, parent);
        self.empty_slot(id);
        self.release_reference(&capability);
        handle
    }

    /// One more capability for an object.
    fn retain_object(&mut self, capability: &Capability) {
        let index = capability.object as usize;
        match capability.kind {
            Kind::Account => self.accounts.retain(index),
            Kind::Space => self.spaces.retain(index),
            Kind::Domain => self.domains.retain(index),
            Kind::Thread => self.threads.retain(index),
            Kind::Budget => self.budgets.retain(index),
            Kind::Endpoint => self.endpoints.retain(index),
            Kind::Notification => self.notifications.retain(index),
            Kind::Interrupt => self.interrupts.retain(index),
            Kind::Memory | Kind::Ports | Kind::InterruptControl | Kind::System | Kind::DeviceControl => {}
        }
    }

    /// One reference less to an object, if it lives.
    pub(crate) fn release_reference(&mut self, capability: &Capability) {
        if !self.is_object_live(capability) {
            return;
        }
        let index = capability.object as usize;
        let _left = match capability.kind {
            Kind::Account => self.accounts.release(index),
            Kind::Space => self.spaces.release(index),
            Kind::Domain => self.domains.release(index),
            Kind::Thread => self.threads.release(index),
            Kind::Budget => self.budgets.release(index),
            Kind::Endpoint => self.endpoints.release(index),
            Kind::Notification => self.notifications.release(index),
            Kind::Interrupt => self.interrupts.release(index),
            Kind::Memory | Kind::Ports | Kind::InterruptControl | Kind::System | Kind::DeviceControl => 0,
        };
    }

    /// What a copy of a capability would be: never more rights than the original, a badge only where there was none.
    pub(crate) fn derive(&self, original: &Capability, rights: RawRights, badge: u64) -> Result<Capability, Error> {
        let mut copy = *original;
        copy.rights &= if seeded!(RightsKept) { RawRights::MAX } else { rights };
        if badge != 0 {
            let mint = match original.kind {
                Kind::Endpoint => abi::rights::EndpointRights::MINT.bits(),
                Kind::Notification => abi::rights::NotificationRights::MINT.bits(),
                _ => return Err(Error::BadArgument),
            };
            if original.rights & mint == 0 {
                return Err(Error::MissingRight);
            }
            if original.badge != 0 && !seeded!(BadgeForged) {
                return Err(Error::BadArgument);
            }
            copy.badge = badge;
        }
        Ok(copy)
    }
}

static_assertions::const_assert!(BLOCK_WORDS * 64 * BLOCK >= <MachineTables as Tables>::Caps::LENGTH);

fn ways_to_notification(capability: &Capability) -> Option<(ObjectName, ShortWays)> {
    let id = NotificationId::from_index(capability.object.into())?;
    let rights = NotificationRights::from_bits_truncate(capability.rights);
    let mut ways = ShortWays::empty();
    ways.set(ShortWays::NOTIFY, rights.contains(NotificationRights::NOTIFY));
    ways.set(ShortWays::WAIT, rights.contains(NotificationRights::WAIT));
    Some((ObjectName::of_notification(id, capability.generation), ways))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_blocks_is_found_behind_a_whole_word_in_use() {
        let mut blocks = Blocks::new();
        blocks.set(0, 70, true);
        assert_eq!(blocks.find(3, 80), Some(70));
        blocks.set(70, 3, true);
        assert_eq!(blocks.count(), 73);
        blocks.set(66, 2, false);
        assert_eq!((blocks.find(2, 80), blocks.find(3, 80)), (Some(66), Some(73)));
        assert!(blocks.all_used(0, 66) && !blocks.all_used(60, 7) && blocks.all_used(68, 5));
    }

    #[test]
    fn a_run_of_blocks_may_lie_in_two_words_but_not_over_one_in_use() {
        let mut blocks = Blocks::new();
        blocks.set(0, 62, true);
        assert_eq!(blocks.find(4, 80), Some(62));
        blocks.set(64, 64, true);
        assert_eq!((blocks.find(2, 256), blocks.find(4, 256)), (Some(62), Some(128)));
    }

    #[test]
    fn a_run_of_blocks_ends_before_the_limit() {
        let mut blocks = Blocks::new();
        assert_eq!((blocks.find(4, 4), blocks.find(4, 3)), (Some(0), None));
        blocks.set(0, 64, true);
        assert_eq!((blocks.find(1, 65), blocks.find(1, 64)), (Some(64), None));
        blocks.set(64 * (BLOCK_WORDS - 1), 64, true);
        assert_eq!(blocks.find(1, BLOCK_WORDS * 64), Some(64));
        blocks.set(64, 64 * (BLOCK_WORDS - 2), true);
        assert_eq!(blocks.find(1, BLOCK_WORDS * 64), None);
    }
}
