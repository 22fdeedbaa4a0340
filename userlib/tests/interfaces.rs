//! Clients and servers that `#[interface]` has written, connected within one thread.

use proptest::prelude::*;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use userlib::abi::rights::Kind;
use userlib::abi::{Error, Handle};
use userlib::cap::{Cap, Endpoint, Memory, Notification, Owned};
use userlib::executor;
use userlib::host::{self, Fault, Loopback, QueuedCall};
use userlib::ipc::{CallError, Caller, Lent, ReadLease, Request, RetriedError, Text, WriteLease, verdict};
use userlib::time::Deadline;
use userlib::{Value, interface};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
enum Shape {
    Point,
    Circle { radius: u32 },
    Box(u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
struct Record {
    number: i64,
    name: Text<12>,
    shape: Shape,
    maybe: Option<u16>,
    flags: [u8; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
enum Failure {
    TooLong,
    Lease,
}

impl From<userlib::ipc::LeaseError> for Failure {
    fn from(_: userlib::ipc::LeaseError) -> Self {
        Failure::Lease
    }
}

/// Everything that an interface can have.
#[interface(name = "everything", version = 7)]
trait Everything {
    /// Nothing in, nothing out.
    fn nothing();
    #[idempotent]
    fn ping(value: u64) -> u64;
    fn count() -> u64;
    fn mirror(record: Record, shape: Shape) -> (Record, Option<Shape>);
    fn copy(from: &[u8], to: &mut [u8]) -> Result<usize, Failure>;
    fn upper(text: &str, first: u8, to: &mut [u8]) -> Result<usize, Failure>;
    fn exchange(memory: Cap<Memory>, again: bool) -> Result<(u64, Option<Owned<Memory>>), Failure>;
    fn later(milliseconds: u64) -> u64;
    fn blame();
}

#[derive(Default)]
struct Everybody {
    counted: Cell<u64>,
    kept: Cell<Option<Owned<Memory>>>,
}

impl EverythingServer for Everybody {
    async fn nothing(&self, _: &Caller) {}
    async fn ping(&self, _: &Caller, value: u64) -> u64 {
        value
    }
    async fn count(&self, _: &Caller) -> u64 {
        self.counted.set(self.counted.get() + 1);
        self.counted.get()
    }
    async fn mirror(&self, _: &Caller, record: Record, shape: Shape) -> (Record, Option<Shape>) {
        (record, Some(shape))
    }
    async fn copy(&self, _: &Caller, from: ReadLease, to: WriteLease) -> Result<usize, Failure> {
        let bytes = from.to_vec(1 << 20)?;
        to.write(0, &bytes)?;
        Ok(bytes.len())
    }
    async fn upper(&self, _: &Caller, text: ReadLease, first: u8, to: WriteLease) -> Result<usize, Failure> {
        let text = text.to_text(100)?;
        to.write(0, &[first])?;
        to.write(1, text.to_uppercase().as_bytes())?;
        Ok(text.len() + 1)
    }
    async fn exchange(
        &self,
        caller: &Caller,
        memory: Owned<Memory>,
        again: bool,
    ) -> Result<(u64, Option<Owned<Memory>>), Failure> {
        let former = self.kept.replace(Some(memory));
        Ok((caller.badge(), former.filter(|_| again)))
    }
    async fn later(&self, _: &Caller, milliseconds: u64) -> u64 {
        executor::sleep(Duration::from_millis(milliseconds)).await;
        milliseconds
    }
    async fn blame(&self, caller: &Caller) {
        caller.fault(9).unwrap();
        std::future::pending().await
    }
}

const ENDPOINT: Cap<Endpoint> = Cap::from_handle(Handle::new(3, 1));

fn connected<R>(body: impl FnOnce(&Loopback, EverythingClient) -> R) -> R {
    let kernel = Loopback::new();
    kernel.serve(ENDPOINT.handle(), EverythingService::new(Everybody::default()));
    host::with(kernel.clone(), || body(&kernel, EverythingClient::new(ENDPOINT)))
}

#[test]
fn values_of_every_shape_come_back_as_they_went() {
    connected(|_, client| {
        client.nothing().unwrap();
        assert_eq!(client.ping(u64::MAX), Ok(u64::MAX));
        let record = Record {
            number: -5,
            name: Text::new("Jürgen"),
            shape: Shape::Circle { radius: 7 },
            maybe: Some(9),
            flags: [1, 2, 3],
        };
        for shape in [Shape::Point, Shape::Box(1, u64::MAX)] {
            assert_eq!(client.mirror(record, shape), Ok((record, Some(shape))));
        }
    });
}

#[test]
fn leases_carry_any_number_of_bytes_in_both_directions() {
    connected(|_, client| {
        for length in [0, 1, 4095, 4096, 4097, 100_000] {
            let from: Vec<u8> = (0..length).map(|i| (i * 7 % 251) as u8).collect();
            let mut to = vec![0; length];
            assert_eq!(client.copy(&from, &mut to), Ok(length));
            assert!(from == to);
        }
        let mut to = [0; 8];
        assert_eq!(client.upper("grün", b'!', &mut to), Ok(6));
        assert_eq!(&to[..6], "!GRÜN".as_bytes());
    });
}

#[test]
fn a_lease_that_is_too_short_is_an_error_and_nothing_else_is_written() {
    connected(|_, client| {
        let mut memory = [7; 16];
        let (to, rest) = memory.split_at_mut(8);
        assert_eq!(client.copy(&[1; 9], to), Err(CallError::Failed(Failure::Lease)));
        assert_eq!(rest, [7; 8]);
    });
}

#[test]
fn capabilities_are_received_as_owned_and_dropped_ones_are_deleted() {
    connected(|kernel, client| {
        let (a, b) = (Handle::new(10, 1), Handle::new(11, 1));
        kernel.add_cap(a, Kind::Memory);
        kernel.add_cap(b, Kind::Memory);
        let (badge, none) = client.exchange(Cap::from_handle(a), true).unwrap();
        assert_eq!((badge, none.is_none()), (1, true));
        assert_eq!(kernel.deleted(), []);
        let (_, former) = client.exchange(Cap::from_handle(b), true).unwrap();
        // The server's own is deleted once it was sent; the client has a copy (the double gives it the same handle).
        assert_eq!(kernel.deleted(), [a.0]);
        assert_eq!(former.unwrap().leak().handle(), a);
    });
}

#[test]
fn a_capability_of_another_kind_is_refused_and_deleted() {
    connected(|kernel, client| {
        let handle = Handle::new(12, 1);
        kernel.add_cap(handle, Kind::Notification);
        let wrong: Cap<Notification> = Cap::from_handle(handle);
        let outcome = client.exchange(Cap::from_handle(wrong.handle()), false);
        assert_eq!(outcome.map(drop), Err(CallError::NotUnderstood));
        assert_eq!(kernel.deleted(), [handle.0]);
    });
}

#[test]
fn only_idempotent_calls_are_repeated_when_the_server_dies() {
    connected(|kernel, client| {
        let kill = |count| {
            kernel.with_faults(ENDPOINT.handle(), |faults| {
                (0..count).for_each(|_| faults.plan(Fault::DiesBefore));
                faults.left()
            })
        };
        kill(3);
        assert_eq!(client.ping(1), Ok(1));
        kill(1);
        assert_eq!(client.count(), Err(CallError::ServerDied));
        assert_eq!(client.count(), Ok(1));
        kill(1000);
        assert_eq!(client.ping(1), Err(RetriedError::Unavailable));
        assert_eq!(kill(0), 1000 - 9, "one call and eight repetitions");
    });
}

#[test]
fn a_reply_may_come_later_and_a_deadline_ends_the_wait() {
    connected(|kernel, client| {
        assert_eq!(client.later(20), Ok(20));
        assert_eq!(kernel.clock(), 20_000_000);
        let hasty = client.with_timeout(Duration::from_millis(5));
        assert_eq!(hasty.later(20), Err(CallError::TimedOut));
        assert_eq!(client.with_deadline(Deadline::NOW).later(20), Err(CallError::TimedOut));
    });
}

#[test]
fn a_blamed_caller_learns_of_it() {
    connected(|_, client| {
        let outcome = client.with_timeout(Duration::from_millis(1)).blame();
        assert!(matches!(outcome, Err(CallError::TimedOut | CallError::Refused(Error::ProtocolFault))));
    });
}

#[test]
fn calls_that_were_received_first_may_be_answered_last() {
    let kernel = Loopback::new();
    host::with(kernel.clone(), || {
        executor::serve(ENDPOINT, EverythingService::new(Everybody::default())).unwrap();
        let label = |name| {
            let method = EverythingClient::INTERFACE.methods.iter().find(|m| m.name == name);
            method.unwrap().label
        };
        let call = |name, word| kernel.queue(QueuedCall { label: label(name), words: vec![word], badge: 5 });
        let slow = call("later", 50);
        let fast = call("later", 10);
        let at_once = call("ping", 3);
        executor::run(async {
            executor::sleep(Duration::from_millis(5)).await;
            assert_eq!(kernel.take_reply(at_once).unwrap().words, [3]);
            assert_eq!(kernel.take_reply(fast), None);
            executor::sleep(Duration::from_millis(15)).await;
            assert_eq!(kernel.take_reply(fast).unwrap().words, [10]);
            assert_eq!(kernel.take_reply(slow), None);
            executor::sleep(Duration::from_millis(40)).await;
            assert_eq!(kernel.take_reply(slow).unwrap().words, [50]);
        });
    });
}

#[test]
fn a_second_endpoint_on_one_thread_is_refused() {
    host::with(Loopback::new(), || {
        executor::serve(ENDPOINT, EverythingService::new(Everybody::default())).unwrap();
        let second = executor::serve(ENDPOINT, EverythingService::new(Everybody::default()));
        assert_eq!(second, Err(executor::AlreadyServing));
    });
}

proptest! {
    #[test]
    fn no_message_makes_a_server_panic(
        method in 0..12_usize,
        other_label: u32,
        words in proptest::collection::vec(prop_oneof![0..5_u64, any::<u64>()], 0..40),
        caps in proptest::collection::vec(10..14_u16, 0..5),
        leases in proptest::collection::vec((any::<bool>(), 0..200_usize), 0..5),
    ) {
        connected(|kernel, _| {
            kernel.add_cap(Handle::new(10, 1), Kind::Memory);
            kernel.add_cap(Handle::new(11, 1), Kind::Endpoint);
            let methods = EverythingClient::INTERFACE.methods;
            let label = methods.get(method).map_or(other_label, |method| method.label);
            let caps: Vec<Handle> = caps.iter().map(|index| Handle::new(*index, 1)).collect();
            let mut memory: Vec<(bool, Vec<u8>)> = leases.iter().map(|(w, n)| (*w, vec![0xc3; *n])).collect();
            let mut leases: Vec<Lent<'_>> = memory
                .iter_mut()
                .map(|(write, bytes)| if *write { Lent::Write(bytes) } else { Lent::Read(bytes) })
                .collect();
            let mut request = Request { label, words: &words, caps: &caps, leases: &mut leases };
            let deadline = Deadline::after(Duration::from_secs(1));
            let interface = EverythingClient::INTERFACE.id;
            let outcome = userlib::ipc::call(ENDPOINT, interface, deadline, &mut request, &mut [0; 20]);
            match outcome {
                Ok(response) => prop_assert!(response.label <= verdict::MALFORMED),
                Err(error) => prop_assert!(
                    [Error::TimedOut, Error::ProtocolFault, Error::BadMessage, Error::NoReceiveSlots].contains(&error),
                    "{error:?}"
                ),
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_answer_makes_a_client_panic(words in proptest::collection::vec(any::<u64>(), 0..30), label in 0..6_u32) {
        let response = || userlib::ipc::Response { label, words: words.len(), caps: Default::default() };
        let _ = userlib::ipc::client::interpret::<Record, Failure>(response(), &words);
        let _ = userlib::ipc::client::interpret::<(Shape, Option<bool>), ()>(response(), &words);
        // A server may claim more words than the client has room for.
        let short = userlib::ipc::client::interpret::<u64, ()>(response(), words.get(..2).unwrap_or(&words));
        if words.len() > 2 {
            prop_assert_eq!(short, Err(CallError::NotUnderstood));
        }
    }
}

#[test]
fn interfaces_of_other_versions_are_told_apart_by_the_kernel() {
    connected(|kernel, _| {
        struct Other;
        impl userlib::ipc::Service for Other {
            fn interface(&self) -> u64 {
                EverythingClient::INTERFACE.id ^ 1
            }
            fn accepts_caps(&self) -> u8 {
                0
            }
            fn dispatch(&self, _: &mut userlib::ipc::Incoming<'_>) -> Option<userlib::ipc::server::Work> {
                panic!("the call must not arrive")
            }
        }
        let endpoint: Cap<Endpoint> = Cap::from_handle(Handle::new(4, 1));
        kernel.serve(endpoint.handle(), Other);
        let client = EverythingClient::new(endpoint);
        assert_eq!(client.ping(1), Err(RetriedError::Refused(Error::WrongInterface)));
    });
}

#[test]
fn shared_servers_see_calls_of_their_service() {
    let kernel = Loopback::new();
    let server = Rc::new(Everybody::default());
    kernel.serve(ENDPOINT.handle(), EverythingService::shared(server.clone()));
    host::with(kernel, || EverythingClient::new(ENDPOINT).count().unwrap());
    assert_eq!(server.counted.get(), 1);
}
