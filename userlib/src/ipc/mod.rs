//! Messages: calls, replies and leases, from values to registers and buffer and back.
//!
//! Most code never comes here: [`macro@crate::interface`] writes clients and servers from a trait. This is what it writes
//! them with.

pub mod client;
pub mod declaration;
pub mod server;
pub mod shape;
pub mod value;

pub use client::{CallError, Connection, RetriedError};
pub use server::{Caller, Client, Incoming, LeaseError, ReadLease, Service, WriteLease};
pub use value::{Decoder, Encoder, List, Malformed, ReceivedCaps, Text, Value};

use crate::cap::{Cap, Endpoint};
use crate::sys::{self, Words};
use crate::thread;
use crate::time::Deadline;
use abi::message::{CallerToken, Lease, MAX_CAPS, MAX_LEASES, MAX_WORDS, MessageBuffer, MessageInfo, REGISTER_WORDS};
use abi::{Error, Handle};

/// Labels of replies.
pub mod verdict {
    /// The method's value follows.
    pub const OK: u32 = 0;
    /// The method's own error follows.
    pub const ERROR: u32 = 1;
    /// The server has no method with this label.
    pub const UNKNOWN_METHOD: u32 = 2;
    /// The arguments make no sense to the server.
    pub const MALFORMED: u32 = 3;
}

/// What an interface is, as [`macro@crate::interface`] has made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceInfo {
    /// Its name.
    pub name: &'static str,
    /// Its major version.
    pub version: u16,
    /// What endpoints are typed by: a hash of name and version.
    pub id: u64,
    /// Its methods.
    pub methods: &'static [MethodInfo],
}

/// The id of the interface `name` in its major version `version`: the 64-bit FNV-1a hash of `name/version`. It is what
/// [`InterfaceInfo::id`] holds, for those who know an interface by its name only.
pub fn interface_id(name: &str, version: u16) -> u64 {
    let text = alloc::format!("{name}/{version}");
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// One method of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodInfo {
    /// Its name.
    pub name: &'static str,
    /// What stands for it in messages: a hash of its name and the shapes of its types ([`shape::label`]).
    pub label: u32,
}

/// A message buffer without contents.
pub const EMPTY_BUFFER: MessageBuffer = MessageBuffer {
    words: [0; MAX_WORDS],
    caps_out: [0; MAX_CAPS],
    caps_in: [0; MAX_CAPS],
    leases: [Lease { address: 0, length_and_access: 0 }; MAX_LEASES],
};

/// Memory that a call lends to the server until the reply.
#[derive(Debug)]
pub enum Lent<'a> {
    /// The server may read.
    Read(&'a [u8]),
    /// The server may write.
    Write(&'a mut [u8]),
}

impl Lent<'_> {
    fn lease(&mut self) -> Lease {
        let (address, length, access) = match self {
            Lent::Read(bytes) => (bytes.as_ptr() as u64, bytes.len(), Lease::READ),
            Lent::Write(bytes) => (bytes.as_mut_ptr() as u64, bytes.len(), Lease::WRITE),
        };
        Lease { address, length_and_access: length as u64 | access }
    }
}

/// A call to be made.
#[derive(Debug)]
pub struct Request<'a, 'b> {
    /// The method.
    pub label: u32,
    /// Its words.
    pub words: &'a [u64],
    /// Its capabilities.
    pub caps: &'a [Handle],
    /// What it lends.
    pub leases: &'a mut [Lent<'b>],
}

/// The answer to a call.
#[derive(Debug)]
pub struct Response {
    /// What became of the call: one of [`verdict`], or what the server chose.
    pub label: u32,
    /// How many words it has, all of which the kernel has delivered.
    pub words: usize,
    /// The capabilities that came with it.
    pub caps: ReceivedCaps,
}

/// Puts what does not fit into registers into the message buffer.
fn fill_buffer(words: &[u64], caps: &[Handle], leases: &mut [Lent<'_>]) -> Result<(), Error> {
    if words.len() > MAX_WORDS || caps.len() > MAX_CAPS || leases.len() > MAX_LEASES {
        return Err(Error::BadMessage);
    }
    let buffer = thread::current().buffer().ok_or(Error::NoBuffer)?;
    // SAFETY: the buffer is this thread's own page (`thread::enter`), which only the kernel touches beside it, and that
    // only within system calls.
    let buffer = unsafe { &mut *buffer };
    if words.len() > REGISTER_WORDS {
        buffer.words[REGISTER_WORDS..words.len()].copy_from_slice(&words[REGISTER_WORDS..]);
    }
    for (place, cap) in buffer.caps_out.iter_mut().zip(caps) {
        *place = cap.0;
    }
    for (place, lent) in buffer.leases.iter_mut().zip(leases) {
        *place = lent.lease();
    }
    Ok(())
}

fn registers(words: &[u64]) -> Words {
    let mut registers = [0; REGISTER_WORDS];
    for (register, word) in registers.iter_mut().zip(words) {
        *register = *word;
    }
    registers
}

fn info(label: u32, words: &[u64], caps: &[Handle], leases: usize) -> MessageInfo {
    MessageInfo::new(label, words.len() as u8).with_caps(caps.len() as u8).with_leases(leases as u8)
}

/// What the kernel has put into the buffer beside a message: capabilities, and words from the seventh on.
fn take_buffer(info: MessageInfo, words: &mut [u64]) -> ReceivedCaps {
    if info.words() <= REGISTER_WORDS && info.caps() == 0 {
        return ReceivedCaps::default();
    }
    let Some(buffer) = thread::current().buffer() else {
        return ReceivedCaps::default();
    };
    // SAFETY: as in `fill_buffer`.
    let buffer = unsafe { &*buffer };
    let end = info.words().min(words.len()).min(MAX_WORDS);
    if end > REGISTER_WORDS {
        words[REGISTER_WORDS..end].copy_from_slice(&buffer.words[REGISTER_WORDS..end]);
    }
    ReceivedCaps::new(buffer.caps_in, info.caps())
}

/// Calls `endpoint`, which serves `interface`, and waits for the answer. As much of the answer as fits goes into
/// `answer`.
///
/// # Errors
/// What the kernel refuses or reports: `WrongInterface`, `WrongDirection`, `TimedOut`, `PeerDied`, …
#[inline]
pub fn call(
    endpoint: Cap<Endpoint>,
    interface: u64,
    deadline: Deadline,
    request: &mut Request<'_, '_>,
    answer: &mut [u64],
) -> Result<Response, Error> {
    let info = info(request.label, request.words, request.caps, request.leases.len());
    if info.needs_buffer() {
        fill_buffer(request.words, request.caps, request.leases)?;
    }
    let mut words = registers(request.words);
    // SAFETY: the leases in the buffer, if `info` has any, are those of `request`, whose borrows outlive the call; they
    // are exclusive where the server may write.
    let reply = unsafe { sys::call(endpoint.handle(), info, deadline.to_register(), interface, &mut words) }?;
    for (place, word) in answer.iter_mut().zip(words) {
        *place = word;
    }
    let caps = take_buffer(reply, answer);
    Ok(Response { label: reply.label(), words: reply.words(), caps })
}

/// Answers a call.
///
/// # Errors
/// `CallerGone` if the caller no longer waits; `BadHandle` and the like if a capability cannot be sent.
pub fn reply(token: CallerToken, label: u32, words: &[u64], caps: &[Handle]) -> Result<(), Error> {
    let info = info(label, words, caps, 0);
    if info.needs_buffer() {
        fill_buffer(words, caps, &mut [])?;
    }
    sys::reply(token, info, &registers(words))
}
