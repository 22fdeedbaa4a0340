//! The driver of virtio disks.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod device;
#[cfg(target_os = "none")]
mod machine;
#[cfg(target_os = "none")]
mod start;

#[cfg(target_os = "none")]
userlib::entry!(start::main);

/// A build for the host checks and tests the library; there is nothing to run.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is a program of Bulkhead and runs there only: `cargo xtask run` starts the system");
    std::process::exit(2);
}
