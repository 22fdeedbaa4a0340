//! Time as the kernel tells it: nanoseconds since boot.

/// A deadline that never comes.
pub const NEVER: u64 = u64::MAX;

/// A deadline that has always passed: the call does what it can at once and never blocks.
pub const NOW: u64 = 0;
