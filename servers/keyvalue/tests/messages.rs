//! The server as its clients see it.

use interfaces::stream::{StreamClient, StreamDouble};
use keyvalue::Server;
use keyvalue_store::READY;
use userlib::host::Fault;

fn double() -> StreamDouble {
    StreamDouble::restarting(Server::new)
}

/// All that it says from a position on, and where that ends.
fn heard(client: &StreamClient, mut from: u64) -> (String, u64) {
    let mut text = Vec::new();
    loop {
        let mut bytes = [0; 100];
        let received = client.receive(from, &mut bytes).expect("it answers");
        from = received.next;
        text.extend(&bytes[..received.length as usize]);
        if (received.length as usize) < bytes.len() {
            return (String::from_utf8(text).unwrap(), from);
        }
    }
}

#[test]
fn it_is_ready_and_answers_line_by_line() {
    let double = double();
    let client = double.client();
    let (said, next) = heard(&client, 0);
    assert_eq!(said, format!("{READY}\n"));
    assert_eq!(client.send(b"set a 1\nget a\nco"), Ok(16));
    assert_eq!(client.send(b"unt\n"), Ok(4));
    assert_eq!(heard(&client, next).0, "ok\nvalue 1\ncount 1\n");
    assert_eq!(heard(&client, 0).0.lines().count(), 4, "what was said can be asked for again");
}

#[test]
fn whoever_comes_anew_hears_only_what_comes_next() {
    let double = double();
    let client = double.client();
    let end = client.receive(u64::MAX, &mut []).unwrap();
    assert_eq!((end.length, end.lost, end.next), (0, 0, READY.len() as u64 + 1));
    client.send(b"count\n").unwrap();
    assert_eq!(heard(&client, end.next).0, "count 0\n");
}

#[test]
fn a_line_that_takes_more_than_its_turn_is_taken_in_parts() {
    let double = double();
    let client = double.client();
    let asked = b"get key\n".repeat(10_000);
    let taken = client.send(&asked).unwrap() as usize;
    assert!(taken > 0 && taken < asked.len() / 10, "{taken}");
}

#[test]
fn it_takes_nothing_while_its_answers_are_not_heard() {
    let double = double();
    let client = double.client();
    let long = format!("set key {}\n", "x".repeat(1000));
    client.send(long.as_bytes()).unwrap();
    let next = heard(&client, 0).1;
    let asked = b"get key\n".repeat(500);
    let taken = client.send(&asked).unwrap() as usize;
    assert!(taken < asked.len(), "it would have forgotten answers");
    let (said, next) = heard(&client, next);
    let again = client.send(&asked[taken..]).unwrap();
    assert!(again > 0, "there is room again");
    let whole = said + &heard(&client, next).0;
    assert!(whole.lines().all(|line| line.len() == "value ".len() + 1000), "an answer is not whole");
}

#[test]
fn a_new_instance_knows_no_values_and_begins_from_the_start() {
    let double = double();
    let client = double.client();
    client.send(b"set a 1\n").unwrap();
    double.faults().plan(Fault::DiesBefore);
    let (said, next) = heard(&client, 0);
    assert_eq!(said, format!("{READY}\n"));
    client.send(b"get a\n").unwrap();
    assert_eq!(heard(&client, next).0, "none\n");
}

#[test]
fn any_messages_to_stream() {
    let double = double();
    let tally = double.fuzz(&[], |client| {
        let end = || client.receive(u64::MAX, &mut []).expect("it answers").next;
        // Somebody may not have heard everything, or be in the middle of a line.
        end();
        assert_eq!(client.send(b"\n"), Ok(1));
        let next = end();
        assert_eq!(client.send(b"get a\n"), Ok(6));
        assert_eq!(heard(&client, next).0, "none\n");
    });
    assert_eq!(tally.answered.len(), 2, "{tally}");
}
