//! From a line to words: spaces part them, quotes and backslashes keep them together.
//!
//! Outside of quotes a backslash takes the next character as it is. Between single quotes everything is as it is. Between
//! double quotes a backslash takes `"` and `\` as they are and means itself before anything else.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// What a line breaks off in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// A quotation that this quote has begun.
    Quote(char),
    /// A backslash without anything behind it.
    Backslash,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfinished::Quote(quote) => {
                write!(
                    f,
                    "the line has a {quote} without its counterpart; close it, or write \\{quote} for the character"
                )
            }
            Unfinished::Backslash => f.write_str("the line ends with a backslash; write \\\\ for the character"),
        }
    }
}

impl core::error::Error for Unfinished {}

/// A word, as it is meant and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Its text, without quotes.
    pub text: String,
    /// Where it begins in the line, in bytes, its quotes included.
    pub start: usize,
}

/// A line as far as it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Its words.
    pub words: Vec<Word>,
    /// What it breaks off in.
    pub unfinished: Option<Unfinished>,
    /// Whether its end belongs to the last word.
    pub within_word: bool,
}

/// Reads a line that need not be finished.
pub fn scan(line: &str) -> Scan {
    let mut scan = Scan::default();
    let mut current: Option<Word> = None;
    let mut quote = None;
    let mut characters = line.char_indices().peekable();
    while let Some((start, character)) = characters.next() {
        if quote.is_none() && character.is_whitespace() {
            scan.words.extend(current.take());
            continue;
        }
        let word = current.get_or_insert_with(|| Word { text: String::new(), start });
        match (quote, character) {
            (Some(open), character) if character == open => quote = None,
            (None, '\'' | '"') => quote = Some(character),
            (None, '\\') => match characters.next() {
                Some((_, escaped)) => word.text.push(escaped),
                None => scan.unfinished = Some(Unfinished::Backslash),
            },
            (Some('"'), '\\') => match characters.next_if(|&(_, next)| matches!(next, '"' | '\\')) {
                Some((_, escaped)) => word.text.push(escaped),
                None => word.text.push('\\'),
            },
            (_, character) => word.text.push(character),
        }
    }
    if let Some(open) = quote {
        scan.unfinished = Some(Unfinished::Quote(open));
    }
    scan.within_word = current.is_some();
    scan.words.extend(current);
    scan
}

/// The words of a finished line.
///
/// # Errors
/// [`Unfinished`].
pub fn split(line: &str) -> Result<Vec<String>, Unfinished> {
    let scan = scan(line);
    match scan.unfinished {
        Some(unfinished) => Err(unfinished),
        None => Ok(scan.words.into_iter().map(|word| word.text).collect()),
    }
}

/// Writes `text` as one word, begun with `quote` if that is given. The quotation is closed if the word is `finished`.
pub fn quoted(text: &str, quote: Option<char>, finished: bool) -> String {
    let mut written = String::new();
    // Between single quotes there is no way to write one.
    let quote = quote.filter(|&quote| quote != '\'' || !text.contains('\''));
    written.extend(quote);
    for character in text.chars() {
        let special = match quote {
            None => character.is_whitespace() || matches!(character, '\'' | '"' | '\\' | '#'),
            Some('"') => matches!(character, '"' | '\\'),
            Some(_) => false,
        };
        if special {
            written.push('\\');
        }
        written.push(character);
    }
    if finished {
        written.extend(quote);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn spaces_part_words() {
        assert_eq!(split("  ls   -l\t/disk "), Ok(vec!["ls".into(), "-l".into(), "/disk".into()]));
        assert_eq!(split(""), Ok(vec![]));
        assert_eq!(split("   "), Ok(vec![]));
    }

    #[test]
    fn quotes_and_backslashes_keep_words_together() {
        let one = |line: &str| match split(line).expect("it is finished").as_slice() {
            [word] => word.clone(),
            words => panic!("{line} has {} words", words.len()),
        };
        assert_eq!(one(r"a\ b"), "a b");
        assert_eq!(one("'a b'"), "a b");
        assert_eq!(one("\"a b\""), "a b");
        assert_eq!(one(r#"a" b"'\ c'd"#), r"a b\ cd");
        assert_eq!(one(r#""\"\\\n""#), r#""\\n"#);
        assert_eq!(one("''"), "");
        assert_eq!(one(r"\'\\"), r"'\");
    }

    #[test]
    fn an_unfinished_line_says_what_it_lacks() {
        assert_eq!(split("write a 'b c"), Err(Unfinished::Quote('\'')));
        assert_eq!(split("write a \"b' c"), Err(Unfinished::Quote('"')));
        assert_eq!(split(r"write a \"), Err(Unfinished::Backslash));
    }

    #[test]
    fn a_scan_tells_which_word_is_being_typed() {
        let scan = scan("cat '/disk/a b");
        assert_eq!(scan.words[1], Word { text: "/disk/a b".into(), start: 4 });
        assert!(scan.within_word);
        assert_eq!(scan.unfinished, Some(Unfinished::Quote('\'')));
        assert!(!super::scan("cat ").within_word);
        assert!(super::scan("cat ''").within_word);
    }

    proptest! {
        #[test]
        fn quoted_text_is_read_as_it_was(text in "\\PC{0,20}", quote in proptest::sample::select(vec![None, Some('\''), Some('"')])) {
            prop_assume!(!text.is_empty());
            prop_assert_eq!(split(&quoted(&text, quote, true)), Ok(vec![text]));
        }

        #[test]
        fn no_line_is_too_strange_to_scan(line in "\\PC{0,40}") {
            let scan = scan(&line);
            for word in scan.words {
                prop_assert!(line.is_char_boundary(word.start));
            }
        }
    }
}
