//! Handles, copies, moves, deleting and revoking.

use super::cases;
use crate::bench::{Bench, inspect, statistics};
use crate::call::{call, notify, results, wait};
use crate::outcome::{Failure, Outcome, holds, refused, same};
use abi::rights::{DomainRights, EndpointRights, Kind, NotificationRights};
use abi::syscall::{Charge, Syscall};
use abi::time::NOW;
use abi::{Error, Handle, root};
use alloc::vec::Vec;

cases![
    a_handle_outside_of_the_table_is_refused,
    an_empty_slot_is_refused_as_stale,
    a_capability_of_another_kind_is_refused,
    a_missing_right_is_refused,
    a_copy_never_has_more_rights_than_its_original,
    a_badge_is_given_once_and_only_by_who_may_mint,
    a_capability_tells_its_kind_rights_and_badge,
    a_table_can_be_inspected_slot_by_slot,
    a_deleted_handle_stays_stale_when_its_slot_is_used_again,
    deleting_hands_what_was_made_from_it_to_the_parent,
    revoking_removes_all_descendants_and_keeps_the_capability,
    revoking_reaches_into_other_domains,
    granting_needs_the_right_to_grant,
    a_moved_capability_is_gone_from_where_it_was,
    a_capability_with_descendants_is_not_moved,
    a_full_table_takes_no_more,
    an_object_dies_with_its_last_capability,
    a_destroyed_object_makes_every_capability_stale,
    hundreds_of_descendants_are_revoked_by_one_call,
];

const ALL: u64 = u16::MAX as u64;

fn copy(handle: u64) -> Result<u64, Error> {
    call(Syscall::CapCopy, [handle, ALL, 0])
}

fn info(handle: u64) -> Result<u64, Error> {
    call(Syscall::CapInfo, [handle])
}

fn a_handle_outside_of_the_table_is_refused(_: &mut Bench) -> Outcome {
    for handle in [0, 1 << 16, Handle::new(root::TABLE_LENGTH, 1).0, Handle::new(u16::MAX, 1).0, u64::MAX, 1 << 48 | 5]
    {
        refused(info(handle), Error::BadHandle)?;
    }
    Ok(())
}

fn an_empty_slot_is_refused_as_stale(_: &mut Bench) -> Outcome {
    refused(info(Handle::new(root::TABLE_LENGTH - 1, 1).0), Error::StaleHandle)?;
    refused(info(Handle::new(root::ACCOUNT.index(), 2).0), Error::StaleHandle)
}

fn a_capability_of_another_kind_is_refused(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    refused(notify(endpoint, 1), Error::WrongKind)?;
    refused(call(Syscall::NotificationCreate, [root::SPACE.0]), Error::WrongKind)?;
    refused(call(Syscall::Map, [root::ACCOUNT.0, 0, 0, 0, 1, 1]), Error::WrongKind)?;
    refused(call(Syscall::Destroy, [root::PORTS.0]), Error::WrongKind)
}

fn a_missing_right_is_refused(bench: &mut Bench) -> Outcome {
    let notification = bench.notification()?;
    let deaf = call(Syscall::CapCopy, [notification, NotificationRights::NOTIFY.bits().into(), 0])?;
    let mute = call(Syscall::CapCopy, [notification, NotificationRights::WAIT.bits().into(), 0])?;
    refused(wait(deaf, NOW), Error::MissingRight)?;
    refused(notify(mute, 1), Error::MissingRight)?;
    refused(call(Syscall::Destroy, [mute]), Error::MissingRight)?;
    notify(deaf, 1)?;
    same(wait(mute, NOW)?, 1)
}

fn a_copy_never_has_more_rights_than_its_original(bench: &mut Bench) -> Outcome {
    let notification = bench.notification()?;
    let weak = call(Syscall::CapCopy, [notification, NotificationRights::WAIT.bits().into(), 0])?;
    let copied = copy(weak)?;
    same(results(Syscall::CapInfo, [copied]).rdi, NotificationRights::WAIT.bits().into())?;
    refused(notify(copied, 1), Error::MissingRight)
}

fn a_badge_is_given_once_and_only_by_who_may_mint(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    let badged = call(Syscall::CapCopy, [endpoint, ALL, 42])?;
    same(results(Syscall::CapInfo, [badged]).rsi, 42)?;
    refused(call(Syscall::CapCopy, [badged, ALL, 43]), Error::BadArgument)?;
    same(results(Syscall::CapInfo, [copy(badged)?]).rsi, 42)?;
    let plain = call(Syscall::CapCopy, [endpoint, EndpointRights::CALL.bits().into(), 0])?;
    refused(call(Syscall::CapCopy, [plain, ALL, 7]), Error::MissingRight)?;
    refused(call(Syscall::CapCopy, [root::ACCOUNT.0, ALL, 7]), Error::BadArgument)
}

fn a_capability_tells_its_kind_rights_and_badge(_: &mut Bench) -> Outcome {
    for (handle, kind) in [
        (root::DOMAIN, Kind::Domain),
        (root::SPACE, Kind::Space),
        (root::THREAD, Kind::Thread),
        (root::ACCOUNT, Kind::Account),
        (root::INTERRUPTS, Kind::InterruptControl),
        (root::PORTS, Kind::Ports),
        (root::SYSTEM, Kind::System),
        (root::BUDGET, Kind::Budget),
        (root::DEVICES, Kind::DeviceControl),
    ] {
        same(info(handle.0)?, kind as u64)?;
    }
    same(results(Syscall::CapInfo, [root::DOMAIN.0]).rdi, DomainRights::all().bits().into())
}

fn a_table_can_be_inspected_slot_by_slot(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    same(inspect(Handle(endpoint).index().into()), Some((Kind::Endpoint, endpoint)))?;
    same(inspect(0), None)?;
    let beyond = u64::from(root::TABLE_LENGTH);
    refused(call(Syscall::CapInspect, [root::DOMAIN.0, beyond]), Error::BadArgument)?;
    let blind = call(Syscall::CapCopy, [root::DOMAIN.0, DomainRights::GRANT.bits().into(), 0])?;
    refused(call(Syscall::CapInspect, [blind, 1]), Error::MissingRight)
}

fn a_deleted_handle_stays_stale_when_its_slot_is_used_again(bench: &mut Bench) -> Outcome {
    let notification = bench.notification()?;
    let old = copy(notification)?;
    call(Syscall::CapDelete, [old])?;
    refused(info(old), Error::StaleHandle)?;
    let new = copy(notification)?;
    same(Handle(new).index(), Handle(old).index())?;
    holds(new != old, "the slot has another generation")?;
    refused(info(old), Error::StaleHandle)?;
    refused(call(Syscall::CapDelete, [old]), Error::StaleHandle)?;
    info(new)?;
    Ok(())
}

fn deleting_hands_what_was_made_from_it_to_the_parent(bench: &mut Bench) -> Outcome {
    let first = bench.notification()?;
    let second = copy(first)?;
    let third = copy(second)?;
    call(Syscall::CapDelete, [second])?;
    notify(third, 1)?;
    call(Syscall::CapRevoke, [first])?;
    refused(info(third), Error::StaleHandle)
}

fn revoking_removes_all_descendants_and_keeps_the_capability(bench: &mut Bench) -> Outcome {
    let first = bench.notification()?;
    let second = copy(first)?;
    let (third, fourth) = (copy(second)?, copy(second)?);
    let fifth = copy(fourth)?;
    call(Syscall::CapRevoke, [second])?;
    for gone in [third, fourth, fifth] {
        refused(info(gone), Error::StaleHandle)?;
    }
    notify(second, 1)?;
    same(wait(first, NOW)?, 1)
}

fn revoking_reaches_into_other_domains(bench: &mut Bench) -> Outcome {
    let child = bench.child(50)?;
    let notification = bench.notification()?;
    let there = call(Syscall::CapGrant, [child.domain, notification, ALL, 0])?;
    let slot = u64::from(Handle(there).index());
    same(call(Syscall::CapInspect, [child.domain, slot])?, Kind::Notification as u64)?;
    call(Syscall::CapRevoke, [notification])?;
    same(call(Syscall::CapInspect, [child.domain, slot])?, 0)
}

fn granting_needs_the_right_to_grant(bench: &mut Bench) -> Outcome {
    let child = bench.child(50)?;
    let notification = bench.notification()?;
    let weak = call(Syscall::CapCopy, [child.domain, DomainRights::INSPECT.bits().into(), 0])?;
    refused(call(Syscall::CapGrant, [weak, notification, ALL, 0]), Error::MissingRight)?;
    refused(call(Syscall::CapMove, [weak, notification]), Error::MissingRight)?;
    let there = call(Syscall::CapGrant, [child.domain, notification, NotificationRights::WAIT.bits().into(), 0])?;
    let slot = u64::from(Handle(there).index());
    same(results(Syscall::CapInspect, [child.domain, slot]).rdi, NotificationRights::WAIT.bits().into())
}

fn a_moved_capability_is_gone_from_where_it_was(bench: &mut Bench) -> Outcome {
    let child = bench.child(50)?;
    let notification = bench.notification()?;
    let copied = copy(notification)?;
    let there = call(Syscall::CapMove, [child.domain, copied])?;
    refused(info(copied), Error::StaleHandle)?;
    let slot = u64::from(Handle(there).index());
    same(call(Syscall::CapInspect, [child.domain, slot])?, Kind::Notification as u64)?;
    // It kept its place among its relatives.
    call(Syscall::CapRevoke, [notification])?;
    same(call(Syscall::CapInspect, [child.domain, slot])?, 0)
}

fn a_capability_with_descendants_is_not_moved(bench: &mut Bench) -> Outcome {
    let child = bench.child(50)?;
    let notification = bench.notification()?;
    let copied = copy(notification)?;
    refused(call(Syscall::CapMove, [child.domain, notification]), Error::NotSoleOwner)?;
    info(copied)?;
    notify(notification, 1)?;
    Ok(())
}

fn a_full_table_takes_no_more(bench: &mut Bench) -> Outcome {
    let space = bench.space()?;
    let domain = call(Syscall::DomainCreate, [root::ACCOUNT.0, space, 50, 16, 0, 0])?;
    let notification = bench.notification()?;
    for _ in 1..16 {
        call(Syscall::CapGrant, [domain, notification, ALL, 0])?;
    }
    refused(call(Syscall::CapGrant, [domain, notification, ALL, 0]), Error::TableFull)?;
    refused(call(Syscall::CapMove, [domain, copy(notification)?]), Error::TableFull)?;
    for length in [0, 8, 24, 2048, u64::MAX] {
        let arguments = [root::ACCOUNT.0, space, 50, length, 0, 0];
        refused(call(Syscall::DomainCreate, arguments), Error::BadArgument)?;
    }
    Ok(())
}

fn notifications() -> Result<u64, Failure> {
    Ok(statistics()?.objects[Charge::Notifications as usize])
}

fn an_object_dies_with_its_last_capability(bench: &mut Bench) -> Outcome {
    let before = notifications()?;
    let first = bench.notification()?;
    let second = copy(first)?;
    call(Syscall::CapDelete, [first])?;
    same(notifications()?, before + 1)?;
    notify(second, 1)?;
    call(Syscall::CapDelete, [second])?;
    same(notifications()?, before)
}

fn a_destroyed_object_makes_every_capability_stale(bench: &mut Bench) -> Outcome {
    let first = bench.notification()?;
    let second = copy(first)?;
    call(Syscall::Destroy, [second])?;
    refused(notify(first, 1), Error::StaleHandle)?;
    refused(wait(second, NOW), Error::StaleHandle)?;
    refused(copy(first), Error::StaleHandle)?;
    // Another object in the same place is not meant.
    let next = bench.notification()?;
    refused(notify(first, 1), Error::StaleHandle)?;
    notify(next, 1)?;
    Ok(())
}

fn hundreds_of_descendants_are_revoked_by_one_call(bench: &mut Bench) -> Outcome {
    let first = bench.notification()?;
    let mut last = first;
    let mut made = Vec::new();
    for number in 0..300 {
        let new = copy(if number % 3 == 0 { first } else { last })?;
        made.push(new);
        last = new;
    }
    call(Syscall::CapRevoke, [first])?;
    for handle in made {
        refused(info(handle), Error::StaleHandle)?;
    }
    notify(first, 1)?;
    Ok(())
}
