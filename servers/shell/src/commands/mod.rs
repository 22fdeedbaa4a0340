//! The commands.

mod contents;
mod control;
mod crashes;
mod domains;
mod files;
pub(crate) mod guests;
mod handle;
mod machine;

use crate::failure::{Failure, Outcome};
use crate::session::Session;
use alloc::string::String;

/// What a word of a command may be, for completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completes {
    /// Nothing that could be known.
    Nothing,
    /// A path.
    Paths,
    /// The name of a domain.
    Domains,
    /// The name of a guest.
    Guests,
    /// The name of a command.
    Commands,
    /// One of these.
    Words(&'static [&'static str]),
}

/// A command.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// Its arguments, as help shows them.
    pub usage: &'static str,
    /// What it does, in half a line.
    pub summary: &'static str,
    /// What else is to be known; may be empty.
    pub details: &'static str,
    /// What its arguments are, options aside; the last one stands for all that follow.
    pub completes: &'static [Completes],
    /// Behind how many arguments another command follows, if one does.
    pub prefix: Option<usize>,
    /// Carries it out.
    pub run: fn(&mut Session<'_>, &[String]) -> Outcome,
}

/// Commands that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// What they are about.
    pub title: &'static str,
    /// The commands.
    pub commands: &'static [Command],
}

/// Every command.
pub const GROUPS: &[Group] = &[
    Group { title: "Files", commands: files::COMMANDS },
    Group { title: "Contents of files", commands: contents::COMMANDS },
    Group { title: "Domains", commands: domains::COMMANDS },
    Group { title: "Deaths", commands: crashes::COMMANDS },
    Group { title: "Guests", commands: guests::COMMANDS },
    Group { title: "Machine", commands: machine::COMMANDS },
    Group { title: "Shell", commands: control::COMMANDS },
];

/// Every command.
pub fn all() -> impl Iterator<Item = &'static Command> {
    GROUPS.iter().flat_map(|group| group.commands)
}

/// The command with this name.
pub fn find(name: &str) -> Option<&'static Command> {
    all().find(|command| command.name == name)
}

/// That there is no such command, and which one may be meant; `apps` are those that other domains carry out.
pub fn unknown(name: &str, apps: &[&str]) -> Failure {
    let known = all().map(|command| command.name).chain(apps.iter().copied());
    let near = known.filter(|known| is_near(known, name)).min_by_key(|known| known.len());
    match near {
        Some(near) => Failure::new(format_args!("there is no command `{name}`; do you mean `{near}`?")),
        None => Failure::new(format_args!("there is no command `{name}`; `help` lists the commands")),
    }
}

/// Whether one change of a character, or two neighbours in the wrong order, makes the same word of both.
fn is_near(known: &str, typed: &str) -> bool {
    let (known, typed) = (known.as_bytes(), typed.as_bytes());
    if known.len() < 2 || known.len().abs_diff(typed.len()) > 1 {
        return false;
    }
    let same_start = known.iter().zip(typed).take_while(|(a, b)| a == b).count();
    let same_end = known.iter().rev().zip(typed.iter().rev()).take_while(|(a, b)| a == b).count();
    let longer = known.len().max(typed.len());
    let swapped = known.len() == typed.len()
        && same_start + same_end + 2 == longer
        && known[same_start] == typed[same_start + 1]
        && known[same_start + 1] == typed[same_start];
    // At least one letter must agree, or every two-letter word would be near every other.
    (same_start + same_end + 1 >= longer && same_start + same_end > 0) || swapped
}

/// A command's options: letters behind a dash, of which `known` are allowed, until the first other argument or `--`.
/// Returns those given, and the other arguments.
///
/// # Errors
/// For an unknown one.
fn options<'w>(command: &str, known: &str, words: &'w [String]) -> Result<(String, &'w [String]), Failure> {
    let mut given = String::new();
    let mut rest = words;
    while let Some((word, others)) = rest.split_first() {
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else { break };
        rest = others;
        if letters == "-" {
            break;
        }
        if let Some(letter) = letters.chars().find(|&letter| !known.contains(letter)) {
            return Err(Failure::usage(format_args!("there is no option -{letter}"), command));
        }
        given.push_str(letters);
    }
    Ok((given, rest))
}

/// Exactly these arguments.
///
/// # Errors
/// If there are more or fewer.
fn exactly<'w, const N: usize>(command: &str, words: &'w [String]) -> Result<&'w [String; N], Failure> {
    words.try_into().map_err(|_| {
        let wanted = match N {
            0 => "takes no argument",
            1 => "takes one argument",
            2 => "takes two arguments",
            _ => "takes three arguments",
        };
        Failure::usage(format_args!("it {wanted}, not {}", words.len()), command)
    })
}

/// At least one argument.
///
/// # Errors
/// If there is none.
fn some<'w>(command: &str, what: &str, words: &'w [String]) -> Result<&'w [String], Failure> {
    if words.is_empty() { Err(Failure::usage(format_args!("{what} is missing"), command)) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn every_command_has_a_name_of_its_own_and_says_what_it_does() {
        let names: BTreeSet<&str> = all().map(|command| command.name).collect();
        assert_eq!(names.len(), all().count());
        for command in all() {
            assert!(!command.summary.is_empty() && !command.summary.ends_with('.'), "{}", command.name);
            assert!(command.name.len() <= 8, "{} does not fit its column", command.name);
        }
    }

    #[test]
    fn a_mistyped_command_is_guessed() {
        for (typed, meant) in
            [("sl", "ls"), ("hlep", "help"), ("mkdri", "mkdir"), ("catt", "cat"), ("shutdwn", "shutdown")]
        {
            let Failure::Sentence(sentence) = unknown(typed, &[]) else { panic!("no sentence") };
            assert!(sentence.contains(&alloc::format!("`{meant}`?")), "{sentence}");
        }
        let Failure::Sentence(sentence) = unknown("frobnicate", &["greeter"]) else { panic!("no sentence") };
        assert!(sentence.contains("`help` lists"), "{sentence}");
    }
}
