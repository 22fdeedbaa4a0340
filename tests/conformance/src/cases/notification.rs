//! Notifications: sticky bits, waiting with and without a deadline, bound and badged ones, doorbells.

use super::cases;
use crate::actor;
use crate::bench::{Bench, INTERFACE, LEVEL};
use crate::call::{Received, Words, ask, call, notify, now, receive, reply, soon, wait};
use crate::outcome::{Outcome, holds, refused, same};
use abi::message::MessageInfo;
use abi::syscall::Syscall;
use abi::time::{NEVER, NOW};
use abi::{Error, root};

cases![
    bits_stay_until_somebody_takes_them,
    a_waiter_is_woken_by_bits,
    one_notify_wakes_one_waiter,
    a_wait_ends_at_its_deadline,
    a_wait_that_is_not_to_wait_says_so,
    a_badged_notification_sets_only_bits_of_its_badge,
    reserved_bits_are_refused,
    destroying_a_notification_wakes_its_waiters,
    bits_of_a_bound_notification_are_received_like_a_message,
    a_notification_is_bound_to_one_thread_at_a_time,
    a_doorbell_rings_when_a_call_waits_and_nobody_receives,
];

/// Waits for the notification that it is given and writes what came to the board: bits to word 0, errors to word 1,
/// how often to word 2.
extern "C" fn waiter(notification: u64) -> ! {
    loop {
        match wait(notification, NEVER) {
            Ok(bits) => actor::write(0, bits),
            Err(error) => {
                actor::write(1, error as u64);
                let _ = wait(0, NEVER);
            }
        }
        actor::add(2, 1);
    }
}

fn bits_stay_until_somebody_takes_them(bench: &mut Bench) -> Outcome {
    let notification = bench.notification()?;
    notify(notification, 0b001)?;
    notify(notification, 0b100)?;
    notify(notification, 0b100)?;
    same(wait(notification, NOW)?, 0b101)?;
    refused(wait(notification, NOW), Error::WouldBlock)
}

fn a_waiter_is_woken_by_bits(bench: &mut Bench) -> Outcome {
    let notification = bench.notification()?;
    bench.thread(waiter, notification)?;
    bench.settle()?;
    notify(notification, 0x30)?;
    bench.settle()?;
    same((actor::read(0), actor::read(2)), (0x30, 1))?;
    refused(wait(notification, NOW), Error::WouldBlock)
}

fn one_notify_wakes_one_waiter(bench: &mut Bench) -> Outcome {
    let notification = bench.notification()?;
    bench.thread(waiter, notification)?;
    bench.thread(waiter, notification)?;
    bench.settle()?;
    notify(notification, 1)?;
    bench.settle()?;
    same(actor::read(2), 1)
}

fn a_wait_ends_at_its_deadline(bench: &mut Bench) -> Outcome {
    let notification = bench.notification()?;
    let deadline = now() + 3_000_000;
    refused(wait(notification, deadline), Error::TimedOut)?;
    holds(now() >= deadline, "not before its deadline")?;
    refused(wait(notification, 1), Error::TimedOut)
}

fn a_wait_that_is_not_to_wait_says_so(bench: &mut Bench) -> Outcome {
    let notification = bench.notification()?;
    refused(wait(notification, NOW), Error::WouldBlock)?;
    refused(wait(0, NOW), Error::WouldBlock)
}

fn a_badged_notification_sets_only_bits_of_its_badge(bench: &mut Bench) -> Outcome {
    let notification = bench.notification()?;
    let badged = call(Syscall::CapCopy, [notification, u16::MAX.into(), 0b110])?;
    notify(badged, 0b100)?;
    refused(notify(badged, 0b001), Error::BadArgument)?;
    refused(notify(badged, 0b011), Error::BadArgument)?;
    same(wait(notification, NOW)?, 0b100)
}

fn reserved_bits_are_refused(bench: &mut Bench) -> Outcome {
    let notification = bench.notification()?;
    for bits in [0, 1 << 62, 1 << 63, u64::MAX] {
        refused(notify(notification, bits), Error::BadArgument)?;
    }
    notify(notification, abi::syscall::NOTIFICATION_BITS)?;
    same(wait(notification, NOW)?, abi::syscall::NOTIFICATION_BITS)
}

fn destroying_a_notification_wakes_its_waiters(bench: &mut Bench) -> Outcome {
    let notification = bench.notification()?;
    bench.thread(waiter, notification)?;
    bench.settle()?;
    call(Syscall::Destroy, [notification])?;
    bench.settle()?;
    same(actor::read(1), Error::StaleHandle as u64)
}

fn bits_of_a_bound_notification_are_received_like_a_message(bench: &mut Bench) -> Outcome {
    let (notification, endpoint) = (bench.notification()?, bench.endpoint()?);
    call(Syscall::ThreadBind, [root::THREAD.0, notification])?;
    let mut words: Words = [0; 6];
    notify(notification, 8)?;
    let bits = receive(endpoint, 0, NOW, &mut words);
    refused(receive(endpoint, 0, NOW, &mut words), Error::WouldBlock)?;
    // Without an endpoint only the bits are received.
    notify(notification, 2)?;
    let alone = receive(0, 0, NOW, &mut words);
    call(Syscall::ThreadBind, [root::THREAD.0, 0])?;
    notify(notification, 4)?;
    let unbound = receive(endpoint, 0, NOW, &mut words);
    same(bits?, Received::Bits(8))?;
    same(alone?, Received::Bits(2))?;
    refused(unbound, Error::WouldBlock)
}

fn a_notification_is_bound_to_one_thread_at_a_time(bench: &mut Bench) -> Outcome {
    let notification = bench.notification()?;
    let (first, _) = bench.stopped_thread(root::DOMAIN.0, 50)?;
    let (second, _) = bench.stopped_thread(root::DOMAIN.0, 50)?;
    call(Syscall::ThreadBind, [first, notification])?;
    call(Syscall::ThreadBind, [first, notification])?;
    refused(call(Syscall::ThreadBind, [second, notification]), Error::InUse)?;
    call(Syscall::ThreadBind, [first, 0])?;
    call(Syscall::ThreadBind, [second, notification])?;
    Ok(())
}

/// Calls the endpoint that it is given once.
extern "C" fn caller(endpoint: u64) -> ! {
    let mut words: Words = [0; 6];
    let outcome = ask(endpoint, MessageInfo::new(0, 0), NEVER, INTERFACE, &mut words);
    actor::write(0, if outcome.is_ok() { 1 } else { 2 });
    loop {
        let _ = wait(0, NEVER);
    }
}

fn a_doorbell_rings_when_a_call_waits_and_nobody_receives(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint_with(INTERFACE, LEVEL)?;
    let notification = bench.notification()?;
    call(Syscall::EndpointBind, [endpoint, notification, 0x10])?;
    refused(wait(notification, NOW), Error::WouldBlock)?;
    bench.thread(caller, endpoint)?;
    same(wait(notification, soon())?, 0x10)?;
    let mut words: Words = [0; 6];
    let received = receive(endpoint, 0, NOW, &mut words)?;
    reply(received.token(), MessageInfo::new(0, 0), &words)?;
    bench.settle()?;
    same(actor::read(0), 1)?;
    call(Syscall::EndpointBind, [endpoint, 0, 0])?;
    Ok(())
}
