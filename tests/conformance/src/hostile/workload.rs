//! The victim: a client and a server, in a domain each, whose results can be checked.

use super::place::{self, Diary};
use crate::actor::Memory;
use crate::bench::INTERFACE;
use crate::call::{ask, call, now, receive, reply_receive, wait};
use crate::random::Random;
use abi::PAGE_SIZE;
use abi::message::{Lease, MAX_LEASE_COPY, MessageInfo};
use abi::syscall::Syscall;
use abi::time::NEVER;
use core::sync::atomic::Ordering::Relaxed;

/// Rounds of a burst, after which the client rests.
const BURST: u64 = 8;
/// Nanoseconds of a rest, in which those of lower priority run.
const REST: u64 = 500_000;
/// Bytes that a client lends in a round: the first pages of its memory. The others it only keeps.
const LENT: u64 = 4 * PAGE_SIZE;

/// FNV-1a.
fn checksum(memory: Memory, first: u64, length: u64) -> u64 {
    (first..first + length).fold(0xcbf2_9ce4_8422_2325, |sum: u64, place| {
        (sum ^ u64::from(memory.byte(place as usize))).wrapping_mul(0x100_0000_01b3)
    })
}

fn diary() -> &'static Diary {
    // SAFETY: the first thread has mapped a diary there for as long as this thread lives; all in it is atomic.
    unsafe { &*core::ptr::with_exposed_provenance(place::diary().address as usize) }
}

fn add(count: &core::sync::atomic::AtomicU64, more: u64) {
    count.store(count.load(Relaxed).wrapping_add(more), Relaxed);
}

/// Calls the server again and again with bytes, and compares its results with its own.
pub(super) extern "C" fn client(_: u64) -> ! {
    let diary = diary();
    let endpoint = diary.endpoint.load(Relaxed);
    let mut random = Random::new(diary.seed.load(Relaxed));
    let memory = Memory(place::treasure().address);
    let bytes = place::treasure().pages * PAGE_SIZE;
    for place in 0..bytes {
        memory.set_byte(place as usize, random.next() as u8);
    }
    let kept = checksum(memory, LENT, bytes - LENT);
    let mut begun = now();
    for round in 0.. {
        for _ in 0..64 {
            memory.set_byte(random.below(LENT) as usize, random.next() as u8);
        }
        let length = 1 + random.below(MAX_LEASE_COPY.min(512));
        let first = random.below(LENT - length);
        let wanted = checksum(memory, first, length);
        crate::actor::Buffer(place::buffer(0).address).set_lease(0, memory.0 + first, length, Lease::READ);
        let mut words = [round, length, !wanted, 0, 0, 0];
        let answer = ask(endpoint, MessageInfo::new(1, 3).with_leases(1), NEVER, INTERFACE, &mut words);
        if answer.is_err() || words[..3] != [wanted, round + 1, wanted ^ length] {
            add(&diary.wrong, 1);
        }
        if round % 16 == 0 && checksum(memory, LENT, bytes - LENT) != kept {
            add(&diary.damaged, 1);
        }
        let ended = now();
        let taken = ended - begun;
        add(&diary.total, taken);
        diary.longest.store(diary.longest.load(Relaxed).max(taken), Relaxed);
        add(&diary.rounds, 1);
        begun = ended;
        if round % BURST == BURST - 1 {
            // It is to go on then; that it does so later counts.
            begun = ended + REST;
            let _ = wait(0, begun);
        }
    }
    loop {
        let _ = wait(0, NEVER);
    }
}

/// Answers calls with the checksum of what was lent.
pub(super) extern "C" fn server(_: u64) -> ! {
    let diary = diary();
    let endpoint = diary.endpoint.load(Relaxed);
    let memory = Memory(place::treasure().address);
    let mut words = [0; 6];
    let mut received = receive(endpoint, 0, NEVER, &mut words);
    loop {
        let token = received.map_or(0, |received| received.token());
        let [round, length, ..] = words;
        // Somewhere else each time.
        let there = round % (place::treasure().pages * PAGE_SIZE - MAX_LEASE_COPY);
        let copied = call(Syscall::LeaseRead, [token, 0, 0, memory.0 + there, length]);
        if copied != Ok(length) {
            add(&diary.wrong, 1);
        }
        let sum = checksum(memory, there, length.min(MAX_LEASE_COPY));
        words = [sum, round + 1, sum ^ length, 0, 0, 0];
        add(&diary.rounds, 1);
        received = reply_receive(endpoint, MessageInfo::new(0, 3), token, &mut words);
    }
}
