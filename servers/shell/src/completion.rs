//! What Tab does: the word before the cursor is completed as far as there is only one way.

use crate::commands::{self, Completes};
use crate::failure::Failure;
use crate::path::Location;
use crate::session::Session;
use crate::words::{self, Unfinished};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What becomes of the word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// Nothing fits.
    Nothing,
    /// The last so many characters before the cursor are replaced.
    Replace {
        /// How many characters.
        characters: usize,
        /// By what.
        text: String,
    },
    /// Any of these words would do.
    Choose(Vec<String>),
}

/// A word that the one before the cursor may become.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    /// The whole word, without quotes.
    text: String,
    /// How it is offered.
    shown: String,
    /// Whether the word ends there.
    finished: bool,
}

impl Candidate {
    fn word(text: &str) -> Self {
        Self { text: text.into(), shown: text.into(), finished: true }
    }
}

/// Completes the last word of `before`, the line as far as the cursor.
pub fn complete(session: &mut Session<'_>, before: &str) -> Completion {
    let scan = words::scan(before);
    let mut typed: Vec<&str> = scan.words.iter().map(|word| word.text.as_str()).collect();
    let (partial, start) = match scan.words.last().filter(|_| scan.within_word) {
        Some(word) => {
            typed.pop();
            (word.text.as_str(), word.start)
        }
        None => ("", before.len()),
    };
    let quote = match scan.unfinished {
        Some(Unfinished::Quote(quote)) => Some(quote),
        // What the backslash is for is not known yet.
        Some(Unfinished::Backslash) => return Completion::Nothing,
        None => None,
    };
    let candidates = match awaited(&typed) {
        Completes::Nothing => Vec::new(),
        Completes::Commands => {
            let own = commands::all().map(|command| command.name);
            own.chain(session.services.apps.names()).map(Candidate::word).collect()
        }
        Completes::Words(choice) => choice.iter().copied().map(Candidate::word).collect(),
        Completes::Domains => domains(session),
        Completes::Guests => session.services.guests.names().into_iter().map(Candidate::word).collect(),
        Completes::Paths => paths(session, partial),
    };
    let candidates = fitting(candidates, partial);
    let characters = before[start..].chars().count();
    let [first, others @ ..] = candidates.as_slice() else {
        return Completion::Nothing;
    };
    if others.is_empty() {
        let mut text = words::quoted(&first.text, quote, first.finished);
        if first.finished {
            text.push(' ');
        }
        return Completion::Replace { characters, text };
    }
    let common = others.iter().fold(first.text.as_str(), |common, other| common_start(common, &other.text));
    // A word that differs in case only is longer for nobody, but right.
    if common.len() > partial.len() || (common.len() == partial.len() && common != partial) {
        return Completion::Replace { characters, text: words::quoted(common, quote, false) };
    }
    Completion::Choose(candidates.into_iter().map(|candidate| candidate.shown).collect())
}

/// What the word after those typed is to be.
fn awaited(typed: &[&str]) -> Completes {
    let Some((name, arguments)) = typed.split_first() else {
        return Completes::Commands;
    };
    match commands::find(name) {
        // The command that is timed begins the line anew.
        Some(command) if command.prefix.is_some_and(|words| arguments.len() >= words) => {
            awaited(&arguments[command.prefix.unwrap_or(0)..])
        }
        Some(command) => {
            let position = arguments.iter().filter(|argument| !argument.starts_with('-')).count();
            // The last one stands for all that follow.
            command.completes.get(position).or(command.completes.last()).copied().unwrap_or(Completes::Nothing)
        }
        None => Completes::Nothing,
    }
}

/// Those that begin like the word; if there is none, those that do so apart from upper and lower case.
fn fitting(candidates: Vec<Candidate>, partial: &str) -> Vec<Candidate> {
    let exact: Vec<_> = candidates.iter().filter(|candidate| candidate.text.starts_with(partial)).cloned().collect();
    if !exact.is_empty() {
        return exact;
    }
    let partial = partial.to_lowercase();
    candidates.into_iter().filter(|candidate| candidate.text.to_lowercase().starts_with(&partial)).collect()
}

fn common_start<'t>(one: &'t str, other: &str) -> &'t str {
    let end = one.char_indices().zip(other.chars()).find(|((_, a), b)| a != b).map(|((at, _), _)| at);
    &one[..end.unwrap_or(one.len().min(other.len()))]
}

fn domains(session: &Session<'_>) -> Vec<Candidate> {
    // A supervisor that does not answer completes nothing.
    (0..)
        .map_while(|index| session.services.domains.domain(index).ok().flatten())
        .map(|info| Candidate::word(info.name.as_str()))
        .collect()
}

fn paths(session: &mut Session<'_>, partial: &str) -> Vec<Candidate> {
    let folder = &partial[..partial.rfind('/').map_or(0, |slash| slash + 1)];
    let place = Location::resolve(&session.here, folder);
    let entries = session.folder(&place).unwrap_or_else(|failure| {
        if failure == Failure::Cancelled {
            // Ctrl-C gives up the line, not only its completion.
            session.leave_interrupt();
        }
        Vec::new()
    });
    entries
        .iter()
        .map(|entry| {
            let slash = if entry.is_folder() { "/" } else { "" };
            Candidate {
                text: format!("{folder}{}{slash}", entry.name),
                shown: format!("{}{slash}", entry.name),
                finished: !entry.is_folder(),
            }
        })
        .collect()
}
