//! Capabilities: slots and derivation.

use super::{Contradiction, expect};
use crate::capability::{Capability, Extent};
use crate::identity::{CapId, DomainId};
use crate::kernel::{Kernel, Tables};
use crate::table::Slots;
use abi::rights::Kind;

impl<T: Tables> Kernel<T> {
    /// Every slot that holds a capability, wherever it is.
    pub(super) fn full_slots(&self) -> impl Iterator<Item = CapId> + '_ {
        (1..T::Caps::LENGTH).filter_map(CapId::from_index).filter(|id| self.cap(*id).capability().is_some())
    }

    pub(super) fn slots_are_sound(&self) -> Result<(), Contradiction> {
        let mut full = 0;
        for index in self.domains.present_indices() {
            let domain = self.domains.at(index);
            let within = domain.fresh_slot >= 1 && domain.fresh_slot <= domain.table_length;
            expect(within, "a table used beyond its end", index)?;
            let (mut empty, mut used_up) = (0, 0);
            for place in 1..domain.fresh_slot as usize {
                let Some(id) = CapId::from_index(domain.table_base as usize + place) else { continue };
                let slot = self.cap(id);
                if slot.capability().is_some() {
                    full += 1;
                    expect(slot.domain == DomainId::from_index(index), "a slot of another domain", id.index())?;
                    expect(slot.generation != 0, "a full slot without a generation", id.index())?;
                } else {
                    empty += 1;
                    used_up += usize::from(slot.generation == u32::MAX);
                }
            }
            if !self.domains.is_live(index) {
                continue;
            }
            let (mut free, mut next) = (0, domain.free_slot);
            while next != 0 {
                expect(next < domain.fresh_slot, "a free slot that was never used", index)?;
                let Some(id) = CapId::from_index(domain.table_base as usize + next as usize) else { break };
                expect(self.cap(id).capability().is_none(), "a full slot in the list of free ones", id.index())?;
                free += 1;
                expect(free <= empty, "a list of free slots without an end", index)?;
                next = self.cap(id).next_free;
            }
            expect(free <= empty && empty <= free + used_up, "an empty slot that is not free", index)?;
        }
        expect(full == self.full_slots().count(), "a full slot outside of every table", 0)?;
        for id in (1..T::Caps::LENGTH).filter_map(CapId::from_index) {
            let slot = self.cap(id);
            let unlinked = slot.domain.is_none()
                && slot.parent.is_none()
                && slot.first_child.is_none()
                && slot.next.is_none()
                && slot.previous.is_none()
                && slot.first_mapping.is_none();
            expect(slot.capability().is_some() || unlinked, "an empty slot with links", id.index())?;
        }
        Ok(())
    }

    pub(super) fn derivation_is_a_forest(&self) -> Result<(), Contradiction> {
        let mut children = 0;
        let mut derived = 0;
        for id in self.full_slots() {
            let slot = self.cap(id);
            derived += usize::from(slot.parent.is_some());
            if slot.parent.is_none() {
                expect(slot.next.is_none() && slot.previous.is_none(), "a root with siblings", id.index())?;
            }
            let (mut next, mut previous) = (slot.first_child, None);
            while let Some(child) = next {
                let entry = self.cap(child);
                expect(entry.capability().is_some(), "an empty slot as a child", child.index())?;
                expect(entry.parent == Some(id), "a child of another parent", child.index())?;
                expect(entry.previous == previous, "a sibling with a wrong link", child.index())?;
                previous = next;
                next = entry.next;
                children += 1;
                expect(children < T::Caps::LENGTH, "a list of children without an end", id.index())?;
            }
            let (mut above, mut steps) = (slot.parent, 0);
            while let Some(parent) = above {
                above = self.cap(parent).parent;
                steps += 1;
                expect(steps < T::Caps::LENGTH, "an ancestor of itself", id.index())?;
            }
        }
        expect(children == derived, "a child that its parent does not know", 0)
    }

    pub(super) fn children_have_no_more_than_parents(&self) -> Result<(), Contradiction> {
        for id in self.full_slots() {
            let slot = self.cap(id);
            let Some(capability) = slot.capability() else { continue };
            let Some(parent) = slot.parent else { continue };
            match self.cap(parent).capability() {
                Some(above) => expect(lies_within(&capability, &above), "a child has more", id.index())?,
                None => return expect(false, "a child of an empty slot", id.index()),
            }
        }
        Ok(())
    }
}

/// Whether one capability allows nothing that the other does not.
fn lies_within(part: &Capability, whole: &Capability) -> bool {
    let same = part.kind == whole.kind && part.object == whole.object && part.generation == whole.generation;
    let badge = match part.kind {
        Kind::Memory => {
            let (part, whole) = (Extent::from_badge(part.badge), Extent::from_badge(whole.badge));
            let end = |extent: Extent| u64::from(extent.frame) + u64::from(extent.pages);
            part.pages > 0 && part.frame >= whole.frame && end(part) <= end(whole)
        }
        Kind::Ports => {
            let first = |badge: u64| badge & 0xffff_ffff;
            let end = |badge: u64| first(badge) + (badge >> 32);
            part.badge >> 32 > 0 && first(part.badge) >= first(whole.badge) && end(part.badge) <= end(whole.badge)
        }
        _ => whole.badge == 0 || part.badge == whole.badge,
    };
    same && part.rights & !whole.rights == 0 && badge
}
