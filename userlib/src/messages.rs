//! Messages by chance, for servers that have to bear them.
//!
//! Most are nearly right, so that they come past the dispatcher: the label of a method, as many words, capabilities and
//! leases as it takes, numbers that were in answers before. Some are not: other labels, counts, kinds and directions, memory
//! that is not mapped. The same seed makes the same messages.
//!
//! On the host a double's `fuzz` sends them (`userlib::host::fuzz`); in the machine a program may.

use crate::cap::{Cap, Endpoint};
use crate::ipc::{InterfaceInfo, LeaseKind, MethodInfo, registers, verdict};
use crate::random::Random;
use crate::time::Deadline;
use crate::{sys, thread};
use abi::message::{Lease, MAX_CAPS, MAX_LEASES, MAX_WORDS, MessageInfo, REGISTER_WORDS};
use abi::{Error, Handle};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// Lengths of leases at which something changes.
const LENGTHS: [usize; 8] = [0, 1, 7, 64, 4095, 4096, 4097, 70_000];
/// Words at which something changes.
const WORDS: [u64; 8] = [0, 1, 1 << 16, 1 << 32, u64::MAX, u64::MAX - 1, 1 << 63, (1 << 62) - 1];
/// Numbers out of answers that are kept.
const REMEMBERED: usize = 64;

/// A message, as its sender puts it together.
pub struct Message {
    /// The method that it is for, if the interface has one with its label.
    pub method: Option<&'static str>,
    label: u32,
    words: Vec<u64>,
    caps: Vec<Handle>,
    /// What is lent, with its access; without bytes it is memory that is not mapped.
    leases: Vec<(u64, Option<Vec<u8>>)>,
}

/// Makes messages.
pub struct Composer<'a> {
    /// Where chance comes from.
    pub random: Random,
    methods: Vec<MethodInfo>,
    texts: &'a [&'a str],
    caps: Vec<Handle>,
    remembered: Vec<u64>,
}

impl<'a> Composer<'a> {
    /// Messages for servers of `interface`, but none for its methods `without`. `texts` are texts that mean something to them,
    /// such as names; `caps` are what they are sent.
    pub fn new(
        interface: &InterfaceInfo,
        without: &[&str],
        seed: u64,
        texts: &'a [&'a str],
        caps: Vec<Handle>,
    ) -> Self {
        let methods = interface.methods.iter().filter(|method| !without.contains(&method.name)).copied().collect();
        Self { random: Random::new(seed), methods, texts, caps, remembered: Vec::new() }
    }

    /// The next one.
    pub fn message(&mut self) -> Message {
        let known = !self.methods.is_empty() && self.random.percent(96);
        let method = known.then(|| *self.random.one_of(&self.methods));
        let label = method.map_or_else(|| self.random.any() as u32, |method| method.label);
        let right = method.is_some() && self.random.percent(90);
        let (words, caps, leases) = match method {
            Some(method) if right => (method.words, method.caps, method.leases.len()),
            _ => {
                let most = if self.random.percent(20) { MAX_WORDS } else { 7 };
                (self.random.index(most + 1), self.random.index(MAX_CAPS + 1), self.random.index(MAX_LEASES + 1))
            }
        };
        let kinds = method.map_or(&[][..], |method| method.leases);
        let caps = if self.random.percent(80) { caps } else { self.random.index(caps + 1) };
        Message {
            method: method.map(|method| method.name),
            label,
            words: (0..words).map(|_| self.word()).collect(),
            caps: (0..caps).map(|_| *self.random.one_of(&self.caps)).collect(),
            leases: (0..leases).map(|index| self.lease(kinds.get(index).copied())).collect(),
        }
    }

    fn word(&mut self) -> u64 {
        match self.random.below(10) {
            0..=4 => self.random.below(4),
            5 => self.random.below(300),
            6 => *self.random.one_of(&WORDS),
            7 => self.random.any(),
            _ if !self.remembered.is_empty() => *self.random.one_of(&self.remembered),
            _ => 0,
        }
    }

    fn lease(&mut self, kind: Option<LeaseKind>) -> (u64, Option<Vec<u8>>) {
        let kind = match kind {
            Some(kind) if self.random.percent(95) => kind,
            _ => *self.random.one_of(&[LeaseKind::ReadBytes, LeaseKind::ReadText, LeaseKind::WriteBytes]),
        };
        let access = if kind == LeaseKind::WriteBytes { Lease::WRITE } else { Lease::READ };
        if self.random.percent(2) {
            return (access, None);
        }
        if kind == LeaseKind::ReadText && self.random.percent(80) {
            let mut text = String::new();
            if !self.texts.is_empty() {
                let known: &&str = self.random.one_of(self.texts);
                text.push_str(known);
            }
            if self.random.percent(10) {
                text.push_str(&"ä/".repeat(self.random.index(600)));
            }
            return (access, Some(text.into_bytes()));
        }
        let length = if self.random.percent(30) { *self.random.one_of(&LENGTHS) } else { self.random.index(100) };
        let byte = self.random.any() as u8;
        let mut bytes = vec![byte; length];
        for place in bytes.iter_mut().take(16) {
            *place = self.random.any() as u8;
        }
        (access, Some(bytes))
    }

    /// Puts words of an answer into later messages.
    pub fn remember(&mut self, words: &[u64]) {
        for &word in words {
            if self.remembered.len() < REMEMBERED {
                self.remembered.push(word);
            } else {
                let place = self.random.index(REMEMBERED);
                self.remembered[place] = word;
            }
        }
    }
}

/// How a call that made sense to the server, or did not, has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a value or an error of the method, in these words.
    Answered(Vec<u64>),
    /// The dispatcher has refused it, or the kernel has, because of what was sent.
    Refused,
    /// The server has blamed the caller for breaking the protocol.
    Blamed,
    /// There was no answer in time.
    TimedOut,
}

/// A call has ended in a way in which no sound server lets one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misconduct {
    /// The kernel says so.
    Kernel(Error),
    /// A reply with this label and so many words is none of those that dispatchers send.
    Reply(u32, usize),
}

impl fmt::Display for Misconduct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misconduct::Kernel(error) => write!(f, "the call ended with: {error}"),
            Misconduct::Reply(label, words) => write!(f, "the reply has the label {label} and {words} words"),
        }
    }
}

/// Sends a message and waits for what comes of it until `deadline`. Capabilities that come with an answer are deleted.
///
/// # Errors
/// [`Misconduct`], the server's or the kernel's.
///
/// # Panics
/// If the thread has no message buffer.
pub fn send(
    endpoint: Cap<Endpoint>,
    interface: u64,
    message: &mut Message,
    deadline: Deadline,
) -> Result<Ending, Misconduct> {
    let info = fill_buffer(message);
    let mut words = [0; MAX_WORDS];
    let mut first = registers(&message.words);
    // SAFETY: what is lent is the message's own memory, borrowed exclusively until the call returns, or not mapped.
    let outcome = unsafe { sys::call(endpoint.handle(), info, deadline.to_register(), interface, &mut first) };
    let reply = match outcome {
        Ok(reply) => reply,
        Err(Error::ProtocolFault) => return Ok(Ending::Blamed),
        Err(Error::TimedOut) => return Ok(Ending::TimedOut),
        // The sender's own fault, or the receiver has no room; without a capability it would be neither.
        Err(Error::NoReceiveSlots | Error::BadHandle | Error::StaleHandle) if !message.caps.is_empty() => {
            return Ok(Ending::Refused);
        }
        Err(error) => return Err(Misconduct::Kernel(error)),
    };
    words[..REGISTER_WORDS].copy_from_slice(&first);
    drop(crate::ipc::take_buffer(reply, &mut words));
    let words = &words[..reply.words().min(MAX_WORDS)];
    match reply.label() {
        verdict::OK | verdict::ERROR if message.method.is_some() => Ok(Ending::Answered(words.to_vec())),
        label if label > verdict::ERROR && label <= verdict::LAST && words.is_empty() => Ok(Ending::Refused),
        label => Err(Misconduct::Reply(label, words.len())),
    }
}

/// Puts what does not travel in registers into the thread's message buffer.
fn fill_buffer(message: &mut Message) -> MessageInfo {
    let buffer = thread::current().buffer().expect("a thread that calls has a message buffer");
    // SAFETY: the buffer is this thread's own page, which only the kernel touches beside it, and that only within system
    // calls.
    let buffer = unsafe { &mut *buffer };
    for (place, word) in buffer.words.iter_mut().zip(&message.words).skip(REGISTER_WORDS) {
        *place = *word;
    }
    for (place, cap) in buffer.caps_out.iter_mut().zip(&message.caps) {
        *place = cap.0;
    }
    for (place, (access, bytes)) in buffer.leases.iter_mut().zip(&mut message.leases) {
        *place = match bytes {
            Some(bytes) => {
                Lease { address: bytes.as_mut_ptr() as u64, length_and_access: bytes.len() as u64 | *access }
            }
            // Nothing is there.
            None => Lease { address: 0, length_and_access: 100 | *access },
        };
    }
    MessageInfo::new(message.label, message.words.len() as u8)
        .with_caps(message.caps.len() as u8)
        .with_leases(message.leases.len() as u8)
}

/// What became of the messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many calls each method has answered with a value or its own error.
    pub answered: BTreeMap<&'static str, u64>,
    /// How many the dispatcher has refused, because of the method or the arguments.
    pub refused: u64,
    /// How many callers were blamed for breaking the protocol.
    pub blamed: u64,
    /// How many got no answer in time, those included that had given up before.
    pub timed_out: u64,
}

impl Tally {
    /// Counts how a call has ended.
    pub fn note(&mut self, method: Option<&'static str>, ending: &Ending) {
        match ending {
            Ending::Answered(_) => *self.answered.entry(method.unwrap_or_default()).or_default() += 1,
            Ending::Refused => self.refused += 1,
            Ending::Blamed => self.blamed += 1,
            Ending::TimedOut => self.timed_out += 1,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answered: u64 = self.answered.values().sum();
        write!(
            f,
            "{answered} answered ({} methods), {} refused, {} blamed, {} timed out",
            self.answered.len(),
            self.refused,
            self.blamed,
            self.timed_out
        )
    }
}
