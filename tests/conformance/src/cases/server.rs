//! What happens to calls when servers, callers and endpoints die, and blame.

use super::cases;
use super::victim::Victim;
use crate::actor;
use crate::bench::{Bench, INTERFACE, PRIORITY};
use crate::call::{SECOND, Words, ask, call, now, receive, reply, soon, wait};
use crate::outcome::{Outcome, refused, same};
use abi::Error;
use abi::fault::{FaultKind, FaultWord};
use abi::message::MessageInfo;
use abi::syscall::Syscall;
use abi::time::{NEVER, NOW};

cases![
    a_server_that_dies_fails_the_calls_that_it_had_taken,
    a_server_that_loses_its_last_thread_fails_the_calls_that_it_had_taken,
    calls_that_still_queue_wait_for_the_next_instance,
    a_destroyed_endpoint_ends_calls_and_receivers,
    a_caller_that_is_stopped_is_gone_for_its_server,
    a_caller_that_dies_is_gone_for_its_server,
    blame_reaches_the_callers_fault_handler,
    a_reply_never_reaches_a_later_call_of_the_same_thread,
    a_watch_tells_of_a_call_that_times_out_while_it_is_worked_on,
    a_watch_tells_of_a_caller_that_dies,
    a_watch_is_silent_about_calls_that_are_answered,
    a_watch_ends_with_notification_0,
    a_call_that_was_passed_on_is_watched_where_it_was_received_last,
];

const EMPTY: MessageInfo = MessageInfo::new(0, 0);
const ENDPOINT: usize = 11;

/// Calls the endpoint that it is given; the board's word 0 counts successes, word 1 holds the last error.
extern "C" fn caller(endpoint: u64) -> ! {
    match ask(endpoint, EMPTY, NEVER, INTERFACE, &mut [0; 6]) {
        Ok(_) => {
            actor::add(0, 1);
        }
        Err(error) => actor::write(1, error as u64),
    }
    loop {
        let _ = wait(0, NEVER);
    }
}

/// Takes a call and never answers. Word 2 of the board counts what was taken.
extern "C" fn silent(endpoint: u64) -> ! {
    loop {
        match receive(endpoint, 0, NEVER, &mut [0; 6]) {
            Ok(_) => actor::add(2, 1),
            Err(error) => {
                actor::write(3, error as u64);
                let _ = wait(0, NEVER);
                0
            }
        };
    }
}

fn a_server_that_dies_fails_the_calls_that_it_had_taken(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    let child = bench.child(50)?;
    let there = call(Syscall::CapGrant, [child.domain, endpoint, u16::MAX.into(), 0])?;
    bench.thread_at(child.domain, PRIORITY, silent, there)?;
    bench.thread(caller, endpoint)?;
    bench.settle()?;
    same((actor::read(2), actor::read(1)), (1, 0))?;
    call(Syscall::Destroy, [child.domain])?;
    bench.settle()?;
    same(actor::read(1), Error::PeerDied as u64)
}

fn a_server_that_loses_its_last_thread_fails_the_calls_that_it_had_taken(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    let child = bench.child(50)?;
    let there = call(Syscall::CapGrant, [child.domain, endpoint, u16::MAX.into(), 0])?;
    let server = bench.thread_at(child.domain, PRIORITY, silent, there)?;
    bench.thread(caller, endpoint)?;
    bench.settle()?;
    call(Syscall::Destroy, [server])?;
    bench.settle()?;
    same(actor::read(1), Error::PeerDied as u64)
}

fn calls_that_still_queue_wait_for_the_next_instance(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    let child = bench.child(50)?;
    let there = call(Syscall::CapGrant, [child.domain, endpoint, u16::MAX.into(), 0])?;
    let server = bench.thread_at(child.domain, PRIORITY, silent, there)?;
    bench.settle()?;
    call(Syscall::ThreadStop, [server])?;
    bench.thread(caller, endpoint)?;
    bench.settle()?;
    call(Syscall::Destroy, [child.domain])?;
    bench.settle()?;
    same((actor::read(0), actor::read(1)), (0, 0))?;
    // The next instance.
    let received = receive(endpoint, 0, NOW, &mut [0; 6])?;
    reply(received.token(), EMPTY, &[0; 6])?;
    bench.settle()?;
    same((actor::read(0), actor::read(1)), (1, 0))
}

fn a_destroyed_endpoint_ends_calls_and_receivers(bench: &mut Bench) -> Outcome {
    let (first, second) = (bench.endpoint()?, bench.endpoint()?);
    bench.thread(caller, first)?;
    bench.thread(silent, second)?;
    bench.settle()?;
    call(Syscall::Destroy, [first])?;
    call(Syscall::Destroy, [second])?;
    bench.settle()?;
    same((actor::read(1), actor::read(3)), (Error::EndpointGone as u64, Error::EndpointGone as u64))?;
    refused(ask(first, EMPTY, NOW, INTERFACE, &mut [0; 6]), Error::StaleHandle)
}

fn a_caller_that_is_stopped_is_gone_for_its_server(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    let thread = bench.thread(caller, endpoint)?;
    let token = receive(endpoint, 0, soon(), &mut [0; 6])?.token();
    call(Syscall::ThreadStop, [thread])?;
    refused(reply(token, EMPTY, &[0; 6]), Error::CallerGone)?;
    // Also out of the queue.
    let thread = bench.thread(caller, endpoint)?;
    bench.settle()?;
    call(Syscall::ThreadStop, [thread])?;
    refused(receive(endpoint, 0, NOW, &mut [0; 6]), Error::WouldBlock)
}

fn a_caller_that_dies_is_gone_for_its_server(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    let child = bench.child(200)?;
    let there = call(Syscall::CapGrant, [child.domain, endpoint, u16::MAX.into(), 0])?;
    bench.thread_at(child.domain, PRIORITY, caller, there)?;
    let token = receive(endpoint, 0, soon(), &mut [0; 6])?.token();
    call(Syscall::Destroy, [child.domain])?;
    refused(reply(token, EMPTY, &[0; 6]), Error::CallerGone)?;
    // Another thread in the dead one's place is not meant either.
    bench.thread(caller, endpoint)?;
    let next = receive(endpoint, 0, soon(), &mut [0; 6])?.token();
    refused(reply(token, EMPTY, &[0; 6]), Error::CallerGone)?;
    reply(next, EMPTY, &[0; 6])?;
    Ok(())
}

const WATCH: u64 = 0x40;

/// An endpoint and the notification that watches it.
fn watched(bench: &mut Bench) -> Result<(u64, u64), crate::outcome::Failure> {
    let (endpoint, notification) = (bench.endpoint()?, bench.notification()?);
    call(Syscall::EndpointWatch, [endpoint, notification, WATCH])?;
    Ok((endpoint, notification))
}

/// Calls the endpoint that it is given and waits for a short time only; the last error goes to word 1 of the board.
extern "C" fn hasty(endpoint: u64) -> ! {
    if let Err(error) = ask(endpoint, EMPTY, now() + SECOND / 20, INTERFACE, &mut [0; 6]) {
        actor::write(1, error as u64);
    }
    loop {
        let _ = wait(0, NEVER);
    }
}

fn a_watch_tells_of_a_call_that_times_out_while_it_is_worked_on(bench: &mut Bench) -> Outcome {
    let (endpoint, notification) = watched(bench)?;
    bench.thread(hasty, endpoint)?;
    let token = receive(endpoint, 0, soon(), &mut [0; 6])?.token();
    same(wait(notification, soon())?, WATCH)?;
    refused(call(Syscall::LeaseInfo, [token, 0]), Error::CallerGone)?;
    bench.settle()?;
    same(actor::read(1), Error::TimedOut as u64)
}

fn a_watch_tells_of_a_caller_that_dies(bench: &mut Bench) -> Outcome {
    let (endpoint, notification) = watched(bench)?;
    let child = bench.child(200)?;
    let there = call(Syscall::CapGrant, [child.domain, endpoint, u16::MAX.into(), 0])?;
    bench.thread_at(child.domain, PRIORITY, caller, there)?;
    let token = receive(endpoint, 0, soon(), &mut [0; 6])?.token();
    refused(call(Syscall::LeaseInfo, [token, 0]), Error::BadLease)?;
    refused(wait(notification, NOW), Error::WouldBlock)?;
    call(Syscall::Destroy, [child.domain])?;
    same(wait(notification, NOW)?, WATCH)?;
    refused(call(Syscall::LeaseInfo, [token, 0]), Error::CallerGone)
}

fn a_watch_is_silent_about_calls_that_are_answered(bench: &mut Bench) -> Outcome {
    let (endpoint, notification) = watched(bench)?;
    let thread = bench.thread(caller, endpoint)?;
    let token = receive(endpoint, 0, soon(), &mut [0; 6])?.token();
    reply(token, EMPTY, &[0; 6])?;
    bench.settle()?;
    same(actor::read(0), 1)?;
    call(Syscall::ThreadStop, [thread])?;
    refused(wait(notification, NOW), Error::WouldBlock)
}

fn a_watch_ends_with_notification_0(bench: &mut Bench) -> Outcome {
    let (endpoint, notification) = watched(bench)?;
    let thread = bench.thread(caller, endpoint)?;
    receive(endpoint, 0, soon(), &mut [0; 6])?;
    call(Syscall::EndpointWatch, [endpoint, 0, 0])?;
    call(Syscall::ThreadStop, [thread])?;
    refused(wait(notification, NOW), Error::WouldBlock)
}

fn a_call_that_was_passed_on_is_watched_where_it_was_received_last(bench: &mut Bench) -> Outcome {
    let (first, first_watch) = watched(bench)?;
    let (second, second_watch) = watched(bench)?;
    let thread = bench.thread(caller, first)?;
    let token = receive(first, 0, soon(), &mut [0; 6])?.token();
    call(Syscall::Forward, [token, second])?;
    receive(second, 0, soon(), &mut [0; 6])?;
    call(Syscall::ThreadStop, [thread])?;
    refused(wait(first_watch, NOW), Error::WouldBlock)?;
    same(wait(second_watch, NOW)?, WATCH)
}

fn blame_reaches_the_callers_fault_handler(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    let endpoint = bench.endpoint_with(INTERFACE, 10)?;
    let there = call(Syscall::CapGrant, [victim.child.domain, endpoint, u16::MAX.into(), 0])?;
    victim.start(bench, caller, there)?;
    let token = receive(endpoint, 0, soon(), &mut [0; 6])?.token();
    call(Syscall::ReplyFault, [token, 0x55])?;
    refused(reply(token, EMPTY, &[0; 6]), Error::CallerGone)?;
    let fault = victim.fault()?;
    same((fault.kind, fault.word(FaultWord::Code)), (FaultKind::Protocol, 0x55))?;
    // Forgiven, the call has failed.
    fault.repaired()?;
    bench.settle()?;
    same(actor::read(1), Error::ProtocolFault as u64)
}

/// Calls twice the endpoint that the board names, the first time only until the deadline that it is given.
extern "C" fn impatient(deadline: u64) -> ! {
    let endpoint = actor::read(ENDPOINT);
    let first = ask(endpoint, EMPTY, deadline, INTERFACE, &mut [0; 6]);
    actor::write(1, first.err().map_or(0, |error| error as u64));
    let mut words: Words = [0; 6];
    if ask(endpoint, EMPTY, NEVER, INTERFACE, &mut words).is_ok() {
        actor::write(4, words[0]);
    }
    loop {
        let _ = wait(0, NEVER);
    }
}

fn a_reply_never_reaches_a_later_call_of_the_same_thread(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    actor::write(ENDPOINT, endpoint);
    bench.thread(impatient, crate::call::now() + 100_000_000)?;
    let first = receive(endpoint, 0, soon(), &mut [0; 6])?.token();
    let second = receive(endpoint, 0, soon(), &mut [0; 6])?.token();
    same(actor::read(1), Error::TimedOut as u64)?;
    refused(reply(first, MessageInfo::new(0, 1), &[1; 6]), Error::CallerGone)?;
    reply(second, MessageInfo::new(0, 1), &[2; 6])?;
    bench.settle()?;
    same(actor::read(4), 2)
}
