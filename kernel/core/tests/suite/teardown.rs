//! Taking apart in pieces: between any two of them everything else goes on.

use crate::scene::{
    ALL, CLIENT_LEVEL, INTERFACE, M, SPARE, Stage, boot, by, endpoint, grant, notification, peer, refused, stage,
    statistics, usage, waits,
};
use abi::rights::EndpointRights;
use abi::syscall::Charge;
use abi::time::{NEVER, NOW};
use abi::{Error, Handle, Syscall};
use kernel_core::ThreadId;
use model::machine::{Peer, own};

/// A stage whose server has much to take apart: a full table, many callers, mappings.
fn laden() -> (Stage, Vec<Peer>) {
    let mut s = stage();
    s.m.switch_to(s.root);
    let other = peer(&mut s.m, CLIENT_LEVEL, 2);
    let call = grant(&mut s.m, &other, s.endpoint, EndpointRights::CALL.bits(), 0);
    for index in 0..6 {
        let arguments = [s.server.space.0, own::RAM.0, 0x41_0000 + index * 4096, SPARE + index, 1, 3];
        s.m.sys(Syscall::Map, &arguments).unwrap();
    }
    s.pending_call();
    waits(&mut s.m, other.id, Syscall::Call, &[call.0, 0, NEVER, INTERFACE]);
    s.server_takes();
    s.m.switch_to(s.server.id);
    while s.m.sys(Syscall::CapCopy, &[s.serve.0, ALL, 0]).is_ok() {}
    s.m.switch_to(s.root);
    (s, vec![other])
}

/// Executes a destroy in pieces, with something else before each; returns how many pieces it took.
fn in_pieces(m: &mut M, thread: ThreadId, handle: Handle, mut between: impl FnMut(&mut M, usize)) -> usize {
    let mut pieces = 0;
    m.switch_to(thread);
    m.enter(Syscall::Destroy as u64, [handle.0, 0, 0, 0, 0, 0]).expect("it can be destroyed");
    while m.context(thread).again {
        between(m, pieces);
        m.switch_to(thread);
        assert!(m.repeat());
        m.switch_to(thread);
        pieces += 1;
        assert!(pieces < 1000, "it comes to an end");
    }
    pieces
}

#[test]
fn a_domain_is_taken_apart_in_bounded_pieces() {
    let (mut s, _) = laden();
    let before = usage(&mut s.m, Charge::CapSlots).1;
    let (root, domain) = (s.root, s.server.domain);
    let pieces = in_pieces(&mut s.m, root, domain, |_, _| {});
    assert!(pieces > 16, "a full table is more than one piece");
    assert_eq!(usage(&mut s.m, Charge::CapSlots).1, before - 16);
    assert_eq!(s.m.result_of(s.client.id), Err(Error::PeerDied));
}

#[test]
fn others_go_on_between_the_pieces() {
    let (mut s, _) = laden();
    let bits = notification(&mut s.m);
    let (root, domain) = (s.root, s.server.domain);
    let bystander = peer(&mut s.m, 1, 3);
    let theirs = grant(&mut s.m, &bystander, bits, u16::MAX, 0);
    in_pieces(&mut s.m, root, domain, |m, piece| {
        by(m, bystander.id, Syscall::Notify, &[theirs.0, 1 << (piece % 60)]).unwrap();
        by(m, bystander.id, Syscall::Wait, &[theirs.0, NOW]).unwrap();
        // Its own teardown helps with the first one.
        let copy = by(m, bystander.id, Syscall::CapCopy, &[theirs.0, ALL, 0]).unwrap()[0];
        if piece < 3 {
            m.call(Syscall::CapDelete, &[copy]);
        }
    });
    assert_eq!(s.m.result_of(s.client.id), Err(Error::PeerDied));
}

#[test]
fn a_condemned_domain_acquires_nothing_and_its_threads_are_refused_everything() {
    let (mut s, _) = laden();
    let (root, server) = (s.root, s.server);
    s.m.switch_to(root);
    s.m.enter(Syscall::Destroy as u64, [server.domain.0, 0, 0, 0, 0, 0]).unwrap();
    // Still ready, for a moment.
    if s.m.kernel.is_ready(server.id) {
        s.m.switch_to(server.id);
        assert_eq!(s.m.sys(Syscall::Clock, &[]), Err(Error::StaleHandle));
        assert_eq!(s.m.sys(Syscall::CapCopy, &[s.serve.0, ALL, 0]), Err(Error::StaleHandle));
    }
    s.m.switch_to(root);
    while s.m.repeat() {
        s.m.switch_to(root);
    }
    refused(&mut s.m, root, Syscall::CapGrant, &[server.domain.0, own::SPACE.0, ALL, 0], Error::StaleHandle);
    refused(&mut s.m, root, Syscall::ThreadStart, &[server.thread.0, 1, 1, 1], Error::StaleHandle);
}

#[test]
fn whoever_comes_next_finishes_what_a_killed_destroyer_began() {
    let (mut s, _) = laden();
    // A supervisor with the right to destroy the server begins, and is destroyed in the middle.
    let supervisor = peer(&mut s.m, 0, 3);
    let theirs = grant(&mut s.m, &supervisor, s.server.domain, u16::MAX, 0);
    let slots = usage(&mut s.m, Charge::CapSlots).1;
    s.m.switch_to(supervisor.id);
    s.m.enter(Syscall::Destroy as u64, [theirs.0, 0, 0, 0, 0, 0]).unwrap();
    for _ in 0..3 {
        s.m.switch_to(supervisor.id);
        assert!(s.m.repeat());
    }
    by(&mut s.m, s.root, Syscall::Destroy, &[supervisor.domain.0]).unwrap();
    assert_eq!(usage(&mut s.m, Charge::CapSlots).1, slots - 32);
    assert_eq!(s.m.result_of(s.client.id), Err(Error::PeerDied));
}

#[test]
fn two_destroyers_of_one_domain_both_succeed() {
    let (mut s, _) = laden();
    let supervisor = peer(&mut s.m, 0, 3);
    let theirs = grant(&mut s.m, &supervisor, s.server.domain, u16::MAX, 0);
    let (root, domain) = (s.root, s.server.domain);
    s.m.switch_to(supervisor.id);
    s.m.enter(Syscall::Destroy as u64, [theirs.0, 0, 0, 0, 0, 0]).unwrap();
    in_pieces(&mut s.m, root, domain, |m, _| {
        m.switch_to(supervisor.id);
        m.repeat();
    });
    s.m.switch_to(supervisor.id);
    while s.m.repeat() {
        s.m.switch_to(supervisor.id);
    }
    assert_eq!(s.m.result_of(supervisor.id).unwrap()[0], 0);
}

#[test]
fn a_dead_domain_takes_nobody_with_it() {
    let mut s = stage();
    s.m.switch_to(s.root);
    // The server makes an endpoint, its client gets a copy; the root holds the master.
    let master = endpoint(&mut s.m, 1, 0);
    let servers = grant(&mut s.m, &s.server, master, u16::MAX, 0);
    let to_client = grant(&mut s.m, &s.server, s.client.domain, u16::MAX, 0);
    let clients = by(&mut s.m, s.server.id, Syscall::CapGrant, &[to_client.0, servers.0, ALL, 9]).unwrap()[0];
    by(&mut s.m, s.root, Syscall::Destroy, &[s.server.domain.0]).unwrap();
    waits(&mut s.m, s.client.id, Syscall::Call, &[clients, 0, NEVER, INTERFACE]);
    // What the dead one had made from its own is now the root's to revoke.
    by(&mut s.m, s.root, Syscall::CapRevoke, &[master.0]).unwrap();
    by(&mut s.m, s.root, Syscall::ThreadStop, &[s.client.thread.0]).unwrap();
    by(&mut s.m, s.root, Syscall::ThreadStart, &[s.client.thread.0, 1, 0, 0]).unwrap();
    refused(&mut s.m, s.client.id, Syscall::Call, &[clients, 0, NEVER, INTERFACE], Error::StaleHandle);
}

#[test]
fn objects_that_only_a_dead_domain_held_die_with_it() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let account = grant(&mut s.m, &s.server, own::ACCOUNT, u16::MAX, 0);
    let before = statistics(&mut s.m);
    s.m.switch_to(s.server.id);
    s.m.make(Syscall::EndpointCreate, &[account.0, 1, 1, 1]);
    let bits = s.m.make(Syscall::NotificationCreate, &[account.0]);
    s.m.make(Syscall::BudgetCreate, &[account.0, 1, 10_000, 10_000]);
    waits(&mut s.m, s.server.id, Syscall::Wait, &[bits.0, NEVER]);
    by(&mut s.m, s.root, Syscall::Destroy, &[s.server.domain.0]).unwrap();
    let after = statistics(&mut s.m);
    for kind in [Charge::Endpoints, Charge::Notifications] {
        assert_eq!(after[3 + kind as usize], before[3 + kind as usize]);
    }
    assert_eq!(after[3 + Charge::Budgets as usize], before[3 + Charge::Budgets as usize], "its reserve is the root's");
}

#[test]
fn a_domain_that_holds_the_last_capability_of_another_takes_it_along() {
    let mut m = boot();
    let before = statistics(&mut m);
    let holder = peer(&mut m, 1, 0);
    let held = peer(&mut m, 1, 1);
    m.make(Syscall::CapMove, &[holder.domain.0, held.domain.0]);
    m.sys(Syscall::Destroy, &[holder.domain.0]).unwrap();
    for handle in [holder.domain, holder.space, holder.thread, holder.budget, held.space, held.thread, held.budget] {
        m.sys(Syscall::CapDelete, &[handle.0]).unwrap();
    }
    assert_eq!(statistics(&mut m), before);
}

#[test]
fn a_domain_dies_with_its_last_capability() {
    let mut s = stage();
    s.pending_call();
    by(&mut s.m, s.root, Syscall::CapDelete, &[s.server.domain.0]).unwrap();
    assert_eq!(s.m.result_of(s.client.id), Err(Error::PeerDied));
}

#[test]
fn a_hundred_restarts_leave_as_much_in_use_as_one() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let mut server = s.server;
    let mut after_first = None;
    for round in 0..100 {
        s.m.switch_to(s.root);
        for handle in [server.domain, server.space] {
            s.m.sys(Syscall::Destroy, &[handle.0]).unwrap();
        }
        for handle in [server.domain, server.space, server.thread, server.budget] {
            s.m.sys(Syscall::CapDelete, &[handle.0]).unwrap();
        }
        if s.m.kernel.is_ready(s.client.id) && round > 0 {
            assert_eq!(s.m.result_of(s.client.id), Err(Error::PeerDied));
            s.m.switch_to(s.root);
        }
        let now = statistics(&mut s.m);
        assert_eq!(*after_first.get_or_insert(now.clone()), now, "round {round}");
        server = peer(&mut s.m, crate::scene::SERVER_LEVEL, 1);
        s.server = server;
        s.serve = grant(&mut s.m, &server, s.endpoint, EndpointRights::RECEIVE.bits(), 0);
        s.pending_call();
    }
}

#[test]
fn many_callers_hear_of_a_destroyed_endpoint_whatever_their_number() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let mut callers = Vec::new();
    for _ in 0..20 {
        let thread = crate::scene::thread_in(&mut s.m, s.client.domain);
        callers.push(s.m.start(thread));
    }
    for caller in &callers {
        waits(&mut s.m, *caller, Syscall::Call, &[s.call.0, 0, NEVER, INTERFACE]);
    }
    // Half of them are taken.
    for _ in 0..10 {
        s.server_takes();
    }
    by(&mut s.m, s.root, Syscall::Destroy, &[s.endpoint.0]).unwrap();
    by(&mut s.m, s.root, Syscall::Destroy, &[s.server.domain.0]).unwrap();
    for (index, caller) in callers.iter().enumerate() {
        let error = if index < 10 { Error::PeerDied } else { Error::EndpointGone };
        assert_eq!(s.m.result_of(*caller), Err(error), "caller {index}");
    }
}

#[test]
fn a_revoke_that_is_interrupted_leaves_a_legal_state_and_can_be_finished_by_another() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let master = notification(&mut s.m);
    let copies: Vec<Handle> = (0..30).map(|_| s.m.make(Syscall::CapCopy, &[master.0, ALL, 0])).collect();
    s.m.enter(Syscall::CapRevoke as u64, [master.0, 0, 0, 0, 0, 0]).unwrap();
    s.m.repeat();
    // The same thread is stopped in the middle and does something else.
    let root = s.root;
    let mut gone = 0;
    for handle in &copies {
        gone += usize::from(s.m.kernel.canonical_handle(root, *handle).is_none());
    }
    assert!((1..30).contains(&gone), "{gone}");
    while s.m.repeat() {
        s.m.switch_to(root);
    }
    assert!(copies.iter().all(|handle| s.m.kernel.canonical_handle(root, *handle).is_none()));
}
