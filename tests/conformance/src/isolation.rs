//! Isolation of time: what a budget gives and never exceeds, and who can delay whom.
//!
//! Runs in a machine that counts instructions (QEMU's `-icount shift=0,sleep=off`, one processor): there a tick of the
//! time-stamp counter is an instruction, and a nanosecond too, whatever else the host has to do.

use crate::actor::{self, Body};
use crate::bench::{Bench, INTERFACE, LEVEL};
use crate::call::{Received, SECOND, Words, ask, call, now, receive, reply_receive, sleep, until, wait};
use crate::cases::Case;
use crate::console::print;
use crate::instructions::ticks;
use crate::outcome::{Failure, Outcome, holds, same};
use abi::message::MessageInfo;
use abi::root;
use abi::syscall::Syscall;
use abi::time::NEVER;
use alloc::format;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Instructions by which a budget may be exceeded.
const TOLERANCE: u64 = 20_000;
/// A thousandth of a second.
const MS: u64 = SECOND / 1000;
/// Who is out of the processor for more ticks than this has been switched away from: no entry that goes back to the same
/// thread at once is as long.
const GAP: u64 = 4_000;
/// Runs of the spinning thread that are kept.
const RUNS: usize = 128;

/// When each run of the spinning thread began and ended.
static BEGUN: [AtomicU64; RUNS] = [const { AtomicU64::new(0) }; RUNS];
static ENDED: [AtomicU64; RUNS] = [const { AtomicU64::new(0) }; RUNS];

/// The checks.
pub(crate) const CASES: &[Case] = &[
    Case { name: "a_tick_is_a_nanosecond_here", run: a_tick_is_a_nanosecond_here },
    Case {
        name: "a_budget_is_never_exceeded_by_more_than_20_000_instructions",
        run: a_budget_is_never_exceeded_by_more_than_20_000_instructions,
    },
    Case { name: "a_budgeted_thread_never_misses_its_period", run: a_budgeted_thread_never_misses_its_period },
    Case { name: "a_greedy_thread_above_makes_it_miss", run: a_greedy_thread_above_makes_it_miss },
    Case {
        name: "a_low_client_does_not_delay_a_high_one_at_the_same_server",
        run: a_low_client_does_not_delay_a_high_one_at_the_same_server,
    },
];

/// Takes two instructions for each of `turns`.
fn work(turns: u64) {
    // SAFETY: counts down and touches nothing else.
    unsafe { asm!("2: dec {0}", "jnz 2b", inout(reg) turns.max(1) => _, options(nomem, nostack)) }
}

/// A thread of the root domain on a budget.
fn thread(
    bench: &mut Bench,
    priority: u64,
    slice: u64,
    period: u64,
    body: Body,
    argument: u64,
) -> Result<u64, Failure> {
    let budget = call(Syscall::BudgetCreate, [root::ACCOUNT.0, priority, slice, period, 0])?;
    bench.thread_on(budget, root::DOMAIN.0, body, argument)
}

/// Spins without a stack, so that there can be many.
#[unsafe(naked)]
extern "C" fn greedy(_: u64) -> ! {
    core::arch::naked_asm!("2:", "jmp 2b")
}

/// A thread that takes whatever it gets.
fn neighbour(priority: u64) -> Outcome {
    let budget = call(Syscall::BudgetCreate, [root::ACCOUNT.0, priority, 2 * MS, 2 * MS, 0])?;
    let thread = call(Syscall::ThreadCreate, [root::ACCOUNT.0, root::DOMAIN.0, budget])?;
    call(Syscall::ThreadStart, [thread, actor::code(greedy), 0, 0])?;
    Ok(())
}

fn a_tick_is_a_nanosecond_here(_: &mut Bench) -> Outcome {
    let (time, tick) = (now(), ticks());
    sleep(100 * MS);
    let (time, tick) = (now() - time, ticks() - tick);
    print(format_args!("{tick} ticks in {time} ns\n"));
    holds(
        tick.abs_diff(time) < time / 1000,
        "the time-stamp counter counts nanoseconds; is this machine run with -icount?",
    )
}

/// Spins and keeps note of when it runs.
extern "C" fn spin(_: u64) -> ! {
    for (begun, ended) in BEGUN.iter().zip(&ENDED) {
        let mut last = ticks();
        begun.store(last, Relaxed);
        loop {
            let tick = ticks();
            if tick - last > GAP {
                ended.store(last, Relaxed);
                break;
            }
            last = tick;
        }
    }
    rest()
}

fn rest() -> ! {
    loop {
        let _ = wait(0, NEVER);
    }
}

fn a_budget_is_never_exceeded_by_more_than_20_000_instructions(bench: &mut Bench) -> Outcome {
    const SLICE: u64 = MS;
    const PERIOD: u64 = 10 * MS;
    for end in &ENDED {
        end.store(0, Relaxed);
    }
    thread(bench, 100, SLICE, PERIOD, spin, 0)?;
    neighbour(50)?;
    holds(until(|| ENDED[RUNS - 1].load(Relaxed) > 0), "it runs again and again")?;
    let runs = || BEGUN.iter().zip(&ENDED).map(|(begun, ended)| (begun.load(Relaxed), ended.load(Relaxed)));
    // In no stretch as long as a period more than a slice: it is enough to look at those that begin with a run.
    let window = |first: u64| {
        let last = first + PERIOD;
        runs().map(|(begun, ended)| ended.min(last).saturating_sub(begun.max(first))).sum::<u64>()
    };
    // The last runs are not followed by a whole period.
    let windows = || runs().take(RUNS - 16).map(|(begun, _)| window(begun));
    let (most, least) = (windows().max().unwrap_or(0), windows().min().unwrap_or(0));
    print(format_args!(
        "budget of {SLICE} instructions in {PERIOD}: it got {least} to {most} in each of {} periods, {} more than its share\n",
        RUNS - 16,
        most.saturating_sub(SLICE)
    ));
    holds(most <= SLICE + TOLERANCE, "it never gets much more than its share")?;
    holds(least + TOLERANCE >= SLICE * 9 / 10, "it gets its share")
}

/// Where the periodic thread says how it fared: periods, misses, longest response.
const PERIODS: usize = 0;
const MISSES: usize = 1;
const LONGEST: usize = 2;

const PERIODIC_PERIOD: u64 = 10 * MS;
/// Instructions of a job: three quarters of its budget of 2 ms.
const JOB: u64 = 3 * MS / 2;

/// Does a job in every period, and says when it was late.
extern "C" fn periodic(periods: u64) -> ! {
    let mut release = now() + PERIODIC_PERIOD;
    for _ in 0..periods {
        let _ = wait(0, release);
        work(JOB / 2);
        let response = now().saturating_sub(release);
        if response > PERIODIC_PERIOD {
            actor::add(MISSES, 1);
        }
        actor::write(LONGEST, actor::read(LONGEST).max(response));
        actor::add(PERIODS, 1);
        release += PERIODIC_PERIOD;
    }
    rest()
}

/// Runs a thread with 2 ms in every 10 for so many periods beside greedy ones.
fn beside(bench: &mut Bench, periods: u64, priorities: impl Iterator<Item = u64>) -> Outcome {
    let mut count = 0;
    for priority in priorities {
        neighbour(priority)?;
        count += 1;
    }
    thread(bench, 100, 2 * MS, PERIODIC_PERIOD, periodic, periods)?;
    sleep((periods + 20) * PERIODIC_PERIOD);
    print(format_args!(
        "2 ms in every 10 at priority 100 beside {count} greedy threads: {} periods, {} missed, longest response {} us\n",
        actor::read(PERIODS),
        actor::read(MISSES),
        actor::read(LONGEST) / 1000
    ));
    Ok(())
}

fn a_budgeted_thread_never_misses_its_period(bench: &mut Bench) -> Outcome {
    // One at every priority below, and one that is its equal.
    beside(bench, 300, 1..=100)?;
    same((actor::read(PERIODS), actor::read(MISSES)), (300, 0))
}

fn a_greedy_thread_above_makes_it_miss(bench: &mut Bench) -> Outcome {
    // What is measured above can be seen to fail.
    beside(bench, 10, 101..=101)?;
    holds(actor::read(PERIODS) < 10 || actor::read(MISSES) > 0, "it misses its periods")
}

/// Instructions that the server needs for a call.
const SERVICE: u64 = MS / 5;
/// Where the high client says how often it has called, and its longest call.
const CALLS: usize = 4;
const LATENCY: usize = 5;
/// Where low clients count.
const FLOOD: usize = 6;
const EMPTY: MessageInfo = MessageInfo::new(0, 0);

/// Answers each call after its work.
extern "C" fn server(endpoint: u64) -> ! {
    let mut words: Words = [0; 6];
    let mut received = receive(endpoint, 0, NEVER, &mut words);
    while let Ok(Received::Message { token, .. }) = received {
        work(SERVICE / 2);
        received = reply_receive(endpoint, EMPTY, token, &mut words);
    }
    rest()
}

/// Calls as often as it can.
extern "C" fn low(endpoint: u64) -> ! {
    loop {
        let _ = ask(endpoint, EMPTY, NEVER, INTERFACE, &mut [0; 6]);
        actor::add(FLOOD, 1);
    }
}

/// Calls a hundred times, with pauses that shift against everything else, and keeps the longest time.
extern "C" fn high(endpoint: u64) -> ! {
    for turn in 0..100 {
        // It is to call then: what keeps it from that counts as well.
        let begun = now() + MS + turn * 37_000;
        let _ = wait(0, begun);
        let _ = ask(endpoint, EMPTY, NEVER, INTERFACE, &mut [0; 6]);
        actor::write(LATENCY, actor::read(LATENCY).max(now() - begun));
        actor::add(CALLS, 1);
    }
    rest()
}

/// The longest of a hundred calls of a high client, beside so many low ones with this slice in every 10 ms, and beside
/// somebody in between who is greedy.
fn latency(bench: &mut Bench, clients: u64, slice: u64) -> Result<u64, Failure> {
    let ((longest, calls, flood), ..) = bench.isolated(|bench| {
        let endpoint = call(Syscall::EndpointCreate, [root::ACCOUNT.0, INTERFACE, LEVEL, 120])?;
        thread(bench, 20, 2 * MS, 2 * MS, server, endpoint)?;
        // Until it receives, it is nobody's server.
        bench.settle()?;
        for _ in 0..clients {
            thread(bench, 30, slice, 10 * MS, low, endpoint)?;
        }
        if clients > 0 {
            // It would keep the server from working for low clients, were it not for the ceiling.
            thread(bench, 60, 5 * MS, 10 * MS, greedy, 0)?;
        }
        thread(bench, 110, 2 * MS, 2 * MS, high, endpoint)?;
        holds(until(|| actor::read(CALLS) == 100), "the high client comes to its end")?;
        Ok((actor::read(LATENCY), actor::read(CALLS), actor::read(FLOOD)))
    })?;
    print(format_args!(
        "high client beside {clients} low ones with {} us in every 10 ms: {calls} calls, longest {} us; the low ones made {flood}\n",
        slice / 1000,
        longest / 1000
    ));
    if clients > 0 && flood < 20 {
        return Err(Failure::new(format!("the low clients made {flood} calls only")));
    }
    Ok(longest)
}

fn a_low_client_does_not_delay_a_high_one_at_the_same_server(bench: &mut Bench) -> Outcome {
    let alone = latency(bench, 0, 10 * MS)?;
    // One call of another client may be under way, and goes on at the server's ceiling; also if the loan for it runs dry.
    for slice in [10 * MS, MS / 10] {
        let flooded = latency(bench, 3, slice)?;
        if flooded > alone + SERVICE + 2 * TOLERANCE {
            return Err(Failure::new(format!("a call takes {flooded} ns beside them, and {alone} alone")));
        }
    }
    Ok(())
}
