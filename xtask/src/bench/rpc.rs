//! What a typed interface costs: guest instructions of a call through `#[interface]`, client, server and kernel, beside the
//! same call made of system calls by hand.

use super::BenchError;
use super::group::Group;
use super::row::{Figure, Peer, Row};
use super::table::Table;

/// The most instructions that the typing may cost. Not a part of what the system calls cost: these become cheaper, and the typing
/// no dearer.
const ALLOWED: u64 = 500;

/// One kind of call, both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cost {
    /// What is called.
    what: String,
    /// Instructions of a typed call.
    typed: u64,
    /// Instructions of the same by hand.
    by_hand: u64,
}

impl Cost {
    /// A line `rpc WHAT typed N by-hand N`.
    fn read(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["rpc", what, "typed", typed, "by-hand", by_hand] = words[..] else {
            return None;
        };
        Some(Self { what: what.to_owned(), typed: typed.parse().ok()?, by_hand: by_hand.parse().ok()? })
    }

    fn row(&self) -> Row {
        let what = self.what.replace('-', " ");
        Row::new(format!("rpc-{}", self.what), format!("typed call, {what}"), Some(Figure::instructions(self.typed)))
            .must((self.by_hand + ALLOWED) as f64)
            .peer(Peer::measured("by hand", self.by_hand as f64))
    }
}

fn table(text: &str) -> Table {
    let mut rows: Vec<Row> = text.lines().filter_map(Cost::read).map(|cost| cost.row()).collect();
    if rows.is_empty() {
        rows.push(Row::new("rpc", "typed calls", None));
    }
    Table::new(Group::Rpc, rows)
        .note("From call to answer, client, server and kernel; the fewest of 256 calls.")
        .note(format!("A typed call may take {ALLOWED} instructions more than the same made of system calls by hand."))
}

/// Measures it.
///
/// # Errors
///
/// [`BenchError`].
pub(super) fn rpc() -> Result<Table, BenchError> {
    Ok(table(&super::counted("rpc", "", "Typed calls, counting instructions")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_both_costs() {
        let cost = Cost::read("rpc 4-KiB-lease typed 1150 by-hand 1000").expect("it is such a line");
        assert_eq!(cost, Cost { what: "4-KiB-lease".into(), typed: 1150, by_hand: 1000 });
        assert_eq!(cost.row().work, "typed call, 4 KiB lease");
        assert_eq!(Cost::read("rpc: 2 passed, 0 failed"), None);
    }

    #[test]
    fn more_than_is_allowed_is_not_allowed_and_neither_is_nothing() {
        let is_good = |typed: &str| table(&format!("rpc scalars typed {typed} by-hand 1000")).rows[0].is_good();
        assert!(is_good("1500"));
        assert!(!is_good("1501"));
        assert!(!table("").rows[0].is_good());
    }
}
