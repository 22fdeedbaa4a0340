//! Doubles of servers: what a client sees, and what the server has done, for everything that can go wrong between them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use userlib::executor;
use userlib::host::{self, Fault, Loopback};
use userlib::interface;
use userlib::ipc::{CallError, Caller, LeaseError, ReadLease, RetriedError, WriteLease};

/// A store of one text.
#[interface(name = "store", version = 1)]
trait Store {
    /// Keeps a text.
    #[idempotent]
    fn put(text: &str) -> Result<(), u32>;
    /// Appends to it.
    fn append(text: &str) -> Result<usize, u32>;
    /// Reads it.
    #[idempotent]
    fn get(text: &mut [u8]) -> Result<usize, u32>;
    /// Appends in two steps, with a wait between them.
    fn append_slowly(text: &str) -> Result<usize, u32>;
    /// Who asks.
    fn whoami() -> u64;
}

/// What has happened, as seen by the server.
type Journal = Rc<RefCell<Vec<&'static str>>>;

#[derive(Default)]
struct Text {
    text: RefCell<String>,
    journal: Journal,
}

fn failed(error: LeaseError) -> u32 {
    if error == LeaseError::CallerGone { 1 } else { 2 }
}

impl StoreServer for Text {
    async fn put(&self, _: &Caller, text: ReadLease) -> Result<(), u32> {
        self.journal.borrow_mut().push("put");
        *self.text.borrow_mut() = text.to_text(100).map_err(failed)?;
        Ok(())
    }
    async fn append(&self, _: &Caller, text: ReadLease) -> Result<usize, u32> {
        self.journal.borrow_mut().push("append");
        self.text.borrow_mut().push_str(&text.to_text(100).map_err(failed)?);
        Ok(self.text.borrow().len())
    }
    async fn get(&self, _: &Caller, text: WriteLease) -> Result<usize, u32> {
        text.write(0, self.text.borrow().as_bytes()).map_err(failed)?;
        Ok(self.text.borrow().len())
    }
    async fn append_slowly(&self, _: &Caller, text: ReadLease) -> Result<usize, u32> {
        let new = text.to_text(100).map_err(failed)?;
        let (first, second) = new.split_at(new.floor_char_boundary(new.len() / 2));
        self.text.borrow_mut().push_str(first);
        executor::sleep(Duration::from_millis(10)).await;
        self.text.borrow_mut().push_str(second);
        Ok(self.text.borrow().len())
    }
    async fn whoami(&self, caller: &Caller) -> u64 {
        caller.badge()
    }
}

fn text_of(client: StoreClient) -> String {
    let mut bytes = [0; 100];
    let length = client.get(&mut bytes).expect("nothing is wrong now");
    String::from_utf8(bytes[..length].to_vec()).expect("it was text")
}

fn store() -> (StoreDouble, StoreClient, Journal) {
    let text = Text::default();
    let journal = text.journal.clone();
    let double = StoreDouble::new(text);
    let client = double.client();
    (double, client, journal)
}

#[test]
fn a_server_is_tested_in_a_few_lines() {
    let double = StoreDouble::new(Text::default());
    let client = double.client();
    client.put("abc").unwrap();
    assert_eq!(client.append("de"), Ok(5));
    assert_eq!(text_of(client), "abcde");
}

#[test]
fn an_idempotent_method_runs_again_when_the_server_dies_and_any_other_does_not() {
    let (double, client, journal) = store();
    double.faults().plan(Fault::DiesAfter);
    assert_eq!(client.put("abc"), Ok(()));
    assert_eq!((&journal.borrow()[..], double.instances()), (&["put", "put"][..], 2));
    double.faults().plan(Fault::DiesAfter);
    assert_eq!(client.append("d"), Err(CallError::ServerDied));
    assert_eq!(&journal.borrow()[2..], ["append"], "it is not known whether it was carried out, so it is not repeated");
    assert_eq!(text_of(client), "abcd");
}

#[test]
fn repetitions_have_a_bound() {
    let (double, client, journal) = store();
    (0..20).for_each(|_| double.faults().plan(Fault::DiesAfter));
    assert_eq!(client.put("abc"), Err(RetriedError::Unavailable));
    assert_eq!((journal.borrow().len(), double.faults().left()), (9, 11), "one call and eight repetitions");
}

#[test]
fn a_server_dies_before_during_or_after_its_work() {
    for (fault, done) in [(Fault::DiesBefore, ""), (Fault::DiesDuring, "ab"), (Fault::DiesAfter, "abcd")] {
        let (double, client, _) = store();
        double.faults().plan(fault);
        assert_eq!(client.append_slowly("abcd"), Err(CallError::ServerDied), "{fault:?}");
        assert_eq!(text_of(client), done, "{fault:?}");
        assert_eq!(client.append_slowly("xy"), Ok(done.len() + 2), "the next instance works");
    }
}

#[test]
fn the_next_instance_begins_anew_where_the_test_says_so() {
    let double = StoreDouble::restarting(Text::default);
    let client = double.client();
    client.put("abc").unwrap();
    double.faults().plan(Fault::DiesAfter);
    assert_eq!(client.append("d"), Err(CallError::ServerDied));
    assert_eq!((text_of(client).as_str(), double.instances()), ("", 2));
}

#[test]
fn a_server_that_is_late_finds_that_its_caller_is_gone() {
    let (double, client, journal) = store();
    let hasty = client.with_timeout(Duration::from_millis(20));
    double.faults().plan(Fault::Late);
    assert_eq!(hasty.append("abc"), Err(CallError::TimedOut));
    assert_eq!(&journal.borrow()[..], ["append"]);
    assert_eq!(text_of(client), "", "what was lent is gone");
    assert_eq!((double.kernel().late_answers(), double.kernel().clock()), (1, 20_000_000));
}

#[test]
fn a_lost_answer_lets_the_deadline_pass_though_everything_was_done() {
    let (double, client, _) = store();
    double.faults().plan(Fault::AnswerLost);
    assert_eq!(client.append("abc"), Err(CallError::TimedOut));
    assert_eq!(text_of(client), "abc");
}

#[test]
fn a_repeated_call_is_carried_out_twice_and_answered_once() {
    let (double, client, _) = store();
    double.faults().plan(Fault::Repeated);
    assert_eq!(client.append("ab"), Ok(4));
    assert_eq!((text_of(client).as_str(), double.kernel().late_answers()), ("abab", 0));
}

#[test]
fn faults_by_chance_are_the_same_for_the_same_seed() {
    let story = |seed| {
        let (double, client, journal) = store();
        double.faults().by_chance(50, seed);
        let outcomes: Vec<_> = (0..50).map(|_| client.append("x")).collect();
        double.faults().clear();
        assert!(double.faults().met() > 10);
        // Whatever went wrong, nothing was done more often than it was begun.
        assert!(text_of(client).len() <= journal.borrow().len());
        outcomes
    };
    assert_eq!(story(7), story(7));
    assert_ne!(story(7), story(8));
}

#[test]
fn each_client_has_its_own_badge() {
    let (double, client, _) = store();
    assert_eq!(client.whoami(), Ok(1));
    assert_eq!(double.client_with_badge(9).whoami(), Ok(9));
}

/// Appends through another server.
struct Relay {
    to: StoreClient,
    begun: Cell<u32>,
}

impl StoreServer for Relay {
    async fn put(&self, _: &Caller, text: ReadLease) -> Result<(), u32> {
        let text = text.to_text(100).map_err(failed)?;
        self.to.put(&text).map_err(|_| 7_u32)
    }
    async fn append(&self, _: &Caller, text: ReadLease) -> Result<usize, u32> {
        let text = text.to_text(100).map_err(failed)?;
        self.to.append_slowly(&text).map_err(|error| if error == CallError::ServerDied { 8 } else { 9 })
    }
    async fn get(&self, caller: &Caller, _: WriteLease) -> Result<usize, u32> {
        match caller.forward(&self.to).await {
            Err(_) => Err(9),
            Ok(never) => match never {},
        }
    }
    async fn append_slowly(&self, _: &Caller, _: ReadLease) -> Result<usize, u32> {
        self.begun.set(self.begun.get() + 1);
        executor::sleep(Duration::from_millis(1)).await;
        self.to.whoami().map(|badge| badge as usize).map_err(|_| 9)
    }
    async fn whoami(&self, _: &Caller) -> u64 {
        0
    }
}

#[test]
fn a_server_under_test_calls_the_doubles_of_others_and_meets_their_faults() {
    let (below, below_client, _) = store();
    let above = StoreDouble::new(Relay { to: below.client_with_badge(5), begun: Cell::new(0) });
    let client = above.client();
    client.put("ab").unwrap();
    assert_eq!(client.append("cdef"), Ok(6));
    assert_eq!(client.append_slowly(""), Ok(5));
    assert_eq!((text_of(client), text_of(below_client)), ("abcdef".into(), "abcdef".into()));
    below.faults().plan(Fault::DiesDuring);
    assert_eq!(client.append("gh"), Err(CallError::Failed(8)));
    assert_eq!(text_of(client), "abcdefg");
}

#[test]
fn doubles_join_the_kernel_that_a_test_has_put_in_place() {
    let kernel = Loopback::new();
    host::with(kernel.clone(), || {
        let (double, client, _) = store();
        client.put("abc").unwrap();
        double.faults().plan(Fault::AnswerLost);
        assert_eq!(client.append("d"), Err(CallError::TimedOut));
    });
    assert!(kernel.clock() >= 30_000_000_000, "it has passed there");
}

#[test]
fn without_its_double_a_client_calls_nobody() {
    let (double, client, _) = store();
    let (_other, _, _) = store();
    drop(double);
    assert!(matches!(client.append("d"), Err(CallError::Refused(_))));
}

#[test]
fn messages_by_chance_do_no_harm_to_a_sound_server() {
    let double = StoreDouble::new(Text::default());
    let tally = double.fuzz(&["abc", "de", ""], |client| {
        client.put("abc").unwrap();
        assert_eq!(client.append("de"), Ok(5));
        client.put("").unwrap();
    });
    assert_eq!(tally.answered.len(), 5, "{tally}");
    assert!(tally.refused > 0 && tally.timed_out > 0, "{tally}");
}

#[test]
fn a_server_that_panics_is_found() {
    struct Careless;
    impl StoreServer for Careless {
        async fn put(&self, _: &Caller, text: ReadLease) -> Result<(), u32> {
            text.to_text(100).expect("clients send text");
            Ok(())
        }
        async fn append(&self, _: &Caller, _: ReadLease) -> Result<usize, u32> {
            Ok(0)
        }
        async fn get(&self, _: &Caller, _: WriteLease) -> Result<usize, u32> {
            Ok(0)
        }
        async fn append_slowly(&self, _: &Caller, _: ReadLease) -> Result<usize, u32> {
            Ok(0)
        }
        async fn whoami(&self, _: &Caller) -> u64 {
            0
        }
    }
    let fuzzing = || StoreDouble::new(Careless).fuzz(&["abc"], |_| ());
    std::panic::catch_unwind(fuzzing).expect_err("some message is no text");
}
