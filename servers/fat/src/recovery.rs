//! Repairing, at the next mount, what a crash left behind: exactly that, and nothing else.
//!
//! Looks at everything first. Damage of a kind that our order of writing cannot cause is left alone, for `fsck.fat`
//! and the owner of the disk to decide about; then nothing at all is changed.

use crate::cache::Class;
use crate::device::{BlockDevice, SECTOR_SIZE};
use crate::directory::{Entry, Extents};
use crate::error::{Damage, Error};
use crate::mounted::Mounted;
use crate::record::set_first_cluster;
use crate::table::{BAD, Link};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// Doubled names that interrupted moves can leave; more is damage of another kind.
const MOST_DOUBLES: usize = 4;

/// What a repair has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repair {
    /// Clusters that nothing referred to, now free.
    pub lost_clusters: u32,
    /// Chains that were longer than their files, now cut.
    pub chains_cut: u32,
    /// Files that had two names after an interrupted move: each name now has a file of its own.
    pub files_copied: u32,
    /// Folders that had two names after an interrupted move: the one that their `..` contradicts is gone.
    pub folders_settled: u32,
    /// Records of long names that belonged to nothing, now removed.
    pub name_parts_removed: u32,
    /// Sectors in which a copy of the FAT differed, now equal.
    pub table_sectors_copied: u64,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = [
            (u64::from(self.lost_clusters), "lost clusters freed"),
            (u64::from(self.chains_cut), "chains cut to their files' length"),
            (u64::from(self.files_copied), "files with two names parted"),
            (u64::from(self.folders_settled), "folders with two names settled"),
            (u64::from(self.name_parts_removed), "stray parts of long names removed"),
            (self.table_sectors_copied, "sectors of the FAT made equal to their copy"),
        ];
        let mut any = false;
        for (count, what) in done.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{}{count} {what}", if any { ", " } else { "" })?;
            any = true;
        }
        if any { Ok(()) } else { f.write_str("nothing had to be repaired") }
    }
}

/// A set of clusters.
struct ClusterSet(Vec<u8>);

impl ClusterSet {
    /// Adds a cluster; says whether it was new.
    fn insert(&mut self, cluster: u32) -> bool {
        let (byte, bit) = (cluster as usize / 8, 1 << (cluster % 8));
        match self.0.get_mut(byte) {
            Some(byte) => {
                let new = *byte & bit == 0;
                *byte |= bit;
                new
            }
            None => false,
        }
    }

    fn contains(&self, cluster: u32) -> bool {
        self.0.get(cluster as usize / 8).is_some_and(|byte| byte & 1 << (cluster % 8) != 0)
    }
}

/// A walk over every folder, breadth last, each entry once.
struct TreeWalk {
    /// Folders to visit, with their paths.
    waiting: Vec<(u32, String)>,
    current: Option<(u32, String, Extents, u32)>,
}

/// What the walk comes across.
enum Step {
    /// A folder begins.
    Folder { extents: Extents },
    /// An entry of the current folder.
    Entry { directory: u32, path: String, entry: Entry },
}

impl TreeWalk {
    fn new(root: u32) -> Self {
        Self { waiting: vec![(root, String::new())], current: None }
    }

    fn visit(&mut self, directory: u32, path: String) {
        self.waiting.push((directory, path));
    }

    async fn next<D: BlockDevice>(&mut self, volume: &mut Mounted<D>) -> Result<Option<Step>, Error> {
        loop {
            let Some((directory, path, extents, cursor)) = &mut self.current else {
                let Some((directory, path)) = self.waiting.pop() else {
                    return Ok(None);
                };
                let named = if path.is_empty() { "/" } else { &path };
                let extents = volume.extents(directory).await.map_err(|error| error.about(named))?;
                self.current = Some((directory, path.clone(), extents.clone(), 0));
                return Ok(Some(Step::Folder { extents }));
            };
            match volume.next_entry_in(extents, cursor, |_| true).await? {
                Some(entry) => {
                    let path = format!("{path}/{}", entry.name);
                    return Ok(Some(Step::Entry { directory: *directory, path, entry }));
                }
                None => self.current = None,
            }
        }
    }
}

/// A second record for a file or folder that another record refers to as well.
struct Double {
    directory: u32,
    entry: Entry,
    path: String,
}

/// What has to be repaired.
struct Findings {
    used: ClusterSet,
    /// Last clusters of files whose chains go on.
    cuts: Vec<u32>,
    doubles: Vec<Double>,
    orphans: Vec<(Extents, Vec<u32>)>,
    /// Folders whose `..` is wrong, with the right parent.
    parents: Vec<(u32, u32)>,
    /// Empty files that have clusters.
    empties: Vec<Entry>,
}

impl<D: BlockDevice> Mounted<D> {
    /// Bytes that a repair needs for its set of clusters.
    pub(crate) fn repair_memory(&self) -> usize {
        self.geometry.clusters as usize / 8 + 2
    }

    /// Repairs what a crash of ours can have left; refuses, without having changed anything, if there is more.
    pub(crate) async fn repair(&mut self) -> Result<Repair, Error> {
        let findings = self.examine().await?;
        let settled = self.settle_doubles(&findings).await?;
        self.begin_change().await?;
        let mut repair = Repair {
            chains_cut: findings.cuts.len() as u32,
            name_parts_removed: findings.orphans.iter().map(|(_, slots)| slots.len() as u32).sum(),
            ..Repair::default()
        };
        for last in &findings.cuts {
            self.cut_after(*last).await?;
        }
        for (extents, slots) in &findings.orphans {
            self.remove_slots(extents, slots).await?;
        }
        for entry in &findings.empties {
            self.point_record(entry, 0).await?;
        }
        for (directory, slots) in &settled.removals {
            self.remove_records(*directory, slots).await?;
            repair.folders_settled += 1;
        }
        for (directory, parent) in findings.parents.iter().chain(&settled.parents) {
            self.set_parent(*directory, *parent).await?;
        }
        self.commit().await?;
        repair.lost_clusters = self.free_lost(&findings.used).await?;
        for entry in &settled.copies {
            self.copy_file(entry).await?;
            repair.files_copied += 1;
        }
        self.commit().await?;
        repair.table_sectors_copied = self.equalise_tables().await?;
        self.keep_mark = false;
        self.sync().await?;
        Ok(repair)
    }

    /// Looks at every record and every chain.
    async fn examine(&mut self) -> Result<Findings, Error> {
        let mut findings = Findings {
            used: ClusterSet(vec![0; self.repair_memory()]),
            cuts: Vec::new(),
            doubles: Vec::new(),
            orphans: Vec::new(),
            parents: Vec::new(),
            empties: Vec::new(),
        };
        let root = self.root();
        if root != 0 {
            for run in self.directory_chain(root).await.map_err(|error| error.about("/"))? {
                for cluster in run.first..run.first + run.count {
                    findings.used.insert(cluster);
                }
            }
        }
        let mut walk = TreeWalk::new(root);
        while let Some(step) = walk.next(self).await? {
            match step {
                Step::Folder { extents } => {
                    let orphans = self.orphaned_slots(&extents).await?;
                    if !orphans.is_empty() {
                        findings.orphans.push((extents, orphans));
                    }
                }
                Step::Entry { directory, path, entry } => {
                    let examined = if entry.is_directory() {
                        self.examine_folder(&mut findings, directory, &entry, &path).await
                    } else {
                        self.examine_file(&mut findings, directory, &entry, &path).await.map(|()| false)
                    };
                    if examined.map_err(|error| error.about(&path))? {
                        walk.visit(entry.data.first_cluster, path);
                    }
                }
            }
        }
        Ok(findings)
    }

    /// Says whether the folder is new and has to be visited.
    async fn examine_folder(
        &mut self,
        findings: &mut Findings,
        directory: u32,
        entry: &Entry,
        path: &str,
    ) -> Result<bool, Error> {
        let first = entry.data.first_cluster;
        let chain = self.directory_chain(first).await?;
        if findings.used.contains(first) {
            return self.note_double(findings, directory, entry, path).map(|()| false);
        }
        for run in chain {
            for cluster in run.first..run.first + run.count {
                if !findings.used.insert(cluster) {
                    return Err(Damage::Shared { cluster }.into());
                }
            }
        }
        if self.parent_of(first).await? != directory {
            findings.parents.push((first, directory));
        }
        Ok(true)
    }

    async fn examine_file(
        &mut self,
        findings: &mut Findings,
        directory: u32,
        entry: &Entry,
        path: &str,
    ) -> Result<(), Error> {
        let first = entry.data.first_cluster;
        let need = entry.data.size.div_ceil(self.geometry.cluster_bytes());
        if need == 0 {
            if first != 0 {
                findings.empties.push(entry.clone());
            }
            return Ok(());
        }
        self.check_first(first)?;
        if findings.used.contains(first) {
            return self.note_double(findings, directory, entry, path);
        }
        let mut cluster = first;
        for clusters in 1..=need {
            if !findings.used.insert(cluster) {
                return Err(Damage::Shared { cluster }.into());
            }
            match (self.follow(cluster).await, clusters == need) {
                (Ok(Link::Next(next)), false) => cluster = next,
                (Ok(Link::End), true) => {}
                (Ok(Link::Next(_)), true) => findings.cuts.push(cluster),
                (Ok(Link::End), false) => return Err(Damage::TooShort { first, clusters }.into()),
                (Err(error), _) => return Err(error),
            }
        }
        Ok(())
    }

    fn note_double(&self, findings: &mut Findings, directory: u32, entry: &Entry, path: &str) -> Result<(), Error> {
        if findings.doubles.len() == MOST_DOUBLES {
            return Err(Damage::Shared { cluster: entry.data.first_cluster }.into());
        }
        findings.doubles.push(Double { directory, entry: entry.clone(), path: path.into() });
        Ok(())
    }

    /// Finds the other record of everything that has two, and decides what becomes of them.
    async fn settle_doubles(&mut self, findings: &Findings) -> Result<Settlement, Error> {
        let mut settled = Settlement::default();
        if findings.doubles.is_empty() {
            return Ok(settled);
        }
        let mut found = vec![0; findings.doubles.len()];
        let mut walk = TreeWalk::new(self.root());
        while let Some(step) = walk.next(self).await? {
            let Step::Entry { directory, path, entry } = step else {
                continue;
            };
            let double = findings.doubles.iter().position(|double| {
                double.entry.data.first_cluster == entry.data.first_cluster && double.entry.location != entry.location
            });
            let is_double = findings.doubles.iter().any(|double| double.entry.location == entry.location);
            if entry.is_directory() && !is_double {
                walk.visit(entry.data.first_cluster, path);
            }
            let Some(index) = double.filter(|_| !is_double && entry.data.first_cluster != 0) else {
                continue;
            };
            found[index] += 1;
            let double = &findings.doubles[index];
            if double.entry.data.size != entry.data.size || double.entry.is_directory() != entry.is_directory() {
                continue;
            }
            if !entry.is_directory() {
                settled.copies.push(double.entry.clone());
                continue;
            }
            // The records' folders are both alive; the one that `..` names keeps its record.
            let first = entry.data.first_cluster;
            if self.parent_of(first).await? == double.directory && double.directory != directory {
                settled.removals.push((directory, entry.slots.clone()));
                settled.parents.push((first, double.directory));
            } else {
                settled.removals.push((double.directory, double.entry.slots.clone()));
            }
        }
        for (count, double) in found.iter().zip(&findings.doubles) {
            // Not two records of one file but a chain that runs into another.
            if *count != 1 || settled.copies.len() + settled.removals.len() != findings.doubles.len() {
                let damage = Damage::Shared { cluster: double.entry.data.first_cluster };
                return Err(Error::from(damage).about(&double.path));
            }
        }
        Ok(settled)
    }

    /// Lets a record refer to another first cluster.
    async fn point_record(&mut self, entry: &Entry, first: u32) -> Result<(), Error> {
        let sector = self.cache.edit(entry.location.sector, Class::Directory).await?;
        set_first_cluster(&mut sector[entry.location.offset..entry.location.offset + 32], first);
        Ok(())
    }

    /// Marks everything free that no record refers to, and counts what is free.
    async fn free_lost(&mut self, used: &ClusterSet) -> Result<u32, Error> {
        let (mut lost, mut free) = (0, 0);
        for cluster in 2..=self.geometry.last_cluster() {
            let value = self.table_entry(cluster).await?;
            if value == 0 {
                free += 1;
            } else if value != BAD && !used.contains(cluster) {
                self.mark_free(crate::table::ClusterRun { first: cluster, count: 1 }).await?;
                lost += 1;
            }
        }
        self.free = Some(free + lost);
        Ok(lost)
    }

    /// Gives a record a copy of the file's clusters, in place of those that it shares with another record.
    async fn copy_file(&mut self, entry: &Entry) -> Result<(), Error> {
        let chain = self.chain(entry.data.first_cluster).await?;
        let per_cluster = self.geometry.sectors_per_cluster;
        let (mut first, mut last) = (None, None);
        for source in chain.iter().flat_map(|run| run.first..run.first + run.count) {
            let copy = self.allocate(last, 1).await?.first;
            for index in 0..u64::from(per_cluster) {
                let mut bytes = [0; SECTOR_SIZE];
                let from = self.geometry.cluster_sector(source) + index;
                bytes.copy_from_slice(self.cache.sector(from, Class::Data).await?);
                let to = self.geometry.cluster_sector(copy) + index;
                self.cache.replace(to, 1, Class::Data).await?.copy_from_slice(&bytes);
            }
            first.get_or_insert(copy);
            last = Some(copy);
        }
        self.point_record(entry, first.unwrap_or(0)).await
    }

    /// Makes the copies of the FAT equal to the one that counts.
    async fn equalise_tables(&mut self) -> Result<u64, Error> {
        let mut copied = 0;
        for mirror in self.geometry.mirrors.into_iter().flatten() {
            for index in 0..self.geometry.table_sectors {
                let primary = self.geometry.table + index;
                if index % 256 == 0 {
                    let ahead = (self.geometry.table_sectors - index).min(256);
                    self.cache.prefetch(&[(primary, ahead), (mirror + index, ahead)]).await?;
                }
                let mut bytes = [0; SECTOR_SIZE];
                bytes.copy_from_slice(self.cache.sector(primary, Class::Table).await?);
                if self.cache.sector(mirror + index, Class::Table).await? != bytes {
                    self.cache.replace(mirror + index, 1, Class::Table).await?.copy_from_slice(&bytes);
                    copied += 1;
                }
            }
        }
        Ok(copied)
    }
}

/// What is to be done about doubled records.
#[derive(Default)]
struct Settlement {
    copies: Vec<Entry>,
    removals: Vec<(u32, core::ops::Range<u32>)>,
    parents: Vec<(u32, u32)>,
}
