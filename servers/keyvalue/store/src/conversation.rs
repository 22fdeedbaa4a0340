//! Lines that are asked, and lines that are answered.

use crate::store::{KEY_BYTES, Store, VALUE_BYTES};
use alloc::vec::Vec;
use core::fmt;

/// What whoever serves says first, a line of its own: before, nobody may hear what is asked.
pub const READY: &str = "ready";
/// Most bytes of a line that is asked, without its end.
pub const LINE_BYTES: usize = 16 + KEY_BYTES + VALUE_BYTES;

/// One side's lines, as they come in, in pieces of any size.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    line: Vec<u8>,
    /// The line is too long, and the rest of it is not kept.
    is_too_long: bool,
}

impl Conversation {
    /// One in which nothing was said yet.
    pub const fn new() -> Self {
        Self { line: Vec::new(), is_too_long: false }
    }

    /// Hears bytes, and answers every line that ends in them.
    pub fn hear(&mut self, bytes: &[u8], store: &mut Store, answers: &mut Vec<u8>) {
        for byte in bytes {
            if *byte == b'\n' {
                if self.is_too_long {
                    say(answers, format_args!("error a line has at most {LINE_BYTES} bytes"));
                } else {
                    answer(self.line.strip_suffix(b"\r").unwrap_or(&self.line), store, answers);
                }
                self.line.clear();
                self.is_too_long = false;
            } else if self.line.len() < LINE_BYTES {
                self.line.push(*byte);
            } else {
                self.is_too_long = true;
            }
        }
    }
}

/// Collects formatted text as bytes.
struct Writer<'a>(&'a mut Vec<u8>);

impl fmt::Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn say(answers: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // Collecting cannot fail.
    let _ = fmt::Write::write_fmt(&mut Writer(answers), text);
    answers.push(b'\n');
}

fn answer(line: &[u8], store: &mut Store, answers: &mut Vec<u8>) {
    let (word, rest) = split(line);
    match (word, rest) {
        (b"set", Some(rest)) => {
            let (key, value) = split(rest);
            match store.set(key, value.unwrap_or_default()) {
                Ok(()) => say(answers, format_args!("ok")),
                Err(error) => say(answers, format_args!("error {error}")),
            }
        }
        (b"get", Some(key)) => match store.get(key) {
            Some(value) => {
                answers.extend_from_slice(b"value ");
                answers.extend_from_slice(value);
                answers.push(b'\n');
            }
            None => say(answers, format_args!("none")),
        },
        (b"delete", Some(key)) => {
            let word = if store.delete(key) { "ok" } else { "none" };
            say(answers, format_args!("{word}"));
        }
        (b"count", None) => say(answers, format_args!("count {}", store.count())),
        _ => say(answers, format_args!("error what can be asked is: set KEY VALUE, get KEY, delete KEY, count")),
    }
}

/// The first word, and what stands behind the space after it.
fn split(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    match line.iter().position(|byte| *byte == b' ') {
        Some(space) => (&line[..space], Some(&line[space + 1..])),
        None => (line, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec;
    use proptest::prelude::*;

    fn answers_to(text: &[u8]) -> String {
        let (mut conversation, mut store, mut answers) = (Conversation::new(), Store::new(), Vec::new());
        conversation.hear(text, &mut store, &mut answers);
        String::from_utf8(answers).unwrap()
    }

    #[test]
    fn each_line_has_an_answer() {
        let asked = b"get a\nset a one word more\r\nget a\ncount\nset b\nget b\ndelete a\ndelete a\ncount\n";
        let answered = "none\nok\nvalue one word more\ncount 1\nok\nvalue \nok\nnone\ncount 1\n";
        assert_eq!(answers_to(asked), answered);
    }

    #[test]
    fn what_makes_no_sense_is_answered_with_what_would() {
        for asked in [b"\n".as_slice(), b"gett a\n", b"count 1\n", b"get\n", b"\xff\xfe\n"] {
            let answer = answers_to(asked);
            assert!(answer.starts_with("error what can be asked is") && answer.lines().count() == 1, "{answer}");
        }
        assert!(answers_to(b"set  x\n").starts_with("error a key has"));
    }

    #[test]
    fn a_line_without_end_takes_no_memory_and_the_next_one_is_understood() {
        let mut asked = vec![b'x'; 10 * LINE_BYTES];
        asked.extend(b"\ncount\n");
        assert_eq!(answers_to(&asked), std::format!("error a line has at most {LINE_BYTES} bytes\ncount 0\n"));
    }

    extern crate std;

    proptest! {
        #[test]
        fn how_lines_are_cut_into_pieces_makes_no_difference(
            lines in proptest::collection::vec("(set|get|delete|count)( [ab]( [a-z]{0,9})?)?", 1..20),
            size in 1_usize..9,
        ) {
            let asked: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
            let (mut conversation, mut store, mut answers) = (Conversation::new(), Store::new(), Vec::new());
            for piece in asked.as_bytes().chunks(size) {
                conversation.hear(piece, &mut store, &mut answers);
            }
            prop_assert_eq!(String::from_utf8(answers).unwrap(), answers_to(asked.as_bytes()));
        }
    }
}
