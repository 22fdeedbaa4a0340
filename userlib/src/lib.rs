//! What every domain is written against.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`sys`] | the kernel's system calls as they are |
//! | [`cap`] | capabilities by kind, with a method for every call |
//! | [`start`], [`environment`] | what a domain is given when it starts, for its builder and for itself |
//! | [`log_ring`] | log records in shared memory: of the status page, and of whoever keeps them |
//! | [`status`] | the page by which a supervisor watches it: phase, heartbeat, panic message, log |
//! | [`message_log`] | the last messages of a domain, for whoever asks why it died |
//! | [`ipc`] | messages, clients and servers; [`macro@interface`] writes them from a trait |
//! | [`command`] | programs that a person runs by name at the shell |
//! | [`executor`] | one thread on which calls, bits, interrupts and timers are futures |
//! | [`sync`] | what tasks of one executor share |
//! | [`memory`], [`heap`] | mappings, shared memory; where `alloc` gets its blocks |
//! | [`device`] | what a driver maps: device registers, memory for DMA |
//! | [`session`] | what a server keeps for each of its clients, for as long as the client lives |
//! | [`ring`] | values of one type from one domain to another through shared memory |
//! | [`block_ring`] | block requests in shared memory that survive their driver |
//! | [`guest`] | memory and processors of guests, for their monitors |
//! | [`mishap`] | breaking on request |
//! | [`time`] | time since boot |
//! | [`messages`], [`random`] | messages by chance, for servers that have to bear them |
//!
//! A domain's program looks like this:
//!
//! ```ignore
//! #![cfg_attr(target_os = "none", no_std, no_main)]
//!
//! userlib::entry!(|environment| environment.serve("echo", EchoService::new(Echo::default())));
//! ```
#![cfg_attr(target_os = "none", no_std)]

extern crate alloc;
// The macros name this crate, within itself too.
extern crate self as userlib;

pub mod block_ring;
pub mod cap;
pub mod command;
pub mod device;
pub mod entry;
pub mod environment;
pub mod executor;
pub mod guest;
pub mod heap;
#[cfg(not(target_os = "none"))]
pub mod host;
pub mod ipc;
pub mod log_ring;
pub mod memory;
pub mod message_log;
pub mod messages;
pub mod mishap;
#[cfg(target_os = "none")]
pub mod program;
pub mod random;
pub mod ring;
pub mod root;
pub mod session;
pub mod start;
pub mod status;
pub mod sync;
pub mod sys;
pub mod thread;
pub mod time;

pub use abi;
pub use environment::Environment;
pub use log;

/// Makes a structure or enum a value that travels in messages ([`ipc::Value`]).
///
/// A structure is its fields one after the other; an enum is its variant's number, in the order of declaration, and then
/// that variant's fields.
pub use userlib_macros::Value;

/// Makes an async function the program of a driver's domain; use it through the crate `driver`, which says what it means.
#[doc(hidden)]
pub use userlib_macros::driver;

/// Makes a trait an interface.
///
/// ```
/// use userlib::{Value, interface};
///
/// /// Why a number cannot be divided.
/// #[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
/// pub enum DivisionError {
///     /// By zero.
///     ByZero,
/// }
///
/// /// Arithmetic for everybody.
/// #[interface(name = "calculator", version = 1)]
/// pub trait Calculator {
///     /// Divides.
///     #[idempotent]
///     fn divide(dividend: u64, divisor: u64) -> Result<u64, DivisionError>;
///     /// Adds up bytes of the caller's memory.
///     #[idempotent]
///     fn sum(bytes: &[u8]) -> u64;
/// }
/// ```
///
/// makes of it
///
/// * `CalculatorClient`, whose methods block until the answer is there. They return `Result<T, CallError<E>>`, of which
///   [`ipc::CallError::ServerDied`] is to be handled. Those marked `#[idempotent]` are repeated, a bounded number of
///   times ([`ipc::client::RETRIES`]), if the server dies, and return `Result<T, RetriedError<E>>`, which has no such
///   case ([`ipc::RetriedError`]);
/// * `CalculatorServer`, a trait of `async fn`s with the [`ipc::Caller`] as first argument;
/// * `CalculatorService`, which takes messages apart for a server and never panics, whatever they hold;
/// * `CalculatorDouble`, on the host only: a server in a test, its typed client, and a plan of what goes wrong between
///   both (`userlib::host::Double`);
/// * `CalculatorClient::INTERFACE`, with the id that the kernel compares.
///
/// [`ipc`] says how to write an interface.
///
/// Arguments `&[u8]`, `&str` and `&mut [u8]` are lent: the server gets an [`ipc::ReadLease`] or [`ipc::WriteLease`].
/// A `Cap<K>` is copied to whoever receives it, as `Owned<K>`: an argument's to the server, a result's to the client;
/// its kind is checked on arrival. Everything else is an [`ipc::Value`].
///
/// A server that is not the one to answer passes a call on with [`ipc::Caller::forward`], or has the caller pay for its
/// nonsense with [`ipc::Caller::fault`].
///
/// A method is found by a hash of its name and of the shapes of its types ([`ipc::shape`]), so that methods may be added
/// and reordered, and one whose types have changed is an unknown method instead of being misread. Two methods with the
/// same label do not compile.
pub use userlib_macros::interface;

/// Gives an enum of errors a sentence for each of its cases, without a full stop: the method `as_str`, and what it takes
/// to be an error.
#[macro_export]
macro_rules! sentences {
    ($type:ident { $($case:ident => $text:literal,)* }) => {
        impl $type {
            /// The cause as a sentence for people.
            pub const fn as_str(self) -> &'static str {
                match self { $($type::$case => $text,)* }
            }
        }

        impl ::core::fmt::Display for $type {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl ::core::error::Error for $type {}
    };
}
