//! What decisions may look at outside the kernel's own tables.

use crate::effect::Tree;
use crate::frame::Frame;
use abi::device::{SourceId, SourceRange};
use abi::message::MessageBuffer;
use abi::syscall::InterruptSource;

/// The answer to [`World::probe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// How many page tables must be added before the range can be mapped, 0 to 3.
    pub missing_tables: u8,
    /// Whether any page of the range is mapped already.
    pub occupied: bool,
}

/// What an IOMMU can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IommuInfo {
    /// Of the addresses that devices use, so many bits count.
    pub address_bits: u8,
    /// It knows which device raises an interrupt.
    pub remaps_interrupts: bool,
    /// It tells what it has refused a device.
    pub reports_refusals: bool,
}

/// The read-only view of page tables and user memory. In the machine the hardware shell implements it, in tests a fake.
pub trait World {
    /// Looks at `pages` pages from `address` in a space, into which the frames from `frame` on are to be mapped. The range
    /// lies within one 2 MiB window.
    fn probe(&self, tree: Tree, address: u64, frame: Frame, pages: u64) -> Probe;

    /// Reads 8-byte words at a user address, which need not be aligned. `None` if any byte is not mapped readable for
    /// user space.
    fn read_user(&self, root: Frame, address: u64, words: &mut [u64]) -> Option<()>;

    /// Whether `length` bytes at a user address are mapped writable for user space.
    fn is_writable(&self, root: Frame, address: u64, length: u64) -> bool;

    /// One word of a message buffer, at a byte offset that is a multiple of 8 and below the page's end.
    fn buffer_word(&self, buffer: Frame, offset: usize) -> u64;

    /// Whether the machine has this interrupt source.
    fn has_interrupt(&self, source: InterruptSource) -> bool;

    /// The write (address, data) that raises `vector` by message.
    fn interrupt_message(&self, vector: u8) -> (u64, u32);

    /// What the machine's IOMMU can do, if it has one.
    fn iommu(&self) -> Option<IommuInfo>;

    /// Whether the processors can run guests, with nested paging.
    fn has_guests(&self) -> bool;

    /// Whether the IOMMU has room for what functions with these numbers see.
    fn has_sources(&self, sources: SourceRange) -> bool;

    /// Whether the IOMMU has room for an interrupt of this function, on a machine where interrupts are remapped.
    fn can_route(&self, source: SourceId) -> bool;
}

/// The size that [`World::buffer_word`] offsets stay below.
pub(crate) const BUFFER_BYTES: usize = core::mem::size_of::<MessageBuffer>();
