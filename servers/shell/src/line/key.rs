//! From bytes to keys.

use alloc::vec::Vec;

/// A key, or a combination, by what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// Return: the line is finished.
    Enter,
    /// Tab: complete the word.
    Tab,
    /// Removes the character before the cursor.
    Backspace,
    /// Removes the character at the cursor.
    Delete,
    /// One character to the left.
    Left,
    /// One character to the right.
    Right,
    /// One word to the left.
    WordLeft,
    /// One word to the right.
    WordRight,
    /// To the start of the line.
    Home,
    /// To the end of the line.
    End,
    /// The line before, in the history.
    Up,
    /// The line after, in the history.
    Down,
    /// Cuts what follows the cursor.
    KillToEnd,
    /// Cuts what precedes the cursor.
    KillToStart,
    /// Cuts the word before the cursor.
    KillWordLeft,
    /// Cuts the word after the cursor.
    KillWordRight,
    /// Inserts what was cut last.
    Yank,
    /// Ctrl-C: gives the line, or the command, up.
    Interrupt,
    /// Clears the screen.
    Clear,
    /// Searches the history.
    Search,
    /// Ends a search without a result.
    Abort,
}

/// Most bytes of an escape sequence that are kept; of a longer one the end is all that matters.
const PARAMETERS_MAX: usize = 8;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    /// After a carriage return: a line feed belongs to it.
    Returned,
    /// After ESC.
    Escaped,
    /// After ESC O.
    SingleShift,
    /// After ESC [, with the parameters so far.
    Control(Vec<u8>),
    /// Inside of a character: its bytes so far, and how many it has.
    Partial(Vec<u8>, usize),
}

/// Takes bytes one at a time, so that a sequence may arrive in any number of pieces.
#[derive(Clone, Debug, Default)]
pub struct KeyDecoder {
    state: State,
}

impl KeyDecoder {
    /// A decoder that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a byte and adds the keys that it completes: none, one, or two if it breaks off a character.
    pub fn feed(&mut self, byte: u8, keys: &mut Vec<Key>) {
        match core::mem::take(&mut self.state) {
            State::Ground => self.ground(byte, keys),
            State::Returned if byte == b'\n' => {}
            State::Returned => self.ground(byte, keys),
            State::Escaped => self.escaped(byte, keys),
            State::SingleShift => keys.extend(cursor_key(byte)),
            State::Control(parameters) => self.control(parameters, byte, keys),
            State::Partial(bytes, length) => self.partial(bytes, length, byte, keys),
        }
    }

    fn ground(&mut self, byte: u8, keys: &mut Vec<Key>) {
        let length = match byte {
            b'\r' => {
                self.state = State::Returned;
                return keys.push(Key::Enter);
            }
            0x1b => {
                self.state = State::Escaped;
                return;
            }
            0..0x20 | 0x7f => return keys.extend(control_key(byte)),
            0x20..0x7f => return keys.push(Key::Char(byte.into())),
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return keys.push(Key::Char(char::REPLACEMENT_CHARACTER)),
        };
        self.state = State::Partial([byte].into(), length);
    }

    fn partial(&mut self, mut bytes: Vec<u8>, length: usize, byte: u8, keys: &mut Vec<Key>) {
        if byte & 0xc0 != 0x80 {
            // The character was broken off; the byte begins something else.
            keys.push(Key::Char(char::REPLACEMENT_CHARACTER));
            return self.ground(byte, keys);
        }
        bytes.push(byte);
        if bytes.len() < length {
            self.state = State::Partial(bytes, length);
            return;
        }
        let character = core::str::from_utf8(&bytes).ok().and_then(|text| text.chars().next());
        keys.push(Key::Char(character.unwrap_or(char::REPLACEMENT_CHARACTER)));
    }

    fn escaped(&mut self, byte: u8, keys: &mut Vec<Key>) {
        match byte {
            b'[' => self.state = State::Control(Vec::new()),
            b'O' => self.state = State::SingleShift,
            0x1b => self.state = State::Escaped,
            b'b' => keys.push(Key::WordLeft),
            b'f' => keys.push(Key::WordRight),
            b'd' => keys.push(Key::KillWordRight),
            0x7f | 0x08 => keys.push(Key::KillWordLeft),
            // A lone ESC before a key that means something by itself.
            0..0x20 => self.ground(byte, keys),
            _ => {}
        }
    }

    fn control(&mut self, mut parameters: Vec<u8>, byte: u8, keys: &mut Vec<Key>) {
        match byte {
            0x40..=0x7e => keys.extend(control_sequence(&parameters, byte)),
            0x20..0x40 => {
                if parameters.len() < PARAMETERS_MAX {
                    parameters.push(byte);
                }
                self.state = State::Control(parameters);
            }
            // No sequence holds such a byte: it was broken off.
            _ => self.ground(byte, keys),
        }
    }
}

fn control_key(byte: u8) -> Option<Key> {
    Some(match byte {
        0x01 => Key::Home,
        0x02 => Key::Left,
        0x03 => Key::Interrupt,
        0x04 => Key::Delete,
        0x05 => Key::End,
        0x06 => Key::Right,
        0x07 => Key::Abort,
        0x08 | 0x7f => Key::Backspace,
        b'\t' => Key::Tab,
        b'\n' => Key::Enter,
        0x0b => Key::KillToEnd,
        0x0c => Key::Clear,
        0x0e => Key::Down,
        0x10 => Key::Up,
        0x12 => Key::Search,
        0x15 => Key::KillToStart,
        0x17 => Key::KillWordLeft,
        0x19 => Key::Yank,
        _ => return None,
    })
}

fn cursor_key(last: u8) -> Option<Key> {
    Some(match last {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'C' => Key::Right,
        b'D' => Key::Left,
        b'H' => Key::Home,
        b'F' => Key::End,
        _ => return None,
    })
}

/// `ESC [ parameters last`, as ECMA-48 and the usual terminals have it.
fn control_sequence(parameters: &[u8], last: u8) -> Option<Key> {
    match (last, parameters) {
        // With Ctrl (5) or Alt (3) held.
        (b'C', b"1;5" | b"1;3" | b"5") => Some(Key::WordRight),
        (b'D', b"1;5" | b"1;3" | b"5") => Some(Key::WordLeft),
        (b'~', b"1" | b"7") => Some(Key::Home),
        (b'~', b"3") => Some(Key::Delete),
        (b'~', b"4" | b"8") => Some(Key::End),
        (b'~', b"3;5" | b"3;3") => Some(Key::KillWordRight),
        (b'~', _) => None,
        _ => cursor_key(last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut decoder = KeyDecoder::new();
        let mut keys = Vec::new();
        for &byte in bytes {
            decoder.feed(byte, &mut keys);
        }
        keys
    }

    #[test]
    fn a_line_ends_with_a_return_a_line_feed_or_both_together() {
        let (a, b) = (Key::Char('a'), Key::Char('b'));
        assert_eq!(keys(b"a\rb\r"), [a, Key::Enter, b, Key::Enter]);
        assert_eq!(keys(b"a\nb\n"), [a, Key::Enter, b, Key::Enter]);
        assert_eq!(keys(b"a\r\nb\r\n"), [a, Key::Enter, b, Key::Enter]);
        assert_eq!(keys(b"\n\n\r\r"), vec![Key::Enter; 4]);
    }

    #[test]
    fn cursor_keys_are_known_in_the_ways_that_terminals_send_them() {
        assert_eq!(
            keys(b"\x1b[A\x1bOA\x1b[1;5D\x1bb\x1b[D"),
            [Key::Up, Key::Up, Key::WordLeft, Key::WordLeft, Key::Left]
        );
        assert_eq!(keys(b"\x1b[H\x1b[1~\x1b[7~\x1bOH\x01"), vec![Key::Home; 5]);
        assert_eq!(keys(b"\x1b[F\x1b[4~\x1b[8~\x1bOF\x05"), vec![Key::End; 5]);
        assert_eq!(keys(b"\x1b[3~\x04\x7f\x08"), [Key::Delete, Key::Delete, Key::Backspace, Key::Backspace]);
    }

    #[test]
    fn unknown_sequences_are_swallowed_whole() {
        assert_eq!(keys(b"\x1b[15~\x1b[?1;2;3;4;5;6;7;8c\x1bx\x1bOPy"), [Key::Char('y')]);
    }

    #[test]
    fn characters_of_several_bytes_arrive_in_pieces() {
        assert_eq!(keys("aße€🚢".as_bytes()), ['a', 'ß', 'e', '€', '🚢'].map(Key::Char));
    }

    #[test]
    fn broken_characters_do_not_swallow_what_follows() {
        let bad = Key::Char(char::REPLACEMENT_CHARACTER);
        assert_eq!(keys(b"\xe2\x82a"), [bad, Key::Char('a')]);
        assert_eq!(keys(b"\x80\xffa"), [bad, bad, Key::Char('a')]);
        assert_eq!(keys(b"\xe2\r"), [bad, Key::Enter]);
        // An encoding of more bytes than needed, a surrogate.
        assert_eq!(keys(b"\xe0\x80\x80\xed\xa0\x80z"), [bad, bad, Key::Char('z')]);
    }

    proptest! {
        #[test]
        fn text_survives_as_characters(text in "[^\\p{Cc}]{0,40}") {
            let expected: Vec<Key> = text.chars().map(Key::Char).collect();
            prop_assert_eq!(keys(text.as_bytes()), expected);
        }

        #[test]
        fn after_any_bytes_a_return_ends_the_line(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut bytes = bytes;
            // One to end a sequence that was broken off, one to be seen.
            bytes.extend(b"A\rA\r");
            let last = keys(&bytes).last().copied();
            prop_assert_eq!(last, Some(Key::Enter));
        }
    }
}
