//! What a restarted server must know: registers as the firmware has left them, and how long the memory behind them is,
//! which cannot be measured again while drivers use it.
//!
//! The record lies in the vault, memory that outlives the server. Whatever is found there is checked: magic, checksum,
//! and for each function its identity. A record that does not fit is no record.

use crate::bar::{self, Bars};
use crate::function::Function;
use alloc::vec::Vec;
use crc::{CRC_32_ISO_HDLC, Crc, Table};
use interfaces::pci::FunctionAddress;

/// The first bytes of a record; the last one is its version.
const MAGIC: [u8; 8] = *b"PCIBARS\x01";
/// Magic, checksum, number of entries.
const HEADER_BYTES: usize = 16;
const CHECKSUM_OFFSET: usize = 8;
/// Bytes of one entry.
const ENTRY_BYTES: usize = 8 + 6 * 4 + 6 * 8;
const CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// What is kept of one function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub address: FunctionAddress,
    /// Vendor and device.
    pub identity: (u16, u16),
    /// Base address registers before anything was written to them.
    pub raw: [u32; bar::COUNT as usize],
    /// Lengths by register; `None` if they were not measured yet.
    pub lengths: Option<[u64; bar::COUNT as usize]>,
}

/// Stands for lengths that are not known: no memory is that long.
const UNKNOWN: u64 = u64::MAX;

impl Entry {
    /// What is to be kept of `function`, whose registers hold `raw`.
    pub fn new(function: &Function, raw: [u32; bar::COUNT as usize]) -> Self {
        let lengths = function.bars.map(|bar| bar.and_then(|bar| bar.length).unwrap_or(0));
        Entry {
            address: function.address,
            identity: (function.vendor, function.device),
            raw,
            lengths: function.measured.then_some(lengths),
        }
    }

    /// Whether it was made of this function.
    pub fn is_of(&self, function: &Function) -> bool {
        self.address == function.address && self.identity == (function.vendor, function.device)
    }

    /// The registers with their lengths; `None` if they were not measured.
    pub fn bars(&self) -> Option<Bars> {
        let lengths = self.lengths?;
        let mut bars = bar::read(&self.raw);
        for bar in bars.iter_mut() {
            if let Some(found) = bar {
                found.length = Some(lengths[usize::from(found.index)]);
            }
            // A register that measured as nothing is none, unless it holds garbage.
            if bar.is_some_and(|bar| bar.length == Some(0) && bar.base == 0) {
                *bar = None;
            }
        }
        Some(bars)
    }
}

/// How many functions can be kept in so many bytes.
pub const fn capacity(bytes: usize) -> usize {
    bytes.saturating_sub(HEADER_BYTES) / ENTRY_BYTES
}

/// The record as bytes.
pub fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + entries.len() * ENTRY_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    for entry in entries {
        let FunctionAddress { bus, device, function, .. } = entry.address;
        bytes.extend_from_slice(&[bus, device, function, 0]);
        bytes.extend_from_slice(&entry.identity.0.to_le_bytes());
        bytes.extend_from_slice(&entry.identity.1.to_le_bytes());
        entry.raw.iter().for_each(|raw| bytes.extend_from_slice(&raw.to_le_bytes()));
        let lengths = entry.lengths.unwrap_or([UNKNOWN; bar::COUNT as usize]);
        lengths.iter().for_each(|length| bytes.extend_from_slice(&length.to_le_bytes()));
    }
    let checksum = checksum(&bytes);
    bytes[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 4].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn checksum(record: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&record[..CHECKSUM_OFFSET]);
    digest.update(&record[CHECKSUM_OFFSET + 4..]);
    digest.finalize()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

/// The record that `bytes` begin with; `None` if they are none.
pub fn decode(bytes: &[u8]) -> Option<Vec<Entry>> {
    if !bytes.starts_with(&MAGIC) {
        return None;
    }
    let stated = word(bytes, CHECKSUM_OFFSET)?;
    let count = word(bytes, CHECKSUM_OFFSET + 4)? as usize;
    let body = count.checked_mul(ENTRY_BYTES)?;
    let record = bytes.get(..HEADER_BYTES.checked_add(body)?)?;
    if checksum(record) != stated {
        return None;
    }
    record[HEADER_BYTES..].chunks_exact(ENTRY_BYTES).map(decode_entry).collect()
}

fn decode_entry(bytes: &[u8]) -> Option<Entry> {
    let &[bus, device, function, _, v0, v1, d0, d1, ref registers @ ..] = bytes else {
        return None;
    };
    let (raw, lengths) = registers.split_at_checked(usize::from(bar::COUNT) * 4)?;
    let raw = core::array::from_fn(|index| word(raw, index * 4).unwrap_or(0));
    let long = |index: usize| {
        let bytes = lengths.get(index * 8..index * 8 + 8)?;
        bytes.try_into().ok().map(u64::from_le_bytes)
    };
    let lengths: [u64; bar::COUNT as usize] = core::array::from_fn(|index| long(index).unwrap_or(UNKNOWN));
    Some(Entry {
        address: FunctionAddress { segment: 0, bus, device, function },
        identity: (u16::from_le_bytes([v0, v1]), u16::from_le_bytes([d0, d1])),
        raw,
        lengths: (!lengths.contains(&UNKNOWN)).then_some(lengths),
    })
}
