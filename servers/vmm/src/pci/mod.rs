//! A PCI bus (PCI Local Bus specification 3.0): configuration through ports, and what functions on it have in common.

mod config;
mod msix;
mod ports;

pub use config::{BAR_COUNT, ConfigSpace, Identity};
pub use msix::{InterruptMessage, Msix};
pub use ports::{ADDRESS_PORT, ConfigPorts, DATA_PORT, Function, HostBridge};
