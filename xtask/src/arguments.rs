//! The command line of `cargo xtask`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand};
use xtask::bench::Group;
use xtask::fault;
use xtask::guest::{self, Wish};
use xtask::machine::{Accel, Chipset, Cpus, Iommu, Machine, Memory};
use xtask::run::{Disk, Plan, RunError};
use xtask::scaffold;
use xtask::suites::{self, Size, Suite};

/// Sets up, builds, boots, tests and measures Bulkhead.
///
/// Every command that builds or boots first looks for what is missing and installs it, says what and why, and is
/// quiet about it from then on.
#[derive(Debug, Parser)]
#[command(
    bin_name = "cargo xtask",
    disable_help_subcommand = true,
    after_long_help = "\
Exit status:
  0  everything succeeded
  1  something failed: a test, a command of a script, a build
  2  something is missing that has to be installed by hand (the commands are printed), or a wrong argument

Environment:
  BULKHEAD_CACHE    where downloads are kept (default: $XDG_CACHE_HOME/bulkhead or ~/.cache/bulkhead)
  CARGO_TARGET_DIR  where everything is built (default: target)"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Run),
    /// Write one file that boots, and print the plain QEMU command that starts it
    Image,
    New(New),
    Remove(Remove),
    Test(Test),
    Bench(Bench),
    /// Say what is installed, what is missing, and what this machine's acceleration can do
    Doctor,
    /// Count lines of code by part and file, unsafe blocks, and what is forbidden in the kernel's core
    ///
    /// Exits with status 1 if an unsafe block lacks a `SAFETY:` reason directly above it, if the kernel has grown
    /// beyond its limits, or if something forbidden in the kernel's core gives no reason.
    Audit,
    /// Say which lines of the kernel's core its tests execute, by file, and name those that none does
    ///
    /// Exits with status 1 if fewer than 95 of 100 lines are covered.
    Coverage,
    Fault(Fault),
    Fuzz(Fuzz),
    Guest(Guest),
    Mutants(Mutants),
    /// Carry out a script of system calls in the machine and on the host, and compare what comes of each call
    ///
    /// Property tests write such scripts when they find something; `tests/script` says how they look. Exits with status
    /// 1 if an outcome differs.
    Replay {
        /// The script
        #[arg(value_name = "SCRIPT")]
        script: PathBuf,
    },
    /// Show who died in the system that used a disk, with registers, functions, files and lines, and last messages
    ///
    /// The system keeps the last 64 deaths in a file of its disk. Functions are named as the tree is built now.
    Crashes {
        /// The raw disk image; not while a machine uses it
        #[arg(value_name = "DISK")]
        disk: PathBuf,
    },
    /// Install what building and booting needs: QEMU, dosfstools, e2fsprogs, the source of the Rust library
    ///
    /// The other commands do this too; here it happens by itself. Without root, apt or a network it prints the
    /// commands to run and exits with status 2.
    Setup,
    /// Run clippy and rustdoc over the bare-metal crates; a warning is an error
    Check,
    /// Write the reference pages of the book in docs/ from the sources
    ///
    /// They are committed; a test fails if they do not say what the sources say. `mdbook build docs` makes a website of
    /// the book for those who have mdbook; it is also read as it is.
    Book,
}

/// Boot Bulkhead and leave you at its shell
///
/// With a terminal on standard input the machine's serial line is the terminal: `shutdown` powers the machine off,
/// Ctrl-A X leaves at once. Without one, commands are read from standard input, and the machine powers off after the
/// last.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  cargo xtask run                            a shell, with a disk full of files to try things on
  cargo xtask run --disk usb-stick.img       the same, with your own FAT image (it can be written to!)
  cargo xtask run --memory 128M --smp 4      another machine
  echo 'ls /disk' | cargo xtask run          one command, then power off
  cargo xtask run --script demo.txt          several, with an exit status: 0 if all succeeded
  cargo xtask run --guest --guest-cpus 2     a Linux of two processors within; `guest console linux` at the shell
  cargo xtask run --gdb                      waits for a debugger and prints how to attach
  cargo xtask run --qemu-arg=-d --qemu-arg=int,cpu_reset --timeout 10")]
pub(crate) struct Run {
    /// A raw disk image with a FAT filesystem of your own
    ///
    /// It is written to when you write files; if it is read-only, so is the machine's disk. Without this option the
    /// disk is one that is made on the first run: FAT32, with a few hundred files of many sizes.
    #[arg(long, value_name = "IMAGE")]
    disk: Option<PathBuf>,

    /// How much memory the machine has, beside that of its guests: at least 64M
    #[arg(long, value_name = "SIZE", default_value_t)]
    memory: Memory,

    /// How many processors the machine has: 1 to 32
    #[arg(long, value_name = "N", default_value_t)]
    smp: Cpus,

    /// Who executes the machine's instructions
    #[arg(long, value_name = "WHO", value_enum, default_value_t)]
    accel: Accel,

    /// The kind of PC
    #[arg(long, value_name = "KIND", value_enum, default_value_t)]
    machine: Chipset,

    /// Which IOMMU it has, if any, which confines what drivers' devices reach
    #[arg(long, value_name = "KIND", value_enum, default_value_t)]
    iommu: Iommu,

    /// Type the lines of FILE into the shell, one after the other, then power off
    ///
    /// Each line is typed when the command before it has ended. Empty lines and lines that begin with # are left
    /// out. The session is printed. Exits with 0 if every command succeeded and with 1 otherwise.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,

    /// Stop the machine after this time, with exit status 1
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=7 * 24 * 60 * 60))]
    timeout: Option<u64>,

    /// Wait for a debugger before the first instruction, and print how to attach one
    #[arg(long)]
    gdb: bool,

    /// One more argument for QEMU, as it is; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    qemu_arg: Vec<OsString>,

    #[command(flatten)]
    guest: GuestOptions,
}

/// A guest for the system that is booted
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of a guest called `linux`, as if [guest.linux] stood in system.toml")]
#[group(skip)]
#[command(group(ArgGroup::new("has_guest").multiple(true)))]
pub(crate) struct GuestOptions {
    /// Have a guest: Debian's kernel with a shell, as `cargo xtask guest fetch` fetches them, unless others are named
    #[arg(long, group = "has_guest")]
    guest: bool,

    /// Have a guest with this kernel, a bzImage or an ELF file with a PVH entry
    #[arg(long, value_name = "PATH", group = "has_guest")]
    guest_kernel: Option<PathBuf>,

    /// What its kernel finds first: an archive such as `guest fetch` makes
    #[arg(long, value_name = "PATH", requires = "has_guest")]
    guest_initrd: Option<PathBuf>,

    #[arg(long, value_name = "TEXT", requires = "has_guest", allow_hyphen_values = true)]
    #[arg(help = format!("What its kernel is told [default: {}]", guest::COMMAND_LINE))]
    guest_append: Option<String>,

    #[arg(long, value_name = "SIZE", requires = "has_guest")]
    #[arg(help = format!("How much memory it has, on top of the machine's own: 16M to 3G [default: {}]", guest::Memory::default()))]
    guest_memory: Option<guest::Memory>,

    /// How many processors it has: 1 to 16 [default: 1]
    #[arg(long, value_name = "N", requires = "has_guest")]
    guest_cpus: Option<guest::Processors>,
}

impl GuestOptions {
    fn wish(self) -> Option<Wish> {
        (self.guest || self.guest_kernel.is_some()).then(|| Wish {
            kernel: self.guest_kernel,
            initrd: self.guest_initrd,
            command_line: self.guest_append,
            memory: self.guest_memory.unwrap_or_default(),
            processors: self.guest_cpus.unwrap_or_default(),
        })
    }
}

/// Get kernels for guests
#[derive(Args, Debug)]
pub(crate) struct Guest {
    #[command(subcommand)]
    pub(crate) what: GuestCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GuestCommand {
    /// Fetch Linux kernels from Debian, unpack them, and pack what they find first: a shell and modules for their devices
    ///
    /// Says where they are and how to run them. What was fetched before is not fetched again. Exits with status 1 if
    /// something is not to be had.
    Fetch,
}

impl Run {
    /// Checks what can be checked before anything is built.
    pub(crate) fn plan(self) -> Result<Plan, RunError> {
        let mut machine = Machine::new("");
        machine.memory = self.memory;
        machine.cpus = self.smp;
        machine.chipset = self.machine;
        machine.iommu = self.iommu;
        machine.debugger = self.gdb;
        machine.extra = self.qemu_arg;
        let disk = self.disk.map_or(Disk::Default, Disk::Image);
        let timeout = self.timeout.map(Duration::from_secs);
        Plan::check(machine, self.accel, disk, self.guest.wish(), self.script.as_deref(), timeout)
    }
}

/// Run every test, or one suite; ends with a line 'N passed, N failed'
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  cargo xtask test                     everything
  cargo xtask test host                what needs no machine
  cargo xtask test conformance ipc     the kernel's cases that have `ipc` in their name
  cargo xtask test conformance --list  the names of the kernel's cases
  cargo xtask test system files        the tests of the booted system that have `files` in their name
  cargo xtask test model --large       ten times as many states of the kernel core
  cargo xtask test hostile --minutes 10 --seed 7 --smp 4
                                       hostile domains beside a victim, in one machine for ten minutes")]
pub(crate) struct Test {
    /// Only this suite
    #[arg(value_enum)]
    pub(crate) suite: Option<Suite>,

    /// Only tests with this in their name, or the one of this name
    pub(crate) filter: Option<String>,

    /// Print the names of the conformance suite's cases and run nothing
    #[arg(long)]
    pub(crate) list: bool,

    /// Go on for longer where a suite can: the search visits ten million states instead of one, and
    /// hostile domains run for ten minutes
    #[arg(long)]
    pub(crate) large: bool,

    /// Write the page of the book that the suite `restart` makes, instead of comparing it
    #[arg(long)]
    pub(crate) docs: bool,

    #[command(flatten)]
    pub(crate) hostility: Hostility,
}

/// What the hostile run is like
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of the suite `hostile`")]
pub(crate) struct Hostility {
    /// How long hostile domains run
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=24 * 60))]
    minutes: Option<u64>,

    /// How many domains are hostile: 1 to 16
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=16))]
    domains: Option<u64>,

    /// From which their random numbers begin
    #[arg(long, value_name = "S")]
    seed: Option<u64>,

    /// How many processors the machine has; otherwise 1, 2 and 4 share the time
    #[arg(long, value_name = "N")]
    smp: Option<Cpus>,

    /// Emulate several processors in parallel: for a host with a core to spare for each of them
    #[arg(long)]
    parallel: bool,
}

impl Hostility {
    /// What was asked for, and the rest as in a run of this size.
    pub(crate) fn plan(&self, size: Size) -> suites::Hostility {
        let otherwise = suites::Hostility::of(size);
        suites::Hostility {
            duration: self.minutes.map_or(otherwise.duration, |minutes| Duration::from_secs(minutes * 60)),
            domains: self.domains.unwrap_or(otherwise.domains),
            seed: self.seed.unwrap_or(otherwise.seed),
            cpus: self.smp.or(otherwise.cpus),
            parallel: self.parallel,
        }
    }
}

/// Change the machine code of running domains, have messages and interrupts fail them, and see who survives it
///
/// Faults are injected in batches while a workload uses the system and checks everything that it reads. Interrupted, it goes on
/// where it was when it is called again in the same way. Exits with status 1 if a death was not recovered from, if another domain was
/// harmed, or the kernel; wrong data that the workload has found out is counted.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  cargo xtask fault                              5,000 faults into every domain of the system
  cargo xtask fault --target fat,virtio-blk --faults 100000 --jobs 2
  cargo xtask fault --target trial --ask 'trial-command 5' --operators flip-bit,delete-jump
                                                 a driver of your own, used by a command of yours
  cargo xtask fault --operators lose-message,corrupt-message,repeat-message,drop-interrupt,jump-clock --faults 500
                                                 nothing wrong in the code, but in what it is told
  cargo xtask fault --replay FOLDER/records/batch-12.json
                                                 one batch again, here or elsewhere")]
pub(crate) struct Fault {
    /// The domains whose code is changed, with commas between them; `all` for every one of the system
    #[arg(long = "target", value_name = "DOMAIN", value_delimiter = ',', default_value = "all")]
    targets: Vec<String>,

    /// How many faults are injected
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..))]
    faults: u64,

    /// How many at a time: 1 to 200; 100, or 10 if all kinds are of those at system calls
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=200))]
    batch: Option<u64>,

    /// From which the faults follow
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// The kinds of fault, with commas between them; all of those in code otherwise
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_enum)]
    operators: Vec<fault::operator::Operator>,

    /// The program that works meanwhile, checks what it reads, and reports to `tally`
    #[arg(long, value_name = "PROGRAM", default_value = fault::WORKLOAD)]
    workload: String,

    /// A command that the workload is to have carried out in each round, with its arguments: it must say the same each time; may
    /// be repeated
    #[arg(long = "ask", value_name = "COMMAND")]
    asked: Vec<String>,

    /// How many machines at once
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=64))]
    jobs: u64,

    /// The folder in which everything is kept; one of its own for each campaign otherwise
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,

    /// Inject a batch again that a campaign has kept
    #[arg(long, value_name = "RECORD")]
    replay: Option<PathBuf>,
}

impl Fault {
    /// Carries it out.
    pub(crate) fn carry_out(self) -> Result<fault::Outcome, fault::FaultError> {
        if let Some(record) = &self.replay {
            return fault::replay(record);
        }
        fault::run(&fault::Plan {
            targets: self.targets,
            faults: self.faults,
            batch: self.batch.map(|batch| batch as usize),
            seed: self.seed,
            operators: self.operators,
            workload: self.workload,
            asked: self.asked,
            jobs: self.jobs as usize,
            folder: self.report,
        })
    }
}

/// Change the kernel's core in one place after the other, and say which changes no test notices
///
/// More than a thousand changes, in half an hour to two. Exits with status 1 if fewer than 90 of 100 are noticed, or if one
/// that is not noticed is not explained in docs/mutants.md.
#[derive(Args, Debug)]
pub(crate) struct Mutants {
    /// Only a part of them: `1/8` is the second of eight
    #[arg(long, value_name = "K/N")]
    pub(crate) shard: Option<String>,

    /// Only those in this file, by its path in the tree; more than one may be named
    #[arg(long = "file", value_name = "PATH")]
    pub(crate) files: Vec<String>,

    /// How many are built and tested at once
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) jobs: usize,
}

/// Look for sequences of system calls that break the kernel's core, or for messages that break a server
///
/// Without an interface: a coverage-guided fuzzer of the core goes on from what it has found before, here and in
/// `tests/fuzz/corpus`; with `--device`, one of the model of a guest's device. Installs cargo-fuzz into the target folder
/// if there is none; needs a C++ compiler. Exits with status 1 and names a file if something breaks.
///
/// With an interface: messages by chance against the server of that interface, on the host. Every crate of the
/// workspace that has a test `any_messages_to_INTERFACE` has one.
#[derive(Args, Debug)]
pub(crate) struct Fuzz {
    /// The interface whose server gets messages; `all` for each that has such a test
    pub(crate) interface: Option<String>,

    /// How many messages
    #[arg(long, value_name = "N", default_value_t = 100_000, requires = "interface")]
    pub(crate) messages: u64,

    /// Seed of the messages; the same seed makes the same messages
    #[arg(long, value_name = "N", default_value_t = 1, requires = "interface")]
    pub(crate) seed: u64,

    /// Instead of the core, fuzz the model of a guest's device
    #[arg(long, value_name = "MODEL", conflicts_with = "interface", value_parser = xtask::fuzz::DEVICES)]
    pub(crate) device: Option<String>,

    /// How long to look for sequences that break the core, or the model
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    #[arg(conflicts_with = "interface")]
    pub(crate) seconds: u64,

    /// Afterwards, put the smallest set of inputs that reaches everything into tests/fuzz/corpus, or, for a model, into its
    /// folder in tests/fuzz/devices
    #[arg(long, conflicts_with = "interface")]
    pub(crate) keep: bool,
}

/// Make a new server or driver: its crate, and its place in the system
///
/// The crate has an interface, a server or driver, a command for the shell, and a test; system.toml lets the shell call the
/// command. `cargo xtask run` then boots with it, and NAME is a command at the shell.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  cargo xtask new server greeter                in servers/greeter
  cargo xtask new server greeter --path ../mine in ../mine/greeter, outside of this workspace
  cargo xtask new driver computer               a driver of QEMU's device for education; `computer 5` says 120
  cargo xtask remove greeter                    undoes the first or the second")]
pub(crate) struct New {
    /// What to make
    #[arg(value_enum)]
    pub(crate) kind: scaffold::Kind,

    /// Its name: lowercase letters, digits and inner dashes
    pub(crate) name: String,

    /// The folder in which the crate's own folder is made
    #[arg(long, value_name = "DIR")]
    pub(crate) path: Option<PathBuf>,
}

/// Remove what `new` has made: the crate and its place in the system
///
/// Refuses if a file of the crate is not as it was made, or if something else in the system uses it.
#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// Its name
    pub(crate) name: String,

    /// Remove files that were changed, too
    #[arg(long)]
    pub(crate) force: bool,
}

/// Measure everything, or some of it, beside the same work in other systems
///
/// Counts of guest instructions come out the same in every run; times are taken in turn with Linux in the same run. The result
/// is a table, and `bench.json` in the target folder. Exits with status 1 if a bar is not met or something was not measured.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  cargo xtask bench                    everything
  cargo xtask bench ipc notify         some of it
  cargo xtask bench --compare          what is counted, beside the committed counts: status 1 if one has risen
                                       by more than 2 %, whatever the bars
  cargo xtask bench ipc --save --reason 'calls check the sender'
                                       commits, with the file that this writes, to the counts of now")]
pub(crate) struct Bench {
    /// What to measure; without it everything, or with --compare and --save everything that they are about
    #[arg(value_enum)]
    pub(crate) what: Vec<Group>,

    /// Of `block`: the machines in which it is measured
    #[arg(long, value_name = "KIND", value_enum, value_delimiter = ',', default_values = ["on", "off"])]
    pub(crate) iommu: Vec<Iommu>,

    /// Who executes the instructions; on hardware cycles are measured, beside Linux's, and nothing is counted
    #[arg(long, value_name = "WHO", value_enum, default_value_t, conflicts_with_all = ["compare", "save"])]
    pub(crate) accel: Accel,

    /// Measure this system only, and no Linux beside it
    #[arg(long)]
    pub(crate) alone: bool,

    /// Compare the counts of guest instructions with the committed baseline; implies --alone
    #[arg(long)]
    pub(crate) compare: bool,

    /// Write the counts of guest instructions into the baseline, to be committed with what has changed them
    #[arg(long, requires = "reason", conflicts_with = "compare")]
    pub(crate) save: bool,

    /// Why the counts that have changed may be what they are; kept in the baseline
    #[arg(long, value_name = "TEXT", requires = "save")]
    pub(crate) reason: Option<String>,

    /// Where the result is written for programs; in the target folder otherwise
    #[arg(long, value_name = "PATH")]
    pub(crate) json: Option<PathBuf>,

    /// Where to draw the counts beside those of others, as SVG
    #[arg(long, value_name = "PATH")]
    pub(crate) chart: Option<PathBuf>,

    /// Measure everything and write the page of figures of the book, with its picture
    #[arg(long, conflicts_with_all = ["what", "compare", "save", "alone", "accel"])]
    pub(crate) docs: bool,

    /// Instead of measuring, show in which functions the instructions of one round of a work are spent: ipc-call-6, for example
    #[arg(long, value_name = "WORK")]
    #[arg(conflicts_with_all = ["what", "compare", "save", "alone", "accel", "docs", "json", "chart"])]
    pub(crate) trace: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn arguments_for_qemu_may_begin_with_a_dash_and_be_repeated() {
        let parsed = Arguments::try_parse_from(["xtask", "run", "--qemu-arg", "-d", "--qemu-arg=int"]).unwrap();
        match parsed.command {
            Command::Run(run) => assert_eq!(run.qemu_arg, ["-d", "int"]),
            other => panic!("parsed as {other:?}"),
        }
    }

    #[test]
    fn what_a_guest_is_like_is_said_of_a_guest_only() {
        let wish = |words: &[&str]| {
            let line = ["xtask", "run"].iter().chain(words);
            match Arguments::try_parse_from(line).ok()?.command {
                Command::Run(run) => Some(run.guest.wish()),
                other => panic!("parsed as {other:?}"),
            }
        };
        assert_eq!(wish(&[]).unwrap(), None);
        assert_eq!(wish(&["--guest"]).unwrap(), Some(Wish::default()));
        assert!(wish(&["--guest", "--guest-kernel", "k"]).is_some());
        let whole = ["--guest-kernel", "k", "--guest-initrd", "i", "--guest-append", "-x", "--guest-memory", "64M"];
        let found = wish(&whole).unwrap().unwrap();
        assert_eq!((found.kernel, found.initrd), (Some("k".into()), Some("i".into())));
        assert_eq!((found.command_line.as_deref(), found.memory.bytes()), (Some("-x"), 64 << 20));
        for wrong in
            [&["--guest-cpus", "2"][..], &["--guest", "--guest-cpus", "17"], &["--guest", "--guest-memory", "1M"]]
        {
            assert!(wish(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn machines_that_cannot_be_are_refused() {
        for wrong in [
            ["--memory", "16M"],
            ["--memory", "lots"],
            ["--smp", "0"],
            ["--smp", "33"],
            ["--accel", "magic"],
            ["--machine", "pdp11"],
            ["--timeout", "0"],
        ] {
            let line = ["xtask", "run"].into_iter().chain(wrong);
            assert!(Arguments::try_parse_from(line).is_err(), "{wrong:?}");
        }
    }
}
