//! The ACPI tables of a guest (specification 6.5): that it has these processors and interrupt controllers, a PCI bus, and
//! registers to be switched off by.
//!
//! They are tables of a machine with fixed hardware. Without it ("hardware-reduced") Linux uses neither the PICs nor the
//! interval timer nor the power-management timer, and would have nothing left to measure its clocks against. The older
//! MP table is none for Debian's kernels, which are built without a reader of it.

mod aml;
mod tables;

pub use tables::{Devices, RSDP, write};
