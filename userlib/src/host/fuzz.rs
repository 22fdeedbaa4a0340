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
//! The messages are those of [`crate::messages`], from clients of all badges, some of which are gone before they get their
//! answer.
//!
//! A test named `any_messages_to_INTERFACE` is what `cargo xtask fuzz INTERFACE` runs, with as many messages and the seed
//! that it was given.

use super::{Double, Fault};
use crate::ipc::InterfaceInfo;
use crate::messages::{Composer, Ending, send};
use crate::time::{Deadline, Duration};
use abi::Handle;
use abi::rights::Kind;
use std::vec::Vec;
use std::{env, eprintln, thread};

pub use crate::messages::Tally;

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

/// Clients of a server under test; the last one has a badge of which every bit is set.
const BADGES: [u64; 6] = [1, 2, 3, 1000, 1 << 40, u64::MAX];
/// How long a client waits, in the time of the double.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many messages lie between two times that the server has to prove itself.
const PROOF_INTERVAL: u64 = 1000;

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
    let mut caps = Vec::new();
    for (index, kind) in (5000..).zip(kinds) {
        let handle = Handle::new(index, 1);
        kernel.add_cap(handle, kind);
        caps.push(handle);
    }
    // One that means nothing to the receiver.
    caps.push(Handle::new(4999, 1));
    let clients = BADGES.map(|badge| double.endpoint(badge));
    let mut composer = Composer::new(interface, &[], size.seed, texts, caps);
    let mut tally = Tally::default();
    let mut position = Position { at: 0, size, method: None };
    sound();
    for at in 1..=size.messages {
        let mut message = composer.message();
        (position.at, position.method) = (at, message.method);
        let client = *composer.random.one_of(&clients);
        let gone = composer.random.percent(4);
        if gone {
            double.faults().plan(Fault::Late);
        }
        let (late, unanswered) = (kernel.late_answers(), kernel.unanswered());
        let outcome = send(client, interface.id, &mut message, Deadline::after(PATIENCE));
        // A message that the kernel refuses meets no fault.
        double.faults().clear();
        // A client that is gone can be told anything.
        assert!(gone || kernel.late_answers() == late, "a call was answered twice");
        assert_eq!(kernel.unanswered(), unanswered, "the work on a call has ended without an answer");
        let ending = outcome.unwrap_or_else(|misconduct| panic!("no server does this: {misconduct}"));
        tally.note(message.method, &ending);
        if let Ending::Answered(words) = ending {
            composer.remember(&words);
        }
        if at % PROOF_INTERVAL == 0 {
            sound();
        }
    }
    sound();
    eprintln!("{}: {} messages: {tally}", interface.name, size.messages);
    tally
}
