//! A double of the kernel in which client and server are the same thread.

use super::double::Served;
use super::{Fault, Faults, Kernel, refusal, values};
use crate::executor;
use crate::ipc::Incoming;
use crate::ipc::server::Service;
use crate::status::CALLERS_BIT;
use crate::sys::{Results, Words};
use crate::thread;
use abi::message::{CallerToken, Lease, MAX_CAPS, MAX_LEASE_COPY, MAX_LEASES, MAX_WORDS, MessageInfo, REGISTER_WORDS};
use abi::rights::Kind;
use abi::syscall::{RECEIVED_BITS, RECEIVED_MESSAGE};
use abi::time::moment;
use abi::{Error, Handle, Syscall};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::vec::Vec;

/// Badge of calls as their clients make them, unless the endpoint says another.
const DIRECT_BADGE: u64 = 1;
/// Badge of calls that a server has passed on, unless the endpoint says another.
const FORWARDER_BADGE: u64 = 2;

/// What a server has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its label.
    pub label: u32,
    /// Its words.
    pub words: Vec<u64>,
    /// Handles of its capabilities.
    pub caps: Vec<u64>,
    /// Whether the server blamed the caller instead, and with which code.
    pub fault: Option<u64>,
}

/// A call that waits at the endpoint of a server that runs its executor.
#[derive(Clone, Debug, Default)]
pub struct QueuedCall {
    /// Badge of the client.
    pub badge: u64,
    /// Label of the method.
    pub label: u32,
    /// Words of the message.
    pub words: Vec<u64>,
}

/// An endpoint as its client has it.
#[derive(Clone)]
struct Entrance {
    served: Rc<Served>,
    badge: Option<u64>,
}

/// What became of a call that was delivered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Delivery {
    /// It was worked on to the end.
    Done,
    /// The deadline passed first.
    TooLate,
    /// The server died.
    Died,
}

/// The double. Its clock stands still but when somebody waits.
#[derive(Default)]
pub struct Loopback {
    entrances: RefCell<HashMap<u64, Entrance>>,
    kinds: RefCell<HashMap<u64, Kind>>,
    deleted: RefCell<Vec<u64>>,
    leases: RefCell<HashMap<u64, Vec<Lease>>>,
    replies: RefCell<HashMap<u64, Reply>>,
    /// Where calls were passed on to.
    forwarded: RefCell<HashMap<u64, u64>>,
    /// The interface of each call that is under way.
    called: RefCell<HashMap<u64, u64>>,
    queue: RefCell<VecDeque<(CallerToken, QueuedCall)>>,
    /// Queued calls for whose answer somebody waits.
    waiting: RefCell<HashSet<u64>>,
    bits: Cell<u64>,
    clock: Cell<u64>,
    calls: Cell<u64>,
    endpoints: Cell<u16>,
    /// Answers to calls that were over.
    late_answers: Cell<u64>,
    /// Calls on which the work has ended without an answer.
    unanswered: Cell<u64>,
}

impl Loopback {
    /// A double in which nothing is served yet.
    pub fn new() -> Rc<Self> {
        Rc::new(Self::default())
    }

    /// Calls to `endpoint` go to `service` at once: badge 1, or 2 if another server passes them on.
    pub fn serve(&self, endpoint: Handle, service: impl Service + 'static) {
        self.open(endpoint, Rc::new(Served::new(Rc::new(service), None)), None);
    }

    /// What goes wrong with calls to an endpoint that is served.
    ///
    /// # Panics
    /// If it is not.
    pub fn with_faults<R>(&self, endpoint: Handle, body: impl FnOnce(&Faults) -> R) -> R {
        let entrance = self.entrance(endpoint.0).expect("somebody serves the endpoint");
        body(&entrance.served.faults)
    }

    /// Calls to `endpoint` go to a server, under this badge.
    pub(super) fn open(&self, endpoint: Handle, served: Rc<Served>, badge: Option<u64>) {
        self.entrances.borrow_mut().insert(endpoint.0, Entrance { served, badge });
    }

    /// Nobody serves `endpoint` any more.
    pub(super) fn close(&self, endpoint: Handle) {
        let closed = self.entrances.borrow_mut().remove(&endpoint.0);
        // The server may end with it, and may make calls while it does.
        drop(closed);
    }

    /// A handle for an endpoint that nobody has used.
    pub(super) fn next_endpoint(&self) -> Handle {
        self.endpoints.set(self.endpoints.get() + 1);
        Handle::new(u16::MAX - self.endpoints.get(), 1)
    }

    fn entrance(&self, endpoint: u64) -> Option<Entrance> {
        self.entrances.borrow().get(&endpoint).cloned()
    }

    /// Lets a capability of this kind exist under `handle`.
    pub fn add_cap(&self, handle: Handle, kind: Kind) {
        self.kinds.borrow_mut().insert(handle.0, kind);
    }

    /// Handles that were deleted so far.
    pub fn deleted(&self) -> Vec<u64> {
        self.deleted.borrow().clone()
    }

    /// How many answers there were to calls that were over: answered before, given up, or of a client that is dead.
    pub fn late_answers(&self) -> u64 {
        self.late_answers.get()
    }

    /// How many calls there were whose server has ended the work on them without an answer.
    pub fn unanswered(&self) -> u64 {
        self.unanswered.get()
    }

    /// Queues a call for whoever receives next; the token tells its reply.
    pub fn queue(&self, call: QueuedCall) -> CallerToken {
        let token = self.next_token();
        self.queue.borrow_mut().push_back((token, call));
        self.waiting.borrow_mut().insert(token.0);
        token
    }

    /// The caller of a queued call waits no longer: its deadline has passed, or it is dead. The server is told.
    pub fn hang_up(&self, token: CallerToken) {
        self.queue.borrow_mut().retain(|(queued, _)| *queued != token);
        if self.waiting.borrow_mut().remove(&token.0) {
            self.post(1 << CALLERS_BIT);
        }
    }

    /// Sets bits of the bound notification.
    pub fn post(&self, bits: u64) {
        self.bits.set(self.bits.get() | bits);
    }

    /// The answer to a call, once.
    pub fn take_reply(&self, token: CallerToken) -> Option<Reply> {
        self.replies.borrow_mut().remove(&token.0)
    }

    /// Nanoseconds since boot.
    pub fn clock(&self) -> u64 {
        self.clock.get()
    }

    fn next_token(&self) -> CallerToken {
        self.calls.set(self.calls.get() + 1);
        CallerToken::new(1, self.calls.get())
    }

    fn call(&self, arguments: [u64; 6], words: &mut Words) -> Results {
        let [endpoint, info, deadline, interface, ..] = arguments;
        let deadline = moment(deadline, self.clock.get());
        let info = MessageInfo(info);
        if !info.is_valid() {
            return refusal(Error::BadMessage);
        }
        let Some(entrance) = self.entrance(endpoint) else {
            return refusal(Error::StaleHandle);
        };
        let service = entrance.served.service();
        if service.interface() != interface {
            return refusal(Error::WrongInterface);
        }
        if info.caps() > usize::from(service.accepts_caps()) {
            return refusal(Error::NoReceiveSlots);
        }
        let token = self.next_token();
        let leases = with_buffer(|buffer| {
            buffer.caps_in = buffer.caps_out;
            buffer.leases[..info.leases().min(MAX_LEASES)].to_vec()
        });
        let fault = entrance.served.faults.next();
        let outcome = if fault == Some(Fault::DiesBefore) {
            entrance.served.die();
            Delivery::Died
        } else {
            // Who gives up before the server turns to the call takes along what it has lent, and awaits no answer.
            if fault != Some(Fault::Late) {
                self.leases.borrow_mut().insert(token.0, leases);
                self.called.borrow_mut().insert(token.0, interface);
            }
            let times = if fault == Some(Fault::Repeated) { 2 } else { 1 };
            let mut outcome = Delivery::Done;
            let sent = with_buffer(|buffer| *buffer);
            for _ in 0..times {
                self.replies.borrow_mut().remove(&token.0);
                with_buffer(|buffer| *buffer = sent);
                outcome = self.deliver(&entrance, fault, info, deadline, token, words);
            }
            self.leases.borrow_mut().remove(&token.0);
            self.called.borrow_mut().remove(&token.0);
            outcome
        };
        match outcome {
            Delivery::Done => {}
            Delivery::Died => {
                self.replies.borrow_mut().remove(&token.0);
                return refusal(Error::PeerDied);
            }
            Delivery::TooLate => return refusal(Error::TimedOut),
        }
        if matches!(fault, Some(Fault::Late | Fault::AnswerLost)) {
            self.replies.borrow_mut().remove(&token.0);
            assert_ne!(deadline, abi::time::NEVER, "the client would wait for ever for an answer that does not come");
            self.clock.set(self.clock.get().max(deadline));
            return refusal(Error::TimedOut);
        }
        let Some(reply) = self.take_reply(token) else {
            self.unanswered.set(self.unanswered.get() + 1);
            return refusal(Error::TimedOut);
        };
        if reply.fault.is_some() {
            return refusal(Error::ProtocolFault);
        }
        *words = [0; REGISTER_WORDS];
        for (register, word) in words.iter_mut().zip(&reply.words) {
            *register = *word;
        }
        with_buffer(|buffer| {
            for (place, word) in buffer.words.iter_mut().zip(&reply.words).skip(REGISTER_WORDS) {
                *place = *word;
            }
            for (place, cap) in buffer.caps_in.iter_mut().zip(&reply.caps) {
                *place = *cap;
            }
        });
        let info = MessageInfo::new(reply.label, reply.words.len() as u8).with_caps(reply.caps.len() as u8);
        values(0, 0, info.0, 0)
    }

    /// Has a call worked on by a server, and by those to which it is passed on.
    fn deliver(
        &self,
        entrance: &Entrance,
        fault: Option<Fault>,
        mut info: MessageInfo,
        deadline: u64,
        token: CallerToken,
        words: &Words,
    ) -> Delivery {
        let sent = with_buffer(|buffer| buffer.words);
        let mut served = entrance.served.clone();
        let mut badge = entrance.badge.unwrap_or(DIRECT_BADGE);
        loop {
            // Whoever worked on it before has used the same buffer.
            with_buffer(|buffer| buffer.words = sent);
            let mut store = [0; MAX_WORDS];
            let mut call = Incoming::gather(badge, info, token, words, &mut store);
            // A server that is called by another server has a thread of its own, and an executor of its own on it.
            let outcome = super::on_executor_of(&served, || {
                let Some(mut work) = served.receive().dispatch(&mut call) else { return Delivery::Done };
                if fault == Some(Fault::DiesDuring) {
                    // What it held is dropped, as the kernel takes everything from the dead.
                    executor::run(poll_fn(|context| Poll::Ready(work.as_mut().poll(context).is_ready())));
                    return Delivery::Done;
                }
                // The work may wait; the executor lets the clock run meanwhile.
                match executor::run(executor::before(crate::time::Instant(deadline), work)) {
                    Ok(()) => Delivery::Done,
                    Err(_) => Delivery::TooLate,
                }
            });
            if matches!(fault, Some(Fault::DiesDuring | Fault::DiesAfter)) {
                self.forwarded.borrow_mut().remove(&token.0);
                served.die();
                return Delivery::Died;
            }
            if outcome != Delivery::Done {
                return outcome;
            }
            let next = self.forwarded.borrow_mut().remove(&token.0);
            let Some(next) = next.and_then(|endpoint| self.entrance(endpoint)) else {
                return Delivery::Done;
            };
            served = next.served;
            badge = next.badge.unwrap_or(FORWARDER_BADGE);
            info = MessageInfo::new(info.label(), info.words() as u8).with_leases(info.leases() as u8);
        }
    }

    fn forward(&self, token: u64, endpoint: u64) -> Result<(), Error> {
        let interface = *self.called.borrow().get(&token).ok_or(Error::CallerGone)?;
        let entrance = self.entrance(endpoint).ok_or(Error::StaleHandle)?;
        if entrance.served.service().interface() != interface {
            return Err(Error::WrongInterface);
        }
        if self.forwarded.borrow_mut().insert(token, endpoint).is_some() {
            return Err(Error::CallerGone);
        }
        Ok(())
    }

    fn reply(&self, token: u64, info: u64, words: &Words) -> Results {
        let info = MessageInfo(info);
        let mut all: Vec<u64> = words.to_vec();
        let caps = with_buffer(|buffer| {
            all.extend_from_slice(&buffer.words[REGISTER_WORDS..]);
            buffer.caps_out[..info.caps().min(MAX_CAPS)].to_vec()
        });
        all.truncate(info.words());
        self.settle(token, Reply { label: info.label(), words: all, caps, fault: None })
    }

    /// Ends a call, if somebody waits for its answer.
    fn settle(&self, token: u64, reply: Reply) -> Results {
        let is_queued = self.waiting.borrow_mut().remove(&token);
        let is_called = self.called.borrow().contains_key(&token) && !self.replies.borrow().contains_key(&token);
        if !is_queued && !is_called {
            self.late_answers.set(self.late_answers.get() + 1);
            return refusal(Error::CallerGone);
        }
        self.replies.borrow_mut().insert(token, reply);
        values(0, 0, 0, 0)
    }

    fn receive(&self, deadline: u64, words: &mut Words) -> Results {
        let bits = self.bits.take();
        if bits != 0 {
            return values(RECEIVED_BITS, bits, 0, 0);
        }
        if let Some((token, call)) = self.queue.borrow_mut().pop_front() {
            *words = [0; REGISTER_WORDS];
            for (register, word) in words.iter_mut().zip(&call.words) {
                *register = *word;
            }
            with_buffer(|buffer| {
                for (place, word) in buffer.words.iter_mut().zip(&call.words).skip(REGISTER_WORDS) {
                    *place = *word;
                }
            });
            let info = MessageInfo::new(call.label, call.words.len() as u8);
            return values(RECEIVED_MESSAGE, call.badge, info.0, token.0);
        }
        assert_ne!(deadline, abi::time::NEVER, "the thread would wait for ever");
        self.clock.set(self.clock.get().max(moment(deadline, self.clock.get())));
        refusal(Error::TimedOut)
    }

    fn lease(&self, token: u64, index: u64) -> Result<Lease, Error> {
        let leases = self.leases.borrow();
        let leases = match leases.get(&token) {
            Some(leases) => leases.as_slice(),
            None if self.waiting.borrow().contains(&token) => &[],
            None => return Err(Error::CallerGone),
        };
        leases.get(index as usize).copied().ok_or(Error::BadLease)
    }

    /// Copies between a lease and the server's memory, as many bytes as the kernel would at once.
    fn copy(&self, arguments: [u64; 6], to_server: bool) -> Result<Results, Error> {
        let [token, index, offset, address, length, _] = arguments;
        let lease = self.lease(token, index)?;
        let needed = if to_server { Lease::READ } else { Lease::WRITE };
        let end = offset.checked_add(length).ok_or(Error::BadLease)?;
        if lease.length_and_access & needed == 0 || end > lease.length() {
            return Err(Error::BadLease);
        }
        if lease.address == 0 && length > 0 {
            return Err(Error::BadAddress);
        }
        let length = length.min(MAX_LEASE_COPY);
        let client = lease.address + offset;
        let (from, to) = if to_server { (client, address) } else { (address, client) };
        // SAFETY: the lease was made of a borrow that lasts until the call returns, which is only after it was taken out
        // of `leases`; the other address is what a caller of `LeaseRead` or `LeaseWrite` has vouched for.
        unsafe { core::ptr::copy(from as *const u8, to as *mut u8, length as usize) };
        Ok(values(length, 0, 0, 0))
    }
}

/// What `body` makes of the thread's message buffer.
pub(super) fn with_buffer<R>(body: impl FnOnce(&mut abi::message::MessageBuffer) -> R) -> R {
    let buffer = thread::current().buffer().expect("every thread on the host has one");
    // SAFETY: within a system call the buffer is the kernel's, which this is.
    body(unsafe { &mut *buffer })
}

impl Kernel for Loopback {
    fn as_loopback(self: Rc<Self>) -> Option<Rc<Loopback>> {
        Some(self)
    }

    fn enter(&self, call: Syscall, arguments: [u64; 6], words: &mut Words) -> Results {
        match call {
            Syscall::Call => self.call(arguments, words),
            Syscall::Reply => self.reply(arguments[0], arguments[1], words),
            Syscall::Receive => self.receive(arguments[2], words),
            Syscall::ReplyReceive => {
                self.reply(arguments[3], arguments[1], words);
                self.receive(arguments[2], words)
            }
            Syscall::ReplyFault => {
                let reply = Reply { label: 0, words: Vec::new(), caps: Vec::new(), fault: Some(arguments[1]) };
                self.settle(arguments[0], reply)
            }
            Syscall::Forward => match self.forward(arguments[0], arguments[1]) {
                Ok(()) => values(0, 0, 0, 0),
                Err(error) => refusal(error),
            },
            Syscall::LeaseInfo => match self.lease(arguments[0], arguments[1]) {
                Ok(lease) => values(lease.length_and_access, 0, 0, 0),
                Err(error) => refusal(error),
            },
            Syscall::LeaseRead => self.copy(arguments, true).unwrap_or_else(refusal),
            Syscall::LeaseWrite => self.copy(arguments, false).unwrap_or_else(refusal),
            Syscall::CapInfo => match self.kinds.borrow().get(&arguments[0]) {
                Some(kind) => values(*kind as u64, 0xffff, 0, 0),
                None => refusal(Error::StaleHandle),
            },
            Syscall::CapDelete => {
                self.deleted.borrow_mut().push(arguments[0]);
                values(0, 0, 0, 0)
            }
            // There is one notification, the thread's own, whatever it is called.
            Syscall::Notify => {
                self.post(arguments[1]);
                values(0, 0, 0, 0)
            }
            Syscall::Clock => values(self.clock.get(), 0, 0, 0),
            Syscall::Wait if arguments[0] == 0 => {
                self.clock.set(self.clock.get().max(moment(arguments[1], self.clock.get())));
                refusal(Error::TimedOut)
            }
            _ => refusal(Error::UnknownSyscall),
        }
    }
}
