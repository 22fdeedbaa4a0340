//! Calls that a server passes on.

use crate::scene::{ALL, BADGE, INTERFACE, Stage, by, endpoint, grant, peer, refused, stage, waits};
use abi::message::{Lease, MessageInfo, offset};
use abi::rights::EndpointRights;
use abi::time::{NEVER, NOW};
use abi::{Error, Handle, Syscall};
use model::machine::{BUFFER, DATA, Peer};

/// The stage, and below its server another one to which the server may forward.
struct Relay {
    s: Stage,
    last: Peer,
    onward: Handle,
    serve: Handle,
    endpoint: Handle,
}

fn relay() -> Relay {
    let mut s = stage();
    let endpoint = endpoint(&mut s.m, 1, 0);
    let last = peer(&mut s.m, 1, 2);
    let server = s.server;
    let onward = grant(&mut s.m, &server, endpoint, EndpointRights::CALL.bits(), 0x77);
    let serve = grant(&mut s.m, &last, endpoint, EndpointRights::RECEIVE.bits(), 0);
    Relay { s, last, onward, serve, endpoint }
}

#[test]
fn a_forwarded_call_arrives_with_words_leases_and_the_forwarders_badge() {
    let mut r = relay();
    let (client, call) = (r.s.client.id, r.s.call);
    r.s.m.switch_to(client);
    r.s.m.store(DATA, b"lent");
    r.s.m.store_words(BUFFER + offset::LEASES as u64, &[DATA, 4 | Lease::READ]);
    r.s.m.context_mut(client).words = [11, 12, 0, 0, 0, 0];
    waits(&mut r.s.m, client, Syscall::Call, &[call.0, MessageInfo::new(9, 2).with_leases(1).0, NEVER, INTERFACE]);
    let token = r.s.server_takes();
    let (server, last) = (r.s.server.id, r.last.id);
    by(&mut r.s.m, server, Syscall::Forward, &[token, r.onward.0]).unwrap();
    let [kind, badge, info, forwarded] =
        by(&mut r.s.m, last, Syscall::Receive, &[r.serve.0, 0, NOW]).expect("the call is there");
    assert_eq!((kind, badge), (0, 0x77));
    assert_eq!((MessageInfo(info).label(), MessageInfo(info).words(), MessageInfo(info).leases()), (9, 2, 1));
    assert_eq!(r.s.m.context(last).words[..2], [11, 12]);
    assert_eq!(by(&mut r.s.m, last, Syscall::LeaseRead, &[forwarded, 0, 0, DATA, 4]).unwrap()[0], 4);
    assert_eq!(r.s.m.load(DATA, 4), b"lent");
    by(&mut r.s.m, last, Syscall::Reply, &[forwarded, MessageInfo::new(5, 0).0]).unwrap();
    assert_eq!(MessageInfo(r.s.m.result_of(client).unwrap()[2]).label(), 5);
}

#[test]
fn a_call_forwarded_to_a_server_that_waits_is_nowhere_else() {
    let mut r = relay();
    let (server, last) = (r.s.server.id, r.last.id);
    waits(&mut r.s.m, last, Syscall::Receive, &[r.serve.0, 0, NEVER]);
    let token = r.s.pending_call();
    by(&mut r.s.m, server, Syscall::Forward, &[token, r.onward.0]).unwrap();
    r.s.m.check().expect("every invariant holds");
    let forwarded = r.s.m.result_of(last).expect("it has the call")[3];
    by(&mut r.s.m, last, Syscall::Reply, &[forwarded, 0]).expect("its caller waits for the answer");
    r.s.m.check().expect("every invariant holds");
}

#[test]
fn a_forwarded_call_is_not_the_forwarders_any_more() {
    let mut r = relay();
    let token = r.s.pending_call();
    let server = r.s.server.id;
    by(&mut r.s.m, server, Syscall::Forward, &[token, r.onward.0]).unwrap();
    refused(&mut r.s.m, server, Syscall::Reply, &[token, 0], Error::CallerGone);
    refused(&mut r.s.m, server, Syscall::Forward, &[token, r.onward.0], Error::CallerGone);
    let (root, domain) = (r.s.root, r.s.server.domain);
    by(&mut r.s.m, root, Syscall::Destroy, &[domain.0]).unwrap();
    let last = r.last.id;
    let forwarded = by(&mut r.s.m, last, Syscall::Receive, &[r.serve.0, 0, NOW]).expect("the call is there")[3];
    by(&mut r.s.m, last, Syscall::Reply, &[forwarded, 0]).expect("its caller waits although the forwarder is dead");
}

#[test]
fn a_call_is_forwarded_down_and_to_its_own_interface_only() {
    let mut r = relay();
    let (root, server, own) = (r.s.root, r.s.server, model::machine::own::ACCOUNT.0);
    r.s.m.switch_to(root);
    let level = endpoint(&mut r.s.m, crate::scene::SERVER_LEVEL, 0);
    let other = r.s.m.make(Syscall::EndpointCreate, &[own, INTERFACE + 1, 1, 0]);
    let same_level = grant(&mut r.s.m, &server, level, EndpointRights::CALL.bits(), 0);
    let other = grant(&mut r.s.m, &server, other, EndpointRights::CALL.bits(), 0);
    let deaf = grant(&mut r.s.m, &server, r.endpoint, EndpointRights::RECEIVE.bits(), 0);
    let token = r.s.pending_call();
    for (handle, error) in [
        (same_level, Error::WrongDirection),
        (other, Error::WrongInterface),
        (deaf, Error::MissingRight),
        (Handle(0), Error::BadHandle),
    ] {
        refused(&mut r.s.m, server.id, Syscall::Forward, &[token, handle.0], error);
    }
    by(&mut r.s.m, server.id, Syscall::Reply, &[token, 0]).expect("it is pending still");
}

#[test]
fn not_even_the_root_forwards_a_call_to_the_level_of_its_caller() {
    let mut s = stage();
    let (root, server) = (s.root, s.server);
    s.m.switch_to(root);
    let below = endpoint(&mut s.m, 1, 0);
    let call = grant(&mut s.m, &server, below, EndpointRights::CALL.bits(), 0);
    waits(&mut s.m, server.id, Syscall::Call, &[call.0, 0, NEVER, INTERFACE]);
    // The root is above everybody and takes the call all the same.
    let token = by(&mut s.m, root, Syscall::Receive, &[below.0, 0, NOW]).expect("a call is there")[3];
    let endpoint = s.endpoint.0;
    refused(&mut s.m, root, Syscall::Forward, &[token, endpoint], Error::WrongDirection);
    by(&mut s.m, root, Syscall::Forward, &[token, below.0]).expect("that is below its caller");
}

#[test]
fn capabilities_that_came_with_a_call_stay_with_the_forwarder() {
    let mut r = relay();
    let (root, client, call) = (r.s.root, r.s.client, r.s.call);
    r.s.m.switch_to(root);
    let bits = crate::scene::notification(&mut r.s.m);
    let given = grant(&mut r.s.m, &client, bits, ALL as u16, 0);
    r.s.m.switch_to(client.id);
    crate::scene::put_caps(&mut r.s.m, &[given]);
    waits(&mut r.s.m, client.id, Syscall::Call, &[call.0, MessageInfo::new(0, 0).with_caps(1).0, NEVER, INTERFACE]);
    let token = r.s.server_takes();
    let (server, last) = (r.s.server.id, r.last.id);
    by(&mut r.s.m, server, Syscall::Forward, &[token, r.onward.0]).unwrap();
    let info = by(&mut r.s.m, last, Syscall::Receive, &[r.serve.0, 4, NOW]).unwrap()[2];
    assert_eq!(MessageInfo(info).caps(), 0);
}

#[test]
fn a_forwarded_call_keeps_its_deadline() {
    let mut r = relay();
    let (client, call, server) = (r.s.client.id, r.s.call, r.s.server.id);
    r.s.m.switch_to(client);
    let deadline = r.s.m.now + 1_000_000_000;
    waits(&mut r.s.m, client, Syscall::Call, &[call.0, 0, deadline, INTERFACE]);
    let token = r.s.server_takes();
    by(&mut r.s.m, server, Syscall::Forward, &[token, r.onward.0]).unwrap();
    r.s.m.pass(1_000_000_000);
    assert_eq!(r.s.m.result_of(client), Err(Error::TimedOut));
    assert_ne!(BADGE, 0x77);
}
