//! Devices of virtio (version 1.2 of the specification) on a PCI bus.

mod block;
mod buffers;
mod console;
mod device;
mod entropy;
mod network;
mod queue;
mod transport;

pub use block::{Block, Disk, DiskBusy, DiskError, MAX_REQUEST_BYTES, Operation, Request, SECTOR_BYTES, Stale, Tag};
pub use buffers::{Buffers, Segment};
pub use console::{CONSOLE_BYTES, CONSOLE_CHAIN_BYTES, Console};
pub use device::{Device, Kind};
pub use entropy::{Entropy, EntropySource};
pub use network::{FRAME_BYTES, Link, LinkBusy, Network};
pub use queue::{Chain, Queue, QueueError};
pub use transport::{MEMORY_BYTES, MSIX_BYTES, PciTransport};
