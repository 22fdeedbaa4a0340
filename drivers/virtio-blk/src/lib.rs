//! A driver of virtio disks (Virtual I/O Device 1.2, 5.2).
//!
//! | module | what it is |
//! | --- | --- |
//! | [`capability`] | where a virtio device's registers are, from its configuration space |
//! | [`transport`] | `virtio-drivers`' transport over these registers, with message-signalled interrupts |
//! | [`region`] | memory that the device reads and writes |
//! | [`queue`] | a queue of requests to the device |
//! | [`protocol`] | features, configuration, requests as the device understands them |
//! | [`disk`] | one device: setting up, requests in flight, completions |
//! | [`driver`] | from the request ring to the disk and back, and what to do when the disk lies |
//! | [`attachment`] | from a device on the bus to a disk that works |
//! | [`service`] | what clients see: the ring, and the interface `Block` |
//!
//! The queue is the driver's own: that of the crate `virtio-drivers`, of which the names of the transport come, compares
//! event indices that wrap around as if they did not, so that after 65536 requests a notification would be lost.
//!
//! Nothing that the device writes is believed: a completion of a request that is not in flight, one that is too long or
//! too short, or a status that does not exist makes the driver reset the device and repeat what was under way.
#![cfg_attr(target_os = "none", no_std)]
#![warn(missing_docs)]

extern crate alloc;

pub mod attachment;
pub mod capability;
pub mod disk;
pub mod driver;
pub mod protocol;
pub mod queue;
pub mod region;
pub mod service;
pub mod transport;
