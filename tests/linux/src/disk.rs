//! Reads of a raw disk, each round a fixed number of bytes.

use crate::files::{Cache, open_disk};
use crate::kernel::{self, Completion, Outcome, Queue, Refused, Request};
use crate::rounds::Rounds;

/// Bytes of a random read.
const BLOCK: usize = 4096;
/// Bytes of a sequential read.
const RUN: usize = 1 << 20;
/// Random reads of a round.
const READS: usize = 256;
/// Requests that are on their way at once.
const DEPTH: usize = 32;
/// Rounds that count, after one that does not: of random reads, so many times [`READS`].
const ROUNDS: usize = 16;

/// Memory for transfers, from the kernel so that it is aligned to pages.
#[derive(Clone, Copy)]
struct Buffer {
    address: u64,
    bytes: usize,
}

impl Buffer {
    fn new(bytes: usize) -> Outcome<Self> {
        Ok(Self { address: kernel::map(bytes as u64)?, bytes })
    }

    fn as_slice(&mut self) -> &mut [u8] {
        // SAFETY: the kernel mapped it for this buffer, which stays for as long as the process does.
        unsafe { core::slice::from_raw_parts_mut(self.address as *mut u8, self.bytes) }
    }
}

/// Random numbers, the same ones each time (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}

/// Nanoseconds of the read of one block, on the average of many, one after the other.
pub(crate) fn random_one_at_a_time() -> Outcome<Rounds> {
    let disk = open_disk(Cache::Direct)?;
    let blocks = kernel::length(disk)? / BLOCK as u64;
    let mut buffer = Buffer::new(BLOCK)?;
    let mut random = Random(1);
    Rounds::of(1, ROUNDS, || {
        let begun = kernel::nanoseconds()?;
        for _ in 0..READS {
            let place = random.below(blocks) * BLOCK as u64;
            if kernel::read_at(disk, buffer.as_slice(), place)? != BLOCK {
                return Err(Refused::incomplete("pread64"));
            }
        }
        Ok((kernel::nanoseconds()? - begun) / READS as u64)
    })
}

/// The same with many on their way at any time.
pub(crate) fn random_many_at_once() -> Outcome<Rounds> {
    let disk = open_disk(Cache::Direct)?;
    let blocks = kernel::length(disk)? / BLOCK as u64;
    let buffer = Buffer::new(BLOCK * DEPTH)?;
    let queue = Queue::new(DEPTH)?;
    let mut random = Random(2);
    let mut request = |slot: usize| {
        let place = random.below(blocks) * BLOCK as u64;
        let address = buffer.address + (slot * BLOCK) as u64;
        Request::read(disk, address, BLOCK as u64, place, slot as u64)
    };
    Rounds::of(1, ROUNDS, || {
        let begun = kernel::nanoseconds()?;
        let first: [Request; DEPTH] = core::array::from_fn(&mut request);
        // SAFETY: each slot of the buffer is used by one request at a time.
        unsafe { queue.submit(&first) }?;
        let (mut submitted, mut completed) = (DEPTH, 0);
        while completed < READS {
            let mut completions = [Completion::default(); DEPTH];
            let count = queue.completed(&mut completions)?;
            if completions[..count].iter().any(|completion| completion.result != BLOCK as i64) {
                return Err(Refused::incomplete("a read of the queue"));
            }
            completed += count;
            let again = count.min(READS - submitted);
            let mut next = [Request::default(); DEPTH];
            for (place, completion) in next[..again].iter_mut().zip(&completions) {
                *place = request(completion.data as usize);
            }
            if again > 0 {
                // SAFETY: the slots are those of requests that have completed.
                unsafe { queue.submit(&next[..again]) }?;
            }
            submitted += again;
        }
        Ok((kernel::nanoseconds()? - begun) / READS as u64)
    })
}

/// Nanoseconds of a mebibyte, one after the other from the disk's beginning.
pub(crate) fn sequential_direct() -> Outcome<Rounds> {
    sequential(Cache::Direct)
}

/// The same through the kernel's cache, which reads ahead. Nothing is read twice.
pub(crate) fn sequential_cached() -> Outcome<Rounds> {
    sequential(Cache::Cached)
}

fn sequential(cache: Cache) -> Outcome<Rounds> {
    let disk = open_disk(cache)?;
    let runs = kernel::length(disk)? / RUN as u64;
    let mut buffer = Buffer::new(RUN)?;
    let mut run = 0;
    Rounds::of(1, (runs as usize).saturating_sub(1).min(128), || {
        let begun = kernel::nanoseconds()?;
        let read = kernel::read_at(disk, buffer.as_slice(), run * RUN as u64)?;
        let ended = kernel::nanoseconds()?;
        run += 1;
        if read == RUN { Ok(ended - begun) } else { Err(Refused::incomplete("pread64")) }
    })
}
