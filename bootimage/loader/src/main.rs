//! The loader's image: started by a PVH boot, it leads into the kernel or says in one sentence why it cannot.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod entry;
#[cfg(target_os = "none")]
mod firmware;
#[cfg(target_os = "none")]
mod machine;
#[cfg(target_os = "none")]
mod serial;

/// A build for the host checks and tests the loader's library; there is nothing to run.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the loader runs on bare metal only: build it for x86_64-unknown-none and start it with QEMU's -kernel");
    std::process::exit(2);
}
