//! The result on the terminal: one table a group, aligned, with the verdict beside each bar.

use std::fmt;

use super::group::Group;
use super::row::{Row, Source};

/// What was measured of a group.
#[derive(Clone, Debug)]
pub struct Table {
    /// The group.
    pub group: Group,
    /// Its rows.
    pub rows: Vec<Row>,
    /// What has to be known to read them: a sentence each.
    pub notes: Vec<String>,
}

impl Table {
    /// A table without notes.
    pub fn new(group: Group, rows: Vec<Row>) -> Self {
        Self { group, rows, notes: Vec::new() }
    }

    /// The table with one more note.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// The columns, but for the last, which holds the figures of others.
const COLUMNS: [&str; 5] = ["work", "figure", "unit", "must", "goal"];

/// The cells of a row in those columns.
pub(super) fn cells(row: &Row) -> [String; 5] {
    let unit = row.figure.map(|figure| figure.unit);
    let written = |bar: f64| row.written(bar);
    let must = row.must.map_or_else(
        || "-".to_owned(),
        |bar| format!("{}, {}", written(bar), if row.is_met() == Some(true) { "met" } else { "not met" }),
    );
    let goal = row.goal.map_or_else(
        || "-".to_owned(),
        |goal| {
            let reached = row.figure.is_some_and(|figure| figure.meets(goal));
            format!("{}{}", written(goal), if reached { ", reached" } else { "" })
        },
    );
    [
        row.work.clone(),
        row.figure.map_or_else(|| "not measured".to_owned(), |figure| figure.to_string()),
        unit.map_or_else(String::new, |unit| unit.to_string()),
        must,
        goal,
    ]
}

/// The figures of others; those of this run are marked by a star, as it is written there.
pub(super) fn others(row: &Row, star: &str) -> String {
    let peers = row.peers.iter().map(|peer| {
        let star = if peer.source == Source::Measured { star } else { "" };
        format!("{} {}{star}", peer.name, row.written(peer.value))
    });
    peers.collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}\n", self.group.name(), self.group.what())?;
        let rows: Vec<_> = self.rows.iter().map(|row| (cells(row), others(row, "*"))).collect();
        let widths: [usize; 5] = std::array::from_fn(|column| {
            let of_rows = rows.iter().map(|(cells, _)| cells[column].chars().count());
            of_rows.chain([COLUMNS[column].len()]).max().unwrap_or_default()
        });
        let mut line = |cells: &[String; 5], others: &str| {
            let [work, figure, unit, must, goal] = cells;
            let [w0, w1, w2, w3, w4] = widths;
            let text = format!("  {work:w0$}  {figure:>w1$} {unit:w2$}  {must:>w3$}  {goal:>w4$}  {others}");
            writeln!(f, "{}", text.trim_end())
        };
        line(&COLUMNS.map(str::to_owned), "others")?;
        for (cells, others) in &rows {
            line(cells, others)?;
        }
        if self.rows.iter().flat_map(|row| &row.peers).any(|peer| peer.source == Source::Measured) {
            writeln!(f, "\n  * measured in this run")?;
        }
        if !self.notes.is_empty() {
            writeln!(f)?;
        }
        for note in &self.notes {
            writeln!(f, "  {note}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::{Figure, Peer};
    use super::*;

    #[test]
    fn a_table_says_beside_each_bar_whether_it_is_met() {
        let row = Row::new("ipc-call-0", "call and answer", Some(Figure::instructions(1283))).goal(220.0);
        let missing = Row::new("ipc-call-6", "the same with 6 words", None).must(283.0);
        let rows = vec![
            row.clone().must(283.0).peer(Peer::published("NOVA", 284)).peer(Peer::measured("pipe", 12_753.0)),
            row.must(1283.0),
            missing,
        ];
        let text = Table::new(Group::Ipc, rows).note("Kernel and user stubs.").to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2], "  work                         figure unit            must  goal  others");
        assert_eq!(
            lines[3],
            "  call and answer               1,283 instr.  283, not met   220  NOVA 284, pipe 12,753*"
        );
        assert_eq!(lines[4], "  call and answer               1,283 instr.    1,283, met   220");
        assert_eq!(lines[5], "  the same with 6 words  not measured         283, not met     -");
        assert!(text.ends_with("  * measured in this run\n\n  Kernel and user stubs.\n"), "{text}");
    }

    #[test]
    fn a_goal_that_is_reached_is_called_so() {
        let row = Row::new("x", "x", Some(Figure::instructions(219))).goal(220.0);
        assert_eq!(cells(&row)[4], "220, reached");
    }
}
