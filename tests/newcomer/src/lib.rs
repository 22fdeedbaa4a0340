//! What a domain says that does no more than to be there: the way from an image to a first message is measured by it.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use userlib::interface;

/// Hears of those who arrive.
#[interface(name = "arrivals", version = 1)]
pub trait Arrivals {
    /// Somebody is there, for the so many-th time.
    fn arrived(instance: u64);
}
