//! Calls and replies: what they carry, who may make them, when they end.

use super::cases;
use crate::actor;
use crate::bench::{Bench, INTERFACE, LEVEL, PRIORITY};
use crate::call::{Received, Words, ask, call, now, receive, reply, reply_receive, soon, wait};
use crate::outcome::{Outcome, holds, refused, same};
use abi::message::{MAX_WORDS, MessageInfo};
use abi::rights::EndpointRights;
use abi::syscall::Syscall;
use abi::time::{NEVER, NOW};
use abi::{Error, root};

cases![
    a_call_and_its_reply_carry_words_and_label,
    the_server_sees_the_badge_of_the_capability,
    every_message_register_travels_whatever_the_count,
    a_long_message_travels_through_the_buffers_of_two_spaces,
    a_call_must_name_the_endpoints_interface,
    a_call_goes_strictly_down,
    the_roots_level_is_not_given_to_others,
    calling_and_receiving_need_their_rights,
    a_malformed_message_is_refused,
    a_long_message_needs_a_buffer,
    a_call_that_is_not_to_wait_needs_a_receiver,
    a_call_that_nobody_takes_ends_at_its_deadline,
    a_call_that_nobody_answers_ends_at_its_deadline,
    a_receive_ends_at_its_deadline,
    calls_are_taken_by_priority_and_then_in_order,
    replies_may_be_deferred_and_reordered,
    a_call_is_answered_once,
    a_token_that_names_no_call_finds_nobody,
    a_domain_answers_only_calls_that_it_has_taken,
    any_thread_of_the_domain_may_answer,
    answering_a_caller_that_is_gone_goes_on_to_receive,
];

const EMPTY: MessageInfo = MessageInfo::new(0, 0);
/// The word of the board that names the place of the actor whose buffer a server uses.
const SERVER_PLACE: usize = 10;

/// Answers each call with the same words, each one more, and a label one more.
extern "C" fn echo(endpoint: u64) -> ! {
    let mut words: Words = [0; 6];
    let mut received = receive(endpoint, 0, NEVER, &mut words);
    loop {
        let Ok(Received::Message { info, token, badge }) = received else {
            let _ = wait(0, NEVER);
            continue;
        };
        actor::write(0, badge);
        for word in &mut words {
            *word = word.wrapping_add(1);
        }
        let buffer = actor::buffer(actor::read(SERVER_PLACE) as usize);
        for place in 6..info.words() {
            buffer.set_word(place, buffer.word(place).wrapping_add(1));
        }
        let answer = MessageInfo::new(info.label().wrapping_add(1), info.words() as u8);
        received = reply_receive(endpoint, answer, token, &mut words);
    }
}

/// Calls once, with its argument's upper half as label, and adds what came of it to the board: word 1 counts successes,
/// word 2 holds the last error, word 3 the label of the last reply.
extern "C" fn call_once(argument: u64) -> ! {
    let endpoint = actor::read(CALLEE);
    let mut words: Words = [argument; 6];
    match ask(endpoint, MessageInfo::new(argument as u32, 6), NEVER, INTERFACE, &mut words) {
        Ok(info) => {
            actor::write(3, info.label().into());
            actor::add(1, 1);
        }
        Err(error) => actor::write(2, error as u64),
    }
    loop {
        let _ = wait(0, NEVER);
    }
}

/// The word of the board that names the endpoint that callers call.
const CALLEE: usize = 11;

fn a_call_and_its_reply_carry_words_and_label(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    bench.thread(echo, endpoint)?;
    let mut words: Words = [10, 20, 30, 40, 50, u64::MAX];
    let info = ask(endpoint, MessageInfo::new(7, 6), soon(), INTERFACE, &mut words)?;
    same((info.label(), info.words()), (8, 6))?;
    same(words, [11, 21, 31, 41, 51, 0])
}

fn the_server_sees_the_badge_of_the_capability(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    bench.thread(echo, endpoint)?;
    for badge in [1, 0xdead_beef, u64::MAX] {
        let badged = call(Syscall::CapCopy, [endpoint, u16::MAX.into(), badge])?;
        ask(badged, EMPTY, soon(), INTERFACE, &mut [0; 6])?;
        same(actor::read(0), badge)?;
    }
    ask(endpoint, EMPTY, soon(), INTERFACE, &mut [0; 6])?;
    same(actor::read(0), 0)
}

fn every_message_register_travels_whatever_the_count(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    actor::write(CALLEE, endpoint);
    bench.thread(call_once, 0x77)?;
    bench.settle()?;
    let mut words: Words = [5; 6];
    let received = receive(endpoint, 0, NOW, &mut words)?;
    same(words, [0x77; 6])?;
    reply(received.token(), MessageInfo::new(1, 0), &[9; 6])?;
    // In the other direction.
    bench.thread(echo, endpoint)?;
    let mut words: Words = [1; 6];
    ask(endpoint, MessageInfo::new(0, 2), soon(), INTERFACE, &mut words)?;
    same(words, [2; 6])
}

fn a_long_message_travels_through_the_buffers_of_two_spaces(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    let child = bench.child(50)?;
    let there = call(Syscall::CapGrant, [child.domain, endpoint, u16::MAX.into(), 0])?;
    bench.thread_at(child.domain, PRIORITY, echo, there)?;
    actor::write(SERVER_PLACE, bench.last_actor() as u64);
    let own = actor::own_buffer();
    for count in [7, 64, MAX_WORDS] {
        let mut words: Words = [1, 2, 3, 4, 5, 6];
        for place in 6..MAX_WORDS {
            own.set_word(place, place as u64 * 3);
        }
        let info = ask(endpoint, MessageInfo::new(1, count as u8), soon(), INTERFACE, &mut words)?;
        same((words, info.words()), ([2, 3, 4, 5, 6, 7], count))?;
        for place in 6..MAX_WORDS {
            let wanted = place as u64 * 3 + u64::from(place < count);
            same(own.word(place), wanted)?;
        }
    }
    Ok(())
}

fn a_call_must_name_the_endpoints_interface(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    bench.thread(echo, endpoint)?;
    refused(ask(endpoint, EMPTY, soon(), INTERFACE + 1, &mut [0; 6]), Error::WrongInterface)?;
    refused(ask(endpoint, EMPTY, soon(), 0, &mut [0; 6]), Error::WrongInterface)
}

/// Calls without waiting and writes the error to word 0 of the board.
extern "C" fn call_now(endpoint: u64) -> ! {
    let outcome = ask(endpoint, EMPTY, NOW, INTERFACE, &mut [0; 6]);
    actor::write(0, outcome.err().map_or(0, |error| error as u64));
    loop {
        let _ = wait(0, NEVER);
    }
}

fn a_call_goes_strictly_down(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint_with(INTERFACE, LEVEL)?;
    for (level, wanted) in [
        (0, Error::WrongDirection),
        (LEVEL - 1, Error::WrongDirection),
        (LEVEL, Error::WrongDirection),
        (LEVEL + 1, Error::WouldBlock),
        (254, Error::WouldBlock),
    ] {
        let child = bench.child(level)?;
        let there = call(Syscall::CapGrant, [child.domain, endpoint, u16::MAX.into(), 0])?;
        bench.thread_at(child.domain, PRIORITY, call_now, there)?;
        bench.settle()?;
        same(actor::read(0), wanted as u64)?;
    }
    let top = bench.endpoint_with(INTERFACE, 255)?;
    refused(ask(top, EMPTY, NOW, INTERFACE, &mut [0; 6]), Error::WrongDirection)
}

fn the_roots_level_is_not_given_to_others(bench: &mut Bench) -> Outcome {
    let space = bench.space()?;
    let create = |level| call(Syscall::DomainCreate, [root::ACCOUNT.0, space, level, 16, 0, 0]);
    for level in [255, 256, u64::MAX] {
        refused(create(level), Error::BadArgument)?;
    }
    create(254)?;
    Ok(())
}

fn calling_and_receiving_need_their_rights(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    let deaf = call(Syscall::CapCopy, [endpoint, EndpointRights::CALL.bits().into(), 0])?;
    let mute = call(Syscall::CapCopy, [endpoint, EndpointRights::RECEIVE.bits().into(), 0])?;
    refused(ask(mute, EMPTY, NOW, INTERFACE, &mut [0; 6]), Error::MissingRight)?;
    refused(receive(deaf, 0, NOW, &mut [0; 6]), Error::MissingRight)?;
    refused(ask(deaf, EMPTY, NOW, INTERFACE, &mut [0; 6]), Error::WouldBlock)?;
    refused(receive(mute, 0, NOW, &mut [0; 6]), Error::WouldBlock)
}

fn a_malformed_message_is_refused(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    bench.thread(echo, endpoint)?;
    bench.settle()?;
    for info in [121, 127, 5 << 7, 7 << 7, 5 << 10, 1 << 13, 1 << 31] {
        refused(ask(endpoint, MessageInfo(info), soon(), INTERFACE, &mut [0; 6]), Error::BadMessage)?;
    }
    refused(receive(endpoint, 5, NOW, &mut [0; 6]), Error::BadArgument)?;
    // A reply lends nothing.
    refused(reply(0, EMPTY.with_leases(1), &[0; 6]), Error::BadMessage)
}

fn a_long_message_needs_a_buffer(bench: &mut Bench) -> Outcome {
    extern "C" fn long_call(endpoint: u64) -> ! {
        let outcome = ask(endpoint, MessageInfo::new(0, 7), NOW, INTERFACE, &mut [0; 6]);
        actor::write(0, outcome.err().map_or(0, |error| error as u64));
        loop {
            let _ = wait(0, NEVER);
        }
    }
    let endpoint = bench.endpoint()?;
    let (thread, place) = bench.stopped_thread(abi::root::DOMAIN.0, PRIORITY)?;
    call(Syscall::ThreadStart, [thread, actor::code(long_call), actor::stack(place), endpoint])?;
    bench.settle()?;
    same(actor::read(0), Error::NoBuffer as u64)
}

fn a_call_that_is_not_to_wait_needs_a_receiver(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    refused(ask(endpoint, EMPTY, NOW, INTERFACE, &mut [0; 6]), Error::WouldBlock)?;
    refused(receive(endpoint, 0, NOW, &mut [0; 6]), Error::WouldBlock)
}

fn a_call_that_nobody_takes_ends_at_its_deadline(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    let deadline = now() + 3_000_000;
    refused(ask(endpoint, EMPTY, deadline, INTERFACE, &mut [0; 6]), Error::TimedOut)?;
    holds(now() >= deadline, "not before its deadline")?;
    refused(receive(endpoint, 0, NOW, &mut [0; 6]), Error::WouldBlock)
}

/// Takes a call, tells its token on the board, waits for the notification that the board names, and answers.
extern "C" fn late(endpoint: u64) -> ! {
    let mut words: Words = [0; 6];
    if let Ok(received) = receive(endpoint, 0, NEVER, &mut words) {
        actor::write(0, received.token());
        let _ = wait(actor::read(1), NEVER);
        let outcome = reply(received.token(), EMPTY, &words);
        actor::write(2, outcome.err().map_or(0, |error| error as u64));
    }
    loop {
        let _ = wait(0, NEVER);
    }
}

fn a_call_that_nobody_answers_ends_at_its_deadline(bench: &mut Bench) -> Outcome {
    let (endpoint, go) = (bench.endpoint()?, bench.notification()?);
    actor::write(1, go);
    bench.thread(late, endpoint)?;
    bench.settle()?;
    let deadline = now() + 3_000_000;
    refused(ask(endpoint, EMPTY, deadline, INTERFACE, &mut [0; 6]), Error::TimedOut)?;
    holds(now() >= deadline, "not before its deadline")?;
    // The late answer to the call that timed out does not answer the next one.
    call(Syscall::Notify, [go, 1])?;
    refused(ask(endpoint, EMPTY, now() + 3_000_000, INTERFACE, &mut [0; 6]), Error::TimedOut)?;
    same(actor::read(2), Error::CallerGone as u64)
}

fn a_receive_ends_at_its_deadline(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    for endpoint in [endpoint, 0] {
        let deadline = now() + 2_000_000;
        refused(receive(endpoint, 0, deadline, &mut [0; 6]), Error::TimedOut)?;
        holds(now() >= deadline, "not before its deadline")?;
    }
    Ok(())
}

fn calls_are_taken_by_priority_and_then_in_order(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    actor::write(CALLEE, endpoint);
    for (priority, label) in [(30, 3), (20, 5), (40, 1), (30, 4), (40, 2)] {
        bench.thread_at(abi::root::DOMAIN.0, priority, call_once, label)?;
        bench.settle()?;
    }
    for wanted in 1..=5 {
        let mut words: Words = [0; 6];
        let received = receive(endpoint, 0, NOW, &mut words)?;
        same(words[0], wanted)?;
        reply(received.token(), EMPTY, &words)?;
    }
    bench.settle()?;
    same(actor::read(1), 5)
}

fn replies_may_be_deferred_and_reordered(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    actor::write(CALLEE, endpoint);
    let mut tokens = [0; 4];
    for (number, token) in tokens.iter_mut().enumerate() {
        bench.thread(call_once, number as u64)?;
        *token = receive(endpoint, 0, soon(), &mut [0; 6])?.token();
    }
    for (number, token) in tokens.iter().enumerate().rev() {
        reply(*token, MessageInfo::new(number as u32 + 100, 0), &[0; 6])?;
        bench.settle()?;
        same(actor::read(3), number as u64 + 100)?;
    }
    same(actor::read(1), 4)
}

fn a_call_is_answered_once(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    actor::write(CALLEE, endpoint);
    bench.thread(call_once, 1)?;
    let token = receive(endpoint, 0, soon(), &mut [0; 6])?.token();
    reply(token, EMPTY, &[0; 6])?;
    refused(reply(token, EMPTY, &[0; 6]), Error::CallerGone)
}

fn a_token_that_names_no_call_finds_nobody(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    actor::write(CALLEE, endpoint);
    bench.thread(call_once, 1)?;
    let token = receive(endpoint, 0, soon(), &mut [0; 6])?.token();
    for wrong in [0, 1, u64::MAX, token + (1 << 16), token - (1 << 16), token ^ 1, token ^ 0x8000] {
        refused(reply(wrong, EMPTY, &[0; 6]), Error::CallerGone)?;
        refused(call(Syscall::LeaseInfo, [wrong, 0]), Error::CallerGone)?;
        refused(call(Syscall::ReplyFault, [wrong, 0]), Error::CallerGone)?;
    }
    reply(token, EMPTY, &[0; 6])?;
    Ok(())
}

/// Answers the token that it is given and writes the error to word 0 of the board.
extern "C" fn answer(token: u64) -> ! {
    let outcome = reply(token, EMPTY, &[0; 6]);
    actor::write(0, outcome.err().map_or(0, |error| error as u64));
    loop {
        let _ = wait(0, NEVER);
    }
}

fn a_domain_answers_only_calls_that_it_has_taken(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    let child = bench.child(50)?;
    actor::write(CALLEE, endpoint);
    bench.thread(call_once, 1)?;
    let token = receive(endpoint, 0, soon(), &mut [0; 6])?.token();
    bench.thread_at(child.domain, PRIORITY, answer, token)?;
    bench.settle()?;
    same(actor::read(0), Error::CallerGone as u64)?;
    reply(token, EMPTY, &[0; 6])?;
    Ok(())
}

fn any_thread_of_the_domain_may_answer(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    actor::write(CALLEE, endpoint);
    actor::write(0, 99);
    bench.thread(call_once, 1)?;
    let token = receive(endpoint, 0, soon(), &mut [0; 6])?.token();
    bench.thread(answer, token)?;
    bench.settle()?;
    same((actor::read(0), actor::read(1)), (0, 1))
}

fn answering_a_caller_that_is_gone_goes_on_to_receive(bench: &mut Bench) -> Outcome {
    let endpoint = bench.endpoint()?;
    actor::write(CALLEE, endpoint);
    let first = bench.thread(call_once, 1)?;
    let token = receive(endpoint, 0, soon(), &mut [0; 6])?.token();
    call(Syscall::ThreadStop, [first])?;
    bench.thread(call_once, 2)?;
    let mut words: Words = [0; 6];
    let received = reply_receive(endpoint, EMPTY, token, &mut words)?;
    same(words[0], 2)?;
    reply(received.token(), EMPTY, &words)?;
    Ok(())
}
