//! Accounts: limits on kernel objects, so that nobody can exhaust what others were promised.

use crate::identity::AccountId;
use crate::kernel::{Kernel, Tables};
use crate::table::Vacant;
use abi::Error;
use abi::syscall::{ACCOUNT_DEPTH, AccountLimits, Charge};

/// A limit on kernel objects.
///
/// The limits of a sub-account are taken out of its parent's when it is made, so that a charge concerns one account only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    pub(crate) parent: Option<AccountId>,
    /// How many accounts are above it.
    pub(crate) depth: u8,
    pub(crate) limits: AccountLimits,
    pub(crate) used: AccountLimits,
}

impl Vacant for Account {
    const EMPTY: Self = Self { parent: None, depth: 0, limits: [0; Charge::COUNT], used: [0; Charge::COUNT] };
}

impl Account {
    /// Whether `amount` more of a kind fits.
    #[expect(clippy::indexing_slicing, reason = "a charge is a number below the array's length")]
    pub(crate) fn has_room(&self, charge: Charge, amount: u32) -> bool {
        let kind = charge as usize;
        self.limits[kind] - self.used[kind] >= amount
    }

    /// Whether nothing is charged.
    pub(crate) fn is_unused(&self) -> bool {
        self.used.iter().all(|used| *used == 0)
    }
}

impl<T: Tables> Kernel<T> {
    pub(crate) fn check_charge(&self, account: AccountId, charge: Charge, amount: u32) -> Result<(), Error> {
        if self.accounts.at(account.index()).has_room(charge, amount) { Ok(()) } else { Err(Error::QuotaExceeded) }
    }

    #[expect(clippy::indexing_slicing, reason = "a charge is a number below the array's length")]
    pub(crate) fn charge(&mut self, account: AccountId, charge: Charge, amount: u32) {
        if !(seeded!(QuotaUncharged) && matches!(charge, Charge::Notifications)) {
            self.accounts.at_mut(account.index()).used[charge as usize] += amount;
        }
        self.objects[charge as usize] += u64::from(amount);
    }

    #[expect(clippy::indexing_slicing, reason = "a charge is a number below the array's length")]
    pub(crate) fn discharge(&mut self, account: AccountId, charge: Charge, amount: u32) {
        self.accounts.at_mut(account.index()).used[charge as usize] -= amount;
        self.objects[charge as usize] -= u64::from(amount);
        self.close_unneeded(account);
    }

    /// Makes a sub-account; the limits, and one account, are charged to the parent.
    pub(crate) fn create_account(&mut self, parent: AccountId, limits: AccountLimits) -> (usize, u32) {
        let account = self.accounts.at_mut(parent.index());
        for (used, limit) in account.used.iter_mut().zip(limits) {
            *used += limit;
        }
        self.charge(parent, Charge::Accounts, 1);
        let depth = self.accounts.at(parent.index()).depth.saturating_add(1);
        self.accounts.insert(Account { parent: Some(parent), depth, limits, used: [0; Charge::COUNT] })
    }

    /// Whether the parent can give these limits away.
    pub(crate) fn check_limits(&self, parent: AccountId, limits: &AccountLimits) -> Result<(), Error> {
        let account = self.accounts.at(parent.index());
        if account.depth >= ACCOUNT_DEPTH {
            return Err(Error::BadArgument);
        }
        for (kind, ((limit, given), used)) in limits.iter().zip(account.limits).zip(account.used).enumerate() {
            let own = u32::from(kind == Charge::Accounts as usize);
            let wanted = limit.checked_add(own).ok_or(Error::QuotaExceeded)?;
            if given - used < wanted {
                return Err(Error::QuotaExceeded);
            }
        }
        Ok(())
    }

    /// Closes an account to which nothing is charged and that no capability names any more, and then those above it of
    /// which the same has become true: at most [`abi::syscall::ACCOUNT_DEPTH`].
    fn close_unneeded(&mut self, account: AccountId) {
        let mut next = Some(account);
        while let Some(account) = next {
            let index = account.index();
            let needed = self.accounts.references(index) > 0 || !self.accounts.at(index).is_unused();
            if needed || !self.accounts.is_live(index) {
                return;
            }
            next = self.bury_account(index);
        }
    }

    /// Closes an unused account, whoever has capabilities for it.
    pub(crate) fn close_account(&mut self, index: usize) {
        if let Some(parent) = self.bury_account(index) {
            self.close_unneeded(parent);
        }
    }

    /// Gives an unused account's limits back to its parent, and its slot. Returns the parent.
    #[expect(clippy::indexing_slicing, reason = "a charge is a number below the array's length")]
    fn bury_account(&mut self, index: usize) -> Option<AccountId> {
        let Account { parent, limits, .. } = *self.accounts.at(index);
        self.accounts.condemn(index);
        self.accounts.bury();
        let parent = parent?;
        let used = &mut self.accounts.at_mut(parent.index()).used;
        for (used, limit) in used.iter_mut().zip(limits) {
            *used -= limit;
        }
        used[Charge::Accounts as usize] -= 1;
        self.objects[Charge::Accounts as usize] -= 1;
        Some(parent)
    }
}
