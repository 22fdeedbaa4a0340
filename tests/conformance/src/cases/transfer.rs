//! Capabilities in messages.

use super::cases;
use crate::actor;
use crate::bench::{Bench, INTERFACE, PRIORITY};
use crate::call::{Received, ask, call, notify, receive, reply, soon, wait};
use crate::outcome::{Outcome, refused, same};
use abi::Error;
use abi::message::MessageInfo;
use abi::rights::{EndpointRights, Kind};
use abi::syscall::Syscall;
use abi::time::{NEVER, NOW};

cases![
    a_capability_arrives_with_a_call,
    a_capability_that_was_sent_can_be_revoked_by_the_sender,
    a_capability_comes_back_with_a_reply,
    four_capabilities_travel_at_once,
    sending_capabilities_needs_the_right_to_grant,
    a_receiver_takes_no_more_capabilities_than_it_accepts,
    a_capability_that_one_does_not_have_is_not_sent,
    what_became_stale_on_the_way_arrives_as_nothing,
];

/// Words of the board: endpoint, handle to send, count, outcome, and what came with the reply.
const ENDPOINT: usize = 8;
const SENT: usize = 9;
const COUNT: usize = 10;
const OUTCOME: usize = 0;
const RETURNED: usize = 1;

/// Sends copies of a capability with a call; its argument is its place among the actors.
extern "C" fn sender(place: u64) -> ! {
    let buffer = actor::buffer(place as usize);
    let count = actor::read(COUNT);
    for index in 0..count {
        buffer.set_cap_out(index as usize, actor::read(SENT));
    }
    let info = MessageInfo::new(0, 0).with_caps(count as u8);
    match ask(actor::read(ENDPOINT), info, NEVER, INTERFACE, &mut [0; 6]) {
        Ok(info) => {
            actor::write(OUTCOME, 1000 + info.caps() as u64);
            actor::write(RETURNED, buffer.cap_in(0));
        }
        Err(error) => actor::write(OUTCOME, error as u64),
    }
    loop {
        let _ = wait(0, NEVER);
    }
}

/// A domain whose thread sends `count` copies of a capability that it has been granted. Returns the domain.
fn send(
    bench: &mut Bench,
    endpoint: u64,
    endpoint_rights: u64,
    sent: u64,
    count: u64,
) -> Result<u64, crate::outcome::Failure> {
    let child = bench.child(200)?;
    let there = call(Syscall::CapGrant, [child.domain, endpoint, endpoint_rights, 0])?;
    actor::write(ENDPOINT, there);
    actor::write(SENT, if sent == 0 { 0 } else { call(Syscall::CapGrant, [child.domain, sent, ALL, 0])? });
    actor::write(COUNT, count);
    let place = bench.last_actor() as u64 + 1;
    bench.thread_at(child.domain, PRIORITY, sender, place)?;
    Ok(child.domain)
}

const ALL: u64 = u16::MAX as u64;

fn take(endpoint: u64, accept: u64) -> Result<(usize, u64), Error> {
    match receive(endpoint, accept, soon(), &mut [0; 6])? {
        Received::Message { info, token, .. } => Ok((info.caps(), token)),
        Received::Bits(_) => Err(Error::WrongKind),
    }
}

fn done(token: u64) -> Result<(), Error> {
    reply(token, MessageInfo::new(0, 0), &[0; 6])
}

fn a_capability_arrives_with_a_call(bench: &mut Bench) -> Outcome {
    let (endpoint, notification) = (bench.endpoint()?, bench.notification()?);
    send(bench, endpoint, ALL, notification, 1)?;
    let (count, token) = take(endpoint, 1)?;
    same(count, 1)?;
    let received = actor::own_buffer().cap_in(0);
    same(call(Syscall::CapInfo, [received])?, Kind::Notification as u64)?;
    notify(received, 4)?;
    same(wait(notification, NOW)?, 4)?;
    done(token)?;
    Ok(())
}

fn a_capability_that_was_sent_can_be_revoked_by_the_sender(bench: &mut Bench) -> Outcome {
    let (endpoint, notification) = (bench.endpoint()?, bench.notification()?);
    send(bench, endpoint, ALL, notification, 1)?;
    let (_, token) = take(endpoint, 1)?;
    let received = actor::own_buffer().cap_in(0);
    done(token)?;
    call(Syscall::CapRevoke, [notification])?;
    refused(notify(received, 1), Error::StaleHandle)
}

fn a_capability_comes_back_with_a_reply(bench: &mut Bench) -> Outcome {
    let (endpoint, notification) = (bench.endpoint()?, bench.notification()?);
    let domain = send(bench, endpoint, ALL, 0, 0)?;
    let (_, token) = take(endpoint, 0)?;
    actor::own_buffer().set_cap_out(0, notification);
    reply(token, MessageInfo::new(0, 0).with_caps(1), &[0; 6])?;
    bench.settle()?;
    same(actor::read(OUTCOME), 1001)?;
    let slot = u64::from(abi::Handle(actor::read(RETURNED)).index());
    same(call(Syscall::CapInspect, [domain, slot])?, Kind::Notification as u64)
}

fn four_capabilities_travel_at_once(bench: &mut Bench) -> Outcome {
    let (endpoint, notification) = (bench.endpoint()?, bench.notification()?);
    send(bench, endpoint, ALL, notification, 4)?;
    let (count, token) = take(endpoint, 4)?;
    same(count, 4)?;
    for index in 0..4 {
        notify(actor::own_buffer().cap_in(index), 1 << index)?;
    }
    same(wait(notification, NOW)?, 0b1111)?;
    done(token)?;
    Ok(())
}

fn sending_capabilities_needs_the_right_to_grant(bench: &mut Bench) -> Outcome {
    let (endpoint, notification) = (bench.endpoint()?, bench.notification()?);
    send(bench, endpoint, EndpointRights::CALL.bits().into(), notification, 1)?;
    bench.settle()?;
    same(actor::read(OUTCOME), Error::MissingRight as u64)
}

fn a_receiver_takes_no_more_capabilities_than_it_accepts(bench: &mut Bench) -> Outcome {
    let (endpoint, notification) = (bench.endpoint()?, bench.notification()?);
    for accept in [0, 2] {
        send(bench, endpoint, ALL, notification, 3)?;
        let (count, token) = take(endpoint, accept)?;
        same(count as u64, accept)?;
        done(token)?;
    }
    Ok(())
}

fn a_capability_that_one_does_not_have_is_not_sent(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    send(bench, endpoint, ALL, 0, 1)?;
    bench.settle()?;
    same(actor::read(OUTCOME), Error::BadHandle as u64)?;
    refused(receive(endpoint, 4, NOW, &mut [0; 6]), Error::WouldBlock)
}

fn what_became_stale_on_the_way_arrives_as_nothing(bench: &mut Bench) -> Outcome {
    let (endpoint, notification) = (bench.endpoint()?, bench.notification()?);
    send(bench, endpoint, ALL, notification, 2)?;
    bench.settle()?;
    call(Syscall::CapRevoke, [notification])?;
    let (count, token) = take(endpoint, 4)?;
    let own = actor::own_buffer();
    same((count, own.cap_in(0), own.cap_in(1)), (2, 0, 0))?;
    done(token)?;
    Ok(())
}
