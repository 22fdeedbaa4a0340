//! The result as a file that programs read.

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::row::{Figure, Peer, Row};
use super::table::Table;
use crate::machine::Accelerator;

/// The file's form. Fields are added without changing it.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    accelerator: &'a str,
    rows: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    group: &'a str,
    name: &'a str,
    work: &'a str,
    #[serde(flatten)]
    figure: Option<Figure>,
    must: Option<f64>,
    met: Option<bool>,
    goal: Option<f64>,
    peers: &'a [Peer],
}

impl<'a> Entry<'a> {
    fn new(table: &Table, row: &'a Row) -> Self {
        Self {
            group: table.group.name(),
            name: &row.name,
            work: &row.work,
            figure: row.figure,
            must: row.must,
            met: row.is_met(),
            goal: row.goal,
            peers: &row.peers,
        }
    }
}

/// The result as text.
fn json(tables: &[Table], accelerator: Accelerator) -> serde_json::Result<String> {
    let rows = tables.iter().flat_map(|table| table.rows.iter().map(|row| Entry::new(table, row)));
    let document = Document { format: FORMAT, accelerator: accelerator.name(), rows: rows.collect() };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// Writes the result into a file, whose folder is made if there is none.
///
/// # Errors
///
/// If the file cannot be written.
pub fn write(path: &Path, tables: &[Table], accelerator: Accelerator) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, json(tables, accelerator)?)
}

#[cfg(test)]
mod tests {
    use super::super::group::Group;
    use super::*;
    use serde_json::{Value, json as value};

    #[test]
    fn a_row_has_keys_that_do_not_change() {
        let row = Row::new("ipc-call-0", "call", Some(Figure::instructions(300)))
            .must(283.0)
            .goal(220.0)
            .peer(Peer::published("NOVA", 284));
        let rows = vec![row, Row::new("x", "not measured", None)];
        let text = json(&[Table::new(Group::Ipc, rows)], Accelerator::Tcg).unwrap();
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["format"], 1);
        assert_eq!(read["accelerator"], "tcg");
        assert_eq!(
            read["rows"][0],
            value!({
                "group": "ipc", "name": "ipc-call-0", "work": "call",
                "unit": "instructions", "value": 300.0, "least": 300.0, "most": 300.0,
                "must": 283.0, "met": false, "goal": 220.0,
                "peers": [{"name": "NOVA", "value": 284.0, "source": "published"}],
            })
        );
        assert_eq!(read["rows"][1]["value"], Value::Null);
    }
}
