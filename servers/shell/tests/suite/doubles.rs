//! The other domains.

use interfaces::block::{BlockError, BlockInfo, BlockStatistics};
use interfaces::command::CommandError;
use interfaces::console::ConsoleError;
use interfaces::crash::CrashRecord;
use interfaces::filesystem::{
    Access, DirectoryEntry, FileId, FsError, Listing, Metadata, NodeKind, OpenFile, VolumeInfo,
};
use interfaces::supervision::{
    Bound, CapabilityInfo, Confinement, Crash, DeathCause, DomainInfo, DomainState, MemoryUse, SupervisionError,
    TextPart,
};
use shell::services::{
    Apps, Disk, DiskResult, DomainResult, Domains, Echo, FileResult, Files, Life, PlainResult, Terminal,
};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use userlib::ipc::{CallError, Text};

/// What becomes of a call to the file server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// It refuses.
    Refuses(FsError),
    /// It dies before it has done anything; the client's library gives up.
    Dies,
    /// It dies and comes back: nothing that was open is so any more.
    Forgets,
    /// It writes only so many bytes.
    WritesOnly(usize),
}

/// A volume in memory, whose server can have mishaps.
#[derive(Default)]
pub(crate) struct Volume {
    /// Contents by path; `None` for a folder.
    nodes: RefCell<BTreeMap<String, Option<Vec<u8>>>>,
    open: RefCell<BTreeMap<u64, (String, Access)>>,
    next: Cell<u64>,
    /// After how many more calls of an operation there is a mishap.
    mishaps: RefCell<Vec<(&'static str, u32, Mishap)>>,
    pub(crate) largest_read: Cell<usize>,
    pub(crate) missing: Cell<Option<FsError>>,
    /// How many looks it takes until it is mounted.
    pub(crate) mounted_after: Cell<u32>,
    pub(crate) read_only: Cell<bool>,
}

impl Volume {
    pub(crate) fn put(&self, path: &str, contents: impl Into<Vec<u8>>) {
        self.nodes.borrow_mut().insert(path.into(), Some(contents.into()));
    }

    pub(crate) fn put_folder(&self, path: &str) {
        self.nodes.borrow_mut().insert(path.into(), None);
    }

    pub(crate) fn contents(&self, path: &str) -> Option<Vec<u8>> {
        self.nodes.borrow().get(path).cloned().flatten()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.nodes.borrow().keys().cloned().collect()
    }

    pub(crate) fn open_files(&self) -> usize {
        self.open.borrow().len()
    }

    /// Arranges a mishap at a later call of an operation: 0 is the next one.
    pub(crate) fn arrange(&self, operation: &'static str, later: u32, mishap: Mishap) {
        self.mishaps.borrow_mut().push((operation, later, mishap));
    }

    fn begin(&self, operation: &'static str) -> FileResult<Option<usize>> {
        if let Some(error) = self.missing.get() {
            return Err(CallError::Failed(error));
        }
        let mut mishaps = self.mishaps.borrow_mut();
        let Some(at) = mishaps.iter().position(|(name, ..)| *name == operation) else { return Ok(None) };
        if mishaps[at].1 > 0 {
            mishaps[at].1 -= 1;
            return Ok(None);
        }
        match mishaps.remove(at).2 {
            Mishap::Refuses(error) => Err(CallError::Failed(error)),
            Mishap::Dies => {
                self.open.borrow_mut().clear();
                Err(CallError::ServerDied)
            }
            Mishap::Forgets => {
                self.open.borrow_mut().clear();
                Ok(None)
            }
            Mishap::WritesOnly(count) => Ok(Some(count)),
        }
    }

    fn kind(&self, path: &str) -> FileResult<NodeKind> {
        match self.nodes.borrow().get(path) {
            _ if path == "/" => Ok(NodeKind::Directory),
            Some(None) => Ok(NodeKind::Directory),
            Some(Some(_)) => Ok(NodeKind::File),
            None => Err(CallError::Failed(FsError::NotFound)),
        }
    }

    fn opened(&self, path: &str, access: Access) -> OpenFile {
        let id = self.next.get() + 1;
        self.next.set(id);
        self.open.borrow_mut().insert(id, (path.into(), access));
        OpenFile { file: FileId(id), length: self.contents(path).map_or(0, |bytes| bytes.len() as u64) }
    }

    fn path_of(&self, file: FileId) -> FileResult<(String, Access)> {
        self.open.borrow().get(&file.0).cloned().ok_or(CallError::Failed(FsError::UnknownSession))
    }

    fn change<T>(&self, file: FileId, work: impl FnOnce(&mut Vec<u8>) -> T) -> FileResult<T> {
        let (path, access) = self.path_of(file)?;
        if access == Access::Read {
            return Err(CallError::Failed(FsError::NotWritable));
        }
        match self.nodes.borrow_mut().get_mut(&path) {
            Some(Some(bytes)) => Ok(work(bytes)),
            _ => Err(CallError::Failed(FsError::NotFound)),
        }
    }

    fn is_empty(&self, path: &str) -> bool {
        let inside = format!("{path}/");
        !self.nodes.borrow().keys().any(|key| key.starts_with(&inside))
    }
}

fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

impl Files for Volume {
    fn open(&self, path: &str, access: Access) -> FileResult<OpenFile> {
        self.begin("open")?;
        match self.kind(path)? {
            NodeKind::File => Ok(self.opened(path, access)),
            NodeKind::Directory => Err(CallError::Failed(FsError::IsADirectory)),
        }
    }

    fn create(&self, path: &str) -> FileResult<OpenFile> {
        self.begin("create")?;
        if self.kind(path).is_ok() {
            return Err(CallError::Failed(FsError::AlreadyExists));
        }
        self.kind(parent(path))?;
        self.put(path, []);
        Ok(self.opened(path, Access::ReadWrite))
    }

    fn close(&self, file: FileId) -> FileResult<()> {
        self.begin("close")?;
        self.open.borrow_mut().remove(&file.0).map(drop).ok_or(CallError::Failed(FsError::UnknownSession))
    }

    fn read(&self, file: FileId, offset: u64, bytes: &mut [u8]) -> FileResult<usize> {
        self.begin("read")?;
        self.largest_read.set(self.largest_read.get().max(bytes.len()));
        let (path, _) = self.path_of(file)?;
        let contents = self.contents(&path).ok_or(CallError::Failed(FsError::NotFound))?;
        let rest = contents.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write(&self, file: FileId, offset: u64, bytes: &[u8]) -> FileResult<usize> {
        let most = self.begin("write")?.unwrap_or(bytes.len());
        let bytes = &bytes[..most.min(bytes.len())];
        self.change(file, |contents| {
            let end = offset as usize + bytes.len();
            contents.resize(contents.len().max(end), 0);
            contents[offset as usize..end].copy_from_slice(bytes);
            bytes.len()
        })
    }

    fn truncate(&self, file: FileId, length: u64) -> FileResult<()> {
        self.begin("truncate")?;
        self.change(file, |contents| contents.resize(length as usize, 0))
    }

    fn metadata(&self, path: &str) -> FileResult<Metadata> {
        self.begin("metadata")?;
        let kind = self.kind(path)?;
        let length = self.contents(path).map_or(0, |bytes| bytes.len() as u64);
        Ok(Metadata { kind, length, modified: 1_709_210_096, read_only: false })
    }

    fn list(&self, path: &str, cookie: u64, output: &mut [u8]) -> FileResult<Listing> {
        self.begin("list")?;
        if self.kind(path)? == NodeKind::File {
            return Err(CallError::Failed(FsError::NotADirectory));
        }
        let paths = self.paths();
        // Few at a time, so that listings have several parts.
        let names = paths.iter().filter(|child| parent(child) == path && *child != "/").skip(cookie as usize).take(3);
        let (mut bytes, mut count) = (0, 0);
        for child in names {
            let name = child.rsplit('/').next().unwrap_or_default();
            let entry = DirectoryEntry { metadata: self.metadata(child)?, name };
            bytes += entry.write(&mut output[bytes..]).expect("three entries fit");
            count += 1;
        }
        Ok(Listing { bytes, next: (count == 3).then_some(cookie + 3) })
    }

    fn create_directory(&self, path: &str) -> FileResult<()> {
        self.begin("create_directory")?;
        if self.kind(path).is_ok() {
            return Err(CallError::Failed(FsError::AlreadyExists));
        }
        self.kind(parent(path))?;
        self.put_folder(path);
        Ok(())
    }

    fn remove_directory(&self, path: &str) -> FileResult<()> {
        self.begin("remove_directory")?;
        match self.kind(path)? {
            NodeKind::File => Err(CallError::Failed(FsError::NotADirectory)),
            NodeKind::Directory if path == "/" => Err(CallError::Failed(FsError::IsRoot)),
            NodeKind::Directory if !self.is_empty(path) => Err(CallError::Failed(FsError::DirectoryNotEmpty)),
            NodeKind::Directory => {
                self.nodes.borrow_mut().remove(path);
                Ok(())
            }
        }
    }

    fn remove(&self, path: &str) -> FileResult<()> {
        self.begin("remove")?;
        match self.kind(path)? {
            NodeKind::Directory => Err(CallError::Failed(FsError::IsADirectory)),
            NodeKind::File => {
                self.nodes.borrow_mut().remove(path);
                Ok(())
            }
        }
    }

    fn rename(&self, from: &str, to: &str) -> FileResult<()> {
        self.begin("rename")?;
        self.kind(from)?;
        self.kind(parent(to))?;
        let inside = format!("{from}/");
        let mut nodes = self.nodes.borrow_mut();
        let moved: Vec<String> = nodes.keys().filter(|key| *key == from || key.starts_with(&inside)).cloned().collect();
        for path in moved {
            let node = nodes.remove(&path).flatten();
            nodes.insert(format!("{to}{}", &path[from.len()..]), node);
        }
        Ok(())
    }

    fn sync(&self) -> FileResult<()> {
        self.begin("sync").map(drop)
    }

    fn volume_within(&self, _: Duration) -> FileResult<VolumeInfo> {
        match self.mounted_after.get().checked_sub(1) {
            Some(left) => {
                self.mounted_after.set(left);
                Err(CallError::TimedOut)
            }
            None => self.volume(),
        }
    }

    fn volume(&self) -> FileResult<VolumeInfo> {
        self.begin("volume")?;
        Ok(VolumeInfo {
            label: Text::new("TEST"),
            format: Text::new("FAT32"),
            unit: 4096,
            units: 1024,
            units_free: 256,
            read_only: self.read_only.get(),
        })
    }
}

/// A supervisor of three domains.
pub(crate) struct Supervisor {
    pub(crate) domains: RefCell<Vec<DomainInfo>>,
    /// What was asked for, in order.
    pub(crate) requests: RefCell<Vec<String>>,
    pub(crate) log: RefCell<Vec<String>>,
    pub(crate) confinement: Cell<Confinement>,
    /// The deaths that it has kept.
    pub(crate) crashes: RefCell<Vec<CrashRecord>>,
}

pub(crate) fn domain(name: &str, state: DomainState) -> DomainInfo {
    DomainInfo {
        name: Text::new(name),
        state,
        restarts: 0,
        last_cause: DeathCause::None,
        memory: 2 << 20,
        priority: 100,
        level: 1,
        processor: 0,
        bound: None,
        runtime: Some(1_500_000),
        started: 0,
        strays: 0,
    }
}

impl Default for Supervisor {
    fn default() -> Self {
        let mut driver = domain("virtio-blk", DomainState::Running);
        (driver.restarts, driver.last_cause) = (3, DeathCause::BadAccess(0x0dea_dbee_f000));
        (driver.processor, driver.runtime) = (1, Some(5_034_000_000));
        let mut supervisor = domain("supervisor", DomainState::Running);
        supervisor.runtime = None;
        let mut files = domain("fat", DomainState::Running);
        files.bound = Some(Bound { slice: 2_000_000, period: 10_000_000 });
        Self {
            domains: RefCell::new(vec![supervisor, driver, files]),
            requests: RefCell::default(),
            log: RefCell::new(
                (0..100)
                    .map(|number| {
                        let who = if number % 10 == 0 { "fat" } else { "virtio-blk" };
                        format!("[    0.{number:06}] {who}: line {number}")
                    })
                    .collect(),
            ),
            confinement: Cell::new(Confinement::Nothing),
            crashes: RefCell::default(),
        }
    }
}

impl Supervisor {
    fn request(&self, what: &str, name: &str) -> DomainResult<()> {
        self.find(name)?;
        if name == "supervisor" {
            return Err(CallError::Failed(SupervisionError::Protected));
        }
        self.requests.borrow_mut().push(format!("{what} {name}"));
        Ok(())
    }
}

impl Domains for Supervisor {
    fn domain(&self, index: u32) -> PlainResult<Option<DomainInfo>> {
        Ok(self.domains.borrow().get(index as usize).copied())
    }

    fn find(&self, name: &str) -> DomainResult<DomainInfo> {
        let domains = self.domains.borrow();
        let found = domains.iter().find(|info| info.name.as_str() == name).copied();
        found.ok_or(CallError::Failed(SupervisionError::NoSuchDomain))
    }

    fn kill(&self, name: &str, delay: Duration) -> DomainResult<()> {
        self.request(&delayed("kill".into(), delay), name)
    }

    fn restart(&self, name: &str) -> DomainResult<()> {
        self.request("restart", name)
    }

    fn crash(&self, name: &str, how: Crash, delay: Duration) -> DomainResult<()> {
        self.request(&delayed(format!("crash by {how:?}"), delay), name)
    }

    fn capability(&self, name: &str, from: u16) -> DomainResult<Option<CapabilityInfo>> {
        self.find(name)?;
        // An endpoint to call under a badge, and memory for a device.
        let held = [
            CapabilityInfo { index: 3, kind: 7, rights: 0b1, badge: 0x1f },
            CapabilityInfo { index: 9, kind: 2, rights: 0b1_0011, badge: 0 },
        ];
        Ok(held.into_iter().find(|info| info.index >= from))
    }

    fn last_death(&self, name: &str, output: &mut [u8]) -> DomainResult<usize> {
        let story: &[u8] = if self.find(name)?.restarts > 0 { b"wrote at 0xdead0000\n" } else { b"" };
        output[..story.len()].copy_from_slice(story);
        Ok(story.len())
    }

    fn crash_record(&self, number: u64, output: &mut [u8]) -> DomainResult<TextPart> {
        let Some(record) = self.crashes.borrow().iter().find(|record| record.number >= number).cloned() else {
            return Ok(TextPart { bytes: 0, next: number, more: false });
        };
        let bytes = record.encode();
        output[..bytes.len()].copy_from_slice(&bytes);
        Ok(TextPart { bytes: bytes.len(), next: record.number + 1, more: false })
    }

    fn confinement(&self) -> PlainResult<Confinement> {
        Ok(self.confinement.get())
    }

    fn memory(&self) -> PlainResult<MemoryUse> {
        Ok(MemoryUse { total: 128 << 20, free: 100 << 20, kernel: 1 << 20, mapped: 20 << 20 })
    }

    fn log(&self, position: u64, output: &mut [u8]) -> DomainResult<TextPart> {
        let log = self.log.borrow();
        let (mut bytes, mut next) = (0, position);
        for line in log.iter().skip(position as usize).take(7) {
            let line = format!("{line}\n");
            if bytes + line.len() > output.len() {
                break;
            }
            output[bytes..bytes + line.len()].copy_from_slice(line.as_bytes());
            bytes += line.len();
            next += 1;
        }
        Ok(TextPart { bytes, next, more: (next as usize) < log.len() })
    }

    fn shutdown(&self) -> DomainResult<()> {
        self.requests.borrow_mut().push("shutdown".into());
        Ok(())
    }

    fn reboot(&self) -> DomainResult<()> {
        Err(CallError::Failed(SupervisionError::Unsupported))
    }
}

/// A disk that may be absent.
#[derive(Default)]
pub(crate) struct Drive {
    pub(crate) error: Cell<Option<CallError<BlockError>>>,
}

impl Disk for Drive {
    fn info(&self) -> DiskResult<BlockInfo> {
        let info = BlockInfo {
            name: Text::new("virtio 00:02.0"),
            sectors: 4096,
            sector_size: 512,
            request_sectors: 256,
            read_only: false,
            has_cache: true,
        };
        self.error.get().map_or(Ok(info), Err)
    }

    fn statistics(&self) -> DiskResult<BlockStatistics> {
        let statistics = BlockStatistics {
            completed: 1000,
            failed: 1,
            repeated: 5,
            interrupts: 900,
            resets: 2,
            instances: 4,
            restarts_in_flight: 3,
        };
        self.error.get().map_or(Ok(statistics), Err)
    }
}

/// An echo server that may return something else.
#[derive(Default)]
pub(crate) struct Parrot {
    pub(crate) error: Cell<u64>,
    pub(crate) is_dead: Cell<bool>,
}

impl Echo for Parrot {
    fn ping(&self, value: u64) -> PlainResult<u64> {
        if self.is_dead.get() { Err(CallError::ServerDied) } else { Ok(value + self.error.get()) }
    }
}

/// Commands of other domains, each of which does the same at each call.
#[derive(Default)]
pub(crate) struct Given {
    apps: RefCell<BTreeMap<&'static str, Result<String, CallError<CommandError>>>>,
    /// Arguments of the calls, with the app's name.
    pub(crate) calls: RefCell<Vec<String>>,
}

impl Given {
    pub(crate) fn put(&self, name: &'static str, outcome: Result<&str, CallError<CommandError>>) {
        self.apps.borrow_mut().insert(name, outcome.map(String::from));
    }
}

impl Apps for Given {
    fn names(&self) -> Vec<&str> {
        self.apps.borrow().keys().copied().collect()
    }

    fn run(&self, name: &str, arguments: &str, output: &mut [u8]) -> Result<usize, CallError<CommandError>> {
        self.calls.borrow_mut().push(format!("{name}({arguments})"));
        let said = self.apps.borrow().get(name).cloned().expect("the shell calls what it was given")?;
        let fits = said.len().min(output.len());
        output[..fits].copy_from_slice(&said.as_bytes()[..fits]);
        Ok(said.len())
    }
}

/// A terminal, its user's fingers, and a clock that goes on a millisecond each time somebody looks.
#[derive(Default)]
pub(crate) struct Desk {
    typed: RefCell<VecDeque<Vec<u8>>>,
    /// What is typed while a command runs, and when.
    typed_meanwhile: RefCell<VecDeque<(Duration, Vec<u8>)>>,
    shown: RefCell<Vec<u8>>,
    now: Cell<Duration>,
    /// When Ctrl-C is typed.
    pub(crate) interrupt_at: Cell<Option<Duration>>,
    pub(crate) columns: Cell<Option<u16>>,
    /// How many of the next writes are lost.
    pub(crate) loses: Cell<u32>,
    /// Whether the console's driver dies while somebody reads.
    pub(crate) dies_while_read: Cell<bool>,
    pub(crate) largest_write: Cell<usize>,
}

impl Desk {
    /// Types something in one burst, the next time somebody waits for it.
    pub(crate) fn will_type(&self, burst: &[u8]) {
        self.typed.borrow_mut().push_back(burst.into());
    }

    /// Types something at a moment at which a command runs.
    pub(crate) fn will_type_at(&self, moment: Duration, burst: &[u8]) {
        self.typed_meanwhile.borrow_mut().push_back((moment, burst.into()));
    }

    pub(crate) fn take_shown(&self) -> Vec<u8> {
        std::mem::take(&mut self.shown.borrow_mut())
    }

    pub(crate) fn pass(&self, duration: Duration) {
        self.now.set(self.now.get() + duration);
    }
}

impl Terminal for Desk {
    fn write(&self, bytes: &[u8]) -> Result<(), CallError<ConsoleError>> {
        if let Some(left) = self.loses.get().checked_sub(1) {
            self.loses.set(left);
            return Err(CallError::ServerDied);
        }
        self.largest_write.set(self.largest_write.get().max(bytes.len()));
        self.shown.borrow_mut().extend_from_slice(bytes);
        Ok(())
    }

    fn read(&self, bytes: &mut [u8], patience: Option<Duration>) -> Result<usize, CallError<ConsoleError>> {
        if let Some(patience) = patience {
            self.pass(patience);
            if self.interrupt_at.get().is_some_and(|moment| moment <= self.now.get()) {
                self.interrupt_at.set(None);
                bytes[0] = 3;
                return Ok(1);
            }
            let mut typed = self.typed_meanwhile.borrow_mut();
            let burst = typed.pop_front_if(|(moment, _)| *moment <= self.now.get());
            let burst = burst.map_or_else(Vec::new, |(_, burst)| burst);
            bytes[..burst.len()].copy_from_slice(&burst);
            return Ok(burst.len());
        }
        if self.dies_while_read.replace(false) {
            return Err(CallError::ServerDied);
        }
        let mut typed = self.typed.borrow_mut();
        // Nobody is at the desk: the tests end here.
        let burst = typed.front_mut().ok_or(CallError::TimedOut)?;
        let count = burst.len().min(bytes.len());
        bytes[..count].copy_from_slice(&burst[..count]);
        burst.drain(..count);
        if burst.is_empty() {
            typed.pop_front();
        }
        Ok(count)
    }

    fn columns(&self) -> Option<u16> {
        self.columns.get()
    }
}

impl Life for Desk {
    fn now(&self) -> Duration {
        self.pass(Duration::from_millis(1));
        self.now.get()
    }

    fn pause(&self, duration: Duration) {
        self.pass(duration);
    }
}

/// A request, with the wait before it if there is one.
fn delayed(request: String, delay: Duration) -> String {
    if delay.is_zero() { request } else { format!("{request} after {delay:?}") }
}
