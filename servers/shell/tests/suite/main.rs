//! The shell as its user sees it: what is typed goes in, what the terminal shows comes out, and the other domains are
//! doubles.

mod apps;
mod conversation;
mod doubles;
mod files;
mod guests;
mod machines;
mod system;
mod terminal;
mod typing;
