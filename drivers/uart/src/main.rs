//! The serial port's driver.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod machine;

userlib::entry!(machine::main);
