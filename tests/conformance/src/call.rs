//! System calls with whatever arguments a case wants, sensible or not.
//!
//! The functions here are safe to call although the kernel writes to addresses that they pass: the suite passes addresses
//! of cells set aside for that ([`crate::actor`]), of its own local variables through mutable references, or addresses
//! that the kernel must refuse.

use abi::message::{CallerToken, MessageInfo, REGISTER_WORDS};
use abi::syscall::{RECEIVED_BITS, Syscall};
use abi::time::NEVER;
use abi::{Error, Handle};
use core::arch::asm;
use userlib::sys;

/// Message words in registers.
pub(crate) type Words = [u64; REGISTER_WORDS];

/// What a call left in `rax`, `rdi`, `rsi`, `rdx`.
pub(crate) use userlib::sys::Results;

/// A system call by number, known to the kernel or not, and what it left in `r8`, `r9` and `r10`.
pub(crate) fn raw(number: u64, arguments: [u64; 6]) -> (Results, [u64; 3]) {
    let (rax, rdi, rsi, rdx, r8, r9, r10);
    // SAFETY: see the module's description; the kernel keeps all other registers but `rcx` and `r11`.
    unsafe {
        asm!(
            "syscall",
            inout("rax") number => rax,
            inout("rdi") arguments[0] => rdi,
            inout("rsi") arguments[1] => rsi,
            inout("rdx") arguments[2] => rdx,
            inout("r8") arguments[3] => r8,
            inout("r9") arguments[4] => r9,
            inout("r10") arguments[5] => r10,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    (Results { rax, rdi, rsi, rdx }, [r8, r9, r10])
}

/// A system call; arguments that are left out are zero.
pub(crate) fn results<const N: usize>(call: Syscall, arguments: [u64; N]) -> Results {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&arguments);
    raw(call as u64, all).0
}

/// A system call and its first result.
pub(crate) fn call<const N: usize>(call: Syscall, arguments: [u64; N]) -> Result<u64, Error> {
    results(call, arguments).value()
}

/// Calls an endpoint.
pub(crate) fn ask(
    endpoint: u64,
    info: MessageInfo,
    deadline: u64,
    interface: u64,
    words: &mut Words,
) -> Result<MessageInfo, Error> {
    let arguments = [endpoint, info.0, deadline, interface, 0];
    // SAFETY: leases that a case puts into its buffer are cells set aside for it, or bad on purpose.
    let results = unsafe { sys::message(Syscall::Call, arguments, words) };
    results.value()?;
    Ok(MessageInfo(results.rsi))
}

/// What a receiver got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A call.
    Message {
        /// Badge of the capability that was called.
        badge: u64,
        /// Counts and label.
        info: MessageInfo,
        /// Names the call.
        token: u64,
    },
    /// Bits of the bound notification.
    Bits(u64),
}

impl Received {
    /// The token of a call; 0 for bits.
    pub(crate) fn token(&self) -> u64 {
        match self {
            Received::Message { token, .. } => *token,
            Received::Bits(_) => 0,
        }
    }
}

fn received(results: Results) -> Result<Received, Error> {
    Ok(if results.value()? == RECEIVED_BITS {
        Received::Bits(results.rdi)
    } else {
        Received::Message { badge: results.rdi, info: MessageInfo(results.rsi), token: results.rdx }
    })
}

/// Receives a call or bits.
pub(crate) fn receive(endpoint: u64, accept: u64, deadline: u64, words: &mut Words) -> Result<Received, Error> {
    // SAFETY: `Receive` moves message words and lends nothing.
    received(unsafe { sys::message(Syscall::Receive, [endpoint, accept, deadline, 0, 0], words) })
}

/// Answers a call.
pub(crate) fn reply(token: u64, info: MessageInfo, words: &Words) -> Result<(), Error> {
    sys::reply(CallerToken(token), info, words)
}

/// Answers a call and receives the next one.
pub(crate) fn reply_receive(
    endpoint: u64,
    info: MessageInfo,
    token: u64,
    words: &mut Words,
) -> Result<Received, Error> {
    sys::reply_receive(Handle(endpoint), info, NEVER, CallerToken(token), 4, words).map(|received| match received {
        sys::Received::Bits(bits) => Received::Bits(bits),
        sys::Received::Message { badge, info, token } => Received::Message { badge, info, token: token.0 },
    })
}

/// Nanoseconds since boot.
pub(crate) fn now() -> u64 {
    call(Syscall::Clock, []).unwrap_or(0)
}

/// Waits for a notification's bits.
pub(crate) fn wait(notification: u64, deadline: u64) -> Result<u64, Error> {
    call(Syscall::Wait, [notification, deadline])
}

/// Sets bits of a notification.
pub(crate) fn notify(notification: u64, bits: u64) -> Result<u64, Error> {
    call(Syscall::Notify, [notification, bits])
}

/// Sleeps.
pub(crate) fn sleep(nanoseconds: u64) {
    // The result is always that the deadline has passed.
    let _ = wait(0, now() + nanoseconds);
}

/// Lets others run until something has come about. Whether it takes long says nothing: the machine may be a slow one, or
/// have been stopped meanwhile.
pub(crate) fn until(condition: impl Fn() -> bool) -> bool {
    let begun = now();
    while !condition() {
        if now() - begun > 20 * SECOND {
            return false;
        }
        sleep(500_000);
    }
    true
}

/// Reads a port.
pub(crate) fn port_in(ports: u64, port: u64, width: u64) -> Result<u64, Error> {
    call(Syscall::PortIn, [ports, port, width])
}

/// Writes a port.
pub(crate) fn port_out(ports: u64, port: u64, width: u64, value: u64) -> Result<u64, Error> {
    call(Syscall::PortOut, [ports, port, width, value])
}

/// A second, for deadlines of what must come.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// A time by which everything that is to happen has happened even on a slow machine.
pub(crate) fn soon() -> u64 {
    now() + 5 * SECOND
}
