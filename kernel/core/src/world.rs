//! What decisions may look at outside the kernel's own tables.

use crate::frame::Frame;
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

/// The read-only view of page tables and user memory. In the machine the hardware shell implements it, in tests a fake.
pub trait World {
    /// Looks at `pages` pages from `address` in the space whose root table is `root`. The range lies within one 2 MiB
    /// window of user space.
    fn probe(&self, root: Frame, address: u64, pages: u64) -> Probe;

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
}

/// The size that [`World::buffer_word`] offsets stay below.
pub(crate) const BUFFER_BYTES: usize = core::mem::size_of::<MessageBuffer>();
