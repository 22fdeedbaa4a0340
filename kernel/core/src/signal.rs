//! The short ways of notifications: to set bits, to take them, to wait for them, alone or with calls, and to wake whoever
//! waits.
//!
//! They rest on the same words as those of calls ([`crate::fast`]). Whoever waits runs on a budget of its own, so a change of
//! threads charges time, and the ready queues are brought up to date: what such a change comes to is what
//! [`Kernel::schedule`] would come to.

use crate::capability::ShortWays;
use crate::cpu::Undisturbed;
use crate::decode::allowed_bits;
use crate::effect::{Next, Resume};
use crate::fast::give_up;
use crate::identity::{BudgetId, CpuId, InterruptId, NotificationId, ThreadId};
use crate::ipc::value;
use crate::kernel::{Kernel, Tables};
use crate::queue::Queue;
use crate::standing::{ObjectName, Standing};
use crate::table::{Slots, Vacant};
use crate::thread::{Serving, State};
use abi::message::MAX_CAPS;
use abi::syscall::{InterruptSource, RECEIVED_BITS};
use abi::time::{NEVER, moment};

/// What has come of setting bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// They are set; the thread goes on, with 0.
    Done,
    /// Somebody waits for the notification with this name, or may: [`Kernel::wake_at_once`].
    Awaited(ObjectName),
}

/// What an interrupt is to bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted {
    /// The notification.
    pub name: ObjectName,
    /// The bits.
    pub bits: u64,
    /// Where it comes from.
    pub source: InterruptSource,
}

/// What has come of waking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The thread that has set the bits goes on, with 0.
    Later,
    /// Who is woken is more urgent, and this is next.
    AtOnce(Next),
}

/// What has come of a wait, or of receiving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// These bits, at once: the thread goes on with them.
    Bits(u64),
    /// It waits, and this is next.
    Away(Next),
}

impl<T: Tables> Kernel<T> {
    /// Sets bits of a notification for which nobody waits, or finds that just one thread does; or does nothing if it is not so
    /// simple. Arguments are as in [`abi::syscall::Syscall::Notify`].
    #[inline(always)]
    pub fn signal_at_once(&mut self, cpu: CpuId, handle: u64, bits: u64) -> Option<Signal> {
        let id = self.undisturbed.at(cpu.index()).thread.map_or(0, ThreadId::index);
        let slot = self.slot_at_once(self.threads.at(id), handle, ShortWays::NOTIFY)?;
        let name = slot.name;
        if allowed_bits(slot.badge, bits).is_err() {
            give_up!();
        }
        let notification = self.notifications.at_mut(name.index());
        if notification.standing == Standing::quiet(name) {
            notification.bits |= bits;
            return Some(Signal::Done);
        }
        Some(Signal::Awaited(name))
    }

    /// What a device's interrupt is to bring about by [`Kernel::wake_at_once`], if it is to come.
    #[inline(always)]
    pub fn interrupted_at_once(&self, id: InterruptId) -> Option<Interrupted> {
        if !self.interrupts.is_live(id.index()) {
            give_up!();
        }
        let interrupt = self.interrupts.at(id.index());
        if !interrupt.unmasked {
            give_up!();
        }
        let named = interrupt.notification?;
        let name = ObjectName::of_notification(named.id, named.generation);
        let (bits, source) = (interrupt.bits, self.source_of(id));
        Some(Interrupted { name, bits, source })
    }

    /// Wakes the one thread that waits for a notification, or would receive its bits, with these; or does nothing if that is not
    /// simple. `finds` is what
    /// the running thread finds when it goes on after another, `armed` tells when the processor's timer interrupts next, `clock`
    /// the time.
    #[inline(always)]
    pub fn wake_at_once(
        &mut self,
        cpu: CpuId,
        name: ObjectName,
        bits: u64,
        finds: Resume,
        armed: impl FnOnce() -> u64,
        clock: impl FnOnce() -> u64,
    ) -> Option<Woken> {
        let running = self.undisturbed.at(cpu.index()).thread?;
        let notification = self.notifications.at(name.index());
        let waiter = if notification.standing == Standing::awaited(name, cpu) {
            notification.waiters?
        } else {
            match self.receiver_at_once(cpu, name)? {
                Some(receiver) => receiver,
                None => {
                    self.notifications.at_mut(name.index()).bits |= bits;
                    return Some(Woken::Later);
                }
            }
        };
        let (woken, own) = (self.thread(waiter), self.thread(running).priority);
        let priority = woken.priority;
        // It may have been moved while it waited.
        let Some(budget) = woken.rest.budget() else { give_up!() };
        if self.budgets.at(budget.index()).cpu != cpu {
            give_up!();
        }
        // Whoever is as urgent as the running thread goes on after its turn, for whose end the timer has to be armed.
        if priority == own && armed() > self.end_of_turn(cpu, running) {
            give_up!();
        }

        // Of those who wait behind the running thread.
        let Some(above) = priority.min(own).checked_add(1) else { give_up!() };
        if priority > own {
            self.enter_at_once(cpu, running, clock());
        } else {
            self.catch_up(cpu);
        }
        let found = if let State::Receiving(endpoint) = self.thread(waiter).state {
            self.cancel_timer(waiter);
            if let Some(endpoint) = endpoint {
                self.endpoints.at_mut(endpoint.index()).receivers = None;
                self.stand(endpoint);
            }
            Resume::Result([RECEIVED_BITS, bits, 0, 0])
        } else {
            let notification = self.notifications.at_mut(name.index());
            notification.waiters = None;
            notification.standing = Standing::quiet(name);
            value(bits)
        };
        let entry = self.thread_mut(waiter);
        entry.state = State::Ready;
        entry.resume = found;
        entry.deadline = NEVER;
        if priority > own {
            // Nobody was as urgent.
            self.cpu_mut(cpu).set_ready(priority, Some(waiter));
            let entry = self.thread_mut(running);
            entry.resume = finds;
            if entry.turn_over {
                self.end_turn(running);
            }
            return Some(Woken::AtOnce(self.let_run(cpu)));
        }
        self.enqueue(Queue::Ready(cpu, priority), waiter);
        let undisturbed = self.undisturbed.at_mut(cpu.index());
        undisturbed.above_others = undisturbed.above_others.max(above);
        Some(Woken::Later)
    }

    /// The thread that receives a notification's bits with its calls, if it waits, alone, on this processor and for its own
    /// turn; nobody if it does something else, so that the bits wait for it. Or it is not so simple.
    #[inline(always)]
    fn receiver_at_once(&self, cpu: CpuId, name: ObjectName) -> Option<Option<ThreadId>> {
        let notification = self.notifications.get(name.index(), name.generation())?;
        let bound = notification.bound?;
        if notification.waiters.is_some() {
            give_up!();
        }
        let thread = self.thread(bound);
        let State::Receiving(endpoint) = thread.state else {
            if thread.in_guest {
                give_up!();
            }
            return Some(None);
        };
        let alone = thread.next.is_none()
            && endpoint.is_none_or(|endpoint| self.endpoints.at(endpoint.index()).receivers == Some(bound));
        if !alone || !thread.rest.is_steady() || thread.place.cpu() != cpu {
            give_up!();
        }
        Some(Some(bound))
    }

    /// Lets the running thread wait for a call or for the bits of its notification, or take those that are there; or does nothing
    /// if that is not simple. Arguments are as in [`abi::syscall::Syscall::Receive`], `clock` tells the time.
    #[inline(always)]
    pub fn receive_at_once(
        &mut self,
        cpu: CpuId,
        [handle, accepts, deadline]: [u64; 3],
        clock: impl FnOnce() -> u64,
    ) -> Option<Received> {
        let thread = self.undisturbed.at(cpu.index()).thread?;
        let running = self.thread(thread);
        if running.serving != Serving::NOBODY || accepts > MAX_CAPS as u64 {
            give_up!();
        }
        let bound = running.bound;
        let endpoint = if handle == 0 {
            None
        } else {
            let name = self.slot_at_once(running, handle, ShortWays::RECEIVE)?.name;
            if self.endpoints.at(name.index()).standing != Standing::quiet(name) {
                give_up!();
            }
            name.endpoint()
        };
        if let Some(bound) = bound {
            let bits = core::mem::take(&mut self.notifications.at_mut(bound.index()).bits);
            if bits != 0 {
                return Some(Received::Bits(bits));
            }
        }
        let now = clock();
        let deadline = moment(deadline, now);
        if deadline <= now {
            give_up!();
        }
        self.enter_at_once(cpu, thread, now);
        self.leave_ready(cpu, self.cpu(cpu).current_priority, thread);
        let entry = self.thread_mut(thread);
        entry.state = State::Receiving(endpoint);
        entry.accepts = accepts;
        entry.turn_over = false;
        self.start_timer(thread, deadline);
        if let Some(endpoint) = endpoint {
            self.endpoints.at_mut(endpoint.index()).receivers = Some(thread);
            self.stand(endpoint);
        }
        Some(Received::Away(self.let_run(cpu)))
    }

    /// Lets the running thread wait for bits without a deadline, or take those that are there; or does nothing if that is not
    /// simple. `handle` is as in [`abi::syscall::Syscall::Wait`], `clock` tells the time.
    #[inline(always)]
    pub fn wait_at_once(&mut self, cpu: CpuId, handle: u64, clock: impl FnOnce() -> u64) -> Option<Received> {
        let thread = self.undisturbed.at(cpu.index()).thread?;
        let running = self.thread(thread);
        let name = self.slot_at_once(running, handle, ShortWays::WAIT)?.name;
        // Who waits works for nobody any more.
        if running.serving != Serving::NOBODY {
            give_up!();
        }
        let notification = self.notifications.at_mut(name.index());
        if notification.standing != Standing::quiet(name) {
            give_up!();
        }
        let bits = core::mem::take(&mut notification.bits);
        if bits != 0 {
            return Some(Received::Bits(bits));
        }
        notification.waiters = Some(thread);
        notification.standing = Standing::awaited(name, cpu);
        let state = State::Waiting(NotificationId::from_index(name.index())?);
        self.enter_at_once(cpu, thread, clock());
        self.leave_ready(cpu, self.cpu(cpu).current_priority, thread);
        let entry = self.thread_mut(thread);
        entry.state = state;
        entry.turn_over = false;
        entry.deadline = NEVER;
        Some(Received::Away(self.let_run(cpu)))
    }

    /// What an entry begins with, if nothing has disturbed the processor on which this thread runs.
    #[inline(always)]
    fn enter_at_once(&mut self, cpu: CpuId, running: ThreadId, now: u64) {
        self.active = cpu;
        self.now = self.now.max(now);
        self.catch_up(cpu);
        *self.undisturbed.at_mut(cpu.index()) = Undisturbed::EMPTY;
        self.charge_turn(cpu, running);
    }

    /// When the turn of the running thread ends: it was charged last when it began to run.
    #[inline(always)]
    fn end_of_turn(&self, cpu: CpuId, running: ThreadId) -> u64 {
        let budget = self.thread(running).place.budget().map_or(0, BudgetId::index);
        self.cpu(cpu).charged_until.saturating_add(self.budgets.at(budget).lasts())
    }
}
