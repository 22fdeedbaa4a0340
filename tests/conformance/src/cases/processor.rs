//! Several processors. On a machine with one, there is nothing to see, and each case says so by passing; the suite runs
//! on machines with two and four as well.

use super::cases;
use crate::actor::{self, Body, Memory};
use crate::bench::{Bench, INTERFACE, PRIORITY, SLICE, WINDOW, statistics};
use crate::call::{Received, ask, call, notify, now, receive, reply_receive, sleep, soon, until, wait};
use crate::outcome::{Failure, Outcome, holds, refused, same};
use abi::message::MessageInfo;
use abi::syscall::{Registers, Syscall};
use abi::time::NEVER;
use abi::{Error, PAGE_SIZE, root};

cases![
    a_thread_of_another_processor_runs_beside_one_of_higher_priority,
    a_notification_wakes_a_thread_of_another_processor,
    two_processors_wake_each_other_again_and_again,
    a_server_of_another_processor_answers,
    a_deadline_passes_on_another_processor,
    a_thread_that_runs_on_another_processor_stops,
    a_thread_that_runs_on_another_processor_dies_with_its_domain,
    registers_of_a_thread_that_runs_are_not_read,
    a_budget_moves_to_another_processor_and_back,
    a_budget_does_not_move_to_a_processor_that_does_not_run,
    what_was_unmapped_is_gone_on_every_processor,
    a_page_that_another_processor_wrote_to_is_the_kernels_alone_once_donated,
    revoking_memory_that_another_processor_uses_takes_it_away,
    domains_of_several_processors_come_and_go,
];

const EMPTY: MessageInfo = MessageInfo::new(0, 0);

/// The numbers of processors other than the first.
fn others() -> Result<core::ops::Range<u64>, Error> {
    Ok(1..statistics()?.processors_used)
}

impl Bench {
    /// A started thread of the own domain on this processor.
    fn thread_on_processor(&mut self, cpu: u64, body: Body, argument: u64) -> Result<u64, Failure> {
        let budget = call(Syscall::BudgetCreate, [root::ACCOUNT.0, PRIORITY, SLICE, SLICE, cpu])?;
        self.thread_on(budget, root::DOMAIN.0, body, argument)
    }
}

/// Passes some time without giving the processor away.
fn spin(nanoseconds: u64) {
    let end = now() + nanoseconds;
    while now() < end {
        core::hint::spin_loop();
    }
}

/// Whether a word of the board changes while this thread keeps its processor.
fn changes(place: usize) -> bool {
    let (before, end) = (actor::read(place), now() + 5_000_000_000);
    while now() < end {
        if actor::read(place) != before {
            return true;
        }
    }
    false
}

extern "C" fn spinner(place: u64) -> ! {
    loop {
        actor::add(place as usize, 1);
    }
}

fn a_thread_of_another_processor_runs_beside_one_of_higher_priority(bench: &mut Bench) -> Outcome {
    for cpu in others()? {
        bench.thread_on_processor(cpu, spinner, cpu)?;
        // This thread has the higher priority and does not wait.
        holds(changes(cpu as usize), "it runs on a processor of its own")?;
    }
    Ok(())
}

/// Waits for the notification that it is given and counts in word 0 of the board.
extern "C" fn counter(notification: u64) -> ! {
    loop {
        if wait(notification, NEVER).is_ok() {
            actor::add(0, 1);
        }
    }
}

fn a_notification_wakes_a_thread_of_another_processor(bench: &mut Bench) -> Outcome {
    for cpu in others()? {
        let notification = bench.notification()?;
        let before = actor::read(0);
        bench.thread_on_processor(cpu, counter, notification)?;
        notify(notification, 1)?;
        holds(changes(0) || actor::read(0) > before, "it is woken")?;
    }
    Ok(())
}

/// Words of the board that [`echo`] finds its notifications in.
const PING: usize = 20;
const PONG: usize = 21;

extern "C" fn echo(_: u64) -> ! {
    loop {
        let _ = wait(actor::read(PING), NEVER);
        let _ = notify(actor::read(PONG), 1);
    }
}

fn two_processors_wake_each_other_again_and_again(bench: &mut Bench) -> Outcome {
    if others()?.is_empty() {
        return Ok(());
    }
    let (ping, pong) = (bench.notification()?, bench.notification()?);
    actor::write(PING, ping);
    actor::write(PONG, pong);
    bench.thread_on_processor(1, echo, 0)?;
    for _ in 0..2000 {
        notify(ping, 1)?;
        same(wait(pong, soon()), Ok(1))?;
    }
    Ok(())
}

/// Answers every call with its first word and one.
extern "C" fn server(endpoint: u64) -> ! {
    let mut words = [0; 6];
    let mut next = receive(endpoint, 0, NEVER, &mut words);
    loop {
        match next {
            Ok(Received::Message { token, .. }) => {
                words[0] += 1;
                next = reply_receive(endpoint, MessageInfo::new(0, 1), token, &mut words);
            }
            _ => next = receive(endpoint, 0, NEVER, &mut words),
        }
    }
}

fn a_server_of_another_processor_answers(bench: &mut Bench) -> Outcome {
    for cpu in others()? {
        let endpoint = bench.endpoint()?;
        bench.thread_on_processor(cpu, server, endpoint)?;
        for round in 0..500 {
            let mut words = [round, 0, 0, 0, 0, 0];
            ask(endpoint, MessageInfo::new(0, 1), soon(), INTERFACE, &mut words)?;
            same(words[0], round + 1)?;
        }
    }
    Ok(())
}

/// Sleeps for a millisecond again and again and counts.
extern "C" fn sleeper(place: u64) -> ! {
    loop {
        sleep(1_000_000);
        actor::add(place as usize, 1);
    }
}

fn a_deadline_passes_on_another_processor(bench: &mut Bench) -> Outcome {
    for cpu in others()? {
        bench.thread_on_processor(cpu, sleeper, cpu)?;
        for _ in 0..3 {
            holds(changes(cpu as usize), "it wakes up by itself")?;
        }
    }
    Ok(())
}

fn a_thread_that_runs_on_another_processor_stops(bench: &mut Bench) -> Outcome {
    for cpu in others()? {
        let thread = bench.thread_on_processor(cpu, spinner, cpu)?;
        for _ in 0..20 {
            holds(changes(cpu as usize), "it runs")?;
            call(Syscall::ThreadStop, [thread])?;
            let stopped = actor::read(cpu as usize);
            spin(2_000_000);
            same(actor::read(cpu as usize), stopped)?;
            let place = bench.last_actor();
            call(Syscall::ThreadStart, [thread, actor::code(spinner), actor::stack(place), cpu])?;
        }
    }
    Ok(())
}

fn a_thread_that_runs_on_another_processor_dies_with_its_domain(bench: &mut Bench) -> Outcome {
    for cpu in others()? {
        let child = bench.child(50)?;
        let budget = call(Syscall::BudgetCreate, [root::ACCOUNT.0, PRIORITY, SLICE, SLICE, cpu])?;
        bench.thread_on(budget, child.domain, spinner, cpu)?;
        holds(changes(cpu as usize), "it runs")?;
        call(Syscall::Destroy, [child.domain])?;
        let stopped = actor::read(cpu as usize);
        spin(20_000_000);
        same(actor::read(cpu as usize), stopped)?;
        call(Syscall::Destroy, [child.space])?;
    }
    Ok(())
}

fn registers_of_a_thread_that_runs_are_not_read(bench: &mut Bench) -> Outcome {
    if others()?.is_empty() {
        return Ok(());
    }
    let thread = bench.thread_on_processor(1, spinner, 1)?;
    holds(changes(1), "it runs")?;
    let mut registers = Registers::default();
    let address = &raw mut registers as u64;
    refused(call(Syscall::ThreadRead, [thread, address]), Error::WrongState)?;
    call(Syscall::ThreadStop, [thread])?;
    call(Syscall::ThreadRead, [thread, address])?;
    holds(registers.rip != 0 && registers.runtime > 0, "they tell where it was stopped")
}

fn a_budget_moves_to_another_processor_and_back(bench: &mut Bench) -> Outcome {
    if others()?.is_empty() {
        return Ok(());
    }
    let budget = call(Syscall::BudgetCreate, [root::ACCOUNT.0, PRIORITY, SLICE, SLICE, 0])?;
    bench.thread_on(budget, root::DOMAIN.0, spinner, 1)?;
    for _ in 0..20 {
        same(actor::read(1), {
            spin(50_000);
            actor::read(1)
        })?;
        call(Syscall::BudgetMove, [budget, 1])?;
        holds(changes(1), "it runs there")?;
        call(Syscall::BudgetMove, [budget, 0])?;
        // It leaves as soon as that processor hears of it.
        let end = now() + 5_000_000_000;
        loop {
            let before = actor::read(1);
            spin(50_000);
            if actor::read(1) == before {
                break;
            }
            holds(now() < end, "it comes back, where this thread has the higher priority")?;
        }
    }
    Ok(())
}

fn a_budget_does_not_move_to_a_processor_that_does_not_run(bench: &mut Bench) -> Outcome {
    let budget = bench.budget(PRIORITY)?;
    let beyond = others()?.end;
    for cpu in [beyond, 32, 33, u64::MAX] {
        refused(call(Syscall::BudgetMove, [budget, cpu]), Error::BadArgument)?;
        refused(call(Syscall::BudgetCreate, [root::ACCOUNT.0, 1, SLICE, SLICE, cpu]), Error::BadArgument)?;
    }
    Ok(())
}

/// Reads the first byte of [`WINDOW`] again and again and counts in the word that it is given.
extern "C" fn reader(place: u64) -> ! {
    loop {
        core::hint::black_box(Memory(WINDOW).byte(0));
        actor::add(place as usize, 1);
    }
}

/// Writes to the first page of [`WINDOW`] again and again and counts in the word that it is given.
extern "C" fn writer(place: u64) -> ! {
    loop {
        for offset in [0, 8, 16, PAGE_SIZE as usize - 1] {
            Memory(WINDOW).set_byte(offset, 0xa5);
        }
        actor::add(place as usize, 1);
    }
}

/// Checks that a thread which touches a page that is gone does not go on: at most what it had begun is counted.
fn has_ended(place: usize) -> Outcome {
    let counted = actor::read(place);
    // Long enough for the other processor to get its turn even where the machine shares its host.
    spin(20_000_000);
    holds(actor::read(place) <= counted + 1, "what was unmapped is out of reach")
}

fn what_was_unmapped_is_gone_on_every_processor(bench: &mut Bench) -> Outcome {
    let memory = bench.memory(1)?;
    for cpu in others()? {
        let place = cpu as usize;
        let mapping = bench.map(memory, WINDOW, 1)?;
        bench.thread_on_processor(cpu, reader, cpu)?;
        holds(changes(place), "it reads the page")?;
        call(Syscall::Unmap, [root::SPACE.0, mapping])?;
        has_ended(place)?;
    }
    Ok(())
}

fn a_page_that_another_processor_wrote_to_is_the_kernels_alone_once_donated(bench: &mut Bench) -> Outcome {
    if others()?.is_empty() {
        return Ok(());
    }
    let memory = bench.memory(1)?;
    let mut thread = None;
    for _ in 0..20 {
        let mapping = bench.map(memory, WINDOW, 1)?;
        match thread {
            None => thread = Some(bench.thread_on_processor(1, writer, 1)?),
            Some(thread) => {
                let place = bench.last_actor();
                call(Syscall::ThreadStart, [thread, actor::code(writer), actor::stack(place), 1])?;
            }
        }
        holds(changes(1), "it writes to the page")?;
        call(Syscall::Unmap, [root::SPACE.0, mapping])?;
        // As a root table it would lead the processor astray if it were written to.
        let space = call(Syscall::SpaceCreate, [root::ACCOUNT.0, memory, 0])?;
        spin(20_000);
        call(Syscall::Destroy, [space])?;
        let mapping = bench.map(memory, WINDOW, 1)?;
        let clean = Memory(WINDOW).is_all(0, PAGE_SIZE as usize, 0);
        call(Syscall::Unmap, [root::SPACE.0, mapping])?;
        holds(clean, "nobody wrote to it while it was the kernel's")?;
        if let Some(thread) = thread {
            call(Syscall::ThreadStop, [thread])?;
        }
    }
    Ok(())
}

fn revoking_memory_that_another_processor_uses_takes_it_away(bench: &mut Bench) -> Outcome {
    let memory = bench.memory(4)?;
    for cpu in others()? {
        let part = call(Syscall::MemorySplit, [memory, 0, 4, u16::MAX.into()])?;
        bench.map(part, WINDOW, 4)?;
        bench.thread_on_processor(cpu, writer, cpu)?;
        holds(changes(cpu as usize), "it writes to the page")?;
        call(Syscall::CapRevoke, [memory])?;
        has_ended(cpu as usize)?;
    }
    Ok(())
}

fn domains_of_several_processors_come_and_go(bench: &mut Bench) -> Outcome {
    let end = others()?.end;
    let endpoint = bench.endpoint()?;
    for _ in 0..2 {
        let mut children = [None; 4];
        for (cpu, child) in (0..end.min(4)).zip(&mut children) {
            let made = bench.child(50)?;
            let there = call(Syscall::CapGrant, [made.domain, endpoint, u16::MAX.into(), 0])?;
            let budget = call(Syscall::BudgetCreate, [root::ACCOUNT.0, PRIORITY, SLICE, SLICE, cpu])?;
            bench.thread_on(budget, made.domain, server, there)?;
            *child = Some(made);
        }
        for _ in 0..100 {
            ask(endpoint, MessageInfo::new(0, 1), soon(), INTERFACE, &mut [0; 6])?;
        }
        for child in children.iter().flatten() {
            call(Syscall::Destroy, [child.domain])?;
            call(Syscall::Destroy, [child.space])?;
        }
    }
    refused(ask(endpoint, EMPTY, now() + 1_000_000, INTERFACE, &mut [0; 6]), Error::TimedOut)?;
    holds(until(|| true), "this thread goes on")
}
