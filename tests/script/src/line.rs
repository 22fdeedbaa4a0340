//! One call of a script.

use abi::Syscall;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Why a text is no script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub mistake: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.mistake)
    }
}

impl core::error::Error for SyntaxError {}

/// What a register holds when a call is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// A result's or a given thing's name; without one the argument is just [`Argument::plus`].
    pub name: Option<String>,
    /// What is added to it.
    pub plus: u64,
    /// Whether the handle is to be one of the slot's next generation.
    pub stale: bool,
}

impl Argument {
    /// A number.
    pub fn number(plus: u64) -> Self {
        Argument { name: None, plus, stale: false }
    }

    /// What has this name.
    pub fn named(name: &str) -> Self {
        Argument { name: Some(name.to_owned()), plus: 0, stale: false }
    }

    fn parse(text: &str, known: impl Fn(&str) -> bool) -> Result<Self, String> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            return Ok(Argument::number(number(text)?));
        }
        let (text, plus) = text.split_once('+').map_or((text, "0"), |(name, plus)| (name, plus));
        let (name, stale) = text.strip_suffix('~').map_or((text, false), |name| (name, true));
        if !known(name) {
            return Err(format!("nothing is called `{name}`"));
        }
        Ok(Argument { name: Some(name.to_owned()), plus: number(plus)?, stale })
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(name) = &self.name else { return write!(f, "{:#x}", self.plus) };
        write!(f, "{name}{}", if self.stale { "~" } else { "" })?;
        if self.plus == 0 { Ok(()) } else { write!(f, "+{:#x}", self.plus) }
    }
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("`{text}` is no number of 64 bits"))
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How later calls name its first result.
    pub label: Option<String>,
    /// Which call.
    pub syscall: Syscall,
    /// Its arguments; those left out are zero.
    pub arguments: Vec<Argument>,
}

impl Line {
    /// Reads a line; one that is empty or a comment is none. `known` tells which names there are so far.
    pub(crate) fn parse(text: &str, known: impl Fn(&str) -> bool) -> Result<Option<Self>, String> {
        let text = text.split('#').next().unwrap_or_default().trim();
        if text.is_empty() {
            return Ok(None);
        }
        let (label, call) = match text.split_once('=') {
            Some((label, call)) => (Some(label.trim()), call),
            None => (None, text),
        };
        if let Some(label) = label
            && !(label.starts_with(|first: char| first.is_ascii_alphabetic())
                && label.chars().all(|character| character.is_ascii_alphanumeric() || character == '_'))
        {
            return Err(format!("`{label}` is no name"));
        }
        if let Some(label) = label.filter(|label| known(label)) {
            return Err(format!("there is a `{label}` already"));
        }
        let mut words = call.split_ascii_whitespace();
        let name = words.next().unwrap_or_default();
        let syscall = Syscall::ALL.iter().find(|syscall| format!("{syscall:?}") == name);
        let syscall = *syscall.ok_or_else(|| format!("there is no system call `{name}`"))?;
        let arguments: Vec<Argument> = words.map(|word| Argument::parse(word, &known)).collect::<Result<_, _>>()?;
        if arguments.len() > 6 {
            return Err("a system call has six arguments at most".to_owned());
        }
        Ok(Some(Line { label: label.map(str::to_owned), syscall, arguments }))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(label) = &self.label {
            write!(f, "{label} = ")?;
        }
        write!(f, "{:?}", self.syscall)?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {argument}"))
    }
}
