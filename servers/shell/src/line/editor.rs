//! The line that is being typed.

use super::view::View;
use super::{History, Key};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Most characters of a line.
const LINE_MAX: usize = 4096;

/// What a key leads to, beyond the line itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The line is finished.
    Line(String),
    /// The line was given up.
    Interrupted,
    /// The word before the cursor is to be completed: see [`LineEditor::before_cursor`] and
    /// [`LineEditor::replace_before_cursor`].
    Complete,
}

/// A line out of the history, and what was typed before it was fetched.
#[derive(Clone, Debug)]
struct Recall {
    index: usize,
    draft: Vec<char>,
}

/// A search through the history.
#[derive(Clone, Debug)]
struct Search {
    pattern: String,
    /// The line found.
    found: Option<usize>,
    draft: Vec<char>,
}

/// A line editor: keys in, events and text for the terminal out.
#[derive(Clone, Debug)]
pub struct LineEditor {
    prompt: String,
    text: Vec<char>,
    cursor: usize,
    cut: Vec<char>,
    history: History,
    recall: Option<Recall>,
    search: Option<Search>,
    view: View,
    /// What the terminal shows is not the line any more.
    stale: bool,
}

impl LineEditor {
    /// An editor for a terminal of so many columns, if that is known, that remembers as many lines as `history` takes.
    pub fn new(columns: Option<u16>, history: History) -> Self {
        Self {
            prompt: String::new(),
            text: Vec::new(),
            cursor: 0,
            cut: Vec::new(),
            history,
            recall: None,
            search: None,
            view: View::new(columns),
            stale: false,
        }
    }

    /// Begins a new line behind `prompt`.
    pub fn begin(&mut self, prompt: &str, out: &mut String) {
        self.prompt = prompt.into();
        self.text.clear();
        self.cursor = 0;
        self.recall = None;
        self.search = None;
        self.stale = false;
        self.view.reset();
        out.push_str(prompt);
    }

    /// Shows the line again, on a row on which nothing of it stands.
    pub fn redraw(&mut self, out: &mut String) {
        self.view.reset();
        self.stale = true;
        self.refresh(out);
    }

    /// Brings the terminal up to date. Keys that come in a burst are drawn together: call this after the last of them.
    pub fn refresh(&mut self, out: &mut String) {
        if !core::mem::take(&mut self.stale) {
            return;
        }
        match &self.search {
            None => self.view.draw(&self.prompt, &self.text, self.cursor, out),
            Some(search) => {
                let failed = if search.found.is_none() && !search.pattern.is_empty() { "nothing has " } else { "" };
                let prompt = format!("(search: {failed}'{}') ", search.pattern);
                self.view.draw(&prompt, &self.text, self.cursor, out);
            }
        }
    }

    /// The line as it stands.
    pub fn line(&self) -> String {
        self.text.iter().collect()
    }

    /// The part of the line before the cursor.
    pub fn before_cursor(&self) -> String {
        self.text[..self.cursor].iter().collect()
    }

    /// Replaces the last `count` characters before the cursor.
    pub fn replace_before_cursor(&mut self, count: usize, replacement: &str, out: &mut String) {
        let start = self.cursor - count.min(self.cursor);
        let replacement: Vec<char> = replacement.chars().collect();
        // What stays as it is need not be drawn again.
        let same = self.text[start..self.cursor].iter().zip(&replacement).take_while(|(old, new)| old == new).count();
        if start + same < self.cursor {
            self.text.drain(start + same..self.cursor);
            self.cursor = start + same;
            self.stale = true;
        }
        for &character in &replacement[same..] {
            self.insert(character, out);
        }
    }

    /// Takes a key. What the terminal is to show is added to `out`, complete after [`LineEditor::refresh`].
    pub fn key(&mut self, key: Key, out: &mut String) -> Option<Event> {
        if self.search.is_some() && self.search_key(key) {
            return None;
        }
        match key {
            Key::Char(character) => self.insert(character, out),
            Key::Enter => return Some(self.finish(out)),
            Key::Tab => return Some(Event::Complete),
            Key::Interrupt => {
                self.refresh(out);
                out.push_str("^C\r\n");
                return Some(Event::Interrupted);
            }
            Key::Clear => {
                out.push_str("\x1b[2J\x1b[H");
                self.stale = true;
            }
            Key::Search => {
                self.search = Some(Search { pattern: String::new(), found: None, draft: self.text.clone() });
                self.stale = true;
            }
            Key::Up => self.recall_before(),
            Key::Down => self.recall_after(),
            Key::Yank => {
                for character in self.cut.clone() {
                    self.insert(character, out);
                }
            }
            Key::Abort => {}
            Key::Left => self.move_to(self.cursor.saturating_sub(1)),
            Key::Right => self.move_to((self.cursor + 1).min(self.text.len())),
            Key::WordLeft => self.move_to(self.word_left()),
            Key::WordRight => self.move_to(self.word_right()),
            Key::Home => self.move_to(0),
            Key::End => self.move_to(self.text.len()),
            Key::Backspace => self.remove(self.cursor.saturating_sub(1), self.cursor),
            Key::Delete => self.remove(self.cursor, (self.cursor + 1).min(self.text.len())),
            Key::KillToEnd => self.kill(self.cursor, self.text.len()),
            Key::KillToStart => self.kill(0, self.cursor),
            Key::KillWordLeft => self.kill(self.space_left(), self.cursor),
            Key::KillWordRight => self.kill(self.cursor, self.word_right()),
        }
        None
    }

    fn finish(&mut self, out: &mut String) -> Event {
        self.refresh(out);
        out.push_str("\r\n");
        let line = self.line();
        self.history.add(&line);
        Event::Line(line)
    }

    fn insert(&mut self, character: char, out: &mut String) {
        if self.text.len() >= LINE_MAX {
            out.push('\x07');
            return;
        }
        let appended = self.cursor == self.text.len();
        if appended && !self.stale && self.view.can_append(&self.prompt, &self.text, character) {
            out.push(character);
        } else {
            self.stale = true;
        }
        self.text.insert(self.cursor, character);
        self.cursor += 1;
    }

    fn move_to(&mut self, cursor: usize) {
        self.stale |= self.cursor != cursor;
        self.cursor = cursor;
    }

    fn remove(&mut self, start: usize, end: usize) {
        self.stale |= start < end;
        self.text.drain(start..end);
        self.cursor = start;
    }

    fn kill(&mut self, start: usize, end: usize) {
        if start < end {
            self.cut = self.text[start..end].to_vec();
            self.remove(start, end);
        }
    }

    fn left_while(&self, start: usize, mut belongs: impl FnMut(char) -> bool) -> usize {
        (0..start).rev().find(|&index| !belongs(self.text[index])).map_or(0, |index| index + 1)
    }

    fn word_left(&self) -> usize {
        let behind = self.left_while(self.cursor, |character| !character.is_alphanumeric());
        self.left_while(behind, char::is_alphanumeric)
    }

    /// The start of what stands between spaces before the cursor.
    fn space_left(&self) -> usize {
        let behind = self.left_while(self.cursor, char::is_whitespace);
        self.left_while(behind, |character| !character.is_whitespace())
    }

    fn word_right(&self) -> usize {
        let skip = |start: usize, belongs: fn(char) -> bool| {
            (start..self.text.len()).find(|&index| !belongs(self.text[index])).unwrap_or(self.text.len())
        };
        skip(skip(self.cursor, |character| !character.is_alphanumeric()), char::is_alphanumeric)
    }

    fn show_line(&mut self, text: Vec<char>) {
        self.cursor = text.len();
        self.text = text;
        self.stale = true;
    }

    fn recall_before(&mut self) {
        let index = match &self.recall {
            Some(recall) => recall.index.checked_sub(1),
            None => self.history.len().checked_sub(1),
        };
        self.recall_line(index);
    }

    fn recall_after(&mut self) {
        let Some(recall) = &self.recall else { return };
        let next = recall.index + 1;
        if next < self.history.len() {
            return self.recall_line(Some(next));
        }
        if let Some(recall) = self.recall.take() {
            self.show_line(recall.draft);
        }
    }

    fn recall_line(&mut self, index: Option<usize>) {
        let Some(index) = index else { return };
        let Some(line) = self.history.line(index) else { return };
        let line = line.chars().collect();
        match &mut self.recall {
            Some(recall) => recall.index = index,
            None => self.recall = Some(Recall { index, draft: self.text.clone() }),
        }
        self.show_line(line);
    }

    /// Takes a key during a search; `false` if it ends the search and is to be taken as usual.
    fn search_key(&mut self, key: Key) -> bool {
        let Some(search) = &mut self.search else { return false };
        self.stale = true;
        let before = match key {
            Key::Char(character) => {
                search.pattern.push(character);
                // The line that is shown may still be the one.
                search.found.map_or(self.history.len(), |found| found + 1)
            }
            Key::Backspace => {
                search.pattern.pop();
                self.history.len()
            }
            Key::Search => search.found.unwrap_or(self.history.len()),
            Key::Abort | Key::Interrupt => {
                let draft = core::mem::take(&mut search.draft);
                self.search = None;
                self.view.reset();
                self.show_line(draft);
                return true;
            }
            _ => {
                self.search = None;
                self.view.reset();
                return false;
            }
        };
        if search.pattern.is_empty() {
            search.found = None;
            return true;
        }
        let found = self.history.find_before(before, &search.pattern);
        // A repeated search that finds nothing more stays where it is.
        if found.is_some() || key != Key::Search {
            search.found = found;
        }
        if let Some(line) = search.found.and_then(|index| self.history.line(index)) {
            let line = line.chars().collect();
            self.show_line(line);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::KeyDecoder;
    use alloc::string::ToString;

    /// An editor, what it has shown, and what has come of it.
    struct Typist {
        editor: LineEditor,
        decoder: KeyDecoder,
        shown: String,
        events: Vec<Event>,
    }

    impl Typist {
        fn new(columns: Option<u16>) -> Self {
            let mut shown = String::new();
            let mut editor = LineEditor::new(columns, History::new(100));
            editor.begin("> ", &mut shown);
            Self { editor, decoder: KeyDecoder::new(), shown, events: Vec::new() }
        }

        /// Types in one burst.
        fn types(&mut self, text: &str) -> &mut Self {
            for byte in text.bytes() {
                let mut keys = Vec::new();
                self.decoder.feed(byte, &mut keys);
                for key in keys {
                    if let Some(event) = self.editor.key(key, &mut self.shown) {
                        if event != Event::Complete {
                            self.editor.begin("> ", &mut self.shown);
                        }
                        self.events.push(event);
                    }
                }
            }
            self.editor.refresh(&mut self.shown);
            self
        }

        fn line(&self) -> String {
            self.editor.line()
        }

        /// The row in which the terminal's cursor is, and the cursor's column.
        fn row(&self) -> (String, usize) {
            let mut row: Vec<char> = Vec::new();
            let mut column = 0;
            let mut rest = self.shown.as_str();
            while let Some(character) = rest.chars().next() {
                rest = &rest[character.len_utf8()..];
                match character {
                    '\r' => column = 0,
                    '\n' => row.clear(),
                    '\x07' => {}
                    '\x1b' => {
                        let end = rest.find(|c: char| c.is_ascii_alphabetic()).expect("a whole sequence");
                        let (count, last) = (rest[1..end].parse().unwrap_or(1), &rest[end..=end]);
                        match last {
                            "K" => row.truncate(column),
                            "C" => column += count,
                            _ => row.clear(),
                        }
                        rest = &rest[end + 1..];
                    }
                    visible => {
                        row.resize(row.len().max(column + 1), ' ');
                        row[column] = visible;
                        column += 1;
                    }
                }
            }
            (row.into_iter().collect(), column)
        }
    }

    fn edited(keys: &str) -> String {
        Typist::new(None).types(keys).line()
    }

    #[test]
    fn what_is_typed_at_the_end_is_shown_as_it_is() {
        let mut typist = Typist::new(None);
        typist.types("ls /disk");
        assert_eq!(typist.shown, "> ls /disk");
        typist.types("\r");
        assert_eq!(typist.shown, "> ls /disk\r\n> ");
        assert_eq!(typist.events, [Event::Line("ls /disk".into())]);
    }

    #[test]
    fn several_lines_may_come_in_one_burst() {
        let mut typist = Typist::new(None);
        typist.types("ls\nps\r\ncaps\r");
        let lines = ["ls", "ps", "caps"].map(|line| Event::Line(line.into()));
        assert_eq!(typist.events, lines);
    }

    #[test]
    fn a_long_line_reaches_a_terminal_of_unknown_width_as_it_was_typed() {
        let long = "x".repeat(300);
        let mut typist = Typist::new(None);
        typist.types(&long);
        assert_eq!(typist.shown, format!("> {long}"));
    }

    #[test]
    fn a_long_line_scrolls_on_a_terminal_of_known_width() {
        let mut typist = Typist::new(Some(20));
        typist.types("abcdefghijklmnopqrstuvwxyz");
        let (row, column) = typist.row();
        assert!(row.starts_with("> <") && row.ends_with('z') && row.chars().count() < 20, "{row}");
        assert_eq!(column, row.chars().count());
        assert_eq!(typist.line(), "abcdefghijklmnopqrstuvwxyz");
        typist.types("\x01");
        assert_eq!(typist.row(), ("> abcdefghijklmnop>".to_string(), 2));
    }

    #[test]
    fn characters_are_inserted_and_removed_where_the_cursor_is() {
        assert_eq!(edited("helo\x1b[Dl"), "hello");
        assert_eq!(edited("xab\x01\x04"), "ab");
        assert_eq!(edited("abx\x7f"), "ab");
        assert_eq!(edited("ab\x1b[D\x1b[D\x7f"), "ab", "there is nothing before the start");
        assert_eq!(edited("ab\x1b[3~"), "ab", "there is nothing behind the end");
        assert_eq!(edited("ß€\x7f"), "ß");
    }

    #[test]
    fn the_cursor_moves_by_characters_words_and_to_the_ends() {
        let at = |keys: &str| Typist::new(None).types(keys).row().1 - 2;
        assert_eq!(at("cat /disk/a\x1bb"), 10);
        assert_eq!(at("cat /disk/a\x1bb\x1bb"), 5);
        assert_eq!(at("cat /disk/a\x01\x1bf"), 3);
        assert_eq!(at("cat /disk/a\x01\x1bf\x1bf"), 9);
        assert_eq!(at("cat\x1b[H\x1b[C\x1b[F"), 3);
    }

    #[test]
    fn what_is_cut_can_be_inserted_again() {
        assert_eq!(edited("cat /disk/a b\x17"), "cat /disk/a ");
        assert_eq!(edited("cat /disk/a\x17\x17"), "");
        assert_eq!(edited("abcd\x1b[D\x1b[D\x0b"), "ab");
        assert_eq!(edited("abcd\x1b[D\x1b[D\x15"), "cd");
        assert_eq!(edited("ab cd\x01\x1bd\x05 \x19"), " cd ab");
    }

    #[test]
    fn the_history_is_walked_up_and_down_and_the_draft_comes_back() {
        let mut typist = Typist::new(None);
        typist.types("one\rtwo\rdraft");
        assert_eq!(typist.types("\x1b[A").line(), "two");
        assert_eq!(typist.types("\x1b[A").line(), "one");
        assert_eq!(typist.types("\x1b[A").line(), "one", "it is the oldest");
        assert_eq!(typist.types("\x1b[B").line(), "two");
        assert_eq!(typist.types("\x1b[B").line(), "draft");
        assert_eq!(typist.types("\x1b[B").line(), "draft");
        assert_eq!(typist.row().0, "> draft");
        typist.types("\x1b[A!\r");
        assert_eq!(typist.events.last(), Some(&Event::Line("two!".into())));
    }

    #[test]
    fn the_history_is_searched_while_the_pattern_is_typed() {
        let mut typist = Typist::new(None);
        typist.types("cat a\rls\rcat b\rps\r\x12ca");
        assert_eq!(typist.line(), "cat b");
        assert_eq!(typist.row().0, "(search: 'ca') cat b");
        assert_eq!(typist.types("\x12").line(), "cat a");
        assert_eq!(typist.types("\x12").line(), "cat a", "there is no other");
        typist.types("\r");
        assert_eq!(typist.events.last(), Some(&Event::Line("cat a".into())));
        typist.types("mine\x12zzz");
        assert_eq!(typist.row().0, "(search: nothing has 'zzz') mine");
        assert_eq!(typist.types("\x07").row().0, "> mine");
    }

    #[test]
    fn ctrl_c_gives_the_line_up() {
        let mut typist = Typist::new(None);
        typist.types("rm all\x03ls\r");
        assert_eq!(typist.events, [Event::Interrupted, Event::Line("ls".into())]);
    }

    #[test]
    fn a_completed_word_is_shown_by_what_was_added() {
        let mut typist = Typist::new(None);
        typist.types("cat /disk/re");
        typist.editor.replace_before_cursor(8, "/disk/readme.txt ", &mut typist.shown);
        assert_eq!(typist.shown, "> cat /disk/readme.txt ");
        typist.editor.replace_before_cursor(6, "E.TXT ", &mut typist.shown);
        typist.editor.refresh(&mut typist.shown);
        assert_eq!(typist.row().0, "> cat /disk/readmE.TXT ");
    }

    #[test]
    fn a_line_without_end_is_kept_within_bounds() {
        let mut typist = Typist::new(None);
        typist.types(&"x".repeat(LINE_MAX + 10));
        assert_eq!(typist.line().len(), LINE_MAX);
    }

    proptest::proptest! {
        /// However the keys are distributed over bursts, the terminal ends up showing the line.
        #[test]
        fn the_terminal_shows_the_line_whatever_is_typed(
            bursts in proptest::collection::vec(
                proptest::collection::vec(
                    proptest::prop_oneof![
                        "[a-z ]", "\\PC",
                        proptest::sample::select(alloc::vec![
                            "\x01", "\x02", "\x05", "\x06", "\x04", "\x7f", "\x0b", "\x15", "\x17", "\x19", "\x1bb",
                            "\x1bf", "\x1bd", "\x1b[A", "\x1b[B", "\r",
                        ]).prop_map(String::from),
                    ],
                    0..12,
                ),
                0..8,
            ),
        ) {
            let mut typist = Typist::new(None);
            for burst in bursts {
                typist.types(&burst.concat());
            }
            let line = typist.line();
            // Only characters of one column: the test's terminal knows no others.
            if line.chars().all(|c| super::super::view::width(c) == 1) && line.chars().count() < 70 {
                let (row, expected) = (typist.row().0, format!("> {line}"));
                proptest::prop_assert_eq!(row.trim_end(), expected.trim_end());
            }
        }
    }

    use proptest::strategy::Strategy;
}
