//! A driver of virtio disks (Virtual I/O Device 1.2, 5.2).
//!
//! | module | what it is |
//! | --- | --- |
//! | [`capability`] | where a virtio device's registers are, from its configuration space |
//! | [`transport`] | `virtio-drivers`' transport over these registers, with message-signalled interrupts |
//! | [`region`] | memory that the device reads and writes |
//! | [`dma`] | pages for queues |
//! | [`protocol`] | features, configuration, requests as the device understands them |
//! | [`disk`] | one device: setting up, requests in flight, completions |
//! | [`driver`] | from the request ring to the disk and back, and what to do when the disk lies |
//! | [`attachment`], [`platform`] | from a device on the bus to a disk that works |
//! | [`service`] | what clients see: the ring, and the interface `Block` |
//!
//! The queues are those of the crate `virtio-drivers`. `VIRTIO_F_EVENT_IDX` is not negotiated: that crate's test whether
//! the device wants to be notified compares indices that wrap around as if they did not, so that after 65536 requests a
//! notification would be lost.
//!
//! Nothing that the device writes is believed: a completion of a request that is not in flight, one that is too long or
//! too short, or a status that does not exist makes the driver reset the device and repeat what was under way.
#![cfg_attr(target_os = "none", no_std)]
#![warn(missing_docs)]

extern crate alloc;

pub mod attachment;
pub mod capability;
pub mod disk;
pub mod dma;
pub mod driver;
pub mod platform;
pub mod protocol;
pub mod region;
pub mod service;
pub mod transport;
