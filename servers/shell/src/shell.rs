//! Prompt after prompt.

use crate::completion::{self, Completion};
use crate::line::{Event, History, Key, KeyDecoder, LineEditor};
use crate::output::Printable;
use crate::services::Services;
use crate::session::Session;
use crate::{banner, words};
use alloc::string::String;
use alloc::vec::Vec;
use banner::Disk;
use core::time::Duration;
use interfaces::console::ConsoleError;
use unicode_width::UnicodeWidthStr;
use userlib::ipc::CallError;

/// The prompt after a command that succeeded, and the first one.
pub const PROMPT: &str = "bulkhead> ";
/// The prompt after a command that failed.
pub const PROMPT_AFTER_FAILURE: &str = "bulkhead! ";

/// Lines that the history holds.
const HISTORY: usize = 200;
/// How long the shell looks what has become of the disk when a line is begun and it does not know.
const LOOK: Duration = Duration::from_millis(20);
/// How often it looks: commands on files say what is wrong, too.
const LOOKS: u32 = 50;
/// Columns for the words that a completion offers, if the terminal does not say how many it has.
const USUAL_COLUMNS: usize = 80;

/// The shell: it reads lines, carries them out, and shows what comes of them.
pub struct Shell<'a> {
    session: Session<'a>,
    editor: LineEditor,
    decoder: KeyDecoder,
    succeeded: bool,
    /// How often it still looks what has become of the disk: not at all once it knows.
    looks_left: u32,
}

impl<'a> Shell<'a> {
    /// A shell that has shown nothing yet.
    pub fn new(services: Services<'a>) -> Self {
        Self {
            session: Session::new(services),
            editor: LineEditor::new(services.terminal.columns(), History::new(HISTORY)),
            decoder: KeyDecoder::new(),
            succeeded: true,
            looks_left: LOOKS,
        }
    }

    /// Shows who it is, who is missing, and the first prompt. What is wrong with the disk, [`Shell::step`] shows when
    /// the next line is begun: it may take long to be mounted.
    pub fn greet(&mut self) {
        banner::show(&mut self.session);
        self.prompt();
        self.session.out.flush();
    }

    fn prompt(&mut self) {
        self.session.out.fresh_line();
        let mut shown = String::new();
        self.editor.begin(if self.succeeded { PROMPT } else { PROMPT_AFTER_FAILURE }, &mut shown);
        self.session.out.raw(&shown);
    }

    /// Waits until something is typed, and does what it says.
    ///
    /// # Errors
    /// If the console cannot be read. What was typed stays; the next step may succeed.
    pub fn step(&mut self) -> Result<(), CallError<ConsoleError>> {
        if !self.session.has_typed() {
            let mut bytes = [0; 256];
            match self.session.services.terminal.read(&mut bytes, None) {
                Ok(count) => self.session.add_typed(bytes.get(..count).unwrap_or_default()),
                Err(error) => {
                    if error == CallError::ServerDied {
                        // With the console's driver the prompt may have died on its way to the terminal.
                        self.show_again();
                    }
                    return Err(error);
                }
            }
        }
        if self.editor.line().is_empty() {
            self.look_at_disk();
        }
        let mut keys = Vec::new();
        while let Some(byte) = self.session.take_typed() {
            self.decoder.feed(byte, &mut keys);
            for key in keys.drain(..) {
                self.key(key);
            }
        }
        let mut shown = String::new();
        self.editor.refresh(&mut shown);
        self.session.out.raw(&shown);
        self.session.out.flush();
        if self.session.out.take_lost() {
            self.show_again();
        }
        Ok(())
    }

    /// Shows what is wrong with the disk, if that is known by now and was not before. Only at the start of a line: whoever reads
    /// along, a person or a script, finds a command once, and behind it what comes of it.
    fn look_at_disk(&mut self) {
        let Some(left) = self.looks_left.checked_sub(1) else { return };
        self.looks_left = match banner::show_disk(&mut self.session, LOOK) {
            Disk::Unknown => left,
            Disk::Good => 0,
            Disk::Bad => {
                self.show_again();
                0
            }
        };
    }

    /// Shows the prompt and what is typed behind it once more.
    fn show_again(&mut self) {
        let mut shown = String::new();
        self.editor.redraw(&mut shown);
        self.session.out.raw(&shown);
        self.session.out.flush();
        self.session.out.take_lost();
    }

    fn key(&mut self, key: Key) {
        let mut shown = String::new();
        let event = self.editor.key(key, &mut shown);
        self.session.out.raw(&shown);
        match event {
            None => {}
            Some(Event::Line(line)) => {
                self.carry_out(&line);
                self.prompt();
            }
            Some(Event::Interrupted) => self.prompt(),
            Some(Event::Complete) => self.complete(),
        }
    }

    /// Carries out a line. An empty one, or a comment, changes nothing.
    fn carry_out(&mut self, line: &str) {
        // The line's end is shown before the command begins.
        self.session.out.flush();
        if line.trim_start().starts_with('#') {
            return;
        }
        match words::split(line) {
            Ok(words) if words.is_empty() => {}
            Ok(words) => self.succeeded = self.session.carry_out(&words),
            Err(unfinished) => {
                self.session.out.line(format_args!("{unfinished}."));
                self.succeeded = false;
            }
        }
        self.session.services.life.pause(core::time::Duration::ZERO);
    }

    fn complete(&mut self) {
        let before = self.editor.before_cursor();
        let mut shown = String::new();
        match completion::complete(&mut self.session, &before) {
            Completion::Nothing => shown.push('\x07'),
            Completion::Replace { characters, text } => {
                self.editor.replace_before_cursor(characters, &text, &mut shown);
            }
            Completion::Choose(words) => {
                self.editor.refresh(&mut shown);
                shown.push_str("\r\n");
                for line in columns(&words, self.session.services.terminal.columns()) {
                    shown.push_str(&line);
                    shown.push_str("\r\n");
                }
                self.editor.redraw(&mut shown);
            }
        }
        self.session.out.raw(&shown);
    }
}

/// Words in columns, as many as the terminal is wide.
fn columns(words: &[String], columns: Option<u16>) -> Vec<String> {
    let words: Vec<String> = words.iter().map(|word| alloc::format!("{}", Printable(word))).collect();
    let widest = words.iter().map(|word| word.width()).max().unwrap_or(0) + 2;
    let columns = columns.map_or(USUAL_COLUMNS, usize::from);
    let across = (columns / widest).max(1);
    words
        .chunks(across)
        .map(|row| {
            let mut line = String::new();
            for word in row {
                line.push_str(word);
                line.extend(core::iter::repeat_n(' ', widest - word.width()));
            }
            line.truncate(line.trim_end().len());
            line
        })
        .collect()
}
