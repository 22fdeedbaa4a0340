//! Calls and replies.

use crate::scene::{
    BADGE, CLIENT_LEVEL, INTERFACE, SERVER_LEVEL, by, endpoint, grant, info, peer, peer_at, refused, stage, stale,
    waits,
};
use abi::message::{CallerToken, MAX_WORDS, MessageInfo, offset};
use abi::rights::EndpointRights;
use abi::time::{NEVER, NOW};
use abi::{Error, Handle, Syscall};
use model::machine::{BUFFER, Peer, own};

#[test]
fn the_server_sees_badge_label_words_and_token_of_a_call() {
    let mut s = stage();
    s.m.switch_to(s.client.id);
    s.m.context_mut(s.client.id).words = [1, 2, 3, 4, 5, 6];
    waits(&mut s.m, s.client.id, Syscall::Call, &[s.call.0, info(0xabcd, 2), NEVER, INTERFACE]);
    let [kind, badge, got, token] = by(&mut s.m, s.server.id, Syscall::Receive, &[s.serve.0, 0, NEVER]).unwrap();
    assert_eq!((kind, badge, got), (abi::syscall::RECEIVED_MESSAGE, BADGE, info(0xabcd, 2)));
    assert_eq!(CallerToken(token).thread() as usize, s.client.id.index());
    // Words beyond the count stay with the sender.
    assert_eq!(s.m.context(s.server.id).words, [1, 2, 0, 0, 0, 0]);
}

#[test]
fn a_receiver_that_waits_gets_the_call_at_once() {
    let mut s = stage();
    waits(&mut s.m, s.server.id, Syscall::Receive, &[s.serve.0, 0, NEVER]);
    s.client_calls();
    let [_, badge, ..] = s.m.result_of(s.server.id).unwrap();
    assert_eq!(badge, BADGE);
}

#[test]
fn long_messages_travel_through_both_message_buffers() {
    let mut s = stage();
    s.m.switch_to(s.client.id);
    let words: Vec<u64> = (0..MAX_WORDS as u64).map(|index| 1000 + index).collect();
    s.m.store_words(BUFFER + offset::WORDS as u64, &words);
    let count = MAX_WORDS as u8;
    waits(&mut s.m, s.client.id, Syscall::Call, &[s.call.0, info(0, count), NEVER, INTERFACE]);
    let token = s.server_takes();
    assert_eq!(s.m.load_words(BUFFER + offset::WORDS as u64, MAX_WORDS as u64)[6..], words[6..]);
    s.m.store_words(BUFFER + offset::WORDS as u64 + 8 * 6, &[4242]);
    by(&mut s.m, s.server.id, Syscall::Reply, &[token, info(0, 7)]).unwrap();
    assert_eq!(s.m.result_of(s.client.id).unwrap()[2], info(0, 7));
    assert_eq!(s.m.load_words(BUFFER + offset::WORDS as u64 + 8 * 6, 2), [4242, 1007]);
}

#[test]
fn a_long_message_to_a_thread_without_a_buffer_arrives_as_its_register_words() {
    let mut s = stage();
    // A second thread of the server, without a buffer.
    s.m.switch_to(s.root);
    let thread = crate::scene::thread_in(&mut s.m, s.server.domain);
    let bare = s.m.start(thread);
    waits(&mut s.m, bare, Syscall::Receive, &[s.serve.0, 0, NEVER]);
    waits(&mut s.m, s.client.id, Syscall::Call, &[s.call.0, info(0, 20), NEVER, INTERFACE]);
    assert_eq!(s.m.result_of(bare).unwrap()[2], info(0, 6));
}

#[test]
fn a_refused_call_leaves_everything_as_it_was() {
    let mut s = stage();
    let (client, call) = (s.client.id, s.call.0);
    let m = &mut s.m;
    refused(m, client, Syscall::Call, &[0, 0, NEVER, INTERFACE], Error::BadHandle);
    refused(m, client, Syscall::Call, &[1 << 48 | call, 0, NEVER, INTERFACE], Error::BadHandle);
    refused(m, client, Syscall::Call, &[16, 0, NEVER, INTERFACE], Error::BadHandle);
    refused(m, client, Syscall::Call, &[stale(s.call), 0, NEVER, INTERFACE], Error::StaleHandle);
    refused(m, client, Syscall::Call, &[call, 0, NEVER, INTERFACE + 1], Error::WrongInterface);
    refused(m, client, Syscall::Call, &[call, info(0, 121), NEVER, INTERFACE], Error::BadMessage);
    refused(m, client, Syscall::Call, &[call, 1 << 13, NEVER, INTERFACE], Error::BadMessage);
    refused(m, client, Syscall::Call, &[call, MessageInfo(0).with_caps(5).0, NEVER, INTERFACE], Error::BadMessage);
    refused(m, client, Syscall::Call, &[call, MessageInfo(0).with_leases(5).0, NEVER, INTERFACE], Error::BadMessage);
    refused(m, client, Syscall::Call, &[call, 0, NOW, INTERFACE], Error::WouldBlock);
    refused(m, client, Syscall::Call, &[call, 0, 1, INTERFACE], Error::TimedOut);
    // The server may receive from the endpoint but not call it, the client the other way round.
    refused(m, s.server.id, Syscall::Call, &[s.serve.0, 0, NEVER, INTERFACE], Error::MissingRight);
    refused(m, client, Syscall::Receive, &[call, 0, NEVER], Error::MissingRight);
    refused(m, s.server.id, Syscall::Receive, &[s.serve.0, 5, NEVER], Error::BadArgument);
    refused(m, s.server.id, Syscall::Receive, &[stale(s.serve), 0, NEVER], Error::StaleHandle);
    refused(m, s.root, Syscall::Call, &[own::DOMAIN.0, 0, NEVER, INTERFACE], Error::WrongKind);
    refused(m, s.root, Syscall::Receive, &[own::DOMAIN.0, 0, NEVER], Error::WrongKind);
}

#[test]
fn a_call_must_go_strictly_down() {
    let mut s = stage();
    let calls = EndpointRights::CALL.bits();
    s.m.switch_to(s.root);
    let level = endpoint(&mut s.m, SERVER_LEVEL, 0);
    let above = endpoint(&mut s.m, CLIENT_LEVEL, 0);
    let same = grant(&mut s.m, &s.server, level, calls, 0);
    let up = grant(&mut s.m, &s.server, above, calls, 0);
    refused(&mut s.m, s.server.id, Syscall::Call, &[same.0, 0, NEVER, INTERFACE], Error::WrongDirection);
    refused(&mut s.m, s.server.id, Syscall::Call, &[up.0, 0, NEVER, INTERFACE], Error::WrongDirection);
}

#[test]
fn nobody_but_the_root_serves_an_endpoint_below_its_own_level() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let receives = EndpointRights::RECEIVE.bits();
    let below = endpoint(&mut s.m, SERVER_LEVEL - 1, 0);
    let above = endpoint(&mut s.m, SERVER_LEVEL + 1, 0);
    let low = grant(&mut s.m, &s.server, below, receives, 0);
    let high = grant(&mut s.m, &s.server, above, receives, 0);
    refused(&mut s.m, s.server.id, Syscall::Receive, &[low.0, 0, NEVER], Error::WrongDirection);
    refused(&mut s.m, s.server.id, Syscall::ReplyReceive, &[low.0, 0, NEVER, 0, 0], Error::WrongDirection);
    assert_eq!(by(&mut s.m, s.server.id, Syscall::Receive, &[high.0, 0, NOW]), Err(Error::WouldBlock));
    assert_eq!(by(&mut s.m, s.root, Syscall::Receive, &[below.0, 0, NOW]), Err(Error::WouldBlock));
}

#[test]
fn callers_are_received_by_priority_and_then_first_come() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let callers: Vec<_> = [(2, 248), (3, 249), (4, 249)]
        .map(|(number, priority)| peer_at(&mut s.m, CLIENT_LEVEL, priority, number, (Handle::NONE, 0)))
        .into_iter()
        .map(|caller| {
            let badge = number_of(&caller);
            (caller, grant(&mut s.m, &caller, s.endpoint, EndpointRights::CALL.bits(), badge))
        })
        .collect();
    let calls = |s: &mut crate::scene::Stage, index: usize| {
        let (caller, handle): &(Peer, Handle) = &callers[index];
        assert_eq!(s.m.current(), Some(caller.id));
        s.m.call(Syscall::Call, &[handle.0, 0, NEVER, INTERFACE]);
    };
    // Everybody but the lowest sleeps, and wakes up one after the other.
    let begun = s.m.now;
    waits(&mut s.m, s.root, Syscall::Wait, &[0, NEVER]);
    waits(&mut s.m, s.server.id, Syscall::Wait, &[0, begun + 3_000_000_000]);
    waits(&mut s.m, s.client.id, Syscall::Wait, &[0, begun + 2_000_000_000]);
    s.m.call(Syscall::Wait, &[0, begun + 1_000_000_000]);
    s.m.call(Syscall::Wait, &[0, begun + 1_000_000_000]);
    calls(&mut s, 0);
    s.m.pass(1_000_000_000);
    calls(&mut s, 1);
    calls(&mut s, 2);
    s.m.pass(1_000_000_000);
    s.client_calls();
    s.m.pass(1_000_000_000);
    let order = [(); 4].map(|()| by(&mut s.m, s.server.id, Syscall::Receive, &[s.serve.0, 0, NOW]).unwrap()[1]);
    assert_eq!(order, [BADGE, number_of(&callers[1].0), number_of(&callers[2].0), number_of(&callers[0].0)]);
}

fn number_of(peer: &Peer) -> u64 {
    peer.id.index() as u64
}

#[test]
fn replies_may_be_deferred_and_given_in_another_order() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let other = peer(&mut s.m, CLIENT_LEVEL, 2);
    let call = grant(&mut s.m, &other, s.endpoint, EndpointRights::CALL.bits(), 2);
    let first = s.pending_call();
    waits(&mut s.m, other.id, Syscall::Call, &[call.0, 0, NEVER, INTERFACE]);
    let second = s.server_takes();
    by(&mut s.m, s.server.id, Syscall::Reply, &[second, info(2, 0)]).unwrap();
    assert_eq!(s.m.result_of(other.id).unwrap()[2], info(2, 0));
    assert!(!s.m.kernel.is_ready(s.client.id));
    by(&mut s.m, s.server.id, Syscall::Reply, &[first, info(1, 0)]).unwrap();
    assert_eq!(s.m.result_of(s.client.id).unwrap()[2], info(1, 0));
}

#[test]
fn any_thread_of_the_domain_that_took_a_call_may_answer_it() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let thread = crate::scene::thread_in(&mut s.m, s.server.domain);
    let colleague = s.m.start(thread);
    let token = s.pending_call();
    by(&mut s.m, colleague, Syscall::Reply, &[token, info(3, 0)]).unwrap();
    assert_eq!(s.m.result_of(s.client.id).unwrap()[2], info(3, 0));
}

#[test]
fn nobody_else_can_answer_a_call() {
    let mut s = stage();
    let token = s.pending_call();
    refused(&mut s.m, s.root, Syscall::Reply, &[token, 0], Error::CallerGone);
    refused(&mut s.m, s.root, Syscall::ReplyFault, &[token, 0], Error::CallerGone);
    refused(&mut s.m, s.root, Syscall::LeaseInfo, &[token, 0], Error::CallerGone);
}

#[test]
fn an_answer_names_the_call_so_a_second_one_finds_nobody() {
    let mut s = stage();
    let token = s.pending_call();
    by(&mut s.m, s.server.id, Syscall::Reply, &[token, 0]).unwrap();
    refused(&mut s.m, s.server.id, Syscall::Reply, &[token, 0], Error::CallerGone);
    // Nor does it answer the same thread's next call.
    s.m.result_of(s.client.id).unwrap();
    let next = s.pending_call();
    assert_ne!(next, token);
    refused(&mut s.m, s.server.id, Syscall::Reply, &[token, 0], Error::CallerGone);
    by(&mut s.m, s.server.id, Syscall::Reply, &[next, 0]).unwrap();
}

#[test]
fn forged_tokens_find_nobody() {
    let mut s = stage();
    let token = s.pending_call();
    for forged in [0, u64::MAX, token + 1, token ^ (1 << 16), token | 1 << 63, 31, 32, 0xffff] {
        refused(&mut s.m, s.server.id, Syscall::Reply, &[forged, 0], Error::CallerGone);
    }
}

#[test]
fn a_malformed_answer_is_refused_and_the_caller_goes_on_waiting() {
    let mut s = stage();
    let token = s.pending_call();
    let server = s.server.id;
    refused(&mut s.m, server, Syscall::Reply, &[token, info(0, 121)], Error::BadMessage);
    refused(&mut s.m, server, Syscall::Reply, &[token, MessageInfo(0).with_leases(1).0], Error::BadMessage);
    refused(&mut s.m, server, Syscall::ReplyReceive, &[s.serve.0, 1 << 20, NEVER, token, 0], Error::BadMessage);
    refused(&mut s.m, server, Syscall::ReplyReceive, &[stale(s.serve), 0, NEVER, token, 0], Error::StaleHandle);
    refused(&mut s.m, server, Syscall::ReplyReceive, &[s.serve.0, 0, NEVER, token, 5], Error::BadArgument);
    by(&mut s.m, server, Syscall::Reply, &[token, 0]).unwrap();
}

#[test]
fn reply_receive_answers_and_takes_the_next_call() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let other = peer(&mut s.m, CLIENT_LEVEL, 2);
    let call = grant(&mut s.m, &other, s.endpoint, EndpointRights::CALL.bits(), 2);
    let first = s.pending_call();
    waits(&mut s.m, other.id, Syscall::Call, &[call.0, info(8, 0), NEVER, INTERFACE]);
    let arguments = [s.serve.0, info(1, 0), NEVER, first, 0];
    let [kind, badge, got, _] = by(&mut s.m, s.server.id, Syscall::ReplyReceive, &arguments).unwrap();
    assert_eq!((kind, badge, got), (0, 2, info(8, 0)));
    assert_eq!(s.m.result_of(s.client.id).unwrap()[2], info(1, 0));
}

#[test]
fn reply_receive_goes_on_to_receive_when_the_caller_is_gone() {
    let mut s = stage();
    s.client_calls();
    let arguments = [s.serve.0, info(1, 0), NEVER, 12345 << 16 | 1, 0];
    let [kind, badge, ..] = by(&mut s.m, s.server.id, Syscall::ReplyReceive, &arguments).unwrap();
    assert_eq!((kind, badge), (0, BADGE));
}

#[test]
fn reply_fault_returns_the_blame_to_the_client() {
    let mut s = stage();
    let token = s.pending_call();
    by(&mut s.m, s.server.id, Syscall::ReplyFault, &[token, 7]).unwrap();
    // Nobody hears of the client's faults: it has stopped.
    assert!(!s.m.kernel.is_ready(s.client.id));
    by(&mut s.m, s.root, Syscall::ThreadStart, &[s.client.thread.0, 0x1000, 0x2000, 0]).expect("it is stopped");
    refused(&mut s.m, s.server.id, Syscall::Reply, &[token, 0], Error::CallerGone);
}

#[test]
fn unknown_numbers_are_no_system_calls() {
    let mut s = stage();
    s.m.switch_to(s.root);
    for number in [11, 31, 47, 1000, u64::MAX] {
        assert_eq!(s.m.enter(number, [0; 6]).map_err(|refusal| refusal.error), Err(Error::UnknownSyscall));
    }
}

#[test]
fn a_call_waits_for_the_next_instance_when_nobody_serves() {
    let mut s = stage();
    s.client_calls();
    by(&mut s.m, s.root, Syscall::Destroy, &[s.server.domain.0]).unwrap();
    assert!(!s.m.kernel.is_ready(s.client.id));
    let next = peer(&mut s.m, SERVER_LEVEL, 2);
    let serve = grant(&mut s.m, &next, s.endpoint, EndpointRights::RECEIVE.bits(), 0);
    let [_, badge, _, token] = by(&mut s.m, next.id, Syscall::Receive, &[serve.0, 0, NOW]).unwrap();
    assert_eq!(badge, BADGE);
    by(&mut s.m, next.id, Syscall::Reply, &[token, info(4, 0)]).unwrap();
    assert_eq!(s.m.result_of(s.client.id).unwrap()[2], info(4, 0));
}

#[test]
fn a_call_that_was_taken_returns_peer_died_when_the_server_dies() {
    let mut s = stage();
    s.pending_call();
    by(&mut s.m, s.root, Syscall::Destroy, &[s.server.domain.0]).unwrap();
    assert_eq!(s.m.result_of(s.client.id), Err(Error::PeerDied));
}

#[test]
fn a_call_that_was_taken_returns_peer_died_when_the_servers_last_thread_is_destroyed() {
    let mut s = stage();
    s.pending_call();
    by(&mut s.m, s.root, Syscall::Destroy, &[s.server.thread.0]).unwrap();
    assert_eq!(s.m.result_of(s.client.id), Err(Error::PeerDied));
}

#[test]
fn a_call_goes_on_while_another_thread_of_the_server_lives() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let thread = crate::scene::thread_in(&mut s.m, s.server.domain);
    let colleague = s.m.start(thread);
    let token = s.pending_call();
    by(&mut s.m, s.root, Syscall::Destroy, &[s.server.thread.0]).unwrap();
    assert!(!s.m.kernel.is_ready(s.client.id));
    by(&mut s.m, colleague, Syscall::Reply, &[token, 0]).unwrap();
    assert!(s.m.result_of(s.client.id).is_ok());
}

#[test]
fn a_destroyed_endpoint_returns_endpoint_gone_to_both_sides() {
    let mut s = stage();
    s.client_calls();
    by(&mut s.m, s.root, Syscall::Destroy, &[s.endpoint.0]).unwrap();
    assert_eq!(s.m.result_of(s.client.id), Err(Error::EndpointGone));
    refused(&mut s.m, s.client.id, Syscall::Call, &[s.call.0, 0, NEVER, INTERFACE], Error::StaleHandle);

    let mut s = stage();
    waits(&mut s.m, s.server.id, Syscall::Receive, &[s.serve.0, 0, NEVER]);
    by(&mut s.m, s.root, Syscall::Destroy, &[s.endpoint.0]).unwrap();
    assert_eq!(s.m.result_of(s.server.id), Err(Error::EndpointGone));
}

#[test]
fn a_call_that_was_taken_survives_its_endpoint() {
    let mut s = stage();
    let token = s.pending_call();
    by(&mut s.m, s.root, Syscall::Destroy, &[s.endpoint.0]).unwrap();
    by(&mut s.m, s.server.id, Syscall::Reply, &[token, 0]).unwrap();
    assert!(s.m.result_of(s.client.id).is_ok());
}

#[test]
fn an_answer_to_a_caller_that_was_destroyed_finds_nobody() {
    let mut s = stage();
    let token = s.pending_call();
    by(&mut s.m, s.root, Syscall::Destroy, &[s.client.domain.0]).unwrap();
    refused(&mut s.m, s.server.id, Syscall::Reply, &[token, 0], Error::CallerGone);
}

#[test]
fn a_new_thread_in_the_slot_of_a_dead_caller_does_not_get_its_answer() {
    let mut s = stage();
    let token = s.pending_call();
    by(&mut s.m, s.root, Syscall::Destroy, &[s.client.domain.0]).unwrap();
    let next = peer(&mut s.m, CLIENT_LEVEL, 2);
    assert_eq!(next.id, s.client.id, "the slot is used again");
    let call = grant(&mut s.m, &next, s.endpoint, EndpointRights::CALL.bits(), 0);
    waits(&mut s.m, next.id, Syscall::Call, &[call.0, 0, NEVER, INTERFACE]);
    let new = s.server_takes();
    assert_ne!(new, token);
    refused(&mut s.m, s.server.id, Syscall::Reply, &[token, 0], Error::CallerGone);
    by(&mut s.m, s.server.id, Syscall::Reply, &[new, 0]).unwrap();
}
