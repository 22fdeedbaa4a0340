//! Files read directly, from an application through the file server and the driver.

use std::time::Duration;

use super::BenchError;
use super::group::Group;
use super::plan::{self, Plan};
use super::row::{Figure, Peer, Row, Unit};
use super::table::Table;
use crate::build::{self, Composition};
use crate::disk::{self, LOAD_FILE};
use crate::machine::{self, Drive, Machine, Monitor};
use crate::progress::Step;
use crate::session::Session;
use crate::setup;
use crate::workspace;

/// The application: its name, and its entry of the manifest.
pub(super) const LOAD: &str = "load";
/// See [`LOAD`]. The ring has room for eight parts of 1 MiB.
pub(super) const LOAD_ENTRY: &str = r#"
[domain.load]
kind = "app"
provides = ["command"]
uses = [{ interface = "filesystem", ring = "8200K" }]
memory = "1M"
# Above those that work for it: what it asks for in one go is taken in one go.
priority = 130
heartbeat = "none"
"#;

/// Bytes of the file: far more than all caches together.
pub(super) const FILE: u64 = 128 << 20;
/// How often each is measured.
const ROUNDS: u32 = 5;
/// How long one may take.
const LIMIT: Duration = Duration::from_secs(120);

/// A work of the application, and the same work of Linux's.
struct Work {
    name: &'static str,
    what: &'static str,
    arguments: &'static str,
    /// Linux's name for it.
    linux: &'static str,
    /// What counts as one: a part that was read, or so many bytes.
    bytes: Option<f64>,
}

const WORKS: [Work; 4] = [
    Work {
        name: "file-random-1",
        what: "4 KiB in random places, one at a time",
        arguments: "random /load.bin 1 2000",
        linux: "disk-random-1",
        bytes: None,
    },
    Work {
        name: "file-random-32",
        what: "the same, 32 at a time",
        arguments: "random /load.bin 32 20000",
        linux: "disk-random-32",
        bytes: None,
    },
    Work {
        name: "file-sequential",
        what: "in order, 1 MiB at a time",
        arguments: "sequential /load.bin 1 1024",
        linux: "disk-sequential-direct",
        bytes: Some(MEBIBYTE),
    },
    Work {
        name: "file-sequential-4",
        what: "the same, four at a time, Linux one",
        arguments: "sequential /load.bin 4 1024",
        linux: "disk-sequential-direct",
        bytes: Some(MEBIBYTE),
    },
];

/// Bytes of what Linux reads at a time when it reads in order.
const MEBIBYTE: f64 = 1_048_576.0;
/// What Linux is told to do, and to confine the disk as this system does.
const WORKS_OF_LINUX: &str = "works=disk-random,disk-sequential-direct intel_iommu=on";

/// Parts, bytes and nanoseconds, by the line that the application says.
fn said(text: &str) -> Option<(u64, u64, u64)> {
    let line = text.lines().find_map(|line| line.strip_prefix("load: "))?;
    let mut numbers = line.split(", ").filter_map(|part| part.split(' ').next()?.parse().ok());
    Some((numbers.next()?, numbers.next()?, numbers.next()?))
}

/// Ticks of the time-stamp counter in a second, in millions, by the kernel's log.
fn megahertz(log: &str) -> Option<f64> {
    let (before, _) = log.split_once(" MHz by ")?;
    before.rsplit(' ').next()?.parse().ok()
}

/// Seconds that this system takes for one of what counts, in each work, all of which is read from the disk.
fn read(session: &mut Session, monitor: &mut Monitor) -> Result<Vec<f64>, BenchError> {
    let mut taken = Vec::new();
    for work in &WORKS {
        let before = monitor.disk_counts()?;
        let text = session.run_within(&format!("load {}", work.arguments), LIMIT)?.text;
        let counted = monitor.disk_counts()?.since(before);
        let (parts, bytes, nanoseconds) = said(&text).ok_or(BenchError::NoFigures(text))?;
        if counted.bytes_read < bytes {
            return Err(BenchError::Cached { work: work.name, said: bytes, counted: counted.bytes_read });
        }
        let count = work.bytes.map_or(parts as f64, |unit| bytes as f64 / unit);
        taken.push(nanoseconds as f64 / 1e9 / count);
    }
    Ok(taken)
}

/// Measures it, in turn with Linux.
///
/// # Errors
///
/// [`BenchError`].
pub(super) fn file(plan: &Plan) -> Result<Table, BenchError> {
    let composition = Composition::of_system_with(LOAD, LOAD_ENTRY)?;
    let built = build::build(&composition, &setup::ensure()?)?;
    let works = if plan.alone { None } else { Some(plan.works()?) };
    let image = workspace::system_target().join("load.img");
    disk::write_load(&image, FILE).map_err(|error| BenchError::NoFigures(error.to_string()))?;
    let mut machine = Machine::new(&built.image);
    // Both machines have it open at the same time.
    machine.drives = vec![Drive::read_only(&image)];
    let socket = machine::socket();
    machine.monitor = Some(socket.clone());
    plan::time(plan.accelerator, &mut machine);
    let step = Step::start("Reading directly");
    let mut session = Session::boot(&machine)?;
    let mut monitor = Monitor::connect(&socket)?;
    let checked = session.run_within(&format!("load check /{LOAD_FILE} 4 1024"), LIMIT)?;
    if !checked.succeeded {
        return Err(BenchError::NoFigures(checked.text));
    }
    let log = session.run_within("log -n 100000", LIMIT)?.text;
    let ticks = megahertz(&log).ok_or(BenchError::NoFigures(log))? * 1e6;
    let mut pairs = WORKS.map(|_| Vec::new());
    for round in 1..=ROUNDS {
        step.news(&format!("round {round} of {ROUNDS}"));
        let own = read(&mut session, &mut monitor)?;
        let linux = works.map(|works| {
            works.run(WORKS_OF_LINUX, |machine| {
                plan::time(plan.accelerator, machine);
                // Both machines have it open at the same time.
                machine.drives = vec![Drive::read_only(&image)];
            })
        });
        let linux = linux.transpose()?;
        for ((work, pairs), own) in WORKS.iter().zip(&mut pairs).zip(own) {
            let ticks_of_linux = linux.as_ref().and_then(|linux| linux.middle.get(work.linux));
            pairs.push((own, ticks_of_linux.map(|count| *count as f64 / ticks)));
        }
    }
    step.quiet();
    let rows = WORKS.iter().zip(&pairs).flat_map(|(work, pairs)| rows(work, pairs)).collect();
    let table = Table::new(Group::File, rows).note(format!(
        "Read past all caches, IOMMU on; a file of {} MiB, checked before, and a word of each sector or page each time; QEMU's \
         `query-blockstats` counts as many bytes from the disk as the application has read. Linux: \
         the raw disk with O_DIRECT, on the same machine, and nobody looks at the data; median of \
         {ROUNDS} and range, in turn.",
        FILE >> 20
    ));
    Ok(table)
}

/// How many a second, or how much, and how many times as fast as Linux.
fn rows(work: &Work, pairs: &[(f64, Option<f64>)]) -> Vec<Row> {
    let rate = |seconds: f64| work.bytes.unwrap_or(1.0) / seconds / if work.bytes.is_some() { 1e6 } else { 1.0 };
    let own: Vec<f64> = pairs.iter().map(|(own, _)| rate(*own)).collect();
    let linux: Vec<f64> = pairs.iter().filter_map(|(_, linux)| linux.map(rate)).collect();
    let unit = if work.bytes.is_some() { "MB a second" } else { "a second" };
    let mut rate_row = Row::new(work.name, format!("{}, {unit}", work.what), Figure::median(Unit::Number, &own));
    if let Some(linux) = Figure::median(Unit::Number, &linux) {
        rate_row = rate_row.peer(Peer::measured("Linux", linux.value));
    }
    let paired: Vec<(f64, f64)> = pairs.iter().filter_map(|(own, linux)| Some((*own, (*linux)?))).collect();
    let mut rows = vec![rate_row];
    if !paired.is_empty() {
        let ratio = Row::new(format!("{}-ratio", work.name), "beside Linux", Figure::times_faster(&paired));
        rows.push(if work.name == "file-sequential-4" { ratio } else { ratio.must(1.0) });
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_what_the_application_says() {
        let text = "x\nload: 2000 parts, 8192000 bytes, 123456 ns, 0 wrong, 0 failed, 0 new servers\n";
        assert_eq!(said(text), Some((2000, 8_192_000, 123_456)));
        assert_eq!(said("load: it failed"), None);
        assert_eq!(megahertz("[0.1] kernel: info: 256 MiB of memory, 2900 MHz by HPET, SMEP"), Some(2900.0));
    }
}
