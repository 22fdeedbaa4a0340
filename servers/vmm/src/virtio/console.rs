//! A terminal (virtio 1.2, section 5.3) with one port.

use super::device::{Device, Kind, read_bytes};
use super::queue::{Chain, Queue, QueueError};
use crate::memory::GuestMemory;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

const QUEUE_SIZES: &[u16] = &[64, 64];
const INPUT: usize = 0;
const OUTPUT: usize = 1;
/// The feature by which the configuration tells columns and rows.
const SIZE: u64 = 1;
/// Bytes that wait at most, in either direction.
pub const CONSOLE_BYTES: usize = 4096;
/// Most bytes of one chain of the driver's: all chains together are then copied before others have waited for long.
pub const CONSOLE_CHAIN_BYTES: u64 = 64 << 10;

/// A terminal.
#[derive(Debug)]
pub struct Console {
    columns: u16,
    rows: u16,
    input: VecDeque<u8>,
    output: VecDeque<u8>,
    /// What the driver sends, of which so many bytes were taken.
    sending: Option<(Chain, u64)>,
}

impl Console {
    /// A terminal of this size in characters.
    #[must_use]
    pub fn new(columns: u16, rows: u16) -> Self {
        Self { columns, rows, input: VecDeque::new(), output: VecDeque::new(), sending: None }
    }

    /// The terminal has another size now; the transport is to announce that.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        (self.columns, self.rows) = (columns, rows);
    }

    /// Input for the guest. Returns how many bytes were taken; the rest is to be offered again later.
    pub fn receive(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(CONSOLE_BYTES - self.input.len());
        self.input.extend(&bytes[..taken]);
        taken
    }

    /// Takes away what the guest has sent. While nobody does, what it sends stays in its queue.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.output.drain(..).collect()
    }

    fn send(&mut self, queue: &mut Queue, memory: &mut dyn GuestMemory) -> Result<(), QueueError> {
        while self.output.len() < CONSOLE_BYTES {
            let (chain, from) = match self.sending.take() {
                Some(sending) => sending,
                None => match queue.pop(memory)? {
                    Some(chain) if chain.readable.length() > CONSOLE_CHAIN_BYTES => {
                        return Err(QueueError::Malformed { head: chain.head });
                    }
                    Some(chain) => (chain, 0),
                    None => break,
                },
            };
            let mut piece = [0; 512];
            let room = piece.len().min(CONSOLE_BYTES - self.output.len());
            let taken = chain.readable.read(memory, from, &mut piece[..room]).map_err(QueueError::BufferOutside)?;
            self.output.extend(&piece[..taken]);
            let from = from + taken as u64;
            if from < chain.readable.length() {
                self.sending = Some((chain, from));
            } else {
                queue.push(chain.head, 0, memory)?;
            }
        }
        Ok(())
    }
}

impl Device for Console {
    fn kind(&self) -> Kind {
        Kind::Console
    }

    fn features(&self) -> u64 {
        SIZE
    }

    fn queue_sizes(&self) -> &'static [u16] {
        QUEUE_SIZES
    }

    fn read_config(&self, offset: usize, into: &mut [u8]) {
        let [c0, c1] = self.columns.to_le_bytes();
        let [r0, r1] = self.rows.to_le_bytes();
        read_bytes(&[c0, c1, r0, r1], offset, into);
    }

    fn start(&mut self, _features: u64) {}

    fn reset(&mut self) {
        self.sending = None;
    }

    fn process(&mut self, queues: &mut [Queue], memory: &mut dyn GuestMemory) -> Result<(), QueueError> {
        while !self.input.is_empty() {
            let Some(chain) = queues[INPUT].pop(memory)? else { break };
            let room = usize::try_from(chain.writable.length()).unwrap_or(usize::MAX);
            let bytes: Vec<u8> = self.input.iter().copied().take(room).collect();
            let written = chain.writable.write(memory, 0, &bytes).map_err(QueueError::BufferOutside)?;
            self.input.drain(..written);
            queues[INPUT].push(chain.head, written as u32, memory)?;
        }
        self.send(&mut queues[OUTPUT], memory)
    }
}
