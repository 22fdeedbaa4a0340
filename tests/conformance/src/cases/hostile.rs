//! Callers that mean harm, and work that is interrupted.

use super::cases;
use super::victim::{DONE, Victim, done};
use crate::actor::{self, AREA_BYTES};
use crate::bench::{Bench, PRIORITY, inspect};
use crate::call::{call, raw, sleep};
use crate::outcome::{Outcome, holds, same};
use crate::random::Random;
use abi::syscall::{Charge, Syscall};
use abi::time::NOW;
use abi::{Handle, PAGE_SIZE, root};

cases![
    random_calls_without_authority_do_no_harm,
    random_calls_with_some_authority_do_no_harm,
    long_work_lets_others_run_in_between,
];

/// An argument that has a chance to mean something.
fn argument(random: &mut Random) -> u64 {
    let number = random.next();
    let small = number >> 8 & 0x1f;
    match number % 8 {
        0 | 1 => Handle::new(small as u16, 1).0,
        2 => small,
        3 => actor::area().0 + number % AREA_BYTES as u64,
        4 => 0x4000_0000 + small * PAGE_SIZE,
        5 => [0, u64::MAX, abi::USER_END, abi::boot::DIRECT_MAP_BASE, 1 << 47, 1 << 62, 1 << 63][number as usize % 7],
        6 => 1 << (number >> 8 & 0x3f),
        _ => number,
    }
}

/// How many calls a hostile thread makes.
const CALLS: u64 = 60_000;

/// Makes calls with random numbers and arguments, but for those that end or suspend the thread. Its argument seeds them.
extern "C" fn hostile(seed: u64) -> ! {
    let mut random = Random::new(seed);
    for _ in 0..CALLS {
        let number = random.next() % 104;
        let mut arguments = core::array::from_fn(|_| argument(&mut random));
        match Syscall::from_number(number) {
            Some(Syscall::ThreadExit | Syscall::ThreadPanic | Syscall::Yield | Syscall::ThreadLocal) => continue,
            Some(Syscall::Call | Syscall::Receive | Syscall::ReplyReceive) => arguments[2] = NOW,
            Some(Syscall::Wait) => arguments[1] = NOW,
            _ => {}
        }
        raw(number, arguments);
    }
    done()
}

fn random_calls_without_authority_do_no_harm(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    for seed in [1, 2, 3] {
        victim.start(bench, hostile, seed)?;
    }
    bench.settle()?;
    same(actor::read(DONE), 3)
}

fn random_calls_with_some_authority_do_no_harm(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    let limits = Charge::Accounts as usize..=Charge::Interrupts as usize;
    let limits = limits.map(|kind| if kind == Charge::CapSlots as usize { 256 } else { 4 });
    let mut all = [0u32; Charge::COUNT];
    for (place, limit) in all.iter_mut().zip(limits) {
        *place = limit;
    }
    let account = call(Syscall::AccountCreate, [root::ACCOUNT.0, all.as_ptr() as u64])?;
    let given = [
        account,
        bench.memory(16)?,
        bench.space()?,
        bench.endpoint()?,
        bench.notification()?,
        bench.budget(10)?,
        bench.child(20)?.domain,
        call(Syscall::PortsSplit, [root::PORTS.0, 0x3ff, 1, u16::MAX.into()])?,
    ];
    for handle in given {
        call(Syscall::CapMove, [victim.child.domain, handle])?;
    }
    for seed in [5, 6, 7] {
        victim.start(bench, hostile, seed)?;
    }
    bench.settle()?;
    same(actor::read(DONE), 3)
}

/// Revokes what the capability that it is given has brought forth; the board's word 0 counts beginnings, word 1 ends.
extern "C" fn revoker(capability: u64) -> ! {
    actor::add(0, 1);
    let _ = call(Syscall::CapRevoke, [capability]);
    actor::add(1, 1);
    done()
}

fn long_work_lets_others_run_in_between(bench: &mut Bench) -> Outcome {
    let notification = bench.notification()?;
    let thread = bench.thread_at(root::DOMAIN.0, PRIORITY, revoker, notification)?;
    bench.settle()?;
    let place = bench.last_actor();
    for attempt in 1..=50 {
        for _ in 0..600 {
            call(Syscall::CapCopy, [notification, u16::MAX.into(), 0])?;
        }
        call(Syscall::ThreadStop, [thread])?;
        call(Syscall::ThreadStart, [thread, actor::code(revoker), actor::stack(place), notification])?;
        // Not the same time on every machine.
        sleep(10_000 * (1 + attempt % 10));
        let between = actor::read(0) == attempt + 1 && actor::read(1) == attempt;
        bench.settle()?;
        same(actor::read(1), attempt + 1)?;
        if between {
            let left = (1..u64::from(root::TABLE_LENGTH)).filter(|slot| inspect(*slot).is_some()).count();
            return holds(left < 200, "all of it was revoked in the end");
        }
    }
    holds(false, "the first thread runs while another one revokes")
}
