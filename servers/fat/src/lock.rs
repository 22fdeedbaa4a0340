//! A mutex for tasks on one thread: first come, first served, and safe to stop waiting for.

use alloc::collections::VecDeque;
use core::cell::{Cell, RefCell, RefMut};
use core::future::Future;
use core::ops::{Deref, DerefMut};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

/// A value that one task at a time may use.
pub(crate) struct Lock<T> {
    held: Cell<bool>,
    next: Cell<u64>,
    /// Who waits, in the order of arrival, by number.
    waiters: RefCell<VecDeque<(u64, Waker)>>,
    /// Borrowed exactly while `held`, so that borrowing never fails.
    value: RefCell<T>,
}

/// The right to use the value; passes it on when dropped.
pub(crate) struct Guard<'a, T> {
    value: Option<RefMut<'a, T>>,
    lock: &'a Lock<T>,
}

/// Waiting for the value.
struct Acquire<'a, T> {
    lock: &'a Lock<T>,
    number: Option<u64>,
}

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            held: Cell::new(false),
            next: Cell::new(0),
            waiters: RefCell::new(VecDeque::new()),
            value: RefCell::new(value),
        }
    }

    /// Waits for the value.
    pub(crate) fn acquire(&self) -> impl Future<Output = Guard<'_, T>> {
        Acquire { lock: self, number: None }
    }

    pub(crate) fn into_inner(self) -> T {
        self.value.into_inner()
    }

    fn wake_first(&self) {
        // The waker runs foreign code: no borrow may be open while it does.
        let waker = self.waiters.borrow().front().map(|(_, waker)| waker.clone());
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<'a, T> Future for Acquire<'a, T> {
    type Output = Guard<'a, T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let lock = self.lock;
        let mut waiters = lock.waiters.borrow_mut();
        let first = waiters.front().map(|(number, _)| *number);
        if !lock.held.get() && (first.is_none() || first == self.number) {
            if self.number.take().is_some() {
                waiters.pop_front();
            }
            lock.held.set(true);
            return Poll::Ready(Guard { value: Some(lock.value.borrow_mut()), lock });
        }
        match self.number {
            Some(number) => {
                if let Some(waiter) = waiters.iter_mut().find(|waiter| waiter.0 == number) {
                    waiter.1.clone_from(context.waker());
                }
            }
            None => {
                let number = lock.next.get();
                lock.next.set(number + 1);
                waiters.push_back((number, context.waker().clone()));
                drop(waiters);
                self.number = Some(number);
            }
        }
        Poll::Pending
    }
}

impl<T> Drop for Acquire<'_, T> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.lock.waiters.borrow_mut().retain(|waiter| waiter.0 != number);
            if !self.lock.held.get() {
                // It may have been this one's turn.
                self.lock.wake_first();
            }
        }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.value = None;
        self.lock.held.set(false);
        self.lock.wake_first();
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("a guard has its value until it is dropped")
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("a guard has its value until it is dropped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;
    use alloc::vec::Vec;
    use futures_util::task::noop_waker;

    fn poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        let waker = noop_waker();
        match Pin::new(future).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[test]
    fn waiters_get_their_turn_in_the_order_of_arrival() {
        let lock = Lock::new(Vec::new());
        let mut first = poll(&mut Box::pin(lock.acquire())).expect("nobody else wants it");
        let mut second = Box::pin(lock.acquire());
        let mut third = Box::pin(lock.acquire());
        assert!(poll(&mut second).is_none());
        assert!(poll(&mut third).is_none());
        first.push(1);
        drop(first);
        assert!(poll(&mut third).is_none(), "the third may not overtake the second");
        let held = poll(&mut second).expect("the second's turn");
        assert_eq!(*held, [1]);
        drop(held);
        assert!(poll(&mut third).is_some());
    }

    #[test]
    fn a_waiter_that_gives_up_does_not_keep_the_turn() {
        let lock = Lock::new(());
        let held = poll(&mut Box::pin(lock.acquire())).expect("nobody else wants it");
        let mut second = Box::pin(lock.acquire());
        let mut third = Box::pin(lock.acquire());
        assert!(poll(&mut second).is_none());
        assert!(poll(&mut third).is_none());
        drop(held);
        drop(second);
        assert!(poll(&mut third).is_some());
    }
}
