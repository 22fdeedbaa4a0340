//! The driver of virtio disks.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod device;
mod machine;
mod start;

userlib::entry!(start::main);
