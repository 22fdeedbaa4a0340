//! Folders: finding names, and adding and removing records so that a crash never leaves half a change.
//!
//! The records of one name are kept within one page of the disk whenever that is possible at all, because a page is
//! written as a whole or not at all. Where it is not, the short record, which is the one that counts, goes last.

use crate::boot::Root;
use crate::cache::Class;
use crate::device::{BlockDevice, PAGE_SECTORS, PAGE_SIZE, SECTOR_SIZE};
use crate::error::{Damage, Error};
use crate::mounted::Mounted;
use crate::name::{FoldedName, NewName, ShortName};
use crate::record::{
    Attributes, DELETED, END, RECORD_SIZE, Record, RecordData, Scanner, Seen, new_records, records_needed,
};
use crate::table::{ClusterRun, MAX_DIRECTORY_BYTES};
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

const RECORDS_PER_SECTOR: u32 = (SECTOR_SIZE / RECORD_SIZE) as u32;

/// Where a short record is on the disk: this identifies a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Location {
    pub(crate) sector: u64,
    pub(crate) offset: usize,
}

/// A file or folder as found in its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) data: RecordData,
    /// All slots of its records; the last is the short record.
    pub(crate) slots: Range<u32>,
    pub(crate) location: Location,
    /// The short record as it is on the disk.
    pub(crate) record: Record,
}

impl Entry {
    pub(crate) fn is_directory(&self) -> bool {
        self.data.attributes.contains(Attributes::DIRECTORY)
    }
}

/// The sectors of a folder, in order.
#[derive(Debug, Clone)]
pub(crate) struct Extents(Vec<(u64, u64)>);

impl Extents {
    fn sectors(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|(first, count)| *first..*first + *count)
    }

    fn slots(&self) -> u32 {
        let sectors: u64 = self.0.iter().map(|(_, count)| *count).sum();
        sectors as u32 * RECORDS_PER_SECTOR
    }

    fn location(&self, slot: u32) -> Option<Location> {
        let mut index = u64::from(slot / RECORDS_PER_SECTOR);
        let offset = (slot % RECORDS_PER_SECTOR) as usize * RECORD_SIZE;
        for (first, count) in &self.0 {
            if index < *count {
                return Some(Location { sector: first + index, offset });
            }
            index -= count;
        }
        None
    }

    /// The page that all these slots lie in, if it is one.
    pub(crate) fn common_page(&self, slots: Range<u32>) -> Option<u64> {
        let page = |slot| Some(self.location(slot)?.sector / PAGE_SECTORS as u64);
        let first = page(slots.start)?;
        // Page after page: looking at the first slot of each sector is enough.
        let sectors = slots.start / RECORDS_PER_SECTOR..=(slots.end - 1) / RECORDS_PER_SECTOR;
        sectors.into_iter().all(|sector| page(sector * RECORDS_PER_SECTOR) == Some(first)).then_some(first)
    }
}

/// What a folder has to say about a new name.
struct Survey {
    extents: Extents,
    existing: Option<Entry>,
    short: Option<ShortName>,
    /// Enough free slots in one page.
    place: Option<u32>,
    /// Enough free slots anywhere.
    scattered: Option<u32>,
    /// The first slot that was never used, or the number of slots.
    end: u32,
}

/// Finds runs of free slots, within a page and otherwise.
struct PlaceFinder {
    needed: u32,
    only_page: Option<u64>,
    page: u64,
    in_page: u32,
    anywhere: u32,
    place: Option<u32>,
    scattered: Option<u32>,
}

impl PlaceFinder {
    fn feed(&mut self, slot: u32, page: u64, free: bool) {
        if page != self.page {
            self.page = page;
            self.in_page = 0;
        }
        if !free {
            self.in_page = 0;
            self.anywhere = 0;
            return;
        }
        self.in_page += 1;
        self.anywhere += 1;
        let start = slot + 1 - self.needed.min(slot + 1);
        if self.in_page >= self.needed && self.only_page.is_none_or(|only| only == page) {
            self.place.get_or_insert(start);
        }
        if self.anywhere >= self.needed {
            self.scattered.get_or_insert(start);
        }
    }
}

impl<D: BlockDevice> Mounted<D> {
    /// The root folder, as the number that stands for it: 0 on FAT12 and FAT16.
    pub(crate) fn root(&self) -> u32 {
        match self.geometry.root {
            Root::Fixed { .. } => 0,
            Root::Cluster(cluster) => cluster,
        }
    }

    /// The sectors of the folder that starts at a cluster (0: the root).
    pub(crate) async fn extents(&mut self, directory: u32) -> Result<Extents, Error> {
        if directory == 0
            && let Root::Fixed { sector, sectors } = self.geometry.root
        {
            return Ok(Extents(Vec::from([(sector, sectors)])));
        }
        let first = if directory == 0 { self.root() } else { directory };
        let chain = self.directory_chain(first).await?;
        let per_cluster = u64::from(self.geometry.sectors_per_cluster);
        let extent = |run: &ClusterRun| (self.geometry.cluster_sector(run.first), u64::from(run.count) * per_cluster);
        Ok(Extents(chain.iter().map(extent).collect()))
    }

    /// A sector's records.
    async fn records(&mut self, sector: u64) -> Result<[Record; RECORDS_PER_SECTOR as usize], Error> {
        let bytes = self.cache.sector(sector, Class::Directory).await?;
        let mut records = [[0; RECORD_SIZE]; RECORDS_PER_SECTOR as usize];
        for (record, bytes) in records.iter_mut().zip(bytes.chunks_exact(RECORD_SIZE)) {
            record.copy_from_slice(bytes);
        }
        Ok(records)
    }

    /// Asks for a folder's sectors in large transfers, if its first is not there yet.
    async fn prefetch_directory(&mut self, extents: &Extents) -> Result<(), Error> {
        if extents.0.first().is_some_and(|(first, _)| !self.cache.has(*first)) {
            // The end of a folder is often far before the end of its sectors: not too much at a time.
            let some: Vec<_> = extents.0.iter().take(8).map(|(first, count)| (*first, (*count).min(64))).collect();
            self.cache.prefetch(&some).await?;
        }
        Ok(())
    }

    pub(crate) fn is_wide(&self) -> bool {
        matches!(self.geometry.root, Root::Cluster(_))
    }

    /// Finds a name.
    pub(crate) async fn find(&mut self, directory: u32, name: &str) -> Result<Option<Entry>, Error> {
        let name = FoldedName::new(name);
        let mut cursor = 0;
        self.next_entry(directory, &mut cursor, |seen| seen.matches(&name)).await
    }

    /// The next file or folder from slot `*cursor` on that is wanted; moves the cursor behind it.
    pub(crate) async fn next_entry(
        &mut self,
        directory: u32,
        cursor: &mut u32,
        wanted: impl Fn(&crate::record::SeenEntry<'_>) -> bool,
    ) -> Result<Option<Entry>, Error> {
        let extents = self.extents(directory).await?;
        self.prefetch_directory(&extents).await?;
        self.next_entry_in(&extents, cursor, wanted).await
    }

    /// [`next_entry`](Self::next_entry) in sectors that are known already.
    pub(crate) async fn next_entry_in(
        &mut self,
        extents: &Extents,
        cursor: &mut u32,
        wanted: impl Fn(&crate::record::SeenEntry<'_>) -> bool,
    ) -> Result<Option<Entry>, Error> {
        let wide = self.is_wide();
        let mut scanner = Scanner::new();
        let skip = *cursor / RECORDS_PER_SECTOR;
        for (index, sector) in (skip..).zip(extents.sectors().skip(skip as usize)) {
            let records = self.records(sector).await?;
            for (slot, record) in (index * RECORDS_PER_SECTOR..).zip(&records) {
                if slot < *cursor {
                    continue;
                }
                match scanner.feed(slot, record) {
                    Seen::End => {
                        *cursor = slot;
                        return Ok(None);
                    }
                    Seen::Entry(seen) if !seen.is_dot() && wanted(&seen) => {
                        *cursor = slot + 1;
                        return Ok(Some(Entry {
                            name: seen.name(),
                            data: RecordData::read(record, wide),
                            slots: seen.first_slot..slot + 1,
                            location: Location { sector, offset: (slot % RECORDS_PER_SECTOR) as usize * RECORD_SIZE },
                            record: *record,
                        }));
                    }
                    _ => {}
                }
            }
        }
        *cursor = extents.slots();
        Ok(None)
    }

    /// Slots of long-name records that belong to no short record.
    pub(crate) async fn orphaned_slots(&mut self, extents: &Extents) -> Result<Vec<u32>, Error> {
        let mut scanner = Scanner::new();
        let (mut orphans, mut parts) = (Vec::new(), Vec::new());
        'folder: for (index, sector) in (0..).zip(extents.sectors()) {
            let records = self.records(sector).await?;
            for (slot, record) in (index * RECORDS_PER_SECTOR..).zip(&records) {
                match scanner.feed(slot, record) {
                    Seen::End => break 'folder,
                    Seen::LongName => parts.push(slot),
                    Seen::Entry(seen) => {
                        parts.retain(|part| *part < seen.first_slot);
                        orphans.append(&mut parts);
                    }
                    Seen::Free | Seen::Label => orphans.append(&mut parts),
                }
            }
        }
        orphans.append(&mut parts);
        Ok(orphans)
    }

    /// Looks for a new name's place. `replacing` are slots that count as free, in the only page that will do.
    async fn survey(
        &mut self,
        directory: u32,
        name: &NewName,
        shown: &str,
        replacing: Option<(&Range<u32>, u64)>,
    ) -> Result<Survey, Error> {
        let extents = self.extents(directory).await?;
        let folded = FoldedName::new(shown);
        let wide = self.is_wide();
        let mut finder = PlaceFinder {
            needed: records_needed(name),
            only_page: replacing.map(|(_, page)| page),
            page: u64::MAX,
            in_page: 0,
            anywhere: 0,
            place: None,
            scattered: None,
        };
        let ours = |slot: u32| replacing.is_some_and(|(slots, _)| slots.contains(&slot));
        let mut scanner = Scanner::new();
        let (mut taken, mut existing, mut end) = (Vec::new(), None, None);
        for (index, sector) in (0..).zip(extents.sectors()) {
            let page = sector / PAGE_SECTORS as u64;
            if end.is_some() && (finder.place.is_some() || finder.only_page.is_some_and(|only| only != page)) {
                break;
            }
            let records = match end {
                None => self.records(sector).await?,
                Some(_) => [[END; RECORD_SIZE]; RECORDS_PER_SECTOR as usize],
            };
            for (slot, record) in (index * RECORDS_PER_SECTOR..).zip(&records) {
                let seen = match end {
                    Some(_) => Seen::End,
                    None => scanner.feed(slot, record),
                };
                let free = matches!(seen, Seen::End | Seen::Free) || ours(slot);
                finder.feed(slot, page, free);
                match seen {
                    Seen::End => {
                        end.get_or_insert(slot);
                    }
                    Seen::Entry(seen) if !ours(slot) => {
                        if name.concerns(&seen.short) {
                            taken.push(seen.short);
                        }
                        if !seen.is_dot() && seen.matches(&folded) {
                            existing = Some(Entry {
                                name: seen.name(),
                                data: RecordData::read(record, wide),
                                slots: seen.first_slot..slot + 1,
                                location: Location {
                                    sector,
                                    offset: (slot % RECORDS_PER_SECTOR) as usize * RECORD_SIZE,
                                },
                                record: *record,
                            });
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(Survey {
            end: end.unwrap_or_else(|| extents.slots()),
            extents,
            existing,
            short: name.short_name(&taken),
            place: finder.place,
            scattered: finder.scattered,
        })
    }

    /// Adds a name to a folder. The caller has checked that nothing has it.
    pub(crate) async fn insert(&mut self, directory: u32, shown: &str, data: &RecordData) -> Result<Location, Error> {
        let name = NewName::new(shown)?;
        let needed = records_needed(&name);
        for attempt in 0..4 {
            let survey = self.survey(directory, &name, shown, None).await?;
            if survey.existing.is_some() {
                return Err(Error::AlreadyExists { path: shown.into() });
            }
            let Some(short) = survey.short else {
                return Err(Error::DirectoryTooLarge { path: shown.into() });
            };
            let fixed = directory == 0 && !self.is_wide();
            let place = match survey.place {
                Some(place) => Some(place),
                None if fixed || attempt == 3 => survey.scattered,
                None => None,
            };
            if let Some(place) = place {
                let records = new_records(&name, &short, data);
                self.terminate(&survey.extents, survey.end, place).await?;
                self.use_up(&survey.extents, survey.end..place).await?;
                self.terminate(&survey.extents, survey.end, place + needed).await?;
                self.write_records(&survey.extents, place, &records, None).await?;
                let last = place + needed - 1;
                return survey.extents.location(last).ok_or(Error::RootDirectoryFull);
            }
            if fixed {
                return Err(Error::RootDirectoryFull);
            }
            self.use_up(&survey.extents, survey.end..survey.extents.slots()).await?;
            self.extend_directory(directory, shown).await?;
        }
        Err(Error::DirectoryTooLarge { path: shown.into() })
    }

    /// Marks slots that were never used as deleted, so that readers go on behind them; on the disk, too, before
    /// anything is stored behind them.
    async fn use_up(&mut self, extents: &Extents, slots: Range<u32>) -> Result<(), Error> {
        if slots.is_empty() {
            return Ok(());
        }
        for slot in slots {
            self.mark_deleted(extents, slot).await?;
        }
        self.cache.write_back_all().await?;
        Ok(())
    }

    /// Makes sure that the slot after new records at the folder's end says that the folder ends there: some systems
    /// leave garbage behind the end.
    async fn terminate(&mut self, extents: &Extents, end: u32, next: u32) -> Result<(), Error> {
        let Some(location) = extents.location(next).filter(|_| next > end) else {
            return Ok(());
        };
        let sector = self.cache.sector(location.sector, Class::Directory).await?;
        if sector[location.offset] != END {
            self.cache.edit(location.sector, Class::Directory).await?[location.offset] = END;
            self.cache.write_back_all().await?;
        }
        Ok(())
    }

    async fn mark_deleted(&mut self, extents: &Extents, slot: u32) -> Result<(), Error> {
        if let Some(location) = extents.location(slot) {
            let bytes = self.cache.edit(location.sector, Class::Directory).await?;
            bytes[location.offset] = DELETED;
        }
        Ok(())
    }

    /// Stores records from slot `place` on, and deletes those in `old`: in one step if one page has them all.
    async fn write_records(
        &mut self,
        extents: &Extents,
        place: u32,
        records: &[Record],
        old: Option<&Range<u32>>,
    ) -> Result<(), Error> {
        let new = place..place + records.len() as u32;
        let page = match old {
            Some(old) if new.is_empty() => extents.common_page(old.clone()),
            _ => extents.common_page(new.clone()),
        };
        let same = old.is_none_or(|old| extents.common_page(old.clone()) == page);
        let Some(page) = page.filter(|_| same) else {
            for (slot, record) in new.zip(records) {
                if let Some(location) = extents.location(slot) {
                    let bytes = self.cache.edit(location.sector, Class::Directory).await?;
                    bytes[location.offset..location.offset + RECORD_SIZE].copy_from_slice(record);
                }
            }
            for slot in old.into_iter().flat_map(Clone::clone) {
                self.mark_deleted(extents, slot).await?;
            }
            return Ok(());
        };
        let place_in_page =
            |location: Location| (location.sector % PAGE_SECTORS as u64) as usize * SECTOR_SIZE + location.offset;
        let mut changes: Vec<(usize, Option<&Record>)> = Vec::new();
        for slot in old.into_iter().flat_map(Clone::clone) {
            changes.extend(extents.location(slot).map(|location| (place_in_page(location), None)));
        }
        for (slot, record) in new.zip(records) {
            let location = extents.location(slot);
            changes.extend(location.map(|location| (place_in_page(location), Some(record))));
        }
        let wanted = changes.iter().fold(0u8, |mask, (at, _)| mask | 1 << (at / SECTOR_SIZE));
        let bytes = self.cache.edit_page(page, wanted, Class::Directory).await?;
        debug_assert_eq!(bytes.len(), PAGE_SIZE);
        for (at, record) in changes {
            match record {
                Some(record) => bytes[at..at + RECORD_SIZE].copy_from_slice(record),
                None => bytes[at] = DELETED,
            }
        }
        Ok(())
    }

    /// Removes a name's records from its folder.
    pub(crate) async fn remove_records(&mut self, directory: u32, slots: &Range<u32>) -> Result<(), Error> {
        let extents = self.extents(directory).await?;
        self.write_records(&extents, slots.start, &[], Some(slots)).await
    }

    /// Stores another short record in place of an entry's, and deletes the slots in `old` in the same step.
    pub(crate) async fn replace_record(
        &mut self,
        directory: u32,
        entry: &Entry,
        record: &Record,
        old: Option<&Range<u32>>,
    ) -> Result<(), Error> {
        let extents = self.extents(directory).await?;
        self.write_records(&extents, entry.slots.end - 1, &[*record], old).await
    }

    /// Removes long-name records that belong to nothing.
    pub(crate) async fn remove_slots(&mut self, extents: &Extents, slots: &[u32]) -> Result<(), Error> {
        for slot in slots {
            self.mark_deleted(extents, *slot).await?;
        }
        Ok(())
    }

    /// Gives an entry another name within its page of its folder, in one step. `None` if there is no room for that.
    pub(crate) async fn rename_in_page(
        &mut self,
        directory: u32,
        entry: &Entry,
        shown: &str,
    ) -> Result<Option<Location>, Error> {
        let name = NewName::new(shown)?;
        let extents = self.extents(directory).await?;
        let Some(page) = extents.common_page(entry.slots.clone()) else {
            return Ok(None);
        };
        let survey = self.survey(directory, &name, shown, Some((&entry.slots, page))).await?;
        if survey.existing.is_some() {
            return Err(Error::AlreadyExists { path: shown.into() });
        }
        let (Some(place), Some(short)) = (survey.place, survey.short) else {
            return Ok(None);
        };
        let records = new_records(&name, &short, &entry.data);
        self.terminate(&survey.extents, survey.end, place + records.len() as u32).await?;
        self.write_records(&survey.extents, place, &records, Some(&entry.slots)).await?;
        Ok(survey.extents.location(place + records.len() as u32 - 1))
    }

    /// Appends a cluster of unused slots to a folder.
    async fn extend_directory(&mut self, directory: u32, shown: &str) -> Result<(), Error> {
        let first = if directory == 0 { self.root() } else { directory };
        let chain = self.directory_chain(first).await?;
        let clusters: u32 = chain.iter().map(|run| run.count).sum();
        let bytes = u64::from(clusters + 1) * u64::from(self.geometry.cluster_bytes());
        if bytes > MAX_DIRECTORY_BYTES {
            return Err(Error::DirectoryTooLarge { path: shown.into() });
        }
        let last = chain.last().map(|run| run.first + run.count - 1);
        // The link to the new cluster may reach the disk at any time after it is made, so the zeros must be there.
        let fresh = self.allocate(None, 1).await?;
        self.clear_cluster(fresh.first).await?;
        self.cache.write_back(Class::Data, |_| true).await?;
        match last {
            Some(last) => self.append_chain(last, fresh.first).await,
            None => Err(Damage::NoDotRecords { first }.into()),
        }
    }

    /// Fills a cluster with zeros, as data.
    pub(crate) async fn clear_cluster(&mut self, cluster: u32) -> Result<(), Error> {
        let start = self.geometry.cluster_sector(cluster);
        let end = start + u64::from(self.geometry.sectors_per_cluster);
        let mut sector = start;
        while sector < end {
            let page_end = (sector / PAGE_SECTORS as u64 + 1) * PAGE_SECTORS as u64;
            let count = page_end.min(end) - sector;
            self.cache.replace(sector, count as usize, Class::Data).await?;
            sector += count;
        }
        Ok(())
    }
}
