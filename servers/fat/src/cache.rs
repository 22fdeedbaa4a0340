//! The block cache: pages of eight sectors, written back late and in order.
//!
//! Every sector that waits to be written has a [`Class`], and [`Cache::write_back_all`] writes class after class. A
//! sector is valid or not on its own, so that writing whole sectors never has to read what lies around them.

mod write_back;

use crate::device::{BlockDevice, DeviceError, PAGE_SECTORS, PAGE_SIZE, SECTOR_SIZE, Transfer, TransferLimits};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use futures_util::stream::{self, StreamExt};

/// Fewer pages than this cannot hold what one operation touches.
pub(crate) const MIN_PAGES: usize = 16;

/// What a waiting sector holds; classes are written in this order.
///
/// A directory record may only reach the disk after the data and the FAT entries that it refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Contents of files, and folders' clusters that no record refers to yet.
    Data,
    /// The FAT.
    Table,
    /// Directory records.
    Directory,
    /// Boot sector state and free count.
    Summary,
}

pub(crate) const CLASSES: [Class; 4] = [Class::Data, Class::Table, Class::Directory, Class::Summary];

/// How the cache has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStatistics {
    /// Sectors asked for that were there.
    pub hits: u64,
    /// Pages that had to be read.
    pub misses: u64,
    /// Transfers from the disk.
    pub reads: u64,
    /// Transfers to the disk.
    pub writes: u64,
    /// Pages in use.
    pub pages: usize,
}

struct Page<B> {
    number: u64,
    /// Gone while a transfer has it.
    buffer: Option<B>,
    valid: u8,
    dirty: [u8; 4],
    /// Sweeps of the clock that the page survives without being used.
    credit: u8,
}

impl<B> Page<B> {
    fn is_clean(&self) -> bool {
        self.dirty == [0; 4]
    }
}

/// The cache, and with it the only way to the disk.
pub(crate) struct Cache<D: BlockDevice> {
    device: D,
    sectors: u64,
    limits: TransferLimits,
    capacity: usize,
    pages: Vec<Page<D::Buffer>>,
    index: BTreeMap<u64, usize>,
    /// Slots of `pages` that have a buffer but no page.
    vacant: Vec<usize>,
    hand: usize,
    /// Something was written that no barrier has made durable yet.
    unflushed: bool,
    statistics: CacheStatistics,
}

/// The mask of `count` sectors from sector `first` of a page.
fn mask(first: usize, count: usize) -> u8 {
    ((((1u16 << count) - 1) << first) & 0xff) as u8
}

fn page_of(sector: u64) -> u64 {
    sector / PAGE_SECTORS as u64
}

fn place_in_page(sector: u64) -> usize {
    (sector % PAGE_SECTORS as u64) as usize
}

impl<D: BlockDevice> Cache<D> {
    /// A cache of at most `bytes`, in buffers of the device.
    pub(crate) fn new(device: D, bytes: usize) -> Self {
        let limits = device.limits();
        Self {
            sectors: device.geometry().sectors,
            limits: TransferLimits {
                in_flight: limits.in_flight.max(1),
                buffers_per_transfer: limits.buffers_per_transfer.max(1),
            },
            device,
            capacity: (bytes / PAGE_SIZE).max(MIN_PAGES),
            pages: Vec::new(),
            index: BTreeMap::new(),
            vacant: Vec::new(),
            hand: 0,
            unflushed: false,
            statistics: CacheStatistics::default(),
        }
    }

    pub(crate) fn device(&self) -> &D {
        &self.device
    }

    pub(crate) fn into_device(self) -> D {
        self.device
    }

    pub(crate) fn statistics(&self) -> CacheStatistics {
        CacheStatistics { pages: self.pages.len(), ..self.statistics }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Pages with a sector of this class that waits to be written.
    pub(crate) fn dirty_pages(&self, class: Class) -> usize {
        self.pages.iter().filter(|page| page.dirty[class as usize] != 0).count()
    }

    /// The sectors of a page that the disk has: all but in the last page.
    fn existing(&self, number: u64) -> u8 {
        let first = number * PAGE_SECTORS as u64;
        mask(0, self.sectors.saturating_sub(first).min(PAGE_SECTORS as u64) as usize)
    }

    fn check(&self, sector: u64, count: usize) -> Result<(), DeviceError> {
        let sectors = count as u64;
        match sector.checked_add(sectors) {
            Some(end) if end <= self.sectors => Ok(()),
            _ => Err(DeviceError::OutOfRange { sector, sectors }),
        }
    }

    /// Makes one sector valid and says which slot holds it.
    async fn load(&mut self, sector: u64, class: Class) -> Result<usize, DeviceError> {
        self.check(sector, 1)?;
        let number = page_of(sector);
        let wanted = mask(place_in_page(sector), 1);
        let credit = if class == Class::Data { 1 } else { 3 };
        if let Some(&slot) = self.index.get(&number)
            && self.pages[slot].valid & wanted != 0
        {
            self.statistics.hits += 1;
            self.pages[slot].credit = credit;
            return Ok(slot);
        }
        self.fetch(&[number]).await?;
        // Fetching ended with putting the page into the index; nothing could evict it since.
        let slot = *self.index.get(&number).ok_or(DeviceError::NoBuffers)?;
        self.pages[slot].credit = credit;
        Ok(slot)
    }

    fn bytes(&self, slot: usize, place: usize, count: usize) -> Result<&[u8], DeviceError> {
        let buffer = self.pages[slot].buffer.as_ref().ok_or(DeviceError::NoBuffers)?;
        let range = place * SECTOR_SIZE..(place + count) * SECTOR_SIZE;
        buffer.as_ref().get(range).ok_or(DeviceError::NoBuffers)
    }

    fn bytes_mut(&mut self, slot: usize, place: usize, count: usize) -> Result<&mut [u8], DeviceError> {
        let buffer = self.pages[slot].buffer.as_mut().ok_or(DeviceError::NoBuffers)?;
        let range = place * SECTOR_SIZE..(place + count) * SECTOR_SIZE;
        buffer.as_mut().get_mut(range).ok_or(DeviceError::NoBuffers)
    }

    /// One sector, to look at.
    pub(crate) async fn sector(&mut self, sector: u64, class: Class) -> Result<&[u8], DeviceError> {
        let slot = self.load(sector, class).await?;
        self.bytes(slot, place_in_page(sector), 1)
    }

    /// Up to `most` sectors from `sector` on, to look at: as many as their page has. At least one.
    pub(crate) async fn sectors(&mut self, sector: u64, most: usize, class: Class) -> Result<&[u8], DeviceError> {
        let slot = self.load(sector, class).await?;
        let place = place_in_page(sector);
        let valid = self.pages[slot].valid >> place;
        let count = (valid.trailing_ones() as usize).min(most).max(1);
        self.bytes(slot, place, count)
    }

    /// One sector, to change in part.
    pub(crate) async fn edit(&mut self, sector: u64, class: Class) -> Result<&mut [u8], DeviceError> {
        self.settle(page_of(sector), mask(place_in_page(sector), 1), class).await?;
        let slot = self.load(sector, class).await?;
        let place = place_in_page(sector);
        self.pages[slot].dirty[class as usize] |= mask(place, 1);
        self.bytes_mut(slot, place, 1)
    }

    /// Sectors of one page (those in `wanted`, one bit each), to change in part, all in one go: one transfer will write
    /// them. Gives the whole page; only the wanted sectors may be touched.
    pub(crate) async fn edit_page(&mut self, number: u64, wanted: u8, class: Class) -> Result<&mut [u8], DeviceError> {
        let first = number * PAGE_SECTORS as u64;
        let sector = first + u64::from(wanted.trailing_zeros().min(7));
        self.settle(number, wanted, class).await?;
        let mut slot = self.load(sector, class).await?;
        if self.pages[slot].valid & wanted != wanted {
            self.fetch(&[number]).await?;
            slot = self.load(sector, class).await?;
        }
        let wanted = wanted & self.pages[slot].valid;
        self.pages[slot].dirty[class as usize] |= wanted;
        self.bytes_mut(slot, 0, PAGE_SECTORS)
    }

    /// `count` sectors of one page, to be replaced: what the disk has there is not read. Start from zeros.
    pub(crate) async fn replace(&mut self, sector: u64, count: usize, class: Class) -> Result<&mut [u8], DeviceError> {
        self.check(sector, count)?;
        let (number, place) = (page_of(sector), place_in_page(sector));
        self.settle(number, mask(place, count), class).await?;
        let slot = match self.index.get(&number) {
            Some(&slot) => slot,
            None => {
                let slot = self.claim().await?;
                self.adopt(slot, number);
                slot
            }
        };
        let page = &mut self.pages[slot];
        page.valid |= mask(place, count);
        page.dirty[class as usize] |= mask(place, count);
        page.credit = 1;
        let bytes = self.bytes_mut(slot, place, count)?;
        bytes.fill(0);
        Ok(bytes)
    }

    /// Writes out what waits in these sectors under another class, so that each sector has one class at most.
    async fn settle(&mut self, number: u64, wanted: u8, class: Class) -> Result<(), DeviceError> {
        for other in CLASSES {
            if other == class {
                continue;
            }
            let waiting =
                self.index.get(&number).is_some_and(|slot| self.pages[*slot].dirty[other as usize] & wanted != 0);
            if waiting && other == Class::Directory {
                self.write_back_all().await?;
            } else if waiting {
                self.write_back(other, |page| page == number).await?;
            }
        }
        Ok(())
    }

    /// Forgets sectors whose contents nobody wants any more, written or not.
    pub(crate) fn forget(&mut self, sector: u64, sectors: u64) {
        let end = sector.saturating_add(sectors);
        for (&number, &slot) in self.index.range(page_of(sector)..=page_of(end.saturating_sub(1))) {
            let first = number * PAGE_SECTORS as u64;
            let from = sector.saturating_sub(first).min(PAGE_SECTORS as u64) as usize;
            let to = end.saturating_sub(first).min(PAGE_SECTORS as u64) as usize;
            let gone = mask(from, to.saturating_sub(from));
            let page = &mut self.pages[slot];
            page.valid &= !gone;
            for dirty in &mut page.dirty {
                *dirty &= !gone;
            }
        }
    }

    /// Whether the page of this sector is there (as far as read-ahead cares).
    pub(crate) fn has(&self, sector: u64) -> bool {
        let number = page_of(sector);
        self.index.get(&number).is_some_and(|slot| self.pages[*slot].valid & mask(place_in_page(sector), 1) != 0)
    }

    /// Reads runs of sectors (first, count) that will be wanted soon, in large transfers, several at a time.
    ///
    /// A hint: takes no more than half the cache, and the caller must not rely on finding them.
    pub(crate) async fn prefetch(&mut self, runs: &[(u64, u64)]) -> Result<(), DeviceError> {
        let mut numbers: Vec<u64> = Vec::new();
        for (sector, count) in runs {
            let end = sector.saturating_add(*count).min(self.sectors);
            if *sector >= end {
                continue;
            }
            for number in page_of(*sector)..=page_of(end - 1) {
                let known = self.index.get(&number);
                let whole = known.is_some_and(|slot| self.pages[*slot].valid == self.existing(number));
                if !whole && numbers.last() != Some(&number) && numbers.len() < self.capacity / 2 {
                    numbers.push(number);
                }
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        self.fetch(&numbers).await
    }

    /// Reads whole pages; sectors that are valid already are kept as they are.
    async fn fetch(&mut self, numbers: &[u64]) -> Result<(), DeviceError> {
        // A claimed slot is in no index, so that claiming the next cannot evict it.
        let mut slots: BTreeMap<u64, usize> = BTreeMap::new();
        for &number in numbers {
            match self.claim().await {
                Ok(slot) => {
                    slots.insert(number, slot);
                }
                // What could be claimed is read; a page that somebody waits for is the only one asked for.
                Err(DeviceError::NoBuffers) if !slots.is_empty() => break,
                Err(error) => {
                    self.vacant.extend(slots.into_values());
                    return Err(error);
                }
            }
        }
        let mut transfers: Vec<Transfer<D::Buffer>> = Vec::new();
        for (&number, &slot) in &slots {
            let Some(buffer) = self.pages[slot].buffer.take() else {
                continue;
            };
            let sectors = self.existing(number).count_ones() as usize;
            let first = number * PAGE_SECTORS as u64;
            match transfers.last_mut() {
                Some(last)
                    if last.sector + last.sectors as u64 == first
                        && last.buffers.len() < self.limits.buffers_per_transfer =>
                {
                    last.sectors += sectors;
                    last.buffers.push(buffer);
                }
                _ => transfers.push(Transfer { sector: first, skip: 0, sectors, buffers: Vec::from([buffer]) }),
            }
        }
        self.statistics.misses += slots.len() as u64;
        self.statistics.reads += transfers.len() as u64;
        let device = &self.device;
        let mut completions =
            stream::iter(transfers).map(|transfer| device.read(transfer)).buffer_unordered(self.limits.in_flight);
        let mut outcome = Ok(());
        let mut filled = Vec::new();
        while let Some(done) = completions.next().await {
            if let Err(error) = done.result {
                outcome = outcome.and(Err(error));
            }
            let first = page_of(done.transfer.sector);
            for (number, buffer) in (first..).zip(done.transfer.buffers) {
                if let Some(&slot) = slots.get(&number) {
                    self.pages[slot].buffer = Some(buffer);
                    filled.push((number, slot, done.result.is_ok()));
                }
            }
        }
        drop(completions);
        for (number, slot, good) in filled {
            if good {
                self.install(number, slot);
            } else {
                self.vacant.push(slot);
            }
        }
        outcome
    }

    /// Puts a freshly read page into the index, or merges it into the one that is there.
    fn install(&mut self, number: u64, slot: usize) {
        let existing = self.existing(number);
        let Some(&old) = self.index.get(&number) else {
            self.adopt(slot, number);
            self.pages[slot].valid = existing;
            self.pages[slot].credit = 1;
            return;
        };
        if let Some(fresh) = self.pages[slot].buffer.take() {
            let page = &mut self.pages[old];
            if let Some(buffer) = page.buffer.as_mut() {
                let sectors = buffer.as_mut().chunks_exact_mut(SECTOR_SIZE);
                for (place, (to, from)) in sectors.zip(fresh.as_ref().chunks_exact(SECTOR_SIZE)).enumerate() {
                    if page.valid & mask(place, 1) == 0 {
                        to.copy_from_slice(from);
                    }
                }
            }
            page.valid = existing;
            self.pages[slot].buffer = Some(fresh);
        }
        self.vacant.push(slot);
    }

    fn adopt(&mut self, slot: usize, number: u64) {
        let page = &mut self.pages[slot];
        page.number = number;
        page.valid = 0;
        page.dirty = [0; 4];
        self.index.insert(number, slot);
    }

    /// A slot with a buffer and without a page: a vacant one, a new one, or one that the clock evicts.
    async fn claim(&mut self) -> Result<usize, DeviceError> {
        if let Some(slot) = self.vacant.pop() {
            return Ok(slot);
        }
        if self.pages.len() < self.capacity {
            match self.device.allocate() {
                Some(buffer) => {
                    self.pages.push(Page { number: 0, buffer: Some(buffer), valid: 0, dirty: [0; 4], credit: 0 });
                    return Ok(self.pages.len() - 1);
                }
                None => self.capacity = self.pages.len(),
            }
        }
        for attempt in 0..3 {
            if let Some(slot) = self.evict() {
                return Ok(slot);
            }
            // Everything waits to be written: data and FAT may go at any time, records only after both.
            match attempt {
                0 => {
                    self.write_back(Class::Data, |_| true).await?;
                    self.write_back(Class::Table, |_| true).await?;
                }
                _ => self.write_back_all().await?,
            }
        }
        Err(DeviceError::NoBuffers)
    }

    /// Turns the clock until it meets a clean page that was not used lately.
    fn evict(&mut self) -> Option<usize> {
        for _ in 0..self.pages.len() * 4 {
            let slot = self.hand;
            self.hand = (self.hand + 1) % self.pages.len();
            let page = &mut self.pages[slot];
            if page.buffer.is_none() || !page.is_clean() || self.index.get(&page.number) != Some(&slot) {
                continue;
            }
            if page.credit > 0 {
                page.credit -= 1;
                continue;
            }
            self.index.remove(&page.number);
            return Some(slot);
        }
        None
    }
}
