//! Messages: calls, replies and leases, from values to registers and buffer and back.
//!
//! Most code never comes here: [`macro@crate::interface`] writes clients and servers from a trait. This is what it writes
//! them with.
//!
//! # How to write an interface
//!
//! 1. **A trait, with a name and a version.** Name and version are the interface's id, which the kernel compares on every
//!    call: raise the version when a client of the old one must not get through at all.
//! 2. **Errors in the words of the operation**: an enum with `#[derive(Value)]`, so that a client can match on it. What can
//!    go wrong between client and server is added by the macro ([`CallError`], [`RetriedError`]).
//! 3. **What is small travels by value**, in up to 120 words: numbers, enums and structures with `#[derive(Value)]`, a
//!    short [`Text`], a short [`List`] ([`Value`] has the whole table). Six words are registers and cost nothing; the rest
//!    is copied once.
//! 4. **What is large is lent**: `&[u8]`, `&mut [u8]`, `&str`, at most four of them. The server reads and writes it in
//!    pieces ([`ReadLease`], [`WriteLease`]) as long as the caller waits, and has to expect that it is shorter than it
//!    would like, not mapped, or gone.
//! 5. **Authority is passed as capabilities**, at most four: `Cap<Memory>` in the trait is a copy of the sender's, and an
//!    `Owned<Memory>` for whoever receives it. A capability of another kind never reaches the method.
//! 6. **`#[idempotent]`** says that doing it twice is the same as once. Only then is a call repeated when the server dies
//!    under it, and its caller gets [`RetriedError`]. A method that appends, counts or creates is not; its caller has to
//!    think about [`CallError::ServerDied`].
//! 7. **What lasts longer than a call** is named by a number that the server gives out, for the client's badge alone
//!    ([`Caller::badge`]), and that a new instance of the server does not know.
//!
//! ```
//! use userlib::cap::{Cap, Memory};
//! use userlib::ipc::{List, Text};
//! use userlib::{Value, interface};
//!
//! /// Why a picture was not drawn.
//! #[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
//! pub enum DrawError {
//!     /// The picture's memory is smaller than the picture.
//!     TooSmall,
//!     /// There is no font with that name.
//!     NoFont(Text<16>),
//! }
//!
//! /// A place in a picture, in pixels from its upper left corner.
//! #[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
//! pub struct Place {
//!     /// To the right.
//!     pub x: u32,
//!     /// Downwards.
//!     pub y: u32,
//! }
//!
//! /// Draws pictures.
//! #[interface(name = "draw", version = 1)]
//! pub trait Draw {
//!     /// Makes a picture in memory that the client has; returns its number.
//!     fn picture(memory: Cap<Memory>, corner: Place) -> Result<u64, DrawError>;
//!     /// Draws lines from each place to the next.
//!     #[idempotent]
//!     fn lines(picture: u64, places: List<Place, 16>) -> Result<(), DrawError>;
//!     /// Writes a text; returns where it ends.
//!     #[idempotent]
//!     fn text(picture: u64, font: Text<16>, at: Place, text: &str) -> Result<Place, DrawError>;
//!     /// Reads bytes of a picture; returns how many there were.
//!     #[idempotent]
//!     fn read(picture: u64, offset: usize, bytes: &mut [u8]) -> Result<usize, DrawError>;
//! }
//! ```
//!
//! `DrawServer` is the trait to implement, `DrawService` what [`crate::executor::serve`] takes, `DrawClient` what clients
//! have, and `DrawDouble` what tests put between both (`userlib::host::Double`).
//!
//! # What stays compatible
//!
//! A method's label is a hash of its name and of the [`shape`] of what it takes and gives. Methods can be added and
//! reordered, arguments and types renamed. Anything else makes it another method: a client of the old one is told that the
//! server does not understand it ([`CallError::NotUnderstood`]), and never gets a structure that it misreads. The same
//! holds for an enum that gets a variant: nobody gets one that it does not know.

pub mod client;
pub mod declaration;
pub mod server;
pub mod shape;
pub mod value;

pub use client::{CallError, Connection, RetriedError};
pub use server::{Caller, Client, Incoming, LeaseError, ReadLease, Service, WriteLease};
pub use value::{Decoder, Encoder, List, Malformed, ReceivedCaps, Text, Value};

use crate::cap::{Cap, Endpoint};
use crate::message_log;
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
    /// The client has as many calls under way as the server lets it have.
    pub const BUSY: u32 = 4;
    /// The last of them.
    pub const LAST: u32 = BUSY;
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
    /// Words of its arguments.
    pub words: usize,
    /// The most capabilities of its arguments.
    pub caps: usize,
    /// What it lends, in order.
    pub leases: &'static [LeaseKind],
}

/// How an argument is lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseKind {
    /// `&[u8]`: the server reads.
    ReadBytes,
    /// `&str`: the server reads, and it is text.
    ReadText,
    /// `&mut [u8]`: the server writes.
    WriteBytes,
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

/// The first words of a message, which travel in registers.
#[inline(always)]
pub(crate) fn registers(words: &[u64]) -> Words {
    // Not a copy of so many words: a call to copy a few costs more than they do.
    core::array::from_fn(|place| words.get(place).copied().unwrap_or(0))
}

#[inline(always)]
fn info(label: u32, words: &[u64], caps: &[Handle], leases: usize) -> MessageInfo {
    MessageInfo::new(label, words.len() as u8).with_caps(caps.len() as u8).with_leases(leases as u8)
}

/// What the kernel has put into the buffer beside a message: capabilities, and words from the seventh on.
#[inline]
pub(crate) fn take_buffer(info: MessageInfo, words: &mut [u64]) -> ReceivedCaps {
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
#[inline(always)]
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
    let noted = message_log::called(info, endpoint.handle().0);
    // SAFETY: the leases in the buffer, if `info` has any, are those of `request`, whose borrows outlive the call; they
    // are exclusive where the server may write.
    let outcome = unsafe { sys::call(endpoint.handle(), info, deadline.to_register(), interface, &mut words) };
    let reply = outcome.inspect_err(|error| noted.error(*error))?;
    noted.verdict(reply.label());
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
