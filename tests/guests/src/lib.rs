//! What the tests of guests share: systems with guests in them, and what a person does with these at the shell.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use system_tests::{Bench, Shell};
use xtask::disk::Fingerprint;
use xtask::guest::{self, Bootable, Dialogue, Entry, Kernel, LEAVE};
use xtask::machine::Drive;
use xtask::workspace;

/// How long a Linux may take to its prompt, beside others on a busy host.
pub const BOOT_LIMIT: Duration = Duration::from_secs(180);
/// How long a command in a guest may take.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(180);
/// How long it may take until what must happen has happened.
pub const SOON: Duration = Duration::from_secs(60);

/// What `guest info` says of a guest that runs, of one that has switched itself off, and of one that no processor could go on with.
pub const RUNNING: &str = "running";
/// See [`RUNNING`].
pub const POWERED_OFF: &str = "powered off";
/// See [`RUNNING`].
pub const CRASHED: &str = "crashed";

/// A kernel that was fetched.
///
/// # Panics
///
/// If it is not to be had: no test of guests can say anything then.
pub fn fetched(kernel: Kernel) -> &'static Bootable {
    static KERNELS: [OnceLock<Bootable>; Kernel::ALL.len()] = [const { OnceLock::new() }; Kernel::ALL.len()];
    KERNELS[kernel as usize].get_or_init(|| kernel.obtain().unwrap_or_else(|error| panic!("{error}")))
}

/// A guest with a kernel that was fetched.
pub fn linux_of(kernel: Kernel) -> Entry {
    let Bootable { kernel, initrd, .. } = fetched(kernel).clone();
    Entry { kernel, initrd: Some(initrd), ..Entry::default() }
}

/// A guest with the usual Linux.
pub fn linux() -> Entry {
    linux_of(Kernel::Linux)
}

/// A guest with a kernel of a few instructions, which goes into a file of this name.
///
/// # Panics
///
/// If the file cannot be written.
pub fn handmade(name: &str, kernel: &[u8]) -> Entry {
    let folder = guest::folder();
    fs::create_dir_all(&folder).expect("a folder for kernels");
    let path = folder.join(format!("{name}-{}.elf", std::process::id()));
    fs::write(&path, kernel).expect("a kernel of a few instructions");
    Entry { kernel: path, memory: guest::Memory::mebibytes(16), ..Entry::default() }
}

/// A machine with the default disk and guests.
///
/// # Panics
///
/// If the system cannot be built.
pub fn bench(guests: &[(&str, Entry)]) -> Bench {
    let guests: Vec<_> = guests.iter().map(|(name, guest)| (*name, guest)).collect();
    let changed = |system| guest::manifest_with(system, &guests).unwrap_or_else(|error| panic!("{error}"));
    let mut bench = Bench::with_system(changed);
    bench.machine.memory = guest::memory_with(&guests).unwrap_or_else(|error| panic!("{error}"));
    bench
}

/// The same with a second disk, `image`, which belongs to the guests that name [`guest::DISK_DRIVER`].
pub fn bench_with_disk(guests: &[(&str, Entry)], image: &Path) -> Bench {
    let mut bench = bench(guests);
    bench.machine.drives.push(Drive::new(image));
    bench
}

/// Talks to the shell in a guest, which may be on its way up.
///
/// # Panics
///
/// If the guest's prompt does not come, or the way back to Bulkhead's shell is closed.
pub fn at_console<R>(shell: &mut Shell, name: &str, talk: impl FnOnce(&mut Talk<'_>) -> R) -> R {
    let attached = shell.begin(&format!("guest console {name}"));
    let begun = Dialogue::begin_anew(shell.session().console(), BOOT_LIMIT);
    let mut talking = Talk { dialogue: begun.unwrap_or_else(|error| panic!("{error}")) };
    let outcome = talk(&mut talking);
    leave(shell);
    let reply = shell.finish(attached);
    assert!(reply.succeeded, "the console ends with a failure:\n{}", reply.text);
    outcome
}

/// Presses the key that leaves a guest's console.
///
/// # Panics
///
/// If QEMU does not take it.
pub fn leave(shell: &mut Shell) {
    // A shell within asks the terminal where its cursor is, behind its prompt. Who left in the middle of that would leave the
    // terminal waiting for the rest.
    thread::sleep(Duration::from_millis(500));
    shell.session().console().type_text(LEAVE).expect("QEMU takes what is typed");
}

/// A dialogue with the shell in a guest.
pub struct Talk<'a> {
    dialogue: Dialogue<'a>,
}

impl Talk<'_> {
    /// What a command prints.
    ///
    /// # Panics
    ///
    /// If the guest's prompt does not come back.
    pub fn ask(&mut self, command: &str) -> String {
        self.dialogue.run(command, COMMAND_LIMIT).unwrap_or_else(|error| panic!("{error}")).text
    }

    /// The same, of one line.
    ///
    /// # Panics
    ///
    /// As [`Talk::ask`].
    pub fn ask_line(&mut self, command: &str) -> String {
        self.ask(command).trim().to_owned()
    }

    /// Types a command after which no prompt follows.
    ///
    /// # Panics
    ///
    /// If the guest does not show what was typed.
    pub fn say(&mut self, command: &str) {
        self.dialogue.say(command).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Asserts that the guest's kernel has met with no error of a disk.
    ///
    /// # Panics
    ///
    /// If it has.
    pub fn assert_no_disk_errors(&mut self) {
        let complaints = self.ask("dmesg | grep -iE 'i/o error|blk_update|EXT4-fs error|hung'");
        assert_eq!(complaints.trim(), "", "the guest's kernel complains");
    }
}

/// Waits until `guest info` says this of a guest.
///
/// # Panics
///
/// If it does not within [`SOON`].
pub fn await_state(shell: &mut Shell, name: &str, state: &str) -> String {
    let deadline = Instant::now() + SOON;
    loop {
        // A monitor that is being started again answers when it is.
        let reply = shell.run(&format!("guest info {name}"));
        if reply.succeeded && reply.text.contains(state) {
            return reply.text;
        }
        assert!(Instant::now() < deadline, "{name} is not {state}:\n{}\n{}", reply.text, shell.must("log -n 60"));
    }
}

/// Asserts that everybody else works as ever: a server answers, and so does the disk.
///
/// # Panics
///
/// If somebody does not, or takes long.
pub fn assert_others_work(shell: &mut Shell) {
    let begun = Instant::now();
    assert!(shell.must("ping 5").contains("5 of 5"), "a server does not answer");
    assert!(shell.must("ls /disk").contains("readme.txt"), "the disk does not answer");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(20), "they are slow beside a guest: {took:?}");
}

/// How often a domain was started again, by the table of `ps`.
///
/// # Panics
///
/// If there is no such domain.
pub fn restarts(shell: &mut Shell, domain: &str) -> u64 {
    let table = shell.must("ps");
    let line = table.lines().find(|line| line.split_whitespace().next() == Some(domain)).expect("it is listed");
    // Columns are two spaces apart at least; restarts are the ninth.
    let mut columns = line.split("  ").map(str::trim).filter(|column| !column.is_empty());
    columns.nth(8).and_then(|column| column.parse().ok()).unwrap_or_else(|| panic!("no number of restarts: {line}"))
}

/// A disk with an ext4 filesystem that the host has made.
#[derive(Clone, Debug)]
pub struct Ext4 {
    /// The image.
    pub image: PathBuf,
}

impl Ext4 {
    /// Makes one of so many bytes with a file in it.
    ///
    /// # Panics
    ///
    /// If e2fsprogs do not make it.
    pub fn make(image: PathBuf, bytes: u64, name: &str, contents: &[u8]) -> Self {
        let folder = image.with_extension("contents");
        fs::create_dir(&folder).expect("a folder for what the disk holds");
        fs::write(folder.join(name), contents).expect("a file for the disk");
        fs::File::create(&image).and_then(|file| file.set_len(bytes)).expect("an empty disk");
        let made = program("mkfs.ext4").args(["-q", "-F", "-d"]).arg(&folder).arg(&image).output();
        let made = made.expect("mkfs.ext4 starts: `cargo xtask setup` installs e2fsprogs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { image }
    }

    /// Asserts that there is nothing wrong with it.
    ///
    /// # Panics
    ///
    /// If there is.
    pub fn assert_clean(&self) {
        let checked = program("e2fsck").args(["-f", "-n"]).arg(&self.image).output().expect("e2fsck starts");
        assert!(checked.status.success(), "e2fsck:\n{}", String::from_utf8_lossy(&checked.stdout));
    }

    /// The contents of a file on it.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    pub fn read(&self, path: &str) -> Vec<u8> {
        let read = program("debugfs").args(["-R", &format!("cat {path}")]).arg(&self.image).output();
        let read = read.expect("debugfs starts");
        let said = String::from_utf8_lossy(&read.stderr);
        assert!(!said.contains("File not found"), "{path}: {said}");
        read.stdout
    }
}

/// The SHA-256 of bytes, as the guest's `sha256sum` writes it.
pub fn sha256(bytes: &[u8]) -> String {
    Fingerprint::of(bytes).hex()
}

fn program(name: &str) -> Command {
    Command::new(workspace::find_program(name).unwrap_or_else(|| name.into()))
}
