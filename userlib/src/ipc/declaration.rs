//! What is checked of an interface while it is compiled, beyond what the macro sees: it knows names of types, and only
//! the compiler knows their sizes and shapes.

use super::MethodInfo;
use abi::message::{MAX_CAPS, MAX_WORDS};

/// A sentence that is put together at compile time.
struct Sentence {
    bytes: [u8; 512],
    length: usize,
}

impl Sentence {
    const fn new() -> Self {
        Self { bytes: [0; 512], length: 0 }
    }

    const fn text(mut self, text: &str) -> Self {
        let text = text.as_bytes();
        let mut index = 0;
        while index < text.len() && self.length < self.bytes.len() {
            self.bytes[self.length] = text[index];
            self.length += 1;
            index += 1;
        }
        self
    }

    const fn number(self, number: usize) -> Self {
        let this = if number >= 10 { self.number(number / 10) } else { self };
        let digit = [b'0' + (number % 10) as u8];
        match core::str::from_utf8(&digit) {
            Ok(digit) => this.text(digit),
            Err(_) => this,
        }
    }

    const fn as_str(&self) -> &str {
        match core::str::from_utf8(self.bytes.split_at(self.length).0) {
            Ok(text) => text,
            // Names so long that the sentence was cut, within a character.
            Err(_) => "the interface cannot be declared like this",
        }
    }
}

/// Refuses to compile a method whose label an earlier one of the same interface has.
///
/// # Panics
/// At compile time, naming both.
#[track_caller]
pub const fn distinct(methods: &[MethodInfo], index: usize) {
    let mut earlier = 0;
    while earlier < index {
        if methods[earlier].label == methods[index].label {
            let sentence = Sentence::new()
                .text("`")
                .text(methods[earlier].name)
                .text("` and `")
                .text(methods[index].name)
                .text("` have the same label by chance: give one of them another name");
            panic!("{}", sentence.as_str());
        }
        earlier += 1;
    }
}

/// Refuses to compile a method at the first argument that does not fit into the message any more. Sizes are in words and
/// capabilities, of what comes before the argument and with it.
///
/// # Panics
/// At compile time, saying by how much.
#[track_caller]
pub const fn argument_fits(method: &str, argument: &str, before: [usize; 2], with: [usize; 2]) {
    let sentence = Sentence::new().text("`").text(method).text("` takes, up to `").text(argument).text("`, ");
    if before[0] <= MAX_WORDS && with[0] > MAX_WORDS {
        let sentence = sentence.number(with[0]).text(" words, and a message has ").number(MAX_WORDS);
        panic!("{}", sentence.text(": lend what is large as `&[u8]`").as_str());
    }
    if before[1] <= MAX_CAPS && with[1] > MAX_CAPS {
        let sentence = sentence.number(with[1]).text(" capabilities, and a message has ").number(MAX_CAPS);
        panic!("{}", sentence.text(": pass them in several calls").as_str());
    }
}

/// Refuses to compile a method whose result, or error, does not fit into a message. The size is in words and
/// capabilities.
///
/// # Panics
/// At compile time, saying by how much.
#[track_caller]
pub const fn result_fits(method: &str, size: [usize; 2]) {
    let sentence = Sentence::new().text("`").text(method).text("` gives ");
    if size[0] > MAX_WORDS {
        let sentence = sentence.number(size[0]).text(" words, and a message has ").number(MAX_WORDS);
        panic!("{}", sentence.text(": let the caller lend memory for them as `&mut [u8]`").as_str());
    }
    if size[1] > MAX_CAPS {
        let sentence = sentence.number(size[1]).text(" capabilities, and a message has ").number(MAX_CAPS);
        panic!("{}", sentence.text(": give them in several calls").as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_have_names_and_numbers_in_them() {
        let sentence = Sentence::new().text("`größe` has ").number(120).text(" of ").number(0);
        assert_eq!(sentence.as_str(), "`größe` has 120 of 0");
    }

    #[test]
    fn a_sentence_that_is_too_long_is_cut_or_replaced() {
        let name = "ü".repeat(300);
        assert!(Sentence::new().text(&name).as_str().starts_with("üü"));
        assert!(Sentence::new().text("x").text(&name).as_str().starts_with("the interface"));
    }

    #[test]
    fn labels_that_differ_and_messages_that_fit_are_accepted() {
        let method = |name, label| MethodInfo { name, label, words: 0, caps: 0, leases: &[] };
        distinct(&[method("a", 1), method("b", 2)], 1);
        argument_fits("a", "b", [0; 2], [MAX_WORDS, MAX_CAPS]);
        result_fits("a", [MAX_WORDS, 0]);
    }
}
