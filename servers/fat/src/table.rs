//! The file allocation table: following, extending and freeing chains of clusters.
//!
//! What keeps a crash harmless here:
//! * An entry never refers to a cluster whose own entry, if it lies in another page of the FAT, is not yet on the
//!   disk. So any page of the FAT may be written at any time.
//! * A cluster becomes free in the cache only when no directory record on the disk refers to it any more
//!   ([`Mounted::pending`](crate::mounted::Mounted)), so that it cannot be given away too early.

use crate::boot::FatKind;
use crate::cache::Class;
use crate::device::{BlockDevice, PAGE_SECTORS, SECTOR_SIZE};
use crate::error::{Damage, Error};
use crate::mounted::Mounted;
use alloc::vec::Vec;

/// Ends a chain, in the 28 bits that all three kinds are widened to.
const END: u32 = 0x0fff_ffff;
/// This and above end a chain.
const FIRST_END: u32 = 0x0fff_fff8;
/// Marks a cluster that the disk cannot store in.
pub(crate) const BAD: u32 = 0x0fff_fff7;

/// Sectors of the FAT that are read at a time.
const TABLE_AHEAD: u64 = 64;

/// Bytes that a folder may have: 65,536 records of 32 bytes.
pub(crate) const MAX_DIRECTORY_BYTES: u64 = 65_536 * 32;

/// Consecutive clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClusterRun {
    pub(crate) first: u32,
    pub(crate) count: u32,
}

/// Where a chain goes from a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Next(u32),
    End,
}

/// Notices when a walk along a chain runs in a circle (Brent's algorithm: constant memory, linear time).
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoopDetector {
    first: u32,
    mark: u32,
    steps: u32,
    power: u32,
}

impl LoopDetector {
    pub(crate) fn new(first: u32) -> Self {
        Self { first, mark: first, steps: 0, power: 1 }
    }

    /// Takes the next cluster of the walk.
    pub(crate) fn step(&mut self, cluster: u32) -> Result<(), Damage> {
        if cluster == self.mark {
            return Err(Damage::Loop { first: self.first });
        }
        self.steps += 1;
        if self.steps == self.power {
            self.mark = cluster;
            self.power = self.power.saturating_mul(2);
            self.steps = 0;
        }
        Ok(())
    }
}

/// Adds a cluster to the end of a list of runs.
pub(crate) fn push_cluster(runs: &mut Vec<ClusterRun>, cluster: u32) {
    match runs.last_mut() {
        Some(last) if last.first + last.count == cluster => last.count += 1,
        _ => runs.push(ClusterRun { first: cluster, count: 1 }),
    }
}

impl<D: BlockDevice> Mounted<D> {
    /// Offset of a cluster's entry from the start of the FAT.
    fn entry_offset(&self, cluster: u32) -> u64 {
        let cluster = u64::from(cluster);
        match self.geometry.kind {
            FatKind::Fat12 => cluster + cluster / 2,
            FatKind::Fat16 => cluster * 2,
            FatKind::Fat32 => cluster * 4,
        }
    }

    fn entry_sector(&self, cluster: u32) -> u64 {
        self.geometry.table + self.entry_offset(cluster) / SECTOR_SIZE as u64
    }

    /// Which page of the disk the entry starts in.
    fn entry_page(&self, cluster: u32) -> u64 {
        self.entry_sector(cluster) / PAGE_SECTORS as u64
    }

    /// Whether the entry (of a FAT12) lies in two pages, so that it cannot be written as a whole.
    fn entry_straddles(&self, cluster: u32) -> bool {
        let last = self.geometry.table + (self.entry_offset(cluster) + 1) / SECTOR_SIZE as u64;
        self.geometry.kind == FatKind::Fat12 && last / PAGE_SECTORS as u64 != self.entry_page(cluster)
    }

    /// Reads a piece of the FAT around a sector that is not in the cache: whoever asks for one entry asks for more.
    async fn read_table_ahead(&mut self, sector: u64) -> Result<(), Error> {
        if !self.cache.has(sector) {
            let end = self.geometry.table + self.geometry.table_sectors;
            self.cache.prefetch(&[(sector, end.saturating_sub(sector).min(TABLE_AHEAD))]).await?;
        }
        Ok(())
    }

    /// A cluster's entry, widened to 28 bits.
    pub(crate) async fn table_entry(&mut self, cluster: u32) -> Result<u32, Error> {
        let offset = self.entry_offset(cluster);
        let (sector, at) = (self.entry_sector(cluster), (offset % SECTOR_SIZE as u64) as usize);
        let kind = self.geometry.kind;
        self.read_table_ahead(sector).await?;
        let bytes = self.cache.sector(sector, Class::Table).await?;
        Ok(match kind {
            FatKind::Fat32 => crate::boot::le32(bytes, at) & END,
            FatKind::Fat16 => match u32::from(crate::boot::le16(bytes, at)) {
                special @ 0xfff7.. => special | 0x0fff_0000,
                value => value,
            },
            FatKind::Fat12 => {
                let low = u32::from(bytes[at]);
                let high = if at + 1 < SECTOR_SIZE {
                    u32::from(bytes[at + 1])
                } else {
                    u32::from(self.cache.sector(sector + 1, Class::Table).await?[0])
                };
                let both = low | high << 8;
                let value = if cluster.is_multiple_of(2) { both & 0xfff } else { both >> 4 };
                match value {
                    special @ 0xff7.. => special | 0x0fff_f000,
                    value => value,
                }
            }
        })
    }

    /// Sets a cluster's entry in every copy of the FAT.
    async fn set_table_entry(&mut self, cluster: u32, value: u32) -> Result<(), Error> {
        let offset = self.entry_offset(cluster);
        let within = offset / SECTOR_SIZE as u64;
        let at = (offset % SECTOR_SIZE as u64) as usize;
        let kind = self.geometry.kind;
        let copies = self.geometry.mirrors.into_iter().flatten();
        for table in core::iter::once(self.geometry.table).chain(copies) {
            let sector = table + within;
            match kind {
                FatKind::Fat32 => {
                    let bytes = self.cache.edit(sector, Class::Table).await?;
                    let reserved = crate::boot::le32(bytes, at) & !END;
                    bytes[at..at + 4].copy_from_slice(&(value & END | reserved).to_le_bytes());
                }
                FatKind::Fat16 => {
                    let bytes = self.cache.edit(sector, Class::Table).await?;
                    bytes[at..at + 2].copy_from_slice(&(value as u16).to_le_bytes());
                }
                FatKind::Fat12 => {
                    let (keep, value) = match cluster % 2 {
                        0 => (0xf000u16, value as u16 & 0xfff),
                        _ => (0x000f, (value as u16) << 4),
                    };
                    let merge = |low: u8, high: u8| (u16::from_le_bytes([low, high]) & keep | value).to_le_bytes();
                    let crosses = at + 1 == SECTOR_SIZE;
                    if crosses && (sector + 1).is_multiple_of(PAGE_SECTORS as u64) {
                        let high = self.cache.sector(sector + 1, Class::Table).await?[0];
                        let first = self.cache.edit(sector, Class::Table).await?;
                        let [low, high] = merge(first[at], high);
                        first[at] = low;
                        self.cache.edit(sector + 1, Class::Table).await?[0] = high;
                    } else {
                        let place = (sector % PAGE_SECTORS as u64) as usize;
                        let wanted = (1 | u8::from(crosses) << 1) << place;
                        let page = sector / PAGE_SECTORS as u64;
                        let bytes = self.cache.edit_page(page, wanted, Class::Table).await?;
                        let at = place * SECTOR_SIZE + at;
                        let merged = merge(bytes[at], bytes[at + 1]);
                        bytes[at..at + 2].copy_from_slice(&merged);
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes the pages with this cluster's entry now, in every copy of the FAT.
    async fn write_entry_page(&mut self, cluster: u32) -> Result<(), Error> {
        let within = self.entry_offset(cluster) / SECTOR_SIZE as u64;
        let copies = self.geometry.mirrors.into_iter().flatten();
        for table in core::iter::once(self.geometry.table).chain(copies) {
            self.cache.write_page_of(table + within, Class::Table).await?;
        }
        Ok(())
    }

    /// Where a chain goes from `cluster`, which must be a cluster of the volume.
    pub(crate) async fn follow(&mut self, cluster: u32) -> Result<Link, Error> {
        let value = self.table_entry(cluster).await?;
        match value {
            FIRST_END.. => Ok(Link::End),
            BAD => Err(Damage::Bad { cluster }.into()),
            0 => Err(Damage::Free { cluster }.into()),
            next if self.geometry.is_cluster(next) => Ok(Link::Next(next)),
            value => Err(Damage::OutOfRange { after: cluster, value }.into()),
        }
    }

    /// Refuses a first cluster that the volume does not have.
    pub(crate) fn check_first(&self, first: u32) -> Result<(), Error> {
        if self.geometry.is_cluster(first) { Ok(()) } else { Err(Damage::OutOfRange { after: 0, value: first }.into()) }
    }

    /// All clusters of a chain. `first` = 0 is the empty chain.
    pub(crate) async fn chain(&mut self, first: u32) -> Result<Vec<ClusterRun>, Error> {
        let mut runs = Vec::new();
        if first == 0 {
            return Ok(runs);
        }
        self.check_first(first)?;
        let mut detector = LoopDetector::new(first);
        let mut cluster = first;
        loop {
            // Most clusters are followed by the next one: those are looked up together.
            let count = self.neighbours(cluster).await?;
            for follower in cluster + 1..cluster + count {
                push_cluster(&mut runs, follower - 1);
                detector.step(follower)?;
            }
            cluster += count - 1;
            push_cluster(&mut runs, cluster);
            match self.follow(cluster).await? {
                Link::Next(next) => {
                    detector.step(next)?;
                    cluster = next;
                }
                Link::End => return Ok(runs),
            }
        }
    }

    /// How many clusters from this one on are each followed by the next one on the disk, the last of them included: as far as
    /// one sector of the FAT tells.
    async fn neighbours(&mut self, cluster: u32) -> Result<u32, Error> {
        if self.geometry.kind != FatKind::Fat32 {
            return Ok(1);
        }
        let at = (self.entry_offset(cluster) % SECTOR_SIZE as u64) as usize;
        let sector = self.entry_sector(cluster);
        self.read_table_ahead(sector).await?;
        let entries = self.cache.sector(sector, Class::Table).await?[at..].chunks_exact(4);
        let last = self.geometry.last_cluster();
        let followers = (cluster + 1..=last).zip(entries.clone().skip(1).zip(entries));
        let together = followers.take_while(|(next, (_, entry))| crate::boot::le32(entry, 0) & END == *next);
        Ok(1 + together.count() as u32)
    }

    /// The chain of a folder, which may not be longer than a folder can be.
    pub(crate) async fn directory_chain(&mut self, first: u32) -> Result<Vec<ClusterRun>, Error> {
        self.check_first(first)?;
        let most = (MAX_DIRECTORY_BYTES / u64::from(self.geometry.cluster_bytes())).max(1);
        let mut runs = Vec::new();
        let mut detector = LoopDetector::new(first);
        let mut cluster = first;
        for _ in 0..most {
            push_cluster(&mut runs, cluster);
            match self.follow(cluster).await? {
                Link::Next(next) => {
                    detector.step(next)?;
                    cluster = next;
                }
                Link::End => return Ok(runs),
            }
        }
        Err(Damage::DirectoryTooLong { first }.into())
    }

    /// Free clusters, counting those that wait to be freed; counts them by reading the FAT if nobody knows.
    pub(crate) async fn free_clusters(&mut self) -> Result<u32, Error> {
        if let Some(free) = self.free {
            return Ok(free);
        }
        let mut free = 0;
        let mut cluster = 2;
        while cluster <= self.geometry.last_cluster() {
            free += self.scan_entries(&mut cluster, |value| value == 0, false).await?;
        }
        let waiting: u32 = self.pending.iter().map(|run| run.count).sum();
        self.free = Some(free + waiting);
        Ok(free + waiting)
    }

    /// Looks at entries from `*cluster` to the end of their page (or of the FAT) and counts those that match; moves
    /// `*cluster` on. With `stop`, ends at the first match, on it.
    async fn scan_entries(
        &mut self,
        cluster: &mut u32,
        matches: impl Fn(u32) -> bool,
        stop: bool,
    ) -> Result<u32, Error> {
        let last = self.geometry.last_cluster();
        let width = match self.geometry.kind {
            FatKind::Fat12 => {
                let value = self.table_entry(*cluster).await?;
                let found = matches(value);
                if !(stop && found) {
                    *cluster += 1;
                }
                return Ok(u32::from(found));
            }
            FatKind::Fat16 => 2,
            FatKind::Fat32 => 4,
        };
        let (sector, offset) = (self.entry_sector(*cluster), self.entry_offset(*cluster));
        self.read_table_ahead(sector).await?;
        let bytes = self.cache.sectors(sector, PAGE_SECTORS, Class::Table).await?;
        let from = (offset % SECTOR_SIZE as u64) as usize;
        let mut found = 0;
        for entry in bytes[from..].chunks_exact(width) {
            if *cluster > last {
                break;
            }
            let value = match *entry {
                [a, b] => u32::from(u16::from_le_bytes([a, b])),
                [a, b, c, d] => u32::from_le_bytes([a, b, c, d]) & END,
                _ => END,
            };
            if matches(value) {
                found += 1;
                if stop {
                    break;
                }
            }
            *cluster += 1;
        }
        Ok(found)
    }

    /// The first free cluster at or after `from`, going round once.
    async fn find_free(&mut self, from: u32) -> Result<Option<u32>, Error> {
        let last = self.geometry.last_cluster();
        let from = if self.geometry.is_cluster(from) { from } else { 2 };
        // An entry that cannot be written as a whole is taken only when there is no other.
        for straddling in [false, true] {
            if straddling && self.geometry.kind != FatKind::Fat12 {
                break;
            }
            for (start, end) in [(from, last), (2, from - 1)] {
                let mut cluster = start;
                while cluster <= end {
                    let found = self.scan_entries(&mut cluster, |value| value == 0, true).await?;
                    if found == 0 {
                        continue;
                    }
                    if cluster <= end && self.entry_straddles(cluster) == straddling {
                        return Ok(Some(cluster));
                    }
                    cluster += 1;
                }
            }
        }
        Ok(None)
    }

    /// Takes up to `want` consecutive free clusters and appends them to the chain that ends in `after`.
    ///
    /// The new clusters' contents are whatever the disk has there.
    pub(crate) async fn allocate(&mut self, after: Option<u32>, want: u32) -> Result<ClusterRun, Error> {
        let hint = after.map_or(self.search, |last| last + 1);
        let first = match self.find_free(hint).await? {
            Some(first) => first,
            None if !self.pending.is_empty() => {
                self.commit().await?;
                self.find_free(hint).await?.ok_or(Error::NoSpace)?
            }
            None => {
                self.free = Some(0);
                return Err(Error::NoSpace);
            }
        };
        let page = self.entry_page(first);
        let mut count = 1;
        while count < want {
            let next = first + count;
            if !self.geometry.is_cluster(next)
                || self.entry_page(next) != page
                || self.entry_straddles(next)
                || self.table_entry(next).await? != 0
            {
                break;
            }
            count += 1;
        }
        for cluster in first..first + count {
            let value = if cluster + 1 == first + count { END } else { cluster + 1 };
            self.set_table_entry(cluster, value).await?;
        }
        if let Some(last) = after {
            self.append_chain(last, first).await?;
        }
        self.search = first + count;
        self.free = self.free.map(|free| free.saturating_sub(count));
        Ok(ClusterRun { first, count })
    }

    /// Lets the chain that ends in `last` go on in `first`, whose own entry is set already.
    pub(crate) async fn append_chain(&mut self, last: u32, first: u32) -> Result<(), Error> {
        if self.entry_straddles(first) {
            self.cache.write_back(Class::Table, |_| true).await?;
        } else if self.entry_page(last) != self.entry_page(first) {
            self.write_entry_page(first).await?;
        }
        self.set_table_entry(last, first).await
    }

    /// Makes `last` the end of its chain, on the disk too. What came after it is the caller's to free.
    pub(crate) async fn cut_after(&mut self, last: u32) -> Result<(), Error> {
        self.set_table_entry(last, END).await?;
        self.write_entry_page(last).await
    }

    /// Marks clusters free in the cache. Only when no record on the disk refers to them any more.
    pub(crate) async fn mark_free(&mut self, run: ClusterRun) -> Result<(), Error> {
        for cluster in run.first..run.first + run.count {
            self.set_table_entry(cluster, 0).await?;
        }
        Ok(())
    }

    /// Frees the clusters of a file that has lost its directory record in the cache: now for the free count, on the
    /// disk after the record is gone there.
    pub(crate) fn release(&mut self, runs: &[ClusterRun]) {
        for run in runs {
            let sectors = u64::from(run.count) * u64::from(self.geometry.sectors_per_cluster);
            self.cache.forget(self.geometry.cluster_sector(run.first), sectors);
            self.free = self.free.map(|free| free + run.count);
        }
        self.pending.extend_from_slice(runs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_in_a_circle_is_noticed_and_a_straight_one_is_not() {
        let mut straight = LoopDetector::new(2);
        assert!((3..10_000).all(|cluster| straight.step(cluster).is_ok()));
        // 2, 3, .., 9, then 5, 6, .., 9 for ever.
        let mut circle = LoopDetector::new(2);
        let walk = (3..10).chain((5..10).cycle());
        let seen = walk.take(100).position(|cluster| circle.step(cluster).is_err());
        assert!(seen.is_some_and(|steps| steps < 40), "{seen:?}");
        assert_eq!(LoopDetector::new(7).step(7), Err(Damage::Loop { first: 7 }));
    }

    #[test]
    fn neighbouring_clusters_become_one_run() {
        let mut runs = Vec::new();
        for cluster in [5, 6, 7, 3, 4, 9] {
            push_cluster(&mut runs, cluster);
        }
        let shape: Vec<(u32, u32)> = runs.iter().map(|run| (run.first, run.count)).collect();
        assert_eq!(shape, [(5, 3), (3, 2), (9, 1)]);
    }
}
