//! A server that answers, counts, copies, and breaks in every way on request: the smallest example of a server, and what
//! tests of supervision break.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod server;

#[cfg(target_os = "none")]
userlib::entry!(server::main);

/// A build for the host only checks that the program compiles; there is nothing to run.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is a program of Bulkhead and runs there only: `cargo xtask run` starts the system");
    std::process::exit(2);
}
