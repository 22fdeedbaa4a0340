//! The root domain.
//!
//! It makes what outlives every other domain (accounts, endpoints, notifications, rings, vaults, interrupts) exactly as
//! the manifest says, keeps the master capabilities in its own table, builds the supervisor with copies of them, and
//! then waits: if the supervisor dies, it builds the next one. That takes over the living domains, of which init keeps a
//! share for it.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod assembly;
mod clock;
mod failure;
mod keeping;
mod machine;
mod ram;
mod serial_line;
mod watch;

use userlib::abi::root::RootInfo;

userlib::root_entry!(start, heap = 1 << 20);

/// The program.
fn start(info: &'static RootInfo) -> ! {
    // Whoever waits sees by it that the machine has come as far as user space.
    serial_line::say(format_args!("user space runs"));
    match assembly::assemble(info) {
        Ok(assembly) => watch::run(&assembly),
        Err(failure) => serial_line::stop(format_args!("the system cannot be assembled: {failure}")),
    }
}
