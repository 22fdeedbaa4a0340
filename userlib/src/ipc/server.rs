//! The serving side: incoming calls, leases, and replies that may come later.

use super::value::{Decoder, Encoder, Malformed, ReceivedCaps, Value};
use super::verdict;
use crate::cap::{Cap, Endpoint};
use crate::memory::SharedMemory;
use crate::session::ClientId;
use crate::sys;
use crate::{executor, thread};
use abi::message::{CallerToken, Lease, MAX_LEASE_COPY, MAX_WORDS, MessageInfo, REGISTER_WORDS};
use abi::{Error, Syscall};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use core::convert::Infallible;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::Poll;

/// The rest of the work on a call.
pub type Work = Pin<Box<dyn Future<Output = ()>>>;

/// Something that answers calls; the macro writes it for the server of an interface.
pub trait Service {
    /// Id of the interface that it serves.
    fn interface(&self) -> u64;
    /// The most capabilities that come with one of its calls.
    fn accepts_caps(&self) -> u8;
    /// Begins the work on a call: takes the arguments out of the message, and leaves the rest to the returned future.
    /// A message that makes no sense is answered at once and there is no more work.
    fn dispatch(&self, call: &mut Incoming<'_>) -> Option<Work>;
}

/// A typed client, as something to pass a call on to; [`macro@crate::interface`] implements it.
pub trait Client {
    /// The endpoint that it calls.
    fn endpoint(&self) -> Cap<Endpoint>;
}

/// A call as it was received. Its words stay good until the thread's next system call with a message.
#[derive(Debug)]
pub struct Incoming<'a> {
    caller: Caller,
    info: MessageInfo,
    words: &'a [u64],
    caps: ReceivedCaps,
}

/// Room for the words of one message.
pub(crate) type WordStore = [u64; MAX_WORDS];

impl<'a> Incoming<'a> {
    /// Gathers a received message; `store` is where its words come to lie.
    pub(crate) fn gather(
        badge: u64,
        info: MessageInfo,
        token: CallerToken,
        registers: &sys::Words,
        store: &'a mut WordStore,
    ) -> Self {
        store[..REGISTER_WORDS].copy_from_slice(registers);
        let caps = super::take_buffer(info, store);
        Self { caller: Caller::new(badge, token), info, words: &store[..info.words().min(MAX_WORDS)], caps }
    }

    /// Who calls.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Who calls, for the work on the call, which outlives the message.
    pub fn for_later(&self) -> Caller {
        Caller::new(self.caller.badge, self.caller.token)
    }

    /// The method.
    pub fn label(&self) -> u32 {
        self.info.label()
    }

    /// How many leases came with the call.
    pub fn leases(&self) -> usize {
        self.info.leases()
    }

    /// Takes the arguments: `leases` of them are leases, the others are values that `take` reads.
    ///
    /// # Errors
    /// [`Malformed`] if there is anything missing, wrong, or left over.
    pub fn arguments<T>(
        &mut self,
        leases: usize,
        take: impl FnOnce(&mut Decoder<'_>) -> Result<T, Malformed>,
    ) -> Result<T, Malformed> {
        if self.info.leases() != leases {
            return Err(Malformed);
        }
        let mut input = Decoder::new(self.words, &mut self.caps);
        let arguments = take(&mut input)?;
        input.finish()?;
        Ok(arguments)
    }

    /// Answers that the server knows no such method.
    pub fn refuse_method(&self) {
        self.refuse(verdict::UNKNOWN_METHOD);
    }

    /// Answers that the arguments make no sense.
    pub fn refuse_arguments(&self) {
        self.refuse(verdict::MALFORMED);
    }

    /// Answers that the client has as many calls under way as it may.
    pub fn refuse_for_now(&self) {
        self.refuse(verdict::BUSY);
    }

    #[cold]
    fn refuse(&self, label: u32) {
        // A caller that is gone needs no answer.
        let _ = super::reply(self.caller.token, label, &[], &[]);
    }
}

/// Who called, as the kernel vouches for it.
#[derive(Debug)]
pub struct Caller {
    badge: u64,
    token: CallerToken,
    /// Whether the call is not this server's to answer any more.
    settled: Cell<bool>,
}

impl Caller {
    /// Names a call that was received by hand.
    pub const fn new(badge: u64, token: CallerToken) -> Self {
        Self { badge, token, settled: Cell::new(false) }
    }

    /// Which client this is: the number of its domain, whichever life of it. [`Caller::client`] tells lives apart.
    pub const fn badge(&self) -> u64 {
        self.client().domain() as u64
    }

    /// Which life of which client this is, as the badge of the capability tells that was called.
    pub const fn client(&self) -> ClientId {
        ClientId::from_badge(self.badge)
    }

    /// Names this call.
    pub const fn token(&self) -> CallerToken {
        self.token
    }

    /// Whether somebody waits for the answer. Work that takes long without waiting for anything asks this now and then;
    /// where it waits, the executor drops it by itself ([`crate::executor::calls`]).
    pub fn is_waiting(&self) -> bool {
        !self.settled.get() && is_waiting(self.token)
    }

    /// Blames the caller for breaking the protocol: it gets a fault instead of an answer. The work on the call ends when
    /// its method waits or returns.
    ///
    /// # Errors
    /// `CallerGone`.
    pub fn fault(&self, code: u64) -> Result<(), Error> {
        // SAFETY: `ReplyFault` touches no memory.
        unsafe { sys::plain(Syscall::ReplyFault, [self.token.0, code, 0, 0, 0, 0]) }.value()?;
        self.settled.set(true);
        Ok(())
    }

    /// Passes the call on, with its arguments and what it lends: the other server sees a call of its own client, under
    /// the badge of *this* server's capability, and answers in this one's place. The work on the call ends here, so
    /// that nothing comes back but the reason why it could not be passed on; the call is then still to be answered.
    ///
    /// Capabilities that came with the call stay here: a method that takes any cannot be passed on.
    ///
    /// # Errors
    /// `CallerGone` if the caller waits no longer; `WrongInterface` if the client is for another interface than the one
    /// that was called; `WrongDirection` if its server is not below this one.
    pub async fn forward(&self, to: &impl Client) -> Result<Infallible, Error> {
        let arguments = [self.token.0, to.endpoint().handle().0, 0, 0, 0, 0];
        // SAFETY: `Forward` touches no memory.
        unsafe { sys::plain(Syscall::Forward, arguments) }.value()?;
        self.settled.set(true);
        // `work_on` lets go of whoever waits here.
        core::future::pending().await
    }

    /// Carries out a method on this call until it is done, or until the call is not this server's any more: then what
    /// the method still wanted to do is dropped, and there is nothing to answer.
    pub async fn work_on<T>(&self, method: impl Future<Output = T>) -> Option<T> {
        let mut method = pin!(method);
        poll_fn(|context| match method.as_mut().poll(context) {
            _ if self.settled.get() => Poll::Ready(None),
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Sends the answer. A caller that is gone by now needs none.
    pub fn answer<T: Value, E: Value>(&self, outcome: &Result<T, E>) {
        // Most answers are small; none is larger than a message, which the macro has checked.
        if const { T::WORDS <= REGISTER_WORDS && E::WORDS <= REGISTER_WORDS } {
            self.answer_from(&mut [0; REGISTER_WORDS], outcome);
        } else {
            self.answer_from(&mut [0; MAX_WORDS], outcome);
        }
    }

    fn answer_from<T: Value, E: Value>(&self, words: &mut [u64], outcome: &Result<T, E>) {
        let mut out = Encoder::new(words);
        let label = match outcome {
            Ok(value) => {
                value.encode(&mut out);
                verdict::OK
            }
            Err(error) => {
                error.encode(&mut out);
                verdict::ERROR
            }
        };
        let (words, caps) = out.parts();
        if words.len() <= REGISTER_WORDS && caps.is_empty() {
            // It may leave together with the wait for the next call.
            executor::reply_soon(self.token, label, words);
            return;
        }
        if let Err(error) = super::reply(self.token, label, words, caps)
            && error != Error::CallerGone
        {
            // A capability could not be sent: the caller must not wait for ever.
            log::warn!("a reply was refused: {error}");
            let _ = super::reply(self.token, verdict::MALFORMED, &[], &[]);
        }
    }
}

/// Whether the caller of a call that was received waits for its answer.
pub(crate) fn is_waiting(token: CallerToken) -> bool {
    // Whether it has lent anything does not matter.
    // SAFETY: `LeaseInfo` touches no memory.
    unsafe { sys::plain(Syscall::LeaseInfo, [token.0, 0, 0, 0, 0, 0]) }.value() != Err(Error::CallerGone)
}

/// A service whose calls are worked on to their end, even if nobody waits for the answer any more: one that would be left
/// in an unsound state by work that ends where it waits.
#[derive(Debug)]
pub struct Uninterrupted<S>(S);

impl<S: Service> Uninterrupted<S> {
    /// The same service; what it begins, it ends.
    pub const fn new(service: S) -> Self {
        Self(service)
    }
}

impl<S: Service> Service for Uninterrupted<S> {
    fn interface(&self) -> u64 {
        self.0.interface()
    }

    fn accepts_caps(&self) -> u8 {
        self.0.accepts_caps()
    }

    fn dispatch(&self, call: &mut Incoming<'_>) -> Option<Work> {
        self.0.dispatch(call).map(|rest| work(executor::to_the_end(rest)))
    }
}

/// Why a lease could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseError {
    /// The caller is gone, and with it what it lent.
    CallerGone,
    /// The access lies outside of what was lent, or the other direction was lent.
    OutOfRange,
    /// The caller has lent memory that it has not mapped.
    NotMapped,
    /// The text that was lent is no UTF-8 or longer than it may be.
    BadText,
    /// The kernel refused for another reason.
    Refused(Error),
}

impl fmt::Display for LeaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeaseError::CallerGone => f.write_str("the caller is gone"),
            LeaseError::OutOfRange => f.write_str("the access lies outside of the lease"),
            LeaseError::NotMapped => f.write_str("the lent memory is not mapped"),
            LeaseError::BadText => f.write_str("the lent text is no UTF-8 or too long"),
            LeaseError::Refused(error) => write!(f, "the kernel refused the copy: {error}"),
        }
    }
}

impl core::error::Error for LeaseError {}

impl From<Error> for LeaseError {
    fn from(error: Error) -> Self {
        match error {
            Error::CallerGone => LeaseError::CallerGone,
            Error::BadLease => LeaseError::OutOfRange,
            Error::BadAddress => LeaseError::NotMapped,
            error => LeaseError::Refused(error),
        }
    }
}

/// One lease of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LeaseHandle {
    token: CallerToken,
    index: u8,
}

impl LeaseHandle {
    fn length(self) -> Result<usize, LeaseError> {
        let arguments = [self.token.0, self.index.into(), 0, 0, 0, 0];
        // SAFETY: `LeaseInfo` touches no memory.
        let results = unsafe { sys::plain(Syscall::LeaseInfo, arguments) };
        // The access bits make the value negative as a number, so that only the error codes themselves are errors.
        Ok((results.value()? & Lease::LENGTH) as usize)
    }

    /// Copies piece by piece between the lease, from `offset` on, and one's own memory at `address`.
    ///
    /// # Safety
    /// `address .. address + length` is the caller's to be read (`LeaseWrite`) or written (`LeaseRead`).
    unsafe fn copy(
        self,
        direction: Syscall,
        mut offset: u64,
        mut address: u64,
        mut length: u64,
    ) -> Result<(), LeaseError> {
        while length > 0 {
            let piece = length.min(MAX_LEASE_COPY);
            let arguments = [self.token.0, self.index.into(), offset, address, piece, 0];
            // SAFETY: the piece lies in the range that the caller has promised.
            let copied = unsafe { sys::plain(direction, arguments) }.value()?;
            if copied == 0 || copied > piece {
                return Err(LeaseError::OutOfRange);
            }
            offset += copied;
            address += copied;
            length -= copied;
        }
        Ok(())
    }
}

/// Memory that the caller has lent for reading (`&[u8]` or `&str` in the interface).
#[derive(Debug)]
pub struct ReadLease(LeaseHandle);

impl ReadLease {
    /// Lease `index` of a call.
    pub const fn new(caller: &Caller, index: u8) -> Self {
        Self(LeaseHandle { token: caller.token, index })
    }

    /// Length in bytes.
    ///
    /// # Errors
    /// [`LeaseError::CallerGone`].
    pub fn length(&self) -> Result<usize, LeaseError> {
        self.0.length()
    }

    /// Copies `bytes.len()` bytes from `offset` on.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), LeaseError> {
        let address = bytes.as_mut_ptr() as u64;
        // SAFETY: exactly `bytes` is written.
        unsafe { self.0.copy(Syscall::LeaseRead, offset as u64, address, bytes.len() as u64) }
    }

    /// Copies `range.len()` bytes from `offset` on into shared memory.
    ///
    /// # Errors
    /// [`LeaseError`]; `OutOfRange` also if `range` is not all in `memory`.
    pub fn read_to_shared(
        &self,
        offset: usize,
        memory: SharedMemory<'_>,
        range: core::ops::Range<usize>,
    ) -> Result<(), LeaseError> {
        let part = memory.part(range).ok_or(LeaseError::OutOfRange)?;
        // SAFETY: shared memory may be written at any time, by anybody who has it; the range lies in it.
        unsafe { self.0.copy(Syscall::LeaseRead, offset as u64, part.address(), part.len() as u64) }
    }

    /// The whole contents, at most `limit` bytes.
    ///
    /// # Errors
    /// [`LeaseError`]; `OutOfRange` if it is longer.
    pub fn to_vec(&self, limit: usize) -> Result<Vec<u8>, LeaseError> {
        let length = self.length()?;
        if length > limit {
            return Err(LeaseError::OutOfRange);
        }
        let mut bytes = vec![0; length];
        self.read(0, &mut bytes)?;
        Ok(bytes)
    }

    /// The whole contents as text of at most `limit` bytes.
    ///
    /// # Errors
    /// [`LeaseError`]; `BadText` if it is longer or no UTF-8.
    pub fn to_text(&self, limit: usize) -> Result<String, LeaseError> {
        match self.to_vec(limit) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| LeaseError::BadText),
            Err(LeaseError::OutOfRange) => Err(LeaseError::BadText),
            Err(error) => Err(error),
        }
    }
}

/// Memory that the caller has lent for writing (`&mut [u8]` in the interface).
#[derive(Debug)]
pub struct WriteLease(LeaseHandle);

impl WriteLease {
    /// Lease `index` of a call.
    pub const fn new(caller: &Caller, index: u8) -> Self {
        Self(LeaseHandle { token: caller.token, index })
    }

    /// Length in bytes.
    ///
    /// # Errors
    /// [`LeaseError::CallerGone`].
    pub fn length(&self) -> Result<usize, LeaseError> {
        self.0.length()
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), LeaseError> {
        let address = bytes.as_ptr() as u64;
        // SAFETY: exactly `bytes` is read.
        unsafe { self.0.copy(Syscall::LeaseWrite, offset as u64, address, bytes.len() as u64) }
    }

    /// Copies a range of shared memory to `offset`.
    ///
    /// # Errors
    /// [`LeaseError`]; `OutOfRange` also if `range` is not all in `memory`.
    pub fn write_from_shared(
        &self,
        offset: usize,
        memory: SharedMemory<'_>,
        range: core::ops::Range<usize>,
    ) -> Result<(), LeaseError> {
        let part = memory.part(range).ok_or(LeaseError::OutOfRange)?;
        // SAFETY: the kernel copies the bytes as they are at that moment; the range lies in the shared memory.
        unsafe { self.0.copy(Syscall::LeaseWrite, offset as u64, part.address(), part.len() as u64) }
    }
}

/// A server that several calls use at once.
pub type Shared<S> = Rc<S>;

/// Boxes the rest of the work on a call, for dispatchers in crates that have no allocator of their own in scope.
pub fn work(future: impl Future<Output = ()> + 'static) -> Work {
    Box::pin(future)
}

/// Whether the calling thread can receive messages at all.
pub(crate) fn has_buffer() -> bool {
    thread::current().buffer().is_some()
}
