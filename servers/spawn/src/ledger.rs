//! What a supervisor notes for its successor.
//!
//! The memory is `init`'s and outlives both. A supervisor may die at any moment, also while it writes: each domain has two
//! places for an entry, which are written in turns, and each entry has a version, a number and a checksum. The reader
//! takes the newest one that is whole. `init` reads no more of an entry than the handles of what it keeps, and does not
//! believe these ([`Custody`]).
//!
//! | pages | contents |
//! | --- | --- |
//! | 0 | the status page of the supervisor that has died last, as it was then |
//! | 1 | how it died ([`Obituary`]) |
//! | 8 for each domain | two places for its entry, then the log of its instances that are gone |

use crate::instance::Custody;
use abi::PAGE_SIZE;
use abi::message::REGISTER_WORDS;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::Ordering;
use crc::{CRC_32_ISO_HDLC, Crc, Table};
use manifest::DomainIndex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use userlib::log_ring::LogRing;
use userlib::memory::SharedMemory;
use userlib::status;

const PAGE: usize = PAGE_SIZE as usize;
/// Where what is left of a dead supervisor begins, and the domains.
const OBITUARY: usize = PAGE;
const DOMAINS: usize = 2 * PAGE;
/// Bytes of one domain's part.
const DOMAIN: usize = 8 * PAGE;
/// Bytes of a place for an entry.
const PLACE: usize = PAGE / 2;

/// Words of an entry: version, number, length of the body, checksum; the body follows.
const VERSION: usize = 0;
const NUMBER: usize = 8;
const LENGTH: usize = 16;
const CHECKSUM: usize = 24;
const BODY: usize = 32;
/// "LEDGER", and the version of the format: an `init` and a supervisor are built together.
const VERSION_1: u64 = u64::from_le_bytes(*b"LEDGER\x01\x00");

/// Most bytes of an entry.
pub const ENTRY_MAX: usize = PLACE - BODY;

const CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// Pages of a ledger for so many domains.
pub const fn ledger_pages(domains: usize) -> u64 {
    ((DOMAINS + domains * DOMAIN) / PAGE) as u64
}

/// Why an entry was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerError {
    /// There is no such domain in the ledger.
    NoSuchDomain,
    /// The entry has more than [`ENTRY_MAX`] bytes.
    TooLong,
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LedgerError::NoSuchDomain => f.write_str("the ledger has no place for this domain"),
            LedgerError::TooLong => write!(f, "the entry would have more than {ENTRY_MAX} bytes"),
        }
    }
}

impl core::error::Error for LedgerError {}

/// How a supervisor has died: its fault message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obituary {
    /// Kind of the fault; `None` if it gave no sign of life.
    pub label: Option<u32>,
    /// Words of the fault message.
    pub words: [u64; REGISTER_WORDS],
}

/// The memory in which a supervisor notes what its domains are.
#[derive(Clone, Copy, Debug)]
pub struct Ledger<'a> {
    memory: SharedMemory<'a>,
    domains: usize,
}

impl<'a> Ledger<'a> {
    /// The ledger in this memory; `None` if that is shorter than [`ledger_pages`] for so many domains.
    pub fn new(memory: SharedMemory<'a>, domains: usize) -> Option<Self> {
        let length = ledger_pages(domains) as usize * PAGE;
        memory.part(0..length).map(|memory| Ledger { memory, domains })
    }

    /// Forgets everything.
    pub fn clear(self) {
        self.memory.fill_zero();
    }

    /// Forgets what is noted of every domain, but not their logs.
    pub fn forget_entries(self) {
        for index in 0..self.domains {
            self.places(DomainIndex(index as u16)).into_iter().flatten().for_each(|place| place.memory.fill_zero());
        }
    }

    fn part(self, index: DomainIndex, range: core::ops::Range<usize>) -> Option<SharedMemory<'a>> {
        let start = DOMAINS + index.position() * DOMAIN;
        (index.position() < self.domains).then(|| self.memory.part(start + range.start..start + range.end)).flatten()
    }

    fn places(self, index: DomainIndex) -> [Option<Place<'a>>; 2] {
        [0, 1].map(|number| {
            let memory = self.part(index, number * PLACE..(number + 1) * PLACE)?;
            Some(Place { memory })
        })
    }

    /// The newest whole entry of a domain, without its checksum's promise that it makes sense.
    fn newest(self, index: DomainIndex) -> Option<(u64, Vec<u8>)> {
        self.places(index).into_iter().flatten().filter_map(Place::read).max_by_key(|(number, _)| *number)
    }

    /// Notes what a domain is: what `init` keeps of it, if it keeps something, and whatever the supervisor needs to know.
    /// If the supervisor dies over it, the entry before stays.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn write(
        self,
        index: DomainIndex,
        custody: Option<&Custody>,
        notes: &impl Serialize,
    ) -> Result<(), LedgerError> {
        let body = postcard::to_allocvec(&custody).map_err(|_| LedgerError::TooLong)?;
        let body = postcard::to_extend(notes, body).map_err(|_| LedgerError::TooLong)?;
        let [Some(one), Some(other)] = self.places(index) else { return Err(LedgerError::NoSuchDomain) };
        let numbers = [one, other].map(|place| place.read().map_or(0, |(number, _)| number));
        let older = if numbers[0] <= numbers[1] { one } else { other };
        older.write(numbers[0].max(numbers[1]).saturating_add(1), &body)
    }

    /// What is noted of a domain; `None` if that is nothing, or nothing that makes sense.
    pub fn read<N: DeserializeOwned>(self, index: DomainIndex) -> Option<(Option<Custody>, N)> {
        let (_, body) = self.newest(index)?;
        let (custody, rest) = postcard::take_from_bytes(&body).ok()?;
        Some((custody, postcard::from_bytes(rest).ok()?))
    }

    /// What the ledger says that `init` keeps of a domain.
    pub fn custody(self, index: DomainIndex) -> Option<Custody> {
        let (_, body) = self.newest(index)?;
        postcard::take_from_bytes::<Option<Custody>>(&body).ok()?.0
    }

    /// The log of a domain's instances that are gone.
    pub fn history(self, index: DomainIndex) -> Option<LogRing<'a>> {
        LogRing::in_memory(self.part(index, PAGE..DOMAIN)?)
    }

    /// Keeps the status page of a supervisor that has died, and how it did.
    pub fn bury_supervisor(self, status: SharedMemory<'_>, obituary: &Obituary) {
        let mut page = [0; PAGE];
        // Both are as long as is asked for: a shorter page is kept as far as it goes.
        let length = status.len().min(PAGE);
        let _ = status.read(0, &mut page[..length]);
        let _ = self.memory.write(0, &page);
        if let (Some(place), Ok(body)) = (self.obituary_place(), postcard::to_allocvec(obituary)) {
            let _ = place.write(1, &body);
        }
    }

    fn obituary_place(self) -> Option<Place<'a>> {
        self.memory.part(OBITUARY..OBITUARY + PLACE).map(|memory| Place { memory })
    }

    /// How the last supervisor has died, if one has.
    pub fn obituary(self) -> Option<Obituary> {
        let (_, body) = self.obituary_place()?.read()?;
        postcard::from_bytes(&body).ok()
    }

    /// The last words of a supervisor that has died.
    pub fn last_words(self) -> Option<status::Reader<'a>> {
        status::Reader::new(self.memory.part(0..PAGE)?)
    }
}

/// A place for an entry.
#[derive(Clone, Copy)]
struct Place<'a> {
    memory: SharedMemory<'a>,
}

impl Place<'_> {
    fn word(self, offset: usize) -> u64 {
        self.memory.load(offset, Ordering::Acquire).unwrap_or(0)
    }

    fn set(self, offset: usize, value: u64) {
        // The offsets are constants in memory whose length is one.
        let _ = self.memory.store(offset, value, Ordering::Release);
    }

    /// The entry's number and body, if it is whole.
    fn read(self) -> Option<(u64, Vec<u8>)> {
        let (number, length) = (self.word(NUMBER), self.word(LENGTH));
        if self.word(VERSION) != VERSION_1 || length > ENTRY_MAX as u64 {
            return None;
        }
        let mut body = alloc::vec![0; length as usize];
        self.memory.read(BODY, &mut body).ok()?;
        (self.word(CHECKSUM) == checksum(number, &body)).then_some((number, body))
    }

    fn write(self, number: u64, body: &[u8]) -> Result<(), LedgerError> {
        if body.len() > ENTRY_MAX {
            return Err(LedgerError::TooLong);
        }
        // From here on until the end it is no entry.
        self.set(VERSION, 0);
        self.memory.write(BODY, body).map_err(|_| LedgerError::TooLong)?;
        self.set(NUMBER, number);
        self.set(LENGTH, body.len() as u64);
        self.set(CHECKSUM, checksum(number, body));
        self.set(VERSION, VERSION_1);
        Ok(())
    }
}

fn checksum(number: u64, body: &[u8]) -> u64 {
    let mut digest = CRC.digest();
    digest.update(&number.to_le_bytes());
    digest.update(&(body.len() as u64).to_le_bytes());
    digest.update(body);
    digest.finalize().into()
}
