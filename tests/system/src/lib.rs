//! What the system tests share: the built image, disks to boot it with, and a shell to type into.
//!
//! A test boots a machine of its own ([`Bench::boot`]), types commands ([`Shell::must`], [`Shell::must_fail`]) and
//! looks at what the host finds on the disk afterwards. When it fails, what the machine showed is part of the message.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use xtask::build::{self, Built, Composition};
use xtask::console::ConsoleError;
use xtask::disk;
use xtask::machine::{self, Drive, Machine, Slot};
use xtask::session::{self, Pending, Reply, Session};
use xtask::{setup, workspace};

/// The slot of [`Bench::with_disk_in_slot`].
pub const SLOT: Slot = Slot::of_drive(0);

/// The system as `system.toml` describes it, built once for all tests of a process.
///
/// # Panics
///
/// If it cannot be built: no system test can say anything then.
pub fn system() -> &'static Built {
    static SYSTEM: OnceLock<Built> = OnceLock::new();
    SYSTEM.get_or_init(|| {
        let source = setup::ensure().unwrap_or_else(|error| panic!("{error}"));
        build::system(&source).unwrap_or_else(|error| panic!("{error}"))
    })
}

/// The default disk as it is made, which no test writes to.
///
/// # Panics
///
/// If it cannot be made.
pub fn pristine_disk() -> &'static Path {
    static DISK: OnceLock<PathBuf> = OnceLock::new();
    DISK.get_or_init(|| {
        let path = workspace::system_target().join("pristine.img");
        disk::write_default(&path).unwrap_or_else(|error| panic!("{error}"));
        path
    })
}

/// A folder for one test's disks, and the machine that the test is going to boot.
#[derive(Debug)]
pub struct Bench {
    folder: TempDir,
    /// The machine; a test changes what it is about before it boots.
    pub machine: Machine,
}

impl Default for Bench {
    fn default() -> Self {
        Self::without_disk()
    }
}

impl Bench {
    /// A default machine without a disk.
    ///
    /// # Panics
    ///
    /// If the system cannot be built or no folder be made.
    pub fn without_disk() -> Self {
        // What is built first makes the folder in which tests have theirs.
        let built = system();
        Self {
            folder: tempfile::tempdir_in(workspace::system_target()).expect("a folder for the test's disks"),
            machine: Machine { plugs: built.plugs.clone(), ..Machine::new(&built.image) },
        }
    }

    /// A default machine with a disk of its own that holds what the default disk holds.
    ///
    /// # Panics
    ///
    /// As [`Bench::without_disk`].
    pub fn with_default_disk() -> Self {
        let mut bench = Self::without_disk();
        let disk = bench.path("disk.img");
        fs::copy(pristine_disk(), &disk).expect("a copy of the default disk");
        bench.machine.drives = vec![Drive::new(disk)];
        bench
    }

    /// The same, and its system is what `change` makes of the default one's manifest.
    ///
    /// # Panics
    ///
    /// As [`Bench::without_disk`].
    pub fn with_system(change: impl FnOnce(String) -> String) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let mut bench = Self::with_default_disk();
        // Tests run beside one another, and none is to boot what another has made.
        let file_name = format!("bench-{}-{}.elf", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let source = setup::ensure().unwrap_or_else(|error| panic!("{error}"));
        let composition = Composition::of_system_changed(&file_name, change).unwrap_or_else(|error| panic!("{error}"));
        let built = build::build(&composition, &source).unwrap_or_else(|error| panic!("{error}"));
        bench.machine.image = bench.path("system.elf");
        fs::rename(built.image, &bench.machine.image).expect("both are where things are built");
        bench.machine.plugs = built.plugs;
        bench
    }

    /// A default machine with a disk of its own that holds what the default disk holds, in a [`SLOT`], and a monitor.
    ///
    /// # Panics
    ///
    /// As [`Bench::without_disk`].
    pub fn with_disk_in_slot() -> Self {
        let mut bench = Self::with_default_disk();
        bench.machine.drives = vec![Drive::in_slot(bench.disk())];
        bench.machine.monitor = Some(machine::socket());
        bench
    }

    /// A default machine with a disk that holds exactly `bytes`.
    ///
    /// # Panics
    ///
    /// As [`Bench::without_disk`].
    pub fn with_raw_disk(bytes: &[u8]) -> Self {
        let mut bench = Self::without_disk();
        let disk = bench.path("disk.img");
        fs::write(&disk, bytes).expect("a raw disk");
        bench.machine.drives = vec![Drive::new(disk)];
        bench
    }

    /// Where a file of this test goes.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The image of the machine's first disk.
    ///
    /// # Panics
    ///
    /// If it has none.
    pub fn disk(&self) -> &Path {
        &self.machine.drives[0].image
    }

    /// Boots the machine and waits for the shell.
    ///
    /// # Panics
    ///
    /// If the prompt does not come; the message holds what the machine showed.
    pub fn boot(&self) -> Shell {
        let session = Session::boot(&self.machine).unwrap_or_else(|error| panic!("it does not boot: {error}"));
        Shell { session }
    }
}

/// Bulkhead's shell in a running machine.
pub struct Shell {
    session: Session,
}

impl Shell {
    /// Runs a command that has to succeed; returns what it printed.
    ///
    /// # Panics
    ///
    /// If it fails, or the prompt does not come back.
    pub fn must(&mut self, command: &str) -> String {
        let reply = self.run(command);
        assert!(reply.succeeded, "`{command}` failed:\n{}", reply.text);
        reply.text
    }

    /// Runs a command that has to fail; returns the sentence in which it says why.
    ///
    /// # Panics
    ///
    /// If it succeeds, says nothing, or the prompt does not come back.
    pub fn must_fail(&mut self, command: &str) -> String {
        let reply = self.run(command);
        assert!(!reply.succeeded, "`{command}` succeeded:\n{}", reply.text);
        assert!(!reply.text.trim().is_empty(), "`{command}` failed without a word");
        reply.text
    }

    /// Runs a command, whatever comes of it.
    ///
    /// # Panics
    ///
    /// If the prompt does not come back.
    pub fn run(&mut self, command: &str) -> Reply {
        self.run_within(command, session::COMMAND_LIMIT)
    }

    /// Runs a command that may take up to `limit`.
    ///
    /// # Panics
    ///
    /// If the prompt does not come back.
    pub fn run_within(&mut self, command: &str, limit: Duration) -> Reply {
        let outcome = self.session.run_within(command, limit);
        self.or_die(outcome)
    }

    /// Types a command and does not wait for what comes of it.
    ///
    /// # Panics
    ///
    /// If the shell does not show what is typed.
    pub fn begin(&mut self, command: &str) -> Pending {
        let outcome = self.session.begin(command);
        self.or_die(outcome)
    }

    /// Waits for the end of a command that was begun.
    ///
    /// # Panics
    ///
    /// If the prompt does not come back.
    pub fn finish(&mut self, pending: Pending) -> Reply {
        let outcome = self.session.finish(pending, session::COMMAND_LIMIT);
        self.or_die(outcome)
    }

    /// Everything that the machine has shown.
    pub fn transcript(&self) -> String {
        self.session.transcript()
    }

    /// The session underneath.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Shuts the machine down; returns everything that it showed.
    ///
    /// # Panics
    ///
    /// If it does not power off.
    pub fn shut_down(self) -> String {
        self.session.shut_down().unwrap_or_else(|error| panic!("it does not power off: {error}"))
    }

    /// Cuts the machine's power.
    ///
    /// # Panics
    ///
    /// If QEMU cannot be ended.
    pub fn cut_power(mut self) {
        self.session.console().cut_power().expect("QEMU is ended");
    }

    fn or_die<T>(&self, outcome: Result<T, ConsoleError>) -> T {
        outcome.unwrap_or_else(|error| panic!("{error}\nThe whole session:\n{}", self.transcript()))
    }
}

/// Numbers that look random and are the same every time: SplitMix64, the generator of the shell's `fill`.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut output = self.state;
        output = (output ^ (output >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        output = (output ^ (output >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        output ^ (output >> 31)
    }

    /// A number below `end`.
    ///
    /// # Panics
    ///
    /// If `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// A duration below `end`, in whole microseconds.
    ///
    /// # Panics
    ///
    /// If `end` is less than a microsecond.
    pub fn moment(&mut self, end: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(end.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// The bytes that the shell's `fill PATH SIZE SEED` writes: outputs of SplitMix64, least significant byte first.
pub fn filling(size: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend(random.number().to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Asserts that `fsck.fat -n` has nothing to say about `image`.
///
/// # Panics
///
/// If it has.
pub fn assert_clean(image: &Path) {
    let findings = disk::fsck(image).unwrap_or_else(|error| panic!("{error}"));
    assert!(findings.clean, "fsck.fat -n {}:\n{}", image.display(), findings.text);
}
