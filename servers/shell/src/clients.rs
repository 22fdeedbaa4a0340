//! The services as other domains give them.

use crate::services::{
    Apps, Disk, DiskResult, DomainResult, Domains, Echo, FileResult, Files, GuestResult, Guests, Life, PlainResult,
    Terminal,
};
use alloc::vec::Vec;
use core::cell::Cell;
use core::time::Duration;
use interfaces::block::{BlockClient, BlockInfo, BlockStatistics};
use interfaces::command::{CommandClient, CommandError};
use interfaces::console::{ConsoleClient, ConsoleError};
use interfaces::echo::EchoClient;
use interfaces::filesystem::{Access, FileId, FilesystemClient, Listing, Metadata, OpenFile, VolumeInfo};
use interfaces::guest::{GuestClient, GuestInfo};
use interfaces::stream::Received;
use interfaces::supervision::{CapabilityInfo, Confinement, Crash, DomainInfo, MemoryUse, SupervisionClient, TextPart};
use userlib::Environment;
use userlib::abi::Error;
use userlib::executor;
use userlib::ipc::{CallError, RetriedError};
use userlib::time::{Deadline, Instant};

impl Files for FilesystemClient {
    fn open(&self, path: &str, access: Access) -> FileResult<OpenFile> {
        Ok(self.open(path, access)?)
    }
    fn create(&self, path: &str) -> FileResult<OpenFile> {
        self.create(path)
    }
    fn close(&self, file: FileId) -> FileResult<()> {
        Ok(self.close(file)?)
    }
    fn read(&self, file: FileId, offset: u64, bytes: &mut [u8]) -> FileResult<usize> {
        Ok(self.read(file, offset, bytes)?)
    }
    fn write(&self, file: FileId, offset: u64, bytes: &[u8]) -> FileResult<usize> {
        Ok(self.write(file, offset, bytes)?)
    }
    fn truncate(&self, file: FileId, length: u64) -> FileResult<()> {
        Ok(self.truncate(file, length)?)
    }
    fn metadata(&self, path: &str) -> FileResult<Metadata> {
        Ok(self.metadata(path)?)
    }
    fn list(&self, path: &str, cookie: u64, output: &mut [u8]) -> FileResult<Listing> {
        Ok(self.list(path, cookie, output)?)
    }
    fn create_directory(&self, path: &str) -> FileResult<()> {
        self.create_directory(path)
    }
    fn remove_directory(&self, path: &str) -> FileResult<()> {
        self.remove_directory(path)
    }
    fn remove(&self, path: &str) -> FileResult<()> {
        self.remove(path)
    }
    fn rename(&self, from: &str, to: &str) -> FileResult<()> {
        self.rename(from, to)
    }
    fn sync(&self) -> FileResult<()> {
        Ok(self.sync()?)
    }
    fn volume(&self) -> FileResult<VolumeInfo> {
        Ok(self.volume()?)
    }
    fn volume_within(&self, patience: Duration) -> FileResult<VolumeInfo> {
        Ok(self.with_timeout(patience).volume()?)
    }
}

impl Domains for SupervisionClient {
    fn domain(&self, index: u32) -> PlainResult<Option<DomainInfo>> {
        Ok(self.domain(index)?)
    }
    fn find(&self, name: &str) -> DomainResult<DomainInfo> {
        Ok(self.find(name)?)
    }
    fn kill(&self, name: &str, delay: Duration) -> DomainResult<()> {
        self.kill(name, microseconds(delay))
    }
    fn restart(&self, name: &str) -> DomainResult<()> {
        self.restart(name)
    }
    fn crash(&self, name: &str, how: Crash, delay: Duration) -> DomainResult<()> {
        self.crash(name, how, microseconds(delay))
    }
    fn capability(&self, name: &str, from: u16) -> DomainResult<Option<CapabilityInfo>> {
        Ok(self.capability(name, from)?)
    }
    fn last_death(&self, name: &str, output: &mut [u8]) -> DomainResult<usize> {
        Ok(self.last_death(name, output)?)
    }
    fn crash_record(&self, number: u64, output: &mut [u8]) -> DomainResult<TextPart> {
        Ok(self.crash_record(number, output)?)
    }
    fn memory(&self) -> PlainResult<MemoryUse> {
        Ok(self.memory()?)
    }
    fn confinement(&self) -> PlainResult<Confinement> {
        Ok(self.confinement()?)
    }
    fn log(&self, position: u64, output: &mut [u8]) -> DomainResult<TextPart> {
        Ok(self.log(position, output)?)
    }
    fn shutdown(&self) -> DomainResult<()> {
        self.shutdown()
    }
    fn reboot(&self) -> DomainResult<()> {
        self.reboot()
    }
}

impl Disk for BlockClient {
    fn info(&self) -> DiskResult<BlockInfo> {
        Ok(self.info()?)
    }
    fn statistics(&self) -> DiskResult<BlockStatistics> {
        Ok(self.statistics()?)
    }
}

impl Echo for EchoClient {
    fn ping(&self, value: u64) -> PlainResult<u64> {
        Ok(self.ping(value)?)
    }
}

/// The commands that the manifest lets the shell call.
#[derive(Debug)]
pub struct GivenApps(Vec<(&'static str, CommandClient)>);

impl GivenApps {
    /// Those in the shell's start page.
    pub fn of(environment: &Environment) -> Self {
        let given = environment.uses_of(CommandClient::INTERFACE);
        Self(given.map(|(name, endpoint)| (name, CommandClient::new(endpoint))).collect())
    }
}

impl Apps for GivenApps {
    fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }

    fn run(&self, name: &str, arguments: &str, output: &mut [u8]) -> Result<usize, CallError<CommandError>> {
        let app = self.0.iter().find(|(known, _)| *known == name).ok_or(CallError::Refused(Error::BadHandle))?;
        app.1.run(arguments, output)
    }
}

/// How long a guest's monitor may take to tell about its guest.
const TELLING: Duration = Duration::from_secs(2);

/// The guests that the manifest lets the shell operate.
#[derive(Debug)]
pub struct GivenGuests(Vec<(&'static str, GuestClient)>);

impl GivenGuests {
    /// Those in the shell's start page.
    pub fn of(environment: &Environment) -> Self {
        let given = environment.uses_of(GuestClient::INTERFACE);
        Self(given.map(|(name, endpoint)| (name, GuestClient::new(endpoint))).collect())
    }

    fn find<E>(&self, name: &str) -> Result<GuestClient, CallError<E>> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, guest)| *guest).ok_or(CallError::Refused(Error::BadHandle))
    }
}

impl Guests for GivenGuests {
    fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }
    fn info(&self, name: &str) -> PlainResult<GuestInfo> {
        Ok(self.find(name)?.with_timeout(TELLING).info()?)
    }
    fn start(&self, name: &str) -> GuestResult<()> {
        self.find(name)?.start()
    }
    fn stop(&self, name: &str) -> GuestResult<()> {
        self.find(name)?.stop()
    }
    fn kill(&self, name: &str) -> GuestResult<()> {
        self.find(name)?.kill()
    }
    fn output(&self, name: &str, from: u64, bytes: &mut [u8], patience: Duration) -> GuestResult<Option<Received>> {
        match self.find(name)?.with_timeout(patience).output(from, bytes) {
            Ok(output) => Ok(Some(output)),
            // Calls that were given up count until the monitor notices. What they would have told, the next one tells.
            Err(RetriedError::TimedOut | RetriedError::Busy) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
    fn input(&self, name: &str, bytes: &[u8]) -> GuestResult<u32> {
        self.find(name)?.input(bytes)
    }
}

/// The console, and how far what was typed is read.
#[derive(Debug)]
pub struct ReadConsole {
    console: ConsoleClient,
    /// Where the next byte lies, as its driver counts, if that was told already.
    next: Cell<Option<u64>>,
}

impl ReadConsole {
    /// A console of which nothing is read yet.
    pub const fn new(console: ConsoleClient) -> Self {
        Self { console, next: Cell::new(None) }
    }
}

impl Terminal for ReadConsole {
    fn write(&self, bytes: &[u8]) -> Result<(), CallError<ConsoleError>> {
        self.console.write(bytes)
    }

    fn read(&self, bytes: &mut [u8], patience: Option<Duration>) -> Result<usize, CallError<ConsoleError>> {
        let console = match patience {
            None => self.console.with_deadline(Deadline::NEVER),
            Some(patience) => self.console.with_timeout(patience),
        };
        loop {
            let from = self.next.get();
            match console.read(from.unwrap_or(0), bytes) {
                Ok(typed) => {
                    self.next.set(Some(typed.next));
                    match (typed.length as usize, from) {
                        // Only now is known where to begin.
                        (0, None) => {}
                        // It is another instance of the driver: with the last one went what was on its way to the terminal.
                        (0, Some(_)) => return Err(CallError::ServerDied),
                        (length, _) => return Ok(length.min(bytes.len())),
                    }
                }
                // What it would have told, the next one tells. A read that was given up counts as the reader until its server
                // notices.
                Err(RetriedError::TimedOut | RetriedError::Failed(ConsoleError::ReaderBusy)) if patience.is_some() => {
                    return Ok(0);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn columns(&self) -> Option<u16> {
        self.console.size().ok().flatten().map(|size| size.columns)
    }
}

/// The shell's own thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnThread;

impl Life for OwnThread {
    fn now(&self) -> Duration {
        Duration::from_nanos(Instant::now().nanoseconds())
    }

    fn pause(&self, duration: Duration) {
        executor::run(async {
            executor::sleep(duration).await;
            // Once more around lets in what has come from outside.
            executor::yield_now().await;
        });
    }
}

/// A wait as the supervisor counts it.
fn microseconds(delay: Duration) -> u64 {
    u64::try_from(delay.as_micros()).unwrap_or(u64::MAX)
}
