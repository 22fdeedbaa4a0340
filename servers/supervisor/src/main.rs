#![cfg_attr(target_os = "none", no_std, no_main)]
//! The supervisor.
#[cfg(not(target_os = "none"))]
fn main() {}
