//! What tasks of one executor share: a lock that is handed over in order, and an event that many may wait for.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell, UnsafeCell};
use core::fmt;
use core::future::{Future, poll_fn};
use core::ops::{Deref, DerefMut};
use core::pin::pin;
use core::task::{Poll, Waker};

/// Something that has happened, for every task that waits for it. It is not remembered: a task looks at the state it
/// cares about first, and waits if that is not as it should be.
#[derive(Debug, Default)]
pub struct Event {
    happened: Cell<u64>,
    waiters: RefCell<Vec<Waker>>,
}

impl Event {
    /// An event that nobody waits for.
    pub const fn new() -> Self {
        Self { happened: Cell::new(0), waiters: RefCell::new(Vec::new()) }
    }

    /// Wakes all who wait.
    pub fn signal(&self) {
        self.happened.set(self.happened.get().wrapping_add(1));
        for waker in self.waiters.take() {
            waker.wake();
        }
    }

    /// Waits until the event happens next. It counts from the call on, not from when the future is first polled.
    pub fn next(&self) -> impl Future<Output = ()> {
        let seen = self.happened.get();
        poll_fn(move |context| {
            if self.happened.get() != seen {
                return Poll::Ready(());
            }
            let mut waiters = self.waiters.borrow_mut();
            if !waiters.iter().any(|waker| waker.will_wake(context.waker())) {
                waiters.push(context.waker().clone());
            }
            Poll::Pending
        })
    }
}

/// A lock that a task may hold while it waits for something else. Whoever has waited longest gets it next.
pub struct Mutex<T> {
    locked: Cell<bool>,
    next_ticket: Cell<u64>,
    queue: RefCell<VecDeque<(u64, Waker)>>,
    value: UnsafeCell<T>,
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Mutex<T> {
    /// A lock that nobody holds.
    pub const fn new(value: T) -> Self {
        Self {
            locked: Cell::new(false),
            next_ticket: Cell::new(0),
            queue: RefCell::new(VecDeque::new()),
            value: UnsafeCell::new(value),
        }
    }

    /// Takes the lock if nobody holds it and nobody waits for it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        if self.locked.get() || !self.queue.borrow().is_empty() {
            return None;
        }
        self.locked.set(true);
        Some(MutexGuard { mutex: self })
    }

    /// Waits for the lock.
    pub async fn lock(&self) -> MutexGuard<'_, T> {
        if let Some(guard) = self.try_lock() {
            return guard;
        }
        let number = self.next_ticket.get();
        self.next_ticket.set(number + 1);
        let mut place = Place { mutex: self, number, queued: false };
        poll_fn(|context| {
            let mut queue = self.queue.borrow_mut();
            if !place.queued {
                place.queued = true;
                queue.push_back((number, context.waker().clone()));
            } else if let Some((_, waker)) = queue.iter_mut().find(|(other, _)| *other == number) {
                waker.clone_from(context.waker());
            }
            let is_first = queue.front().is_some_and(|(first, _)| *first == number);
            if self.locked.get() || !is_first {
                return Poll::Pending;
            }
            self.locked.set(true);
            Poll::Ready(())
        })
        .await;
        drop(place);
        MutexGuard { mutex: self }
    }

    fn wake_first(&self) {
        if let Some((_, waker)) = self.queue.borrow().front() {
            waker.wake_by_ref();
        }
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mutex({})", if self.locked.get() { "locked" } else { "free" })
    }
}

/// A place in the queue of a lock, left when the lock was taken or is no longer wanted.
struct Place<'a, T> {
    mutex: &'a Mutex<T>,
    number: u64,
    queued: bool,
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        self.mutex.queue.borrow_mut().retain(|(number, _)| *number != self.number);
        if !self.mutex.locked.get() {
            self.mutex.wake_first();
        }
    }
}

/// The right to use what a [`Mutex`] holds, until this is dropped.
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: there is one guard at a time (`locked`), and no other way to the value.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: there is one guard at a time (`locked`), no other way to the value, and `self` is borrowed for writing.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.mutex.locked.set(false);
        self.mutex.wake_first();
    }
}

/// Which of two came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first.
    First(A),
    /// The second.
    Second(B),
}

/// Waits for whichever of two comes first, and drops the other. If both are there at once, it is the first.
pub async fn either<A: Future, B: Future>(first: A, second: B) -> Either<A::Output, B::Output> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|context| {
        if let Poll::Ready(output) = first.as_mut().poll(context) {
            return Poll::Ready(Either::First(output));
        }
        second.as_mut().poll(context).map(Either::Second)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor;
    use crate::host::{self, Loopback};
    use crate::time::Duration;
    use alloc::rc::Rc;

    fn run<F: Future>(work: F) -> F::Output {
        host::with(Loopback::new(), || executor::run(work))
    }

    #[test]
    fn a_lock_is_handed_over_in_the_order_of_waiting() {
        let order = run(async {
            let mutex = Rc::new(Mutex::new(Vec::new()));
            let held = mutex.lock().await;
            for number in 0..5 {
                let mutex = mutex.clone();
                executor::spawn(async move {
                    let mut order = mutex.lock().await;
                    executor::sleep(Duration::from_millis(10 - number)).await;
                    order.push(number);
                });
            }
            executor::sleep(Duration::from_millis(1)).await;
            assert!(mutex.try_lock().is_none());
            drop(held);
            executor::sleep(Duration::from_secs(1)).await;
            mutex.lock().await.clone()
        });
        assert_eq!(order, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_waiter_that_gives_up_does_not_keep_the_lock_from_others() {
        run(async {
            let mutex = Rc::new(Mutex::new(0));
            let held = mutex.lock().await;
            let (impatient, patient) = (mutex.clone(), mutex.clone());
            executor::spawn(async move {
                let soon = crate::time::Instant::now() + Duration::from_millis(1);
                assert!(executor::before(soon, impatient.lock()).await.is_err());
            });
            executor::spawn(async move { *patient.lock().await = 7 });
            executor::sleep(Duration::from_millis(5)).await;
            drop(held);
            executor::sleep(Duration::from_millis(5)).await;
            assert_eq!(*mutex.try_lock().unwrap(), 7);
        });
    }

    #[test]
    fn an_event_wakes_everybody_who_asked_before_it_happened() {
        run(async {
            let event = Rc::new(Event::new());
            let woken = Rc::new(Cell::new(0));
            for _ in 0..3 {
                let (event, woken) = (event.clone(), woken.clone());
                executor::spawn(async move {
                    event.next().await;
                    woken.set(woken.get() + 1);
                });
            }
            let asked_before = event.next();
            executor::sleep(Duration::from_millis(1)).await;
            event.signal();
            asked_before.await;
            let asked_after = event.next();
            let late = either(asked_after, executor::sleep(Duration::from_millis(5))).await;
            assert_eq!(late, Either::Second(()));
            assert_eq!(woken.get(), 3);
        });
    }
}
