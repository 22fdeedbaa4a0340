//! Budgets, priorities and the loan along a call.

use crate::scene::{CLIENT_LEVEL, INTERFACE, M, boot, by, endpoint, grant, peer_at, refused, waits};
use abi::rights::EndpointRights;
use abi::time::{NEVER, NOW};
use abi::{Error, Handle, Syscall};
use kernel_core::ThreadId;
use model::Outcome;
use model::machine::{Machine, Peer, SLICE, own};
use model::sizes::Small;

/// Who runs, from the highest priority down, if everybody who runs goes to sleep.
fn order(m: &M) -> Vec<ThreadId> {
    let mut m: Machine<Small> = m.clone();
    let mut order = Vec::new();
    while let Some(thread) = m.current() {
        order.push(thread);
        assert_eq!(m.call(Syscall::Wait, &[0, NEVER]), Outcome::Away);
    }
    order
}

/// Three domains in a chain: the first calls the second, the second the third. A bystander stands between them in
/// priority. The root is above and out of the way once it sleeps.
struct Chain {
    m: M,
    first: Peer,
    second: Peer,
    third: Peer,
    bystander: Peer,
    calls: [Handle; 2],
    serves: [Handle; 2],
}

fn chain(ceiling: u8) -> Chain {
    let mut m = boot();
    let upper = endpoint(&mut m, 5, ceiling);
    let lower = endpoint(&mut m, 2, 0);
    let none = (Handle::NONE, 0);
    let first = peer_at(&mut m, CLIENT_LEVEL, 200, 0, none);
    let second = peer_at(&mut m, 5, 50, 1, none);
    let third = peer_at(&mut m, 2, 40, 2, none);
    let bystander = peer_at(&mut m, 1, 100, 3, none);
    let calls = [
        grant(&mut m, &first, upper, EndpointRights::CALL.bits(), 0),
        grant(&mut m, &second, lower, EndpointRights::CALL.bits(), 0),
    ];
    let serves = [
        grant(&mut m, &second, upper, EndpointRights::RECEIVE.bits(), 0),
        grant(&mut m, &third, lower, EndpointRights::RECEIVE.bits(), 0),
    ];
    Chain { m, first, second, third, bystander, calls, serves }
}

/// Sleeps in the name of whoever runs, for as long as it is not this thread.
fn make_way(m: &mut M, thread: ThreadId, until: u64) {
    while m.current() != Some(thread) {
        assert!(m.current().is_some(), "{thread:?} is ready");
        m.call(Syscall::Wait, &[0, until]);
    }
}

/// How long the root sleeps while the chain works, in nanoseconds.
const ROOT_SLEEPS: u64 = 5_000_000_000;

/// First waits for second, which waits for third; third works. Everybody else sleeps until `until`.
fn pending_chain(c: &mut Chain, deadline: u64) -> u64 {
    let until = c.m.now + 1_000_000;
    make_way(&mut c.m, c.third.id, until);
    waits(&mut c.m, c.third.id, Syscall::Receive, &[c.serves[1].0, 0, NEVER]);
    c.m.pass(1_000_000);
    let until = c.m.now + 1_000_000;
    make_way(&mut c.m, c.second.id, until);
    waits(&mut c.m, c.second.id, Syscall::Receive, &[c.serves[0].0, 0, NEVER]);
    c.m.pass(1_000_000);
    let until = c.m.now + ROOT_SLEEPS;
    make_way(&mut c.m, c.first.id, until);
    waits(&mut c.m, c.first.id, Syscall::Call, &[c.calls[0].0, 0, deadline, INTERFACE]);
    assert_eq!(c.m.current(), Some(c.second.id), "on the budget of the first, it precedes the bystander");
    waits(&mut c.m, c.second.id, Syscall::Call, &[c.calls[1].0, 0, NEVER, INTERFACE]);
    assert_eq!(c.m.current(), Some(c.third.id), "the loan is lent on");
    c.m.context(c.third.id).result.expect("a call has come")[3]
}

#[test]
fn a_server_runs_on_its_callers_budget_until_it_answers() {
    let mut c = chain(0);
    let token = pending_chain(&mut c, NEVER);
    assert_eq!(order(&c.m), [c.third.id, c.bystander.id]);
    c.m.call(Syscall::Reply, &[token, 0]);
    // The second is back on the first's budget, the third on its own.
    assert_eq!(order(&c.m), [c.second.id, c.bystander.id, c.third.id]);
}

#[test]
fn an_answer_finds_a_caller_whose_own_budget_may_run_dry() {
    let mut c = chain(0);
    let share = c.m.make(Syscall::BudgetCreate, &[own::ACCOUNT.0, 50, SLICE / 10, SLICE, 0]);
    let thread = c.m.make(Syscall::ThreadCreate, &[own::ACCOUNT.0, c.second.domain.0, share.0]);
    c.second.id = c.m.start(thread);
    let token = pending_chain(&mut c, NEVER);
    waits(&mut c.m, c.third.id, Syscall::ReplyReceive, &[c.serves[1].0, 0, NEVER, token, 0]);
    assert_eq!(c.m.current(), Some(c.second.id));
}

#[test]
fn when_the_first_caller_times_out_everybody_in_the_chain_goes_on_on_what_is_their_own() {
    let mut c = chain(0);
    let deadline = c.m.now + 1_000_000_000;
    pending_chain(&mut c, deadline);
    c.m.pass(1_000_000_000);
    assert_eq!(c.m.result_of(c.first.id), Err(Error::TimedOut));
    // The third now runs on the second's own budget, 50.
    assert_eq!(order(&c.m), [c.first.id, c.bystander.id, c.third.id]);
}

#[test]
fn when_the_first_caller_dies_its_budget_is_not_used_any_more() {
    let mut c = chain(0);
    pending_chain(&mut c, NEVER);
    let before = order(&c.m);
    assert_eq!(before[0], c.third.id);
    c.m.pass(ROOT_SLEEPS);
    assert_eq!(c.m.current(), Some(c.m.root.thread));
    c.m.sys(Syscall::Destroy, &[c.first.domain.0]).unwrap();
    c.m.sys(Syscall::Destroy, &[c.first.budget.0]).expect("the budget is nobody's any more");
    assert_eq!(order(&c.m)[1..], [c.bystander.id, c.third.id]);
}

#[test]
fn a_server_runs_at_its_endpoints_ceiling_at_least() {
    let mut c = chain(240);
    let keen = peer_at(&mut c.m, 1, 220, 4, (Handle::NONE, 0));
    let until = c.m.now + 1_000_000;
    make_way(&mut c.m, keen.id, until);
    let later = c.m.now + 5_000_000;
    waits(&mut c.m, keen.id, Syscall::Wait, &[0, later]);
    make_way(&mut c.m, c.second.id, until);
    waits(&mut c.m, c.second.id, Syscall::Receive, &[c.serves[0].0, 0, NEVER]);
    c.m.pass(1_000_000);
    make_way(&mut c.m, c.first.id, NEVER);
    waits(&mut c.m, c.first.id, Syscall::Call, &[c.calls[0].0, 0, NEVER, INTERFACE]);
    assert_eq!(c.m.current(), Some(c.second.id));
    // Above the caller's own priority of 200, below the root's.
    c.m.pass(10_000_000);
    assert!(c.m.kernel.is_ready(keen.id), "who has 220 would like to run");
    assert_eq!(c.m.current(), Some(c.second.id));
    let token = c.m.context(c.second.id).result.unwrap()[3];
    c.m.call(Syscall::Reply, &[token, 0]);
    assert_eq!(order(&c.m), [keen.id, c.first.id, c.bystander.id, c.second.id, c.third.id]);
}

#[test]
fn a_server_that_takes_the_next_call_gives_up_the_loan_of_the_last() {
    let mut c = chain(0);
    let until = c.m.now + 1_000_000;
    make_way(&mut c.m, c.second.id, until);
    waits(&mut c.m, c.second.id, Syscall::Receive, &[c.serves[0].0, 0, NEVER]);
    c.m.pass(1_000_000);
    make_way(&mut c.m, c.first.id, NEVER);
    waits(&mut c.m, c.first.id, Syscall::Call, &[c.calls[0].0, 0, NEVER, INTERFACE]);
    assert_eq!(c.m.call(Syscall::Receive, &[c.serves[0].0, 0, NOW]), Outcome::Away, "the bystander precedes it now");
    assert_eq!(order(&c.m), [c.bystander.id, c.second.id, c.third.id]);
}

#[test]
fn equals_take_turns_of_a_slice() {
    let mut m = boot();
    let other = peer_at(&mut m, 1, abi::root::PRIORITY, 0, (Handle::NONE, 0));
    let root = m.root.thread;
    assert_eq!(m.current(), Some(root));
    m.pass(SLICE);
    assert_eq!(m.current(), Some(other.id));
    m.pass(SLICE / 2);
    assert_eq!(m.current(), Some(other.id));
    m.pass(SLICE / 2);
    assert_eq!(m.current(), Some(root));
}

#[test]
fn somebody_alone_at_a_priority_is_not_interrupted_for_its_slice() {
    let m = boot();
    assert_eq!(m.timer(), NEVER);
}

#[test]
fn yielding_lets_equals_go_first_and_gives_up_a_loan() {
    let mut m = boot();
    let other = peer_at(&mut m, 1, abi::root::PRIORITY, 0, (Handle::NONE, 0));
    assert_eq!(m.call(Syscall::Yield, &[]), Outcome::Away);
    assert_eq!(m.current(), Some(other.id));
}

#[test]
fn a_budget_must_have_a_sensible_slice_and_period() {
    let mut m = boot();
    let root = m.root.thread;
    let hour = 3_600_000_000_000u64;
    for (priority, slice, period) in
        [(5, 9_999, hour), (5, hour + 1, hour + 1), (5, SLICE, SLICE - 1), (5, SLICE, hour + 1), (5, 0, 0)]
    {
        let arguments = [own::ACCOUNT.0, priority, slice, period];
        refused(&mut m, root, Syscall::BudgetCreate, &arguments, Error::BadArgument);
    }
    refused(&mut m, root, Syscall::BudgetCreate, &[own::ACCOUNT.0, 256, SLICE, SLICE], Error::BadArgument);
    m.sys(Syscall::BudgetCreate, &[own::ACCOUNT.0, 255, 10_000, hour]).unwrap();
}

#[test]
fn a_budget_that_threads_have_cannot_be_destroyed() {
    let mut m = boot();
    let root = m.root.thread;
    let peer = peer_at(&mut m, 1, 9, 0, (Handle::NONE, 0));
    refused(&mut m, root, Syscall::Destroy, &[peer.budget.0], Error::WrongState);
    // Its last capability may go: it lives as long as the thread.
    m.sys(Syscall::CapDelete, &[peer.budget.0]).unwrap();
    assert_eq!(crate::scene::statistics(&mut m)[3 + abi::syscall::Charge::Budgets as usize], 2);
    m.sys(Syscall::Destroy, &[peer.domain.0]).unwrap();
    assert_eq!(crate::scene::statistics(&mut m)[3 + abi::syscall::Charge::Budgets as usize], 1);
}

#[test]
fn processor_time_is_counted_for_whoever_ran() {
    let mut m = boot();
    let other = peer_at(&mut m, 1, abi::root::PRIORITY, 0, (Handle::NONE, 0));
    m.switch_to(other.id);
    m.now += 5_000;
    by(&mut m, other.id, Syscall::Clock, &[]).unwrap();
    let root = m.root.thread;
    let place = model::machine::DATA;
    by(&mut m, root, Syscall::ThreadRead, &[other.thread.0, place]).unwrap();
    let runtime = m.load_words(place + 19 * 8, 1)[0];
    assert!((5_000..5_000 + 2 * SLICE).contains(&runtime), "{runtime}");
}
