//! A network interface (virtio 1.2, section 5.1): whole frames, nothing computed for the guest.

use super::device::{Device, Kind, read_bytes};
use super::queue::{Chain, Queue, QueueError};
use crate::memory::GuestMemory;
use alloc::boxed::Box;
use alloc::vec;
use core::fmt;

/// The longest frame: 1500 bytes with the header of Ethernet and a VLAN tag.
pub const FRAME_BYTES: usize = 1518;

const QUEUE_SIZES: &[u16] = &[128, 128];
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
/// The feature by which the configuration tells the address.
const ADDRESS: u64 = 1 << 5;
/// Bytes before a frame (section 5.1.6): without offloads all 0, but the number of buffers.
const HEADER_BYTES: usize = 12;
const BUFFERS_AT: usize = 10;

/// The link has no room for a frame now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkBusy;

/// What is at the other end.
pub trait Link: fmt::Debug {
    /// Takes a frame.
    ///
    /// # Errors
    /// If there is no room: the frame is offered again at the next [`Device::process`].
    fn send(&mut self, frame: &[u8]) -> Result<(), LinkBusy>;

    /// Whether there is a frame for the guest.
    fn has_frame(&mut self) -> bool;

    /// Puts a frame for the guest into `into`, of [`FRAME_BYTES`], and returns its length. Asked only if there is one.
    fn receive(&mut self, into: &mut [u8]) -> usize;
}

impl<L: Link + ?Sized> Link for Box<L> {
    fn send(&mut self, frame: &[u8]) -> Result<(), LinkBusy> {
        (**self).send(frame)
    }

    fn has_frame(&mut self) -> bool {
        (**self).has_frame()
    }

    fn receive(&mut self, into: &mut [u8]) -> usize {
        (**self).receive(into)
    }
}

/// A network interface.
#[derive(Debug)]
pub struct Network<L> {
    link: L,
    address: [u8; 6],
    /// The chain with a frame that the link had no room for.
    waiting: Option<Chain>,
    dropped: u64,
}

impl<L: Link> Network<L> {
    /// One with this Ethernet address.
    #[must_use]
    pub fn new(link: L, address: [u8; 6]) -> Self {
        Self { link, address, waiting: None, dropped: 0 }
    }

    /// What is at the other end.
    pub fn link(&mut self) -> &mut L {
        &mut self.link
    }

    /// How many frames were no frames, or did not fit the buffer that the driver gave for them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn transmit(&mut self, queue: &mut Queue, memory: &mut dyn GuestMemory) -> Result<(), QueueError> {
        loop {
            let chain = match self.waiting.take() {
                Some(chain) => chain,
                None => match queue.pop(memory)? {
                    Some(chain) => chain,
                    None => return Ok(()),
                },
            };
            let Some(length) = chain.readable.length().checked_sub(HEADER_BYTES as u64) else {
                return Err(QueueError::Malformed { head: chain.head });
            };
            if length > FRAME_BYTES as u64 || length == 0 {
                self.dropped += 1;
            } else {
                let mut frame = [0; FRAME_BYTES];
                let frame = &mut frame[..length as usize];
                chain.readable.read(memory, HEADER_BYTES as u64, frame).map_err(QueueError::BufferOutside)?;
                if self.link.send(frame).is_err() {
                    self.waiting = Some(chain);
                    return Ok(());
                }
            }
            queue.push(chain.head, 0, memory)?;
        }
    }

    fn receive(&mut self, queue: &mut Queue, memory: &mut dyn GuestMemory) -> Result<(), QueueError> {
        while self.link.has_frame() {
            let Some(chain) = queue.pop(memory)? else { break };
            let mut bytes = vec![0; HEADER_BYTES + FRAME_BYTES];
            bytes[BUFFERS_AT] = 1;
            let length = self.link.receive(&mut bytes[HEADER_BYTES..]).min(FRAME_BYTES);
            let whole = HEADER_BYTES + length;
            let fits = chain.writable.length() >= whole as u64;
            if fits {
                chain.writable.write(memory, 0, &bytes[..whole]).map_err(QueueError::BufferOutside)?;
            } else {
                self.dropped += 1;
            }
            queue.push(chain.head, if fits { whole as u32 } else { 0 }, memory)?;
        }
        Ok(())
    }
}

impl<L: Link> Device for Network<L> {
    fn kind(&self) -> Kind {
        Kind::Network
    }

    fn features(&self) -> u64 {
        ADDRESS
    }

    fn queue_sizes(&self) -> &'static [u16] {
        QUEUE_SIZES
    }

    fn read_config(&self, offset: usize, into: &mut [u8]) {
        read_bytes(&self.address, offset, into);
    }

    fn start(&mut self, _features: u64) {}

    fn reset(&mut self) {
        self.waiting = None;
    }

    fn process(&mut self, queues: &mut [Queue], memory: &mut dyn GuestMemory) -> Result<(), QueueError> {
        self.transmit(&mut queues[TRANSMIT], memory)?;
        self.receive(&mut queues[RECEIVE], memory)
    }
}
