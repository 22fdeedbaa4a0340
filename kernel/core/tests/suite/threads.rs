//! Threads: making, starting, stopping, reading, ending.

use crate::scene::{INTERFACE, boot, by, peer, refused, stage, waits};
use abi::rights::ThreadRights;
use abi::time::{NEVER, NOW};
use abi::{Error, Syscall, USER_END};
use kernel_core::CpuId;
use model::Outcome;
use model::machine::{DATA, own};

#[test]
fn a_new_thread_is_stopped_until_it_is_started() {
    let mut m = boot();
    let root = m.root.thread;
    let thread = crate::scene::thread_in(&mut m, own::DOMAIN);
    m.sys(Syscall::ThreadStart, &[thread.0, 0x1234, 0x5678, 9]).unwrap();
    let id = m.kernel.living_threads().find(|id| *id != root).unwrap();
    assert!(m.kernel.is_ready(id));
    assert_eq!(m.context(id).start, Some((0x1234, 0x5678, 9)));
    refused(&mut m, root, Syscall::ThreadStart, &[thread.0, 0x1234, 0x5678, 9], Error::WrongState);
}

#[test]
fn a_thread_starts_only_in_user_space() {
    let mut m = boot();
    let root = m.root.thread;
    let thread = crate::scene::thread_in(&mut m, own::DOMAIN);
    for bad in [USER_END, 0x8000_0000_0000, 0xffff_8000_0000_0000, u64::MAX] {
        refused(&mut m, root, Syscall::ThreadStart, &[thread.0, bad, 0x1000, 0], Error::BadAddress);
    }
    for bad in [USER_END + 1, 0xffff_8000_0000_0000, u64::MAX] {
        refused(&mut m, root, Syscall::ThreadStart, &[thread.0, 0x1000, bad, 0], Error::BadAddress);
        refused(&mut m, root, Syscall::ThreadLocal, &[bad], Error::BadAddress);
    }
    m.sys(Syscall::ThreadStart, &[thread.0, 0x1000, USER_END, 0]).expect("a stack may end where user space ends");
}

#[test]
fn making_a_thread_needs_rights_to_domain_and_budget() {
    let mut m = boot();
    let root = m.root.thread;
    let domain = m.make(Syscall::CapCopy, &[own::DOMAIN.0, 1, 0]);
    let budget = m.make(Syscall::CapCopy, &[own::BUDGET.0, 0, 0]);
    refused(&mut m, root, Syscall::ThreadCreate, &[own::ACCOUNT.0, domain.0, own::BUDGET.0], Error::MissingRight);
    refused(&mut m, root, Syscall::ThreadCreate, &[own::ACCOUNT.0, own::DOMAIN.0, budget.0], Error::MissingRight);
    refused(&mut m, root, Syscall::ThreadCreate, &[own::ACCOUNT.0, own::DOMAIN.0, own::SPACE.0], Error::WrongKind);
    // A budget is one thread's own.
    refused(&mut m, root, Syscall::ThreadCreate, &[own::ACCOUNT.0, own::DOMAIN.0, own::BUDGET.0], Error::InUse);
}

#[test]
fn a_stopped_thread_leaves_whatever_it_waited_for() {
    let mut s = stage();
    waits(&mut s.m, s.server.id, Syscall::Receive, &[s.serve.0, 0, NEVER]);
    by(&mut s.m, s.root, Syscall::ThreadStop, &[s.server.thread.0]).unwrap();
    s.client_calls();
    by(&mut s.m, s.root, Syscall::ThreadStop, &[s.client.thread.0]).unwrap();
    by(&mut s.m, s.root, Syscall::ThreadStart, &[s.server.thread.0, 1, 0, 0]).unwrap();
    refused(&mut s.m, s.server.id, Syscall::Receive, &[s.serve.0, 0, NOW], Error::WouldBlock);
}

#[test]
fn stopping_a_caller_ends_its_call() {
    let mut s = stage();
    let token = s.pending_call();
    by(&mut s.m, s.root, Syscall::ThreadStop, &[s.client.thread.0]).unwrap();
    refused(&mut s.m, s.server.id, Syscall::Reply, &[token, 0], Error::CallerGone);
    by(&mut s.m, s.root, Syscall::ThreadStop, &[s.client.thread.0]).expect("stopping twice is no harm");
    by(&mut s.m, s.root, Syscall::ThreadStart, &[s.client.thread.0, 1, 0, 0]).unwrap();
    s.pending_call();
}

#[test]
fn a_thread_neither_stops_nor_reads_nor_destroys_itself() {
    let mut m = boot();
    let root = m.root.thread;
    refused(&mut m, root, Syscall::ThreadStop, &[own::THREAD.0], Error::WrongState);
    refused(&mut m, root, Syscall::ThreadRead, &[own::THREAD.0, DATA], Error::WrongState);
    refused(&mut m, root, Syscall::Destroy, &[own::THREAD.0], Error::WrongState);
}

#[test]
fn controlling_and_reading_a_thread_need_their_rights() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let reader = s.m.make(Syscall::CapCopy, &[s.client.thread.0, ThreadRights::INSPECT.bits().into(), 0]);
    refused(&mut s.m, s.root, Syscall::ThreadStop, &[reader.0], Error::MissingRight);
    refused(&mut s.m, s.root, Syscall::ThreadStart, &[reader.0, 1, 1, 1], Error::MissingRight);
    refused(&mut s.m, s.root, Syscall::ThreadBuffer, &[reader.0, own::RAM.0, 100, DATA], Error::MissingRight);
    refused(&mut s.m, s.root, Syscall::Destroy, &[reader.0], Error::MissingRight);
    s.m.sys(Syscall::ThreadRead, &[reader.0, DATA]).unwrap();
    assert_eq!(s.m.load_words(DATA + 16 * 8, 1), [0x1000], "its instruction pointer");
    let blind = s.m.make(Syscall::CapCopy, &[s.client.thread.0, ThreadRights::CONTROL.bits().into(), 0]);
    refused(&mut s.m, s.root, Syscall::ThreadRead, &[blind.0, DATA], Error::MissingRight);
    refused(&mut s.m, s.root, Syscall::ThreadRead, &[reader.0, 0x9000_0000], Error::BadAddress);
    refused(&mut s.m, s.root, Syscall::ThreadRead, &[reader.0, DATA + 4096 - 8], Error::BadAddress);
}

#[test]
fn a_destroyed_thread_is_gone_and_its_budget_free() {
    let mut s = stage();
    by(&mut s.m, s.root, Syscall::Destroy, &[s.client.thread.0]).unwrap();
    refused(&mut s.m, s.root, Syscall::ThreadStart, &[s.client.thread.0, 1, 1, 1], Error::StaleHandle);
    s.m.sys(Syscall::Destroy, &[s.client.thread.0]).expect("destroying what is gone is a success");
    s.m.sys(Syscall::Destroy, &[s.client.budget.0]).unwrap();
}

#[test]
fn a_thread_lives_without_capabilities() {
    let mut s = stage();
    by(&mut s.m, s.root, Syscall::CapDelete, &[s.client.thread.0]).unwrap();
    by(&mut s.m, s.client.id, Syscall::Clock, &[]).unwrap();
}

#[test]
fn exit_without_a_handler_stops_the_thread() {
    let mut m = boot();
    let other = peer(&mut m, 1, 0);
    waits(&mut m, other.id, Syscall::ThreadExit, &[0]);
    m.switch_to(m.root.thread);
    m.start(other.thread);
}

#[test]
fn the_clock_tells_nanoseconds_and_never_looks_like_an_error() {
    let mut m = boot();
    let now = m.sys(Syscall::Clock, &[]).unwrap()[0];
    assert_eq!(now, m.now);
    m.now = u64::MAX - 5;
    assert_eq!(m.call(Syscall::Clock, &[]), Outcome::Done([i64::MAX as u64, 0, 0, 0]));
}

#[test]
fn a_thread_sets_its_own_thread_local_base() {
    let mut m = boot();
    m.sys(Syscall::ThreadLocal, &[0x7000]).unwrap();
    assert_eq!(m.context(m.root.thread).fs_base, 0x7000);
}

#[test]
fn nothing_runs_when_nobody_is_ready_and_calls_of_nobody_are_refused() {
    let mut m = boot();
    let root = m.root.thread;
    waits(&mut m, root, Syscall::Wait, &[0, NEVER]);
    let request =
        kernel_core::Request { cpu: CpuId::BOOT, number: Syscall::Clock as u64, arguments: [0; 6], now: m.now };
    assert!(m.kernel.decode(&m.world, &request).is_err());
    let refusal = kernel_core::Refusal { error: Error::WrongState, detail: 0 };
    m.kernel.refuse(CpuId::BOOT, refusal, m.now);
    m.kernel.port_read(1);
    m.kernel.log_read(1, 1);
    assert_eq!(m.kernel.fault(CpuId::BOOT, report(), m.now), kernel_core::Effect::None);
    assert_eq!(m.check(), Ok(()));
}

fn report() -> kernel_core::FaultReport {
    kernel_core::FaultReport { kind: abi::fault::FaultKind::Read, address: 0, code: 0 }
}

#[test]
fn a_second_thread_shares_the_domains_capabilities() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let thread = crate::scene::thread_in(&mut s.m, s.client.domain);
    let second = s.m.start(thread);
    waits(&mut s.m, second, Syscall::Call, &[s.call.0, 0, NEVER, INTERFACE]);
    s.server_takes();
}
