//! What a serial terminal would show: finished lines and the one that is being written.

/// Lines as a person sees them: carriage returns, backspaces and the escape sequences that line editors use have been
/// carried out instead of being kept.
#[derive(Debug, Default)]
pub struct Screen {
    /// Lines that were ended by a line feed.
    lines: Vec<String>,
    /// The line under the cursor.
    current: Vec<char>,
    column: usize,
    escape: Escape,
    /// Bytes of a UTF-8 character whose rest has not arrived.
    partial: Vec<u8>,
}

#[derive(Debug, Default)]
enum Escape {
    #[default]
    None,
    Started,
    /// Inside of `ESC [`, with the parameters so far.
    Control(String),
}

impl Screen {
    /// The lines that are finished.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The line under the cursor.
    pub fn current(&self) -> String {
        self.current.iter().collect()
    }

    /// Everything from finished line `first` on, the current line included.
    pub fn text_from(&self, first: usize) -> String {
        let mut text = String::new();
        for line in self.lines.get(first..).unwrap_or_default() {
            text.push_str(line);
            text.push('\n');
        }
        text.extend(&self.current);
        text
    }

    /// Takes what arrived on the line.
    pub fn write(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.partial);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.write_text(text);
                    return;
                }
                Err(error) => {
                    let (good, bad) = rest.split_at(error.valid_up_to());
                    let text = std::str::from_utf8(good).unwrap_or_default();
                    self.write_text(text);
                    match error.error_len() {
                        Some(length) => {
                            self.put(char::REPLACEMENT_CHARACTER);
                            rest = &bad[length..];
                        }
                        None => {
                            self.partial = bad.to_vec();
                            return;
                        }
                    }
                }
            }
        }
    }

    fn write_text(&mut self, text: &str) {
        for character in text.chars() {
            match std::mem::take(&mut self.escape) {
                Escape::None => self.write_char(character),
                Escape::Started if character == '[' => self.escape = Escape::Control(String::new()),
                Escape::Started => {}
                Escape::Control(parameters) if ('\x40'..='\x7e').contains(&character) => {
                    self.control(&parameters, character);
                }
                Escape::Control(mut parameters) => {
                    parameters.push(character);
                    self.escape = Escape::Control(parameters);
                }
            }
        }
    }

    fn write_char(&mut self, character: char) {
        match character {
            '\x1b' => self.escape = Escape::Started,
            '\n' => {
                self.lines.push(self.current.drain(..).collect());
                self.column = 0;
            }
            '\r' => self.column = 0,
            '\x08' => self.column = self.column.saturating_sub(1),
            '\t' => {
                for _ in 0..8 - self.column % 8 {
                    self.put(' ');
                }
            }
            control if control.is_control() => {}
            visible => self.put(visible),
        }
    }

    fn put(&mut self, character: char) {
        if self.column < self.current.len() {
            self.current[self.column] = character;
        } else {
            self.current.resize(self.column, ' ');
            self.current.push(character);
        }
        self.column += 1;
    }

    /// Carries out `ESC [ parameters final`, as far as a line editor uses such sequences.
    fn control(&mut self, parameters: &str, last: char) {
        // A line wider than this is nobody's command line.
        const WIDEST: usize = 4096;
        let count = || parameters.parse().unwrap_or(1).clamp(1, WIDEST);
        match (last, parameters) {
            ('K', "" | "0") => self.current.truncate(self.column),
            ('K', "2") => self.current.clear(),
            ('C', _) => self.column = (self.column + count()).min(WIDEST),
            ('D', _) => self.column = self.column.saturating_sub(count()),
            ('G', _) => self.column = count() - 1,
            ('P', _) => {
                let end = (self.column + count()).min(self.current.len());
                if self.column < end {
                    self.current.drain(self.column..end);
                }
            }
            // Colours, and sequences that move between lines: the firmware clears the screen with those.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> String {
        let mut screen = Screen::default();
        screen.write(bytes);
        screen.text_from(0)
    }

    #[test]
    fn lines_end_at_line_feeds_with_or_without_carriage_returns() {
        assert_eq!(shown(b"one\r\ntwo\nthree"), "one\ntwo\nthree");
    }

    #[test]
    fn a_redrawn_prompt_is_shown_once() {
        assert_eq!(shown(b"> l\r\x1b[K> ls\r\x1b[K[log]\r\n> ls"), "[log]\n> ls");
    }

    #[test]
    fn backspace_and_cursor_movement_are_carried_out() {
        assert_eq!(shown(b"cap\x08\x1b[Ks"), "cas");
        assert_eq!(shown(b"abcd\x1b[3DX"), "aXcd");
        assert_eq!(shown(b"ab\x1b[2CX"), "ab  X");
        assert_eq!(shown(b"abcd\x1b[2G\x1b[2P"), "ad");
    }

    #[test]
    fn colours_leave_no_trace() {
        assert_eq!(shown(b"\x1b[1;32mok\x1b[0m \x1bcfine"), "ok fine");
    }

    #[test]
    fn a_sequence_or_character_may_arrive_in_pieces() {
        let mut screen = Screen::default();
        for byte in "gr\u{1b}[31mün".as_bytes() {
            screen.write(&[*byte]);
        }
        assert_eq!(screen.current(), "grün");
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_not_lost() {
        assert_eq!(shown(b"a\xff\xfeb"), "a\u{fffd}\u{fffd}b");
    }

    #[test]
    fn no_sequence_makes_the_line_grow_without_bound() {
        let mut screen = Screen::default();
        for _ in 0..100 {
            screen.write(b"\x1b[99999999999C\x1b[4000C");
        }
        screen.write(b"x");
        assert!(screen.current().len() <= 4097);
    }
}
