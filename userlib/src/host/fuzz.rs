//! Messages by chance against a server's dispatch, with its logic behind it.
//!
//! [`macro@crate::interface`] gives every double a method `fuzz`, so that a test of any server is
//!
//! ```ignore
//! #[test]
//! fn any_messages_to_greeter() {
//!     let double = GreeterDouble::restarting(Greeter::default);
//!     double.fuzz(&["world", ""], |client| assert_eq!(client.count(), Ok(0)));
//! }
//! ```
//!
//! Most messages are nearly right, so that they come past the dispatcher: the label of a method, as many words,
//! capabilities and leases as it takes, numbers that were in answers before. Some are not: other labels, counts, kinds and
//! directions, memory that is not mapped, clients of all badges, clients that are gone before they get their answer.
//!
//! A test named `any_messages_to_INTERFACE` is what `cargo xtask fuzz INTERFACE` runs, with as many messages and the seed
//! that it was given.

use super::{Double, Fault, Random, with_buffer};
use crate::cap::{Cap, Endpoint};
use crate::ipc::{InterfaceInfo, LeaseKind, MethodInfo, verdict};
use crate::sys::{self, Words};
use crate::time::{Deadline, Duration};
use abi::message::{Lease, MAX_CAPS, MAX_LEASES, MAX_WORDS, MessageInfo, REGISTER_WORDS};
use abi::rights::Kind;
use abi::{Error, Handle};
use std::collections::BTreeMap;
use std::string::String;
use std::vec::Vec;
use std::{env, eprintln, fmt, thread, vec};

/// How many messages, and from which seed they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// How many messages.
    pub messages: u64,
    /// The same seed makes the same messages.
    pub seed: u64,
}

impl Size {
    /// What every test run sends.
    pub const USUAL: Size = Size { messages: 20_000, seed: 1 };
    /// The variable of the environment that says another number of messages.
    pub const MESSAGES: &str = "BULKHEAD_FUZZ_MESSAGES";
    /// The variable of the environment that says another seed.
    pub const SEED: &str = "BULKHEAD_FUZZ_SEED";

    /// What the environment asks for: [`Size::USUAL`] where it says nothing.
    ///
    /// # Panics
    /// If it says something that is no number.
    pub fn asked_for() -> Self {
        let number = |name| {
            env::var(name)
                .ok()
                .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is {text}, which is no number")))
        };
        Self {
            messages: number(Self::MESSAGES).unwrap_or(Self::USUAL.messages),
            seed: number(Self::SEED).unwrap_or(Self::USUAL.seed),
        }
    }
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

/// Clients of a server under test; the last one has a badge of which every bit is set.
const BADGES: [u64; 6] = [1, 2, 3, 1000, 1 << 40, u64::MAX];
/// How long a client waits, in the time of the double.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many messages lie between two times that the server has to prove itself.
const PROOF_INTERVAL: u64 = 1000;
/// Lengths of leases at which something changes.
const LENGTHS: [usize; 8] = [0, 1, 7, 64, 4095, 4096, 4097, 70_000];
/// Words at which something changes.
const WORDS: [u64; 8] = [0, 1, 1 << 16, 1 << 32, u64::MAX, u64::MAX - 1, 1 << 63, (1 << 62) - 1];
/// Numbers out of answers that are kept.
const REMEMBERED: usize = 64;

/// Tells how far it had come when the server panicked.
struct Position {
    at: u64,
    size: Size,
    method: Option<&'static str>,
}

impl Drop for Position {
    fn drop(&mut self) {
        if thread::panicking() {
            let method = self.method.unwrap_or("no method of the interface");
            eprintln!("it was message {} ({method}) of {:?}", self.at, self.size);
        }
    }
}

/// A message, as its sender puts it together.
struct Message {
    label: u32,
    words: Vec<u64>,
    caps: Vec<u64>,
    /// What is lent, with its access; without bytes it is memory that is not mapped.
    leases: Vec<(u64, Option<Vec<u8>>)>,
}

/// Makes messages.
struct Composer<'a> {
    random: Random,
    methods: &'static [MethodInfo],
    texts: &'a [&'a str],
    caps: Vec<u64>,
    remembered: Vec<u64>,
}

impl Composer<'_> {
    fn message(&mut self) -> (Option<&'static str>, Message) {
        let method = (!self.methods.is_empty() && self.random.percent(96)).then(|| *self.random.one_of(self.methods));
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
        let message = Message {
            label,
            words: (0..words).map(|_| self.word()).collect(),
            caps: (0..caps).map(|_| *self.random.one_of(&self.caps)).collect(),
            leases: (0..leases).map(|index| self.lease(kinds.get(index).copied())).collect(),
        };
        (method.map(|method| method.name), message)
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

    fn remember(&mut self, words: &[u64]) {
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

/// Sends a message; the result is the reply's label and words.
fn send(endpoint: Cap<Endpoint>, interface: u64, message: &mut Message) -> Result<(u32, Vec<u64>), Error> {
    let mut registers: Words = [0; REGISTER_WORDS];
    for (register, word) in registers.iter_mut().zip(&message.words) {
        *register = *word;
    }
    with_buffer(|buffer| {
        for (place, word) in buffer.words.iter_mut().zip(&message.words).skip(REGISTER_WORDS) {
            *place = *word;
        }
        for (place, cap) in buffer.caps_out.iter_mut().zip(&message.caps) {
            *place = *cap;
        }
        for (place, (access, bytes)) in buffer.leases.iter_mut().zip(&mut message.leases) {
            *place = match bytes {
                Some(bytes) => {
                    Lease { address: bytes.as_mut_ptr() as u64, length_and_access: bytes.len() as u64 | *access }
                }
                // The double knows that nothing is there.
                None => Lease { address: 0, length_and_access: 100 | *access },
            };
        }
    });
    let info = MessageInfo::new(message.label, message.words.len() as u8)
        .with_caps(message.caps.len() as u8)
        .with_leases(message.leases.len() as u8);
    let deadline = Deadline::after(PATIENCE).to_register();
    // SAFETY: what is lent is the message's own memory, borrowed exclusively until the call returns, or not mapped.
    let reply = unsafe { sys::call(endpoint.handle(), info, deadline, interface, &mut registers) }?;
    let mut words = with_buffer(|buffer| buffer.words);
    words[..REGISTER_WORDS].copy_from_slice(&registers);
    Ok((reply.label(), words[..reply.words().min(MAX_WORDS)].to_vec()))
}

/// Sends messages to a double. `texts` are texts that mean something to the server, such as names; now and then `sound`
/// makes sure, by sound calls, that it still works.
///
/// # Panics
/// If the server panics, or `sound` does; if a call is not answered exactly once, or gets an answer that no server gives.
pub fn messages(
    double: &Double,
    interface: &InterfaceInfo,
    texts: &[&str],
    size: Size,
    mut sound: impl FnMut(),
) -> Tally {
    let kernel = double.kernel();
    let kinds = [Kind::Memory, Kind::Notification, Kind::Endpoint, Kind::Interrupt, Kind::Thread];
    let mut caps: Vec<u64> = Vec::new();
    for (index, kind) in (5000..).zip(kinds) {
        let handle = Handle::new(index, 1);
        kernel.add_cap(handle, kind);
        caps.push(handle.0);
    }
    // One that means nothing to the receiver.
    caps.push(Handle::new(4999, 1).0);
    let clients = BADGES.map(|badge| double.endpoint(badge));
    let mut composer =
        Composer { random: Random::new(size.seed), methods: interface.methods, texts, caps, remembered: Vec::new() };
    let mut tally = Tally::default();
    let mut position = Position { at: 0, size, method: None };
    sound();
    for at in 1..=size.messages {
        let (method, mut message) = composer.message();
        (position.at, position.method) = (at, method);
        let client = *composer.random.one_of(&clients);
        let gone = composer.random.percent(4);
        if gone {
            double.faults().plan(Fault::Late);
        }
        let (late, unanswered) = (kernel.late_answers(), kernel.unanswered());
        let outcome = send(client, interface.id, &mut message);
        // A message that the kernel refuses meets no fault.
        double.faults().clear();
        // A client that is gone can be told anything.
        assert!(gone || kernel.late_answers() == late, "a call was answered twice");
        assert_eq!(kernel.unanswered(), unanswered, "the work on a call has ended without an answer");
        match outcome {
            Ok((verdict::OK | verdict::ERROR, words)) => {
                composer.remember(&words);
                *tally.answered.entry(method.expect("only methods give answers")).or_default() += 1;
            }
            Ok((label, words)) => {
                assert!(label <= verdict::LAST && words.is_empty(), "no server answers like this: {label} {words:?}");
                tally.refused += 1;
            }
            Err(Error::ProtocolFault) => tally.blamed += 1,
            Err(Error::TimedOut) => tally.timed_out += 1,
            Err(Error::NoReceiveSlots) => tally.refused += 1,
            Err(error) => panic!("no server lets a call end like this: {error:?}"),
        }
        if at % PROOF_INTERVAL == 0 {
            sound();
        }
    }
    sound();
    eprintln!("{}: {} messages: {tally}", interface.name, size.messages);
    tally
}
