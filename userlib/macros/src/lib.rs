//! The macros of `userlib`.
