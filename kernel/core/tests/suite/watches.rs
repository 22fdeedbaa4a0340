//! Watches: a server learns of calls that are over without its answer.

use crate::scene::{INTERFACE, Stage, boot, by, endpoint, grant, notification, peer, refused, stage, waits};
use abi::rights::{EndpointRights, NotificationRights};
use abi::syscall::RECEIVED_BITS;
use abi::time::{NEVER, NOW};
use abi::{Error, Handle, Syscall};

const SOON: u64 = 1_000_000_000;
const BITS: u64 = 0x20;

/// The stage with its endpoint watched.
fn watched() -> (Stage, Handle) {
    let mut s = stage();
    s.m.switch_to(s.root);
    let bits = notification(&mut s.m);
    s.m.sys(Syscall::EndpointWatch, &[s.endpoint.0, bits.0, BITS]).unwrap();
    (s, bits)
}

fn heard(s: &mut Stage, bits: Handle) -> Result<u64, Error> {
    by(&mut s.m, s.root, Syscall::Wait, &[bits.0, NOW]).map(|result| result[0])
}

#[test]
fn a_watch_tells_of_a_call_whose_deadline_passes_while_it_is_worked_on() {
    let (mut s, bits) = watched();
    let deadline = s.m.now + SOON;
    waits(&mut s.m, s.client.id, Syscall::Call, &[s.call.0, 0, deadline, INTERFACE]);
    let token = s.server_takes();
    assert_eq!(heard(&mut s, bits), Err(Error::WouldBlock));
    refused(&mut s.m, s.server.id, Syscall::LeaseInfo, &[token, 0], Error::BadLease);
    s.m.pass(SOON);
    assert_eq!(heard(&mut s, bits), Ok(BITS));
    refused(&mut s.m, s.server.id, Syscall::LeaseInfo, &[token, 0], Error::CallerGone);
}

#[test]
fn a_watch_tells_of_callers_that_are_stopped_or_die() {
    let (mut s, bits) = watched();
    s.pending_call();
    by(&mut s.m, s.root, Syscall::ThreadStop, &[s.client.thread.0]).unwrap();
    assert_eq!(heard(&mut s, bits), Ok(BITS));
    by(&mut s.m, s.root, Syscall::ThreadStart, &[s.client.thread.0, 1, 0, 0]).unwrap();
    s.pending_call();
    by(&mut s.m, s.root, Syscall::Destroy, &[s.client.domain.0]).unwrap();
    assert_eq!(heard(&mut s, bits), Ok(BITS), "once, however many pieces the death has");
    assert_eq!(heard(&mut s, bits), Err(Error::WouldBlock));
}

#[test]
fn a_watch_is_silent_about_answers_and_blame() {
    let (mut s, bits) = watched();
    let token = s.pending_call();
    by(&mut s.m, s.server.id, Syscall::Reply, &[token, 0]).unwrap();
    assert_eq!(heard(&mut s, bits), Err(Error::WouldBlock));
    s.m.result_of(s.client.id).unwrap();
    let token = s.pending_call();
    by(&mut s.m, s.server.id, Syscall::ReplyFault, &[token, 1]).unwrap();
    assert_eq!(heard(&mut s, bits), Err(Error::WouldBlock));
}

#[test]
fn a_watch_is_silent_about_calls_that_nobody_has_taken() {
    let (mut s, bits) = watched();
    let deadline = s.m.now + SOON;
    waits(&mut s.m, s.client.id, Syscall::Call, &[s.call.0, 0, deadline, INTERFACE]);
    s.m.pass(SOON);
    assert_eq!(s.m.result_of(s.client.id), Err(Error::TimedOut));
    assert_eq!(heard(&mut s, bits), Err(Error::WouldBlock));
}

#[test]
fn a_watch_is_silent_when_the_server_is_the_one_that_dies() {
    let (mut s, bits) = watched();
    s.pending_call();
    by(&mut s.m, s.root, Syscall::Destroy, &[s.server.domain.0]).unwrap();
    assert_eq!(s.m.result_of(s.client.id), Err(Error::PeerDied));
    assert_eq!(heard(&mut s, bits), Err(Error::WouldBlock));
}

#[test]
fn a_watch_ends_with_notification_0_and_can_begin_while_a_call_is_worked_on() {
    let (mut s, bits) = watched();
    s.pending_call();
    by(&mut s.m, s.root, Syscall::EndpointWatch, &[s.endpoint.0, 0, 0]).unwrap();
    by(&mut s.m, s.root, Syscall::ThreadStop, &[s.client.thread.0]).unwrap();
    assert_eq!(heard(&mut s, bits), Err(Error::WouldBlock));
    by(&mut s.m, s.root, Syscall::ThreadStart, &[s.client.thread.0, 1, 0, 0]).unwrap();
    s.pending_call();
    by(&mut s.m, s.root, Syscall::EndpointWatch, &[s.endpoint.0, bits.0, 1]).unwrap();
    by(&mut s.m, s.root, Syscall::ThreadStop, &[s.client.thread.0]).unwrap();
    assert_eq!(heard(&mut s, bits), Ok(1));
}

#[test]
fn a_watch_whose_notification_or_endpoint_is_gone_is_silent() {
    let (mut s, bits) = watched();
    s.pending_call();
    by(&mut s.m, s.root, Syscall::Destroy, &[bits.0]).unwrap();
    let next = notification(&mut s.m);
    by(&mut s.m, s.root, Syscall::ThreadStop, &[s.client.thread.0]).unwrap();
    assert_eq!(heard(&mut s, next), Err(Error::WouldBlock));
    by(&mut s.m, s.root, Syscall::ThreadStart, &[s.client.thread.0, 1, 0, 0]).unwrap();
    s.pending_call();
    by(&mut s.m, s.root, Syscall::EndpointWatch, &[s.endpoint.0, next.0, 1]).unwrap();
    by(&mut s.m, s.root, Syscall::Destroy, &[s.endpoint.0]).unwrap();
    let other = endpoint(&mut s.m, 1, 0);
    s.m.sys(Syscall::EndpointWatch, &[other.0, next.0, 1]).unwrap();
    by(&mut s.m, s.root, Syscall::ThreadStop, &[s.client.thread.0]).unwrap();
    assert_eq!(heard(&mut s, next), Err(Error::WouldBlock), "the call was taken at an endpoint that is gone");
}

#[test]
fn a_call_that_was_passed_on_is_watched_where_it_was_received_last() {
    let (mut s, first) = watched();
    let lower = endpoint(&mut s.m, 1, 0);
    let second = notification(&mut s.m);
    s.m.sys(Syscall::EndpointWatch, &[lower.0, second.0, 1]).unwrap();
    let last = peer(&mut s.m, 1, 2);
    let onward = grant(&mut s.m, &s.server, lower, EndpointRights::CALL.bits(), 0);
    let serve = grant(&mut s.m, &last, lower, EndpointRights::RECEIVE.bits(), 0);
    let token = s.pending_call();
    by(&mut s.m, s.server.id, Syscall::Forward, &[token, onward.0]).unwrap();
    assert_eq!(heard(&mut s, first), Err(Error::WouldBlock));
    by(&mut s.m, last.id, Syscall::Receive, &[serve.0, 0, NOW]).unwrap();
    by(&mut s.m, s.root, Syscall::ThreadStop, &[s.client.thread.0]).unwrap();
    assert_eq!(heard(&mut s, first), Err(Error::WouldBlock));
    assert_eq!(heard(&mut s, second), Ok(1));
}

#[test]
fn a_server_that_waits_for_calls_is_woken_by_its_watch() {
    let (mut s, bits) = watched();
    by(&mut s.m, s.root, Syscall::ThreadBind, &[s.server.thread.0, bits.0]).unwrap();
    s.pending_call();
    waits(&mut s.m, s.server.id, Syscall::Receive, &[s.serve.0, 0, NEVER]);
    by(&mut s.m, s.root, Syscall::Destroy, &[s.client.domain.0]).unwrap();
    assert_eq!(s.m.result_of(s.server.id).unwrap()[..2], [RECEIVED_BITS, BITS]);
}

#[test]
fn watching_needs_the_endpoints_receiver_and_allowed_bits() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let bits = notification(&mut s.m);
    let badged = grant(&mut s.m, &s.server, bits, NotificationRights::NOTIFY.bits(), 2);
    let client = grant(&mut s.m, &s.client, bits, NotificationRights::NOTIFY.bits(), 2);
    refused(&mut s.m, s.server.id, Syscall::EndpointWatch, &[s.serve.0, badged.0, 1], Error::BadArgument);
    refused(&mut s.m, s.client.id, Syscall::EndpointWatch, &[s.call.0, client.0, 2], Error::MissingRight);
    by(&mut s.m, s.server.id, Syscall::EndpointWatch, &[s.serve.0, badged.0, 2]).unwrap();
    let mut m = boot();
    let (root, own) = (m.root.thread, notification(&mut m));
    refused(&mut m, root, Syscall::EndpointWatch, &[own.0, own.0, 1], Error::WrongKind);
}
