//! The laws of transitions and the reference model of authority notice what they are there for: each is shown a step that
//! really happened, and then the same step with one thing changed.

use abi::Syscall;
use abi::rights::{EndpointRights, Kind, RawRights};
use abi::syscall::MapAccess;
use model::event::Event;
use model::machine::own;
use model::scenarios::by_name;
use model::sizes::Tiny;
use model::view::{Step, View};
use model::{Machine, law};

fn machine() -> Machine<Tiny> {
    (by_name("everything").expect("a scenario of that name").start)()
}

/// Lets something happen, changes what can be seen of it, and asks the laws.
fn judge(event: Event, change: impl FnOnce(&mut Step)) -> Result<(), String> {
    let before = machine();
    let (seen, mut after) = (View::of(&before), before.clone());
    assert_eq!(event.apply(&mut after), None, "the call is not refused");
    let mut step = Step::new(&before, &seen, event, &after);
    change(&mut step);
    law::check(&step)
}

/// The first endpoint that the root holds.
fn endpoint() -> u64 {
    let machine = machine();
    let root = machine.current().expect("the root runs");
    machine
        .kernel
        .held_by(root)
        .find(|(_, kind, rights, _)| *kind == Kind::Endpoint && rights & EndpointRights::MINT.bits() != 0)
        .map(|(handle, ..)| handle.0)
        .expect("an endpoint")
}

fn copy(rights: RawRights) -> Event {
    Event::syscall(Syscall::CapCopy, &[endpoint(), u64::from(rights), 0])
}

fn assert_noticed(outcome: Result<(), String>, words: &str) {
    match outcome {
        Ok(()) => panic!("nobody notices: {words}"),
        Err(found) => assert!(found.contains(words), "{found}"),
    }
}

#[test]
fn what_the_core_does_is_according_to_the_laws() {
    judge(copy(1), |_| {}).expect("a copy with fewer rights");
}

#[test]
fn a_right_too_much_is_noticed() {
    let outcome = judge(copy(EndpointRights::CALL.bits()), |step| {
        let copy = step.seen_after.holdings.iter_mut().find(|new| step.seen.named(new.name).is_none());
        copy.expect("the copy").rights |= EndpointRights::RECEIVE.bits();
    });
    assert_noticed(outcome, "authority_follows_the_rules");
}

#[test]
fn a_badge_from_nowhere_is_noticed() {
    let outcome = judge(copy(1), |step| {
        let copy = step.seen_after.holdings.iter_mut().find(|new| step.seen.named(new.name).is_none());
        copy.expect("the copy").badge = 9;
    });
    assert_noticed(outcome, "was given");
}

#[test]
fn a_capability_that_changes_by_itself_is_noticed() {
    let outcome = judge(Event::syscall(Syscall::Yield, &[]), |step| step.seen_after.holdings[3].rights = 0);
    assert_noticed(outcome, "has become");
}

#[test]
fn a_capability_that_appears_by_itself_is_noticed() {
    let outcome = judge(copy(1), |step| step.call = None);
    assert_noticed(outcome, "authority has changed by itself");
}

#[test]
fn a_capability_for_an_old_object_in_place_of_a_new_one_is_noticed() {
    let event = Event::syscall(Syscall::NotificationCreate, &[own::ACCOUNT.0]);
    let outcome = judge(event, |step| {
        let fresh = step.seen_after.holdings.iter().position(|new| step.seen.named(new.name).is_none());
        let old = step.seen.holdings.iter().find(|old| old.kind == Kind::Endpoint).expect("an endpoint");
        let fresh = &mut step.seen_after.holdings[fresh.expect("the new one")];
        (fresh.kind, fresh.object) = (old.kind, old.object);
    });
    assert_noticed(outcome, "was given");
}

#[test]
fn a_window_that_shows_more_than_it_should_is_noticed() {
    let place = 0x40_4000;
    let event = Event::syscall(Syscall::Map, &[own::SPACE.0, own::RAM.0, place, 20, 1, MapAccess::Read as u64]);
    let outcome = judge(event, |step| {
        let window = step.seen_after.windows.iter_mut().find(|window| window.address == place).expect("the window");
        window.access = MapAccess::ReadWrite;
    });
    assert_noticed(outcome, "shows something else");
}

#[test]
fn whoever_answers_a_call_that_is_not_pending_is_noticed() {
    let outcome = judge(Event::syscall(Syscall::Yield, &[]), |step| {
        step.call = Some(model::view::Call { syscall: Syscall::Reply, arguments: [2, 0, 0, 0, 0, 0], cap: 0 });
    });
    assert_noticed(outcome, "is not pending");
}
