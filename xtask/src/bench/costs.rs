//! What the kernel's work costs, in guest instructions, beside what the work costs others and what it may cost here.

use std::collections::BTreeMap;
use std::fmt;

use super::BenchError;

/// A work, as the suite in the machine names it.
#[derive(Debug)]
struct Work {
    name: &'static str,
    what: &'static str,
    /// The most instructions that it is to cost, if there is such a bar.
    bar: Option<u64>,
    /// What it costs others, measured in the same way (QEMU 7.2, `-icount shift=0`, stubs included).
    others: &'static str,
}

const fn work(name: &'static str, what: &'static str, bar: Option<u64>, others: &'static str) -> Work {
    Work { name, what, bar, others }
}

/// A group of works that is measured as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Calls and answers.
    Ipc,
    /// Notifications.
    Notify,
    /// Mapping.
    Map,
}

impl Group {
    /// How the suite's names of its works begin, and the works.
    const fn works(self) -> (&'static str, &'static [Work]) {
        match self {
            Group::Ipc => ("ipc", IPC),
            Group::Notify => ("notify", NOTIFY),
            Group::Map => ("map", MAP),
        }
    }
}

const IPC: &[Work] = &[
    work("ipc-call-0", "call and answer, no words", Some(283), "NOVA 284 (1 word), seL4 467, seL4 with budgets 571"),
    work("ipc-call-4", "the same with 4 words", Some(283), "NOVA 314, seL4 501, with budgets 605"),
    work("ipc-call-6", "the same with 6 words", Some(283), ""),
    work("ipc-call-16", "the same with 16 words", Some(433), "NOVA 434, seL4 1,787, with budgets 2,566"),
    work("ipc-call-64", "the same with 64 words", Some(913), "NOVA 914, seL4 2,267, with budgets 3,046"),
    work("ipc-call-120", "the same with 120 words", Some(1000), "NOVA 1,474, seL4 2,827, with budgets 3,606"),
    work("ipc-call-lease-4096", "call that lends 4 KiB, all read", None, ""),
    work("ipc-refused-number", "refused: no such call", Some(100), "NOVA 62, Linux 212, seL4 349"),
    work("ipc-refused-handle", "refused: call by no capability", Some(100), ""),
];

const NOTIFY: &[Work] = &[work(
    "notify-ping-pong",
    "notification there and back",
    Some(1000),
    "seL4 2,054, with budgets 2,592; Linux eventfd 10,569",
)];

const MAP: &[Work] =
    &[work("map-unmap-4096", "a page of 4 KiB mapped and unmapped", Some(2000), "Linux, mmap and munmap 22,701")];

/// What was measured of a group.
#[derive(Clone, Debug)]
pub struct Table {
    group: Group,
    costs: BTreeMap<String, u64>,
}

/// A line `cost NAME N`.
fn cost(line: &str) -> Option<(String, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["cost", name, cost] = words[..] else { return None };
    Some((name.to_owned(), cost.parse().ok()?))
}

impl Table {
    fn rows(&self) -> impl Iterator<Item = (&Work, Option<u64>)> {
        self.group.works().1.iter().map(|work| (work, self.costs.get(work.name).copied()))
    }

    /// Whether every work was measured.
    pub fn is_complete(&self) -> bool {
        self.rows().all(|(_, cost)| cost.is_some())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Guest instructions, kernel and user stubs on both sides; the fewest of 256 rounds:\n")?;
        writeln!(f, "  {:<40}{:>8}{:>8}  others", "work", "cost", "bar")?;
        for (work, cost) in self.rows() {
            let cost = cost.map_or("-".to_owned(), |cost| cost.to_string());
            let bar = work.bar.map_or("-".to_owned(), |bar| bar.to_string());
            writeln!(f, "  {:<40}{cost:>8}{bar:>8}  {}", work.what, work.others)?;
        }
        Ok(())
    }
}

/// Measures a group of works.
///
/// # Errors
///
/// [`BenchError`].
pub fn costs(group: Group) -> Result<Table, BenchError> {
    let text = super::counted("costs", group.works().0, "The kernel's work, counting instructions")?;
    Ok(Table { group, costs: text.lines().filter_map(cost).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_a_work_and_tells_its_cost() {
        assert_eq!(cost("cost ipc-call-6 219"), Some(("ipc-call-6".to_owned(), 219)));
        assert_eq!(cost("costs: 11 passed, 0 failed"), None);
    }

    #[test]
    fn a_work_that_was_not_measured_is_missing() {
        let mut table = Table { group: Group::Map, costs: BTreeMap::new() };
        assert!(!table.is_complete());
        table.costs.insert("map-unmap-4096".to_owned(), 1500);
        assert!(table.is_complete());
        assert!(table.to_string().contains("1500    2000"), "{table}");
    }
}
