//! Calls under way on the executor: what becomes of them when nobody waits for the answer, and how many there may be.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use userlib::abi::Handle;
use userlib::abi::message::CallerToken;
use userlib::cap::{Cap, Endpoint};
use userlib::executor::{self, CALLS_PER_CLIENT};
use userlib::host::{self, Loopback, QueuedCall};
use userlib::interface;
use userlib::ipc::server::Uninterrupted;
use userlib::ipc::{Caller, verdict};

/// Methods that wait in different ways.
#[interface(name = "waiting", version = 1)]
trait Waiting {
    /// Answers after so many milliseconds.
    fn later(milliseconds: u64) -> u64;
    /// Does in two steps, `milliseconds` apart, what must not be done by half, and waits for ever then.
    fn transact(milliseconds: u64);
    /// Does as much as can be done before the caller is gone.
    fn until_gone();
    /// Counts for as long as somebody waits.
    fn work();
}

/// What has happened, in order.
type Events = Rc<RefCell<Vec<&'static str>>>;

#[derive(Default)]
struct Waiter {
    events: Events,
    worked: Cell<u32>,
}

/// Says so when it is dropped.
struct Cleanup(Events, &'static str);

impl Drop for Cleanup {
    fn drop(&mut self) {
        self.0.borrow_mut().push(self.1);
    }
}

impl WaitingServer for Waiter {
    async fn later(&self, _: &Caller, milliseconds: u64) -> u64 {
        let _cleanup = Cleanup(self.events.clone(), "cleaned up");
        executor::sleep(Duration::from_millis(milliseconds)).await;
        self.events.borrow_mut().push("done");
        milliseconds
    }

    async fn transact(&self, _: &Caller, milliseconds: u64) {
        let _cleanup = Cleanup(self.events.clone(), "cleaned up");
        executor::to_the_end(async {
            self.events.borrow_mut().push("first");
            executor::sleep(Duration::from_millis(milliseconds)).await;
            self.events.borrow_mut().push("second");
        })
        .await;
        std::future::pending::<()>().await;
        unreachable!("nobody ends this wait");
    }

    async fn until_gone(&self, _: &Caller) {
        executor::to_the_end(async {
            executor::caller_gone().await;
            self.events.borrow_mut().push("rolled back");
        })
        .await;
    }

    async fn work(&self, caller: &Caller) {
        while caller.is_waiting() {
            self.worked.set(self.worked.get() + 1);
            executor::yield_now().await;
        }
    }
}

const ENDPOINT: Cap<Endpoint> = Cap::from_handle(Handle::new(3, 1));

fn call(kernel: &Loopback, badge: u64, name: &str, word: Option<u64>) -> CallerToken {
    let method = WaitingClient::INTERFACE.methods.iter().find(|method| method.name == name).expect("a method");
    kernel.queue(QueuedCall { label: method.label, words: word.into_iter().collect(), badge })
}

async fn pass(milliseconds: u64) {
    executor::sleep(Duration::from_millis(milliseconds)).await;
}

/// Serves on a double of the kernel while `body` runs.
fn serving(body: impl AsyncFnOnce(&Loopback, &Events)) {
    let kernel = Loopback::new();
    host::with(kernel.clone(), || {
        let server = Waiter::default();
        let events = server.events.clone();
        executor::serve(ENDPOINT, WaitingService::new(server)).unwrap();
        executor::run(body(&kernel, &events));
    });
}

#[test]
fn work_for_a_caller_that_is_gone_is_dropped_where_it_waits() {
    serving(async |kernel, events| {
        let (lost, kept) = (call(kernel, 5, "later", Some(50)), call(kernel, 5, "later", Some(60)));
        pass(10).await;
        kernel.hang_up(lost);
        pass(10).await;
        assert_eq!(*events.borrow(), ["cleaned up"], "long before its time has come");
        pass(60).await;
        assert_eq!(*events.borrow(), ["cleaned up", "done", "cleaned up"]);
        assert_eq!(kernel.take_reply(lost), None);
        assert_eq!(kernel.take_reply(kept).unwrap().words, [60]);
    });
}

#[test]
fn what_is_to_be_carried_out_to_its_end_is() {
    serving(async |kernel, events| {
        let lost = call(kernel, 5, "transact", Some(30));
        pass(10).await;
        kernel.hang_up(lost);
        pass(10).await;
        assert_eq!(*events.borrow(), ["first"]);
        pass(20).await;
        assert_eq!(*events.borrow(), ["first", "second", "cleaned up"], "and no more than that");
    });
}

#[test]
fn work_that_goes_on_to_its_end_learns_that_its_caller_is_gone() {
    serving(async |kernel, events| {
        let lost = call(kernel, 5, "until_gone", None);
        pass(10).await;
        assert!(events.borrow().is_empty());
        kernel.hang_up(lost);
        pass(10).await;
        assert_eq!(*events.borrow(), ["rolled back"]);
    });
}

#[test]
fn a_service_that_is_not_interrupted_ends_what_it_has_begun() {
    let kernel = Loopback::new();
    host::with(kernel.clone(), || {
        let server = Waiter::default();
        let events = server.events.clone();
        executor::serve(ENDPOINT, Uninterrupted::new(WaitingService::new(server))).unwrap();
        executor::run(async {
            let lost = call(&kernel, 5, "later", Some(50));
            pass(10).await;
            kernel.hang_up(lost);
            pass(100).await;
        });
        assert_eq!(*events.borrow(), ["done", "cleaned up"]);
    });
}

#[test]
fn work_that_waits_for_nothing_can_ask_whether_somebody_waits_for_it() {
    serving(async |kernel, _| {
        let lost = call(kernel, 5, "work", None);
        for _ in 0..10 {
            executor::yield_now().await;
        }
        kernel.hang_up(lost);
        pass(1).await;
        assert_eq!(kernel.take_reply(lost), None);
    });
}

#[test]
fn a_client_has_a_limited_number_of_calls_under_way_and_others_are_not_kept_out() {
    serving(async |kernel, _| {
        let first: Vec<_> = (0..CALLS_PER_CLIENT).map(|_| call(kernel, 5, "later", Some(50))).collect();
        let surplus = call(kernel, 5, "later", Some(50));
        let other = call(kernel, 6, "later", Some(1));
        pass(10).await;
        assert_eq!(kernel.take_reply(surplus).unwrap().label, verdict::BUSY);
        assert_eq!(kernel.take_reply(other).unwrap().words, [1]);
        kernel.hang_up(first[0]);
        pass(1).await;
        let next = call(kernel, 5, "later", Some(1));
        pass(60).await;
        assert_eq!(kernel.take_reply(next).unwrap().words, [1], "there is room again");
        assert!(first[1..].iter().all(|token| kernel.take_reply(*token).is_some()));
    });
}

#[test]
fn the_limit_is_the_servers_to_choose() {
    serving(async |kernel, _| {
        executor::limit_calls(0);
        let (one, two) = (call(kernel, 5, "later", Some(5)), call(kernel, 5, "later", Some(5)));
        pass(10).await;
        assert_eq!(kernel.take_reply(one).unwrap().words, [5], "one call at least");
        assert_eq!(kernel.take_reply(two).unwrap().label, verdict::BUSY);
        executor::limit_calls(CALLS_PER_CLIENT);
    });
}

#[test]
fn a_task_waits_for_several_streams_of_notifications_at_once() {
    serving(async |kernel, _| {
        let (rare, frequent) = (executor::events(1), executor::events(6));
        let seen = Rc::new(RefCell::new(Vec::new()));
        let told = seen.clone();
        executor::spawn(async move {
            // Each in turn, in one task: whichever is polled last does not take the other's place.
            let both = async {
                loop {
                    let got = std::future::poll_fn(|context| {
                        let mut one = std::pin::pin!(rare.next());
                        let mut two = std::pin::pin!(frequent.next());
                        match one.as_mut().poll(context) {
                            std::task::Poll::Pending => two.as_mut().poll(context),
                            ready => ready,
                        }
                    })
                    .await;
                    told.borrow_mut().push(got);
                }
            };
            both.await
        });
        for bits in [2, 1, 4] {
            pass(1).await;
            kernel.post(bits);
        }
        pass(1).await;
        assert_eq!(*seen.borrow(), [2, 1, 4]);
        kernel.post(8);
        pass(1).await;
        assert_eq!(executor::events(8).take(), Some(8));
        assert_eq!(executor::events(8).take(), None);
    });
}
