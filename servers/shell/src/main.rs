//! The shell's program.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod program;

userlib::entry!(program::main);
