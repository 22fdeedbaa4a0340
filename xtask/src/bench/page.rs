//! The result as a page of the book, with the picture.

use std::fmt::{self, Write};
use std::fs;
use std::io;

use super::chart;
use super::table::{Table, cells, others};
use crate::workspace;

/// The page, and the picture beside it.
pub const PATH: &str = "docs/reference/measurements.md";
/// See [`PATH`].
const PICTURE: &str = "docs/reference/measurements.svg";

/// The text of the page.
fn page(tables: &[Table]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(&mut text, tables);
    text
}

fn write_page(text: &mut String, tables: &[Table]) -> fmt::Result {
    text.write_str(
        "# Measurements\n\n\
         What `cargo xtask bench --docs` has measured and written here. [Performance](../performance.md) says how, how others were\n\
         measured, and what such figures do not say: instructions are not cycles, and time under emulation is not time on\n\
         hardware.\n\n\
         ![Guest instructions beside those of others](measurements.svg)\n",
    )?;
    for table in tables {
        writeln!(text, "\n## {}\n\n{}.\n", table.group.name(), sentence(table.group.what()))?;
        writeln!(text, "| work | figure | unit | must | goal | others |\n| --- | ---: | --- | ---: | ---: | --- |")?;
        for row in &table.rows {
            let [work, figure, unit, must, goal] = cells(row);
            writeln!(text, "| {work} | {figure} | {unit} | {must} | {goal} | {} |", others(row, "\\*"))?;
        }
        if !table.notes.is_empty() {
            writeln!(text, "\n{}", table.notes.join("\n"))?;
        }
    }
    writeln!(
        text,
        "\nFigures of others with a star were measured in the same run; [Performance](../performance.md) has the rest."
    )
}

/// A heading with a capital letter.
fn sentence(heading: &str) -> String {
    let mut letters = heading.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Writes the page and the picture into the source tree.
///
/// # Errors
///
/// If they cannot be written.
pub fn write(tables: &[Table]) -> io::Result<()> {
    let root = workspace::root();
    fs::write(root.join(PATH), page(tables))?;
    fs::write(root.join(PICTURE), chart::draw(tables))
}

#[cfg(test)]
mod tests {
    use super::super::group::Group;
    use super::super::row::{Figure, Peer, Row};
    use super::*;

    #[test]
    fn a_page_has_a_table_for_each_group() {
        let row =
            Row::new("x", "call", Some(Figure::instructions(1300))).must(283.0).peer(Peer::measured("pipe", 9000.0));
        let text = page(&[Table::new(Group::Ipc, vec![row]).note("Counted.")]);
        assert!(text.contains("\n## ipc\n\nCalls and answers"), "{text}");
        assert!(text.contains("| call | 1,300 | instr. | 283, not met | - | pipe 9,000\\* |\n\nCounted.\n"), "{text}");
    }
}
