//! Bits of the thread's notification as things to wait for.

use super::reactor;
use core::future::poll_fn;
use core::task::Poll;

/// Waits until bits of `mask` are set in the thread's bound notification; clears and returns them. Each bit is for one
/// waiter at a time: with several, whoever comes first takes it.
pub async fn bits(mask: u64) -> u64 {
    events(mask).next().await
}

/// What bits of the thread's bound notification tell, one after the other: what interrupts, peers and other servers have
/// signalled. Bits are sticky and do not count: what happens several times before it is asked for is told once.
///
/// Each bit is for one waiter at a time.
pub const fn events(mask: u64) -> Events {
    Events { mask }
}

/// A stream of notifications, see [`events`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events {
    mask: u64,
}

impl Events {
    /// The bits that it is about.
    pub const fn mask(&self) -> u64 {
        self.mask
    }

    /// Waits for the next ones, clears and returns them. A task may wait for several streams at once: what is dropped
    /// before it is done has taken nothing.
    pub async fn next(&self) -> u64 {
        let (reactor, mask) = (reactor(), self.mask);
        poll_fn(|context| {
            if let Some(set) = self.take() {
                return Poll::Ready(set);
            }
            let mut waiters = reactor.bit_waiters.borrow_mut();
            let is_known =
                |(known, waker): &(u64, core::task::Waker)| *known == mask && waker.will_wake(context.waker());
            if !waiters.iter().any(is_known) {
                waiters.push((mask, context.waker().clone()));
            }
            Poll::Pending
        })
        .await
    }

    /// Those that have come already, if there are any; clears them.
    pub fn take(&self) -> Option<u64> {
        let reactor = reactor();
        let set = reactor.bits.get() & self.mask;
        reactor.bits.set(reactor.bits.get() & !set);
        (set != 0).then_some(set)
    }
}
