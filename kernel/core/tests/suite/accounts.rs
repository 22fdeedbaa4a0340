//! Accounts: nobody can exhaust what others were promised.

use crate::scene::{ALL, M, boot, peer, refused, stale, statistics, usage, usage_of};
use abi::rights::AccountRights;
use abi::syscall::{AccountLimits, Charge};
use abi::{Error, Handle, PAGE_SIZE, Syscall, USER_END};
use model::machine::{DATA, PeerPlan, SLICE, own};

/// Puts limits where `AccountCreate` finds them.
fn put(m: &mut M, limits: &AccountLimits) -> u64 {
    let words: Vec<u64> = limits.chunks(2).map(|pair| u64::from(pair[0]) | (u64::from(pair[1]) << 32)).collect();
    m.store_words(DATA, &words);
    DATA
}

#[test]
fn limits_may_stand_at_the_end_of_a_page() {
    let mut m = boot();
    let place = DATA + PAGE_SIZE - size_of::<AccountLimits>() as u64;
    m.store_words(place, &[0; Charge::COUNT / 2]);
    m.make(Syscall::AccountCreate, &[own::ACCOUNT.0, place]);
    let root = m.root.thread;
    refused(&mut m, root, Syscall::AccountCreate, &[own::ACCOUNT.0, place + PAGE_SIZE], Error::BadAddress);
}

fn create(m: &mut M, parent: Handle, limits: &AccountLimits) -> Handle {
    let place = put(m, limits);
    m.make(Syscall::AccountCreate, &[parent.0, place])
}

fn limits(pairs: &[(Charge, u32)]) -> AccountLimits {
    let mut limits = [0; Charge::COUNT];
    for (charge, limit) in pairs {
        limits[*charge as usize] = *limit;
    }
    limits
}

#[test]
fn limits_of_a_sub_account_are_taken_out_of_its_parents() {
    let mut m = boot();
    let (limit, used) = usage(&mut m, Charge::Endpoints);
    let sub = create(&mut m, own::ACCOUNT, &limits(&[(Charge::Endpoints, 5)]));
    assert_eq!(usage(&mut m, Charge::Endpoints), (limit, used + 5));
    assert_eq!(usage(&mut m, Charge::Accounts).1, 1);
    assert_eq!(usage_of(&mut m, sub, Charge::Endpoints), (5, 0));
    m.sys(Syscall::CapDelete, &[sub.0]).unwrap();
    assert_eq!(usage(&mut m, Charge::Endpoints), (limit, used));
    assert_eq!(usage(&mut m, Charge::Accounts).1, 0);
}

#[test]
fn nobody_gets_more_than_the_account_has() {
    let mut m = boot();
    let root = m.root.thread;
    let sub = create(&mut m, own::ACCOUNT, &limits(&[(Charge::Endpoints, 2), (Charge::Accounts, 1)]));
    m.make(Syscall::EndpointCreate, &[sub.0, 1, 1, 1]);
    // One is left: not two.
    let place = put(&mut m, &limits(&[(Charge::Endpoints, 2)]));
    refused(&mut m, root, Syscall::AccountCreate, &[sub.0, place], Error::QuotaExceeded);
    let place = put(&mut m, &limits(&[(Charge::Endpoints, u32::MAX)]));
    refused(&mut m, root, Syscall::AccountCreate, &[sub.0, place], Error::QuotaExceeded);
    let place = put(&mut m, &limits(&[(Charge::Accounts, u32::MAX)]));
    refused(&mut m, root, Syscall::AccountCreate, &[sub.0, place], Error::QuotaExceeded);
    // A sub-account that may have sub-accounts needs one more.
    let place = put(&mut m, &limits(&[(Charge::Accounts, 1)]));
    refused(&mut m, root, Syscall::AccountCreate, &[sub.0, place], Error::QuotaExceeded);
    m.make(Syscall::EndpointCreate, &[sub.0, 1, 1, 1]);
    refused(&mut m, root, Syscall::EndpointCreate, &[sub.0, 1, 1, 1], Error::QuotaExceeded);
    refused(&mut m, root, Syscall::NotificationCreate, &[sub.0], Error::QuotaExceeded);
    refused(&mut m, root, Syscall::BudgetCreate, &[sub.0, 1, SLICE, SLICE], Error::QuotaExceeded);
    refused(&mut m, root, Syscall::SpaceCreate, &[sub.0, own::RAM.0, 100], Error::QuotaExceeded);
    refused(&mut m, root, Syscall::DomainCreate, &[sub.0, own::SPACE.0, 1, 16, 0, 0], Error::QuotaExceeded);
    refused(&mut m, root, Syscall::ThreadCreate, &[sub.0, own::DOMAIN.0, own::BUDGET.0], Error::QuotaExceeded);
}

#[test]
fn a_domain_is_charged_for_its_capability_table() {
    let mut m = boot();
    let root = m.root.thread;
    let sub = create(&mut m, own::ACCOUNT, &limits(&[(Charge::Domains, 1), (Charge::CapSlots, 31)]));
    refused(&mut m, root, Syscall::DomainCreate, &[sub.0, own::SPACE.0, 1, 32, 0, 0], Error::QuotaExceeded);
    let domain = m.make(Syscall::DomainCreate, &[sub.0, own::SPACE.0, 1, 16, 0, 0]);
    assert_eq!(usage_of(&mut m, sub, Charge::CapSlots), (31, 16));
    m.sys(Syscall::Destroy, &[domain.0]).unwrap();
    assert_eq!(usage_of(&mut m, sub, Charge::CapSlots), (31, 0));
}

#[test]
fn creating_needs_the_right_and_limits_that_can_be_read() {
    let mut m = boot();
    let root = m.root.thread;
    let place = put(&mut m, &limits(&[]));
    let weak = m.make(Syscall::CapCopy, &[own::ACCOUNT.0, AccountRights::INSPECT.bits().into(), 0]);
    refused(&mut m, root, Syscall::AccountCreate, &[weak.0, place], Error::MissingRight);
    refused(&mut m, root, Syscall::EndpointCreate, &[weak.0, 1, 1, 1], Error::MissingRight);
    for unreadable in [0x9000_0000, USER_END, u64::MAX, DATA + 4096 - 8] {
        refused(&mut m, root, Syscall::AccountCreate, &[own::ACCOUNT.0, unreadable], Error::BadAddress);
    }
    refused(&mut m, root, Syscall::AccountCreate, &[own::SPACE.0, place], Error::WrongKind);
    let blind = m.make(Syscall::CapCopy, &[own::ACCOUNT.0, AccountRights::CREATE.bits().into(), 0]);
    refused(&mut m, root, Syscall::AccountInfo, &[blind.0, place], Error::MissingRight);
    refused(&mut m, root, Syscall::AccountInfo, &[own::ACCOUNT.0, 0x9000_0000], Error::BadAddress);
    refused(&mut m, root, Syscall::AccountInfo, &[own::ACCOUNT.0, u64::MAX - 3], Error::BadAddress);
}

#[test]
fn an_account_in_use_cannot_be_destroyed_nor_can_the_first() {
    let mut m = boot();
    let root = m.root.thread;
    let sub = create(&mut m, own::ACCOUNT, &limits(&[(Charge::Endpoints, 2)]));
    let endpoint = m.make(Syscall::EndpointCreate, &[sub.0, 1, 1, 1]);
    refused(&mut m, root, Syscall::Destroy, &[sub.0], Error::WrongState);
    refused(&mut m, root, Syscall::Destroy, &[own::ACCOUNT.0], Error::WrongState);
    m.sys(Syscall::Destroy, &[endpoint.0]).unwrap();
    m.sys(Syscall::Destroy, &[sub.0]).unwrap();
    refused(&mut m, root, Syscall::EndpointCreate, &[sub.0, 1, 1, 1], Error::StaleHandle);
    refused(&mut m, root, Syscall::EndpointCreate, &[stale(sub), 1, 1, 1], Error::StaleHandle);
}

#[test]
fn an_account_without_capabilities_lives_until_nothing_is_charged_to_it_any_more() {
    let mut m = boot();
    let before = usage(&mut m, Charge::Endpoints);
    let sub = create(&mut m, own::ACCOUNT, &limits(&[(Charge::Endpoints, 2)]));
    let endpoint = m.make(Syscall::EndpointCreate, &[sub.0, 1, 1, 1]);
    m.sys(Syscall::CapDelete, &[sub.0]).unwrap();
    assert_eq!(usage(&mut m, Charge::Endpoints).1, before.1 + 2);
    m.sys(Syscall::Destroy, &[endpoint.0]).unwrap();
    assert_eq!(usage(&mut m, Charge::Endpoints), before);
    assert_eq!(usage(&mut m, Charge::Accounts).1, 0);
}

#[test]
fn nested_accounts_close_from_the_innermost_out() {
    let mut m = boot();
    let before = statistics(&mut m);
    let mut accounts = vec![own::ACCOUNT];
    for depth in (0..14).rev() {
        let parent = *accounts.last().unwrap();
        accounts.push(create(&mut m, parent, &limits(&[(Charge::Accounts, depth), (Charge::Endpoints, 1)])));
    }
    let innermost = *accounts.last().unwrap();
    let endpoint = m.make(Syscall::EndpointCreate, &[innermost.0, 1, 1, 1]);
    for account in &accounts[1..] {
        m.sys(Syscall::CapDelete, &[account.0]).unwrap();
    }
    assert_eq!(usage(&mut m, Charge::Accounts).1, 14);
    m.sys(Syscall::CapDelete, &[endpoint.0]).unwrap();
    assert_eq!(usage(&mut m, Charge::Accounts).1, 0);
    assert_eq!(statistics(&mut m), before);
}

#[test]
fn kernel_tables_that_are_full_say_so() {
    let mut m = boot();
    let root = m.root.thread;
    let place = put(&mut m, &limits(&[]));
    let mut made = 0;
    while m.sys(Syscall::AccountCreate, &[own::ACCOUNT.0, place]).is_ok() {
        made += 1;
    }
    assert_eq!(made, 14, "slot 0 is not used and the root has one");
    refused(&mut m, root, Syscall::AccountCreate, &[own::ACCOUNT.0, place], Error::KernelTableFull);
}

#[test]
fn mappings_that_were_promised_are_there_whoever_has_message_buffers() {
    let mut m = boot();
    // Every thread of the machine with a buffer.
    let (threads, running) = usage(&mut m, Charge::Threads);
    for _ in running..threads {
        let thread = crate::scene::thread_in(&mut m, own::DOMAIN);
        m.sys(Syscall::ThreadBuffer, &[thread.0, own::RAM.0, 100, 0x41_0000]).unwrap();
    }
    let (limit, used) = usage(&mut m, Charge::Mappings);
    for index in 0..u64::from(limit - used) {
        let arguments = [own::SPACE.0, own::RAM.0, 0x42_0000 + index * 4096, 100, 1, 1];
        m.sys(Syscall::Map, &arguments).unwrap_or_else(|error| panic!("mapping {index} of {limit}: {error}"));
    }
    let root = m.root.thread;
    refused(&mut m, root, Syscall::Map, &[own::SPACE.0, own::RAM.0, 0x50_0000, 100, 1, 1], Error::QuotaExceeded);
}

#[test]
fn everything_of_a_domain_comes_back_when_it_is_torn_down() {
    let mut m = boot();
    let all = limits(&[
        (Charge::Accounts, 2),
        (Charge::CapSlots, 64),
        (Charge::Spaces, 2),
        (Charge::Domains, 2),
        (Charge::Threads, 4),
        (Charge::Budgets, 4),
        (Charge::Endpoints, 4),
        (Charge::Notifications, 4),
        (Charge::Mappings, 8),
        (Charge::Interrupts, 2),
    ]);
    let before = statistics(&mut m);
    let sub = create(&mut m, own::ACCOUNT, &all);
    let root = m.root.thread;
    let plan = PeerPlan {
        account: sub,
        level: 1,
        priority: 250,
        cpu: kernel_core::CpuId::BOOT,
        handler: (Handle::NONE, 0),
        page: 2,
    };
    let peer = m.make_peer(plan);
    let theirs = crate::scene::grant(&mut m, &peer, sub, AccountRights::all().bits(), 0);
    let control = crate::scene::grant(&mut m, &peer, abi::root::INTERRUPTS, 1, 0);
    let memory = m.make(Syscall::MemorySplit, &[own::RAM.0, 100, 8, ALL]);
    let memory = crate::scene::grant(&mut m, &peer, memory, u16::MAX, 0);
    m.switch_to(peer.id);
    m.sys(Syscall::EndpointCreate, &[theirs.0, 1, 1, 1]).unwrap();
    m.sys(Syscall::NotificationCreate, &[theirs.0]).unwrap();
    m.sys(Syscall::InterruptCreate, &[control.0, 5]).unwrap();
    m.sys(Syscall::SpaceCreate, &[theirs.0, memory.0, 0]).unwrap();
    m.switch_to(root);
    for handle in [peer.domain, peer.space] {
        m.sys(Syscall::Destroy, &[handle.0]).unwrap();
    }
    for handle in [peer.domain, peer.space, peer.thread, peer.budget, sub] {
        m.sys(Syscall::CapDelete, &[handle.0]).unwrap();
    }
    assert_eq!(statistics(&mut m), before);
    assert_eq!(m.world.connected.len(), 0);
    let _ = peer_again(&mut m);
}

/// The same pages serve the next one: they came back, zeroed.
fn peer_again(m: &mut M) -> model::machine::Peer {
    peer(m, 1, 0)
}

#[test]
fn a_report_is_refused_where_it_does_not_fit_whole() {
    let mut m = boot();
    let root = m.root.thread;
    let end = DATA + PAGE_SIZE;
    for (syscall, whose, length) in [
        (Syscall::AccountInfo, own::ACCOUNT, Charge::COUNT * 8),
        (Syscall::Statistics, own::SYSTEM, size_of::<abi::syscall::Statistics>()),
        (Syscall::EntryTimes, own::SYSTEM, abi::syscall::ENTRY_KINDS * 4),
    ] {
        let place = end - length as u64;
        m.sys(syscall, &[whose.0, place]).unwrap_or_else(|error| panic!("{syscall:?} fits at {place:#x}: {error:?}"));
        refused(&mut m, root, syscall, &[whose.0, place + 8], Error::BadAddress);
    }
}
