//! Help, and commands about commands.

use super::{Command, Completes, GROUPS, exactly, find, some, unknown};
use crate::failure::{Failure, Outcome, Server};
use crate::quantity::{parse_duration, parse_number, show_duration};
use crate::session::Session;
use alloc::string::String;

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "help",
        usage: "[COMMAND]",
        summary: "lists the commands, or explains one",
        details: "While typing: Tab completes, up and down recall, Ctrl-R searches what was typed before, Ctrl-C gives \
                  up. Words are parted by spaces; quotes '...' or \"...\" or a backslash keep them together.",
        completes: &[Completes::Commands, Completes::Nothing],
        prefix: None,
        run: help,
    },
    Command {
        name: "echo",
        usage: "[TEXT...]",
        summary: "shows text",
        details: "",
        completes: &[],
        prefix: None,
        run: echo,
    },
    Command {
        name: "ping",
        usage: "[COUNT]",
        summary: "calls the echo server, once or as often as said",
        details: "",
        completes: &[],
        prefix: None,
        run: ping,
    },
    Command {
        name: "time",
        usage: "COMMAND...",
        summary: "carries out a command and shows how long it took",
        details: "",
        completes: &[Completes::Commands],
        prefix: Some(0),
        run: time,
    },
    Command {
        name: "repeat",
        usage: "COUNT COMMAND...",
        summary: "carries out a command several times, until one fails",
        details: "",
        completes: &[Completes::Nothing],
        prefix: Some(1),
        run: repeat,
    },
    Command {
        name: "sleep",
        usage: "DURATION",
        summary: "waits; 2, 1.5s, 250ms and 3min are durations",
        details: "",
        completes: &[],
        prefix: None,
        run: sleep,
    },
];

/// What is known of every command of another domain.
const APP_SUMMARY: &str = "an app of the manifest, in a domain of its own";

fn help(session: &mut Session<'_>, words: &[String]) -> Outcome {
    if words.is_empty() {
        for group in GROUPS {
            session.out.line(group.title);
            for command in group.commands {
                session.out.line(format_args!("  {:<8}  {}", command.name, command.summary));
            }
        }
        let apps = session.services.apps.names();
        if !apps.is_empty() {
            session.out.line("Other domains");
            for name in apps {
                session.out.line(format_args!("  {name:<8}  {APP_SUMMARY}"));
            }
        }
        session.out.line("`help COMMAND` explains a command.");
        return Ok(());
    }
    let [name] = exactly("help", words)?;
    let apps = session.services.apps.names();
    let Some(command) = find(name) else {
        if !apps.contains(&name.as_str()) {
            return Err(unknown(name, &apps));
        }
        session.out.line(format_args!("{name} [ARGUMENT...]"));
        session.out.line(format_args!("  {APP_SUMMARY}."));
        return Ok(());
    };
    let space = if command.usage.is_empty() { "" } else { " " };
    session.out.line(format_args!("{}{space}{}", command.name, command.usage));
    session.out.line(format_args!("  {}.", command.summary));
    for line in wrapped(command.details, 76) {
        session.out.line(format_args!("  {line}"));
    }
    Ok(())
}

/// A text in lines of at most `width` characters.
fn wrapped(text: &str, width: usize) -> alloc::vec::Vec<String> {
    let mut lines: alloc::vec::Vec<String> = alloc::vec::Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

fn echo(session: &mut Session<'_>, words: &[String]) -> Outcome {
    session.out.line(words.join(" "));
    Ok(())
}

fn count(command: &str, word: &str) -> Result<u64, Failure> {
    parse_number(word).ok_or_else(|| Failure::usage(format_args!("`{word}` is no number"), command))
}

fn ping(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let times = match words {
        [] => 1,
        words => {
            let [times] = exactly("ping", words)?;
            count("ping", times)?
        }
    };
    for round in 1..=times {
        let sent = session.services.life.now();
        let answer = session
            .services
            .echo
            .ping(round)
            .map_err(|error| Failure::of_call("cannot get an echo", Server::ECHO, error))?;
        let took = session.services.life.now().saturating_sub(sent);
        if answer != round {
            return Err(Failure::new(format_args!(
                "the echo of {round} came back as {answer}; `restart echo` starts the echo server again"
            )));
        }
        session.out.line(format_args!("echo {round} of {times} after {}", show_duration(took)));
        session.checkpoint()?;
    }
    Ok(())
}

fn time(session: &mut Session<'_>, words: &[String]) -> Outcome {
    some("time", "a command", words)?;
    let started = session.services.life.now();
    let outcome = nested(session, words);
    let took = session.services.life.now().saturating_sub(started);
    session.out.fresh_line();
    session.out.line(format_args!("took {}", show_duration(took)));
    outcome
}

fn repeat(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let Some((times, words)) = words.split_first() else {
        return Err(Failure::usage("a number is missing", "repeat"));
    };
    let times = count("repeat", times)?;
    some("repeat", "a command", words)?;
    for round in 1..=times {
        match nested(session, words) {
            Ok(()) => {}
            Err(Failure::Reported) => {
                session.out.line(format_args!("repeat: ended in round {round} of {times}."));
                return Err(Failure::Reported);
            }
            Err(failure) => return Err(failure),
        }
        session.checkpoint()?;
    }
    Ok(())
}

/// Carries out a command within another one; its failure is reported under its own name.
fn nested(session: &mut Session<'_>, words: &[String]) -> Outcome {
    match session.execute(words) {
        Err(failure @ (Failure::Sentence(_) | Failure::Reported)) => {
            session.report(words.first().map_or("", String::as_str), &failure);
            Err(Failure::Reported)
        }
        outcome => outcome,
    }
}

fn sleep(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let [duration] = exactly("sleep", words)?;
    let duration = parse_duration(duration)
        .ok_or_else(|| Failure::usage(format_args!("`{duration}` is no duration such as 2s or 250ms"), "sleep"))?;
    session.pause(duration)
}
