//! What a slot of the bus holds, whatever the device is.

use crate::memory::GuestMemory;
use crate::pci::{Function, InterruptMessage};
use crate::virtio::{Device, PciTransport};

/// A function of the bus with memory, interrupts and work of its own.
pub(super) trait Slot: Function {
    /// Which of its memory lies at a guest-physical address, and how far inside.
    fn memory_at(&self, address: u64) -> Option<(usize, u64)>;

    /// The guest reads from its memory.
    fn read(&mut self, memory: usize, offset: u64, into: &mut [u8]);

    /// The guest writes to its memory.
    fn write(&mut self, memory: usize, offset: u64, bytes: &[u8]);

    /// Whether the guest has asked for work.
    fn is_notified(&self) -> bool;

    /// Does a round of work.
    fn process(&mut self, memory: &mut dyn GuestMemory);

    /// Whether it asserts its pin.
    fn interrupt_level(&self) -> bool;

    /// Takes a message that is to be sent.
    fn take_message(&mut self) -> Option<InterruptMessage>;
}

impl<D: Device> Slot for PciTransport<D> {
    fn memory_at(&self, address: u64) -> Option<(usize, u64)> {
        PciTransport::memory_at(self, address)
    }

    fn read(&mut self, memory: usize, offset: u64, into: &mut [u8]) {
        PciTransport::read(self, memory, offset, into);
    }

    fn write(&mut self, memory: usize, offset: u64, bytes: &[u8]) {
        PciTransport::write(self, memory, offset, bytes);
    }

    fn is_notified(&self) -> bool {
        PciTransport::is_notified(self)
    }

    fn process(&mut self, memory: &mut dyn GuestMemory) {
        PciTransport::process(self, memory);
    }

    fn interrupt_level(&self) -> bool {
        PciTransport::interrupt_level(self)
    }

    fn take_message(&mut self) -> Option<InterruptMessage> {
        PciTransport::take_message(self)
    }
}
