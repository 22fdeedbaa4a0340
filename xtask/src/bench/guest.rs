//! A Linux as a guest beside the same Linux in a machine of its own, by the clock, in turn; and what it costs a guest to be left for its
//! monitor, in instructions.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::BenchError;
use super::group::Group;
use super::plan::{self, Plan};
use super::row::{Figure, Peer, Row, Unit};
use super::table::Table;
use crate::build::{self, Composition};
use crate::console::Console;
use crate::disk::Fingerprint;
use crate::guest::handmade::{self, Reason};
use crate::guest::{self, Bootable, COMMAND_LINE, DISK_DRIVER, Dialogue, Entry, Kernel, LEAVE};
use crate::machine::{Drive, Iommu, Machine, Memory};
use crate::progress::Step;
use crate::session::Session;
use crate::setup;
use crate::workspace;

/// How often a guest is left for each reason.
const EXITS: u32 = 1000;
/// How often each Linux is booted.
const ROUNDS: u32 = 5;
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Bytes of the disk that is read, and of the zeroes that are summed up.
const DISK: usize = 64 << 20;
const ZEROES: usize = 32 << 20;
/// How often they are.
const SUMS: usize = 4;

/// How many times as long a boot may take, and a program that only computes; how much memory a monitor may have beside its guest's; how many
/// instructions may pass from its start to its guest's first.
const BOOT_BAR: f64 = 3.0;
const COMPUTING_BAR: f64 = 1.15;
const MEMORY_BAR: f64 = 5.0;
const START_BAR: f64 = 5_000_000.0;

/// What a Linux takes, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sample {
    /// To its shell's prompt.
    boot: f64,
    /// To read the disk.
    disk: f64,
    /// To sum up zeroes.
    computing: f64,
}

impl Sample {
    /// The rest of a sample, of a Linux that has booted in so many seconds.
    fn take(boot: f64, linux: &mut Dialogue<'_>) -> Result<Self, BenchError> {
        let disk = linux.run("dd if=/dev/vda of=/dev/null bs=1M", LIMIT)?;
        // This `dd` tells whole blocks, and no bytes.
        if !disk.text.contains(&format!("{}+0 records out", DISK >> 20)) {
            return Err(BenchError::NoFigures(disk.text));
        }
        // What is summed up lies in memory, so that one program computes and nothing else happens.
        linux.run(&format!("dd if=/dev/zero of=/z bs=1M count={} 2>&-", ZEROES >> 20), LIMIT)?;
        let computing = linux.run(&format!("sha256sum{}", " /z".repeat(SUMS)), LIMIT)?;
        if computing.text.matches(&Fingerprint::of(&vec![0; ZEROES]).hex()).count() != SUMS {
            return Err(BenchError::NoFigures(computing.text));
        }
        Ok(Self { boot, disk: disk.took.as_secs_f64(), computing: computing.took.as_secs_f64() })
    }
}

/// A machine for a system with a guest.
fn machine(name: &str, guest: &Entry) -> Result<Machine, BenchError> {
    let guests = [(name, guest)];
    let mut changed = Ok(());
    let composition = Composition::of_system_changed(&format!("bulkhead-{name}.elf"), |system| {
        guest::manifest_with(system, &guests).unwrap_or_else(|error| {
            changed = Err(error);
            String::new()
        })
    });
    changed?;
    let built = build::build(&composition?, &setup::ensure()?)?;
    let mut machine = Machine::new(&built.image);
    machine.memory = guest::memory_with(&guests)?;
    Ok(machine)
}

/// What a guest of a few instructions says of being left, and how many instructions it took to start it.
fn exits() -> Result<Vec<Row>, BenchError> {
    const NAME: &str = "probe";
    let step = Step::start("A guest that is left again and again, counting instructions");
    let kernel = guest::folder().join("exits.elf");
    fs::create_dir_all(guest::folder()).map_err(BenchError::file(&kernel))?;
    fs::write(&kernel, handmade::exits(EXITS)).map_err(BenchError::file(&kernel))?;
    // It starts with its monitor, so that nothing but the monitor's work comes before it.
    let guest = Entry { kernel, memory: guest::Memory::mebibytes(16), ..Entry::default() };
    let mut machine = machine(NAME, &guest)?;
    machine.extra.extend(["-icount", "shift=0,sleep=off"].map(Into::into));
    let mut session = Session::boot_with(&machine, None, LIMIT)?;
    await_rest(&mut session, NAME)?;
    let attached = session.begin(&format!("guest console {NAME}"))?;
    session.console().expect_from(0, handmade::EXITS_DONE, LIMIT)?;
    session.console().type_text(LEAVE)?;
    session.finish(attached, LIMIT)?;
    let log = session.run_within(&format!("log {NAME}"), LIMIT)?.text;
    let text = session.transcript();
    step.quiet();
    let mut rows = rows_of_exits(&text);
    let start = ticks_before_guest(&log).map(Figure::instructions);
    rows.push(
        Row::new("guest-start", "from a monitor's start to its guest's first instruction", start).must(START_BAR),
    );
    Ok(rows)
}

/// Waits until a guest is not left any more: whoever looked on before would be counted with it.
fn await_rest(session: &mut Session, name: &str) -> Result<(), BenchError> {
    let until = Instant::now() + LIMIT;
    let mut before = None;
    loop {
        let info = session.run_within(&format!("guest info {name}"), LIMIT)?.text;
        let exits = info.lines().find(|line| line.contains("exits to the monitor")).map(str::to_owned);
        if exits.is_some() && exits == before {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(BenchError::NoFigures(info));
        }
        before = exits;
        thread::sleep(Duration::from_millis(500));
    }
}

/// How long a monitor ran before its guest did, by its log: in ticks, which are instructions in a machine that counts them.
fn ticks_before_guest(log: &str) -> Option<u64> {
    let (before, _) = log.split_once(" ticks after its monitor")?;
    before.rsplit(' ').next()?.parse().ok()
}

/// A row for each reason, by what the guest has written.
fn rows_of_exits(text: &str) -> Vec<Row> {
    let spent = |reason: Reason| {
        let counting = handmade::ticks(Reason::Nothing.name(), text)?;
        Some(handmade::ticks(reason.name(), text)?.saturating_sub(counting) / u64::from(EXITS))
    };
    let row = |(reason, what): (Reason, &str)| {
        let figure = spent(reason).filter(|count| *count > 0).map(Figure::instructions);
        Row::new(format!("guest-exit-{}", reason.name()), format!("a guest left and entered again: {what}"), figure)
    };
    let reasons = [
        (Reason::Cpuid, "what its processor is"),
        (Reason::Port, "a port with nothing behind it"),
        (Reason::Memory, "a device's register in memory"),
        (Reason::Register, "a register of its processor"),
    ];
    reasons.map(row).into()
}

/// The same Linux in a machine of its own.
fn direct(linux: &Bootable, disk: &Path, plan: &Plan) -> Result<Sample, BenchError> {
    let mut machine = Machine::new(&linux.kernel);
    plan::time(plan.accelerator, &mut machine);
    // As a guest has none.
    machine.iommu = Iommu::Off;
    machine.memory = Memory::mebibytes(guest::Memory::default().bytes() >> 20);
    machine.drives = vec![Drive::read_only(disk)];
    machine.extra = vec!["-initrd".into(), linux.initrd.clone().into(), "-append".into(), COMMAND_LINE.into()];
    let mut console = Console::start(&machine, None)?;
    let started = console.started();
    let mut dialogue = Dialogue::begin(&mut console, LIMIT)?;
    Sample::take(started.elapsed().as_secs_f64(), &mut dialogue)
}

/// The guest of a system that runs, switched on and off again.
fn as_guest(session: &mut Session, name: &str) -> Result<Sample, BenchError> {
    let started = Instant::now();
    let reply = session.run_within(&format!("guest start {name}"), LIMIT)?;
    if !reply.succeeded {
        return Err(BenchError::NoFigures(reply.text));
    }
    let attached = session.begin(&format!("guest console {name}"))?;
    let mut dialogue = Dialogue::begin(session.console(), LIMIT)?;
    let sample = Sample::take(started.elapsed().as_secs_f64(), &mut dialogue)?;
    // Its last words are no prompt, which the next round would take for its own. The console ends with it.
    dialogue.say("poweroff -f")?;
    session.finish(attached, LIMIT)?;
    Ok(sample)
}

/// Mebibytes that a domain has, by the table of `ps`.
pub(super) fn memory_of(name: &str, table: &str) -> Option<f64> {
    let line = table.lines().find(|line| line.split_whitespace().next() == Some(name))?;
    // Columns are two spaces apart at least; memory is the seventh.
    let mut columns = line.split("  ").map(str::trim).filter(|column| !column.is_empty());
    let (number, unit) = columns.nth(6)?.split_once(' ')?;
    let scale = match unit {
        "KiB" => 1.0 / 1024.0,
        "MiB" => 1.0,
        "GiB" => 1024.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

/// Mebibytes that a monitor has beside its guest's memory, by the same table.
fn memory_beside(name: &str, table: &str) -> Option<f64> {
    let mebibytes = memory_of(name, table)?;
    let guests = (guest::Memory::default().bytes() >> 20) as f64;
    Some(if mebibytes >= guests { mebibytes - guests } else { mebibytes })
}

/// Both, in turn.
fn beside(plan: &Plan) -> Result<(Vec<Row>, String), BenchError> {
    const NAME: &str = "linux";
    let linux = Kernel::Linux.obtain()?;
    let disk = workspace::system_target().join("guest-disk.img");
    let contents: Vec<u8> =
        (0..DISK / 8).flat_map(|word| (word as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect();
    fs::write(&disk, contents).map_err(BenchError::file(&disk))?;
    let guest = Entry {
        kernel: linux.kernel.clone(),
        initrd: Some(linux.initrd.clone()),
        disks: vec![DISK_DRIVER.to_owned()],
        starts: false,
        ..Entry::default()
    };
    let mut machine = machine(NAME, &guest)?;
    plan::time(plan.accelerator, &mut machine);
    let own_disk = crate::disk::default_image().map_err(|error| BenchError::NoFigures(error.to_string()))?;
    // Both machines have the second open at the same time.
    machine.drives = vec![Drive::new(own_disk), Drive::read_only(&disk)];
    let step = Step::start("Linux as a guest and by itself");
    let mut session = Session::boot_with(&machine, None, LIMIT)?;
    let mut samples = Vec::new();
    let mut memory = None;
    for round in 1..=ROUNDS {
        step.news(&format!("round {round} of {ROUNDS}: as a guest"));
        let own = as_guest(&mut session, NAME)?;
        memory = memory_beside(NAME, &session.run_within("ps", LIMIT)?.text);
        step.news(&format!("round {round} of {ROUNDS}: by itself"));
        samples.push((own, direct(&linux, &disk, plan)?));
    }
    step.quiet();
    let mut rows = rows_beside(&samples);
    let memory = memory.map(|mebibytes| Figure::exactly(Unit::Mebibytes, mebibytes));
    rows.push(Row::new("guest-memory", "memory of a monitor beside its guest's", memory).must(MEMORY_BAR));
    Ok((rows, linux.version))
}

/// A row with its times and one with how many times as long it took, for each thing.
fn rows_beside(samples: &[(Sample, Sample)]) -> Vec<Row> {
    /// A thing, its name and words, and its bar if it has one.
    type Part = (&'static str, &'static str, fn(&Sample) -> f64, Option<f64>);
    let parts: [Part; 3] = [
        ("guest-boot", "a Linux to its shell's prompt", |sample| sample.boot, Some(BOOT_BAR)),
        ("guest-disk", "64 MiB read from a disk", |sample| sample.disk, None),
        ("guest-computing", "SHA-256 of 128 MiB of zeroes", |sample| sample.computing, Some(COMPUTING_BAR)),
    ];
    let rows = parts.iter().flat_map(|(name, what, of, bar)| {
        let pairs: Vec<(f64, f64)> = samples.iter().map(|(own, other)| (of(own), of(other))).collect();
        let side =
            |of: fn(&(f64, f64)) -> f64| Figure::median(Unit::Seconds, &pairs.iter().map(of).collect::<Vec<_>>());
        let mut time = Row::new(format!("{name}-time"), format!("{what}, as a guest"), side(|pair| pair.0));
        if let Some(other) = side(|pair| pair.1) {
            time = time.peer(Peer::measured("by itself", other.value));
        }
        let ratio = Row::new(*name, format!("{what}, beside itself"), Figure::times_longer(&pairs));
        [time, bar.iter().fold(ratio, |row, bar| row.must(*bar))]
    });
    rows.collect()
}

/// Measures it.
///
/// # Errors
///
/// [`BenchError`].
pub(super) fn guest(plan: &Plan) -> Result<Table, BenchError> {
    let mut rows = exits()?;
    let (beside, version) = beside(plan)?;
    rows.extend(beside);
    Ok(Table::new(Group::Guest, rows)
        .note(format!(
            "Exits: guest, monitor and kernel together, {EXITS} of each in a machine that counts instructions, less what counting takes."
        ))
        .note(format!(
            "Seconds of the host, {}: Linux {version}, `{COMMAND_LINE}`, one processor, {} of memory, medians of {ROUNDS} rounds in turn \
             with the same kernel and files in a machine of its own.",
            plan::name(plan.accelerator),
            guest::Memory::default()
        )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_exit_costs_is_what_a_guest_says_less_what_counting_takes() {
        let text = "exits start 0000000000000001\r\nexits nothing 00000000000007d0\r\nexits cpuid 00000000001e8c50\r\n";
        let rows = rows_of_exits(text);
        let figure = |name: &str| rows.iter().find(|row| row.name == name).and_then(|row| row.figure);
        assert_eq!(figure("guest-exit-cpuid").map(|figure| figure.value), Some(2000.0));
        assert_eq!(figure("guest-exit-port"), None, "what was not measured is not there");
        assert_eq!(rows.len(), Reason::ALL.len() - 1);
    }

    #[test]
    fn the_monitors_log_tells_when_its_guest_began() {
        let log = "[    0.398800] probe: the guest has 16 MiB, 1 processors and 0 disks; it begins 219702522 ticks after its monitor\n";
        assert_eq!(ticks_before_guest(log), Some(219_702_522));
        assert_eq!(ticks_before_guest("probe has never died."), None);
    }

    #[test]
    fn a_guest_may_take_longer_by_its_bar_and_no_more() {
        let sample = |boot, computing| Sample { boot, disk: 1.0, computing };
        let good = |own| rows_beside(&[(own, sample(1.0, 1.0))]).iter().all(Row::is_good);
        assert!(good(sample(3.0, 1.15)));
        assert!(!good(sample(3.1, 1.0)));
        assert!(!good(sample(1.0, 1.2)));
        assert!(!rows_beside(&[]).iter().all(Row::is_good), "nothing was measured");
    }

    #[test]
    fn a_monitors_memory_is_what_its_domain_has_less_its_guests() {
        let line = |memory| {
            format!("NAME  STATE\nlinux       running      3    50    0       -  {memory}  1.2 s         0  -\n")
        };
        assert_eq!(memory_beside("linux", &line("131.5 MiB")), Some(3.5));
        assert_eq!(memory_beside("linux", &line("3.5 MiB")), Some(3.5));
        assert_eq!(memory_beside("linux", &line("512 KiB")), Some(0.5));
        assert_eq!(memory_beside("other", &line("3.5 MiB")), None);
    }
}
