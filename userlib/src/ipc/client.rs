//! The calling side: connections, and what can become of a call.

use super::{Malformed, Request, Response, verdict};
use crate::cap::{Cap, Endpoint, Owned};
use crate::time::{Deadline, Duration};
use abi::Error;
use core::fmt;

/// How long a call waits if nothing else was said.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// How often an idempotent call is made again after the server has died while it worked on it. There is no pause
/// between two attempts: the call waits at the endpoint until the next instance receives it.
pub const RETRIES: u32 = 8;

/// Why a call gave no value. Methods marked `#[idempotent]` have [`RetriedError`] instead.
///
/// There is no `_` in a good `match` over this: [`CallError::ServerDied`] leaves open whether anything was done, and only
/// the caller knows what to do about that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError<E> {
    /// The operation's own answer: it was understood and could not be done.
    Failed(E),
    /// The server died while it worked on the call. Whether it was carried out is not known, and it is not repeated:
    /// the next call goes to the server's next instance, so the caller can look there, or ask again if that does no harm.
    ServerDied,
    /// The deadline passed. Whether the call was carried out is not known.
    TimedOut,
    /// The server speaks the interface in another way than this client: it knows no such method, or took the arguments
    /// for nonsense, or its answer is nonsense.
    NotUnderstood,
    /// The server works on as many calls of this client as it does at once; nothing has happened.
    Busy,
    /// The kernel refused the call; nothing has happened.
    Refused(Error),
}

impl<E> CallError<E> {
    /// The same with another type for the operation's own error.
    pub fn map<F>(self, change: impl FnOnce(E) -> F) -> CallError<F> {
        match self {
            CallError::Failed(error) => CallError::Failed(change(error)),
            CallError::ServerDied => CallError::ServerDied,
            CallError::TimedOut => CallError::TimedOut,
            CallError::NotUnderstood => CallError::NotUnderstood,
            CallError::Busy => CallError::Busy,
            CallError::Refused(error) => CallError::Refused(error),
        }
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Failed(error) => error.fmt(f),
            CallError::ServerDied => f.write_str("the server died while it was working on the request"),
            CallError::TimedOut => f.write_str("the server did not answer in time"),
            CallError::NotUnderstood => f.write_str("client and server do not speak the same protocol"),
            CallError::Busy => f.write_str("the server is busy with other requests of this client"),
            CallError::Refused(error) => write!(f, "the kernel refused the call: {error}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for CallError<E> {}

impl<E> From<Error> for CallError<E> {
    #[inline]
    fn from(error: Error) -> Self {
        match error {
            Error::PeerDied => CallError::ServerDied,
            Error::TimedOut => CallError::TimedOut,
            error => CallError::Refused(error),
        }
    }
}

impl<E> From<Malformed> for CallError<E> {
    #[inline]
    fn from(_: Malformed) -> Self {
        CallError::NotUnderstood
    }
}

/// Why a call of a method marked `#[idempotent]` gave no value.
///
/// Whether a server died under the call or never came to it makes no difference here: the call was repeated, and may be
/// made again at any time. So there is no `ServerDied` that a caller would have to handle. `?` makes a [`CallError`] of it
/// where both sorts of method are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetriedError<E> {
    /// The operation's own answer: it was understood and could not be done.
    Failed(E),
    /// The server has died under the call and under each of its [`RETRIES`] repetitions.
    Unavailable,
    /// The deadline passed.
    TimedOut,
    /// The server speaks the interface in another way than this client: it knows no such method, or took the arguments
    /// for nonsense, or its answer is nonsense.
    NotUnderstood,
    /// The server works on as many calls of this client as it does at once; nothing has happened.
    Busy,
    /// The kernel refused the call; nothing has happened.
    Refused(Error),
}

impl<E> RetriedError<E> {
    /// The same with another type for the operation's own error.
    pub fn map<F>(self, change: impl FnOnce(E) -> F) -> RetriedError<F> {
        CallError::from(self).map(change).into()
    }
}

impl<E> From<RetriedError<E>> for CallError<E> {
    #[inline]
    fn from(error: RetriedError<E>) -> Self {
        match error {
            RetriedError::Failed(error) => CallError::Failed(error),
            RetriedError::Unavailable => CallError::ServerDied,
            RetriedError::TimedOut => CallError::TimedOut,
            RetriedError::NotUnderstood => CallError::NotUnderstood,
            RetriedError::Busy => CallError::Busy,
            RetriedError::Refused(error) => CallError::Refused(error),
        }
    }
}

impl<E> From<CallError<E>> for RetriedError<E> {
    #[inline]
    fn from(error: CallError<E>) -> Self {
        match error {
            CallError::Failed(error) => RetriedError::Failed(error),
            CallError::ServerDied => RetriedError::Unavailable,
            CallError::TimedOut => RetriedError::TimedOut,
            CallError::NotUnderstood => RetriedError::NotUnderstood,
            CallError::Busy => RetriedError::Busy,
            CallError::Refused(error) => RetriedError::Refused(error),
        }
    }
}

impl<E> From<Error> for RetriedError<E> {
    #[inline]
    fn from(error: Error) -> Self {
        CallError::from(error).into()
    }
}

impl<E: fmt::Display> fmt::Display for RetriedError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RetriedError::Failed(error) => error.fmt(f),
            RetriedError::Unavailable => f.write_str("the server died each time it worked on the request"),
            RetriedError::TimedOut => f.write_str("the server did not answer in time"),
            RetriedError::NotUnderstood => f.write_str("client and server do not speak the same protocol"),
            RetriedError::Busy => f.write_str("the server is busy with other requests of this client"),
            RetriedError::Refused(error) => write!(f, "the kernel refused the call: {error}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for RetriedError<E> {}

/// When a client's calls give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// So long after each call began.
    For(Duration),
    /// At this moment, whichever call it is.
    Until(Deadline),
}

/// A client's end: an endpoint to call, and how long to wait. Generated clients are wrappers of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    endpoint: Cap<Endpoint>,
    patience: Patience,
}

impl Connection {
    /// Calls to `endpoint` wait at most [`DEFAULT_TIMEOUT`].
    pub const fn new(endpoint: Cap<Endpoint>) -> Self {
        Self { endpoint, patience: Patience::For(DEFAULT_TIMEOUT) }
    }

    /// The same endpoint; every call waits at most `timeout`.
    pub const fn with_timeout(self, timeout: Duration) -> Self {
        Self { patience: Patience::For(timeout), ..self }
    }

    /// The same endpoint; all calls wait until `deadline`.
    pub const fn with_deadline(self, deadline: Deadline) -> Self {
        Self { patience: Patience::Until(deadline), ..self }
    }

    /// The endpoint.
    pub const fn endpoint(&self) -> Cap<Endpoint> {
        self.endpoint
    }

    fn deadline(&self) -> Deadline {
        match self.patience {
            Patience::For(timeout) => Deadline::from_call(timeout),
            Patience::Until(deadline) => deadline,
        }
    }

    /// Makes one call.
    ///
    /// # Errors
    /// As [`super::call`].
    #[inline(always)]
    pub fn call(&self, interface: u64, request: &mut Request<'_, '_>, answer: &mut [u64]) -> Result<Response, Error> {
        super::call(self.endpoint, interface, self.deadline(), request, answer)
    }

    /// Makes an idempotent call: again if the server dies while it works on it, at most [`RETRIES`] times and within one
    /// more timeout.
    ///
    /// # Errors
    /// As [`super::call`].
    #[inline(always)]
    pub fn call_idempotent(
        &self,
        interface: u64,
        request: &mut Request<'_, '_>,
        answer: &mut [u64],
    ) -> Result<Response, Error> {
        match super::call(self.endpoint, interface, self.deadline(), request, answer) {
            Err(Error::PeerDied) => self.repeat(interface, request, answer),
            outcome => outcome,
        }
    }

    /// The repetitions of a call whose server has died, which all together have as long as one call.
    #[cold]
    fn repeat(&self, interface: u64, request: &mut Request<'_, '_>, answer: &mut [u64]) -> Result<Response, Error> {
        let deadline = match self.patience {
            Patience::For(timeout) => Deadline::after(timeout),
            Patience::Until(deadline) => deadline,
        };
        let mut outcome = Err(Error::PeerDied);
        for _ in 0..RETRIES {
            outcome = super::call(self.endpoint, interface, deadline, request, answer);
            if !matches!(outcome, Err(Error::PeerDied)) {
                break;
            }
        }
        outcome
    }
}

impl From<Cap<Endpoint>> for Connection {
    fn from(endpoint: Cap<Endpoint>) -> Self {
        Connection::new(endpoint)
    }
}

impl From<&Owned<Endpoint>> for Connection {
    fn from(endpoint: &Owned<Endpoint>) -> Self {
        Connection::new(endpoint.cap())
    }
}

/// What a response means for a method that gives `T` or fails with `E`.
///
/// # Errors
/// [`CallError::Failed`] with the method's own error, [`CallError::NotUnderstood`] if the answer makes no sense.
#[inline]
pub fn interpret<T: super::Value, E: super::Value>(mut response: Response, answer: &[u64]) -> Result<T, CallError<E>> {
    let words = answer.get(..response.words).ok_or(CallError::NotUnderstood)?;
    let mut input = super::Decoder::new(words, &mut response.caps);
    match response.label {
        verdict::OK => {
            let value = T::decode(&mut input)?;
            input.finish()?;
            Ok(value)
        }
        verdict::ERROR => {
            let error = E::decode(&mut input)?;
            input.finish()?;
            Err(CallError::Failed(error))
        }
        verdict::BUSY => Err(CallError::Busy),
        _ => Err(CallError::NotUnderstood),
    }
}
