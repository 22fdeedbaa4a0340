//! The committed baseline: how many guest instructions each work took when somebody last said that this is how it should be,
//! and why.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::row::Unit;
use super::table::Table;
use crate::workspace;

/// Where it lies in the source tree.
pub const PATH: &str = "docs/bench-baseline.json";

/// By how many percent a count may rise.
const ALLOWED: f64 = 2.0;

/// Why the baseline cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not as it is written.
    #[error("{}: {source}; restore it from version control", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// What is recorded of a work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Guest instructions.
    pub instructions: u64,
    /// Why it is this number and no other: of its last change.
    pub reason: String,
}

/// The records, by the names of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Baseline {
    records: BTreeMap<String, Record>,
}

/// How a figure of now stands to its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// As it was, or within what is allowed.
    Same,
    /// Less than it was, by more than a rise would be allowed.
    Fell,
    /// More than is allowed.
    Rose,
    /// There is no record.
    New,
    /// There is a record, but nothing was measured.
    Missing,
}

/// A figure beside its record.
#[derive(Clone, Debug)]
struct Change {
    name: String,
    before: Option<u64>,
    now: Option<u64>,
}

impl Change {
    /// How much more it is, in percent of what it was.
    fn percent(&self) -> Option<f64> {
        let (before, now) = (self.before? as f64, self.now? as f64);
        Some((now - before) * 100.0 / before.max(1.0))
    }

    fn verdict(&self) -> Verdict {
        match (self.before, self.percent()) {
            (None, _) => Verdict::New,
            (Some(_), None) => Verdict::Missing,
            (_, Some(more)) if more > ALLOWED => Verdict::Rose,
            (_, Some(more)) if more < -ALLOWED => Verdict::Fell,
            _ => Verdict::Same,
        }
    }
}

/// Everything that was measured beside the baseline.
#[derive(Clone, Debug)]
pub struct Comparison {
    changes: Vec<Change>,
}

impl Comparison {
    /// Whether no count has risen by more than is allowed, all that was measured has a record, and all that has a record was
    /// measured.
    pub fn is_good(&self) -> bool {
        self.changes.iter().all(|change| matches!(change.verdict(), Verdict::Same | Verdict::Fell))
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.changes.iter().map(|change| change.name.len()).max().unwrap_or_default().max("work".len());
        writeln!(f, "Guest instructions beside {PATH}:\n")?;
        writeln!(f, "  {:width$}  {:>9}  {:>9}  {:>8}", "work", "before", "now", "change")?;
        for change in &self.changes {
            let number = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
            let percent = change.percent().map_or_else(|| "-".to_owned(), |percent| format!("{percent:+.1} %"));
            let (before, now) = (number(change.before), number(change.now));
            let remark = match change.verdict() {
                Verdict::Same => "",
                Verdict::Fell => "  less: record it, so that it stays so",
                Verdict::Rose => "  TOO MUCH",
                Verdict::New => "  NOT RECORDED",
                Verdict::Missing => "  NOT MEASURED",
            };
            writeln!(f, "  {:width$}  {before:>9}  {now:>9}  {percent:>8}{remark}", change.name)?;
        }
        let wrong = self.changes.iter().filter(|change| !matches!(change.verdict(), Verdict::Same | Verdict::Fell));
        let wrong = wrong.count();
        if wrong == 0 {
            return writeln!(f, "\nNo count has risen by more than {ALLOWED} %.");
        }
        writeln!(
            f,
            "\n{wrong} of {} are not as recorded; a count may rise by {ALLOWED} %. Find out what was added and take it away, or, if\n\
             it is worth its price, record it in the same commit, with the reason:\n\n    \
             cargo xtask bench --save --reason 'WHY IT MAY COST THIS MUCH'",
            self.changes.len()
        )
    }
}

/// The counts of guest instructions among rows; nothing for those that were not measured, since they may be such counts.
fn counts(tables: &[Table]) -> impl Iterator<Item = (&str, Option<u64>)> {
    tables.iter().flat_map(|table| &table.rows).filter_map(|row| match row.figure {
        Some(figure) if figure.unit == Unit::Instructions => Some((row.name.as_str(), Some(figure.value as u64))),
        Some(_) => None,
        None => Some((row.name.as_str(), None)),
    })
}

impl Baseline {
    /// The baseline of this source tree; an empty one if there is none.
    ///
    /// # Errors
    ///
    /// [`BaselineError`].
    pub fn read() -> Result<Self, BaselineError> {
        Self::read_from(&workspace::root().join(PATH))
    }

    fn read_from(path: &Path) -> Result<Self, BaselineError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(BaselineError::Io { path: path.to_owned(), source }),
        };
        serde_json::from_str(&text).map_err(|source| BaselineError::Malformed { path: path.to_owned(), source })
    }

    /// Writes the baseline of this source tree.
    ///
    /// # Errors
    ///
    /// [`BaselineError`].
    pub fn write(&self) -> Result<(), BaselineError> {
        self.write_to(&workspace::root().join(PATH))
    }

    fn write_to(&self, path: &Path) -> Result<(), BaselineError> {
        let failed = |source| BaselineError::Malformed { path: path.to_owned(), source };
        let text = serde_json::to_string_pretty(self).map_err(failed)? + "\n";
        fs::write(path, text).map_err(|source| BaselineError::Io { path: path.to_owned(), source })
    }

    /// Puts what was measured beside what is recorded. What is recorded of other groups is left out: those of its records are
    /// looked at whose names are among the rows.
    pub fn compare(&self, tables: &[Table]) -> Comparison {
        let changes = counts(tables).map(|(name, now)| Change {
            name: name.to_owned(),
            before: self.records.get(name).map(|record| record.instructions),
            now,
        });
        Comparison { changes: changes.filter(|change| change.before.is_some() || change.now.is_some()).collect() }
    }

    /// Records what was measured, and tells the names of the records that are new or another number than before. They get the
    /// reason.
    pub fn record(&mut self, tables: &[Table], reason: &str) -> Vec<String> {
        let mut changed = Vec::new();
        for (name, count) in counts(tables) {
            let Some(instructions) = count else { continue };
            if self.records.get(name).is_some_and(|record| record.instructions == instructions) {
                continue;
            }
            self.records.insert(name.to_owned(), Record { instructions, reason: reason.to_owned() });
            changed.push(name.to_owned());
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::super::group::Group;
    use super::super::row::{Figure, Row};
    use super::*;

    fn tables(counts: &[(&str, Option<u64>)]) -> [Table; 1] {
        let row = |(name, count): &(&str, Option<u64>)| Row::new(*name, "", count.map(Figure::instructions));
        [Table::new(Group::Ipc, counts.iter().map(row).collect())]
    }

    fn baseline(counts: &[(&str, u64)]) -> Baseline {
        let mut baseline = Baseline::default();
        let counts: Vec<_> = counts.iter().map(|(name, count)| (*name, Some(*count))).collect();
        baseline.record(&tables(&counts), "first");
        baseline
    }

    #[test]
    fn a_count_may_rise_by_two_percent_and_no_further() {
        let baseline = baseline(&[("a", 1000)]);
        for (now, good) in [(1, true), (1000, true), (1020, true), (1021, false)] {
            assert_eq!(baseline.compare(&tables(&[("a", Some(now))])).is_good(), good, "{now}");
        }
    }

    #[test]
    fn a_rise_is_named_with_both_numbers_and_what_to_do() {
        let text =
            baseline(&[("a", 1000), ("b", 50)]).compare(&tables(&[("a", Some(1100)), ("b", Some(50))])).to_string();
        assert!(text.contains("a          1000       1100   +10.0 %  TOO MUCH"), "{text}");
        assert!(text.contains("1 of 2") && text.contains("bench --save --reason"), "{text}");
    }

    #[test]
    fn what_is_recorded_has_to_be_measured_and_what_is_measured_to_be_recorded() {
        let baseline = baseline(&[("a", 1000)]);
        assert!(!baseline.compare(&tables(&[("a", None)])).is_good());
        assert!(!baseline.compare(&tables(&[("a", Some(1000)), ("b", Some(1))])).is_good());
        assert!(baseline.compare(&tables(&[("a", Some(1000)), ("a-ratio", None)])).is_good(), "it may be no count");
    }

    #[test]
    fn a_record_keeps_its_reason_until_its_number_changes() {
        let mut baseline = baseline(&[("a", 1000), ("b", 50)]);
        assert_eq!(baseline.record(&tables(&[("a", Some(1001)), ("b", Some(50))]), "second"), ["a"]);
        assert_eq!(baseline.records["a"], Record { instructions: 1001, reason: "second".into() });
        assert_eq!(baseline.records["b"], Record { instructions: 50, reason: "first".into() });
    }

    #[test]
    fn it_is_read_as_it_was_written_and_is_empty_where_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("baseline.json");
        assert_eq!(Baseline::read_from(&path).unwrap(), Baseline::default());
        let baseline = baseline(&[("a", 1000), ("b", 50)]);
        baseline.write_to(&path).unwrap();
        assert_eq!(Baseline::read_from(&path).unwrap(), baseline);
        fs::write(&path, r#"{"a": 5}"#).unwrap();
        assert!(matches!(Baseline::read_from(&path), Err(BaselineError::Malformed { .. })));
    }

    #[test]
    fn the_committed_baseline_can_be_read() {
        assert!(!Baseline::read().unwrap().records.is_empty());
    }
}
