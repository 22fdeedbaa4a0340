//! The server `{{name}}`: what it can be asked, and how it answers.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

use userlib::ipc::{Caller, ReadLease, Text};

/// What `{{name}}` can be asked.
#[userlib::interface(name = "{{name}}", version = 1)]
pub trait {{Type}} {
    /// Gives the words back, and says how often the server has answered.
    fn answer(words: &str) -> Result<(Text<80>, u64), {{Type}}Error>;
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, userlib::Value)]
pub enum {{Type}}Error {
    /// The words are no text, or longer than 80 bytes.
    BadWords,
}

userlib::sentences!({{Type}}Error { BadWords => "say it in at most 80 bytes", });

/// What the server remembers, until it dies.
#[derive(Default)]
pub struct State(core::cell::Cell<u64>);

impl {{Type}}Server for State {
    async fn answer(&self, _: &Caller, words: ReadLease) -> Result<(Text<80>, u64), {{Type}}Error> {
        let words = words.to_text(80).map_err(|_| {{Type}}Error::BadWords)?;
        self.0.set(self.0.get() + 1);
        Ok((Text::new(&words), self.0.get()))
    }
}

#[test]
fn words_come_back_and_answers_are_counted() {
    let double = {{Type}}Double::new(State::default());
    assert_eq!(double.client().answer("hello"), Ok((Text::new("hello"), 1)));
}
