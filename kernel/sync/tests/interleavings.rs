//! Every order in which processors can meet at the lock and miss each other, explored by loom. Built with `--cfg loom`.
#![cfg(loom)]

use kernel_sync::{FairLock, Presence};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

#[test]
fn nobody_is_inside_the_lock_with_another() {
    loom::model(|| {
        let lock = Arc::new(FairLock::new(0u32));
        let others: Vec<_> = (0..2)
            .map(|_| {
                let lock = lock.clone();
                thread::spawn(move || {
                    let mut held = lock.lock();
                    let before = *held;
                    *held = before + 1;
                })
            })
            .collect();
        for other in others {
            other.join().expect("it comes to an end");
        }
        assert_eq!(*lock.lock(), 2);
    });
}

#[test]
fn whoever_fails_to_take_the_lock_leaves_it_as_it_was() {
    loom::model(|| {
        let lock = Arc::new(FairLock::new(0u32));
        let waiting = {
            let lock = lock.clone();
            thread::spawn(move || *lock.lock() += 1)
        };
        let trying = {
            let lock = lock.clone();
            thread::spawn(move || lock.try_lock().map(|mut held| *held += 1).is_some())
        };
        waiting.join().expect("it comes to an end");
        let taken = trying.join().expect("it comes to an end");
        assert_eq!(*lock.lock(), 1 + u32::from(taken));
    });
}

#[test]
fn what_the_last_holder_did_is_seen_by_the_next() {
    loom::model(|| {
        let lock = Arc::new(FairLock::new((0u32, 0u32)));
        let other = {
            let lock = lock.clone();
            thread::spawn(move || {
                let mut held = lock.lock();
                held.0 = 1;
                held.1 = 1;
            })
        };
        let (first, second) = *lock.lock();
        assert_eq!(first, second, "a half of a change was seen");
        other.join().expect("it comes to an end");
    });
}

/// What the lock guards in the kernel: whether there is work for the second processor.
struct Shared {
    state: FairLock<bool>,
    second: Presence,
    interrupted: AtomicBool,
}

fn shared() -> Arc<Shared> {
    Arc::new(Shared { state: FairLock::new(false), second: Presence::outside(), interrupted: AtomicBool::new(false) })
}

/// The first processor gives the second one work, and interrupts it if it would miss that.
fn give_work(shared: &Shared) {
    let mut state = shared.state.lock();
    *state = true;
    if shared.second.needs_interrupt() {
        shared.interrupted.store(true, Ordering::Release);
    }
}

/// The second processor enters the kernel once, looks for work and leaves.
fn look_for_work(shared: &Shared) -> bool {
    shared.second.enter();
    let state = shared.state.lock();
    let found = *state;
    shared.second.leave();
    drop(state);
    found
}

#[test]
fn a_processor_that_looks_sees_the_work_or_is_interrupted() {
    loom::model(|| {
        let shared = shared();
        let second = {
            let shared = shared.clone();
            thread::spawn(move || look_for_work(&shared))
        };
        give_work(&shared);
        let found = second.join().expect("it comes to an end");
        assert!(found || shared.interrupted.load(Ordering::Acquire), "work was lost");
    });
}

#[test]
fn a_processor_that_looks_twice_is_not_told_of_nothing() {
    loom::model(|| {
        let shared = shared();
        let second = {
            let shared = shared.clone();
            thread::spawn(move || look_for_work(&shared) | look_for_work(&shared))
        };
        give_work(&shared);
        let found = second.join().expect("it comes to an end");
        assert!(found || shared.interrupted.load(Ordering::Acquire), "work was lost");
    });
}

#[test]
#[should_panic(expected = "work was lost")]
fn a_processor_that_leaves_after_giving_the_lock_back_loses_work() {
    // The mistake that the order in `Presence::leave` excludes: this shows that the exploration would find it.
    loom::model(|| {
        let shared = shared();
        let second = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.second.enter();
                let found = *shared.state.lock();
                shared.second.leave();
                found
            })
        };
        give_work(&shared);
        let found = second.join().expect("it comes to an end");
        assert!(found || shared.interrupted.load(Ordering::Acquire), "work was lost");
    });
}
