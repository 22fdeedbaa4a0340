//! What the device's registers mean.

driver::registers! {
    /// The registers behind base address register 0.
    pub struct Registers {
        /// 0xed in the lowest byte, the version in the others.
        0x00 => identification: u32, read;
        /// Gives back what was written, with every bit turned over.
        0x04 => liveness: u32, read write;
        /// Takes a number, and holds its factorial when it is computed.
        0x08 => factorial: u32, read write;
        /// [`COMPUTING`]; takes [`INTERRUPT_WHEN_COMPUTED`].
        0x20 => status: u32, read write;
        /// Takes back reasons for the interrupt.
        0x64 => acknowledge: u32, write;
        /// Where to copy from, on the bus or in the device.
        0x80 => source: u64, write;
        /// Where to copy to.
        0x88 => destination: u64, write;
        /// How many bytes to copy.
        0x90 => count: u64, write;
        /// Takes [`RUN`] and the two below; [`RUN`] stays until it is done.
        0x98 => command: u64, read write;
    }
}

/// What the lowest byte of `identification` is.
pub(crate) const EDU: u32 = 0xed;

/// Status: a factorial is being computed.
pub const COMPUTING: u32 = 1 << 0;
/// Status: raise the interrupt when a factorial is computed.
pub(crate) const INTERRUPT_WHEN_COMPUTED: u32 = 1 << 7;

/// Command: copy.
pub const RUN: u64 = 1 << 0;
/// Command: copy from the device to the bus, not the other way.
pub(crate) const FROM_DEVICE: u64 = 1 << 1;
/// Command: raise the interrupt when it is copied.
pub(crate) const INTERRUPT_WHEN_COPIED: u64 = 1 << 2;

/// Where the device's own memory begins: a page.
pub(crate) const DEVICE_MEMORY: u64 = 0x4_0000;
