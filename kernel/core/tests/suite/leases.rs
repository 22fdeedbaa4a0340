//! Leases: a caller's memory, lent while the call lasts and never after.

use crate::scene::{INTERFACE, Stage, by, refused, stage, waits};
use abi::message::{Lease, MAX_LEASE_COPY, MessageInfo, offset};
use abi::time::NEVER;
use abi::{Error, PAGE_SIZE, Syscall, USER_END};
use model::machine::{BUFFER, DATA};

/// The client calls with these leases; returns the token.
fn lend(s: &mut Stage, leases: &[Lease]) -> u64 {
    s.m.switch_to(s.client.id);
    put(s, leases);
    let info = MessageInfo::new(0, 0).with_leases(leases.len() as u8);
    waits(&mut s.m, s.client.id, Syscall::Call, &[s.call.0, info.0, NEVER, INTERFACE]);
    s.server_takes()
}

fn put(s: &mut Stage, leases: &[Lease]) {
    let words: Vec<u64> = leases.iter().flat_map(|lease| [lease.address, lease.length_and_access]).collect();
    s.m.store_words(BUFFER + offset::LEASES as u64, &words);
}

const fn lease(address: u64, length: u64, access: u64) -> Lease {
    Lease { address, length_and_access: length | access }
}

#[test]
fn a_lease_to_read_can_be_read() {
    let mut s = stage();
    s.m.switch_to(s.client.id);
    s.m.store(DATA + 16, b"watertight");
    let token = lend(&mut s, &[lease(DATA + 16, 10, Lease::READ)]);
    let copied = by(&mut s.m, s.server.id, Syscall::LeaseRead, &[token, 0, 5, DATA + 3, 5]).unwrap();
    assert_eq!(copied[0], 5);
    assert_eq!(s.m.load(DATA + 3, 6), b"tight\0");
}

#[test]
fn a_lease_to_write_can_be_written() {
    let mut s = stage();
    let token = lend(&mut s, &[lease(DATA, 8, 0), lease(DATA + 100, 8, Lease::WRITE)]);
    s.m.switch_to(s.server.id);
    s.m.store(DATA, b"bulkhead");
    by(&mut s.m, s.server.id, Syscall::LeaseWrite, &[token, 1, 0, DATA, 8]).unwrap();
    by(&mut s.m, s.server.id, Syscall::Reply, &[token, 0]).unwrap();
    s.m.result_of(s.client.id).unwrap();
    assert_eq!(s.m.load(DATA + 100, 8), b"bulkhead");
}

#[test]
fn a_lease_says_how_long_it_is_and_what_it_allows() {
    let mut s = stage();
    let lent = lease(DATA, 77, Lease::READ | Lease::WRITE);
    let token = lend(&mut s, &[lent]);
    let told = by(&mut s.m, s.server.id, Syscall::LeaseInfo, &[token, 0]).unwrap();
    assert_eq!(told[0], lent.length_and_access);
    refused(&mut s.m, s.server.id, Syscall::LeaseInfo, &[token, 1], Error::BadLease);
}

#[test]
fn a_copy_outside_of_a_lease_is_refused() {
    let mut s = stage();
    let token = lend(&mut s, &[lease(DATA, 8, Lease::READ), lease(DATA, 8, Lease::WRITE)]);
    let server = s.server.id;
    let mut refuse = |syscall, arguments: [u64; 5], error| refused(&mut s.m, server, syscall, &arguments, error);
    refuse(Syscall::LeaseWrite, [token, 0, 0, DATA, 1], Error::BadLease);
    refuse(Syscall::LeaseRead, [token, 1, 0, DATA, 1], Error::BadLease);
    refuse(Syscall::LeaseRead, [token, 0, 0, DATA, 9], Error::BadLease);
    refuse(Syscall::LeaseRead, [token, 0, 8, DATA, 1], Error::BadLease);
    refuse(Syscall::LeaseRead, [token, 0, u64::MAX, DATA, 2], Error::BadLease);
    refuse(Syscall::LeaseRead, [token, 2, 0, DATA, 1], Error::BadLease);
    refuse(Syscall::LeaseRead, [token, u64::MAX, 0, DATA, 1], Error::BadLease);
    refuse(Syscall::LeaseRead, [token, 0, 0, USER_END, 1], Error::BadAddress);
    refuse(Syscall::LeaseRead, [token, 0, 0, u64::MAX, 8], Error::BadAddress);
    refuse(Syscall::LeaseRead, [token + (1 << 16), 0, 0, DATA, 1], Error::CallerGone);
}

#[test]
fn a_lease_ends_with_its_call() {
    let mut s = stage();
    let token = lend(&mut s, &[lease(DATA, 8, Lease::READ)]);
    by(&mut s.m, s.server.id, Syscall::Reply, &[token, 0]).unwrap();
    refused(&mut s.m, s.server.id, Syscall::LeaseRead, &[token, 0, 0, DATA, 1], Error::CallerGone);
    refused(&mut s.m, s.server.id, Syscall::LeaseInfo, &[token, 0], Error::CallerGone);
}

#[test]
fn a_lease_of_memory_that_is_not_mapped_blames_the_lender_and_one_into_nowhere_the_server() {
    let mut s = stage();
    let nowhere = 0x7000_0000;
    let token = lend(&mut s, &[lease(nowhere, 8, Lease::READ | Lease::WRITE), lease(DATA, 8, Lease::READ)]);
    let server = s.server.id;
    assert_eq!(by(&mut s.m, server, Syscall::LeaseRead, &[token, 0, 0, DATA, 8]), Err(Error::BadLease));
    assert_eq!(by(&mut s.m, server, Syscall::LeaseWrite, &[token, 0, 0, DATA, 8]), Err(Error::BadLease));
    assert_eq!(by(&mut s.m, server, Syscall::LeaseRead, &[token, 1, 0, nowhere, 8]), Err(Error::BadAddress));
}

#[test]
fn one_entry_copies_no_more_than_a_page_and_says_how_much() {
    let mut s = stage();
    let token = lend(&mut s, &[lease(DATA, 2 * PAGE_SIZE, Lease::READ)]);
    let copied = by(&mut s.m, s.server.id, Syscall::LeaseRead, &[token, 0, 0, DATA, 2 * PAGE_SIZE]).unwrap();
    assert_eq!(copied[0], MAX_LEASE_COPY);
}

#[test]
fn memory_outside_of_user_space_cannot_be_lent() {
    let mut s = stage();
    s.m.switch_to(s.client.id);
    let info = MessageInfo::new(0, 0).with_leases(1).0;
    for bad in [lease(USER_END, 1, 0), lease(u64::MAX, 1, 0), lease(0, Lease::LENGTH, Lease::READ)] {
        s.m.switch_to(s.client.id);
        put(&mut s, &[bad]);
        refused(&mut s.m, s.client.id, Syscall::Call, &[s.call.0, info, NEVER, INTERFACE], Error::BadAddress);
    }
}

#[test]
fn a_thread_that_waits_with_a_fault_lends_nothing() {
    use crate::scene::{boot, peer_watched};
    use abi::fault::{FAULT_INTERFACE, FaultKind};
    let mut m = boot();
    let handler = m.make(Syscall::EndpointCreate, &[abi::root::ACCOUNT.0, FAULT_INTERFACE, 0, 0]);
    let faulty = peer_watched(&mut m, 5, 0, handler, 1);
    m.switch_to(faulty.id);
    m.fault(kernel_core::FaultReport { kind: FaultKind::Read, address: 8, code: 0 });
    let root = m.root.thread;
    let token = by(&mut m, root, Syscall::Receive, &[handler.0, 0, NEVER]).unwrap()[3];
    refused(&mut m, root, Syscall::LeaseRead, &[token, 0, 0, DATA, 1], Error::BadLease);
}
