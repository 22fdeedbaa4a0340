//! Faults become messages to the domain's handler.

use crate::scene::{INTERFACE, M, boot, by, endpoint, grant, info, peer, peer_watched, refused, waits};
use abi::fault::{FAULT_INTERFACE, FAULT_WORDS, FaultKind};
use abi::rights::EndpointRights;
use abi::time::{NEVER, NOW};
use abi::{Error, Handle, Syscall};
use kernel_core::{FaultReport, ThreadId};
use model::machine::{Peer, own};

const BADGE: u64 = 44;

/// A root that hears of the faults of one domain.
fn watched() -> (M, Handle, Peer) {
    let mut m = boot();
    let handler = m.make(Syscall::EndpointCreate, &[own::ACCOUNT.0, FAULT_INTERFACE, 0, 0]);
    let faulty = peer_watched(&mut m, 5, 0, handler, BADGE);
    (m, handler, faulty)
}

fn fault(m: &mut M, thread: ThreadId, kind: FaultKind, address: u64) {
    m.switch_to(thread);
    m.fault(FaultReport { kind, address, code: 0 });
}

/// The root takes the fault; returns the token.
fn take(m: &mut M, handler: Handle) -> u64 {
    let root = m.root.thread;
    by(m, root, Syscall::Receive, &[handler.0, 0, NOW]).expect("a fault is there")[3]
}

#[test]
fn the_handler_hears_who_faulted_where_and_why() {
    let (mut m, handler, faulty) = watched();
    fault(&mut m, faulty.id, FaultKind::Write, 0xdead_beef);
    let root = m.root.thread;
    let [_, badge, got, _] = by(&mut m, root, Syscall::Receive, &[handler.0, 0, NOW]).unwrap();
    assert_eq!((badge, got), (BADGE, info(FaultKind::Write as u32, FAULT_WORDS)));
    assert_eq!(m.context(root).words, [0xdead_beef, 0x1000, 0x2000, 0, 0, faulty.id.index() as u64]);
}

#[test]
fn a_handler_that_waits_hears_at_once() {
    let (mut m, handler, faulty) = watched();
    let root = m.root.thread;
    waits(&mut m, root, Syscall::Receive, &[handler.0, 0, NEVER]);
    fault(&mut m, faulty.id, FaultKind::Read, 8);
    assert_eq!(m.result_of(root).unwrap()[1], BADGE);
}

#[test]
fn an_answer_lets_the_thread_go_on_where_it_was() {
    let (mut m, handler, faulty) = watched();
    fault(&mut m, faulty.id, FaultKind::Read, 8);
    let token = take(&mut m, handler);
    m.sys(Syscall::Reply, &[token, 0]).unwrap();
    m.switch_to(faulty.id);
    assert!(m.context(faulty.id).repaired);
}

#[test]
fn an_answer_does_not_bring_back_what_ended_on_purpose() {
    for syscall in [Syscall::ThreadExit, Syscall::ThreadPanic] {
        let (mut m, handler, faulty) = watched();
        waits(&mut m, faulty.id, syscall, &[3]);
        let token = take(&mut m, handler);
        assert_eq!(m.context(m.root.thread).words[3], 3, "the code travels");
        m.sys(Syscall::Reply, &[token, 0]).unwrap();
        assert!(!m.kernel.is_ready(faulty.id));
        m.start(faulty.thread);
    }
}

#[test]
fn without_a_handler_a_fault_stops_the_thread() {
    let mut m = boot();
    let faulty = peer(&mut m, 5, 0);
    fault(&mut m, faulty.id, FaultKind::Divide, 0);
    assert!(!m.kernel.is_ready(faulty.id));
    m.switch_to(m.root.thread);
    m.start(faulty.thread);
}

#[test]
fn with_a_handler_that_is_gone_a_fault_stops_the_thread() {
    let (mut m, handler, faulty) = watched();
    m.sys(Syscall::Destroy, &[handler.0]).unwrap();
    fault(&mut m, faulty.id, FaultKind::Divide, 0);
    m.switch_to(m.root.thread);
    m.start(faulty.thread);
}

#[test]
fn a_fault_that_waits_when_its_handler_goes_stops_the_thread() {
    let (mut m, handler, faulty) = watched();
    fault(&mut m, faulty.id, FaultKind::Divide, 0);
    m.switch_to(m.root.thread);
    m.sys(Syscall::Destroy, &[handler.0]).unwrap();
    m.start(faulty.thread);
}

/// A supervisor in a domain of its own that hears of the faults of another.
fn supervised() -> (M, Handle, Peer, Peer) {
    let (mut m, handler, faulty) = watched();
    let supervisor = peer(&mut m, 0, 1);
    (m, handler, faulty, supervisor)
}

#[test]
fn a_fault_outlives_the_handler_that_had_taken_it() {
    for last_thread_only in [false, true] {
        let (mut m, handler, faulty, supervisor) = supervised();
        let faults = grant(&mut m, &supervisor, handler, EndpointRights::RECEIVE.bits(), 0);
        fault(&mut m, faulty.id, FaultKind::Read, 8);
        by(&mut m, supervisor.id, Syscall::Receive, &[faults.0, 0, NOW]).expect("the fault is taken");
        let victim = if last_thread_only { supervisor.thread } else { supervisor.domain };
        let root = m.root.thread;
        by(&mut m, root, Syscall::Destroy, &[victim.0]).unwrap();
        let [_, badge, got, token] = by(&mut m, root, Syscall::Receive, &[handler.0, 0, NOW]).unwrap();
        assert_eq!((badge, got), (BADGE, info(FaultKind::Read as u32, FAULT_WORDS)));
        m.sys(Syscall::Reply, &[token, 0]).unwrap();
        m.switch_to(faulty.id);
        assert!(m.context(faulty.id).repaired);
    }
}

#[test]
fn a_client_that_broke_the_protocol_faults_with_the_servers_code() {
    let (mut m, handler, client) = watched();
    let served = endpoint(&mut m, 1, 0);
    let server = peer(&mut m, 1, 1);
    let call = grant(&mut m, &client, served, EndpointRights::CALL.bits(), 0);
    let serve = grant(&mut m, &server, served, EndpointRights::RECEIVE.bits(), 0);
    waits(&mut m, client.id, Syscall::Call, &[call.0, 0, NEVER, INTERFACE]);
    let token = by(&mut m, server.id, Syscall::Receive, &[serve.0, 0, NOW]).unwrap()[3];
    by(&mut m, server.id, Syscall::ReplyFault, &[token, 99]).unwrap();
    let root = m.root.thread;
    let [_, _, got, token] = by(&mut m, root, Syscall::Receive, &[handler.0, 0, NOW]).unwrap();
    assert_eq!(got, info(FaultKind::Protocol as u32, FAULT_WORDS));
    assert_eq!(m.context(root).words[3], 99);
    // Repaired, its call returns with an error.
    m.sys(Syscall::Reply, &[token, 0]).unwrap();
    assert_eq!(m.result_of(client.id), Err(Error::ProtocolFault));
}

#[test]
fn only_an_endpoint_for_faults_can_be_a_handler() {
    let mut m = boot();
    let root = m.root.thread;
    let plain = endpoint(&mut m, 0, 0);
    let faults = m.make(Syscall::EndpointCreate, &[own::ACCOUNT.0, FAULT_INTERFACE, 0, 0]);
    let weak = m.make(Syscall::CapCopy, &[faults.0, EndpointRights::RECEIVE.bits().into(), 0]);
    let arguments = |handler: Handle| [own::ACCOUNT.0, own::SPACE.0, 1, 16, handler.0, 0];
    refused(&mut m, root, Syscall::DomainCreate, &arguments(plain), Error::WrongInterface);
    refused(&mut m, root, Syscall::DomainCreate, &arguments(weak), Error::MissingRight);
    refused(&mut m, root, Syscall::DomainCreate, &arguments(own::DOMAIN), Error::WrongKind);
    m.sys(Syscall::DomainCreate, &arguments(faults)).unwrap();
}

#[test]
fn a_faulting_server_keeps_its_pending_calls() {
    let (mut m, handler, server) = watched();
    let served = endpoint(&mut m, 5, 0);
    let client = peer(&mut m, 9, 1);
    let call = grant(&mut m, &client, served, EndpointRights::CALL.bits(), 0);
    let serve = grant(&mut m, &server, served, EndpointRights::RECEIVE.bits(), 0);
    waits(&mut m, client.id, Syscall::Call, &[call.0, 0, NEVER, INTERFACE]);
    let token = by(&mut m, server.id, Syscall::Receive, &[serve.0, 0, NOW]).unwrap()[3];
    fault(&mut m, server.id, FaultKind::Read, 8);
    let fault = take(&mut m, handler);
    m.sys(Syscall::Reply, &[fault, 0]).unwrap();
    by(&mut m, server.id, Syscall::Reply, &[token, 0]).unwrap();
    assert!(m.result_of(client.id).is_ok());
}
