//! Objects, their accounts and their counts.

use super::{Contradiction, expect};
use crate::capability::{BLOCK, BLOCK_WORDS};
use crate::identity::{AccountId, BudgetId, DomainId, SpaceId};
use crate::kernel::{Kernel, Tables};
use crate::table::{Slot, Slots, Table, count};
use crate::vcpu::Vcpu;
use abi::rights::Kind;
use abi::syscall::{AccountLimits, Charge};

impl<T: Tables> Kernel<T> {
    pub(super) fn table_lists_are_sound(&self) -> Result<(), Contradiction> {
        expect(self.accounts.lists_are_sound(), "the table of accounts is not", 0)?;
        expect(self.spaces.lists_are_sound(), "the table of spaces is not", 0)?;
        expect(self.domains.lists_are_sound(), "the table of domains is not", 0)?;
        expect(self.threads.lists_are_sound(), "the table of threads is not", 0)?;
        expect(self.budgets.lists_are_sound(), "the table of budgets is not", 0)?;
        expect(self.endpoints.lists_are_sound(), "the table of endpoints is not", 0)?;
        expect(self.notifications.lists_are_sound(), "the table of notifications is not", 0)?;
        expect(self.mappings.lists_are_sound(), "the table of mappings is not", 0)?;
        expect(self.interrupts.lists_are_sound(), "the table of interrupts is not", 0)
    }

    pub(super) fn nothing_small_stays_condemned(&self) -> Result<(), Contradiction> {
        let lists = [
            self.accounts.condemned(),
            self.threads.condemned(),
            self.budgets.condemned(),
            self.mappings.condemned(),
            self.interrupts.condemned(),
        ];
        if let Some(index) = lists.into_iter().flatten().next() {
            return expect(false, "another object waits", index);
        }
        for index in self.spaces.condemned_indices() {
            expect(self.spaces.at(index).domains == 0, "a condemned space has domains", index)?;
        }
        Ok(())
    }

    /// How many of each kind there are, charged to this account or, without one, to any.
    fn charged(&self, account: Option<AccountId>) -> AccountLimits {
        let ours = |charged: Option<AccountId>| account.is_none() || charged == account;
        let mut sum = [0; Charge::COUNT];
        #[expect(clippy::indexing_slicing, reason = "a charge is a number below the array's length")]
        let mut add = |charge: Charge, amount: u32| sum[charge as usize] += amount;
        for index in self.accounts.present_indices() {
            let parent = self.accounts.at(index).parent;
            if parent.is_some() && ours(parent) {
                add(Charge::Accounts, 1);
            }
        }
        for _ in self.spaces.present_indices().filter(|index| ours(self.spaces.at(*index).account)) {
            add(Charge::Spaces, 1);
        }
        for index in self.domains.present_indices().filter(|index| ours(self.domains.at(*index).account)) {
            add(Charge::Domains, 1);
            add(Charge::CapSlots, u32::from(self.domains.at(index).table_length));
        }
        for _ in self.threads.present_indices().filter(|index| ours(self.threads.at(*index).account)) {
            add(Charge::Threads, 1);
        }
        for _ in self.budgets.present_indices().filter(|index| ours(self.budgets.at(*index).account)) {
            add(Charge::Budgets, 1);
        }
        for _ in self.endpoints.present_indices().filter(|index| ours(self.endpoints.at(*index).account)) {
            add(Charge::Endpoints, 1);
        }
        for _ in self.notifications.present_indices().filter(|index| ours(self.notifications.at(*index).account)) {
            add(Charge::Notifications, 1);
        }
        for index in self.mappings.present_indices() {
            if let Some(space) = self.mappings.at(index).space
                && ours(self.spaces.at(space.index()).account)
            {
                add(Charge::Mappings, 1);
            }
        }
        for _ in self.interrupts.present_indices().filter(|index| ours(self.interrupts.at(*index).account)) {
            add(Charge::Interrupts, 1);
        }
        sum
    }

    pub(super) fn counters_agree(&self) -> Result<(), Contradiction> {
        for (kind, (counted, there)) in self.objects.iter().zip(self.charged(None)).enumerate() {
            expect(*counted == u64::from(there), "another count of this kind", kind)?;
        }
        Ok(())
    }

    pub(super) fn accounts_add_up(&self) -> Result<(), Contradiction> {
        for index in self.accounts.present_indices() {
            let account = self.accounts.at(index);
            let mut sum = self.charged(AccountId::from_index(index));
            for child in self.accounts.present_indices().map(|child| self.accounts.at(child)) {
                if child.parent == AccountId::from_index(index) {
                    for (sum, limit) in sum.iter_mut().zip(child.limits) {
                        *sum = sum.saturating_add(limit);
                    }
                }
            }
            for ((sum, used), limit) in sum.into_iter().zip(account.used).zip(account.limits) {
                expect(used == sum, "another sum in an account", index)?;
                expect(sum <= limit, "an account beyond its limit", index)?;
            }
            let mut above = account.parent;
            for _ in 0..self.accounts.length() {
                above = above.and_then(|parent| self.accounts.at(parent.index()).parent);
            }
            expect(above.is_none(), "an account above itself", index)?;
        }
        Ok(())
    }

    pub(super) fn charged_accounts_live(&self) -> Result<(), Contradiction> {
        let lives = |account: Option<AccountId>, at: usize| match account {
            Some(account) => expect(self.accounts.is_live(account.index()), "a dead account is charged", at),
            None => expect(false, "an object without an account", at),
        };
        for index in self.accounts.live_indices() {
            if let Some(parent) = self.accounts.at(index).parent {
                lives(Some(parent), index)?;
            }
        }
        self.spaces.present_indices().try_for_each(|index| lives(self.spaces.at(index).account, index))?;
        self.domains.present_indices().try_for_each(|index| lives(self.domains.at(index).account, index))?;
        self.threads.present_indices().try_for_each(|index| lives(self.threads.at(index).account, index))?;
        self.budgets.present_indices().try_for_each(|index| lives(self.budgets.at(index).account, index))?;
        self.endpoints.present_indices().try_for_each(|index| lives(self.endpoints.at(index).account, index))?;
        self.notifications
            .present_indices()
            .try_for_each(|index| lives(self.notifications.at(index).account, index))?;
        self.interrupts.present_indices().try_for_each(|index| lives(self.interrupts.at(index).account, index))
    }

    pub(super) fn references_agree(&self) -> Result<(), Contradiction> {
        let runs_on = |budget: usize| {
            let id = BudgetId::from_index(budget);
            self.threads.live_indices().filter(|thread| self.threads.at(*thread).rest.budget() == id).count()
        };
        let run_in = |space: usize| {
            let enters = |vcpu: Option<Vcpu>| vcpu.is_some_and(|vcpu| vcpu.space.index() == space);
            self.domains.present_indices().filter(|domain| self.runs_in(*domain, space)).count()
                + self.threads.live_indices().filter(|thread| enters(self.threads.at(*thread).vcpu)).count()
        };
        for index in self.spaces.live_indices() {
            let domains = usize::from(self.spaces.at(index).domains);
            expect(domains == run_in(index), "a space counts its domains otherwise", index)?;
        }
        let charged = |index: usize| !self.accounts.at(index).is_unused();
        self.counts_agree(Kind::Account, &self.accounts, |_| 0, charged)?;
        self.counts_agree(Kind::Space, &self.spaces, run_in, |_| false)?;
        self.counts_agree(Kind::Domain, &self.domains, |_| 0, |_| false)?;
        // A thread belongs to its domain.
        self.counts_agree(Kind::Thread, &self.threads, |_| 0, |_| true)?;
        self.counts_agree(Kind::Budget, &self.budgets, runs_on, |_| false)?;
        self.counts_agree(Kind::Endpoint, &self.endpoints, |_| 0, |_| false)?;
        self.counts_agree(Kind::Notification, &self.notifications, |_| 0, |_| false)?;
        self.counts_agree(Kind::Interrupt, &self.interrupts, |_| 0, |_| false)
    }

    /// Whether each object of a table is referred to by as many capabilities and `users` as it has counted, and by one at least,
    /// unless it is `needed` anyway.
    fn counts_agree<V, S: Slots<Slot<V>>>(
        &self,
        kind: Kind,
        table: &Table<V, S>,
        users: impl Fn(usize) -> usize,
        needed: impl Fn(usize) -> bool,
    ) -> Result<(), Contradiction> {
        for index in table.live_indices() {
            let count = self.caps_of(kind, index, table.generation(index)) + count(users(index));
            expect(table.references(index) == count, "an object counts who refers to it otherwise", index)?;
            expect(count > 0 || needed(index), "an object that nobody needs", index)?;
        }
        Ok(())
    }

    fn runs_in(&self, domain: usize, space: usize) -> bool {
        self.domains.at(domain).space == SpaceId::from_index(space)
    }

    /// How many capabilities name an object.
    fn caps_of(&self, kind: Kind, object: usize, generation: u32) -> u32 {
        let names = |capability: crate::capability::Capability| {
            capability.kind == kind && capability.object as usize == object && capability.generation == generation
        };
        count(self.full_slots().filter(|id| self.cap(*id).capability().is_some_and(names)).count())
    }

    pub(super) fn domains_own_their_threads(&self) -> Result<(), Contradiction> {
        let mut listed = 0;
        for index in self.domains.present_indices() {
            let domain = self.domains.at(index);
            match domain.space {
                Some(space) => expect(self.spaces.is_live(space.index()), "a domain in a dead space", index)?,
                None => return expect(false, "a domain without a space", index),
            }
            let (mut next, mut previous) = (domain.first_thread, None);
            while let Some(thread) = next {
                let entry = self.thread(thread);
                expect(self.threads.is_live(thread.index()), "a domain lists a dead thread", index)?;
                expect(entry.domain == DomainId::from_index(index), "a thread in another's list", thread.index())?;
                expect(entry.previous_in_domain == previous, "a thread with a wrong link", thread.index())?;
                previous = next;
                next = entry.next_in_domain;
                listed += 1;
                expect(listed <= self.threads.length(), "a list of threads without an end", index)?;
            }
        }
        expect(listed == self.threads.live_indices().count(), "a thread in no domain's list", 0)
    }

    pub(super) fn blocks_agree_with_domains(&self) -> Result<(), Contradiction> {
        let mut used = 0;
        for index in self.domains.present_indices() {
            let domain = self.domains.at(index);
            let (first, count) = (domain.table_base as usize / BLOCK, domain.table_length as usize / BLOCK);
            expect(first * BLOCK == domain.table_base as usize, "a table that is not in whole blocks", index)?;
            expect(self.blocks.all_used(first, count), "a table in a free block", index)?;
            let end = domain.table_base + u32::from(domain.table_length);
            for other in self.domains.present_indices().filter(|other| *other != index) {
                let other = self.domains.at(other);
                let apart =
                    end <= other.table_base || other.table_base + u32::from(other.table_length) <= domain.table_base;
                expect(apart, "two tables in one block", index)?;
            }
            used += count;
        }
        expect(self.blocks.count() == used && used <= BLOCK_WORDS * 64, "a block in use that no table has", 0)
    }

    pub(super) fn device_spaces_are_apart(&self) -> Result<(), Contradiction> {
        for index in self.spaces.present_indices() {
            let space = self.spaces.at(index);
            expect(!space.is_device() || space.domains == 0, "a device space in which threads run", index)?;
            let Some(sources) = space.sources else {
                let in_use = space.is_device() && self.spaces.is_live(index);
                expect(!in_use, "a device space that lives and that no function sees", index)?;
                continue;
            };
            expect(space.is_device(), "a user space that devices see", index)?;
            let listed = self.seen_spaces().filter(|(id, _)| id.index() == index).count();
            expect(listed == 1, "a device space that is not in their list", index)?;
            for other in self.spaces.present_indices().filter(|other| *other != index) {
                let both = self.spaces.at(other).sources.is_some_and(|others| others.overlaps(sources));
                expect(!both, "a function that sees two spaces", index)?;
            }
        }
        Ok(())
    }

    pub(super) fn strays_are_told_in_order(&self) -> Result<(), Contradiction> {
        expect(self.strays.has_no_gap(), "a gap", 0)
    }
}
