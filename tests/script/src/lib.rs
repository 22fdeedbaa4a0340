//! Sequences of system calls as text, one call a line:
//!
//! ```text
//! # Whoever holds a copy with fewer rights cannot get them back.
//! bits = NotificationCreate account
//! copy = CapCopy bits 0x1 0
//! Notify bits 5
//! Wait copy 0
//! CapInfo bits~
//! ```
//!
//! A word before `=` names the first result, an argument is such a name, one of [`NAMES`] or a number; `+` adds a number
//! to it, and `~` makes a stale handle of a good one. The calls are those of one thread in the root domain, and none of
//! them waits for ever: so a script does the same on the kernel's core alone, on the host, as in a machine, where the
//! conformance suite carries it out. What may differ between the two (where memory lies, what time it is, which slot
//! of the root's table is free) is not compared ([`Outcome::agrees_with`]).
#![cfg_attr(not(feature = "predict"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(feature = "predict")]
pub mod compose;
mod line;
mod outcome;
mod player;
#[cfg(feature = "predict")]
pub mod predict;

pub use line::{Argument, Line, SyntaxError};
pub use outcome::Outcome;
pub use player::{NAMES, Player, Stage};

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The name of a script's file in the boot archive.
pub const FILE: &str = "script";

/// Pages of the memory that scripts call `memory`.
pub const MEMORY_PAGES: u64 = 256;

/// What every limit is of an account that a script makes from `limits`.
pub const LIMIT: u32 = 64;

/// A script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Its calls, in order.
    pub lines: Vec<Line>,
}

impl Script {
    /// Reads a text.
    ///
    /// # Errors
    /// [`SyntaxError`] with the line's number.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut lines = Vec::new();
        for (index, text) in text.lines().enumerate() {
            let known = |name: &str| NAMES.contains(&name) || Self::names(&lines).any(|label| label == name);
            let line = Line::parse(text, known).map_err(|mistake| SyntaxError { line: index + 1, mistake })?;
            lines.extend(line);
        }
        Ok(Script { lines })
    }

    fn names(lines: &[Line]) -> impl Iterator<Item = &String> {
        lines.iter().filter_map(|line| line.label.as_ref())
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
