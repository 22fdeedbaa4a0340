//! What of the line is visible, and how the terminal gets to show it.

use alloc::string::String;
use core::fmt::Write;
use unicode_width::UnicodeWidthChar;

/// Columns that a terminal is taken to have if nobody knows.
const USUAL_COLUMNS: usize = 80;
/// Fewest columns for the line beside the prompt.
const LEAST: usize = 8;

/// Columns that a character takes.
pub(super) fn width(character: char) -> usize {
    character.width().unwrap_or(0)
}

fn total(text: &[char]) -> usize {
    text.iter().map(|&character| width(character)).sum()
}

/// A window onto a line: it scrolls so that the cursor stays visible, in one row of the terminal.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// Columns of the terminal, if it knows.
    columns: Option<usize>,
    /// The first visible character.
    first: usize,
    /// Whether the whole line is on the terminal.
    complete: bool,
}

impl View {
    pub(super) fn new(columns: Option<u16>) -> Self {
        Self { columns: columns.map(usize::from).filter(|&columns| columns > 0), first: 0, complete: true }
    }

    /// A new line.
    pub(super) fn reset(&mut self) {
        self.first = 0;
        self.complete = true;
    }

    /// Columns for the line beside a prompt; one is left for the cursor behind the last character.
    fn room(&self, prompt: &str) -> usize {
        let columns = self.columns.unwrap_or(USUAL_COLUMNS);
        columns.saturating_sub(prompt.chars().map(width).sum::<usize>() + 1).max(LEAST)
    }

    /// Whether a character that is added at the end of `text` can just be printed.
    ///
    /// A terminal of unknown width takes characters at the end as they come and breaks the line by itself: whoever
    /// reads the other end of a serial line gets the line as it was typed.
    pub(super) fn can_append(&self, prompt: &str, text: &[char], added: char) -> bool {
        let fits = || total(text) + width(added) <= self.room(prompt);
        self.complete && width(added) > 0 && (self.columns.is_none() || fits())
    }

    /// Draws the line anew, in the row in which the cursor is.
    pub(super) fn draw(&mut self, prompt: &str, text: &[char], cursor: usize, out: &mut String) {
        let room = self.room(prompt);
        self.scroll(text, cursor, room);
        let mut shown = String::new();
        let mut used = 0;
        let mut column = 0;
        let mut last = self.first;
        if self.first > 0 {
            shown.push('<');
            used = 1;
            column = 1;
        }
        let mut rest = total(&text[self.first..]);
        for (index, &character) in text.iter().enumerate().skip(self.first) {
            // One column is kept for the mark, unless all that follows fits.
            if used + rest > room && used + width(character) + 1 > room {
                break;
            }
            shown.push(character);
            used += width(character);
            rest -= width(character);
            last = index + 1;
            if index < cursor {
                column = used;
            }
        }
        if last < text.len() {
            shown.push('>');
        }
        self.complete = self.first == 0 && last == text.len();
        let column = column + prompt.chars().map(width).sum::<usize>();
        // Writing to a string cannot fail.
        let _ = write!(out, "\r{prompt}{shown}\x1b[K\r");
        if column > 0 {
            let _ = write!(out, "\x1b[{column}C");
        }
    }

    /// Moves the window if the cursor has left it, by half its size so that this is rare.
    fn scroll(&mut self, text: &[char], cursor: usize, room: usize) {
        if total(text) <= room {
            self.first = 0;
            return;
        }
        // Both marks, and the character at the cursor, which may be a wide one.
        let usable = room - 4;
        if cursor <= self.first || total(&text[self.first..cursor]) > usable {
            let mut before = 0;
            let mut first = cursor;
            while first > 0 && before + width(text[first - 1]) <= usable / 2 {
                first -= 1;
                before += width(text[first]);
            }
            self.first = first;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn drawn(view: &mut View, text: &str, cursor: usize) -> String {
        let text: Vec<char> = text.chars().collect();
        let mut out = String::new();
        view.draw("> ", &text, cursor, &mut out);
        out
    }

    #[test]
    fn a_short_line_is_shown_whole_with_the_cursor_in_place() {
        assert_eq!(drawn(&mut View::new(Some(20)), "hello", 2), "\r> hello\x1b[K\r\x1b[4C");
        assert_eq!(drawn(&mut View::new(Some(20)), "", 0), "\r> \x1b[K\r\x1b[2C");
    }

    #[test]
    fn a_long_line_scrolls_with_marks_where_it_goes_on() {
        let mut view = View::new(Some(20));
        let text = "abcdefghijklmnopqrstuvwxyz";
        assert_eq!(drawn(&mut view, text, 0), "\r> abcdefghijklmnop>\x1b[K\r\x1b[2C");
        assert_eq!(drawn(&mut view, text, 26), "\r> <uvwxyz\x1b[K\r\x1b[9C");
        assert_eq!(drawn(&mut view, text, 20), "\r> <opqrstuvwxyz\x1b[K\r\x1b[9C");
        assert!(!view.can_append("> ", &['a'], 'b'), "the start of the line is not on the terminal");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(drawn(&mut View::new(Some(20)), "日本", 1), "\r> 日本\x1b[K\r\x1b[4C");
    }

    #[test]
    fn only_a_terminal_that_knows_its_width_is_kept_from_breaking_lines() {
        let text: Vec<char> = core::iter::repeat_n('x', 200).collect();
        assert!(View::new(None).can_append("> ", &text, 'x'));
        assert!(!View::new(Some(100)).can_append("> ", &text, 'x'));
        assert!(View::new(Some(300)).can_append("> ", &text, 'x'));
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_drawn_fits_into_the_row_and_holds_the_cursor(
            text in "[a-zé日🚢]{0,80}", columns in 10_u16..60, moves in proptest::collection::vec(0_usize..81, 1..8),
        ) {
            let characters: Vec<char> = text.chars().collect();
            let mut view = View::new(Some(columns));
            for cursor in moves {
                let cursor = cursor.min(characters.len());
                let mut out = String::new();
                view.draw("> ", &characters, cursor, &mut out);
                let row = out.trim_start_matches('\r').split("\x1b[K").next().unwrap_or_default();
                let used: usize = row.chars().map(width).sum();
                let column: usize = out.rsplit("\x1b[").next().and_then(|end| end.strip_suffix('C')).unwrap().parse().unwrap();
                let most = usize::from(columns).max(LEAST + 3);
                proptest::prop_assert!(used < most + 1, "{used} columns of {columns}: {row}");
                proptest::prop_assert!(column <= used, "cursor at {column} behind {row}");
                if cursor < characters.len() {
                    // The character under the cursor is there.
                    let mut at = 0;
                    let under = row.chars().find(|&c| { let hit = at == column; at += width(c); hit });
                    proptest::prop_assert_eq!(under, Some(characters[cursor]));
                }
            }
        }
    }
}
