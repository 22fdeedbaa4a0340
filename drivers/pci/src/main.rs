//! The PCI server: finds the functions of the bus and gives each driver its own one and nothing else.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod machine;
mod server;
mod start;

userlib::entry!(start::main);
