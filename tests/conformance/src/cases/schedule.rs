//! Who runs when: priorities, time slices, deadlines, and budgets lent along calls.

use super::cases;
use crate::actor;
use crate::bench::{Bench, INTERFACE, PRIORITY, SLICE};
use crate::call::{Received, SECOND, Words, ask, call, notify, now, receive, reply_receive, sleep, soon, until, wait};
use crate::outcome::{Outcome, holds, refused, same};
use abi::message::MessageInfo;
use abi::syscall::{Registers, Syscall};
use abi::time::NEVER;
use abi::{Error, root};

cases![
    a_thread_of_higher_priority_runs_as_soon_as_it_is_woken,
    a_thread_of_lower_priority_does_not_run_meanwhile,
    threads_of_the_same_priority_share_the_processor,
    yielding_lets_the_next_one_of_the_same_priority_run,
    an_endless_loop_does_not_keep_others_from_their_deadlines,
    a_server_runs_at_its_callers_priority,
    a_server_is_its_own_again_after_its_answer,
    priority_is_lent_along_a_chain_of_calls,
    a_ceiling_raises_its_server_above_its_caller,
    a_budgets_numbers_are_checked,
    running_time_is_counted_for_who_runs,
    many_deadlines_pass_in_their_order,
];

const EMPTY: MessageInfo = MessageInfo::new(0, 0);

extern "C" fn spinner(place: u64) -> ! {
    loop {
        actor::add(place as usize, 1);
    }
}

/// Waits for the notification that it is given and counts in word 0 of the board.
extern "C" fn counter(notification: u64) -> ! {
    loop {
        if wait(notification, NEVER).is_ok() {
            actor::add(0, 1);
        }
    }
}

/// Notifies what it is given and writes to word 1 what word 0 is just after.
extern "C" fn notifier(notification: u64) -> ! {
    let _ = notify(notification, 1);
    actor::write(1, actor::read(0) + 10);
    loop {
        let _ = wait(0, NEVER);
    }
}

fn a_thread_of_higher_priority_runs_as_soon_as_it_is_woken(bench: &mut Bench) -> Outcome {
    let notification = bench.notification()?;
    bench.thread_at(root::DOMAIN.0, PRIORITY + 1, counter, notification)?;
    bench.settle()?;
    bench.thread_at(root::DOMAIN.0, PRIORITY, notifier, notification)?;
    bench.settle()?;
    same(actor::read(1), 11)
}

fn a_thread_of_lower_priority_does_not_run_meanwhile(bench: &mut Bench) -> Outcome {
    let notification = bench.notification()?;
    bench.thread_at(root::DOMAIN.0, PRIORITY - 1, counter, notification)?;
    bench.settle()?;
    let above = bench.thread_at(root::DOMAIN.0, PRIORITY, spinner, 5)?;
    notify(notification, 1)?;
    holds(until(|| actor::read(5) > 1000), "who has the higher priority runs")?;
    sleep(5 * SLICE);
    same(actor::read(0), 0)?;
    call(Syscall::ThreadStop, [above])?;
    bench.settle()?;
    same(actor::read(0), 1)
}

fn threads_of_the_same_priority_share_the_processor(bench: &mut Bench) -> Outcome {
    for place in 0..3 {
        bench.thread(spinner, place)?;
    }
    for round in 1..=10 {
        let all_ran = until(|| (0..3).all(|place| actor::read(place) > round * 1000));
        holds(all_ran, "each of them runs again and again")?;
    }
    Ok(())
}

/// Writes its number to the next place of the board, again and again, giving way after each.
extern "C" fn turn(number: u64) -> ! {
    for _ in 0..4 {
        let place = actor::add(0, 1);
        actor::write(1 + place as usize, number);
        let _ = call(Syscall::Yield, []);
    }
    loop {
        let _ = wait(0, NEVER);
    }
}

fn yielding_lets_the_next_one_of_the_same_priority_run(bench: &mut Bench) -> Outcome {
    // With slices so long that none ends by itself.
    let slice = 60 * SECOND;
    for number in 1..=3 {
        let budget = call(Syscall::BudgetCreate, [root::ACCOUNT.0, PRIORITY, slice, slice])?;
        bench.thread_on(budget, root::DOMAIN.0, turn, number)?;
    }
    bench.settle()?;
    same(core::array::from_fn::<u64, 12, _>(|place| actor::read(1 + place)), [1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3])
}

fn an_endless_loop_does_not_keep_others_from_their_deadlines(bench: &mut Bench) -> Outcome {
    bench.thread_at(root::DOMAIN.0, 200, spinner, 0)?;
    for _ in 0..10 {
        let before = now();
        sleep(1_000_000);
        let slept = now() - before;
        holds((1_000_000..5 * SECOND).contains(&slept), "the sleep ends soon after its deadline")?;
    }
    Ok(())
}

/// Answers calls with the number of the calls so far, and counts in word 2 when nobody calls it.
extern "C" fn server(endpoint: u64) -> ! {
    let mut words: Words = [0; 6];
    let mut received = receive(endpoint, 0, NEVER, &mut words);
    while let Ok(Received::Message { token, .. }) = received {
        words[0] = actor::add(1, 1) + 1;
        received = reply_receive(endpoint, MessageInfo::new(0, 1), token, &mut words);
    }
    loop {
        let _ = wait(0, NEVER);
    }
}

fn a_server_runs_at_its_callers_priority(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    bench.thread_at(root::DOMAIN.0, 20, server, endpoint)?;
    bench.settle()?;
    bench.thread_at(root::DOMAIN.0, 100, spinner, 0)?;
    for number in 1..=5 {
        let mut words: Words = [0; 6];
        ask(endpoint, EMPTY, soon(), INTERFACE, &mut words)?;
        same(words[0], number)?;
    }
    Ok(())
}

/// Takes a call, answers it, and then counts in word 3 of the board.
extern "C" fn busy_afterwards(endpoint: u64) -> ! {
    if let Ok(received) = receive(endpoint, 0, NEVER, &mut [0; 6]) {
        let _ = crate::call::reply(received.token(), EMPTY, &[0; 6]);
    }
    spinner(3)
}

fn a_server_is_its_own_again_after_its_answer(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    bench.thread_at(root::DOMAIN.0, 20, busy_afterwards, endpoint)?;
    bench.settle()?;
    let above = bench.thread_at(root::DOMAIN.0, 100, spinner, 0)?;
    ask(endpoint, EMPTY, soon(), INTERFACE, &mut [0; 6])?;
    sleep(5 * SLICE);
    let count = actor::read(3);
    sleep(5 * SLICE);
    same(actor::read(3), count)?;
    call(Syscall::ThreadStop, [above])?;
    holds(until(|| actor::read(3) > count), "with nobody above it, it runs")
}

/// Answers each call after a call of its own to the endpoint that the board names.
extern "C" fn middle(endpoint: u64) -> ! {
    let mut words: Words = [0; 6];
    let mut received = receive(endpoint, 0, NEVER, &mut words);
    while let Ok(Received::Message { token, .. }) = received {
        let _ = ask(actor::read(8), EMPTY, NEVER, INTERFACE, &mut words);
        received = reply_receive(endpoint, MessageInfo::new(0, 1), token, &mut words);
    }
    loop {
        let _ = wait(0, NEVER);
    }
}

fn priority_is_lent_along_a_chain_of_calls(bench: &mut Bench) -> Outcome {
    let (upper, lower) = (bench.endpoint_with(INTERFACE, 100)?, bench.endpoint_with(INTERFACE, 50)?);
    actor::write(8, lower);
    bench.thread_at(root::DOMAIN.0, 20, server, lower)?;
    bench.thread_at(root::DOMAIN.0, 30, middle, upper)?;
    bench.settle()?;
    bench.thread_at(root::DOMAIN.0, 100, spinner, 0)?;
    let mut words: Words = [0; 6];
    ask(upper, EMPTY, soon(), INTERFACE, &mut words)?;
    same(words[0], 1)
}

/// Calls the endpoint that it is given.
extern "C" fn caller(endpoint: u64) -> ! {
    let _ = ask(endpoint, EMPTY, NEVER, INTERFACE, &mut [0; 6]);
    actor::write(4, 1);
    loop {
        let _ = wait(0, NEVER);
    }
}

fn a_ceiling_raises_its_server_above_its_caller(bench: &mut Bench) -> Outcome {
    let endpoint = call(Syscall::EndpointCreate, [root::ACCOUNT.0, INTERFACE, 100, 150])?;
    // It goes on at the ceiling while it works, and only then at the priority of a caller below the busy one.
    extern "C" fn slow(endpoint: u64) -> ! {
        if let Ok(received) = receive(endpoint, 0, NEVER, &mut [0; 6]) {
            let until = now() + 5 * SLICE;
            while now() < until {}
            actor::write(5, actor::read(0));
            let _ = crate::call::reply(received.token(), EMPTY, &[0; 6]);
        }
        loop {
            let _ = wait(0, NEVER);
        }
    }
    bench.thread_at(root::DOMAIN.0, 20, slow, endpoint)?;
    bench.settle()?;
    bench.thread_at(root::DOMAIN.0, 60, caller, endpoint)?;
    sleep(SLICE);
    let above = bench.thread_at(root::DOMAIN.0, 100, spinner, 0)?;
    holds(until(|| actor::read(0) > 0), "the busy one runs afterwards")?;
    same(actor::read(5), 0)?;
    call(Syscall::ThreadStop, [above])?;
    bench.settle()?;
    same(actor::read(4), 1)
}

fn a_budgets_numbers_are_checked(_: &mut Bench) -> Outcome {
    for (priority, slice, period) in [
        (256, SLICE, SLICE),
        (u64::MAX, SLICE, SLICE),
        (10, 0, SLICE),
        (10, 1, SLICE),
        (10, SLICE, SLICE - 1),
        (10, u64::MAX, u64::MAX),
    ] {
        refused(call(Syscall::BudgetCreate, [root::ACCOUNT.0, priority, slice, period]), Error::BadArgument)?;
    }
    call(Syscall::BudgetCreate, [root::ACCOUNT.0, 255, SLICE, 10 * SLICE])?;
    Ok(())
}

fn running_time_is_counted_for_who_runs(bench: &mut Bench) -> Outcome {
    let (busy, waiting) = (bench.thread(spinner, 0)?, bench.thread(counter, 0)?);
    let runtime = |thread| {
        let mut found = Registers::default();
        call(Syscall::ThreadRead, [thread, &raw mut found as u64]).map_or(0, |_| found.runtime)
    };
    holds(until(|| runtime(busy) > 50_000_000), "who runs all the time has run")?;
    call(Syscall::ThreadStop, [busy])?;
    let ran = runtime(busy);
    sleep(3 * SLICE);
    same(runtime(busy), ran)?;
    holds(runtime(waiting) < ran / 2, "who waits has not")
}

/// Sleeps as many steps of the board's word 9 as it is told, and writes its number to the next place.
extern "C" fn late(number: u64) -> ! {
    let _ = wait(0, actor::read(9) + number * 1_000_000);
    let place = actor::add(0, 1);
    actor::write(10 + place as usize, number);
    loop {
        let _ = wait(0, NEVER);
    }
}

fn many_deadlines_pass_in_their_order(bench: &mut Bench) -> Outcome {
    actor::write(9, now() + 100_000_000);
    // With slices so long that a machine that was stopped for a while ends none.
    let slice = 60 * SECOND;
    for number in [4, 2, 7, 1, 5, 3, 6, 8] {
        let budget = call(Syscall::BudgetCreate, [root::ACCOUNT.0, PRIORITY, slice, slice])?;
        bench.thread_on(budget, root::DOMAIN.0, late, number)?;
    }
    sleep(110_000_000);
    bench.settle()?;
    same(core::array::from_fn::<u64, 8, _>(|place| actor::read(10 + place)), [1, 2, 3, 4, 5, 6, 7, 8])
}
