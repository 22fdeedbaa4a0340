//! The PCI server: what it decides, and the little that ties this to the machine.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`config`] | configuration space: registers of functions, through a trait that tests implement |
//! | [`slot`] | slots whose devices come and go: what their registers say, and what follows from it |
//! | [`arrival`] | functions that come and go: what the bus knows of them |
//! | [`allocation`] | addresses for registers to which no firmware has given any |
//! | [`hotplug`] | looks after the slots while the server runs, and tells the supervisor |
//! | [`enumeration`] | which functions there are, through bridges |
//! | [`capability`] | a function's capability list, its MSI-X table and its PCI Express registers |
//! | [`bar`] | base address registers and how long what is behind them is |
//! | [`function`] | everything known of one function |
//! | [`placement`] | which pages of device memory may be given away for a register range |
//! | [`assignment`] | which function belongs to which domain, by the manifest |
//! | [`bus`] | the rules: who may claim, read, write and enable what |
//! | [`message`] | entries of MSI-X tables |
//! | [`record`] | what a restarted server must know, in the vault |
//! | [`server`] | the interface `Pci`, on top of all this |
//! | [`machine`] | configuration space, device memory and interrupt tables as mapped memory |
//! | [`start`] | from what the domain was given to a server |
//!
//! Nothing that a function answers is believed: lists that run in circles, registers that overlap and garbage of every
//! kind lead to a refusal with its reason, never to a panic and never to somebody else's memory.
//!
//! Register numbers are those of the PCI Local Bus Specification 3.0 (chapter 6) and the PCI Express Base
//! Specification 3.0 (chapter 7).
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

pub mod allocation;
pub mod arrival;
pub mod assignment;
pub mod bar;
pub mod bus;
pub mod capability;
pub mod config;
pub mod enumeration;
pub mod function;
pub mod hotplug;
pub mod machine;
pub mod message;
pub mod placement;
pub mod record;
pub mod server;
pub mod slot;
pub mod start;
