//! What the shell shows: collected, and sent to the terminal in large pieces.

use crate::services::Terminal;
use alloc::vec::Vec;
use core::fmt;

/// Bytes that are sent at once: a slow line takes about a second and a half for them, so Ctrl-C works in between.
const PIECE: usize = 16 * 1024;

/// Text on its way to the terminal. Every line feed gets the carriage return that a terminal needs, also one that has a
/// carriage return already: so whoever takes one away before each line feed has exactly the bytes that were shown.
pub struct Output<'a> {
    terminal: &'a dyn Terminal,
    waiting: Vec<u8>,
    at_line_start: bool,
    lost: bool,
}

impl<'a> Output<'a> {
    /// Nothing yet.
    pub fn new(terminal: &'a dyn Terminal) -> Self {
        Self { terminal, waiting: Vec::new(), at_line_start: true, lost: false }
    }

    /// Shows bytes; sends what has become a large piece.
    pub fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                self.waiting.push(b'\r');
            }
            self.waiting.push(byte);
            self.at_line_start = byte == b'\n';
            if self.waiting.len() >= PIECE {
                self.flush();
            }
        }
    }

    /// Shows text for the terminal as it is: it may move the cursor.
    pub fn raw(&mut self, text: &str) {
        self.raw_bytes(text.as_bytes());
    }

    /// Shows bytes for the terminal as they are, which need not be text.
    pub fn raw_bytes(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        if !bytes.is_empty() {
            // A line feed alone leaves the cursor in its column.
            self.at_line_start = self.waiting.ends_with(b"\r\n");
        }
    }

    /// Shows a line.
    pub fn line(&mut self, line: impl fmt::Display) {
        // Showing cannot fail here: what the terminal does not take is noted.
        let _ = fmt::Write::write_fmt(self, format_args!("{line}\n"));
    }

    /// Goes to the start of a line, if the cursor is elsewhere.
    pub fn fresh_line(&mut self) {
        if !self.at_line_start {
            self.bytes(b"\n");
        }
    }

    /// Sends everything.
    pub fn flush(&mut self) {
        if !self.waiting.is_empty() {
            self.lost |= self.terminal.write(&self.waiting).is_err();
            self.waiting.clear();
        }
    }

    /// Whether the terminal has not taken something since this was last asked.
    pub fn take_lost(&mut self) -> bool {
        core::mem::take(&mut self.lost)
    }
}

impl fmt::Write for Output<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

/// A text from elsewhere, without what could steer the terminal.
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        self.0.chars().try_for_each(|character| {
            f.write_char(if character.is_control() { char::REPLACEMENT_CHARACTER } else { character })
        })
    }
}
