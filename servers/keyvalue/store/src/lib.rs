//! Values by their keys, and a conversation in lines about them. It knows of no operating system: the same code serves as a domain of
//! Bulkhead's and as the only process of a Linux.
//!
//! | line | answer |
//! | --- | --- |
//! | `set KEY VALUE` | `ok` |
//! | `get KEY` | `value VALUE`, or `none` |
//! | `delete KEY` | `ok`, or `none` |
//! | `count` | `count N` |
//! | anything else | `error` and what is wrong |
//!
//! A key has no space in it; a value goes on to the end of the line. Whoever serves says [`READY`] first.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod conversation;
mod store;

pub use conversation::{Conversation, LINE_BYTES, READY};
pub use store::{ENTRY_BYTES, KEY_BYTES, STORE_BYTES, Store, StoreError, VALUE_BYTES};
