//! Leases: a caller's memory, lent for the length of a call.

use super::cases;
use crate::actor::{self, Memory};
use crate::bench::{Bench, Child, INTERFACE, PRIORITY, WINDOW};
use crate::call::{ask, call, receive, reply, soon, wait};
use crate::outcome::{Failure, Outcome, holds, refused, same};
use abi::message::{Lease, MessageInfo};
use abi::syscall::{MapAccess, Syscall};
use abi::time::NEVER;
use abi::{Error, PAGE_SIZE};

cases![
    a_lease_is_read_byte_for_byte,
    a_lease_is_written_byte_for_byte,
    a_lease_tells_its_length_and_access,
    a_lease_lends_only_what_it_says,
    a_lease_ends_with_its_call,
    no_more_than_a_page_is_copied_at_once,
    memory_that_the_lender_does_not_have_is_a_bad_lease,
    a_lease_gives_no_access_that_the_lender_lacks,
    memory_that_the_server_does_not_have_is_a_bad_address,
    a_lease_must_lie_in_user_space,
];

const READ: u64 = Lease::READ;
const WRITE: u64 = Lease::WRITE;
/// Where the lender maps what it lends.
const THERE: u64 = 0x8f_0000;
/// Pages that it maps.
const PAGES: u64 = 4;

/// Words of the board: what to lend, and what came of the call.
const ENDPOINT: usize = 8;
const ADDRESS: usize = 9;
const LENGTH: usize = 10;
const ACCESS: usize = 11;
const OUTCOME: usize = 0;

/// Lends what the board says with one call; its argument is its place among the actors.
extern "C" fn lender(place: u64) -> ! {
    actor::buffer(place as usize).set_lease(0, actor::read(ADDRESS), actor::read(LENGTH), actor::read(ACCESS));
    let info = MessageInfo::new(0, 0).with_leases(1);
    let outcome = ask(actor::read(ENDPOINT), info, NEVER, INTERFACE, &mut [0; 6]);
    actor::write(OUTCOME, outcome.err().map_or(1000, |error| error as u64));
    loop {
        let _ = wait(0, NEVER);
    }
}

/// A pending call with a lease, seen from its server.
struct Lent {
    token: u64,
    child: Child,
    thread: u64,
    mapping: u64,
}

impl Lent {
    /// Lets a domain lend a range of its memory, of which the first thread sees the same pages at [`WINDOW`].
    fn new(bench: &mut Bench, offset: u64, length: u64, access: u64, mapped: MapAccess) -> Result<Self, Failure> {
        let endpoint = bench.endpoint()?;
        let child = bench.child(200)?;
        let memory = bench.memory(PAGES)?;
        bench.map(memory, WINDOW, PAGES)?;
        let mapping = call(Syscall::Map, [child.space, memory, THERE, 0, PAGES, mapped as u64])?;
        actor::write(ENDPOINT, call(Syscall::CapGrant, [child.domain, endpoint, u16::MAX.into(), 0])?);
        actor::write(ADDRESS, THERE + offset);
        actor::write(LENGTH, length);
        actor::write(ACCESS, access);
        let place = bench.last_actor() as u64 + 1;
        let thread = bench.thread_at(child.domain, PRIORITY, lender, place)?;
        let token = receive(endpoint, 0, soon(), &mut [0; 6])?.token();
        Ok(Lent { token, child, thread, mapping })
    }

    fn read(&self, lease: u64, offset: u64, address: u64, length: u64) -> Result<u64, Error> {
        call(Syscall::LeaseRead, [self.token, lease, offset, address, length])
    }

    fn write(&self, lease: u64, offset: u64, address: u64, length: u64) -> Result<u64, Error> {
        call(Syscall::LeaseWrite, [self.token, lease, offset, address, length])
    }

    fn end(&self) -> Outcome {
        Ok(reply(self.token, MessageInfo::new(0, 0), &[0; 6])?)
    }
}

fn a_lease_is_read_byte_for_byte(bench: &mut Bench) -> Outcome {
    let lent = Lent::new(bench, 100, 8000, READ, MapAccess::ReadWrite)?;
    let area = actor::area();
    Memory(WINDOW).fill(100, 8000, 3);
    // Both sides cross a page, at different places.
    for (from, to, length) in [(0, 0, 1), (0, 3, 4096), (3000, 2000, 4000), (3999, 4095, 2), (7999, 17, 1)] {
        area.fill(to, length, 200);
        same(lent.read(0, from, area.0 + to as u64, length as u64)?, length as u64)?;
        for index in 0..length {
            same(area.byte(to + index), Memory(WINDOW).byte(100 + from as usize + index))?;
        }
    }
    same(lent.read(0, 8000, area.0, 0)?, 0)?;
    lent.end()
}

fn a_lease_is_written_byte_for_byte(bench: &mut Bench) -> Outcome {
    let lent = Lent::new(bench, 4000, 5000, WRITE, MapAccess::ReadWrite)?;
    let area = actor::area();
    area.fill(1, 4096, 50);
    Memory(WINDOW).fill(4000, 50, 9);
    same(lent.write(0, 50, area.0 + 1, 4096)?, 4096)?;
    holds(Memory(WINDOW).holds(4050, 4096, 50), "every byte has arrived")?;
    holds(Memory(WINDOW).holds(4000, 50, 9), "nothing before it has changed")?;
    lent.end()
}

fn a_lease_tells_its_length_and_access(bench: &mut Bench) -> Outcome {
    let lent = Lent::new(bench, 0, 1234, READ, MapAccess::ReadWrite)?;
    // The access bits are in the two highest bits, so this is read without looking for an error.
    same(crate::call::results(Syscall::LeaseInfo, [lent.token, 0]).rax, 1234 | READ)?;
    refused(call(Syscall::LeaseInfo, [lent.token, 1]), Error::BadLease)?;
    refused(call(Syscall::LeaseInfo, [lent.token, u64::MAX]), Error::BadLease)?;
    lent.end()
}

fn a_lease_lends_only_what_it_says(bench: &mut Bench) -> Outcome {
    let lent = Lent::new(bench, 0, 1000, READ, MapAccess::ReadWrite)?;
    let area = actor::area().0;
    refused(lent.write(0, 0, area, 10), Error::BadLease)?;
    for (lease, offset, length) in [
        (1, 0, 1),
        (4, 0, 1),
        (u64::MAX, 0, 1),
        (0, 0, 1001),
        (0, 1000, 1),
        (0, 991, 10),
        (0, u64::MAX, 2),
        (0, 1, u64::MAX),
    ] {
        refused(lent.read(lease, offset, area, length), Error::BadLease)?;
    }
    same(lent.read(0, 990, area, 10)?, 10)?;
    lent.end()
}

fn a_lease_ends_with_its_call(bench: &mut Bench) -> Outcome {
    let lent = Lent::new(bench, 0, 100, READ | WRITE, MapAccess::ReadWrite)?;
    let area = actor::area().0;
    lent.read(0, 0, area, 100)?;
    lent.write(0, 0, area, 100)?;
    lent.end()?;
    refused(lent.read(0, 0, area, 100), Error::CallerGone)?;
    refused(lent.write(0, 0, area, 100), Error::CallerGone)?;
    refused(call(Syscall::LeaseInfo, [lent.token, 0]), Error::CallerGone)?;
    // Or with its caller.
    let lent = Lent::new_again(bench)?;
    call(Syscall::ThreadStop, [lent.thread])?;
    refused(lent.read(0, 0, area, 100), Error::CallerGone)
}

impl Lent {
    /// A second lender in the same case, after the first one's pages are gone from [`WINDOW`].
    fn new_again(bench: &mut Bench) -> Result<Self, Failure> {
        let endpoint = bench.endpoint()?;
        let child = bench.child(200)?;
        let memory = bench.memory(PAGES)?;
        let access = MapAccess::ReadWrite as u64;
        let mapping = call(Syscall::Map, [child.space, memory, THERE, 0, PAGES, access])?;
        actor::write(ENDPOINT, call(Syscall::CapGrant, [child.domain, endpoint, u16::MAX.into(), 0])?);
        let place = bench.last_actor() as u64 + 1;
        let thread = bench.thread_at(child.domain, PRIORITY, lender, place)?;
        let token = receive(endpoint, 0, soon(), &mut [0; 6])?.token();
        Ok(Lent { token, child, thread, mapping })
    }
}

fn no_more_than_a_page_is_copied_at_once(bench: &mut Bench) -> Outcome {
    let lent = Lent::new(bench, 0, 4 * PAGE_SIZE, READ | WRITE, MapAccess::ReadWrite)?;
    let area = actor::area().0;
    same(lent.read(0, 0, area, 2 * PAGE_SIZE)?, PAGE_SIZE)?;
    same(lent.write(0, 7, area, 3 * PAGE_SIZE)?, PAGE_SIZE)?;
    same(lent.read(0, 0, area, PAGE_SIZE - 1)?, PAGE_SIZE - 1)?;
    lent.end()
}

fn memory_that_the_lender_does_not_have_is_a_bad_lease(bench: &mut Bench) -> Outcome {
    // The last page that it lends is not mapped.
    let lent = Lent::new(bench, 0, (PAGES + 1) * PAGE_SIZE, READ | WRITE, MapAccess::ReadWrite)?;
    let area = actor::area();
    area.fill(0, 4096, 77);
    refused(lent.read(0, PAGES * PAGE_SIZE - 10, area.0, 100), Error::BadLease)?;
    refused(lent.write(0, PAGES * PAGE_SIZE, area.0, 1), Error::BadLease)?;
    holds(area.holds(0, 4096, 77), "a refused copy copies nothing")?;
    lent.read(0, PAGES * PAGE_SIZE - 10, area.0, 10)?;
    // What is unmapped during the call is gone.
    call(Syscall::Unmap, [lent.child.space, lent.mapping])?;
    refused(lent.read(0, 0, area.0, 1), Error::BadLease)?;
    lent.end()?;
    bench.settle()?;
    same(actor::read(OUTCOME), 1000)
}

fn a_lease_gives_no_access_that_the_lender_lacks(bench: &mut Bench) -> Outcome {
    let lent = Lent::new(bench, 0, 100, READ | WRITE, MapAccess::Read)?;
    let area = actor::area().0;
    lent.read(0, 0, area, 100)?;
    refused(lent.write(0, 0, area, 100), Error::BadLease)?;
    lent.end()
}

fn memory_that_the_server_does_not_have_is_a_bad_address(bench: &mut Bench) -> Outcome {
    let lent = Lent::new(bench, 0, 4096, READ | WRITE, MapAccess::ReadWrite)?;
    let read_only = abi::root::INFO_ADDRESS;
    for address in [0, read_only, abi::USER_END, abi::boot::DIRECT_MAP_BASE, u64::MAX - 8] {
        refused(lent.read(0, 0, address, 64), Error::BadAddress)?;
    }
    refused(lent.write(0, 0, 0x1000, 64), Error::BadAddress)?;
    // Nothing is copied if only the first part fits.
    let end = PAGES * PAGE_SIZE;
    Memory(WINDOW).fill(end as usize - 10, 10, 31);
    refused(lent.read(0, 0, WINDOW + end - 10, 64), Error::BadAddress)?;
    holds(Memory(WINDOW).holds(end as usize - 10, 10, 31), "a refused copy copies nothing")?;
    lent.write(0, 0, read_only, 64)?;
    lent.end()
}

fn a_lease_must_lie_in_user_space(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    let own = actor::own_buffer();
    let info = MessageInfo::new(0, 0).with_leases(1);
    for (address, length) in [
        (abi::USER_END, 1),
        (abi::USER_END - 8, 9),
        (abi::boot::DIRECT_MAP_BASE, 8),
        (u64::MAX, 8),
        (0x1000, Lease::LENGTH),
    ] {
        own.set_lease(0, address, length, READ);
        refused(ask(endpoint, info, soon(), INTERFACE, &mut [0; 6]), Error::BadAddress)?;
    }
    Ok(())
}
