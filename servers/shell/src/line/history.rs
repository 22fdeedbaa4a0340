//! Lines that were typed before.

use alloc::collections::VecDeque;
use alloc::string::String;

/// The last lines, the oldest first.
#[derive(Clone, Debug)]
pub struct History {
    lines: VecDeque<String>,
    most: usize,
}

impl History {
    /// An empty history of at most `most` lines.
    pub fn new(most: usize) -> Self {
        Self { lines: VecDeque::new(), most }
    }

    /// Adds a line, unless it is the same as the one before, empty, or begins with a space: that is how a line is kept
    /// out.
    pub fn add(&mut self, line: &str) {
        let repeated = self.lines.back().is_some_and(|last| last == line);
        if repeated || line.is_empty() || line.starts_with(' ') || self.most == 0 {
            return;
        }
        if self.lines.len() == self.most {
            self.lines.pop_front();
        }
        self.lines.push_back(line.into());
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The line with this number, counted from the oldest.
    pub fn line(&self, index: usize) -> Option<&str> {
        self.lines.get(index).map(String::as_str)
    }

    /// The number of the last line before `end` that contains `pattern`.
    pub fn find_before(&self, end: usize, pattern: &str) -> Option<usize> {
        (0..end.min(self.lines.len())).rev().find(|&index| self.lines[index].contains(pattern))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn lines(history: &History) -> Vec<&str> {
        (0..history.len()).filter_map(|index| history.line(index)).collect()
    }

    #[test]
    fn the_oldest_lines_make_room() {
        let mut history = History::new(2);
        for line in ["a", "b", "c"] {
            history.add(line);
        }
        assert_eq!(lines(&history), ["b", "c"]);
    }

    #[test]
    fn repeats_empty_lines_and_those_with_a_space_in_front_are_left_out() {
        let mut history = History::new(9);
        for line in ["ls", "ls", "", " secret", "ps", "ls"] {
            history.add(line);
        }
        assert_eq!(lines(&history), ["ls", "ps", "ls"]);
    }

    #[test]
    fn a_search_goes_back_from_where_it_is() {
        let mut history = History::new(9);
        for line in ["cat a", "ls", "cat b", "ps"] {
            history.add(line);
        }
        assert_eq!(history.find_before(history.len(), "cat"), Some(2));
        assert_eq!(history.find_before(2, "cat"), Some(0));
        assert_eq!(history.find_before(0, "cat"), None);
        assert_eq!(history.find_before(100, "ps"), Some(3));
    }
}
