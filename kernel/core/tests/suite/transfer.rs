//! Capabilities that travel with messages.

use crate::scene::{ALL, INTERFACE, Stage, by, got_caps, notification, put_caps, refused, stage, stale, waits};
use abi::message::{MAX_CAPS, MessageInfo};
use abi::rights::{EndpointRights, Kind};
use abi::time::{NEVER, NOW};
use abi::{Error, Handle, Syscall};
use model::machine::own;

fn with_caps(caps: u8) -> u64 {
    MessageInfo::new(0, 0).with_caps(caps).0
}

/// The client's own capability of a notification.
fn token_of_client(s: &mut Stage) -> Handle {
    s.m.switch_to(s.root);
    let made = notification(&mut s.m);
    s.m.make(Syscall::CapGrant, &[s.client.domain.0, made.0, ALL, 0])
}

/// The client calls with a capability; the server receives with room for `accepts`. Returns the info that it sees.
fn send(s: &mut Stage, handles: &[Handle], accepts: u64) -> (MessageInfo, u64) {
    s.m.switch_to(s.client.id);
    put_caps(&mut s.m, handles);
    waits(&mut s.m, s.client.id, Syscall::Call, &[s.call.0, with_caps(handles.len() as u8), NEVER, INTERFACE]);
    let [_, _, info, token] = by(&mut s.m, s.server.id, Syscall::Receive, &[s.serve.0, accepts, NOW]).unwrap();
    (MessageInfo(info), token)
}

#[test]
fn a_capability_sent_with_a_call_is_a_child_of_the_senders() {
    let mut s = stage();
    let sent = token_of_client(&mut s);
    let (info, _) = send(&mut s, &[sent], 4);
    assert_eq!(info.caps(), 1);
    let got = got_caps(&s.m, 1)[0];
    assert_eq!(by(&mut s.m, s.server.id, Syscall::CapInfo, &[got.0]).unwrap()[0], Kind::Notification as u64);
    by(&mut s.m, s.server.id, Syscall::Notify, &[got.0, 1]).unwrap();
    by(&mut s.m, s.root, Syscall::ThreadStop, &[s.client.thread.0]).unwrap();
    by(&mut s.m, s.root, Syscall::ThreadStart, &[s.client.thread.0, 0x1000, 0x2000, 0]).unwrap();
    by(&mut s.m, s.client.id, Syscall::CapRevoke, &[sent.0]).unwrap();
    refused(&mut s.m, s.server.id, Syscall::Notify, &[got.0, 1], Error::StaleHandle);
}

#[test]
fn a_capability_can_come_back_with_the_answer() {
    let mut s = stage();
    let token = s.pending_call();
    put_caps(&mut s.m, &[s.serve]);
    by(&mut s.m, s.server.id, Syscall::Reply, &[token, with_caps(1)]).unwrap();
    let info = MessageInfo(s.m.result_of(s.client.id).unwrap()[2]);
    assert_eq!(info.caps(), 1);
    let got = got_caps(&s.m, 1)[0];
    assert_eq!(s.m.sys(Syscall::CapInfo, &[got.0]).unwrap()[1], u64::from(EndpointRights::RECEIVE.bits()));
}

#[test]
fn the_receiver_gets_no_more_capabilities_than_it_accepts() {
    let mut s = stage();
    let sent = token_of_client(&mut s);
    let (info, _) = send(&mut s, &[sent, sent, sent], 1);
    assert_eq!(info.caps(), 1);
    let mut s = stage();
    let sent = token_of_client(&mut s);
    let (info, _) = send(&mut s, &[sent], 0);
    assert_eq!(info.caps(), 0);
}

#[test]
fn a_full_table_takes_none_and_the_message_arrives_without() {
    let mut s = stage();
    let sent = token_of_client(&mut s);
    s.m.switch_to(s.server.id);
    while s.m.sys(Syscall::CapCopy, &[s.serve.0, ALL, 0]).is_ok() {}
    let (info, _) = send(&mut s, &[sent], 4);
    assert_eq!(info.caps(), 1);
    assert_eq!(got_caps(&s.m, 1), [Handle::NONE]);
}

#[test]
fn a_capability_that_became_stale_while_the_call_waited_arrives_as_none_in_its_place() {
    let mut s = stage();
    let gone = token_of_client(&mut s);
    let good = token_of_client(&mut s);
    s.m.switch_to(s.client.id);
    put_caps(&mut s.m, &[gone, good]);
    waits(&mut s.m, s.client.id, Syscall::Call, &[s.call.0, with_caps(2), NEVER, INTERFACE]);
    // The root takes the first one back.
    s.m.switch_to(s.root);
    let masters: Vec<Handle> = (1..60)
        .map(|index| s.m.sys(Syscall::CapInspect, &[own::DOMAIN.0, index]).unwrap())
        .filter(|slot| slot[0] == Kind::Notification as u64)
        .map(|slot| Handle(slot[3]))
        .collect();
    s.m.sys(Syscall::CapRevoke, &[masters[0].0]).unwrap();
    by(&mut s.m, s.server.id, Syscall::Receive, &[s.serve.0, 4, NOW]).unwrap();
    let got = got_caps(&s.m, 2);
    assert_eq!(got[0], Handle::NONE);
    s.m.sys(Syscall::Notify, &[got[1].0, 1]).unwrap();
}

#[test]
fn sending_needs_capabilities_the_right_to_grant_and_a_buffer() {
    let mut s = stage();
    let sent = token_of_client(&mut s);
    s.m.switch_to(s.client.id);
    put_caps(&mut s.m, &[Handle(stale(sent))]);
    refused(&mut s.m, s.client.id, Syscall::Call, &[s.call.0, with_caps(1), NEVER, INTERFACE], Error::StaleHandle);
    put_caps(&mut s.m, &[Handle::NONE]);
    refused(&mut s.m, s.client.id, Syscall::Call, &[s.call.0, with_caps(1), NEVER, INTERFACE], Error::BadHandle);
    put_caps(&mut s.m, &[sent]);
    let plain = s.m.make(Syscall::CapCopy, &[s.call.0, EndpointRights::CALL.bits().into(), 0]);
    refused(&mut s.m, s.client.id, Syscall::Call, &[plain.0, with_caps(1), NEVER, INTERFACE], Error::MissingRight);

    s.m.switch_to(s.root);
    let thread = crate::scene::thread_in(&mut s.m, s.client.domain);
    let bare = s.m.start(thread);
    for info in [with_caps(1), MessageInfo::new(0, 7).0, MessageInfo::new(0, 0).with_leases(1).0] {
        refused(&mut s.m, bare, Syscall::Call, &[s.call.0, info, NEVER, INTERFACE], Error::NoBuffer);
    }
}

#[test]
fn as_many_capabilities_travel_as_a_message_can_have() {
    let mut s = stage();
    let sent = token_of_client(&mut s);
    let (info, _) = send(&mut s, &[sent; MAX_CAPS], 4);
    assert_eq!(info.caps(), MAX_CAPS);
    let got = got_caps(&s.m, MAX_CAPS as u64);
    assert!(got.iter().all(|handle| s.m.kernel.canonical_handle(s.server.id, *handle).is_some()));
}
