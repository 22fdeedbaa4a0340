//! What the driver `{{name}}` can be asked.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

/// What the device does.
#[userlib::interface(name = "{{name}}", version = 1)]
pub trait {{Type}} {
    /// The factorial of a number, or its lowest 32 bits.
    #[idempotent]
    fn factorial(number: u32) -> u32;
}
