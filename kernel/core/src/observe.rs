//! What tests and the model may look at: names that user space could know or guess, what the page tables should be,
//! and the canonical form of a state.

use crate::capability::Capability;
use crate::effect::{MapPiece, Resume, Tree};
use crate::frame::{Frame, FrameState};
use crate::identity::SpaceId;
use crate::identity::{CpuId, DomainId, ThreadId};
use crate::kernel::{Kernel, Tables};
use crate::table::{Reference, Slots, Table, count};
use crate::thread::State;
use abi::Handle;
use abi::device::SourceRange;
use abi::message::CallerToken;
use abi::rights::{Kind, RawRights};
use abi::time::NEVER;
use core::hash::{Hash, Hasher};

impl<T: Tables> Kernel<T> {
    /// Every mapping of a living space, as the page tables should have it; without tables.
    pub fn mapped(&self) -> impl Iterator<Item = MapPiece> + '_ {
        self.mappings.live_indices().filter_map(|index| {
            let mapping = self.mappings.at(index);
            let space = mapping.space.filter(|space| self.spaces.is_live(space.index()))?;
            Some(MapPiece {
                tree: self.tree_of(space),
                address: mapping.address,
                frame: mapping.frame,
                pages: mapping.pages,
                access: mapping.access?,
                device: self.frames.state(mapping.frame) == FrameState::Absent,
                tables: [None; 3],
            })
        })
    }

    /// Which functions see which page tables.
    pub fn seen_by_devices(&self) -> impl Iterator<Item = (SourceRange, Tree)> + '_ {
        self.seen_spaces().map(|(id, sources)| (sources, self.tree_of(id)))
    }

    /// Whether devices see a space.
    pub fn is_device_space(&self, space: SpaceId) -> bool {
        self.spaces.at(space.index()).is_device()
    }

    /// Whether what devices were refused has not all been told.
    pub fn has_strays(&self) -> bool {
        !self.strays.is_empty()
    }

    /// The root tables of every living space.
    pub fn roots(&self) -> impl Iterator<Item = Frame> + '_ {
        self.spaces.live_indices().map(|index| self.spaces.at(index).root)
    }

    /// The domain of a living thread.
    pub fn domain_of(&self, thread: ThreadId) -> Option<DomainId> {
        if self.threads.is_live(thread.index()) { self.thread(thread).domain } else { None }
    }

    /// Every living thread.
    pub fn living_threads(&self) -> impl Iterator<Item = ThreadId> + '_ {
        self.threads.live_indices().filter_map(ThreadId::from_index)
    }

    /// Whether a living thread is ready to run.
    pub fn is_ready(&self, thread: ThreadId) -> bool {
        self.threads.is_live(thread.index()) && self.thread(thread).state == State::Ready
    }

    /// Whether a thread is to execute its system call again when it runs next.
    pub fn will_repeat(&self, thread: ThreadId) -> bool {
        self.threads.is_live(thread.index()) && self.thread(thread).resume == Resume::Again
    }

    /// Whether a living thread is in its guest, or will be when it runs next.
    pub fn is_in_guest(&self, thread: ThreadId) -> bool {
        self.threads.is_live(thread.index()) && self.thread(thread).in_guest
    }

    /// The capabilities in a thread's table: handle, kind, rights, and whether the object lives.
    pub fn held_by(&self, thread: ThreadId) -> impl Iterator<Item = (Handle, Kind, RawRights, bool)> + '_ {
        let domain = self.domain_of(thread).map(|domain| self.domains.at(domain.index()));
        let slots = domain.map_or(0..0, |domain| {
            let base = domain.table_base as usize;
            base + 1..base + domain.fresh_slot as usize
        });
        slots.filter_map(crate::CapId::from_index).filter_map(|id| {
            let found = self.cap(id).capability()?;
            Some((self.handle_of(id), found.kind, found.rights, self.is_object_live(&found)))
        })
    }

    /// The name of a thread's latest call, pending or not.
    pub fn latest_call(&self, thread: ThreadId) -> CallerToken {
        self.token_of(thread)
    }

    /// The public ids of all mappings.
    pub fn mapping_ids(&self) -> impl Iterator<Item = u64> + '_ {
        self.mappings.live_indices().map(|index| self.mapping_number(index))
    }

    /// The earliest deadline that a processor watches.
    pub fn first_deadline(&self, cpu: CpuId) -> Option<u64> {
        self.cpu(cpu).timers.first().map(|thread| self.thread(thread).deadline)
    }

    /// Whether a processor has been asked to enter the kernel and has not done so yet.
    pub fn is_kicked(&self, cpu: CpuId) -> bool {
        self.cpu(cpu).kicked
    }

    /// Feeds everything on which the future depends to a hasher, in a form in which two states that differ only in the
    /// names of past things are equal: generations become "lives" or "is gone", call numbers "is pending", deadlines
    /// their order; time that was used does not count.
    pub fn canonical(&self, now: u64, hasher: &mut impl Hasher) {
        for cpu in self.online() {
            let entry = self.cpu(cpu);
            (cpu, entry.current, entry.kicked, entry.owes.is_some(), entry.forgets).hash(hasher);
            self.uncharged(cpu, now).hash(hasher);
            entry.ready.iter().enumerate().filter(|(_, head)| head.is_some()).for_each(|pair| pair.hash(hasher));
        }
        (self.forgetting, self.seen).hash(hasher);
        let lives = |named: Reference<crate::NotificationId>| {
            (named.id, self.notifications.get(named.id.index(), named.generation).is_some())
        };
        self.strays.watch.map(lives).hash(hasher);
        crate::device::Strays { watch: None, ..self.strays }.hash(hasher);
        self.objects.hash(hasher);
        self.blocks.hash(hasher);
        self.canonical_frames(hasher);
        canonical_table(&self.accounts, hasher, |account, hasher| account.hash(hasher));
        canonical_table(&self.spaces, hasher, |space, hasher| space.hash(hasher));
        canonical_table(&self.domains, hasher, |domain, hasher| {
            let handler = domain.fault_handler.map(|handler| self.canonical_endpoint(handler));
            handler.hash(hasher);
            crate::Domain { fault_handler: None, ..*domain }.hash(hasher);
        });
        canonical_table(&self.budgets, hasher, |budget, hasher| {
            (budget.account, budget.priority, budget.cpu, budget.slice, budget.period, budget.thread).hash(hasher);
            if !budget.is_turn() {
                for refill in budget.refills.as_slice() {
                    (budget.distance(refill.at, now), refill.amount).hash(hasher);
                }
            }
        });
        canonical_table(&self.endpoints, hasher, |endpoint, hasher| {
            for signal in [endpoint.doorbell, endpoint.watch] {
                let lives = |named: Reference<crate::NotificationId>| {
                    (named.id, self.notifications.get(named.id.index(), named.generation).is_some())
                };
                signal.map(lives).hash(hasher);
            }
            crate::Endpoint { doorbell: None, watch: None, ..*endpoint }.hash(hasher);
        });
        canonical_table(&self.notifications, hasher, |notification, hasher| notification.hash(hasher));
        canonical_table(&self.mappings, hasher, |mapping, hasher| mapping.hash(hasher));
        canonical_table(&self.interrupts, hasher, |interrupt, hasher| {
            let bound = interrupt
                .notification
                .map(|bound| (bound.id, self.notifications.get(bound.id.index(), bound.generation).is_some()));
            bound.hash(hasher);
            crate::Interrupt { notification: None, ..*interrupt }.hash(hasher);
        });
        for index in self.threads.live_indices() {
            if let Some(thread) = ThreadId::from_index(index) {
                self.canonical_thread(thread, now, hasher);
            }
        }
        canonical_table(&self.threads, hasher, |_, _| {});
        for index in self.domains.present_indices() {
            self.canonical_slots(index, hasher);
        }
    }

    /// The time that a processor's thread has used and that is not charged yet. If nobody has a budget that runs dry, what
    /// matters is whether there is any: turns are all of one length in a search, and time passes by turns.
    pub(crate) fn uncharged(&self, cpu: CpuId, now: u64) -> u64 {
        let entry = self.cpu(cpu);
        let time = if entry.current.is_some() { now.saturating_sub(entry.charged_until) } else { 0 };
        let dry = self.budgets.live_indices().any(|index| !self.budgets.at(index).is_turn());
        if dry { time } else { u64::from(time != 0) }
    }

    /// Frames without the numbers of shootdowns that are over.
    fn canonical_frames(&self, hasher: &mut impl Hasher) {
        (self.frames.total, self.frames.kernel, self.frames.mapped).hash(hasher);
        for number in 0..count(self.frames.length()) {
            let frame = Frame(number);
            let crate::FrameEntry { pins, next, owner, state, .. } = self.frames.entry(frame);
            (pins, next, owner, state, self.is_quarantined(frame)).hash(hasher);
        }
    }

    fn canonical_endpoint(&self, endpoint: Reference<crate::EndpointId>) -> (crate::EndpointId, bool) {
        (endpoint.id, self.endpoints.get(endpoint.id.index(), endpoint.generation).is_some())
    }

    fn canonical_slots(&self, domain: usize, hasher: &mut impl Hasher) {
        let entry = self.domains.at(domain);
        for place in 1..entry.fresh_slot as usize {
            let slot = self.caps.at(entry.table_base as usize + place);
            slot.capability().map(|found| self.canonical_capability(&found)).hash(hasher);
            (slot.generation == u32::MAX, slot.parent, slot.first_child, slot.next, slot.previous).hash(hasher);
            (slot.first_mapping, slot.domain).hash(hasher);
            if slot.capability().is_none() {
                slot.next_free.hash(hasher);
            }
        }
    }

    fn canonical_capability(&self, found: &Capability) -> (Kind, RawRights, u16, bool, u64) {
        // Of an object that is gone, only this is left.
        let lives = self.is_object_live(found);
        (found.kind, found.rights, if lives { found.object } else { 0 }, lives, found.badge)
    }

    fn canonical_thread(&self, thread: ThreadId, now: u64, hasher: &mut impl Hasher) {
        let entry = self.thread(thread);
        (thread, entry.account, entry.domain, entry.rest.budget(), entry.place.budget()).hash(hasher);
        (entry.place.cpu(), entry.turn_over, entry.run, entry.shootdown.is_some()).hash(hasher);
        (entry.ceiling, entry.priority, entry.state, entry.next, entry.previous).hash(hasher);
        (entry.next_in_domain, entry.previous_in_domain).hash(hasher);
        (entry.buffer, entry.buffer_mapping, entry.bound, entry.vcpu, entry.in_guest).hash(hasher);
        match entry.resume {
            Resume::Continue => 0u8.hash(hasher),
            Resume::Again => 1u8.hash(hasher),
            Resume::Result(_) | Resume::Value(_) => 2u8.hash(hasher),
            Resume::EnterGuest => 3u8.hash(hasher),
            Resume::LeaveGuest => 4u8.hash(hasher),
        }
        if entry.place.timer() != 0 {
            let earlier = |other: &ThreadId| {
                let other = self.thread(*other);
                other.place.timer() != 0 && other.deadline < entry.deadline
            };
            let rank = self.living_threads().filter(earlier).count();
            (entry.deadline != NEVER, rank, entry.deadline <= now).hash(hasher);
        }
        match entry.state {
            State::Sending(_) | State::Replying(_) => {
                (entry.info.0, entry.fault, self.borrower_of(thread)).hash(hasher);
                // Once the call was taken, its badge has been told.
                matches!(entry.state, State::Sending(_)).then_some(entry.badge).hash(hasher);
                let at = entry.taken_at;
                (at.index(), self.endpoints.get(at.index(), at.generation()).is_some()).hash(hasher);
                // A fault is of no interface: what stands there is of an earlier call.
                entry.fault.is_none().then_some(entry.interface).hash(hasher);
                for handle in entry.handles.iter().take(entry.info.caps()) {
                    self.canonical_handle(thread, Handle(*handle)).hash(hasher);
                }
                for lease in entry.leases.iter().take(entry.info.leases()) {
                    lease.hash(hasher);
                }
            }
            State::Receiving(_) => entry.accepts.hash(hasher),
            State::Ready
            | State::Stopped
            | State::Waiting(_)
            | State::Sleeping
            | State::Exhausted
            | State::Forgetting => {}
        }
        entry.serving.token().map(CallerToken::thread).hash(hasher);
    }

    /// What a thread's handle means now: the index of the slot, if it is not stale.
    pub fn canonical_handle(&self, thread: ThreadId, handle: Handle) -> Option<u16> {
        let domain = self.domain_of(thread)?;
        self.lookup(domain, handle).ok().map(|_| handle.index())
    }

    /// Whether a frame belongs to the kernel.
    pub fn is_kernel_frame(&self, frame: Frame) -> bool {
        self.frames.state(frame) == FrameState::Kernel
    }
}

/// A table without its generations.
fn canonical_table<V, S: Slots<crate::Slot<V>>, H: Hasher>(
    table: &Table<V, S>,
    hasher: &mut H,
    mut value: impl FnMut(&V, &mut H),
) {
    for index in table.present_indices() {
        (index, table.is_live(index)).hash(hasher);
        if table.is_live(index) {
            table.references(index).hash(hasher);
        }
        value(table.at(index), hasher);
    }
    table.hash_lists(hasher);
}
