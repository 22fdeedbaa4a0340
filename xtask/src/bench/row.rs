//! A row of what was measured: a work, its figure, what the same work costs others, and the bars it has to meet.

use std::fmt;

use serde::Serialize;

/// In what a figure is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Guest instructions, counted by QEMU: the same in every run, and no cycles.
    Instructions,
    /// Ticks of the processor's time-stamp counter on hardware.
    Cycles,
    /// Seconds on the host's clock.
    Seconds,
    /// How many times as fast as the other system in the same run.
    Times,
    /// How many times as long as the other system in the same run.
    Longer,
    /// Memory, in mebibytes.
    Mebibytes,
    /// How much more than something else, in percent.
    Percent,
    /// How many there are.
    Number,
}

impl Unit {
    /// Whether more of it is better, so that a bar is the least that it must be.
    pub fn more_is_better(self) -> bool {
        matches!(self, Self::Times | Self::Number)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instr.",
            Self::Cycles => "cycles",
            Self::Seconds => "s",
            Self::Times => "times",
            Self::Longer => "times as long",
            Self::Mebibytes => "MiB",
            Self::Percent => "%",
            Self::Number => "",
        }
    }

    /// A value as people write it, without the unit.
    pub fn written(self, value: f64) -> String {
        match self {
            Self::Instructions | Self::Cycles | Self::Number => grouped(value.round() as i64),
            Self::Seconds | Self::Times | Self::Longer => format!("{value:.2}"),
            Self::Mebibytes | Self::Percent => format!("{value:.1}"),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A whole number with commas between its thousands.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What was measured of a work.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// In what the rest is counted.
    pub unit: Unit,
    /// The figure: the median if it was measured more than once.
    pub value: f64,
    /// The least that was measured.
    pub least: f64,
    /// The most that was measured.
    pub most: f64,
}

impl Figure {
    /// A figure that is the same each time.
    pub fn exactly(unit: Unit, value: f64) -> Self {
        Self { unit, value, least: value, most: value }
    }

    /// Guest instructions.
    pub fn instructions(count: u64) -> Self {
        Self::exactly(Unit::Instructions, count as f64)
    }

    /// The median of several measurements, with the least and the most; nothing if there was none.
    pub fn median(unit: Unit, samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let value = match sorted.len() {
            0 => return None,
            count if count.is_multiple_of(2) => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        };
        Some(Self { unit, value, least: sorted[0], most: sorted[sorted.len() - 1] })
    }

    /// How many times as fast this system was as another one: of each pair of times, taken one after the other, the other's by
    /// this one's. Nothing if there is no pair.
    pub fn times_faster(pairs: &[(f64, f64)]) -> Option<Self> {
        let ratios: Vec<f64> = pairs.iter().filter(|(own, _)| *own > 0.0).map(|(own, other)| other / own).collect();
        Self::median(Unit::Times, &ratios)
    }

    /// How many times as long as another system this one took, of the same pairs.
    pub fn times_longer(pairs: &[(f64, f64)]) -> Option<Self> {
        let ratios: Vec<f64> = pairs.iter().filter(|(_, other)| *other > 0.0).map(|(own, other)| own / other).collect();
        Self::median(Unit::Longer, &ratios)
    }

    /// Whether the figure is on the right side of a bar.
    pub fn meets(&self, bar: f64) -> bool {
        if self.unit.more_is_better() { self.value >= bar } else { self.value <= bar }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.unit.written(self.value))?;
        if self.least < self.most {
            write!(f, " ({} to {})", self.unit.written(self.least), self.unit.written(self.most))?;
        }
        Ok(())
    }
}

/// Where another system's figure comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// `docs/performance.md` says how it was measured.
    Published,
    /// It was measured in the same run.
    Measured,
}

/// What the same work costs another system, in the unit of the row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Peer {
    /// The system, and what of it.
    pub name: String,
    /// Its figure.
    pub value: f64,
    /// Where that comes from.
    pub source: Source,
}

impl Peer {
    /// A figure that stands in the documentation.
    pub fn published(name: &str, value: u64) -> Self {
        Self { name: name.to_owned(), value: value as f64, source: Source::Published }
    }

    /// A figure of this run.
    pub fn measured(name: &str, value: f64) -> Self {
        Self { name: name.to_owned(), value, source: Source::Measured }
    }
}

/// One line of the result.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The key by which the baseline and other programs know it. It does not change.
    pub name: String,
    /// The work, for people.
    pub work: String,
    /// Its figure; nothing if it could not be measured, which is a failure.
    pub figure: Option<Figure>,
    /// The figures of others.
    pub peers: Vec<Peer>,
    /// The bar: the most, or of [units](Unit::more_is_better) of which more is better the least.
    pub must: Option<f64>,
    /// Where the way leads to.
    pub goal: Option<f64>,
}

impl Row {
    /// A row without bars and peers.
    pub fn new(name: impl Into<String>, work: impl Into<String>, figure: Option<Figure>) -> Self {
        Self { name: name.into(), work: work.into(), figure, peers: Vec::new(), must: None, goal: None }
    }

    /// The row with the bar that it must meet.
    #[must_use]
    pub fn must(self, bar: f64) -> Self {
        Self { must: Some(bar), ..self }
    }

    /// The row with its goal.
    #[must_use]
    pub fn goal(self, goal: f64) -> Self {
        Self { goal: Some(goal), ..self }
    }

    /// The row with another system's figure.
    #[must_use]
    pub fn peer(mut self, peer: Peer) -> Self {
        self.peers.push(peer);
        self
    }

    /// A value of the row as people write it: in the figure's unit, which a row that was not measured does not have.
    pub fn written(&self, value: f64) -> String {
        match self.figure {
            Some(figure) => figure.unit.written(value),
            None if value.fract() == 0.0 => grouped(value as i64),
            None => format!("{value:.2}"),
        }
    }

    /// Whether the bar is met, if there is one; what was not measured meets none.
    pub fn is_met(&self) -> Option<bool> {
        self.must.map(|bar| self.figure.is_some_and(|figure| figure.meets(bar)))
    }

    /// Whether it was measured and meets its bar, if it has one.
    pub fn is_good(&self) -> bool {
        self.figure.is_some() && self.is_met() != Some(false)
    }
}

/// The lines `WORD NAME N` that a program wrote, as names and numbers.
pub(super) fn lines<'a>(word: &str, text: &'a str) -> Vec<(&'a str, u64)> {
    let number = |line: &'a str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [first, name, number] = words[..] else { return None };
        (first == word).then_some((name, number.parse().ok()?))
    };
    text.lines().filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_the_most_of_what_is_spent_and_the_least_of_what_is_gained() {
        let spent = Row::new("a", "a", Some(Figure::instructions(283)));
        assert_eq!(spent.is_met(), None);
        assert_eq!(spent.clone().must(283.0).is_met(), Some(true));
        assert_eq!(spent.must(282.0).is_met(), Some(false));
        let gained = Row::new("b", "b", Some(Figure::exactly(Unit::Times, 8.0)));
        assert_eq!(gained.clone().must(8.0).is_met(), Some(true));
        assert_eq!(gained.must(8.1).is_met(), Some(false));
    }

    #[test]
    fn what_was_not_measured_is_not_good_and_meets_no_bar() {
        let row = Row::new("a", "a", None);
        assert!(!row.is_good());
        assert_eq!(row.must(1.0).is_met(), Some(false));
    }

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order_and_the_spread_beside_it() {
        assert_eq!(Figure::median(Unit::Seconds, &[]), None);
        let of = |samples: &[f64]| Figure::median(Unit::Seconds, samples).map(|figure| figure.to_string());
        assert_eq!(of(&[0.5, 0.1, 0.9]).as_deref(), Some("0.50 (0.10 to 0.90)"));
        assert_eq!(of(&[0.5, 0.1, 0.9, 0.6]).as_deref(), Some("0.55 (0.10 to 0.90)"));
        assert_eq!(of(&[0.5]).as_deref(), Some("0.50"));
    }

    #[test]
    fn a_ratio_is_of_pairs_that_ran_one_after_the_other() {
        let figure = Figure::times_faster(&[(1.0, 8.0), (2.0, 18.0), (1.0, 10.0)]).expect("there are pairs");
        assert_eq!((figure.value, figure.least, figure.most), (9.0, 8.0, 10.0));
        assert_eq!(Figure::times_faster(&[(0.0, 8.0)]), None, "what took no time was not measured");
        let figure = Figure::times_longer(&[(3.0, 2.0), (4.0, 2.0), (1.0, 1.0)]).expect("there are pairs");
        assert_eq!((figure.value, figure.least, figure.most), (1.5, 1.0, 2.0));
        assert!(figure.meets(1.5) && !figure.meets(1.4), "less of it is better");
    }

    #[test]
    fn thousands_are_told_apart() {
        let written = |value| Unit::Instructions.written(value);
        assert_eq!(
            [0.0, 999.0, 1000.0, 1_234_567.0].map(written),
            ["0", "999", "1,000", "1,234,567"].map(str::to_owned)
        );
        assert_eq!(grouped(-1234), "-1,234");
    }

    #[test]
    fn a_line_names_a_work_and_tells_its_cost() {
        let text = "cost ipc-call-6 219\r\ncosts: 11 passed, 0 failed\ncost x y\ntime ipc-call-6 3\n";
        assert_eq!(lines("cost", text), [("ipc-call-6", 219)]);
    }
}
