//! The FAT file server's domain: the library of this package on a disk behind a request ring.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod disk;
#[cfg(target_os = "none")]
mod program;
#[cfg(target_os = "none")]
mod service;

/// A build for the host tests the library; there is nothing to run.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the FAT server runs in a Bulkhead domain only");
    std::process::exit(2);
}
