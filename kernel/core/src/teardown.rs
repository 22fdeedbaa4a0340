//! Taking things apart: deleting, revoking and destroying, in bounded pieces.
//!
//! Each entry does one piece and leaves a legal state; the thread executes the same system call again until nothing is
//! left. There is no continuation to keep: an object that is to go becomes unreachable at once (its generation ends)
//! and waits in its table's list of the condemned, where any later teardown finds it.

use crate::capability::{BLOCK, CapSlot, Capability};
use crate::cpu::Undisturbed;
use crate::domain::Domain;
use crate::effect::{Effect, Resume, TABLES_RETURNED};
use crate::frame::Frame;
use crate::identity::{
    BudgetId, CapId, DomainId, EndpointId, InterruptId, MappingId, NotificationId, SpaceId, ThreadId,
};
use crate::interrupt::line_bit;
use crate::ipc::{failed, value};
use crate::kernel::{Kernel, Tables};
use crate::queue::Queue;
use crate::space::Space;
use crate::standing::ObjectName;
use crate::table::{Slots, Vacant, count};
use crate::thread::State;
use abi::Error;
use abi::rights::Kind;
use abi::syscall::Charge;
use abi::time::NEVER;

/// Children or mappings handed up in one piece.
const PIECE: usize = 16;

/// Units of [`Credit`] that it takes to zero a page.
const UNITS_TO_ZERO: u32 = 6;

/// How much one entry still may do, in units of some hundred instructions: what an entry takes is bounded. Whoever has some
/// left may begin one more piece.
struct Credit(u32);

impl Credit {
    fn spend(&mut self, units: u32) {
        self.0 = self.0.saturating_sub(units);
    }

    const fn is_spent(&self) -> bool {
        self.0 == 0
    }
}

/// How far one piece came.
enum Progress {
    /// There is more to do, after this effect.
    More(Effect),
    /// There is more to do, but not before another processor has been here.
    Waits,
    /// This was the last piece.
    Done(Effect),
}

impl<T: Tables> Kernel<T> {
    fn set_result(&mut self, thread: ThreadId, resume: Resume) {
        if self.threads.is_live(thread.index()) {
            self.thread_mut(thread).resume = resume;
        }
    }

    /// Pieces of a system call that takes apart, after those of what is condemned, until something has to be carried out,
    /// the entry's credit is spent, or nothing is left to do.
    fn take_apart(&mut self, thread: ThreadId, mut piece: impl FnMut(&mut Self, &mut Credit) -> Progress) -> Effect {
        let mut credit = Credit(T::CREDIT);
        loop {
            let progress = match self.reap_piece(&mut credit) {
                Some(progress) => progress,
                None => piece(self, &mut credit),
            };
            let (resume, effect) = match progress {
                Progress::More(Effect::None) if !credit.is_spent() => continue,
                Progress::More(effect) => (Resume::Again, effect),
                Progress::Waits => (Resume::Again, Effect::None),
                Progress::Done(effect) => (value(0), effect),
            };
            self.set_result(thread, resume);
            return effect;
        }
    }

    /// Pieces of `CapDelete`.
    pub(crate) fn delete_piece(&mut self, thread: ThreadId, id: CapId) -> Effect {
        self.take_apart(thread, |kernel, credit| {
            // Its table may have been that of a domain which has just been taken apart: the caller's own.
            if kernel.cap(id).capability().is_none() {
                Progress::Done(Effect::None)
            } else {
                kernel.remove_piece(id, credit)
            }
        })
    }

    /// Pieces of `CapRevoke`: each removes the first of what was made from the capability.
    pub(crate) fn revoke_piece(&mut self, thread: ThreadId, id: CapId) -> Effect {
        self.take_apart(thread, |kernel, credit| {
            if let Some(mapping) = kernel.cap(id).first_mapping {
                return Progress::More(kernel.remove_mapping_piece(mapping, credit));
            }
            let Some(child) = kernel.cap(id).first_child else { return Progress::Done(Effect::None) };
            match kernel.remove_piece(child, credit) {
                Progress::Done(effect) => Progress::More(effect),
                progress => progress,
            }
        })
    }

    /// Pieces of `Destroy`: the first one makes the object unreachable, the others take it apart. A capability whose
    /// object is gone already is a success, so that the same call can be executed again.
    pub(crate) fn destroy_piece(&mut self, thread: ThreadId, capability: Capability) -> Effect {
        self.take_apart(thread, |kernel, credit| {
            if !kernel.is_object_live(&capability) {
                return Progress::Done(Effect::None);
            }
            if let Some((last, domain)) = kernel.last_thread_of_server(&capability) {
                // It takes no more calls while it is relieved of those that it has taken.
                kernel.withdraw(last);
                return Progress::More(kernel.fail_taken(domain, credit));
            }
            if capability.kind == Kind::Thread
                && let Some(doomed) = ThreadId::from_index(capability.object as usize)
                && kernel.runs_elsewhere(doomed).is_some()
            {
                // Its registers are on another processor: it dies once that has let it go.
                kernel.withdraw(doomed);
                return Progress::Waits;
            }
            Progress::More(kernel.kill(&capability, credit))
        })
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
        let unanswered = entry.taken.is_some() || self.thread(thread).serving.token().is_some();
        (only && unanswered).then_some((thread, domain))
    }

    /// One piece of removing a capability: its mappings and children go to its parent, then the slot is emptied. An
    /// object dies with its last capability.
    fn remove_piece(&mut self, id: CapId, credit: &mut Credit) -> Progress {
        credit.spend(2);
        let &CapSlot { parent, first_child, first_mapping, .. } = self.cap(id);
        let capability = self.cap(id).capability();
        if let Some(mapping) = first_mapping {
            match parent {
                Some(parent) => {
                    credit.spend(10);
                    self.hand_mappings_up(id, parent, PIECE);
                    return Progress::More(Effect::None);
                }
                // Memory that no capability covers any more must not stay mapped.
                None => return Progress::More(self.remove_mapping_piece(mapping, credit)),
            }
        }
        if !seeded!(ChildrenLost) && first_child.is_some() {
            credit.spend(10);
            if !self.hand_children_up(id, PIECE) {
                return Progress::More(Effect::None);
            }
        }
        if let Some(capability) = capability
            && self.is_object_live(&capability)
            && self.is_last_reference(&capability)
        {
            return Progress::More(self.kill(&capability, credit));
        }
        if let Some(capability) = self.empty_slot(id) {
            self.release_reference(&capability);
        }
        Progress::Done(Effect::None)
    }

    fn remove_mapping_piece(&mut self, mapping: MappingId, credit: &mut Credit) -> Effect {
        credit.spend(3 + u32::from(self.mappings.at(mapping.index()).pages) / 8);
        self.remove_mapping(mapping)
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
    fn kill(&mut self, capability: &Capability, credit: &mut Credit) -> Effect {
        credit.spend(5);
        let index = capability.object as usize;
        match capability.kind {
            Kind::Account => self.close_account(index),
            Kind::Space => self.spaces.condemn(index),
            Kind::Domain => self.condemn_domain(index),
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
            Kind::Endpoint => self.condemn_endpoint(index),
            Kind::Notification => self.condemn_notification(index),
            Kind::Interrupt => {
                if let Some(interrupt) = InterruptId::from_index(index) {
                    return self.kill_interrupt(interrupt);
                }
            }
            Kind::Memory | Kind::Ports | Kind::InterruptControl | Kind::System | Kind::DeviceControl => {}
        }
        Effect::None
    }

    fn condemn_endpoint(&mut self, index: usize) {
        self.endpoints.condemn(index);
        if let Some(id) = EndpointId::from_index(index) {
            self.stand(id);
        }
    }

    fn condemn_notification(&mut self, index: usize) {
        self.notifications.condemn(index);
        if let Some(id) = NotificationId::from_index(index) {
            self.stand_for(id);
        }
    }

    /// Threads that run go on until they are found; but what they ask for is refused, and not the short way.
    fn condemn_domain(&mut self, index: usize) {
        self.domains.condemn(index);
        for cpu in self.online.iter() {
            let running = self.current(cpu).and_then(|thread| self.thread(thread).domain);
            if running.is_some_and(|domain| domain.index() == index) {
                *self.undisturbed.at_mut(cpu.index()) = Undisturbed::EMPTY;
            }
        }
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
        entry.taken_at = ObjectName::NONE;
        entry.fault = None;
        entry.shootdown = None;
        entry.resume = Resume::Continue;
        entry.in_guest = false;
    }

    fn kill_thread(&mut self, thread: ThreadId) {
        if !seeded!(DeadThreadQueued) {
            self.withdraw(thread);
        }
        self.drop_buffer(thread);
        self.drop_vcpu(thread);
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
        if let Some(budget) = entry.rest.budget().filter(|_| !seeded!(BudgetKept)) {
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
            self.stand_for(bound);
        }
        self.thread_mut(thread).bound = notification;
        if let Some(bound) = notification {
            self.notifications.at_mut(bound.index()).bound = Some(thread);
            self.stand_for(bound);
        }
    }

    /// Tells the first caller that the server that had taken its call is dead. A fault that it had taken is not lost with it,
    /// but goes to the handler's endpoint again.
    fn fail_taken(&mut self, domain: DomainId, credit: &mut Credit) -> Effect {
        credit.spend(5);
        let Some(caller) = self.queue_head(Queue::Taken(domain)) else { return Effect::None };
        if let Some(report) = self.thread(caller).fault.filter(|_| !seeded!(FaultLost)) {
            self.stop(caller);
            return self.raise_fault(caller, report);
        }
        self.finish_call(caller, failed(Error::PeerDied));
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
    fn reap_piece(&mut self, credit: &mut Credit) -> Option<Progress> {
        let effect = if let Some(index) = self.endpoints.condemned() {
            self.reap_endpoint(EndpointId::from_index(index)?, credit)
        } else if let Some(index) = self.notifications.condemned() {
            self.reap_notification(NotificationId::from_index(index)?, credit)
        } else if let Some(index) = self.domains.condemned() {
            return Some(self.reap_domain(DomainId::from_index(index)?, credit));
        } else if let Some(index) = self.spaces.condemned() {
            self.reap_space(SpaceId::from_index(index)?, credit)
        } else {
            return None;
        };
        Some(Progress::More(effect))
    }

    fn reap_endpoint(&mut self, id: EndpointId, credit: &mut Credit) -> Effect {
        credit.spend(5);
        if let Some(caller) = self.queue_head(Queue::Callers(id)).filter(|_| !seeded!(CallersLeft)) {
            self.finish_or_stop(caller, Error::EndpointGone);
        } else if let Some(receiver) = self.queue_head(Queue::Receivers(id)) {
            self.wake(receiver, failed(Error::EndpointGone));
        } else {
            if let Some(account) = self.endpoints.at(id.index()).account {
                self.discharge(account, Charge::Endpoints, 1);
            }
            self.endpoints.bury();
        }
        Effect::None
    }

    fn reap_notification(&mut self, id: NotificationId, credit: &mut Credit) -> Effect {
        credit.spend(5);
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
        }
        Effect::None
    }

    fn reap_domain(&mut self, id: DomainId, credit: &mut Credit) -> Progress {
        // By reference: copying all of it would cost more than most pieces.
        let &Domain { first_thread, taken, fresh_slot, table_base, table_length, space, account, .. } =
            self.domains.at(id.index());
        credit.spend(1);
        if let Some(thread) = first_thread {
            credit.spend(10);
            if self.runs_elsewhere(thread).is_some() {
                self.withdraw(thread);
                return Progress::Waits;
            }
            self.kill_thread(thread);
            return Progress::More(Effect::None);
        }
        if taken.is_some() {
            return Progress::More(self.fail_taken(id, credit));
        }
        // The table, from its last slot that was ever used down to slot 1.
        let last = fresh_slot - 1;
        if last >= 1 {
            let Some(slot) = CapId::from_index(table_base as usize + last as usize) else {
                return Progress::More(Effect::None);
            };
            if self.cap(slot).capability().is_some() {
                return match self.remove_piece(slot, credit) {
                    Progress::Done(effect) => Progress::More(effect),
                    progress => progress,
                };
            }
            self.cap_mut(slot).next_free = 0;
            self.domains.at_mut(id.index()).fresh_slot = last;
            return Progress::More(Effect::None);
        }
        let length = table_length as usize;
        self.blocks.set(table_base as usize / BLOCK, length / BLOCK, false);
        if let Some(space) = space {
            self.leave_space(space);
        }
        if let Some(account) = account {
            self.discharge(account, Charge::CapSlots, count(length));
            self.discharge(account, Charge::Domains, 1);
        }
        self.domains.bury();
        Progress::More(Effect::None)
    }

    fn reap_space(&mut self, id: SpaceId, credit: &mut Credit) -> Effect {
        if let Some(sources) = self.forget_sources(id) {
            return if seeded!(DeviceLeftAttached) {
                Effect::None
            } else {
                Effect::DetachDevices { sources, space: id }
            };
        }
        let &Space { first_mapping, pool, tables, root, account, .. } = self.spaces.at(id.index());
        if let Some(mapping) = first_mapping {
            // No thread runs in the space any more, on no processor, no device sees it, and its tables go next: no entry
            // needs to be cleared one by one.
            self.remove_mapping_piece(mapping, credit);
            return Effect::None;
        }
        if pool != 0 {
            // It was never a table.
            credit.spend(1);
            let frame = Frame(pool);
            let entry = self.spaces.at_mut(id.index());
            entry.pool_count -= 1;
            entry.pool = self.frames.entry(frame).next;
            self.frames.give_back(frame);
            return Effect::None;
        }
        let mut returned = [None; TABLES_RETURNED];
        let mut next = tables;
        for place in &mut returned {
            credit.spend(UNITS_TO_ZERO);
            let frame = Frame(next);
            if next == 0 {
                *place = Some(root);
                if let Some(account) = account {
                    self.discharge(account, Charge::Spaces, 1);
                }
                self.spaces.bury();
                self.frames.give_back(root);
                return Effect::ReturnTables(returned);
            }
            *place = Some(frame);
            next = self.frames.entry(frame).next;
            self.frames.give_back(frame);
            if credit.is_spent() {
                break;
            }
        }
        self.spaces.at_mut(id.index()).tables = next;
        Effect::ReturnTables(returned)
    }
}
