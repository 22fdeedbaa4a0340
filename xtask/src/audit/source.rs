//! Telling code from comments, tests from the rest, and finding what is unsafe, in one Rust file.
//!
//! This reads just as much of the language as that takes: strings, characters and comments. A full parser would drop
//! the comments, which are what is looked for.

/// What was counted in one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Lines with code outside of test modules.
    pub code: usize,
    /// Lines with code in test modules.
    pub tests: usize,
    /// `unsafe` blocks, implementations and foreign modules, those in test modules included.
    pub unsafe_blocks: usize,
    /// Those of them without a reason.
    pub unreasoned: Vec<Unreasoned>,
}

/// Something unsafe without a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreasoned {
    /// Its line, counted from 1.
    pub line: usize,
    /// The line's text.
    pub text: String,
}

/// A line, split into what the compiler reads (strings emptied) and what only people read.
#[derive(Clone, Debug, Default)]
struct Line {
    code: String,
    comment: String,
}

impl Line {
    fn is_code(&self) -> bool {
        !self.code.trim().is_empty()
    }
}

impl Source {
    /// For each line of a file's text, whether it belongs to an item under `#[cfg(test)]`.
    pub fn test_lines(text: &str) -> Vec<bool> {
        test_lines(&split(text))
    }

    /// Reads a file's text.
    pub fn read(text: &str) -> Self {
        let lines = split(text);
        let in_tests = test_lines(&lines);
        let mut source = Self::default();
        for (index, line) in lines.iter().enumerate() {
            if !line.is_code() {
                continue;
            }
            if in_tests[index] {
                source.tests += 1;
            } else {
                source.code += 1;
            }
            for _ in 0..unsafe_items(&lines, index) {
                source.unsafe_blocks += 1;
                if !has_reason(&lines, index) {
                    let text = text.lines().nth(index).unwrap_or_default().trim().to_owned();
                    source.unreasoned.push(Unreasoned { line: index + 1, text });
                }
            }
        }
        source
    }
}

/// Splits a text into lines of code and comments.
fn split(text: &str) -> Vec<Line> {
    let characters: Vec<char> = text.chars().collect();
    let at = |index: usize| characters.get(index).copied().unwrap_or('\0');
    let mut lines = vec![Line::default()];
    let mut index = 0;
    let mut depth = 0; // of nested block comments
    while index < characters.len() {
        let (this, next) = (at(index), at(index + 1));
        let line = lines.last_mut().expect("there is always a last line");
        if this == '\n' {
            lines.push(Line::default());
            index += 1;
        } else if depth > 0 {
            match (this, next) {
                ('*', '/') => depth -= 1,
                ('/', '*') => depth += 1,
                _ => {
                    line.comment.push(this);
                    index += 1;
                    continue;
                }
            }
            index += 2;
        } else if this == '/' && next == '*' {
            depth = 1;
            index += 2;
        } else if this == '/' && next == '/' {
            while index < characters.len() && at(index) != '\n' {
                line.comment.push(at(index));
                index += 1;
            }
        } else if let Some(end) = literal_end(&characters, index) {
            line.code.push('"');
            // A literal of several lines is code on each of them.
            for &inside in &characters[index..end] {
                if inside == '\n' {
                    lines.push(Line { code: "\"".to_owned(), ..Line::default() });
                }
            }
            index = end;
        } else {
            line.code.push(this);
            index += 1;
        }
    }
    lines
}

/// Where the string or character literal that starts at `start` ends, if one starts there.
fn literal_end(characters: &[char], start: usize) -> Option<usize> {
    let at = |index: usize| characters.get(index).copied().unwrap_or('\0');
    let before = start.checked_sub(1).map_or('\0', at);
    match at(start) {
        '"' => Some(quoted_end(characters, start, '"')),
        // `'a'` and `'\n'` are characters, `'a` is a lifetime.
        '\'' if at(start + 1) == '\\' || at(start + 2) == '\'' => Some(quoted_end(characters, start, '\'')),
        'r' if !before.is_alphanumeric() && before != '_' || before == 'b' || before == 'c' => {
            let hashes = (start + 1..).take_while(|&index| at(index) == '#').count();
            let open = start + 1 + hashes;
            if at(open) != '"' {
                return None;
            }
            let closes = |end: usize| at(end) == '"' && (1..=hashes).all(|n| at(end + n) == '#');
            let end = (open + 1..characters.len()).find(|&end| closes(end)).unwrap_or(characters.len());
            Some((end + 1 + hashes).min(characters.len()))
        }
        _ => None,
    }
}

fn quoted_end(characters: &[char], start: usize, quote: char) -> usize {
    let mut index = start + 1;
    while index < characters.len() {
        match characters[index] {
            '\\' => index += 2,
            c if c == quote => return index + 1,
            _ => index += 1,
        }
    }
    characters.len()
}

/// For each line, whether it belongs to an item under `#[cfg(test)]`.
fn test_lines(lines: &[Line]) -> Vec<bool> {
    let mut marks = vec![false; lines.len()];
    let mut index = 0;
    while index < lines.len() {
        let code = lines[index].code.replace(' ', "");
        if !code.starts_with("#[cfg(test)]") && !code.starts_with("#[cfg(all(test,") {
            index += 1;
            continue;
        }
        // The item reaches to its closing brace, or to a semicolon before any brace.
        let mut depth = 0_usize;
        let mut end = lines.len() - 1;
        'item: for (line, content) in lines.iter().enumerate().skip(index) {
            for character in content.code.chars() {
                match character {
                    '{' => depth += 1,
                    '}' => depth = depth.saturating_sub(1),
                    ';' if depth == 0 => {
                        end = line;
                        break 'item;
                    }
                    _ => continue,
                }
                if character == '}' && depth == 0 {
                    end = line;
                    break 'item;
                }
            }
        }
        marks[index..=end].fill(true);
        index = end + 1;
    }
    marks
}

/// How many unsafe blocks, implementations and foreign modules begin on a line. Unsafe functions and traits do not
/// count: they put an obligation on others, which their documentation states.
fn unsafe_items(lines: &[Line], index: usize) -> usize {
    let code = &lines[index].code;
    let mut count = 0;
    for (place, word) in code.match_indices("unsafe") {
        let before = code[..place].chars().next_back().unwrap_or(' ');
        let after = &code[place + word.len()..];
        if before.is_alphanumeric() || before == '_' || after.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        // What decides may stand on the next line.
        let next = after
            .split_whitespace()
            .chain(lines[index + 1..].iter().flat_map(|line| line.code.split_whitespace()))
            .next()
            .unwrap_or_default();
        let begins = |token: &str| next.starts_with(token);
        if begins("{") || begins("impl") || begins("extern") && after.contains('{') && !after.contains("fn ") {
            count += 1;
        }
    }
    count
}

/// Whether a comment with `SAFETY:` stands directly above the statement that holds the line.
fn has_reason(lines: &[Line], index: usize) -> bool {
    let mut above = index;
    while above > 0 {
        above -= 1;
        let line = &lines[above];
        if !line.is_code() {
            if line.comment.is_empty() {
                return false;
            }
            if line.comment.contains("SAFETY:") {
                return true;
            }
            continue;
        }
        let code = line.code.trim_end();
        let statement_goes_on = !code.ends_with([';', '{', '}', ',']) || code.trim_start().starts_with("#[");
        if !statement_goes_on {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn unreasoned(text: &str) -> Vec<usize> {
        Source::read(text).unreasoned.iter().map(|place| place.line).collect()
    }

    #[test]
    fn comments_and_blank_lines_are_no_code() {
        let source = Source::read("//! Docs.\n\n/* a\n b */\nfn a() {} // why\n    /// Docs.\nfn b() {}\n");
        assert_eq!((source.code, source.tests), (2, 0));
    }

    #[test]
    fn what_looks_like_a_comment_in_a_string_is_code() {
        let source = Source::read(
            "let a = \"// no\";\nlet b = r#\"/* \" \"#;\nlet c = '\"';\nlet d = '\\'';\nlet e: &'a str;\n",
        );
        assert_eq!(source.code, 5);
        assert_eq!(Source::read("let a = \"one\ntwo\";\n").code, 2);
    }

    #[test]
    fn a_test_module_is_counted_apart_up_to_its_closing_brace() {
        let source = Source::read(
            "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nmod more;\n",
        );
        assert_eq!((source.code, source.tests), (2, 6));
    }

    #[test]
    fn a_reason_stands_directly_above_the_block_or_its_statement() {
        assert_eq!(unreasoned("// SAFETY: it is ours.\nunsafe { a() }\n"), NONE);
        assert_eq!(unreasoned("// SAFETY: it is ours,\n// and nobody else's.\nlet x = unsafe { a() };\n"), NONE);
        assert_eq!(unreasoned("// SAFETY: it is ours.\nlet x =\n    unsafe { a() };\n"), NONE);
        assert_eq!(unreasoned("// SAFETY: it is ours.\n#[inline]\nunsafe impl Send for A {}\n"), NONE);
    }

    #[test]
    fn a_block_without_a_reason_is_named_with_its_line() {
        assert_eq!(unreasoned("fn a() {\n    unsafe { b() }\n}\n"), [2]);
        assert_eq!(unreasoned("// SAFETY: for the first.\nunsafe { a() };\nunsafe { b() };\n"), [3]);
        assert_eq!(unreasoned("// SAFETY: far away.\n\nunsafe { a() }\n"), [3]);
        assert_eq!(unreasoned("// It is fine.\nunsafe impl Send for A {}\n"), [2]);
        assert_eq!(unreasoned("let x = unsafe\n{ a() };\n"), [1]);
    }

    #[test]
    fn unsafe_functions_words_and_strings_are_not_blocks() {
        let text = "unsafe fn a();\nlet unsafe_count = \"unsafe { }\"; // unsafe { }\n#[unsafe(no_mangle)]\nunsafe trait B {}\n";
        assert_eq!(Source::read(text).unsafe_blocks, 0);
        assert_eq!(Source::read("pub unsafe extern \"C\" fn a() {}\n").unsafe_blocks, 0);
    }

    #[test]
    fn unsafe_blocks_in_tests_need_their_reason_too() {
        assert_eq!(unreasoned("#[cfg(test)]\nmod tests {\n    fn a() {\n        unsafe { b() }\n    }\n}\n"), [4]);
    }
}
