//! A source of random bytes (virtio 1.2, section 5.4).

use super::device::{Device, Kind};
use super::queue::{Queue, QueueError};
use crate::memory::GuestMemory;

const QUEUE_SIZES: &[u16] = &[8];
/// A request gets at most so many bytes; a driver asks again for more.
const REQUEST_BYTES: usize = 256;

/// Where random bytes come from.
pub trait EntropySource {
    /// Fills `into` with bytes that nobody can guess.
    fn fill(&mut self, into: &mut [u8]);
}

/// A source of random bytes.
#[derive(Debug)]
pub struct Entropy<S>(S);

impl<S: EntropySource> Entropy<S> {
    /// A device whose bytes come from there.
    #[must_use]
    pub fn new(source: S) -> Self {
        Self(source)
    }
}

impl<S: EntropySource> Device for Entropy<S> {
    fn kind(&self) -> Kind {
        Kind::Entropy
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &'static [u16] {
        QUEUE_SIZES
    }

    fn read_config(&self, _offset: usize, into: &mut [u8]) {
        into.fill(0);
    }

    fn start(&mut self, _features: u64) {}

    fn reset(&mut self) {}

    fn process(&mut self, queues: &mut [Queue], memory: &mut dyn GuestMemory) -> Result<(), QueueError> {
        let Some(queue) = queues.first_mut() else { return Ok(()) };
        while let Some(chain) = queue.pop(memory)? {
            let mut bytes = [0; REQUEST_BYTES];
            let length = bytes.len().min(usize::try_from(chain.writable.length()).unwrap_or(usize::MAX));
            self.0.fill(&mut bytes[..length]);
            chain.writable.write(memory, 0, &bytes[..length]).map_err(QueueError::BufferOutside)?;
            queue.push(chain.head, length as u32, memory)?;
        }
        Ok(())
    }
}
