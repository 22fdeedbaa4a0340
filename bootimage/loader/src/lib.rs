//! The loader's decisions, which need no hardware: they compile and are tested on the host too.
//!
//! [`handover::prepare`] is the whole of it: from the start information that the machine left in memory to page tables,
//! a placed kernel and a filled [`abi::boot::BootInfo`]. Memory is reached through [`memory::PhysicalMemory`], and the
//! firmware's tables are read by a function that the caller passes in, so that a test can stand in for both.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod address_space;
pub mod dma_remapping;
pub mod error;
pub mod executable;
pub mod handover;
pub mod memory;
pub mod memory_map;
pub mod page_tables;
pub mod platform;
pub mod sleep_state;
pub mod start_info;
