//! From the regions of code that a compiler counts to lines.

use std::ops::RangeInclusive;

use super::FileCoverage;

/// A stretch of code that is executed as a whole or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Region {
    /// Line and column of its first character, counted from 1.
    pub(super) start: (usize, usize),
    /// Line and column behind its last character.
    pub(super) end: (usize, usize),
    /// Whether it was executed in any instance.
    pub(super) executed: bool,
}

impl Region {
    fn lines(&self) -> RangeInclusive<usize> {
        self.start.0..=self.end.0
    }
}

/// Counts lines by the rule that LLVM's own tool has: a line is covered if a region that begins on it is, or the
/// innermost one that reaches into it from above. `in_tests` tells of each line whether it is test code.
pub(super) fn uncovered(regions: &[Region], in_tests: &[bool]) -> FileCoverage {
    let mut file = FileCoverage::default();
    let last = regions.iter().map(|region| region.end.0).max().unwrap_or(0);
    for line in (1..=last).filter(|line| !in_tests.get(line - 1).copied().unwrap_or(false)) {
        let begins = |region: &&Region| region.start.0 == line;
        let reaches =
            |region: &&Region| region.start.0 < line && region.lines().contains(&line) && region.end > (line, 1);
        let mut beginning = regions.iter().filter(begins).peekable();
        let enclosing = regions.iter().filter(reaches).max_by_key(|region| region.start);
        if beginning.peek().is_none() && enclosing.is_none() {
            continue;
        }
        file.lines += 1;
        if !beginning.chain(enclosing).any(|region| region.executed) {
            file.uncovered.push(line);
        }
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(start: (usize, usize), end: (usize, usize), executed: bool) -> Region {
        Region { start, end, executed }
    }

    #[test]
    fn lines_without_a_region_do_not_count() {
        let file = uncovered(&[region((2, 1), (3, 9), true), region((6, 1), (6, 9), false)], &[]);
        assert_eq!(file, FileCoverage { lines: 3, uncovered: vec![6] });
    }

    #[test]
    fn a_region_inside_another_one_speaks_for_its_lines() {
        let regions = [region((1, 1), (9, 2), true), region((3, 20), (5, 6), false)];
        assert_eq!(uncovered(&regions, &[]), FileCoverage { lines: 9, uncovered: vec![4, 5] });
    }

    #[test]
    fn a_line_is_covered_by_any_region_that_begins_on_it() {
        let regions = [region((1, 1), (1, 5), false), region((1, 6), (1, 9), true)];
        assert_eq!(uncovered(&regions, &[]), FileCoverage { lines: 1, uncovered: vec![] });
    }

    #[test]
    fn test_code_does_not_count() {
        let regions = [region((1, 1), (1, 5), true), region((2, 1), (2, 5), false)];
        assert_eq!(uncovered(&regions, &[false, true]), FileCoverage { lines: 1, uncovered: vec![] });
    }
}
