//! Taking things apart: deleting, revoking and destroying, in bounded pieces.
//!
//! Each entry does one piece and leaves a legal state; the thread executes the same system call again until nothing is
//! left. There is no continuation to keep: an object that is to go becomes unreachable at once (its generation ends)
//! and waits in its table's list of the condemned, where any later teardown finds it.

use crate::capability::{BLOCK, Capability};
use crate::effect::{Effect, Resume};
use crate::frame::Frame;
use crate::identity::{BudgetId, CapId, DomainId, EndpointId, InterruptId, NotificationId, SpaceId, ThreadId};
use crate::interrupt::line_bit;
use crate::ipc::{failed, value};
use crate::kernel::{Kernel, Tables};
use crate::queue::Queue;
use crate::table::count;
use crate::thread::State;
use abi::Error;
use abi::rights::Kind;
use abi::syscall::Charge;
use abi::time::NEVER;

/// Children or mappings handed up, or threads woken, in one piece.
const PIECE: usize = 16;

/// How far one piece came.
enum Progress {
    /// There is more to do.
    More(Effect),
    /// This was the last piece.
    Done(Effect),
}

impl<T: Tables> Kernel<T> {
    fn set_result(&mut self, thread: ThreadId, resume: Resume) {
        if self.threads.is_live(thread.index()) {
            self.thread_mut(thread).resume = resume;
        }
    }

    /// One piece of `CapDelete`.
    pub(crate) fn delete_piece(&mut self, thread: ThreadId, id: CapId) -> Effect {
        if let Some(effect) = self.reap_piece() {
            self.set_result(thread, Resume::Again);
            return effect;
        }
        match self.remove_piece(id) {
            Progress::More(effect) => {
                self.set_result(thread, Resume::Again);
                effect
            }
            Progress::Done(effect) => {
                self.set_result(thread, value(0));
                effect
            }
        }
    }

    /// One piece of `CapRevoke`: removes the first of what was made from the capability.
    pub(crate) fn revoke_piece(&mut self, thread: ThreadId, id: CapId) -> Effect {
        if let Some(effect) = self.reap_piece() {
            self.set_result(thread, Resume::Again);
            return effect;
        }
        if let Some(mapping) = self.cap(id).first_mapping {
            self.set_result(thread, Resume::Again);
            return self.remove_mapping(mapping);
        }
        let Some(child) = self.cap(id).first_child else {
            self.set_result(thread, value(0));
            return Effect::None;
        };
        self.set_result(thread, Resume::Again);
        let (Progress::More(effect) | Progress::Done(effect)) = self.remove_piece(child);
        effect
    }

    /// One piece of `Destroy`: the first one makes the object unreachable, the others take it apart. A capability whose
    /// object is gone already is a success, so that the same call can be executed again.
    pub(crate) fn destroy_piece(&mut self, thread: ThreadId, capability: Capability) -> Effect {
        if let Some(effect) = self.reap_piece() {
            self.set_result(thread, Resume::Again);
            return effect;
        }
        if !self.is_object_live(&capability) {
            self.set_result(thread, value(0));
            return Effect::None;
        }
        if let Some((last, domain)) = self.last_thread_of_server(&capability) {
            // It takes no more calls while it is relieved of those that it has taken.
            self.withdraw(last);
            self.set_result(thread, Resume::Again);
            return self.fail_taken(domain);
        }
        self.set_result(thread, Resume::Again);
        if capability.kind == Kind::Thread
            && let Some(doomed) = ThreadId::from_index(capability.object as usize)
            && self.runs_elsewhere(doomed).is_some()
        {
            // Its registers are on another processor: it dies once that has let it go.
            self.withdraw(doomed);
            return Effect::None;
        }
        self.kill(&capability)
    }

    /// The last thread of a domain, if a capability names it and calls that the domain has taken are still unanswered.
    fn last_thread_of_server(&self, capability: &Capability) -> Option<(ThreadId, DomainId)> {
        if capability.kind != Kind::Thread {
            return None;
        }
        let thread = ThreadId::from_index(capability.object as usize)?;
        let domain = self.thread(thread).domain?;
        let entry = self.domains.at(domain.index());
        let only = entry.first_thread == Some(thread) && self.thread(thread).next_in_domain.is_none();
        (only && entry.taken.is_some()).then_some((thread, domain))
    }

    /// One piece of removing a capability: its mappings and children go to its parent, then the slot is emptied. An
    /// object dies with its last capability.
    fn remove_piece(&mut self, id: CapId) -> Progress {
        let slot = *self.cap(id);
        if slot.first_mapping.is_some() {
            match slot.parent {
                Some(parent) => {
                    self.hand_mappings_up(id, parent, PIECE);
                    return Progress::More(Effect::None);
                }
                // Memory that no capability covers any more must not stay mapped.
                None => {
                    if let Some(mapping) = slot.first_mapping {
                        return Progress::More(self.remove_mapping(mapping));
                    }
                }
            }
        }
        if !seeded!(ChildrenLost) && !self.hand_children_up(id, PIECE) {
            return Progress::More(Effect::None);
        }
        if let Some(capability) = slot.capability
            && self.is_object_live(&capability)
            && self.is_last_reference(&capability)
        {
            return Progress::More(self.kill(&capability));
        }
        if let Some(capability) = self.empty_slot(id) {
            self.release_reference(&capability);
        }
        Progress::Done(Effect::None)
    }

    fn is_last_reference(&self, capability: &Capability) -> bool {
        let index = capability.object as usize;
        match capability.kind {
            // An account lives on for as long as something is charged to it.
            Kind::Account => self.accounts.references(index) == 1 && self.accounts.at(index).is_unused(),
            Kind::Space => self.spaces.references(index) == 1,
            Kind::Domain => self.domains.references(index) == 1,
            // Threads belong to their domain and die with it.
            Kind::Thread => false,
            Kind::Budget => self.budgets.references(index) == 1,
            Kind::Endpoint => self.endpoints.references(index) == 1,
            Kind::Notification => self.notifications.references(index) == 1,
            Kind::Interrupt => self.interrupts.references(index) == 1,
            Kind::Memory | Kind::Ports | Kind::InterruptControl | Kind::System | Kind::DeviceControl => false,
        }
    }

    /// Makes an object unreachable. Small ones are gone at once, large ones are condemned and taken apart later.
    fn kill(&mut self, capability: &Capability) -> Effect {
        let index = capability.object as usize;
        match capability.kind {
            Kind::Account => self.close_account(index),
            Kind::Space => self.spaces.condemn(index),
            Kind::Domain => self.domains.condemn(index),
            Kind::Thread => {
                if let Some(thread) = ThreadId::from_index(index) {
                    self.kill_thread(thread);
                }
            }
            Kind::Budget => {
                if let Some(budget) = BudgetId::from_index(index) {
                    self.bury_budget(budget);
                }
            }
            Kind::Endpoint => self.endpoints.condemn(index),
            Kind::Notification => self.notifications.condemn(index),
            Kind::Interrupt => {
                if let Some(interrupt) = InterruptId::from_index(index) {
                    return self.kill_interrupt(interrupt);
                }
            }
            Kind::Memory | Kind::Ports | Kind::InterruptControl | Kind::System | Kind::DeviceControl => {}
        }
        Effect::None
    }

    fn kill_interrupt(&mut self, interrupt: InterruptId) -> Effect {
        let source = self.source_of(interrupt);
        self.lines &= !line_bit(source);
        if let Some(account) = self.interrupts.at(interrupt.index()).account {
            self.discharge(account, Charge::Interrupts, 1);
        }
        self.interrupts.condemn(interrupt.index());
        self.interrupts.bury();
        Effect::DisconnectInterrupt { interrupt, source }
    }

    fn bury_budget(&mut self, budget: BudgetId) {
        if let Some(account) = self.budgets.at(budget.index()).account {
            self.discharge(account, Charge::Budgets, 1);
        }
        self.budgets.condemn(budget.index());
        self.budgets.bury();
    }

    /// Takes a thread out of whatever it does. Whoever works on its call is told that nobody waits for the answer.
    pub(crate) fn withdraw(&mut self, thread: ThreadId) {
        let watch = self.watch_of(thread);
        self.stop(thread);
        if let Some((notification, bits)) = watch {
            self.notify(notification, bits);
        }
    }

    /// Takes a thread out of whatever it does. If that is a call, its server knows or is dead.
    pub(crate) fn stop(&mut self, thread: ThreadId) {
        self.release_loan(thread);
        self.end_loan(thread);
        self.set_state(thread, State::Stopped, NEVER);
        let entry = self.thread_mut(thread);
        entry.server = None;
        entry.taken_at = None;
        entry.fault = None;
        entry.shootdown = None;
        entry.resume = Resume::Continue;
    }

    fn kill_thread(&mut self, thread: ThreadId) {
        if !seeded!(DeadThreadQueued) {
            self.withdraw(thread);
        }
        self.drop_buffer(thread);
        self.bind_notification(thread, None);
        let entry = *self.thread(thread);
        if let Some(domain) = entry.domain {
            match entry.previous_in_domain {
                Some(previous) => self.thread_mut(previous).next_in_domain = entry.next_in_domain,
                None => self.domains.at_mut(domain.index()).first_thread = entry.next_in_domain,
            }
            if let Some(next) = entry.next_in_domain {
                self.thread_mut(next).previous_in_domain = entry.previous_in_domain;
            }
        }
        if let Some(account) = entry.account {
            self.discharge(account, Charge::Threads, 1);
        }
        if let Some(budget) = entry.reserve.filter(|_| !seeded!(BudgetKept)) {
            self.budgets.at_mut(budget.index()).thread = None;
            if self.budgets.release(budget.index()) == 0 && self.budgets.is_live(budget.index()) {
                self.bury_budget(budget);
            }
        }
        self.threads.condemn(thread.index());
        self.threads.bury();
        if self.running() == Some(thread) {
            self.cpu_mut(self.active).current = None;
        }
    }

    /// Binds a notification to a thread, or none.
    pub(crate) fn bind_notification(&mut self, thread: ThreadId, notification: Option<NotificationId>) {
        if let Some(bound) = self.thread(thread).bound {
            self.notifications.at_mut(bound.index()).bound = None;
        }
        self.thread_mut(thread).bound = notification;
        if let Some(bound) = notification {
            self.notifications.at_mut(bound.index()).bound = Some(thread);
        }
    }

    /// Tells up to [`PIECE`] callers that the server that had taken their calls is dead. A fault that it had taken is
    /// not lost with it, but goes to the handler's endpoint again: at most one a piece, since it can meet a receiver.
    fn fail_taken(&mut self, domain: DomainId) -> Effect {
        for _ in 0..PIECE {
            let Some(caller) = self.queue_head(Queue::Taken(domain)) else { break };
            if let Some(report) = self.thread(caller).fault.filter(|_| !seeded!(FaultLost)) {
                self.stop(caller);
                return self.raise_fault(caller, report);
            }
            self.finish_call(caller, failed(Error::PeerDied));
        }
        Effect::None
    }

    /// Ends a call with an error. A thread that waits with a fault has nothing to go on with: it stops.
    fn finish_or_stop(&mut self, caller: ThreadId, error: Error) {
        if self.thread(caller).fault.is_some() {
            self.stop(caller);
        } else {
            self.finish_call(caller, failed(error));
        }
    }

    // ---- the condemned ----

    /// One piece of taking apart what is condemned; `None` if nothing is.
    pub(crate) fn reap_piece(&mut self) -> Option<Effect> {
        if let Some(index) = self.endpoints.condemned() {
            return Some(self.reap_endpoint(EndpointId::from_index(index)?));
        }
        if let Some(index) = self.notifications.condemned() {
            return Some(self.reap_notification(NotificationId::from_index(index)?));
        }
        if let Some(index) = self.domains.condemned() {
            return Some(self.reap_domain(DomainId::from_index(index)?));
        }
        if let Some(index) = self.spaces.condemned() {
            return Some(self.reap_space(SpaceId::from_index(index)?));
        }
        None
    }

    fn reap_endpoint(&mut self, id: EndpointId) -> Effect {
        for _ in 0..PIECE {
            if let Some(caller) = self.queue_head(Queue::Callers(id)).filter(|_| !seeded!(CallersLeft)) {
                self.finish_or_stop(caller, Error::EndpointGone);
            } else if let Some(receiver) = self.queue_head(Queue::Receivers(id)) {
                self.wake(receiver, failed(Error::EndpointGone));
            } else {
                if let Some(account) = self.endpoints.at(id.index()).account {
                    self.discharge(account, Charge::Endpoints, 1);
                }
                self.endpoints.bury();
                return Effect::None;
            }
        }
        Effect::None
    }

    fn reap_notification(&mut self, id: NotificationId) -> Effect {
        for _ in 0..PIECE {
            if let Some(waiter) = self.queue_head(Queue::Waiters(id)) {
                self.wake(waiter, failed(Error::StaleHandle));
            } else {
                if let Some(thread) = self.notifications.at(id.index()).bound {
                    self.bind_notification(thread, None);
                }
                if let Some(account) = self.notifications.at(id.index()).account {
                    self.discharge(account, Charge::Notifications, 1);
                }
                self.notifications.bury();
                return Effect::None;
            }
        }
        Effect::None
    }

    fn reap_domain(&mut self, id: DomainId) -> Effect {
        let domain = *self.domains.at(id.index());
        if let Some(thread) = domain.first_thread {
            if self.runs_elsewhere(thread).is_some() {
                self.withdraw(thread);
            } else {
                self.kill_thread(thread);
            }
            return Effect::None;
        }
        if domain.taken.is_some() {
            return self.fail_taken(id);
        }
        // The table, from its last slot that was ever used down to slot 1.
        let last = domain.fresh_slot - 1;
        if last >= 1 {
            let Some(slot) = CapId::from_index(domain.table_base as usize + last as usize) else {
                return Effect::None;
            };
            if self.cap(slot).capability.is_some() {
                let (Progress::More(effect) | Progress::Done(effect)) = self.remove_piece(slot);
                return effect;
            }
            self.cap_mut(slot).next_free = 0;
            self.domains.at_mut(id.index()).fresh_slot = last;
            return Effect::None;
        }
        let length = domain.table_length as usize;
        self.blocks.set(domain.table_base as usize / BLOCK, length / BLOCK, false);
        if let Some(space) = domain.space {
            self.spaces.at_mut(space.index()).domains -= 1;
            if self.spaces.release(space.index()) == 0 {
                self.spaces.condemn(space.index());
            }
        }
        if let Some(account) = domain.account {
            self.discharge(account, Charge::CapSlots, count(length));
            self.discharge(account, Charge::Domains, 1);
        }
        self.domains.bury();
        Effect::None
    }

    fn reap_space(&mut self, id: SpaceId) -> Effect {
        let space = *self.spaces.at(id.index());
        if let Some(sources) = self.spaces.at_mut(id.index()).sources.take() {
            return if seeded!(DeviceLeftAttached) {
                Effect::None
            } else {
                Effect::DetachDevices { sources, space: id }
            };
        }
        if let Some(mapping) = space.first_mapping {
            // No thread runs in the space any more, on no processor, no device sees it, and its tables go next: no entry
            // needs to be cleared one by one.
            self.remove_mapping(mapping);
            return Effect::None;
        }
        let (frame, last) = if space.pool != 0 {
            let frame = Frame(space.pool);
            self.spaces.at_mut(id.index()).pool = self.frames.entry(frame).next;
            self.spaces.at_mut(id.index()).pool_count -= 1;
            (frame, false)
        } else if space.tables != 0 {
            let frame = Frame(space.tables);
            self.spaces.at_mut(id.index()).tables = self.frames.entry(frame).next;
            (frame, false)
        } else {
            (space.root, true)
        };
        if last {
            if let Some(account) = space.account {
                self.discharge(account, Charge::Spaces, 1);
            }
            self.spaces.bury();
        }
        self.frames.give_back(frame);
        Effect::ReturnFrame(frame)
    }
}
