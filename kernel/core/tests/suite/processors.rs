//! Several processors: who runs where, and what one has to know of another's changes.

use crate::scene::{INTERFACE, M, boot, endpoint, grant, peer_at, refused, waits};
use abi::rights::EndpointRights;
use abi::syscall::MapAccess;
use abi::time::NEVER;
use abi::{Error, Handle, Syscall};
use kernel_core::CpuId;
use model::Outcome;
use model::machine::{DATA, Peer, own};

/// A machine with two processors that enter the kernel only when a test lets them.
fn pair() -> (M, CpuId) {
    let mut m = boot();
    let other = m.start_cpu(1);
    m.obedient = false;
    (m, other)
}

/// A domain whose thread belongs to the second processor and runs there.
fn neighbour(m: &mut M, other: CpuId, number: u64) -> Peer {
    let peer = peer_at(m, 1, 100, number, (Handle::NONE, 0));
    m.sys(Syscall::BudgetMove, &[peer.budget.0, other.index() as u64]).unwrap();
    assert!(m.kernel.is_kicked(other), "it is told of its work");
    m.on(other).look();
    assert_eq!(m.current(), Some(peer.id));
    m.on(CpuId::BOOT);
    peer
}

#[test]
fn threads_run_at_the_same_time_on_two_processors() {
    let (mut m, other) = pair();
    let peer = neighbour(&mut m, other, 0);
    assert_eq!(m.current(), Some(m.root.thread));
    assert_eq!(m.kernel.current(other), Some(peer.id));
    m.on(other).sys(Syscall::Clock, &[]).unwrap();
    m.on(CpuId::BOOT).sys(Syscall::Clock, &[]).unwrap();
}

#[test]
fn stopping_a_thread_that_runs_elsewhere_lasts_until_it_has_been_let_go() {
    let (mut m, other) = pair();
    let peer = neighbour(&mut m, other, 0);
    let root = m.root.thread;
    m.enter(Syscall::ThreadStop as u64, [peer.thread.0, 0, 0, 0, 0, 0]).unwrap();
    assert!(m.context(root).again, "its registers are still there");
    assert!(m.kernel.is_kicked(other));
    m.repeat();
    assert!(m.context(root).again);
    m.enter(Syscall::ThreadStart as u64, [peer.thread.0, 0x1000, 0x2000, 0, 0, 0]).unwrap();
    assert!(m.context(root).again, "and nobody starts it meanwhile");
    m.on(other).look();
    assert_eq!(m.current(), None);
    m.on(CpuId::BOOT).sys(Syscall::ThreadStop, &[peer.thread.0]).unwrap();
    m.start(peer.thread);
    m.on(other).look();
    assert_eq!(m.current(), Some(peer.id));
}

#[test]
fn a_system_call_of_a_thread_that_was_stopped_meanwhile_does_nothing() {
    let (mut m, other) = pair();
    let peer = neighbour(&mut m, other, 0);
    m.enter(Syscall::ThreadStop as u64, [peer.thread.0, 0, 0, 0, 0, 0]).unwrap();
    let refusal = m.on(other).enter(Syscall::Clock as u64, [0; 6]).expect_err("nobody makes it");
    assert_eq!(refusal.error, Error::WrongState);
    assert_eq!(m.current(), None);
}

#[test]
fn a_thread_that_runs_elsewhere_dies_once_it_has_been_let_go() {
    let (mut m, other) = pair();
    let peer = neighbour(&mut m, other, 0);
    let root = m.root.thread;
    m.enter(Syscall::Destroy as u64, [peer.domain.0, 0, 0, 0, 0, 0]).unwrap();
    for _ in 0..100 {
        m.repeat();
    }
    assert!(m.context(root).again, "its table and its space are there as long as it runs");
    m.on(other).look();
    m.on(CpuId::BOOT);
    while m.context(root).again {
        m.repeat();
    }
    m.sys(Syscall::Destroy, &[peer.space.0]).unwrap();
    m.sys(Syscall::Destroy, &[peer.budget.0]).unwrap();
}

#[test]
fn a_thread_that_runs_elsewhere_is_destroyed_once_it_has_been_let_go() {
    let (mut m, other) = pair();
    let peer = neighbour(&mut m, other, 0);
    let root = m.root.thread;
    m.enter(Syscall::Destroy as u64, [peer.thread.0, 0, 0, 0, 0, 0]).unwrap();
    for _ in 0..10 {
        m.repeat();
    }
    assert!(m.context(root).again, "its registers are still there");
    assert_eq!(m.kernel.domain_of(peer.id).map(|_| ()), Some(()), "and so is it");
    assert!(m.kernel.is_kicked(other));
    m.on(other).look();
    m.on(CpuId::BOOT);
    while m.context(root).again {
        m.repeat();
    }
    assert_eq!(m.kernel.domain_of(peer.id), None);
}

#[test]
fn a_processor_is_disturbed_only_by_whoever_changes_what_it_does() {
    for (priority, disturbed) in [(99, false), (100, true), (101, true)] {
        let (mut m, other) = pair();
        neighbour(&mut m, other, 0);
        let second = peer_at(&mut m, 1, priority, 1, (Handle::NONE, 0));
        m.sys(Syscall::BudgetMove, &[second.budget.0, 1]).unwrap();
        assert_eq!(m.kernel.is_kicked(other), disturbed, "by priority {priority} beside 100");
    }
}

#[test]
fn an_equal_disturbs_nobody_whose_turn_does_not_end() {
    let (mut m, other) = pair();
    let first = peer_at(&mut m, 1, 100, 0, (Handle::NONE, 0));
    let bounded = m.make(Syscall::BudgetCreate, &[own::ACCOUNT.0, 100, 1_000_000, 10_000_000, 1]);
    let thread = m.make(Syscall::ThreadCreate, &[own::ACCOUNT.0, first.domain.0, bounded.0]);
    let id = m.start(thread);
    m.on(other).look();
    assert_eq!(m.current(), Some(id));
    m.on(CpuId::BOOT);
    let second = peer_at(&mut m, 1, 100, 1, (Handle::NONE, 0));
    m.sys(Syscall::BudgetMove, &[second.budget.0, 1]).unwrap();
    assert!(!m.kernel.is_kicked(other));
}

#[test]
fn a_processor_hears_of_a_deadline_that_is_earlier_than_all_that_it_knows() {
    const MS: u64 = 1_000_000;
    for (sleeps, disturbed) in [(NEVER, true), (MS, false)] {
        let (mut m, other) = pair();
        let peer = peer_at(&mut m, 1, 100, 0, (Handle::NONE, 0));
        let bounded = m.make(Syscall::BudgetCreate, &[own::ACCOUNT.0, 100, MS, 10 * MS, 1]);
        let thread = m.make(Syscall::ThreadCreate, &[own::ACCOUNT.0, peer.domain.0, bounded.0]);
        let dry = m.start(thread);
        let second = peer_at(&mut m, 1, 50, 1, (Handle::NONE, 0));
        m.sys(Syscall::BudgetMove, &[second.budget.0, 1]).unwrap();
        m.on(other).look();
        assert_eq!(m.current(), Some(dry));
        m.pass(MS + MS / 10);
        assert_eq!(m.current(), Some(second.id), "the other one's budget is dry");
        let until = if sleeps == NEVER { NEVER } else { m.now + sleeps };
        m.call(Syscall::Wait, &[0, until]);
        m.on(CpuId::BOOT).sys(Syscall::ThreadStop, &[thread.0]).unwrap();
        m.on(other).look();
        m.on(CpuId::BOOT).sys(Syscall::ThreadStart, &[thread.0, 0x1000, 0x2000, 0]).unwrap();
        assert_eq!(m.kernel.is_kicked(other), disturbed, "while another deadline is {sleeps} ns away");
    }
}

#[test]
fn what_a_server_has_used_elsewhere_is_its_callers_even_if_the_loan_ends_meanwhile() {
    const MS: u64 = 1_000_000;
    let (mut m, other) = pair();
    let endpoint = endpoint(&mut m, 1, 0);
    let server = neighbour(&mut m, other, 0);
    let peer = peer_at(&mut m, 5, 200, 1, (Handle::NONE, 0));
    let bounded = m.make(Syscall::BudgetCreate, &[own::ACCOUNT.0, 200, 2 * MS, 20 * MS, 1]);
    let thread = m.make(Syscall::ThreadCreate, &[own::ACCOUNT.0, peer.domain.0, bounded.0]);
    let call = grant(&mut m, &peer, endpoint, EndpointRights::CALL.bits(), 0);
    let serve = grant(&mut m, &server, endpoint, EndpointRights::RECEIVE.bits(), 0);
    m.on(other);
    waits(&mut m, server.id, Syscall::Receive, &[serve.0, 0, NEVER]);
    let client = m.on(CpuId::BOOT).start(thread);
    m.on(other).look();
    assert_eq!(m.current(), Some(client));
    assert_eq!(m.call(Syscall::Call, &[call.0, 0, NEVER, INTERFACE]), Outcome::Away);
    assert_eq!(m.current(), Some(server.id), "on the loan");
    // The other processor does not enter the kernel meanwhile.
    m.on(CpuId::BOOT).pass(3 * MS / 2);
    m.sys(Syscall::ThreadStop, &[thread.0]).unwrap();
    m.sys(Syscall::ThreadStart, &[thread.0, 0x1000, 0x2000, 0]).unwrap();
    m.on(other).look();
    assert_eq!(m.current(), Some(client));
    m.pass(MS);
    assert_eq!(m.current(), Some(server.id), "of the client's 2 ms the server has used more than one");
}

#[test]
fn registers_of_a_thread_that_runs_cannot_be_read() {
    let (mut m, other) = pair();
    let peer = neighbour(&mut m, other, 0);
    let root = m.root.thread;
    refused(&mut m, root, Syscall::ThreadRead, &[peer.thread.0, DATA], Error::WrongState);
}

#[test]
fn a_server_works_on_the_processor_of_its_caller() {
    let (mut m, other) = pair();
    let endpoint = endpoint(&mut m, 1, 0);
    let server = neighbour(&mut m, other, 0);
    let client = peer_at(&mut m, 5, 200, 1, (Handle::NONE, 0));
    let call = grant(&mut m, &client, endpoint, EndpointRights::CALL.bits(), 0);
    let serve = grant(&mut m, &server, endpoint, EndpointRights::RECEIVE.bits(), 0);
    m.on(other);
    waits(&mut m, server.id, Syscall::Receive, &[serve.0, 0, NEVER]);
    assert_eq!(m.current(), None);
    m.on(CpuId::BOOT);
    m.call(Syscall::Wait, &[0, NEVER]);
    assert_eq!(m.current(), Some(client.id));
    assert_eq!(m.call(Syscall::Call, &[call.0, 0, NEVER, INTERFACE]), Outcome::Away);
    assert_eq!(m.current(), Some(server.id), "without a detour");
    assert!(!m.kernel.is_kicked(other));
    let token = m.context(server.id).result.unwrap()[3];
    m.call(Syscall::Reply, &[token, 0]);
    assert_eq!(m.current(), Some(client.id));
    assert!(m.kernel.is_kicked(other), "back on its own budget, the server belongs there again");
    m.on(other).look();
    assert_eq!(m.current(), Some(server.id));
}

#[test]
fn a_callers_death_sends_its_server_home_from_the_processor_on_which_it_runs() {
    let (mut m, other) = pair();
    let endpoint = endpoint(&mut m, 1, 0);
    let server = peer_at(&mut m, 1, 100, 0, (Handle::NONE, 0));
    let client = peer_at(&mut m, 5, 200, 1, (Handle::NONE, 0));
    let call = grant(&mut m, &client, endpoint, EndpointRights::CALL.bits(), 0);
    let serve = grant(&mut m, &server, endpoint, EndpointRights::RECEIVE.bits(), 0);
    m.sys(Syscall::BudgetMove, &[client.budget.0, 1]).unwrap();
    m.on(other).look();
    assert_eq!(m.call(Syscall::Call, &[call.0, 0, NEVER, INTERFACE]), Outcome::Away);
    m.on(CpuId::BOOT);
    let until = m.now + 1_000_000;
    m.call(Syscall::Wait, &[0, until]);
    assert_eq!(m.current(), Some(server.id));
    m.enter(Syscall::Receive as u64, [serve.0, 0, NEVER, 0, 0, 0]).unwrap();
    assert_eq!(m.current(), None, "it goes to the caller's processor");
    m.on(other).look();
    assert_eq!(m.current(), Some(server.id));
    m.on(CpuId::BOOT).pass(1_000_000);
    assert_eq!(m.current(), Some(m.root.thread));
    m.sys(Syscall::Destroy, &[client.domain.0]).unwrap();
    assert_eq!(m.kernel.current(other), Some(server.id), "its registers are there");
    m.on(other).look();
    assert_eq!(m.current(), None);
    m.on(CpuId::BOOT).call(Syscall::Wait, &[0, NEVER]);
    assert_eq!(m.current(), Some(server.id), "it goes on at home");
}

#[test]
fn a_deadline_passes_on_the_processor_of_who_waits() {
    let (mut m, other) = pair();
    let peer = neighbour(&mut m, other, 0);
    let deadline = m.now + 5_000_000;
    assert_eq!(m.on(other).call(Syscall::Wait, &[0, deadline]), Outcome::Away);
    assert_eq!(m.timer(), deadline);
    assert_ne!(m.on(CpuId::BOOT).timer(), deadline);
    m.on(other).pass(5_000_000);
    assert_eq!(m.current(), Some(peer.id));
}

#[test]
fn a_notification_wakes_who_waits_on_another_processor() {
    let (mut m, other) = pair();
    let bits = crate::scene::notification(&mut m);
    let peer = neighbour(&mut m, other, 0);
    let wait = grant(&mut m, &peer, bits, u16::MAX, 0);
    assert_eq!(m.on(other).call(Syscall::Wait, &[wait.0, NEVER]), Outcome::Away);
    m.on(CpuId::BOOT).sys(Syscall::Notify, &[bits.0, 4]).unwrap();
    assert!(m.kernel.is_kicked(other));
    m.on(other).look();
    assert_eq!(m.current(), Some(peer.id));
    assert_eq!(m.result_of(peer.id).unwrap()[0], 4);
}

/// A second thread of the root's domain, which runs on the second processor.
fn twin(m: &mut M, other: CpuId) -> Handle {
    let budget = m.make(Syscall::BudgetCreate, &[own::ACCOUNT.0, 10, 1_000_000, 1_000_000, other.index() as u64]);
    let thread = m.make(Syscall::ThreadCreate, &[own::ACCOUNT.0, own::DOMAIN.0, budget.0]);
    let id = m.start(thread);
    m.on(other).look();
    assert_eq!(m.current(), Some(id));
    m.on(CpuId::BOOT);
    thread
}

const PAGE: u64 = crate::scene::SPARE;

fn map_a_page(m: &mut M) -> u64 {
    let access = MapAccess::ReadWrite as u64;
    m.sys(Syscall::Map, &[own::SPACE.0, own::RAM.0, 0x40_4000, PAGE, 1, access]).unwrap()[0]
}

#[test]
fn who_unmaps_waits_until_every_processor_has_forgotten() {
    let (mut m, other) = pair();
    twin(&mut m, other);
    let mapping = map_a_page(&mut m);
    let root = m.root.thread;
    assert_eq!(m.call(Syscall::Unmap, &[own::SPACE.0, mapping]), Outcome::Away);
    assert!(!m.kernel.is_ready(root));
    assert!(m.kernel.is_kicked(other));
    m.on(other).look();
    assert_eq!(m.on(CpuId::BOOT).current(), None, "it is asked to look, too");
    m.look();
    assert_eq!(m.result_of(root), Ok([0; 4]));
}

#[test]
fn a_page_that_a_processor_may_remember_is_not_taken_by_the_kernel() {
    let (mut m, other) = pair();
    twin(&mut m, other);
    let mapping = map_a_page(&mut m);
    let donor = {
        let budget = m.make(Syscall::BudgetCreate, &[own::ACCOUNT.0, 240, 1_000_000, 1_000_000, 0]);
        m.make(Syscall::ThreadCreate, &[own::ACCOUNT.0, own::DOMAIN.0, budget.0])
    };
    let donor = m.start(donor);
    assert_eq!(m.call(Syscall::Unmap, &[own::SPACE.0, mapping]), Outcome::Away);
    assert_eq!(m.current(), Some(donor));
    m.enter(Syscall::SpaceDonate as u64, [own::SPACE.0, own::RAM.0, PAGE, 1, 0, 0]).unwrap();
    assert!(m.context(donor).again, "it is in quarantine");
    m.enter(Syscall::SpaceCreate as u64, [own::ACCOUNT.0, own::RAM.0, PAGE, 0, 0, 0]).unwrap();
    assert!(m.context(donor).again);
    m.on(other).look();
    m.on(CpuId::BOOT).look();
    let root = m.root.thread;
    assert_eq!(m.result_of(root), Ok([0; 4]));
    m.sys(Syscall::SpaceDonate, &[own::SPACE.0, own::RAM.0, PAGE, 1]).unwrap();
}

#[test]
fn nobody_waits_for_processors_that_do_not_use_the_space() {
    let (mut m, other) = pair();
    neighbour(&mut m, other, 0);
    let mapping = map_a_page(&mut m);
    m.sys(Syscall::Unmap, &[own::SPACE.0, mapping]).unwrap();
    assert!(!m.kernel.is_kicked(other));
}

#[test]
fn revoking_waits_once_for_all_that_it_has_unmapped() {
    let (mut m, other) = pair();
    twin(&mut m, other);
    let memory = m.make(Syscall::MemorySplit, &[own::RAM.0, PAGE, 2, u64::from(u16::MAX)]);
    let access = MapAccess::ReadWrite as u64;
    for page in 0..2 {
        m.sys(Syscall::Map, &[own::SPACE.0, memory.0, 0x40_4000 + 4096 * page, page, 1, access]).unwrap();
    }
    let root = m.root.thread;
    assert_eq!(m.call(Syscall::CapRevoke, &[memory.0]), Outcome::Away, "after the last piece");
    m.on(other).look();
    m.on(CpuId::BOOT).look();
    assert_eq!(m.result_of(root), Ok([0; 4]));
}

#[test]
fn a_thread_that_is_stopped_while_it_waits_for_a_shootdown_is_stopped() {
    let (mut m, other) = pair();
    let twin = twin(&mut m, other);
    let mapping = map_a_page(&mut m);
    let root = m.root.thread;
    assert_eq!(m.call(Syscall::Unmap, &[own::SPACE.0, mapping]), Outcome::Away);
    // The twin takes part by making a system call of its own: it stops the root, which has just been woken.
    let _ = m.on(other).enter(Syscall::ThreadStop as u64, [own::THREAD.0, 0, 0, 0, 0, 0]);
    assert!(!m.kernel.is_ready(root));
    let _ = twin;
}

#[test]
fn moving_the_budget_of_a_thread_that_runs_elsewhere_takes_effect_when_it_enters() {
    let (mut m, other) = pair();
    let peer = neighbour(&mut m, other, 0);
    m.sys(Syscall::BudgetMove, &[peer.budget.0, 0]).unwrap();
    assert_eq!(m.kernel.current(other), Some(peer.id));
    assert_eq!(m.on(other).call(Syscall::Clock, &[]), Outcome::Away, "it leaves");
    m.on(CpuId::BOOT).call(Syscall::Wait, &[0, NEVER]);
    assert_eq!(m.current(), Some(peer.id));
    assert!(m.context(peer.id).result.is_some_and(|result| result[0] > 0), "and its system call counts");
}
