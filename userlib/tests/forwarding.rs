//! Calls that a server passes on to another one, which answers in its place.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use userlib::abi::rights::Kind;
use userlib::abi::{Error, Handle};
use userlib::cap::{Cap, Endpoint, Memory, Owned};
use userlib::executor;
use userlib::host::{self, Loopback};
use userlib::interface;
use userlib::ipc::{CallError, Caller, ReadLease, WriteLease};

/// What servers of both kinds serve.
#[interface(name = "post", version = 1)]
trait Post {
    fn deliver(letter: &[u8], receipt: &mut [u8]) -> Result<u64, u32>;
    fn sum(values: [u64; 12], delay: u64) -> u64;
    fn parcel(contents: Cap<Memory>) -> u64;
}

/// Another interface.
#[interface(name = "telegraph", version = 1)]
trait Telegraph {
    fn send(word: u64) -> u64;
}

/// Why a call could not be passed on, as a letter's error.
const STRANDED: u32 = 9;

/// Does the work itself.
struct Office;

impl PostServer for Office {
    async fn deliver(&self, caller: &Caller, letter: ReadLease, receipt: WriteLease) -> Result<u64, u32> {
        let contents = letter.to_vec(100).map_err(|_| 1_u32)?;
        receipt.write(0, &contents).map_err(|_| 2_u32)?;
        Ok(caller.badge())
    }
    async fn sum(&self, _: &Caller, values: [u64; 12], delay: u64) -> u64 {
        executor::sleep(Duration::from_millis(delay)).await;
        values.iter().sum()
    }
    async fn parcel(&self, caller: &Caller, _: Owned<Memory>) -> u64 {
        caller.badge()
    }
}

/// Passes everything on.
struct Collector<C> {
    to: C,
    /// How often work went on behind a successful forward.
    resumed: Rc<Cell<u32>>,
    dropped: Rc<Cell<u32>>,
}

/// Counts that it is dropped.
struct Baggage(Rc<Cell<u32>>);

impl Drop for Baggage {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

impl<C: userlib::ipc::Client> PostServer for Collector<C> {
    async fn deliver(&self, caller: &Caller, _: ReadLease, _: WriteLease) -> Result<u64, u32> {
        match caller.forward(&self.to).await {
            Err(Error::WrongInterface) => Err(STRANDED),
            Err(_) => Err(0),
            Ok(never) => match never {},
        }
    }
    async fn sum(&self, caller: &Caller, _: [u64; 12], _: u64) -> u64 {
        let _baggage = Baggage(self.dropped.clone());
        let outcome = caller.forward(&self.to).await;
        self.resumed.set(self.resumed.get() + 1);
        u64::from(outcome.is_err())
    }
    async fn parcel(&self, caller: &Caller, contents: Owned<Memory>) -> u64 {
        let _kept = contents;
        match caller.forward(&self.to).await {
            Err(_) => 0,
            Ok(never) => match never {},
        }
    }
}

const OFFICE: Cap<Endpoint> = Cap::from_handle(Handle::new(3, 1));
const COLLECTOR: Cap<Endpoint> = Cap::from_handle(Handle::new(4, 1));
const ABSENT: Cap<Endpoint> = Cap::from_handle(Handle::new(5, 1));

struct World {
    kernel: Rc<Loopback>,
    resumed: Rc<Cell<u32>>,
    dropped: Rc<Cell<u32>>,
}

/// A collector that passes on to whatever `to` calls, and an office.
fn world<R>(to: impl userlib::ipc::Client + 'static, body: impl FnOnce(&World, PostClient) -> R) -> R {
    let world = World { kernel: Loopback::new(), resumed: Rc::default(), dropped: Rc::default() };
    let collector = Collector { to, resumed: world.resumed.clone(), dropped: world.dropped.clone() };
    world.kernel.serve(OFFICE.handle(), PostService::new(Office));
    world.kernel.serve(COLLECTOR.handle(), PostService::new(collector));
    host::with(world.kernel.clone(), || body(&world, PostClient::new(COLLECTOR)))
}

#[test]
fn the_other_server_gets_what_was_lent_and_answers_under_the_forwarders_badge() {
    world(PostClient::new(OFFICE), |_, client| {
        let mut receipt = [0; 5];
        assert_eq!(client.deliver(b"hello", &mut receipt), Ok(2));
        assert_eq!(&receipt, b"hello");
        assert_eq!(PostClient::new(OFFICE).deliver(b"", &mut []), Ok(1), "one's own call has one's own badge");
    });
}

#[test]
fn arguments_arrive_whole_and_the_answer_may_come_later() {
    world(PostClient::new(OFFICE), |world, client| {
        let values = core::array::from_fn(|index| index as u64 * 1000);
        assert_eq!(client.sum(values, 20), Ok(66_000));
        assert_eq!(world.kernel.clock(), 20_000_000);
    });
}

#[test]
fn the_forwarders_work_ends_and_takes_its_belongings_along() {
    world(PostClient::new(OFFICE), |world, client| {
        for round in 1..=3 {
            client.sum([1; 12], 0).expect("the office answers");
            assert_eq!((world.resumed.get(), world.dropped.get()), (0, round));
        }
    });
}

#[test]
fn what_cannot_be_passed_on_is_still_to_be_answered() {
    world(PostClient::new(ABSENT), |world, client| {
        assert_eq!(client.sum([1; 12], 0), Ok(1));
        assert_eq!(world.resumed.get(), 1);
    });
}

#[test]
fn a_server_of_another_interface_gets_no_such_call() {
    struct Operator;
    impl TelegraphServer for Operator {
        async fn send(&self, _: &Caller, word: u64) -> u64 {
            word
        }
    }
    world(TelegraphClient::new(ABSENT), |world, client| {
        world.kernel.serve(ABSENT.handle(), TelegraphService::new(Operator));
        assert_eq!(TelegraphClient::new(ABSENT).send(3), Ok(3));
        assert_eq!(client.deliver(b"", &mut []), Err(CallError::Failed(STRANDED)));
    });
}

#[test]
fn capabilities_stay_behind_so_that_the_other_server_cannot_understand_the_call() {
    world(PostClient::new(OFFICE), |world, client| {
        let handle = Handle::new(12, 1);
        world.kernel.add_cap(handle, Kind::Memory);
        assert_eq!(client.parcel(Cap::from_handle(handle)), Err(CallError::NotUnderstood));
        assert_eq!(world.kernel.deleted(), [handle.0], "the forwarder's copy goes with its work");
    });
}
