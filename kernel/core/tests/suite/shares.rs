//! Budgets that bound what a thread gets, and who pays when a loan runs out.

use crate::scene::{INTERFACE, M, boot, by, endpoint, grant, peer_at, refused, waits};
use abi::rights::EndpointRights;
use abi::time::NEVER;
use abi::{Error, Handle, Syscall};
use kernel_core::{CpuId, ThreadId};
use model::Outcome;
use model::machine::{DATA, Peer, own};

const MS: u64 = 1_000_000;

/// A thread of the root's priority with `slice` in every `period`, in a domain of its own.
fn bounded(m: &mut M, number: u64, level: u8, priority: u8, slice: u64, period: u64) -> Peer {
    let mut peer = peer_at(m, level, priority, number, (Handle::NONE, 0));
    let budget = m.make(Syscall::BudgetCreate, &[own::ACCOUNT.0, priority.into(), slice, period, 0]);
    m.sys(Syscall::Destroy, &[peer.thread.0]).unwrap();
    peer.thread = m.make(Syscall::ThreadCreate, &[own::ACCOUNT.0, peer.domain.0, budget.0]);
    peer.budget = budget;
    peer.id = m.start(peer.thread);
    peer
}

/// Everybody else sleeps for ever, so that only these run.
fn only(m: &mut M, threads: &[ThreadId]) {
    while let Some(thread) = m.current().filter(|thread| !threads.contains(thread)) {
        let before = m.current();
        assert_eq!(m.call(Syscall::Wait, &[0, NEVER]), Outcome::Away);
        assert_ne!(m.current(), before, "{thread:?} sleeps");
    }
}

/// Nanoseconds that a thread ran while time passed in steps of 10 µs.
fn runs_for(m: &mut M, thread: ThreadId, time: u64) -> u64 {
    let (end, mut ran) = (m.now + time, 0);
    while m.now < end {
        ran += if m.current() == Some(thread) { 10_000 } else { 0 };
        m.pass(10_000);
    }
    ran
}

#[test]
fn a_spinning_thread_gets_its_share_and_no_more() {
    let mut m = boot();
    let spinner = bounded(&mut m, 0, 1, 200, 2 * MS, 10 * MS);
    only(&mut m, &[spinner.id]);
    let ran = runs_for(&mut m, spinner.id, 1000 * MS);
    assert!((198 * MS..=202 * MS).contains(&ran), "{ran} ns of a second");
}

#[test]
fn while_a_budget_is_dry_those_below_run() {
    let mut m = boot();
    let spinner = bounded(&mut m, 0, 1, 200, 2 * MS, 10 * MS);
    let below = peer_at(&mut m, 1, 100, 1, (Handle::NONE, 0));
    only(&mut m, &[spinner.id, below.id]);
    assert_eq!(m.current(), Some(spinner.id));
    m.pass(2 * MS);
    assert_eq!(m.current(), Some(below.id));
    let ran = runs_for(&mut m, below.id, 1000 * MS);
    assert!((798 * MS..=802 * MS).contains(&ran), "{ran} ns of a second");
}

#[test]
fn a_system_call_in_progress_is_not_cut_off_by_the_end_of_a_budget() {
    let mut m = boot();
    let spinner = bounded(&mut m, 0, 1, 200, 2 * MS, 10 * MS);
    only(&mut m, &[spinner.id]);
    // The timer is late: the system call comes first.
    m.now += 3 * MS;
    assert_eq!(m.call(Syscall::Clock, &[]), Outcome::Away);
    assert_eq!(m.current(), None, "and then the budget is dry");
    m.pass(10 * MS);
    assert_eq!(m.current(), Some(spinner.id));
    assert!(m.context(spinner.id).result.is_some(), "it finds its result");
}

#[test]
fn a_thread_that_is_dry_can_be_stopped_and_started_and_destroyed() {
    let mut m = boot();
    let root = m.root.thread;
    let spinner = bounded(&mut m, 0, 1, abi::root::PRIORITY, 2 * MS, 10 * MS);
    m.call(Syscall::Yield, &[]);
    assert_eq!(m.current(), Some(spinner.id));
    m.pass(2 * MS);
    assert_eq!(m.current(), Some(root));
    m.sys(Syscall::ThreadStop, &[spinner.thread.0]).unwrap();
    m.pass(20 * MS);
    assert_eq!(m.current(), Some(root), "it does not come back");
    m.call(Syscall::ThreadStart, &[spinner.thread.0, 0x1000, 0x2000, 0]);
    m.switch_to(spinner.id);
    m.pass(2 * MS);
    m.switch_to(root);
    m.sys(Syscall::Destroy, &[spinner.thread.0]).unwrap();
    m.pass(20 * MS);
    assert_eq!(m.current(), Some(root));
    m.sys(Syscall::Destroy, &[spinner.budget.0]).expect("nobody has the budget any more");
}

/// A client with 2 ms in 10 at priority 200, a server with its reserve of 1 ms in 10 at 150, and a bystander at 100.
struct Debt {
    m: M,
    client: Peer,
    server: Peer,
    bystander: Peer,
    token: u64,
    serve: Handle,
}

fn debt() -> Debt {
    debt_until(NEVER)
}

/// The same; the root sleeps until a time.
fn debt_until(wakes: u64) -> Debt {
    let mut m = boot();
    let root = m.root.thread;
    let endpoint = endpoint(&mut m, 3, 0);
    let client = bounded(&mut m, 0, 9, 200, 2 * MS, 10 * MS);
    let server = bounded(&mut m, 1, 3, 150, MS, 10 * MS);
    let bystander = peer_at(&mut m, 1, 100, 2, (Handle::NONE, 0));
    let call = grant(&mut m, &client, endpoint, EndpointRights::CALL.bits(), 0);
    let serve = grant(&mut m, &server, endpoint, EndpointRights::RECEIVE.bits(), 0);
    let until = m.now + MS / 10;
    while m.current() != Some(server.id) {
        m.call(Syscall::Wait, &[0, until]);
    }
    waits(&mut m, server.id, Syscall::Receive, &[serve.0, 0, NEVER]);
    m.pass(MS / 5);
    while m.current() != Some(client.id) {
        let until = if m.current() == Some(root) { wakes } else { NEVER };
        m.call(Syscall::Wait, &[0, until]);
    }
    assert_eq!(m.call(Syscall::Call, &[call.0, 0, NEVER, INTERFACE]), Outcome::Away);
    assert_eq!(m.current(), Some(server.id));
    let token = m.context(server.id).result.expect("a call has come")[3];
    Debt { m, client, server, bystander, token, serve }
}

#[test]
fn a_server_whose_loan_is_dry_goes_on_on_its_reserve_and_then_waits() {
    let mut d = debt();
    d.m.pass(2 * MS);
    assert_eq!(d.m.current(), Some(d.server.id), "on its reserve");
    d.m.pass(MS);
    assert_eq!(d.m.current(), Some(d.bystander.id), "both are dry");
    let ran = runs_for(&mut d.m, d.server.id, 100 * MS);
    assert!(ran >= 10 * MS, "{ran} ns: it gets on as far as its reserve goes");
    assert!(ran <= 32 * MS, "{ran} ns: it does not get more than both shares");
}

#[test]
fn what_a_server_uses_beyond_the_loan_is_its_callers_debt() {
    let mut d = debt();
    d.m.pass(2 * MS + MS / 2);
    let (server, token) = (d.server.id, d.token);
    by(&mut d.m, server, Syscall::Reply, &[token, 0]).unwrap();
    waits(&mut d.m, server, Syscall::Receive, &[d.serve.0, 0, NEVER]);
    assert_eq!(d.m.current(), Some(d.bystander.id), "the client has its answer and cannot go on");
    let mut waited = 0;
    while d.m.current() != Some(d.client.id) {
        d.m.pass(10_000);
        waited += 10_000;
    }
    assert!(waited > 7 * MS + MS / 2, "{waited} ns");
}

#[test]
fn what_a_server_uses_of_a_loan_is_charged_once() {
    let mut d = debt();
    d.m.pass(MS);
    d.m.call(Syscall::Reply, &[d.token, 0]);
    assert_eq!(d.m.current(), Some(d.client.id));
    let ran = runs_for(&mut d.m, d.client.id, 2 * MS);
    assert!((MS * 7 / 10..=MS).contains(&ran), "{ran} ns are left of 2 ms, of which the server has used one");
}

#[test]
fn a_server_whose_loan_ends_while_its_reserve_is_dry_waits_for_that() {
    // Loan and reserve are dry after 3 ms; the loan is good again after 10, the reserve after 12.
    let mut d = debt_until(11 * MS);
    let root = d.m.root.thread;
    while d.m.current() != Some(root) {
        d.m.pass(10_000);
    }
    let before = d.m.now;
    assert!(before < 12 * MS, "{before}");
    d.m.sys(Syscall::Destroy, &[d.client.domain.0]).unwrap();
    waits(&mut d.m, root, Syscall::Wait, &[0, NEVER]);
    assert_eq!(d.m.current(), Some(d.bystander.id), "nobody lends the server anything");
    let ran = runs_for(&mut d.m, d.server.id, 5 * MS);
    assert!((MS / 2..=MS + MS / 10).contains(&ran), "{ran} ns of its own");
}

#[test]
fn the_last_of_a_chain_goes_on_as_soon_as_the_one_before_it_has_time_to_lend() {
    let mut m = boot();
    let root = m.root.thread;
    let (upper, lower) = (endpoint(&mut m, 5, 0), endpoint(&mut m, 3, 0));
    let middle = peer_at(&mut m, 5, 180, 1, (Handle::NONE, 0));
    let server = bounded(&mut m, 2, 3, 150, MS, 100 * MS);
    let (call, receive) = (EndpointRights::CALL.bits(), EndpointRights::RECEIVE.bits());
    let takes = grant(&mut m, &middle, upper, receive, 0);
    let passes = grant(&mut m, &middle, lower, call, 0);
    let serves = grant(&mut m, &server, lower, receive, 0);
    let until = m.now + MS / 10;
    for (server, endpoint) in [(middle.id, takes), (server.id, serves)] {
        while m.current() != Some(server) {
            m.call(Syscall::Wait, &[0, until]);
        }
        m.call(Syscall::Receive, &[endpoint.0, 0, NEVER]);
    }
    m.pass(MS / 5);
    assert_eq!(m.current(), Some(root));
    let client = bounded(&mut m, 0, 9, 200, 2 * MS, 100 * MS);
    let asks = grant(&mut m, &client, upper, call, 0);
    let wakes = m.now + 10 * MS;
    waits(&mut m, root, Syscall::Wait, &[0, wakes]);
    for (caller, call) in [(client.id, asks), (middle.id, passes)] {
        assert_eq!(m.current(), Some(caller));
        assert_eq!(m.call(Syscall::Call, &[call.0, 0, NEVER, INTERFACE]), Outcome::Away);
    }
    assert_eq!(m.current(), Some(server.id), "on what the client has lent to the one and that to the other");
    runs_for(&mut m, server.id, 5 * MS);
    assert_eq!(m.current(), None, "the client's time and its own are used up");
    m.pass(wakes - m.now);
    m.sys(Syscall::Destroy, &[client.domain.0]).unwrap();
    waits(&mut m, root, Syscall::Wait, &[0, NEVER]);
    assert_eq!(m.current(), Some(server.id), "the one in the middle has time of its own, and lends that");
}

#[test]
fn a_server_goes_with_the_budget_that_is_lent_to_it() {
    let mut d = debt_until(MS);
    let other = d.m.start_cpu(1);
    let root = d.m.root.thread;
    while d.m.current() != Some(root) {
        d.m.pass(10_000);
    }
    d.m.sys(Syscall::BudgetMove, &[d.server.budget.0, 1]).unwrap();
    assert_eq!(d.m.kernel.current(other), None, "it does not run on its own");
    d.m.sys(Syscall::BudgetMove, &[d.client.budget.0, 1]).unwrap();
    assert_eq!(d.m.kernel.current(other), Some(d.server.id));
}

#[test]
fn a_budget_moves_with_its_thread_to_a_processor_that_runs() {
    let mut m = boot();
    let root = m.root.thread;
    let peer = peer_at(&mut m, 1, 100, 0, (Handle::NONE, 0));
    refused(&mut m, root, Syscall::BudgetMove, &[peer.budget.0, 1], Error::BadArgument);
    refused(&mut m, root, Syscall::BudgetCreate, &[own::ACCOUNT.0, 1, MS, MS, 1], Error::BadArgument);
    let weak = m.make(Syscall::CapCopy, &[peer.budget.0, 3, 0]);
    let other = m.start_cpu(1);
    refused(&mut m, root, Syscall::BudgetMove, &[weak.0, 1], Error::MissingRight);
    m.sys(Syscall::BudgetMove, &[peer.budget.0, 1]).unwrap();
    assert_eq!(m.kernel.current(other), Some(peer.id));
    m.sys(Syscall::BudgetMove, &[peer.budget.0, 0]).unwrap();
    assert_eq!(m.kernel.current(other), None);
    assert_eq!(m.current(), Some(root));
    assert_eq!(m.kernel.current(CpuId::BOOT), Some(root));
    m.load(DATA, 1);
}
