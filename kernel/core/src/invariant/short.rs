//! What the short way relies on: things that are noted where they are asked for, beside where they come from.

use super::{Contradiction, expect};
use crate::capability::ShortWays;
use crate::effect::Resume;
use crate::identity::{CapId, EndpointId, NotificationId, ThreadId};
use crate::kernel::{Kernel, Tables};
use crate::queue::Queue;
use crate::standing::ObjectName;
use crate::table::Slots;
use crate::thread::{State, TableSpan};

impl<T: Tables> Kernel<T> {
    pub(super) fn places_are_true(&self) -> Result<(), Contradiction> {
        for thread in self.live_threads() {
            let (entry, at) = (self.thread(thread), thread.index());
            let rest = self.place_on(entry.rest.budget(), true).moved_to(entry.place.cpu());
            expect(entry.rest == rest, "a thread with a wrong place of its own", at)?;
            let is_first_choice = entry.place.budget() == self.loan_of(thread).or(entry.rest.budget());
            let expected = self.place_on(entry.place.budget(), is_first_choice);
            let agrees = (entry.place.base(), entry.place.is_steady()) == (expected.base(), expected.is_steady());
            expect(agrees, "a thread in a wrong place", at)?;
            let Some(domain) = entry.domain else { continue };
            let owner = self.domains.at(domain.index());
            let table = TableSpan { base: owner.table_base, length: owner.table_length.into() };
            expect(entry.table == table, "a thread with another table than its domain's", at)?;
            expect(entry.takes == State::Replying(domain), "a thread that takes calls for another domain", at)?;
        }
        Ok(())
    }

    pub(super) fn endpoints_know_who_waits(&self) -> Result<(), Contradiction> {
        for id in self.endpoints.present_indices().filter_map(EndpointId::from_index) {
            let noted = self.endpoints.at(id.index()).standing;
            expect(noted == self.standing_of(id), "an endpoint at which others wait", id.index())?;
        }
        for id in self.notifications.present_indices().filter_map(NotificationId::from_index) {
            let noted = self.notifications.at(id.index()).standing;
            expect(noted == self.standing_for(id), "a notification for which others wait", id.index())?;
        }
        Ok(())
    }

    pub(super) fn capabilities_know_their_ways(&self) -> Result<(), Contradiction> {
        for id in (1..T::Caps::LENGTH).filter_map(CapId::from_index) {
            let slot = self.cap(id);
            let noted = (slot.name, slot.short_ways);
            let expected = match (slot.capability(), slot.domain) {
                // Its endpoint's word tells that it is gone.
                (Some(capability), _) if !self.is_object_live(&capability) => continue,
                (Some(capability), Some(domain)) => self.short_ways(domain, &capability),
                _ => (ObjectName::NONE, ShortWays::empty()),
            };
            expect(noted == expected, "a capability with other ways", id.index())?;
        }
        Ok(())
    }

    pub(super) fn who_is_undisturbed_comes_first(&self) -> Result<(), Contradiction> {
        for cpu in self.online() {
            let entry = self.cpu(cpu);
            let undisturbed = self.undisturbed.at(cpu.index());
            let Some(thread) = undisturbed.thread else { continue };
            let (running, at) = (self.thread(thread), cpu.index());
            let free = running.state == State::Ready && !running.turn_over && running.shootdown.is_none();
            expect(free && running.resume == Resume::Continue, "a thread that does not just run on", at)?;
            expect(!entry.kicked && entry.owes.is_none() && !entry.forgets, "a processor that is disturbed", at)?;
            let lives = running.domain.is_some_and(|domain| self.domains.is_live(domain.index()));
            expect(lives, "a thread of a dead domain", at)?;
            let steady = running.place.is_steady() && running.rest.is_steady();
            expect(steady && running.place.cpu() == cpu, "a thread that may have to leave", at)?;
            // Of a thread that the short way has let run the queues know nothing yet: another one stands there in its stead.
            let stands = entry.current;
            let queued =
                stands.is_some_and(|stands| self.queue_head(Queue::Ready(cpu, entry.current_priority)) == Some(stands));
            expect(queued, "nobody stands where the thread that runs should", at)?;
            let is_other = |other: &ThreadId| Some(*other) != stands && *other != thread;
            let others = self.live_threads().filter(is_other).map(|other| self.thread(other));
            let ready = others.filter(|other| other.state == State::Ready && other.place.cpu() == cpu);
            let above = ready.map(|other| u16::from(other.priority) + 1).max().unwrap_or(0);
            expect(u16::from(undisturbed.above_others) >= above, "others are above what is above them", at)?;
            expect(u16::from(running.priority) + 1 >= above, "others are more urgent", at)?;
        }
        Ok(())
    }
}
