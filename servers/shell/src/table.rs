//! Rows and columns.

use alloc::string::String;
use alloc::vec::Vec;
use unicode_width::UnicodeWidthStr;

/// On which side of its column a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table that becomes as wide as its contents.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns: a title and an alignment each.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        Self {
            columns: columns.iter().map(|&(_, align)| align).collect(),
            rows: [columns.iter().map(|&(title, _)| title.into()).collect()].into(),
        }
    }

    /// Adds a row; what it has beyond the columns is not shown.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The lines, the titles first, without spaces at their ends.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let width = |column: usize| {
            self.rows.iter().filter_map(|row: &Vec<String>| row.get(column)).map(|cell: &String| cell.width()).max()
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| width(column).unwrap_or(0)).collect();
        self.rows.iter().map(move |row| {
            let mut line = String::new();
            for ((cell, align), width) in row.iter().zip(&self.columns).zip(&widths) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                let padding = core::iter::repeat_n(' ', width - cell.width());
                match align {
                    Align::Left => {
                        line.push_str(cell);
                        line.extend(padding);
                    }
                    Align::Right => {
                        line.extend(padding);
                        line.push_str(cell);
                    }
                }
            }
            line.truncate(line.trim_end().len());
            line
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let mut table = Table::new(&[("NAME", Align::Left), ("SIZE", Align::Right), ("WHY", Align::Left)]);
        table.row(["a".into(), "12345".into(), "x".into()]);
        table.row(["日本".into(), "1".into(), "".into()]);
        let lines: Vec<String> = table.lines().collect();
        assert_eq!(lines, ["NAME   SIZE  WHY", "a     12345  x", "日本      1"]);
    }
}
