//! The shell's program.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod program;

#[cfg(target_os = "none")]
userlib::entry!(program::main);

/// A build for the host checks and tests the library; there is nothing to run.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is a program of Bulkhead and runs there only: `cargo xtask run` starts the system");
    std::process::exit(2);
}
