//! Accounts: limits, what they are taken from, and when they come back.

use super::cases;
use crate::bench::{Bench, INTERFACE};
use crate::call::call;
use crate::outcome::{Outcome, refused, same};
use abi::rights::AccountRights;
use abi::syscall::{AccountLimits, Charge, Syscall};
use abi::{Error, root};

cases![
    a_used_up_quota_is_refused_until_something_is_given_back,
    every_kind_of_object_is_charged,
    a_sub_accounts_limits_are_taken_out_of_its_parent,
    an_account_tells_limits_and_use,
    an_account_that_is_in_use_is_not_destroyed,
    the_root_account_is_never_destroyed,
    limits_are_read_from_readable_memory_only,
    an_account_needs_its_rights,
];

fn used(account: u64) -> Result<[(u32, u32); Charge::COUNT], Error> {
    let mut words = [0u64; Charge::COUNT];
    call(Syscall::AccountInfo, [account, words.as_mut_ptr() as u64, Charge::COUNT as u64])?;
    Ok(words.map(|word| (word as u32, (word >> 32) as u32)))
}

fn a_used_up_quota_is_refused_until_something_is_given_back(bench: &mut Bench) -> Outcome {
    let account = bench.account(&[(Charge::Notifications, 2)])?;
    let first = call(Syscall::NotificationCreate, [account])?;
    call(Syscall::NotificationCreate, [account])?;
    refused(call(Syscall::NotificationCreate, [account]), Error::QuotaExceeded)?;
    call(Syscall::CapDelete, [first])?;
    call(Syscall::NotificationCreate, [account])?;
    Ok(())
}

fn every_kind_of_object_is_charged(bench: &mut Bench) -> Outcome {
    let poor = bench.account(&[])?;
    let space = bench.space()?;
    let child = bench.child(50)?;
    let (memory, budget) = (bench.memory(1)?, bench.budget(10)?);
    refused(call(Syscall::NotificationCreate, [poor]), Error::QuotaExceeded)?;
    refused(call(Syscall::EndpointCreate, [poor, INTERFACE, 1, 0]), Error::QuotaExceeded)?;
    refused(call(Syscall::BudgetCreate, [poor, 1, 1_000_000, 1_000_000]), Error::QuotaExceeded)?;
    refused(call(Syscall::SpaceCreate, [poor, memory, 0]), Error::QuotaExceeded)?;
    refused(call(Syscall::DomainCreate, [poor, space, 1, 16, 0, 0]), Error::QuotaExceeded)?;
    refused(call(Syscall::ThreadCreate, [poor, child.domain, budget]), Error::QuotaExceeded)?;
    let limits: AccountLimits = [0; Charge::COUNT];
    refused(call(Syscall::AccountCreate, [poor, limits.as_ptr() as u64]), Error::QuotaExceeded)?;
    // Enough domains, but too few slots for the table.
    let small = bench.account(&[(Charge::Domains, 1), (Charge::CapSlots, 31)])?;
    refused(call(Syscall::DomainCreate, [small, space, 1, 32, 0, 0]), Error::QuotaExceeded)?;
    call(Syscall::DomainCreate, [small, space, 1, 16, 0, 0])?;
    Ok(())
}

fn a_sub_accounts_limits_are_taken_out_of_its_parent(bench: &mut Bench) -> Outcome {
    let parent = bench.account(&[(Charge::Notifications, 3), (Charge::Accounts, 1)])?;
    let mut limits: AccountLimits = [0; Charge::COUNT];
    limits[Charge::Notifications as usize] = 4;
    refused(call(Syscall::AccountCreate, [parent, limits.as_ptr() as u64]), Error::QuotaExceeded)?;
    limits[Charge::Notifications as usize] = 2;
    let account = call(Syscall::AccountCreate, [parent, limits.as_ptr() as u64])?;
    call(Syscall::NotificationCreate, [parent])?;
    refused(call(Syscall::NotificationCreate, [parent]), Error::QuotaExceeded)?;
    call(Syscall::Destroy, [account])?;
    call(Syscall::NotificationCreate, [parent])?;
    call(Syscall::NotificationCreate, [parent])?;
    Ok(())
}

fn an_account_tells_limits_and_use(bench: &mut Bench) -> Outcome {
    let account = bench.account(&[(Charge::Notifications, 5), (Charge::Endpoints, 1)])?;
    call(Syscall::NotificationCreate, [account])?;
    let found = used(account)?;
    same(found[Charge::Notifications as usize], (5, 1))?;
    same(found[Charge::Endpoints as usize], (1, 0))?;
    same(found[Charge::Domains as usize], (0, 0))
}

fn an_account_that_is_in_use_is_not_destroyed(bench: &mut Bench) -> Outcome {
    let account = bench.account(&[(Charge::Notifications, 1)])?;
    let notification = call(Syscall::NotificationCreate, [account])?;
    refused(call(Syscall::Destroy, [account]), Error::WrongState)?;
    call(Syscall::Destroy, [notification])?;
    call(Syscall::Destroy, [account])?;
    refused(call(Syscall::NotificationCreate, [account]), Error::StaleHandle)
}

fn the_root_account_is_never_destroyed(_: &mut Bench) -> Outcome {
    refused(call(Syscall::Destroy, [root::ACCOUNT.0]), Error::WrongState)
}

fn limits_are_read_from_readable_memory_only(_: &mut Bench) -> Outcome {
    for address in [0, 0x1000, abi::USER_END - 8, abi::boot::DIRECT_MAP_BASE, u64::MAX] {
        refused(call(Syscall::AccountCreate, [root::ACCOUNT.0, address]), Error::BadAddress)?;
    }
    Ok(())
}

fn an_account_needs_its_rights(_: &mut Bench) -> Outcome {
    let blind = call(Syscall::CapCopy, [root::ACCOUNT.0, AccountRights::CREATE.bits().into(), 0])?;
    let words = [0u64; Charge::COUNT];
    refused(call(Syscall::AccountInfo, [blind, words.as_ptr() as u64, 10]), Error::MissingRight)?;
    refused(call(Syscall::Destroy, [blind]), Error::MissingRight)?;
    let barren = call(Syscall::CapCopy, [root::ACCOUNT.0, AccountRights::INSPECT.bits().into(), 0])?;
    refused(call(Syscall::NotificationCreate, [barren]), Error::MissingRight)
}
