//! What it costs that the disk's driver is confined: guest instructions for each request to the disk, of all domains that have
//! to do with it and of the kernel on their behalf, with the IOMMU and without.

use std::fmt;
use std::time::Duration;

use super::BenchError;
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

/// Instructions for each request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// Without an IOMMU, if that was measured.
    pub without: Option<u64>,
    /// With those that were measured.
    pub with: Vec<(Iommu, u64)>,
}

impl Confinement {
    /// How much more it takes with an IOMMU, in tenths of a percent; negative if it takes less.
    fn permille(&self, with: u64) -> Option<i64> {
        let without = self.without.filter(|without| *without > 0 && with > 0)?;
        Some((with as i64 - without as i64) * 1000 / without as i64)
    }

    /// Whether it costs no more than it may; of figures with IOMMUs alone, or without, nothing can be said.
    pub fn is_allowed(&self) -> bool {
        let is_allowed = |with| self.permille(with).is_some_and(|more| more <= ALLOWED as i64 * 10);
        self.without.is_none() || self.with.iter().all(|(_, with)| is_allowed(*with))
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Guest instructions for each request to the disk ({BIG_FILE} read {READINGS} times; {}):\n",
            WORKERS.join(", ")
        )?;
        if let Some(count) = self.without {
            writeln!(f, "  without IOMMU  {count:>8}")?;
        }
        for (iommu, count) in &self.with {
            let what = if *iommu == Iommu::Amd { "with AMD's" } else { "with" };
            writeln!(f, "  {what:<13}  {count:>8}")?;
            if let Some(more) = self.permille(*count) {
                writeln!(f, "  more           {:>8.1} %", more as f64 / 10.0)?;
            }
        }
        if self.without.is_some() && !self.with.is_empty() {
            writeln!(f, "\nAt most {ALLOWED} % more is allowed.")?;
        }
        Ok(())
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
pub fn block(kinds: &[Iommu]) -> Result<Confinement, BenchError> {
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
    let mut cost = Confinement::default();
    for kind in kinds {
        match kind {
            Iommu::Off => cost.without = Some(measure(*kind)?),
            Iommu::On | Iommu::Amd => cost.with.push((*kind, measure(*kind)?)),
        }
    }
    Ok(cost)
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
        let cost = |without, with| Confinement { without: Some(without), with: vec![(Iommu::On, with)] };
        assert!(cost(1000, 1100).is_allowed());
        assert!(!cost(1000, 1101).is_allowed());
        assert!(!cost(0, 0).is_allowed(), "nothing was measured");
        assert!(Confinement { without: None, ..cost(0, 1000) }.is_allowed(), "nothing is compared");
        let both = Confinement { without: Some(1000), with: vec![(Iommu::On, 1100), (Iommu::Amd, 1101)] };
        assert!(!both.is_allowed(), "it holds of each");
    }
}
