//! What a typed interface costs: guest instructions of a call through `#[interface]`, client, server and kernel, beside the
//! same call made of system calls by hand.

use std::fmt;

use super::BenchError;

/// The most that the typing may cost, in percent.
const ALLOWED: u64 = 15;
/// One kind of call, both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// What is called.
    pub what: String,
    /// Instructions of a typed call.
    pub typed: u64,
    /// Instructions of the same by hand.
    pub by_hand: u64,
}

impl Cost {
    /// A line `rpc WHAT typed N by-hand N`.
    fn read(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["rpc", what, "typed", typed, "by-hand", by_hand] = words[..] else {
            return None;
        };
        Some(Self { what: what.replace('-', " "), typed: typed.parse().ok()?, by_hand: by_hand.parse().ok()? })
    }

    /// How much more the typed call takes, in tenths of a percent; negative if it takes less.
    fn permille(&self) -> i64 {
        (self.typed as i64 - self.by_hand as i64) * 1000 / (self.by_hand as i64).max(1)
    }
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Costs(Vec<Cost>);

impl Costs {
    /// Whether every kind of call was measured and none costs more than it may.
    pub fn are_allowed(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|cost| cost.permille() <= ALLOWED as i64 * 10)
    }
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Guest instructions from call to answer, client, server and kernel; the shortest of 256 calls:\n")?;
        writeln!(f, "  {:<16}{:>8}{:>10}{:>8}", "argument", "typed", "by hand", "more")?;
        for cost in &self.0 {
            let more = cost.permille() as f64 / 10.0;
            writeln!(f, "  {:<16}{:>8}{:>10}{more:>7.1}%", cost.what, cost.typed, cost.by_hand)?;
        }
        writeln!(f, "\nAt most {ALLOWED} % more is allowed.")
    }
}

/// Measures it.
///
/// # Errors
///
/// [`BenchError`].
pub fn rpc() -> Result<Costs, BenchError> {
    let text = super::counted("rpc", "", "Typed calls, counting instructions")?;
    Ok(Costs(text.lines().filter_map(Cost::read).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_both_costs() {
        let cost = Cost::read("rpc 4-KiB-lease typed 1150 by-hand 1000").expect("it is such a line");
        assert_eq!(cost, Cost { what: "4 KiB lease".into(), typed: 1150, by_hand: 1000 });
        assert_eq!(cost.permille(), 150);
        assert_eq!(Cost::read("rpc: 2 passed, 0 failed"), None);
    }

    #[test]
    fn more_than_is_allowed_is_not_allowed_and_neither_is_nothing() {
        let costs = |typed| Costs(vec![Cost { what: "scalars".into(), typed, by_hand: 1000 }]);
        assert!(costs(1150).are_allowed());
        assert!(!costs(1160).are_allowed());
        assert!(!Costs(Vec::new()).are_allowed());
    }
}
