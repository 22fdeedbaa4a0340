//! What a typed interface costs: calls between two domains through `#[interface]`, beside the same calls made of system
//! calls by hand.
//!
//! Runs in a machine that counts instructions (QEMU's `-icount shift=0,sleep=off`, one processor), where a tick of the
//! time-stamp counter is an instruction. Both servers do the same work and are domains of their own.

use crate::actor::{self, Body};
use crate::bench::{Bench, LEVEL, PRIORITY};
use crate::call::{Received, ask, call, receive, reply_receive};
use crate::cases::Case;
use crate::console::print;
use crate::instructions::fewest;
use crate::outcome::{Failure, Outcome, same};
use abi::message::{Lease, MessageBuffer, MessageInfo};
use abi::syscall::Syscall;
use abi::time::NEVER;
use abi::{Handle, PAGE_SIZE};
use core::cell::RefCell;
use userlib::cap::Cap;
use userlib::ipc::{Caller, LeaseError, ReadLease};
use userlib::time::Deadline;
use userlib::{Value, executor, interface, thread};

/// Bytes that are lent.
const LENT: usize = PAGE_SIZE as usize;

/// Why the bytes were not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
enum CountError {
    /// The lent bytes could not be read.
    BadLease,
}

impl From<LeaseError> for CountError {
    fn from(_: LeaseError) -> Self {
        CountError::BadLease
    }
}

/// What is measured.
#[interface(name = "rpc", version = 1)]
trait Rpc {
    /// The sum.
    fn add(a: u64, b: u64) -> u64;
    /// The sum of the first and the last byte.
    fn ends(bytes: &[u8]) -> Result<u64, CountError>;
}

/// The cases.
pub(crate) const CASES: &[Case] =
    &[Case { name: "scalars", run: scalars }, Case { name: "a_4_kib_lease", run: a_4_kib_lease }];

/// A domain that serves an endpoint of the measured interface, for as long as the case takes.
fn server(bench: &mut Bench, body: Body) -> Result<u64, Failure> {
    let endpoint = bench.endpoint_with(RpcClient::INTERFACE.id, LEVEL)?;
    let child = bench.child(LEVEL)?;
    let there = call(Syscall::CapGrant, [child.domain, endpoint, u16::MAX.into(), 0])?;
    actor::write(BUFFER, actor::buffer(bench.next_place()).0);
    bench.thread_at(child.domain, PRIORITY, body, there)?;
    Ok(endpoint)
}

/// Word of the board that tells a typed server where its message buffer is.
const BUFFER: usize = 0;

struct Adder {
    /// Where it copies what is lent, as the other server has it.
    copy: RefCell<[u8; LENT]>,
}

fn ends(bytes: &[u8]) -> u64 {
    u64::from(bytes[0]) + u64::from(bytes[bytes.len() - 1])
}

impl RpcServer for Adder {
    async fn add(&self, _: &Caller, a: u64, b: u64) -> u64 {
        a.wrapping_add(b)
    }

    async fn ends(&self, _: &Caller, bytes: ReadLease) -> Result<u64, CountError> {
        let mut copy = self.copy.borrow_mut();
        bytes.read(0, &mut *copy)?;
        Ok(ends(&*copy))
    }
}

extern "C" fn typed(endpoint: u64) -> ! {
    // SAFETY: the thread begins here, and its buffer is at this address.
    unsafe {
        thread::enter(actor::read(BUFFER) as *mut MessageBuffer, || {
            let served = executor::serve(
                Cap::from_handle(Handle(endpoint)),
                RpcService::new(Adder { copy: RefCell::new([0; LENT]) }),
            );
            debug_assert!(served.is_ok());
            executor::run_forever()
        })
    }
}

extern "C" fn by_hand(endpoint: u64) -> ! {
    let mut words = [0; 6];
    let mut copy = [0u8; LENT];
    let mut received = receive(endpoint, 0, NEVER, &mut words);
    loop {
        let Ok(Received::Message { info, token, .. }) = received else {
            thread::exit(1);
        };
        words[0] = if info.leases() == 0 {
            words[0].wrapping_add(words[1])
        } else {
            let _ = call(Syscall::LeaseRead, [token, 0, 0, copy.as_mut_ptr() as u64, LENT as u64]);
            ends(&copy)
        };
        received = reply_receive(endpoint, MessageInfo::new(0, 1), token, &mut words);
    }
}

fn report(what: &str, typed: u64, by_hand: u64) {
    print(format_args!("rpc {what} typed {typed} by-hand {by_hand}\n"));
}

fn scalars(bench: &mut Bench) -> Outcome {
    let endpoint = server(bench, typed)?;
    let client = RpcClient::new(Cap::from_handle(Handle(endpoint))).with_deadline(Deadline::NEVER);
    let typed = fewest(|| same(client.add(40, 2).ok(), Some(42)))?;
    let endpoint = server(bench, by_hand)?;
    let by_hand = fewest(|| {
        let mut words = [40, 2, 0, 0, 0, 0];
        ask(endpoint, MessageInfo::new(0, 2), NEVER, RpcClient::INTERFACE.id, &mut words)?;
        same(words[0], 42)
    })?;
    report("scalars", typed, by_hand);
    Ok(())
}

fn a_4_kib_lease(bench: &mut Bench) -> Outcome {
    let mut bytes = [0; LENT];
    (bytes[0], bytes[LENT - 1]) = (40, 2);
    let endpoint = server(bench, typed)?;
    let client = RpcClient::new(Cap::from_handle(Handle(endpoint))).with_deadline(Deadline::NEVER);
    let typed = fewest(|| same(client.ends(&bytes).ok(), Some(42)))?;
    let endpoint = server(bench, by_hand)?;
    let by_hand = fewest(|| {
        let mut words = [0; 6];
        let lent = bytes.as_ptr() as u64;
        actor::own_buffer().set_lease(0, lent, LENT as u64, Lease::READ);
        ask(endpoint, MessageInfo::new(1, 0).with_leases(1), NEVER, RpcClient::INTERFACE.id, &mut words)?;
        same(words[0], 42)
    })?;
    report("4-KiB-lease", typed, by_hand);
    Ok(())
}
