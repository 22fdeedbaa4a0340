//! Deadlines: nobody waits for ever who does not want to.

use crate::scene::{INTERFACE, boot, by, notification, refused, stage, waits};
use abi::time::{NEVER, NOW};
use abi::{Error, Syscall};
use kernel_core::CpuId;
use model::machine::own;

const SOON: u64 = 1_000_000_000;

#[test]
fn a_call_that_nobody_takes_times_out() {
    let mut s = stage();
    let deadline = s.m.now + SOON;
    waits(&mut s.m, s.client.id, Syscall::Call, &[s.call.0, 0, deadline, INTERFACE]);
    s.m.pass(SOON / 2);
    assert!(!s.m.kernel.is_ready(s.client.id));
    s.m.pass(SOON);
    assert_eq!(s.m.result_of(s.client.id), Err(Error::TimedOut));
    refused(&mut s.m, s.server.id, Syscall::Receive, &[s.serve.0, 0, NOW], Error::WouldBlock);
}

#[test]
fn a_call_that_nobody_answers_times_out_and_a_late_answer_finds_nobody() {
    let mut s = stage();
    let deadline = s.m.now + SOON;
    waits(&mut s.m, s.client.id, Syscall::Call, &[s.call.0, 0, deadline, INTERFACE]);
    let token = s.server_takes();
    s.m.pass(SOON);
    assert_eq!(s.m.result_of(s.client.id), Err(Error::TimedOut));
    refused(&mut s.m, s.server.id, Syscall::Reply, &[token, 0], Error::CallerGone);
}

#[test]
fn an_answer_in_time_stops_the_clock() {
    let mut s = stage();
    let deadline = s.m.now + SOON;
    waits(&mut s.m, s.client.id, Syscall::Call, &[s.call.0, 0, deadline, INTERFACE]);
    let token = s.server_takes();
    by(&mut s.m, s.server.id, Syscall::Reply, &[token, 0]).unwrap();
    assert!(s.m.result_of(s.client.id).is_ok());
    assert_eq!(s.m.kernel.first_deadline(CpuId::BOOT), None);
    s.m.pass(2 * SOON);
}

#[test]
fn a_receive_times_out_or_polls() {
    let mut s = stage();
    refused_poll(&mut s.m, s.server.id, s.serve.0);
    let deadline = s.m.now + SOON;
    waits(&mut s.m, s.server.id, Syscall::Receive, &[s.serve.0, 0, deadline]);
    s.m.pass(SOON);
    assert_eq!(s.m.result_of(s.server.id), Err(Error::TimedOut));
    // Whoever calls now waits for the next to receive.
    s.client_calls();
    assert!(by(&mut s.m, s.server.id, Syscall::Receive, &[s.serve.0, 0, NOW]).is_ok());
}

fn refused_poll(m: &mut crate::scene::M, server: kernel_core::ThreadId, serve: u64) {
    assert_eq!(by(m, server, Syscall::Receive, &[serve, 0, NOW]), Err(Error::WouldBlock));
    assert_eq!(by(m, server, Syscall::Receive, &[serve, 0, 1]), Err(Error::TimedOut));
}

#[test]
fn a_wait_times_out_or_polls() {
    let mut m = boot();
    let root = m.root.thread;
    let bits = notification(&mut m);
    assert_eq!(m.sys(Syscall::Wait, &[bits.0, NOW]), Err(Error::WouldBlock));
    assert_eq!(m.sys(Syscall::Wait, &[bits.0, 1]), Err(Error::TimedOut));
    let deadline = m.now + SOON;
    waits(&mut m, root, Syscall::Wait, &[bits.0, deadline]);
    m.pass(SOON);
    assert_eq!(m.result_of(root), Err(Error::TimedOut));
    m.sys(Syscall::Notify, &[bits.0, 4]).unwrap();
    assert_eq!(m.sys(Syscall::Wait, &[bits.0, NOW]).unwrap()[0], 4);
}

#[test]
fn a_sleep_is_a_wait_for_nothing() {
    let mut m = boot();
    let root = m.root.thread;
    let deadline = m.now + SOON;
    waits(&mut m, root, Syscall::Wait, &[0, deadline]);
    assert_eq!(m.current(), None, "the machine idles");
    assert_eq!(m.timer(), deadline);
    m.pass(SOON);
    assert_eq!(m.result_of(root), Err(Error::TimedOut));
    assert_eq!(m.sys(Syscall::Wait, &[0, NOW]), Err(Error::WouldBlock));
}

#[test]
fn a_deadline_from_now_on_is_one_from_the_call_on() {
    let mut m = boot();
    let root = m.root.thread;
    m.pass(SOON);
    let begun = m.now;
    waits(&mut m, root, Syscall::Wait, &[0, abi::time::from_now(SOON)]);
    // Each entry takes the machine a nanosecond.
    assert!((begun + SOON..=m.now + SOON).contains(&m.timer()), "{} after {begun}", m.timer());
    m.pass(SOON);
    assert_eq!(m.result_of(root), Err(Error::TimedOut));
    assert_eq!(m.sys(Syscall::Wait, &[0, abi::time::from_now(0)]), Err(Error::TimedOut));
    let mut s = stage();
    s.m.pass(SOON);
    let begun = s.m.now;
    waits(&mut s.m, s.client.id, Syscall::Call, &[s.call.0, 0, abi::time::from_now(SOON), INTERFACE]);
    let deadline = s.m.kernel.first_deadline(CpuId::BOOT).expect("the client waits");
    assert!((begun + SOON..=s.m.now + SOON).contains(&deadline), "{deadline} after {begun}");
}

#[test]
fn a_sleep_for_ever_arms_no_timer() {
    let mut m = boot();
    let root = m.root.thread;
    waits(&mut m, root, Syscall::Wait, &[0, NEVER]);
    assert_eq!(m.timer(), NEVER);
}

#[test]
fn many_deadlines_pass_in_their_order_however_many_at_once() {
    let mut m = boot();
    let root = m.root.thread;
    let mut sleepers = Vec::new();
    for index in 0..20 {
        let thread = crate::scene::thread_in(&mut m, own::DOMAIN);
        let id = m.start(thread);
        // Deadlines in an order that is not that of creation.
        sleepers.push((id, SOON + (index * 7 % 20) * 1000));
    }
    let begun = m.now;
    for (thread, after) in &sleepers {
        waits(&mut m, *thread, Syscall::Wait, &[0, begun + after]);
    }
    // One of them is woken early by being stopped.
    sleepers.sort_by_key(|(_, after)| *after);
    m.switch_to(root);
    for (index, (thread, after)) in sleepers.iter().enumerate().take(10) {
        let due = begun + after;
        m.pass(due - m.now);
        assert!(m.kernel.is_ready(*thread), "sleeper {index} is awake");
        assert!(!m.kernel.is_ready(sleepers[index + 1].0), "sleeper {} sleeps", index + 1);
    }
    m.pass(SOON);
    assert!(sleepers.iter().all(|(thread, _)| m.kernel.is_ready(*thread)));
    assert_eq!(m.kernel.first_deadline(CpuId::BOOT), None);
}

#[test]
fn whichever_deadline_was_first_the_next_is_the_earliest_of_the_others() {
    // In each order the one that comes up after the first has passed stands in another place.
    for order in [[1, 3, 2, 4], [1, 2, 3, 4], [1, 4, 2, 3], [1, 2, 4, 3], [4, 3, 2, 1]] {
        let mut m = boot();
        let root = m.root.thread;
        let begun = m.now;
        let sleepers = order.map(|rank| {
            let thread = crate::scene::thread_in(&mut m, own::DOMAIN);
            (rank, m.start(thread))
        });
        for (rank, id) in sleepers {
            waits(&mut m, id, Syscall::Wait, &[0, begun + rank * SOON]);
        }
        m.switch_to(root);
        for next in 1..=4 {
            m.pass(begun + next * SOON - m.now);
            m.check().unwrap();
            let awake: Vec<u64> =
                sleepers.iter().filter(|(_, id)| m.kernel.is_ready(*id)).map(|(rank, _)| *rank).collect();
            assert_eq!(awake.len() as u64, next, "{order:?}: {awake:?} are awake");
            assert!(awake.iter().all(|rank| *rank <= next), "{order:?}: {awake:?}");
        }
    }
}

#[test]
fn a_call_with_no_time_finds_a_receiver_that_waits_and_times_out_at_once() {
    let mut s = stage();
    waits(&mut s.m, s.server.id, Syscall::Receive, &[s.serve.0, 0, NEVER]);
    s.m.switch_to(s.client.id);
    assert_eq!(s.m.call(Syscall::Call, &[s.call.0, 0, NOW, INTERFACE]), model::Outcome::Away);
    s.m.pass(0);
    assert_eq!(s.m.result_of(s.client.id), Err(Error::TimedOut));
    let token = s.m.result_of(s.server.id).unwrap()[3];
    refused(&mut s.m, s.server.id, Syscall::Reply, &[token, 0], Error::CallerGone);
}

#[test]
fn time_that_runs_backwards_or_to_its_end_does_no_harm() {
    let mut m = boot();
    let root = m.root.thread;
    // The last moment that a deadline can name.
    let last = (1 << 63) - 1;
    m.now = last - 10;
    waits(&mut m, root, Syscall::Wait, &[0, last]);
    m.kernel.tick(CpuId::BOOT, 5);
    m.kernel.tick(CpuId::BOOT, u64::MAX);
    m.kernel.schedule(CpuId::BOOT, u64::MAX);
    assert!(m.kernel.is_ready(root));
    assert_eq!(m.check(), Ok(()));
}
