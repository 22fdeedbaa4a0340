//! The executor: one thread on which incoming calls, notification bits, interrupts and timers are futures.
//!
//! A server makes its service known with [`serve`] and then gives its thread away with [`run`]. Whenever no task can go
//! on, the thread blocks in one `Receive` on the service's endpoint, to which its bound notification and the earliest
//! timer belong too. Calls that were received are tasks of their own, so that any number of them may be under way.
//!
//! A thread can block on one endpoint only, the one of [`serve`]. Further ones ([`serve_also`]) set a bit of its
//! notification when a call waits there.
//!
//! When nobody waits for the answer to a call any more, because its deadline has passed or its caller is stopped or dead,
//! the work on it is dropped where it waits: [`calls`] says how to keep it. One client has a limited number of calls under
//! way; one more is refused with [`crate::ipc::CallError::Busy`].
//!
//! Calls *to* other servers block the thread ([`crate::ipc::Connection`]): they go strictly down, to servers that do not
//! wait for this one.
//!
//! The reserved bits of [`crate::status`] are answered here: a heartbeat from the main loop, so that a task which spins
//! misses it; the request to come to rest through [`shutdown_requested`], or at once if nobody waits for that.

pub mod calls;
mod events;

pub use calls::{CALLS_PER_CLIENT, caller_gone, limit_calls, to_the_end};
pub use events::{Events, bits, events};

use crate::cap::{Cap, Endpoint, Notification};
use crate::environment::Environment;
use crate::ipc::server::{Service, WordStore, Work, has_buffer};
use crate::ipc::{Incoming, registers};
use crate::message_log;
use crate::mishap;
use crate::status::{self, CALLERS_BIT, CLIENTS_BIT, HEARTBEAT_BIT, Phase, SHUTDOWN_BIT};
use crate::sync::Event;
use crate::sys::{self, Received, Words};
use crate::thread;
use crate::time::{Deadline, Duration, Instant, sleep_thread};
use abi::message::{CallerToken, MAX_WORDS, MessageInfo, REGISTER_WORDS};
use abi::{Error, Handle};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use calls::UnderWay;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};

/// The task that `run` itself was given.
const MAIN: usize = usize::MAX;

/// So many rounds pass at most before the clock is read, if there are timers.
const ROUNDS: u32 = 32;

/// Tasks that can go on, in order.
#[derive(Default)]
struct ReadyQueue {
    tasks: spin::Mutex<VecDeque<usize>>,
    /// How many they are: mostly none, which is found out without the lock.
    length: AtomicUsize,
}

impl ReadyQueue {
    fn push(&self, task: usize) {
        let mut tasks = self.tasks.lock();
        tasks.push_back(task);
        self.length.store(tasks.len(), Ordering::Release);
    }

    fn pop(&self) -> Option<usize> {
        let mut tasks = self.tasks.lock();
        let first = tasks.pop_front();
        self.length.store(tasks.len(), Ordering::Release);
        first
    }

    fn length(&self) -> usize {
        self.length.load(Ordering::Acquire)
    }
}

/// Wakes one task.
struct TaskWaker {
    task: usize,
    queued: AtomicBool,
    ready: Arc<ReadyQueue>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.ready.push(self.task);
        }
    }
}

/// A place for a task; its waker is used again for every task that comes to live here.
struct Place {
    work: Option<Work>,
    /// The call that the task works on, if it does.
    call: Option<UnderWay>,
    waker: Arc<TaskWaker>,
}

/// The endpoint on which the thread blocks.
struct Served {
    endpoint: Cap<Endpoint>,
    /// Who answers its calls.
    service: Box<dyn Service>,
    /// The most capabilities that come with one of them.
    caps: u8,
}

/// The state of one thread's executor.
pub(crate) struct Reactor {
    ready: Arc<ReadyQueue>,
    places: RefCell<Vec<Place>>,
    free: RefCell<Vec<usize>>,
    bits: Cell<u64>,
    bit_waiters: RefCell<Vec<(u64, Waker)>>,
    timers: RefCell<BTreeMap<(Instant, u64), Waker>>,
    timers_made: Cell<u64>,
    /// Rounds since the clock was last read for the timers.
    rounds: Cell<u32>,
    service: RefCell<Option<Served>>,
    /// A reply that leaves together with the next wait, and its words.
    outgoing: Cell<Option<(CallerToken, MessageInfo)>>,
    outgoing_words: Cell<Words>,
    /// Where the words of a message lie while it is taken apart.
    store: RefCell<WordStore>,
    running: Cell<bool>,
    announced: Cell<bool>,
    /// The task that goes on at this moment.
    current: Cell<usize>,
    /// Tasks that work on calls.
    under_way: Cell<usize>,
    /// How many of them one client may have.
    limit: Cell<usize>,
    /// Clients have died.
    departures: Event,
}

/// The thread serves an endpoint already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyServing;

impl fmt::Display for AlreadyServing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the thread serves an endpoint already: use `serve_also` for further ones")
    }
}

impl core::error::Error for AlreadyServing {}

impl Reactor {
    pub(crate) fn new() -> Self {
        Self {
            ready: Arc::default(),
            places: RefCell::new(Vec::new()),
            free: RefCell::new(Vec::new()),
            bits: Cell::new(0),
            bit_waiters: RefCell::new(Vec::new()),
            timers: RefCell::new(BTreeMap::new()),
            timers_made: Cell::new(0),
            rounds: Cell::new(0),
            service: RefCell::new(None),
            outgoing: Cell::new(None),
            outgoing_words: Cell::new([0; REGISTER_WORDS]),
            store: RefCell::new([0; MAX_WORDS]),
            running: Cell::new(false),
            announced: Cell::new(false),
            current: Cell::new(MAIN),
            under_way: Cell::new(0),
            limit: Cell::new(CALLS_PER_CLIENT),
            departures: Event::new(),
        }
    }

    fn waker(&self, task: usize) -> Arc<TaskWaker> {
        Arc::new(TaskWaker { task, queued: AtomicBool::new(false), ready: self.ready.clone() })
    }

    /// Gives a task a place.
    fn add(&self, work: Work, call: Option<UnderWay>) -> usize {
        let (task, _) = self.reserve(call);
        self.places.borrow_mut()[task].work = Some(work);
        task
    }

    /// A place for a task whose work is not there yet, and its waker.
    #[inline]
    fn reserve(&self, call: Option<UnderWay>) -> (usize, Arc<TaskWaker>) {
        self.under_way.set(self.under_way.get() + usize::from(call.is_some()));
        let mut places = self.places.borrow_mut();
        if let Some(index) = self.free.borrow_mut().pop() {
            let place = &mut places[index];
            place.call = call;
            return (index, place.waker.clone());
        }
        let index = places.len();
        let waker = self.waker(index);
        places.push(Place { work: None, call, waker: waker.clone() });
        (index, waker)
    }

    /// A task is over: what is left of it is dropped.
    fn end(&self, task: usize, work: Work) {
        // The task's own end may use the executor, so it comes before the place is free again.
        drop(work);
        if self.places.borrow_mut()[task].call.take().is_some() {
            self.under_way.set(self.under_way.get() - 1);
        }
        self.free.borrow_mut().push(task);
    }

    /// Lets a task go on.
    fn poll(&self, task: usize) {
        let found = self.places.borrow_mut().get_mut(task).and_then(|place| {
            place.waker.queued.store(false, Ordering::Release);
            place.work.take().map(|work| (place.waker.clone(), work))
        });
        if let Some((waker, work)) = found {
            self.poll_work(task, waker, work);
        }
    }

    /// Lets a task go on whose work is not in its place.
    fn poll_work(&self, task: usize, waker: Arc<TaskWaker>, mut work: Work) {
        let waker = Waker::from(waker);
        let before = self.current.replace(task);
        let outcome = work.as_mut().poll(&mut Context::from_waker(&waker));
        self.current.set(before);
        let goes_on = outcome.is_pending() && {
            let mut places = self.places.borrow_mut();
            let place = &mut places[task];
            !place.call.as_ref().is_some_and(UnderWay::is_in_vain)
        };
        if goes_on {
            self.places.borrow_mut()[task].work = Some(work);
        } else {
            self.end(task, work);
        }
    }

    /// Bits have arrived.
    fn post(&self, bits: u64) {
        if bits & (1 << HEARTBEAT_BIT) != 0 {
            status::beat();
        }
        mishap::obey(bits);
        if bits & (1 << CALLERS_BIT) != 0 {
            self.drop_lost_calls();
        }
        if bits & (1 << CLIENTS_BIT) != 0 {
            self.departures.signal();
        }
        let bits = bits & !(1 << HEARTBEAT_BIT | 1 << CALLERS_BIT | 1 << CLIENTS_BIT) & !mishap::BITS;
        self.bits.set(self.bits.get() | bits);
        let mut waiters = self.bit_waiters.borrow_mut();
        let mut shutdown_is_awaited = false;
        waiters.retain(|(mask, waker)| {
            shutdown_is_awaited |= mask & (1 << SHUTDOWN_BIT) != 0;
            let wakes = mask & bits != 0;
            if wakes {
                waker.wake_by_ref();
            }
            !wakes
        });
        if bits & (1 << SHUTDOWN_BIT) != 0 {
            status::set_phase(if shutdown_is_awaited { Phase::Stopping } else { Phase::Stopped });
        }
    }

    /// Wakes the tasks whose time has come, and says when the next one's comes. To read the clock is a system call, and the
    /// kernel tells when the deadline passes: a thread that has much to do all the time looks now and then.
    fn fire_timers(&self) -> Deadline {
        let mut timers = self.timers.borrow_mut();
        let Some((&(earliest, _), _)) = timers.first_key_value() else { return Deadline::NEVER };
        self.rounds.set(self.rounds.get() + 1);
        if self.rounds.get() < ROUNDS {
            return Deadline::at(earliest);
        }
        self.rounds.set(0);
        let now = Instant::now();
        while let Some(first) = timers.first_entry() {
            let (moment, _) = *first.key();
            if moment > now {
                return Deadline::at(moment);
            }
            first.remove().wake();
        }
        Deadline::NEVER
    }

    /// Sends the reply that was held back, if there is one.
    fn flush(&self) {
        if let Some((token, info)) = self.outgoing.take() {
            // A caller that is gone needs no answer.
            let _ = sys::reply(token, info, &self.outgoing_words.get());
        }
    }

    /// Waits for whatever comes first.
    fn wait(&self, deadline: Deadline) {
        let served = self.service.borrow();
        let Some(Served { endpoint, service, caps }) = &*served else {
            drop(served);
            return self.wait_for_bits(deadline);
        };
        if !self.announced.replace(true) {
            status::set_phase(Phase::Ready);
        }
        let (endpoint, caps, deadline) = (endpoint.handle(), *caps, deadline.to_register());
        let mut words = self.outgoing_words.get();
        let received = match self.outgoing.take() {
            Some((token, info)) => sys::reply_receive(endpoint, info, deadline, token, caps, &mut words),
            None => sys::receive(endpoint, caps, deadline, &mut words),
        };
        match received {
            Ok(Received::Message { badge, info, token }) => {
                let work = self.dispatch(&**service, badge, info, token, &words);
                drop(served);
                if let Some(work) = work {
                    let (task, waker) = self.reserve(Some(UnderWay::new(badge, token)));
                    self.poll_work(task, waker, work);
                }
            }
            Ok(Received::Bits(bits)) => {
                drop(served);
                self.post(bits);
            }
            Err(Error::TimedOut | Error::WouldBlock) => self.rounds.set(ROUNDS),
            Err(error) => {
                drop(served);
                log::error!("the endpoint cannot be served any more: {error}");
                *self.service.borrow_mut() = None;
            }
        }
    }

    /// Waits on a thread that serves no endpoint.
    fn wait_for_bits(&self, deadline: Deadline) {
        self.flush();
        match sys::receive(Handle::NONE, 0, deadline.to_register(), &mut [0; REGISTER_WORDS]) {
            Ok(Received::Bits(bits)) => self.post(bits),
            Ok(Received::Message { .. }) => {}
            Err(Error::TimedOut | Error::WouldBlock) => self.rounds.set(ROUNDS),
            // No notification is bound to this thread: time is all that can pass.
            Err(_) => {
                sleep_thread(deadline);
                self.rounds.set(ROUNDS);
            }
        }
    }

    /// Begins the work on a message that was received.
    fn dispatch(
        &self,
        service: &dyn Service,
        badge: u64,
        info: MessageInfo,
        token: CallerToken,
        words: &Words,
    ) -> Option<Work> {
        message_log::received(info, badge);
        let mut store = self.store.borrow_mut();
        let mut call = Incoming::gather(badge, info, token, words, &mut store);
        if self.has_too_many_calls(badge) {
            call.refuse_for_now();
            return None;
        }
        service.dispatch(&mut call)
    }

    /// Takes the calls that wait at an endpoint on which the thread does not block.
    fn take_waiting(&self, endpoint: Cap<Endpoint>, service: &impl Service) {
        loop {
            self.flush();
            let mut words = [0; REGISTER_WORDS];
            match sys::receive(endpoint.handle(), service.accepts_caps(), Deadline::NOW.to_register(), &mut words) {
                Ok(Received::Bits(bits)) => self.post(bits),
                Ok(Received::Message { badge, info, token }) => {
                    if let Some(work) = self.dispatch(service, badge, info, token, &words) {
                        let task = self.add(work, Some(UnderWay::new(badge, token)));
                        self.waker_of(task).wake_by_ref();
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// The waker of a task that has a place.
    fn waker_of(&self, task: usize) -> Arc<TaskWaker> {
        self.places.borrow()[task].waker.clone()
    }

    fn run<F: Future>(&self, main: F) -> F::Output {
        assert!(!self.running.replace(true), "the thread's executor runs already");
        let mut main = pin!(main);
        let main_waker = self.waker(MAIN);
        main_waker.wake_by_ref();
        let waker = Waker::from(main_waker.clone());
        let output = 'run: loop {
            // Tasks that wake each other without end must not keep out what comes from outside: one round at a time.
            for _ in 0..self.ready.length() {
                let Some(task) = self.ready.pop() else {
                    break;
                };
                self.flush();
                if task != MAIN {
                    self.poll(task);
                    continue;
                }
                main_waker.queued.store(false, Ordering::Release);
                if let Poll::Ready(output) = main.as_mut().poll(&mut Context::from_waker(&waker)) {
                    break 'run output;
                }
            }
            let next = self.fire_timers();
            let deadline = if self.ready.length() == 0 {
                next
            } else {
                self.flush();
                Deadline::NOW
            };
            self.wait(deadline);
        };
        self.flush();
        self.running.set(false);
        output
    }
}

fn reactor() -> Rc<Reactor> {
    thread::current().reactor()
}

/// Whether the thread's executor runs.
#[cfg(not(target_os = "none"))]
pub(crate) fn is_running() -> bool {
    reactor().running.get()
}

/// Runs `main` and every other task of the thread until `main` ends, and serves the thread's endpoint meanwhile.
///
/// # Panics
/// If it is called from within itself.
pub fn run<F: Future>(main: F) -> F::Output {
    reactor().run(main)
}

/// Runs the thread's tasks and serves its endpoint for the rest of its life.
pub fn run_forever() -> ! {
    match run(core::future::pending::<core::convert::Infallible>()) {}
}

/// Adds a task to the thread's executor.
pub fn spawn(work: impl Future<Output = ()> + 'static) {
    let reactor = reactor();
    let task = reactor.add(Box::pin(work), None);
    reactor.waker_of(task).wake_by_ref();
}

/// Makes the thread serve `endpoint`. The domain counts as ready once the executor first waits afterwards, so a server
/// calls this when it can answer; calls that come earlier wait at the endpoint.
///
/// # Errors
/// [`AlreadyServing`] if the thread serves another endpoint: a thread can receive from one only.
///
/// # Panics
/// If the thread has no message buffer, without which it could not receive.
pub fn serve(endpoint: Cap<Endpoint>, service: impl Service + 'static) -> Result<(), AlreadyServing> {
    assert!(has_buffer(), "a thread needs a message buffer to serve an endpoint");
    let reactor = reactor();
    let mut served = reactor.service.borrow_mut();
    if served.is_some() {
        return Err(AlreadyServing);
    }
    if let Some(notification) = Environment::current().and_then(Environment::notification) {
        watch(endpoint, notification);
    }
    *served = Some(Served { endpoint, caps: service.accepts_caps(), service: Box::new(service) });
    reactor.announced.set(false);
    Ok(())
}

/// Lets the kernel tell of calls that are over without an answer.
fn watch(endpoint: Cap<Endpoint>, notification: Cap<Notification>) {
    if let Err(error) = endpoint.watch(notification, 1 << CALLERS_BIT) {
        log::warn!("work for callers that are gone will go on to its end: {error}");
    }
}

/// Makes the thread serve a further endpoint: `bit` of its notification, which nobody else may use, tells it of calls
/// that wait there. Call it from a thread that runs its executor, with the domain's own notification.
///
/// # Errors
/// The kernel's, if the endpoint cannot be bound to the notification.
pub fn serve_also(
    endpoint: Cap<Endpoint>,
    notification: Cap<Notification>,
    bit: u32,
    service: impl Service + 'static,
) -> Result<(), Error> {
    let mask = 1 << bit;
    endpoint.bind(notification, mask)?;
    watch(endpoint, notification);
    let reactor = reactor();
    spawn(async move {
        loop {
            reactor.take_waiting(endpoint, &service);
            bits(mask).await;
        }
    });
    Ok(())
}

/// Sends a small reply, at the latest before another task goes on.
pub(crate) fn reply_soon(token: CallerToken, label: u32, words: &[u64]) {
    let reactor = reactor();
    reactor.flush();
    let info = MessageInfo::new(label, words.len() as u8);
    reactor.outgoing.set(Some((token, info)));
    reactor.outgoing_words.set(registers(words));
    if !reactor.running.get() {
        reactor.flush();
    }
}

/// Waits until the supervisor asks the domain to come to rest. The caller then does what is needed and says
/// [`Phase::Stopped`] with [`status::set_phase`].
pub async fn shutdown_requested() {
    bits(1 << SHUTDOWN_BIT).await;
}

/// Waits until the supervisor says next that clients have died; which ones, [`crate::session`] knows.
pub async fn client_departed() {
    reactor().departures.next().await;
}

/// A timer; dropping it takes it back.
struct Sleep {
    moment: Instant,
    key: Option<(Instant, u64)>,
    reactor: Rc<Reactor>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let reactor = self.reactor.clone();
        let mut timers = reactor.timers.borrow_mut();
        if let Some(key) = self.key {
            if !timers.contains_key(&key) {
                return Poll::Ready(());
            }
            timers.insert(key, context.waker().clone());
            return Poll::Pending;
        }
        if self.moment <= Instant::now() {
            return Poll::Ready(());
        }
        let number = reactor.timers_made.get();
        reactor.timers_made.set(number + 1);
        timers.insert((self.moment, number), context.waker().clone());
        self.key = Some((self.moment, number));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.reactor.timers.borrow_mut().remove(&key);
        }
    }
}

/// Waits until a moment.
pub async fn sleep_until(moment: Instant) {
    Sleep { moment, key: None, reactor: reactor() }.await;
}

/// Waits for a while.
pub async fn sleep(duration: Duration) {
    sleep_until(Instant::now() + duration).await;
}

/// A deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline passed")
    }
}

impl core::error::Error for Elapsed {}

/// Waits for `work`, at most until `moment`; what is not done by then is dropped.
///
/// # Errors
/// [`Elapsed`].
pub async fn before<F: Future>(moment: Instant, work: F) -> Result<F::Output, Elapsed> {
    let mut work = pin!(work);
    let mut timer = pin!(sleep_until(moment));
    poll_fn(|context| {
        if let Poll::Ready(output) = work.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        timer.as_mut().poll(context).map(|()| Err(Elapsed))
    })
    .await
}

/// Lets the other tasks go on once, and lets what has come from outside in.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if core::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
