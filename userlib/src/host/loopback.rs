//! A double of the kernel in which client and server are the same thread.

use super::{Kernel, refusal, values};
use crate::executor;
use crate::ipc::Incoming;
use crate::ipc::server::Service;
use crate::sys::{Results, Words};
use crate::thread;
use abi::message::{CallerToken, Lease, MAX_CAPS, MAX_LEASE_COPY, MAX_LEASES, MAX_WORDS, MessageInfo, REGISTER_WORDS};
use abi::rights::Kind;
use abi::syscall::{RECEIVED_BITS, RECEIVED_MESSAGE};
use abi::time::moment;
use abi::{Error, Handle, Syscall};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::vec::Vec;

/// Badge of calls as their clients make them.
const DIRECT_BADGE: u64 = 1;
/// Badge of calls that a server has passed on.
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

/// The double. Its clock stands still but when somebody waits.
#[derive(Default)]
pub struct Loopback {
    services: RefCell<HashMap<u64, Rc<dyn Service>>>,
    kinds: RefCell<HashMap<u64, Kind>>,
    deleted: RefCell<Vec<u64>>,
    leases: RefCell<HashMap<u64, Vec<Lease>>>,
    replies: RefCell<HashMap<u64, Reply>>,
    /// Where calls were passed on to.
    forwarded: RefCell<HashMap<u64, u64>>,
    /// The interface of each call that is under way.
    called: RefCell<HashMap<u64, u64>>,
    queue: RefCell<VecDeque<(CallerToken, QueuedCall)>>,
    bits: Cell<u64>,
    clock: Cell<u64>,
    calls: Cell<u64>,
    deaths: Cell<u32>,
}

impl Loopback {
    /// A double in which nothing is served yet.
    pub fn new() -> Rc<Self> {
        Rc::new(Self::default())
    }

    /// Calls to `endpoint` go to `service` at once: badge 1, or 2 if another server passes them on.
    pub fn serve(&self, endpoint: Handle, service: impl Service + 'static) {
        self.services.borrow_mut().insert(endpoint.0, Rc::new(service));
    }

    /// Lets a capability of this kind exist under `handle`.
    pub fn add_cap(&self, handle: Handle, kind: Kind) {
        self.kinds.borrow_mut().insert(handle.0, kind);
    }

    /// Handles that were deleted so far.
    pub fn deleted(&self) -> Vec<u64> {
        self.deleted.borrow().clone()
    }

    /// The next `count` calls meet a server that dies.
    pub fn kill_server(&self, count: u32) {
        self.deaths.set(count);
    }

    /// How many deaths of [`Loopback::kill_server`] are still to come.
    pub fn deaths_left(&self) -> u32 {
        self.deaths.get()
    }

    /// Queues a call for whoever receives next; the token tells its reply.
    pub fn queue(&self, call: QueuedCall) -> CallerToken {
        let token = self.next_token();
        self.queue.borrow_mut().push_back((token, call));
        token
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
        let service = self.services.borrow().get(&endpoint).cloned();
        let Some(service) = service else {
            return refusal(Error::StaleHandle);
        };
        if service.interface() != interface {
            return refusal(Error::WrongInterface);
        }
        if info.caps() > usize::from(service.accepts_caps()) {
            return refusal(Error::NoReceiveSlots);
        }
        if self.deaths.get() > 0 {
            self.deaths.set(self.deaths.get() - 1);
            return refusal(Error::PeerDied);
        }
        let token = self.next_token();
        let leases = with_buffer(|buffer| {
            buffer.caps_in = buffer.caps_out;
            buffer.leases[..info.leases().min(MAX_LEASES)].to_vec()
        });
        self.leases.borrow_mut().insert(token.0, leases);
        self.called.borrow_mut().insert(token.0, interface);
        let in_time = self.deliver(service, info, deadline, token, words);
        self.leases.borrow_mut().remove(&token.0);
        self.called.borrow_mut().remove(&token.0);
        if !in_time {
            return refusal(Error::TimedOut);
        }
        let Some(reply) = self.take_reply(token) else {
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

    /// Has a call worked on by a service, and by those to which it is passed on. Tells whether they were done in time.
    fn deliver(
        &self,
        mut service: Rc<dyn Service>,
        mut info: MessageInfo,
        deadline: u64,
        token: CallerToken,
        words: &Words,
    ) -> bool {
        let sent = with_buffer(|buffer| buffer.words);
        let mut badge = DIRECT_BADGE;
        loop {
            // Whoever worked on it before has used the same buffer.
            with_buffer(|buffer| buffer.words = sent);
            let mut store = [0; MAX_WORDS];
            let call = Incoming::gather(badge, info, token, words, &mut store);
            if let Some(work) = service.dispatch(call) {
                // The work may wait; the executor lets the clock run meanwhile.
                let outcome = executor::run(executor::before(crate::time::Instant(deadline), work));
                if outcome.is_err() {
                    return false;
                }
            }
            let next = self.forwarded.borrow_mut().remove(&token.0);
            let Some(next) = next.and_then(|endpoint| self.services.borrow().get(&endpoint).cloned()) else {
                return true;
            };
            service = next;
            badge = FORWARDER_BADGE;
            info = MessageInfo::new(info.label(), info.words() as u8).with_leases(info.leases() as u8);
        }
    }

    fn forward(&self, token: u64, endpoint: u64) -> Result<(), Error> {
        let interface = *self.called.borrow().get(&token).ok_or(Error::CallerGone)?;
        let services = self.services.borrow();
        let service = services.get(&endpoint).ok_or(Error::StaleHandle)?;
        if service.interface() != interface {
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
        let reply = Reply { label: info.label(), words: all, caps, fault: None };
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
        let leases = leases.get(&token).ok_or(Error::CallerGone)?;
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
        let length = length.min(MAX_LEASE_COPY);
        let client = lease.address + offset;
        let (from, to) = if to_server { (client, address) } else { (address, client) };
        // SAFETY: the lease was made of a borrow that lasts until the call returns, which is only after it was taken out
        // of `leases`; the other address is what a caller of `LeaseRead` or `LeaseWrite` has vouched for.
        unsafe { core::ptr::copy(from as *const u8, to as *mut u8, length as usize) };
        Ok(values(length, 0, 0, 0))
    }
}

fn with_buffer<R>(body: impl FnOnce(&mut abi::message::MessageBuffer) -> R) -> R {
    let buffer = thread::current().buffer().expect("every thread on the host has one");
    // SAFETY: within a system call the buffer is the kernel's, which this is.
    body(unsafe { &mut *buffer })
}

impl Kernel for Loopback {
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
                self.replies.borrow_mut().insert(arguments[0], reply);
                values(0, 0, 0, 0)
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
            Syscall::Clock => values(self.clock.get(), 0, 0, 0),
            Syscall::Wait if arguments[0] == 0 => {
                self.clock.set(self.clock.get().max(moment(arguments[1], self.clock.get())));
                refusal(Error::TimedOut)
            }
            _ => refusal(Error::UnknownSyscall),
        }
    }
}
