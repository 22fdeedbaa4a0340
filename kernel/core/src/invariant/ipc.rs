//! Calls, loans and notifications.

use super::{Contradiction, expect};
use crate::domain::Notification;
use crate::identity::{BudgetId, NotificationId, ThreadId};
use crate::kernel::{Kernel, Tables};
use crate::thread::State;
use abi::syscall::InterruptSource;

impl<T: Tables> Kernel<T> {
    pub(super) fn callers_wait_for_somebody(&self) -> Result<(), Contradiction> {
        for thread in self.live_threads() {
            let (entry, at) = (self.thread(thread), thread.index());
            let calls = match entry.state {
                State::Sending(endpoint) => {
                    expect(self.endpoints.is_present(endpoint.index()), "a call waits at no endpoint", at)?;
                    expect(entry.server.is_none(), "a call that waits has a server", at)?;
                    true
                }
                State::Replying(domain) => {
                    expect(self.domains.is_present(domain.index()), "a call was taken by no domain", at)?;
                    true
                }
                State::Receiving(Some(endpoint)) => {
                    expect(self.endpoints.is_present(endpoint.index()), "a thread receives from no endpoint", at)?;
                    false
                }
                State::Waiting(notification) => {
                    let there = self.notifications.is_present(notification.index());
                    expect(there, "a thread waits for no notification", at)?;
                    false
                }
                State::Ready
                | State::Stopped
                | State::Sleeping
                | State::Receiving(None)
                | State::Exhausted
                | State::Forgetting => false,
            };
            let idle = entry.server.is_none() && entry.fault.is_none();
            expect(calls || idle, "a thread without a call has a server or a fault", at)?;
            expect(!calls || entry.info.is_valid(), "a call with an impossible message", at)?;
        }
        Ok(())
    }

    pub(super) fn taken_calls_know_where(&self) -> Result<(), Contradiction> {
        for thread in self.live_threads() {
            let (entry, at) = (self.thread(thread), thread.index());
            let taken = matches!(entry.state, State::Replying(_));
            expect(taken != entry.taken_at.is_none(), "a call that was taken nowhere, or none that was", at)?;
        }
        Ok(())
    }

    pub(super) fn endpoints_match_eagerly(&self) -> Result<(), Contradiction> {
        for index in self.endpoints.present_indices() {
            let entry = self.endpoints.at(index);
            expect(entry.callers.is_none() || entry.receivers.is_none(), "an endpoint has both", index)?;
        }
        Ok(())
    }

    /// The caller whose pending call this thread works on, on that caller's budget.
    fn lender_of(&self, server: ThreadId) -> Option<ThreadId> {
        let token = self.thread(server).serving.token()?;
        ThreadId::from_index(token.thread() as usize)
    }

    pub(super) fn loans_are_of_pending_calls(&self) -> Result<(), Contradiction> {
        for thread in self.live_threads() {
            let (entry, at) = (self.thread(thread), thread.index());
            let Some(token) = entry.serving.token() else {
                let own = entry.place.budget() == entry.rest.budget();
                expect(own, "a loan without a call", at)?;
                expect(entry.ceiling == 0, "a ceiling without a call", at)?;
                continue;
            };
            let Some(lender) = self.lender_of(thread) else { return expect(false, "a loan from nobody", at) };
            let other = self.thread(lender);
            expect(self.threads.is_live(lender.index()), "a loan from a dead thread", at)?;
            expect(other.call == token, "a loan for a call that has ended", at)?;
            expect(other.server == Some(thread), "a lender that knows another borrower", at)?;
            let pending = matches!(other.state, State::Replying(domain) if Some(domain) == entry.domain);
            expect(pending, "a lender that does not wait for the borrower", at)?;
            expect(other.fault.is_none(), "a loan for a fault", at)?;
            let runs_on = entry.place.budget() == other.place.budget() || entry.place.budget() == entry.rest.budget();
            expect(runs_on, "a thread on a budget that it does not have", at)?;
        }
        Ok(())
    }

    pub(super) fn lenders_form_no_circle(&self) -> Result<(), Contradiction> {
        for thread in self.live_threads() {
            let mut lender = self.lender_of(thread);
            for _ in 0..self.threads.length() {
                lender = lender.and_then(|next| self.lender_of(next));
            }
            expect(lender.is_none(), "a circle of loans", thread.index())?;
        }
        Ok(())
    }

    pub(super) fn budgets_of_threads_live(&self) -> Result<(), Contradiction> {
        for thread in self.live_threads() {
            let entry = self.thread(thread);
            for budget in [entry.rest.budget(), entry.place.budget(), self.loan_of(thread).or(entry.place.budget())] {
                let lives = budget.is_some_and(|budget| self.budgets.is_live(budget.index()));
                expect(lives, "a thread with a dead budget", thread.index())?;
            }
        }
        for index in self.budgets.live_indices() {
            let budget = self.budgets.at(index);
            let id = BudgetId::from_index(index);
            let mut users = self.live_threads().filter(|thread| self.thread(*thread).rest.budget() == id);
            let known = users.next() == budget.thread && users.next().is_none();
            expect(known, "a budget that is another thread's own", index)?;
        }
        Ok(())
    }

    pub(super) fn budgets_keep_to_their_share(&self) -> Result<(), Contradiction> {
        for index in self.budgets.live_indices() {
            let budget = self.budgets.at(index);
            let refills = budget.refills.as_slice();
            let sum: u64 = refills.iter().map(|refill| refill.amount).sum();
            let whole = if budget.is_turn() { sum > 0 && sum <= budget.slice } else { sum == budget.slice };
            expect(whole, "a budget whose pieces are not its slice", index)?;
            expect(refills.is_sorted_by_key(|refill| refill.at), "pieces out of order", index)?;
        }
        Ok(())
    }

    pub(super) fn one_thread_uses_a_budget(&self) -> Result<(), Contradiction> {
        for thread in self.live_threads().filter(|thread| self.thread(*thread).state == State::Ready) {
            let budget = self.thread(thread).place.budget();
            let same = |other: &ThreadId| {
                *other != thread
                    && self.thread(*other).state == State::Ready
                    && self.thread(*other).place.budget() == budget
            };
            expect(!self.live_threads().any(|other| same(&other)), "a budget that two threads use", thread.index())?;
            let usable = budget.is_some_and(|budget| self.budgets.at(budget.index()).is_usable(self.now));
            let runs = self.current(self.thread(thread).place.cpu()) == Some(thread);
            expect(usable || runs, "a thread is ready on a budget that is dry", thread.index())?;
        }
        Ok(())
    }

    pub(super) fn calls_go_down(&self) -> Result<(), Contradiction> {
        let level = |domain: crate::DomainId| self.domains.at(domain.index()).level;
        for thread in self.live_threads() {
            let entry = self.thread(thread);
            let (None, Some(domain)) = (entry.fault, entry.domain) else { continue };
            let below = match entry.state {
                State::Sending(endpoint) => self.endpoints.at(endpoint.index()).level < level(domain),
                State::Replying(server) => level(server) < level(domain) || level(server) == abi::root::LEVEL,
                _ => true,
            };
            expect(below, "a call goes up", thread.index())?;
        }
        Ok(())
    }

    pub(super) fn bound_both_ways(&self) -> Result<(), Contradiction> {
        for index in self.notifications.present_indices() {
            if let Some(thread) = self.notifications.at(index).bound {
                expect(self.threads.is_live(thread.index()), "a notification bound to a dead thread", index)?;
                let back = self.thread(thread).bound == NotificationId::from_index(index);
                expect(back, "a notification whose thread does not know it", index)?;
            }
        }
        for thread in self.live_threads() {
            if let Some(id) = self.thread(thread).bound {
                let there = self.notifications.is_present(id.index());
                expect(there, "a thread bound to a notification that is gone", thread.index())?;
                let back = self.notifications.at(id.index()).bound == Some(thread);
                expect(back, "a thread whose notification does not know it", thread.index())?;
            }
        }
        Ok(())
    }

    pub(super) fn bits_do_not_wait_with_waiters(&self) -> Result<(), Contradiction> {
        for index in self.notifications.live_indices() {
            let entry = self.notifications.at(index);
            expect(entry.bits & !Notification::USABLE == 0, "bits that cannot be told", index)?;
            if entry.bits == 0 {
                continue;
            }
            expect(entry.waiters.is_none(), "somebody waits for bits that are there", index)?;
            if let Some(thread) = entry.bound {
                let receiving = matches!(self.thread(thread).state, State::Receiving(_));
                expect(!receiving, "the bound thread waits for bits that are there", index)?;
            }
        }
        Ok(())
    }

    pub(super) fn interrupt_lines_are_held_once(&self) -> Result<(), Contradiction> {
        let line = |index: usize| match InterruptSource::from_register(u64::from(self.interrupts.at(index).source)) {
            Some(InterruptSource::Isa(line)) => Some(line),
            _ => None,
        };
        for index in self.interrupts.live_indices() {
            let same = |other: usize| other != index && line(index).is_some() && line(other) == line(index);
            expect(!self.interrupts.live_indices().any(same), "a line that is held twice", index)?;
        }
        Ok(())
    }
}
