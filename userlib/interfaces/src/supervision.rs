//! What the supervisor knows and does.

use crate::sentences;
use serde::{Deserialize, Serialize};
use userlib::ipc::{LeaseError, Text};
use userlib::{Value, interface};

/// Most bytes of a domain's name.
pub const NAME_MAX: usize = 24;

/// Why the supervisor refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub enum SupervisionError {
    /// There is no domain with that name.
    NoSuchDomain,
    /// The domain is not running.
    NotRunning,
    /// The supervisor cannot be killed or restarted by request; it can be made to break.
    Protected,
    /// The domain's resources could not be rebuilt.
    CannotRebuild,
    /// What was lent could not be read or written.
    BadLease,
    /// The machine offers no way to do this.
    Unsupported,
    /// The client has planned as much for later as it may.
    TooMuchPlanned,
    /// The client may not change the code of domains.
    NotGranted,
    /// A change lies outside of the code of the domain, or two change the same byte, or they are no list of changes.
    BadMutation,
    /// The client does not hold the bus, so it cannot know which devices come and go.
    NotTheBus,
}

sentences!(SupervisionError {
    NoSuchDomain => "there is no domain with that name",
    NotRunning => "the domain is not running",
    Protected => "that domain cannot be stopped by request",
    CannotRebuild => "the domain could not be built again",
    BadLease => "the lent memory could not be read or written",
    Unsupported => "this machine offers no way to do that",
    TooMuchPlanned => "too much is planned for later already: wait until some of it has happened",
    NotGranted => "the manifest does not grant `debug` to whoever asks for that",
    BadMutation => "a change lies outside of the code of the domain, or touches what another one changes",
    NotTheBus => "only whoever the manifest grants `ecam` may say that devices come and go",
});

impl From<LeaseError> for SupervisionError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::BadText => SupervisionError::NoSuchDomain,
            _ => SupervisionError::BadLease,
        }
    }
}

/// What state a domain is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub enum DomainState {
    /// It was started and does not serve yet.
    Starting,
    /// It serves.
    Running,
    /// It is being taken down or built again.
    Restarting,
    /// It waits until it may be started again.
    BackingOff,
    /// It was stopped and is not started again.
    Stopped,
    /// The machine does not have its device, so it was not started.
    Absent,
    /// It died so often that it is not started again: the system is degraded.
    GivenUp,
    /// The machine cannot confine its device, which the manifest requires, so it was not started.
    Refused,
    /// Another domain drives a device that the IOMMU cannot tell from its own, so it was not started.
    Inseparable,
    /// Its device was taken out while the machine ran: it is started again when that is back. Calls to it wait.
    Unplugged,
}

impl DomainState {
    /// One word for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            DomainState::Starting => "starting",
            DomainState::Running => "running",
            DomainState::Restarting => "restarting",
            DomainState::BackingOff => "waiting",
            DomainState::Stopped => "stopped",
            DomainState::Absent | DomainState::Unplugged => "absent",
            DomainState::GivenUp => "given-up",
            DomainState::Refused | DomainState::Inseparable => "refused",
        }
    }
}

/// Why a domain died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value, Serialize, Deserialize)]
pub enum DeathCause {
    /// It never did.
    None,
    /// It panicked.
    Panic,
    /// It touched memory that is not its own, at this address.
    BadAccess(u64),
    /// The processor refused an instruction.
    BadInstruction,
    /// Another exception, with its vector and error code.
    Exception(u64),
    /// It ended itself with a code.
    Exit(u64),
    /// A server blamed it for breaking a protocol.
    Protocol(u64),
    /// It did not answer heartbeats.
    Hang,
    /// It was killed by request.
    Killed,
    /// It was restarted by request.
    Restarted,
    /// Its device wanted to read or write memory at this address, or to raise an interrupt, that is not its own.
    Strayed(u64),
    /// It went down with a supervisor that had died.
    Orphaned,
    /// It was restarted along with another domain of its group.
    Escalated,
    /// Its device was taken out.
    Unplugged,
}

/// To what the machine confines devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub enum Confinement {
    /// They reach all of memory.
    Nothing,
    /// They reach what their drivers have, but can forge interrupts.
    Memory {
        /// A driver whose device wanted more is found out.
        reported: bool,
    },
    /// They reach what their drivers have, and raise no interrupts but their own.
    MemoryAndInterrupts {
        /// A driver whose device wanted more is found out.
        reported: bool,
    },
}

/// The most that a domain uses of its processor on its own behalf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub struct Bound {
    /// Nanoseconds within any period.
    pub slice: u64,
    /// The period, in nanoseconds.
    pub period: u64,
}

/// What the supervisor knows of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub struct DomainInfo {
    /// Its name.
    pub name: Text<NAME_MAX>,
    /// What it does.
    pub state: DomainState,
    /// How often it was started again.
    pub restarts: u32,
    /// Why it last died.
    pub last_cause: DeathCause,
    /// Bytes of RAM that it has.
    pub memory: u64,
    /// Priority of its first thread.
    pub priority: u8,
    /// Its level: it may call whoever is below.
    pub level: u8,
    /// Processor on which it runs on its own behalf, counted from 0. What it does for a caller is done on the caller's.
    pub processor: u8,
    /// The most that it uses of that processor; `None` if it takes turns with others.
    pub bound: Option<Bound>,
    /// Nanoseconds of processor time that its present instance had used when it was last seen not running; `None` of the
    /// supervisor, which runs whenever it tells this.
    pub runtime: Option<u64>,
    /// How often its device was refused something that is not its own.
    pub strays: u64,
    /// When its present instance was started, in nanoseconds since boot.
    pub started: u64,
}

/// One capability of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub struct CapabilityInfo {
    /// Its slot.
    pub index: u16,
    /// Kind of its object (`abi::rights::Kind` as a number).
    pub kind: u8,
    /// Its rights, as the kind reads them.
    pub rights: u16,
    /// Its badge.
    pub badge: u64,
}

/// Memory of the whole machine, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub struct MemoryUse {
    /// RAM that the kernel manages.
    pub total: u64,
    /// Not given to any domain.
    pub free: u64,
    /// Page tables and other pages donated to the kernel.
    pub kernel: u64,
    /// Mapped somewhere.
    pub mapped: u64,
}

/// A way to make a domain break, to see that it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub enum Crash {
    /// It panics.
    Panic,
    /// It follows a wild pointer.
    Fault,
    /// It loops for ever.
    Hang,
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub struct TextPart {
    /// Bytes of the output that are used.
    pub bytes: usize,
    /// Where to go on.
    pub next: u64,
    /// Whether there was more than fitted.
    pub more: bool,
}

/// The supervisor.
#[interface(name = "supervision", version = 1)]
pub trait Supervision {
    /// The domain with this number, counted from 0; `None` behind the last one.
    #[idempotent]
    fn domain(index: u32) -> Option<DomainInfo>;

    /// The domain with this name.
    #[idempotent]
    fn find(name: &str) -> Result<DomainInfo, SupervisionError>;

    /// Destroys a domain after so many microseconds, at once if there are none; it comes back as its restart policy says.
    /// What is to happen later is answered at once, and happens to whichever instance there is then; a client can plan 32
    /// such things.
    fn kill(name: &str, delay: u64) -> Result<(), SupervisionError>;

    /// Asks a domain to come to rest, destroys it and starts it again at once.
    fn restart(name: &str) -> Result<(), SupervisionError>;

    /// Makes a domain break after so many microseconds, as `kill` destroys it. The supervisor itself breaks, too, and the next
    /// one takes over the living domains; but what was planned for later is forgotten then.
    fn crash(name: &str, how: Crash, delay: u64) -> Result<(), SupervisionError>;

    /// The first capability of a domain at slot `from` or behind it; `None` behind the last one.
    #[idempotent]
    fn capability(name: &str, from: u16) -> Result<Option<CapabilityInfo>, SupervisionError>;

    /// What is known of a domain's last death, as text: cause, message of a panic, registers.
    #[idempotent]
    fn last_death(name: &str, output: &mut [u8]) -> Result<usize, SupervisionError>;

    /// The record of the death with this number, or of the first one behind it that is kept, as [`crate::crash`] reads it:
    /// how many bytes it has, of which those come that fit, and with which number to go on. No bytes if there is none.
    #[idempotent]
    fn crash_record(number: u64, output: &mut [u8]) -> Result<TextPart, SupervisionError>;

    /// To what the machine confines devices.
    #[idempotent]
    fn confinement() -> Confinement;

    /// Memory of the whole machine.
    #[idempotent]
    fn memory() -> MemoryUse;

    /// The log of the kernel and of all domains, as lines of text, from a position on; 0 is the oldest that is left.
    #[idempotent]
    fn log(position: u64, output: &mut [u8]) -> Result<TextPart, SupervisionError>;

    /// Changes the code of the present instance of a domain ([`crate::mutation`]), which has a copy of its own; its next instance
    /// has what the program says again. Each is made at once, or takes effect when its instruction is executed for the first time.
    /// Those of an earlier call are forgotten, but stay in effect.
    fn mutate(name: &str, mutations: &[u8]) -> Result<(), SupervisionError>;

    /// Which of the changes that the last `mutate` made were executed: two bytes for each, in its order, the low
    /// one first: 1 for the first one that was, and so on, 0 for one that was not. The domain may be dead by now.
    #[idempotent]
    fn mutated(name: &str, orders: &mut [u8]) -> Result<usize, SupervisionError>;

    /// Destroys a domain, without asking it to come to rest, and starts it again at once, its earlier deaths forgotten.
    fn renew(name: &str) -> Result<(), SupervisionError>;

    /// Says that devices on the buses from `first` to `last` are about to be taken out. Whoever drives one is asked to come to
    /// rest, and ended when it has, or when its time for that is up; it is started again when `look_for_devices`
    /// finds the device there. Tells whether all of them are at an end: until then, ask again.
    #[idempotent]
    fn release_devices(first: u8, last: u8) -> Result<bool, SupervisionError>;

    /// Says that devices on the buses from `first` to `last` may have gone or come back. Whoever drives one that is gone is
    /// ended; whoever waits for one that is back is started.
    #[idempotent]
    fn look_for_devices(first: u8, last: u8) -> Result<(), SupervisionError>;

    /// Nanoseconds since boot.
    #[idempotent]
    fn uptime() -> u64;

    /// Brings all domains to rest and turns the machine off.
    fn shutdown() -> Result<(), SupervisionError>;

    /// Brings all domains to rest and starts the machine again.
    fn reboot() -> Result<(), SupervisionError>;
}
