//! A guest: a whole machine that somebody else's operating system believes to be its own, and the monitor that shows it one.

use crate::link::{Address, PortStatistics};
use crate::sentences;
use crate::stream::Received;
use userlib::ipc::LeaseError;
use userlib::{Value, interface};

/// Why a monitor did not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub enum GuestError {
    /// The guest's machine is off.
    Off,
    /// It is on already.
    On,
    /// The processor of this machine runs no guests.
    NoHardware,
    /// What is to be started is no kernel that this monitor can start, or needs more memory than the guest has.
    BadKernel,
    /// The monitor has not got what it needs to build the machine; its log says what.
    NoResources,
    /// What was lent could not be read or written.
    BadLease,
}

sentences!(GuestError {
    Off => "the guest is off",
    On => "the guest is running already",
    NoHardware => "this machine's processor runs no guests: it has no AMD SVM with nested paging",
    BadKernel => "its kernel cannot be started: it is no bzImage and no ELF file with a PVH entry, or does not fit",
    NoResources => "its monitor lacks memory or another resource: its log says which",
    BadLease => "the lent memory could not be read or written",
});

impl From<LeaseError> for GuestError {
    fn from(_: LeaseError) -> Self {
        GuestError::BadLease
    }
}

/// What a guest does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub enum GuestState {
    /// It was not started yet, or was killed.
    Off,
    /// It runs.
    Running,
    /// It was asked to switch itself off and has not done so yet.
    Stopping,
    /// It has switched itself off.
    PoweredOff,
    /// It did what no processor can go on after (a triple fault), and stands still.
    Crashed,
    /// Its monitor could not start it, or could not go on with it; the log says why.
    Failed,
}

/// A guest's network card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub struct NetworkInfo {
    /// Its address.
    pub address: Address,
    /// What the link did for it, since its monitor was started.
    pub statistics: PortStatistics,
}

/// A guest, as its monitor sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub struct GuestInfo {
    /// What it does.
    pub state: GuestState,
    /// Bytes of its memory.
    pub memory: u64,
    /// Bytes of it that it has touched since it was started.
    pub touched: u64,
    /// Its processors.
    pub processors: u8,
    /// How many of them it has started.
    pub started: u8,
    /// Its disks.
    pub disks: u8,
    /// How often it was left for its monitor since it was started.
    pub exits: u64,
    /// Nanoseconds since it was started; 0 if it is off.
    pub uptime: u64,
    /// How often it has reset its machine.
    pub resets: u32,
    /// Its network card, if it has one.
    pub network: Option<NetworkInfo>,
}

/// A guest.
#[interface(name = "guest", version = 1)]
pub trait Guest {
    /// What it is and does.
    #[idempotent]
    fn info() -> GuestInfo;

    /// Switches it on.
    fn start() -> Result<(), GuestError>;

    /// Presses its power button: it is asked to switch itself off.
    fn stop() -> Result<(), GuestError>;

    /// Takes its power away, at once.
    fn kill() -> Result<(), GuestError>;

    /// What it has written to its serial port from the position `from` on, as
    /// [`StreamClient::receive`](crate::stream::StreamClient::receive) has it.
    #[idempotent]
    fn output(from: u64, bytes: &mut [u8]) -> Result<Received, GuestError>;

    /// Types at its serial port. Returns how many bytes were taken: the rest is to be typed later.
    fn input(bytes: &[u8]) -> Result<u32, GuestError>;
}
