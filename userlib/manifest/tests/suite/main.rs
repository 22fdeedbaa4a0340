//! The compiled manifest: what its reader accepts, and what the rules rule out.

mod codec;
mod rules;
mod sample;
