//! Calls under way: how many a client has, and what becomes of the work when nobody waits for the answer any more.
//!
//! The kernel tells that *some* call is over without an answer ([`Cap::<Endpoint>::watch`]); the executor then asks it for
//! each one that is under way. The future of one that is over is dropped: at once where it waits, else when it waits next.
//! Its cleanup is what its values do when they are dropped. What must not end half-way is kept by [`to_the_end`], and a
//! whole service by [`Uninterrupted`](crate::ipc::server::Uninterrupted).
//!
//! [`Cap::<Endpoint>::watch`]: crate::cap::Cap::watch

use super::{MAIN, Reactor, reactor};
use crate::ipc::server;
use abi::message::CallerToken;
use alloc::rc::Rc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::task::Poll;

/// How many calls one client may have under way at once, if [`limit_calls`] has not said otherwise.
pub const CALLS_PER_CLIENT: usize = 16;

/// A call that a task works on.
pub(super) struct UnderWay {
    client: u64,
    token: CallerToken,
    /// Nobody waits for the answer.
    is_over: bool,
    /// How many parts of the work that are under way are to be carried out all the same.
    kept: u32,
}

impl UnderWay {
    pub(super) const fn new(client: u64, token: CallerToken) -> Self {
        Self { client, token, is_over: false, kept: 0 }
    }

    /// Whether the work can be dropped.
    pub(super) const fn is_in_vain(&self) -> bool {
        self.is_over && self.kept == 0
    }
}

impl Reactor {
    /// Whether a client has as many calls under way as it may.
    pub(super) fn has_too_many_calls(&self, client: u64) -> bool {
        // Whoever serves few calls at once need not count by clients.
        self.under_way.get() >= self.limit.get() && {
            let places = self.places.borrow();
            let calls = places.iter().filter_map(|place| place.call.as_ref());
            calls.filter(|call| call.client == client).count() >= self.limit.get()
        }
    }

    /// Drops the work on calls for whose answer nobody waits.
    pub(super) fn drop_lost_calls(&self) {
        let mut places = self.places.borrow_mut();
        let mut lost = Vec::new();
        for (task, place) in places.iter_mut().enumerate() {
            let Some(call) = place.call.as_mut().filter(|call| !call.is_over && !server::is_waiting(call.token)) else {
                continue;
            };
            call.is_over = true;
            if !call.is_in_vain() {
                // Whoever is to be told that the caller is gone looks now.
                place.waker.wake_by_ref();
            } else if let Some(work) = place.work.take() {
                lost.push((task, work));
            }
        }
        drop(places);
        for (task, work) in lost {
            self.end(task, work);
        }
    }

    /// Changes what is known of the call that a task works on, if it works on one.
    fn with_call<R>(&self, task: usize, look: impl FnOnce(&mut UnderWay) -> R) -> Option<R> {
        let mut places = self.places.borrow_mut();
        places.get_mut(task)?.call.as_mut().map(look)
    }
}

/// Changes how many calls one client may have under way at once at this thread's endpoints: one at least. A server whose
/// calls wait for long, and whose clients have many threads, needs more than [`CALLS_PER_CLIENT`].
pub fn limit_calls(limit: usize) {
    reactor().limit.set(limit.max(1));
}

/// As long as it lives, the work of a task is not dropped.
struct Keeper {
    reactor: Rc<Reactor>,
    task: usize,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.reactor.with_call(self.task, |call| call.kept -= 1);
    }
}

/// Carries out a part of the work on a call to its end, even if nobody waits for the answer any more: what would be left in
/// an unsound state by being dropped half-way. Afterwards the rest is dropped where it waits next. Within it,
/// [`caller_gone`] tells that there is no hurry to do more than that. Outside of the work on a call it changes nothing.
pub async fn to_the_end<F: Future>(work: F) -> F::Output {
    let reactor = reactor();
    let task = reactor.current.get();
    let kept = reactor.with_call(task, |call| call.kept += 1);
    let _keeper = kept.map(|()| Keeper { reactor, task });
    work.await
}

/// Waits, within [`to_the_end`], until nobody waits for the answer to the present call any more. Outside of the work on a
/// call it waits for ever.
pub async fn caller_gone() {
    let reactor = reactor();
    poll_fn(|_| {
        let task = reactor.current.get();
        let gone = task != MAIN && reactor.with_call(task, |call| call.is_over) == Some(true);
        if gone { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
