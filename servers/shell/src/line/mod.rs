//! Typing a line: from bytes to keys, from keys to a line, and what the terminal is told meanwhile.
//!
//! Nothing here knows a terminal: bytes come in, in bursts as they like, and bytes to show come out. So a script can
//! type as well as a person.

mod editor;
mod history;
mod key;
mod view;

pub use editor::{Event, LineEditor};
pub use history::History;
pub use key::{Key, KeyDecoder};
