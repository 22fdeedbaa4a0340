//! What it costs that the disk's driver is confined: guest instructions for each request to the disk, of all domains that have
//! to do with it and of the kernel on their behalf, with the IOMMU and without.

use std::time::Duration;

use super::BenchError;
use super::group::Group;
use super::row::{Figure, Peer, Row};
use super::table::Table;
use crate::build;
use crate::disk::{self, BIG_FILE};
use crate::machine::{Drive, Iommu, Machine};
use crate::progress::Step;
use crate::session::Session;
use crate::setup;

/// The most that confinement may cost, in percent.
const ALLOWED: u64 = 10;
/// How often the file is read, after once that is not measured.
const READINGS: u32 = 8;
/// How long a reading may take: counting instructions makes the machine slower.
const LIMIT: Duration = Duration::from_secs(300);
/// Who works for a request.
const WORKERS: [&str; 3] = ["virtio-blk", "fat", "pci"];

/// What the domains had used, and what the driver had done, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reading {
    /// Instructions.
    used: u64,
    requests: u64,
}

/// The row of a machine, beside what a request takes without an IOMMU, if that was measured.
fn row(iommu: Iommu, count: u64, without: Option<u64>) -> Row {
    let (name, what) = match iommu {
        Iommu::Off => ("block-request-unconfined", "a request, no IOMMU"),
        Iommu::On => ("block-request", "a request, driver confined by Intel's IOMMU"),
        Iommu::Amd => ("block-request-amd", "a request, driver confined by AMD's IOMMU"),
    };
    // A machine in which nothing was used has not been measured.
    let row = Row::new(name, what, (count > 0).then(|| Figure::instructions(count)));
    match without.filter(|_| iommu != Iommu::Off) {
        Some(without) => {
            row.must((without * (100 + ALLOWED) / 100) as f64).peer(Peer::measured("without an IOMMU", without as f64))
        }
        None => row,
    }
}

/// A time as the shell shows it, in nanoseconds, which are instructions on a machine that counts them.
fn nanoseconds(shown: &str) -> Option<u64> {
    let (number, unit) = shown.trim().split_once(' ')?;
    let scale = match unit {
        "ns" => 1.0,
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return None,
    };
    Some((number.parse::<f64>().ok()? * scale) as u64)
}

/// The time that the workers have used, by the table of `ps`.
fn used(table: &str) -> Option<u64> {
    WORKERS
        .iter()
        .map(|worker| {
            let line = table.lines().find(|line| line.split_whitespace().next() == Some(worker))?;
            // Columns are two spaces apart at least; the time is the eighth.
            let mut columns = line.split("  ").map(str::trim).filter(|column| !column.is_empty());
            nanoseconds(columns.nth(7)?)
        })
        .sum()
}

/// The requests that the driver has completed, by the table of `disk`.
fn requests(table: &str) -> Option<u64> {
    let line = table.lines().find(|line| line.contains("requests completed"))?;
    line.split_whitespace().next_back()?.parse().ok()
}

fn read(session: &mut Session) -> Result<Reading, BenchError> {
    let (domains, disk) = (session.run_within("ps", LIMIT)?.text, session.run_within("disk", LIMIT)?.text);
    let found = used(&domains).zip(requests(&disk));
    let (used, requests) = found.ok_or_else(|| BenchError::NoFigures(format!("{domains}\n{disk}")))?;
    Ok(Reading { used, requests })
}

/// Measures it on machines of these kinds.
///
/// # Errors
///
/// [`BenchError`].
pub(super) fn block(kinds: &[Iommu]) -> Result<Table, BenchError> {
    let built = build::system(&setup::ensure()?)?;
    let measure = |iommu: Iommu| -> Result<u64, BenchError> {
        let mut machine = Machine::new(&built.image);
        machine.drives = disk::default_image().map(|image| vec![Drive::new(image)]).unwrap_or_default();
        machine.iommu = iommu;
        machine.extra.extend(["-icount", "shift=0,sleep=off"].map(Into::into));
        let step = Step::start(format!("Reading {BIG_FILE}, counting instructions, IOMMU {iommu:?}"));
        let mut session = Session::boot_with(&machine, None, LIMIT)?;
        let command = format!("sum /disk/{BIG_FILE}");
        session.run_within(&command, LIMIT)?;
        let before = read(&mut session)?;
        for _ in 0..READINGS {
            session.run_within(&command, LIMIT)?;
        }
        let after = read(&mut session)?;
        step.quiet();
        Ok((after.used - before.used) / (after.requests - before.requests).max(1))
    };
    let mut counts = Vec::new();
    for kind in kinds {
        counts.push((*kind, measure(*kind)?));
    }
    let without = counts.iter().find(|(kind, _)| *kind == Iommu::Off).map(|(_, count)| *count);
    let rows = counts.iter().map(|(kind, count)| row(*kind, *count, without)).collect();
    Ok(Table::new(Group::Block, rows)
        .note(format!(
            "{BIG_FILE} read {READINGS} times; instructions of {} and of the kernel for them.",
            WORKERS.join(", ")
        ))
        .note(format!("Confinement may cost {ALLOWED} %.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_what_the_shell_shows() {
        let table = "NAME        STATE    LEVEL  PRIO  CPU  BUDGET   MEMORY     TIME  RESTARTS  LAST DEATH\n\
                     pci         running      1   140    0       -  1.1 MiB  4232 us         0  -\n\
                     virtio-blk  running      2   140    0       -  2.4 MiB    25 ms         2  panic\n\
                     fat         running      3   120    0       -  8.1 MiB  1.961 s         1  -\n";
        assert_eq!(used(table), Some(4_232_000 + 25_000_000 + 1_961_000_000));
        assert_eq!(used(&table.replace("fat", "fit")), None);
        assert_eq!(requests("what       COUNT\nrequests completed   471\n"), Some(471));
    }

    #[test]
    fn a_tenth_more_is_allowed_and_no_more() {
        assert!(row(Iommu::On, 1100, Some(1000)).is_good());
        assert!(!row(Iommu::Amd, 1101, Some(1000)).is_good());
        assert!(!row(Iommu::On, 0, None).is_good(), "nothing was measured");
        assert!(row(Iommu::On, 1000, None).is_good(), "nothing is compared");
        assert!(row(Iommu::Off, 1000, Some(1000)).peers.is_empty(), "it is not compared with itself");
    }
}
