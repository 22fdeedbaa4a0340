//! System calls as the kernel defines them ([`abi::syscall`]), with nothing added.
//!
//! Two shapes exist: [`plain`] for calls without message words and [`message`] for those with. Everything in this
//! library goes through these two. On the bare machine they are one `syscall` instruction each; on the host they reach
//! the double that a test has put in place (`userlib::host`), so that everything above runs under `cargo test` too.

#[cfg(not(target_os = "none"))]
mod on_host;
#[cfg(target_os = "none")]
mod on_machine;

#[cfg(not(target_os = "none"))]
use on_host as entry;
#[cfg(target_os = "none")]
use on_machine as entry;

use abi::message::{CallerToken, MessageInfo, REGISTER_WORDS};
use abi::syscall::{RECEIVED_BITS, Syscall};
use abi::{Error, Handle};

/// What a system call leaves in `rax`, `rdi`, `rsi` and `rdx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Results {
    /// The result, or an error as a negative number.
    pub rax: u64,
    /// Second result.
    pub rdi: u64,
    /// Third result.
    pub rsi: u64,
    /// Fourth result.
    pub rdx: u64,
}

impl Results {
    /// The first result, unless it is an error.
    #[inline(always)]
    pub fn value(self) -> Result<u64, Error> {
        Error::from_register(self.rax)
    }
}

/// The message words that travel in registers: r12, r13, r14, r15, rbx, rbp.
pub type Words = [u64; REGISTER_WORDS];

/// A system call without message words. Arguments are in the order `rdi, rsi, rdx, r8, r9, r10`.
///
/// # Safety
/// The call is one that takes no message words. Where an argument is an address that the kernel writes to, that memory
/// is the caller's to be written to; a mapping is removed or a thread of the caller's own domain started only where
/// nobody relies on the contrary.
#[inline(always)]
pub unsafe fn plain(call: Syscall, arguments: [u64; 6]) -> Results {
    // SAFETY: the caller's promise is exactly what the entry asks for.
    unsafe { entry::plain(call, arguments) }
}

/// A system call that sends, receives, or both. Arguments are in the order `rdi, rsi, rdx, r8, r9`.
///
/// # Safety
/// The call is one that moves message words. What the thread's message buffer lends ([`abi::message::Lease`]) is the
/// caller's to be read and written until the call returns.
#[inline(always)]
pub unsafe fn message(call: Syscall, arguments: [u64; 5], words: &mut Words) -> Results {
    // SAFETY: the caller's promise is exactly what the entry asks for.
    unsafe { entry::message(call, arguments, words) }
}

/// Something that a thread received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A call; its first words are in the registers, the rest in the message buffer.
    Message {
        /// Badge of the capability that was called.
        badge: u64,
        /// Counts and label.
        info: MessageInfo,
        /// Names the call in replies and lease copies.
        token: CallerToken,
    },
    /// Bits of the thread's bound notification, now cleared.
    Bits(u64),
}

fn received(results: Results) -> Result<Received, Error> {
    Ok(if results.value()? == RECEIVED_BITS {
        Received::Bits(results.rdi)
    } else {
        Received::Message { badge: results.rdi, info: MessageInfo(results.rsi), token: CallerToken(results.rdx) }
    })
}

/// Calls an endpoint and waits for the reply until `deadline` (nanoseconds since boot).
///
/// # Errors
/// Whatever the kernel refuses or reports ([`abi::Error`]).
///
/// # Safety
/// As for [`message`]: if `info` has leases, they are in the message buffer and the caller's to lend.
#[inline(always)]
pub unsafe fn call(
    endpoint: Handle,
    info: MessageInfo,
    deadline: u64,
    interface: u64,
    words: &mut Words,
) -> Result<MessageInfo, Error> {
    let arguments = [endpoint.0, info.0, deadline, interface, 0];
    // SAFETY: `Call` moves message words; the leases are the caller's promise.
    let results = unsafe { message(Syscall::Call, arguments, words) };
    results.value()?;
    Ok(MessageInfo(results.rsi))
}

/// Waits for a call on an endpoint or for bits of the bound notification. `accept` is the number of capabilities for
/// which there is room.
///
/// # Errors
/// Whatever the kernel refuses or reports ([`abi::Error`]); `TimedOut` at the deadline.
#[inline]
pub fn receive(endpoint: Handle, accept: u8, deadline: u64, words: &mut Words) -> Result<Received, Error> {
    let arguments = [endpoint.0, u64::from(accept), deadline, 0, 0];
    // SAFETY: `Receive` moves message words and lends nothing.
    received(unsafe { message(Syscall::Receive, arguments, words) })
}

/// Answers a call. Never blocks.
///
/// # Errors
/// `CallerGone` if the caller no longer waits; otherwise what the kernel refuses.
#[inline]
pub fn reply(token: CallerToken, info: MessageInfo, words: &Words) -> Result<(), Error> {
    let mut words = *words;
    // SAFETY: `Reply` moves message words and lends nothing.
    unsafe { message(Syscall::Reply, [token.0, info.0, 0, 0, 0], &mut words) }.value().map(|_| ())
}

/// Answers a call and waits for the next one.
///
/// # Errors
/// As for [`receive`]; a reply to a caller that is gone is dropped.
#[inline]
pub fn reply_receive(
    endpoint: Handle,
    info: MessageInfo,
    deadline: u64,
    token: CallerToken,
    accept: u8,
    words: &mut Words,
) -> Result<Received, Error> {
    let arguments = [endpoint.0, info.0, deadline, token.0, u64::from(accept)];
    // SAFETY: `ReplyReceive` moves message words and lends nothing.
    received(unsafe { message(Syscall::ReplyReceive, arguments, words) })
}

/// Ends the calling thread; its domain's fault handler learns the code. Never returns.
pub fn thread_exit(code: u64) -> ! {
    end(Syscall::ThreadExit, code)
}

/// Ends the calling thread after a panic; its domain's fault handler learns the code. Never returns.
pub fn thread_panic(code: u64) -> ! {
    end(Syscall::ThreadPanic, code)
}

fn end(call: Syscall, code: u64) -> ! {
    // SAFETY: neither call takes an address, and nothing of this thread runs afterwards.
    let results = unsafe { plain(call, [code, 0, 0, 0, 0, 0]) };
    entry::unreachable_after(call, results)
}

/// Lets other threads of the same priority run first.
pub fn yield_now() {
    // SAFETY: `Yield` takes no arguments and touches no memory.
    let _ = unsafe { plain(Syscall::Yield, [0; 6]) };
}

/// Sets the calling thread's FS base.
///
/// # Errors
/// `BadAddress` if it lies outside of user space.
///
/// # Safety
/// [`crate::thread`] keeps the address of the thread's own block there: only it may call this.
pub(crate) unsafe fn set_thread_local(address: u64) -> Result<(), Error> {
    // SAFETY: passed on to the caller.
    unsafe { plain(Syscall::ThreadLocal, [address, 0, 0, 0, 0, 0]) }.value().map(|_| ())
}
