//! The FAT file server's domain: the library of this package on a disk behind a request ring.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod disk;
mod program;

userlib::entry!(program::main);
