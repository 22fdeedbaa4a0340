//! The normal form of a state: the whole state, with the names of past things replaced by what they still mean.
//!
//! This says the same as [`Kernel::canonical`] in the opposite way: there, what is listed counts; here, everything counts
//! but what is listed. Two searches, each by one of them, agree on the number of states only if both lists are right.

use crate::capability::{CapSlot, Capability, ShortWays};
use crate::cpu::Shootdown;
use crate::effect::Resume;
use crate::frame::FrameEntry;
use crate::identity::{CapId, ThreadId};
use crate::kernel::{Kernel, Tables};
use crate::standing::{ObjectName, Standing};
use crate::table::{Reference, Slots, Table, Vacant, count};
use crate::thread::{Serving, State, Thread};
use crate::{Account, Budget, Domain, Endpoint, Interrupt, Mapping, Notification, Space};
use abi::Handle;
use abi::message::{CallerToken, Lease, MAX_CAPS, MAX_LEASES, MessageInfo};
use core::hash::{Hash, Hasher};

impl<T: Tables> Kernel<T>
where
    Kernel<T>: Clone,
{
    /// Feeds the whole state in its normal form to a hasher, byte by byte the same for states with the same future.
    pub fn normal(&self, now: u64, hasher: &mut impl Hasher) {
        // Without `..`, so that nobody adds a field and forgets it here.
        let Kernel {
            mut accounts,
            caps: _,
            blocks,
            mut spaces,
            mut domains,
            mut threads,
            cpus,
            undisturbed: _,
            mut budgets,
            mut endpoints,
            mut notifications,
            mut mappings,
            mut interrupts,
            frames,
            lines,
            objects,
            active: _,
            now: _,
            online,
            kicks,
            last_shootdown: _,
            forgetting,
            seen,
            mut strays,
        } = self.clone();
        let bits = |named: Reference<crate::NotificationId>| Reference {
            id: named.id,
            generation: u32::from(self.notifications.get(named.id.index(), named.generation).is_some()),
        };
        strays.watch = strays.watch.map(bits);
        (blocks, lines, objects, online, kicks, forgetting, seen, strays).hash(hasher);
        for cpu in self.online() {
            let entry = cpus.at(cpu.index());
            let (running, owes, ready) = entry.choices();
            (running, owes.is_some(), ready, entry.timers.length()).hash(hasher);
            self.uncharged(cpu, now).hash(hasher);
        }
        for number in 0..count(frames.length()) {
            let frame = crate::Frame(number);
            let FrameEntry { pins, next, owner, state, reserved, shootdown: _ } = frames.entry(frame);
            (pins, next, owner, state, reserved, self.is_quarantined(frame)).hash(hasher);
        }
        (frames.total, frames.kernel, frames.mapped).hash(hasher);
        for index in 0..T::Caps::LENGTH {
            self.normal_slot(index).hash(hasher);
        }
        rewrite(&mut accounts, Account::EMPTY, |_, _| {}, hasher);
        rewrite(&mut spaces, Space::EMPTY, |_, _| {}, hasher);
        let endpoint = |named: Reference<crate::EndpointId>| Reference {
            id: named.id,
            generation: u32::from(self.endpoints.get(named.id.index(), named.generation).is_some()),
        };
        let named = |name: ObjectName| {
            let lives = self.endpoints.get(name.index(), name.generation()).is_some();
            name.endpoint().map_or(ObjectName::NONE, |id| ObjectName::of_endpoint(id, u32::from(lives)))
        };
        let handler = |_, domain: &mut Domain| domain.fault_handler = domain.fault_handler.map(endpoint);
        rewrite(&mut domains, Domain::EMPTY, handler, hasher);
        let normal_thread = |index, thread: &mut Thread| {
            thread.taken_at = named(thread.taken_at);
            self.normal_thread(index, thread, now);
        };
        rewrite(&mut threads, Thread::EMPTY, normal_thread, hasher);
        for index in budgets.live_indices().filter(|index| !budgets.at(*index).is_turn()) {
            for refill in budgets.at(index).refills.as_slice() {
                (budgets.at(index).distance(refill.at, now), refill.amount).hash(hasher);
            }
        }
        rewrite(&mut budgets, Budget::EMPTY, |_, budget| budget.refills = Budget::EMPTY.refills, hasher);
        let signals = |_, endpoint: &mut Endpoint| {
            endpoint.doorbell = endpoint.doorbell.map(bits);
            endpoint.watch = endpoint.watch.map(bits);
            endpoint.standing = Standing::OTHER;
        };
        rewrite(&mut endpoints, Endpoint::EMPTY, signals, hasher);
        let unnamed = |_, notification: &mut Notification| notification.standing = Standing::OTHER;
        rewrite(&mut notifications, Notification::EMPTY, unnamed, hasher);
        rewrite(&mut mappings, Mapping::EMPTY, |_, _| {}, hasher);
        let bound = |_, interrupt: &mut Interrupt| interrupt.notification = interrupt.notification.map(bits);
        rewrite(&mut interrupts, Interrupt::EMPTY, bound, hasher);
    }

    /// A slot of the arena: nothing is left of one that its table has not used.
    fn normal_slot(&self, index: usize) -> CapSlot {
        let used = |domain: usize| {
            let owner = self.domains.at(domain);
            let base = owner.table_base as usize;
            index > base && index < base + owner.fresh_slot as usize
        };
        if !self.domains.present_indices().any(used) {
            return CapSlot::EMPTY;
        }
        let mut slot = *self.caps.at(index);
        slot.generation = u32::from(slot.generation == u32::MAX);
        (slot.name, slot.short_ways) = (ObjectName::NONE, ShortWays::empty());
        let filled = slot.capability().map(|named| {
            let lives = self.is_object_live(&named);
            Capability { object: if lives { named.object } else { 0 }, generation: u32::from(lives), ..named }
        });
        slot.fill(filled);
        slot
    }

    /// A handle that a thread has named: the slot's index, or a number that no slot has.
    fn normal_handle(&self, thread: ThreadId, handle: u64) -> u64 {
        let found = self.thread(thread).domain.and_then(|domain| self.lookup(domain, Handle(handle)).ok());
        found.map_or(u64::MAX, |(id, _): (CapId, _)| id.index() as u64)
    }

    fn normal_thread(&self, index: usize, thread: &mut Thread, now: u64) {
        let Some(id) = ThreadId::from_index(index) else { return };
        thread.runtime = 0;
        thread.shootdown = thread.shootdown.map(|_| Shootdown::after(None));
        thread.call = CallerToken(0);
        thread.serving = Serving::of(CallerToken::new(thread.serving.token().map_or(0, CallerToken::thread), 0));
        if thread.resume.result().is_some() {
            thread.resume = Resume::Result([0; 4]);
        }
        thread.guest_result = [0; 4];
        thread.deadline = match thread.place.timer() {
            0 => 0,
            _ => {
                let earlier = |other: &ThreadId| {
                    let other = self.thread(*other);
                    other.place.timer() != 0 && other.deadline < thread.deadline
                };
                2 * self.living_threads().filter(earlier).count() as u64 + u64::from(thread.deadline <= now)
            }
        };
        thread.place.set_timer(u16::from(thread.place.timer() != 0));
        if !matches!(thread.state, State::Receiving(_)) {
            thread.accepts = 0;
        }
        if let State::Sending(_) | State::Replying(_) = thread.state {
            let mut handles = [0; MAX_CAPS];
            for (kept, handle) in handles.iter_mut().zip(thread.handles).take(thread.info.caps()) {
                *kept = self.normal_handle(id, handle);
            }
            let mut leases = [Lease::default(); MAX_LEASES];
            for (kept, lease) in leases.iter_mut().zip(thread.leases).take(thread.info.leases()) {
                *kept = lease;
            }
            thread.handles = handles;
            thread.leases = leases;
            if thread.fault.is_some() {
                thread.interface = 0;
            }
            if let State::Replying(_) = thread.state {
                // It has been told.
                thread.badge = 0;
            }
            // Who has taken the call matters for as long as they work on it.
            thread.server = self.borrower_of(id);
        } else {
            thread.info = MessageInfo(0);
            thread.badge = 0;
            thread.interface = 0;
            thread.handles = [0; MAX_CAPS];
            thread.leases = [Lease::default(); MAX_LEASES];
        }
    }
}

/// Feeds a table to a hasher: objects as `change` rewrites them, generations as "lives" or not.
fn rewrite<V: Copy + Hash, S: Slots<crate::Slot<V>>>(
    table: &mut Table<V, S>,
    empty: V,
    mut change: impl FnMut(usize, &mut V),
    hasher: &mut impl Hasher,
) {
    table.forget_generations(empty);
    for index in 1..S::LENGTH {
        if table.is_present(index) {
            change(index, table.at_mut(index));
        }
    }
    table.hash_all(hasher);
}
