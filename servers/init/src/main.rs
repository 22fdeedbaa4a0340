//! The root domain.
//!
//! It makes what outlives every other domain (accounts, endpoints, notifications, rings, vaults, interrupts) exactly as
//! the manifest says, keeps the master capabilities in its own table, builds the supervisor with copies of them, and
//! then waits: if the supervisor dies, it builds the next one.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

#[cfg(target_os = "none")]
mod assembly;
#[cfg(target_os = "none")]
mod clock;
#[cfg(target_os = "none")]
mod emergency;
#[cfg(target_os = "none")]
mod failure;
#[cfg(target_os = "none")]
mod machine;
#[cfg(target_os = "none")]
mod ram;
#[cfg(target_os = "none")]
mod watch;

#[cfg(target_os = "none")]
mod program {
    use crate::{assembly, emergency, watch};
    use userlib::abi::root::RootInfo;

    userlib::root_entry!(main, heap = 1 << 20);

    fn main(info: &'static RootInfo) -> ! {
        match assembly::assemble(info) {
            Ok(assembly) => watch::run(&assembly),
            Err(failure) => emergency::stop(format_args!("the system cannot be assembled: {failure}")),
        }
    }
}

/// A build for the host only checks the package; there is nothing to run.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("init runs as Bulkhead's root domain only");
    std::process::exit(2);
}
