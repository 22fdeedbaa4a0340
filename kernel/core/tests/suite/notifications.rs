//! Notifications: sticky bits.

use crate::scene::{ALL, boot, by, grant, notification, peer, refused, stage, stale, thread_in, waits};
use abi::rights::NotificationRights;
use abi::syscall::{NOTIFICATION_BITS, RECEIVED_BITS, RECEIVED_MESSAGE};
use abi::time::{NEVER, NOW, from_now};
use abi::{Error, Syscall};
use model::machine::own;

#[test]
fn bits_stick_until_somebody_waits_for_them() {
    let mut m = boot();
    let bits = notification(&mut m);
    m.sys(Syscall::Notify, &[bits.0, 1]).unwrap();
    m.sys(Syscall::Notify, &[bits.0, 4]).unwrap();
    m.sys(Syscall::Notify, &[bits.0, 4]).unwrap();
    assert_eq!(m.sys(Syscall::Wait, &[bits.0, NEVER]).unwrap()[0], 5);
    assert_eq!(m.sys(Syscall::Wait, &[bits.0, NOW]), Err(Error::WouldBlock));
}

#[test]
fn one_who_waits_is_woken_with_the_bits_and_they_are_gone() {
    let mut m = boot();
    let root = m.root.thread;
    let bits = notification(&mut m);
    let other = peer(&mut m, 1, 0);
    let theirs = grant(&mut m, &other, bits, NotificationRights::WAIT.bits(), 0);
    waits(&mut m, other.id, Syscall::Wait, &[theirs.0, NEVER]);
    by(&mut m, root, Syscall::Notify, &[bits.0, 6]).unwrap();
    assert_eq!(m.result_of(other.id).unwrap()[0], 6);
    assert_eq!(m.sys(Syscall::Wait, &[theirs.0, NOW]), Err(Error::WouldBlock));
}

#[test]
fn one_who_waits_may_have_been_moved_to_another_processor_meanwhile() {
    let mut m = boot();
    let root = m.root.thread;
    let other_cpu = m.start_cpu(1);
    let bits = notification(&mut m);
    let other = peer(&mut m, 1, 0);
    let theirs = grant(&mut m, &other, bits, NotificationRights::WAIT.bits(), 0);
    waits(&mut m, other.id, Syscall::Wait, &[theirs.0, NEVER]);
    by(&mut m, root, Syscall::BudgetMove, &[other.budget.0, 1]).unwrap();
    by(&mut m, root, Syscall::Notify, &[bits.0, 1]).unwrap();
    assert_eq!(m.on(other_cpu).current(), Some(other.id));
}

#[test]
fn a_badged_capability_sets_only_the_bits_of_its_badge() {
    let mut m = boot();
    let root = m.root.thread;
    let bits = notification(&mut m);
    let badged = m.make(Syscall::CapCopy, &[bits.0, ALL, 6]);
    m.sys(Syscall::Notify, &[badged.0, 2]).unwrap();
    m.sys(Syscall::Notify, &[badged.0, 6]).unwrap();
    for not_allowed in [1, 7, 8, 0] {
        refused(&mut m, root, Syscall::Notify, &[badged.0, not_allowed], Error::BadArgument);
    }
    // A badge is for ever.
    refused(&mut m, root, Syscall::CapCopy, &[badged.0, ALL, 2], Error::BadArgument);
}

#[test]
fn bits_that_would_look_like_errors_cannot_be_set() {
    let mut m = boot();
    let root = m.root.thread;
    let bits = notification(&mut m);
    for not_allowed in [0, 1 << 63, 1 << 62, u64::MAX] {
        refused(&mut m, root, Syscall::Notify, &[bits.0, not_allowed], Error::BadArgument);
    }
    m.sys(Syscall::Notify, &[bits.0, NOTIFICATION_BITS]).unwrap();
    assert_eq!(m.sys(Syscall::Wait, &[bits.0, NOW]).unwrap()[0], NOTIFICATION_BITS);
}

#[test]
fn notifying_and_waiting_need_their_rights() {
    let mut m = boot();
    let root = m.root.thread;
    let bits = notification(&mut m);
    let waiter = m.make(Syscall::CapCopy, &[bits.0, NotificationRights::WAIT.bits().into(), 0]);
    let notifier = m.make(Syscall::CapCopy, &[bits.0, NotificationRights::NOTIFY.bits().into(), 0]);
    refused(&mut m, root, Syscall::Notify, &[waiter.0, 1], Error::MissingRight);
    refused(&mut m, root, Syscall::Wait, &[notifier.0, NOW], Error::MissingRight);
    refused(&mut m, root, Syscall::CapCopy, &[notifier.0, ALL, 1], Error::MissingRight);
    refused(&mut m, root, Syscall::Notify, &[stale(bits), 1], Error::StaleHandle);
    refused(&mut m, root, Syscall::Wait, &[own::SPACE.0, NOW], Error::WrongKind);
}

#[test]
fn a_bound_thread_receives_calls_and_bits_at_one_place() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let bits = notification(&mut s.m);
    s.m.sys(Syscall::ThreadBind, &[s.server.thread.0, bits.0]).unwrap();
    waits(&mut s.m, s.server.id, Syscall::Receive, &[s.serve.0, 0, NEVER]);
    by(&mut s.m, s.root, Syscall::Notify, &[bits.0, 3]).unwrap();
    assert_eq!(s.m.result_of(s.server.id).unwrap()[..2], [RECEIVED_BITS, 3]);
    // Bits that are there come before calls.
    s.client_calls();
    by(&mut s.m, s.root, Syscall::Notify, &[bits.0, 8]).unwrap();
    assert_eq!(by(&mut s.m, s.server.id, Syscall::Receive, &[s.serve.0, 0, NEVER]).unwrap()[..2], [RECEIVED_BITS, 8]);
    s.server_takes();
}

#[test]
fn bits_take_a_bound_thread_out_of_those_who_receive_and_leave_the_others() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let bits = notification(&mut s.m);
    s.m.sys(Syscall::ThreadBind, &[s.server.thread.0, bits.0]).unwrap();
    let second = thread_in(&mut s.m, s.server.domain);
    let second = s.m.start(second);
    for (thread, deadline) in [(s.server.id, from_now(1_000_000)), (second, NEVER)] {
        waits(&mut s.m, thread, Syscall::Receive, &[s.serve.0, 0, deadline]);
    }
    by(&mut s.m, s.root, Syscall::Notify, &[bits.0, 3]).unwrap();
    assert_eq!(s.m.result_of(s.server.id).unwrap()[..2], [RECEIVED_BITS, 3]);
    s.client_calls();
    assert_eq!(s.m.result_of(second).expect("the call goes to who is left")[0], RECEIVED_MESSAGE);
    s.m.check().expect("every invariant holds");
}

#[test]
fn a_bound_thread_can_wait_for_its_bits_alone() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let bits = notification(&mut s.m);
    s.m.sys(Syscall::ThreadBind, &[s.server.thread.0, bits.0]).unwrap();
    waits(&mut s.m, s.server.id, Syscall::Receive, &[0, 0, NEVER]);
    s.client_calls();
    assert!(!s.m.kernel.is_ready(s.server.id));
    by(&mut s.m, s.root, Syscall::Notify, &[bits.0, 1]).unwrap();
    assert_eq!(s.m.result_of(s.server.id).unwrap()[..2], [RECEIVED_BITS, 1]);
}

#[test]
fn binding_hands_over_bits_that_are_set_already() {
    let mut s = stage();
    waits(&mut s.m, s.server.id, Syscall::Receive, &[s.serve.0, 0, NEVER]);
    s.m.switch_to(s.root);
    let bits = notification(&mut s.m);
    s.m.sys(Syscall::Notify, &[bits.0, 2]).unwrap();
    s.m.sys(Syscall::ThreadBind, &[s.server.thread.0, bits.0]).unwrap();
    assert_eq!(s.m.result_of(s.server.id).unwrap()[..2], [RECEIVED_BITS, 2]);
}

#[test]
fn a_notification_is_bound_to_one_thread_at_most() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let bits = notification(&mut s.m);
    s.m.sys(Syscall::ThreadBind, &[s.server.thread.0, bits.0]).unwrap();
    s.m.sys(Syscall::ThreadBind, &[s.server.thread.0, bits.0]).expect("binding again changes nothing");
    refused(&mut s.m, s.root, Syscall::ThreadBind, &[s.client.thread.0, bits.0], Error::InUse);
    // Unbound, or bound to another, it is free again.
    let other = notification(&mut s.m);
    s.m.sys(Syscall::ThreadBind, &[s.server.thread.0, other.0]).unwrap();
    s.m.sys(Syscall::ThreadBind, &[s.client.thread.0, bits.0]).unwrap();
    s.m.sys(Syscall::ThreadBind, &[s.client.thread.0, 0]).unwrap();
    s.m.sys(Syscall::ThreadBind, &[s.server.thread.0, bits.0]).unwrap();
    // And when the thread dies.
    s.m.sys(Syscall::Destroy, &[s.server.thread.0]).unwrap();
    s.m.sys(Syscall::ThreadBind, &[s.client.thread.0, bits.0]).unwrap();
}

#[test]
fn binding_needs_control_of_the_thread_and_the_right_to_wait() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let bits = notification(&mut s.m);
    let notifier = s.m.make(Syscall::CapCopy, &[bits.0, NotificationRights::NOTIFY.bits().into(), 0]);
    let weak = s.m.make(Syscall::CapCopy, &[s.server.thread.0, 0, 0]);
    refused(&mut s.m, s.root, Syscall::ThreadBind, &[s.server.thread.0, notifier.0], Error::MissingRight);
    refused(&mut s.m, s.root, Syscall::ThreadBind, &[weak.0, bits.0], Error::MissingRight);
}

#[test]
fn a_destroyed_notification_wakes_those_who_wait() {
    let mut m = boot();
    let root = m.root.thread;
    let bits = notification(&mut m);
    let other = peer(&mut m, 1, 0);
    let theirs = grant(&mut m, &other, bits, NotificationRights::WAIT.bits(), 0);
    waits(&mut m, other.id, Syscall::Wait, &[theirs.0, NEVER]);
    by(&mut m, root, Syscall::Destroy, &[bits.0]).unwrap();
    assert_eq!(m.result_of(other.id), Err(Error::StaleHandle));
    refused(&mut m, root, Syscall::Notify, &[bits.0, 1], Error::StaleHandle);
}

#[test]
fn a_notification_dies_with_its_last_capability() {
    let mut m = boot();
    let root = m.root.thread;
    let bits = notification(&mut m);
    let copy = m.make(Syscall::CapCopy, &[bits.0, ALL, 0]);
    m.sys(Syscall::CapDelete, &[bits.0]).unwrap();
    m.sys(Syscall::Notify, &[copy.0, 1]).unwrap();
    let kind = 3 + abi::syscall::Charge::Notifications as usize;
    assert_eq!(crate::scene::statistics(&mut m)[kind], 1);
    m.sys(Syscall::CapDelete, &[copy.0]).unwrap();
    assert_eq!(crate::scene::statistics(&mut m)[kind], 0);
    refused(&mut m, root, Syscall::Notify, &[copy.0, 1], Error::StaleHandle);
}

#[test]
fn a_doorbell_tells_of_calls_that_find_nobody_receiving() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let bits = notification(&mut s.m);
    s.m.sys(Syscall::EndpointBind, &[s.endpoint.0, bits.0, 16]).unwrap();
    s.client_calls();
    assert_eq!(by(&mut s.m, s.root, Syscall::Wait, &[bits.0, NOW]).unwrap()[0], 16);
    // One that finds a receiver needs no bell.
    let token = s.server_takes();
    by(&mut s.m, s.server.id, Syscall::Reply, &[token, 0]).unwrap();
    waits(&mut s.m, s.server.id, Syscall::Receive, &[s.serve.0, 0, NEVER]);
    s.m.result_of(s.client.id).unwrap();
    s.client_calls();
    refused_poll(&mut s, bits.0);
    // Unbound, it is silent.
    s.m.result_of(s.server.id).unwrap();
    by(&mut s.m, s.root, Syscall::EndpointBind, &[s.endpoint.0, 0, 0]).unwrap();
    by(&mut s.m, s.root, Syscall::ThreadStop, &[s.client.thread.0]).unwrap();
    by(&mut s.m, s.root, Syscall::ThreadStart, &[s.client.thread.0, 1, 0, 0]).unwrap();
    s.client_calls();
    refused_poll(&mut s, bits.0);
}

fn refused_poll(s: &mut crate::scene::Stage, bits: u64) {
    assert_eq!(by(&mut s.m, s.root, Syscall::Wait, &[bits, NOW]), Err(Error::WouldBlock));
}

#[test]
fn a_doorbell_hung_late_rings_for_those_who_wait_already() {
    let mut s = stage();
    s.client_calls();
    s.m.switch_to(s.root);
    let bits = notification(&mut s.m);
    s.m.sys(Syscall::EndpointBind, &[s.endpoint.0, bits.0, 1]).unwrap();
    assert_eq!(s.m.sys(Syscall::Wait, &[bits.0, NOW]).unwrap()[0], 1);
}

#[test]
fn a_doorbell_that_is_destroyed_is_silent() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let bits = notification(&mut s.m);
    s.m.sys(Syscall::EndpointBind, &[s.endpoint.0, bits.0, 1]).unwrap();
    s.m.sys(Syscall::Destroy, &[bits.0]).unwrap();
    let next = notification(&mut s.m);
    s.client_calls();
    refused_poll(&mut s, next.0);
}

#[test]
fn hanging_a_doorbell_needs_the_endpoints_receiver_and_allowed_bits() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let bits = notification(&mut s.m);
    let badged = grant(&mut s.m, &s.server, bits, NotificationRights::NOTIFY.bits(), 2);
    let client = grant(&mut s.m, &s.client, bits, NotificationRights::NOTIFY.bits(), 2);
    refused(&mut s.m, s.server.id, Syscall::EndpointBind, &[s.serve.0, badged.0, 1], Error::BadArgument);
    refused(&mut s.m, s.client.id, Syscall::EndpointBind, &[s.call.0, client.0, 2], Error::MissingRight);
    by(&mut s.m, s.server.id, Syscall::EndpointBind, &[s.serve.0, badged.0, 2]).unwrap();
}
