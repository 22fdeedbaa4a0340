//! The monitor of one guest: it shows a whole machine to somebody else's operating system, and has no more authority than any
//! other server.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

mod monitor;

userlib::entry!(monitor::program);
