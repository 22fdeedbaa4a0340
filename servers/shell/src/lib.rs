//! Bulkhead's shell.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`mod@line`] | typing a line: keys, editing, history, drawing |
//! | [`words`], [`completion`] | words of a line, quoting, completion |
//! | [`path`], [`quantity`], [`table`], [`pattern`] | what is typed and shown |
//! | [`services`] | what the shell needs of other domains, as traits |
//! | [`session`], [`commands`] | what a command works with, and the commands |
//! | [`app`] | commands that other domains carry out |
//! | [`guest_console`] | the terminal in the hands of a guest |
//! | [`shell`] | prompt after prompt |
//!
//! The prompt is a protocol: a line that begins with `bulkhead> ` waits for a command after one that succeeded,
//! `bulkhead! ` after one that failed, and nothing else begins a line like this. So a program can drive the shell over a
//! serial line as a person does.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod app;
pub mod banner;
pub mod clients;
pub mod commands;
pub mod completion;
pub mod failure;
pub mod guest_console;
pub mod line;
pub mod output;
pub mod path;
pub mod pattern;
pub mod quantity;
pub mod services;
pub mod session;
pub mod shell;
pub mod table;
pub mod words;
