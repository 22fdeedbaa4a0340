//! What the shell needs of the rest of the system, as traits: the machine's side are [`crate::clients`], the tests'
//! side are doubles.

use alloc::vec::Vec;
use core::convert::Infallible;
use core::time::Duration;
use interfaces::block::{BlockError, BlockInfo, BlockStatistics};
use interfaces::command::CommandError;
use interfaces::console::ConsoleError;
use interfaces::filesystem::{Access, FileId, FsError, Listing, Metadata, OpenFile, VolumeInfo};
use interfaces::guest::{GuestError, GuestInfo};
use interfaces::stream::Received;
use interfaces::supervision::{CapabilityInfo, Confinement, Crash, DomainInfo, MemoryUse, SupervisionError, TextPart};
use userlib::ipc::CallError;

/// What a call to the file server gives.
pub type FileResult<T> = Result<T, CallError<FsError>>;
/// What a call to the supervisor gives.
pub type DomainResult<T> = Result<T, CallError<SupervisionError>>;
/// What a call to the disk's driver gives.
pub type DiskResult<T> = Result<T, CallError<BlockError>>;
/// What a call to a guest's monitor gives.
pub type GuestResult<T> = Result<T, CallError<GuestError>>;
/// What a call that cannot fail by itself gives.
pub type PlainResult<T> = Result<T, CallError<Infallible>>;

/// Files, by paths of the volume. The methods are those of the interface `filesystem`.
#[allow(missing_docs, reason = "the interface's trait describes each")]
pub trait Files {
    fn open(&self, path: &str, access: Access) -> FileResult<OpenFile>;
    fn create(&self, path: &str) -> FileResult<OpenFile>;
    fn close(&self, file: FileId) -> FileResult<()>;
    fn read(&self, file: FileId, offset: u64, bytes: &mut [u8]) -> FileResult<usize>;
    fn write(&self, file: FileId, offset: u64, bytes: &[u8]) -> FileResult<usize>;
    fn truncate(&self, file: FileId, length: u64) -> FileResult<()>;
    fn metadata(&self, path: &str) -> FileResult<Metadata>;
    fn list(&self, path: &str, cookie: u64, output: &mut [u8]) -> FileResult<Listing>;
    fn create_directory(&self, path: &str) -> FileResult<()>;
    fn remove_directory(&self, path: &str) -> FileResult<()>;
    fn remove(&self, path: &str) -> FileResult<()>;
    fn rename(&self, from: &str, to: &str) -> FileResult<()>;
    fn sync(&self) -> FileResult<()>;
    fn volume(&self) -> FileResult<VolumeInfo>;
    /// As `volume`, but gives up after so long.
    fn volume_within(&self, patience: Duration) -> FileResult<VolumeInfo>;
}

/// Domains and the machine. The methods are those of the interface `supervision`.
#[allow(missing_docs, reason = "the interface's trait describes each")]
pub trait Domains {
    fn domain(&self, index: u32) -> PlainResult<Option<DomainInfo>>;
    fn find(&self, name: &str) -> DomainResult<DomainInfo>;
    fn kill(&self, name: &str, delay: Duration) -> DomainResult<()>;
    fn restart(&self, name: &str) -> DomainResult<()>;
    fn crash(&self, name: &str, how: Crash, delay: Duration) -> DomainResult<()>;
    fn capability(&self, name: &str, from: u16) -> DomainResult<Option<CapabilityInfo>>;
    fn last_death(&self, name: &str, output: &mut [u8]) -> DomainResult<usize>;
    fn crash_record(&self, number: u64, output: &mut [u8]) -> DomainResult<TextPart>;
    fn memory(&self) -> PlainResult<MemoryUse>;
    /// To what the machine confines devices.
    fn confinement(&self) -> PlainResult<Confinement>;
    fn log(&self, position: u64, output: &mut [u8]) -> DomainResult<TextPart>;
    fn shutdown(&self) -> DomainResult<()>;
    fn reboot(&self) -> DomainResult<()>;
}

/// The driver of the disk: what it tells, not what is on the disk.
pub trait Disk {
    /// What the disk is.
    fn info(&self) -> DiskResult<BlockInfo>;
    /// What the driver has done.
    fn statistics(&self) -> DiskResult<BlockStatistics>;
}

/// The echo server.
pub trait Echo {
    /// Returns the value.
    fn ping(&self, value: u64) -> PlainResult<u64>;
}

/// Commands that other domains carry out.
pub trait Apps {
    /// Their names.
    fn names(&self) -> Vec<&str>;
    /// Carries one of them out, as the interface `command` says.
    fn run(&self, name: &str, arguments: &str, output: &mut [u8]) -> Result<usize, CallError<CommandError>>;
}

/// Guests, each by the name under which the manifest lets the shell operate it. The methods are those of the interface `guest`.
#[allow(missing_docs, reason = "the interface's trait describes each")]
pub trait Guests {
    /// Their names.
    fn names(&self) -> Vec<&str>;
    fn info(&self, name: &str) -> PlainResult<GuestInfo>;
    fn start(&self, name: &str) -> GuestResult<()>;
    fn stop(&self, name: &str) -> GuestResult<()>;
    fn kill(&self, name: &str) -> GuestResult<()>;
    /// As `output` of the interface, but gives up after so long: `None`.
    fn output(&self, name: &str, from: u64, bytes: &mut [u8], patience: Duration) -> GuestResult<Option<Received>>;
    fn input(&self, name: &str, bytes: &[u8]) -> GuestResult<u32>;
}

/// The terminal.
pub trait Terminal {
    /// Shows all the bytes.
    fn write(&self, bytes: &[u8]) -> Result<(), CallError<ConsoleError>>;
    /// Waits until something is typed, at most for `patience` if that is given, and says how many bytes there are; 0 if
    /// nothing came in time. `ServerDied` tells, once, that the console's driver has died since something was read.
    fn read(&self, bytes: &mut [u8], patience: Option<Duration>) -> Result<usize, CallError<ConsoleError>>;
    /// Columns, if the terminal knows them.
    fn columns(&self) -> Option<u16>;
}

/// The shell's own life: time, and what its supervisor wants of it.
pub trait Life {
    /// Time since boot.
    fn now(&self) -> Duration;
    /// Lets time pass. What the supervisor asks of the shell meanwhile is done.
    fn pause(&self, duration: Duration);
}

/// All of it.
#[derive(Clone, Copy)]
pub struct Services<'a> {
    /// Files.
    pub files: &'a dyn Files,
    /// Domains and the machine.
    pub domains: &'a dyn Domains,
    /// The driver of the disk.
    pub disk: &'a dyn Disk,
    /// The echo server.
    pub echo: &'a dyn Echo,
    /// Commands that other domains carry out.
    pub apps: &'a dyn Apps,
    /// Guests.
    pub guests: &'a dyn Guests,
    /// The terminal.
    pub terminal: &'a dyn Terminal,
    /// The shell's own life.
    pub life: &'a dyn Life,
}
