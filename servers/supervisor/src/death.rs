//! Why a domain died.

use alloc::format;
use alloc::string::String;
use interfaces::supervision::DeathCause;
use userlib::abi::fault::{FaultKind, FaultWord};
use userlib::abi::message::REGISTER_WORDS;

/// A death: the cause, and the story for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Death {
    pub(crate) cause: DeathCause,
    pub(crate) story: String,
}

impl Death {
    pub(crate) fn new(cause: DeathCause, story: impl Into<String>) -> Self {
        Death { cause, story: story.into() }
    }

    /// What a fault message means. `panic` is what the domain wrote into its status page, which nobody vouches for.
    pub(crate) fn of_fault(label: u32, words: &[u64; REGISTER_WORDS], panic: Option<String>) -> Self {
        let word = |which: FaultWord| words[which as usize];
        let (address, at) = (word(FaultWord::Address), word(FaultWord::InstructionPointer));
        let code = word(FaultWord::Code);
        let Some(kind) = FaultKind::from_label(label) else {
            return Death::new(DeathCause::Exception(code), format!("died of an unknown fault {label}, at {at:#x}"));
        };
        match kind {
            FaultKind::Panic => {
                let why = panic.unwrap_or_else(|| format!("without a message, code {code}"));
                Death::new(DeathCause::Panic, format!("panicked: {why}"))
            }
            FaultKind::Read => Death::new(DeathCause::BadAccess(address), format!("read at {address:#x}, at {at:#x}")),
            FaultKind::Write => {
                Death::new(DeathCause::BadAccess(address), format!("wrote at {address:#x}, at {at:#x}"))
            }
            FaultKind::Execute => Death::new(DeathCause::BadAccess(address), format!("jumped to {address:#x}")),
            FaultKind::IllegalInstruction => {
                Death::new(DeathCause::BadInstruction, format!("executed an illegal instruction at {at:#x}"))
            }
            FaultKind::FloatingPoint => {
                Death::new(DeathCause::BadInstruction, format!("used the floating-point unit at {at:#x}"))
            }
            FaultKind::Divide => Death::new(DeathCause::Exception(0), format!("divided by zero at {at:#x}")),
            FaultKind::Breakpoint => Death::new(DeathCause::Exception(3), format!("hit a breakpoint at {at:#x}")),
            FaultKind::Exception => {
                Death::new(DeathCause::Exception(code), format!("raised exception {} at {at:#x}", code >> 32))
            }
            FaultKind::Exit => Death::new(DeathCause::Exit(code), format!("ended itself with code {code}")),
            FaultKind::Protocol => {
                Death::new(DeathCause::Protocol(code), format!("broke a server's protocol, code {code}"))
            }
        }
    }
}
