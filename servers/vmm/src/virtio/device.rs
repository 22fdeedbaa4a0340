//! What every virtio device is to its transport.

use super::queue::{Queue, QueueError};
use crate::memory::GuestMemory;

/// Kinds of devices (virtio 1.2, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Frames.
    Network,
    /// A disk.
    Block,
    /// A terminal.
    Console,
    /// Random bytes.
    Entropy,
}

impl Kind {
    /// Its number.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Kind::Network => 1,
            Kind::Block => 2,
            Kind::Console => 3,
            Kind::Entropy => 4,
        }
    }

    /// What it is to PCI: base class and subclass (PCI Code and ID Assignment specification).
    #[must_use]
    pub fn class(self) -> [u8; 2] {
        match self {
            Kind::Network => [0x02, 0x00],
            Kind::Block => [0x01, 0x80],
            Kind::Console => [0x07, 0x80],
            Kind::Entropy => [0xff, 0x00],
        }
    }
}

/// A virtio device behind a transport.
pub trait Device {
    /// What it is.
    fn kind(&self) -> Kind;

    /// The features that it offers, beside those of the transport.
    fn features(&self) -> u64;

    /// The largest sizes of its queues, each a power of two.
    fn queue_sizes(&self) -> &'static [u16];

    /// Fills `into` from its configuration. What is behind the end reads as 0.
    fn read_config(&self, offset: usize, into: &mut [u8]);

    /// The driver has accepted some of the features and begins to work.
    fn start(&mut self, features: u64);

    /// The driver resets the device: what was in its queues is forgotten.
    fn reset(&mut self);

    /// Works on the queues as far as there is something to do, and no longer than a round.
    ///
    /// # Errors
    /// If the driver broke the rules. Nothing more is done until it resets the device.
    fn process(&mut self, queues: &mut [Queue], memory: &mut dyn GuestMemory) -> Result<(), QueueError>;
}

/// Fills `into` from a configuration that consists of `bytes`, and zeroes behind them.
pub(super) fn read_bytes(bytes: &[u8], offset: usize, into: &mut [u8]) {
    for (index, byte) in into.iter_mut().enumerate() {
        *byte = bytes.get(offset.saturating_add(index)).copied().unwrap_or(0);
    }
}
