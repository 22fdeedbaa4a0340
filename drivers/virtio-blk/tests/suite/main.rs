//! The driver against a device in memory that executes its queue, honestly or not.

mod capabilities;
mod device;
mod honest;
mod lent;
mod lies;
mod memory;
mod restarts;
mod rig;
mod service;
mod setup;
mod transport;
