//! Open files: reading, writing, growing and shrinking.

use crate::boot::le16;
use crate::cache::Class;
use crate::device::{BlockDevice, PAGE_SECTORS, PAGE_SIZE, SECTOR_SIZE};
use crate::directory::{Entry, Location};
use crate::error::{Damage, Error};
use crate::layout::FileLayout;
use crate::mounted::Mounted;
use crate::record::{Attributes, set_first_cluster, set_modified, set_size};
use crate::table::{ClusterRun, Link, LoopDetector, push_cluster};
use crate::time::Timestamp;
use alloc::string::String;
use alloc::vec::Vec;

/// Runs of a chain that are remembered for one file; the window moves when there are more.
const REMEMBERED_RUNS: usize = 1024;
/// Clusters that are looked ahead in the FAT, to read in large runs.
const LOOK_AHEAD: u32 = 256;
/// The largest length of a file.
const MAX_LENGTH: u64 = u32::MAX as u64;
/// Read-ahead starts with this and doubles up to the largest as long as reading goes on in order (bytes).
const FIRST_READ_AHEAD: u64 = 32 * 1024;
const LARGEST_READ_AHEAD: u64 = 256 * 1024;
/// A long write is done in pieces of this length (bytes), each of which leaves a consistent file.
const WRITE_PIECE: u64 = 256 * 1024;

/// An open file, by number. A number is never used again for another opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(u64);

impl FileId {
    /// The number, to send it somewhere.
    #[must_use]
    pub fn to_raw(self) -> u64 {
        self.0
    }

    /// From a number that was sent. Any number is fine: one that names no open file is refused when it is used.
    #[must_use]
    pub fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
}

/// The part of a file's chain that is known: consecutive clusters of the file from number `start` on.
#[derive(Debug, Clone)]
struct ChainWindow {
    start: u32,
    runs: Vec<ClusterRun>,
    /// Clusters in `runs`.
    count: u32,
    detector: Option<LoopDetector>,
}

impl ChainWindow {
    fn new() -> Self {
        Self { start: 0, runs: Vec::new(), count: 0, detector: None }
    }

    fn end(&self) -> u32 {
        self.start + self.count
    }

    fn last(&self) -> Option<u32> {
        self.runs.last().map(|run| run.first + run.count - 1)
    }

    /// The cluster with number `index` in the file, and how many follow it on the disk, itself included.
    fn find(&self, index: u32) -> Option<(u32, u32)> {
        let mut rest = index.checked_sub(self.start)?;
        for run in &self.runs {
            if rest < run.count {
                return Some((run.first + rest, run.count - rest));
            }
            rest -= run.count;
        }
        None
    }

    fn push(&mut self, cluster: u32) {
        push_cluster(&mut self.runs, cluster);
        self.count += 1;
        if self.runs.len() > REMEMBERED_RUNS {
            let dropped: u32 = self.runs.drain(..REMEMBERED_RUNS / 2).map(|run| run.count).sum();
            self.start += dropped;
            self.count -= dropped;
        }
    }

    /// Forgets everything from number `index` on.
    fn truncate(&mut self, index: u32) {
        if index <= self.start {
            *self = Self::new();
            return;
        }
        while self.end() > index {
            let excess = self.end() - index;
            let Some(last) = self.runs.last_mut() else {
                return;
            };
            let cut = excess.min(last.count);
            last.count -= cut;
            self.count -= cut;
            if last.count == 0 {
                self.runs.pop();
            }
        }
        self.detector = None;
    }
}

/// A file that somebody has open, once for however many openings.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) path: String,
    pub(crate) location: Location,
    pub(crate) first_cluster: u32,
    pub(crate) size: u32,
    openings: u32,
    /// Openings that may write, and openings past the cache: never both.
    writers: u32,
    direct: u32,
    window: ChainWindow,
    /// Where reading goes on if it goes on in order, and how much to read ahead then.
    expected: u64,
    ahead: u64,
}

#[derive(Debug, Clone, Copy)]
struct Opening {
    node: usize,
    kind: OpeningKind,
    generation: u32,
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpeningKind {
    Read,
    Write,
    /// Reading past the cache.
    Direct,
}

/// All open files.
#[derive(Debug)]
pub(crate) struct FileTable {
    nodes: Vec<Option<Node>>,
    openings: Vec<Option<Opening>>,
    most: usize,
    generation: u32,
}

impl FileTable {
    pub(crate) fn new(most: usize) -> Self {
        Self { nodes: Vec::new(), openings: Vec::new(), most, generation: 0 }
    }

    pub(crate) fn open(&mut self, entry: &Entry, path: String, kind: OpeningKind) -> Result<FileId, Error> {
        let open = self.find(entry.location).and_then(|node| self.nodes[node].as_ref());
        let in_the_way = open.is_some_and(|node| match kind {
            OpeningKind::Read => false,
            OpeningKind::Write => node.direct > 0,
            OpeningKind::Direct => node.writers > 0,
        });
        if in_the_way {
            return Err(Error::InUse { path });
        }
        let place = match self.openings.iter().position(Option::is_none) {
            Some(place) => place,
            None if self.openings.len() < self.most => {
                self.openings.push(None);
                self.openings.len() - 1
            }
            None => return Err(Error::TooManyOpenFiles),
        };
        let node = match self.find(entry.location) {
            Some(node) => node,
            None => {
                let node = Node {
                    path,
                    location: entry.location,
                    first_cluster: entry.data.first_cluster,
                    size: entry.data.size,
                    openings: 0,
                    writers: 0,
                    direct: 0,
                    window: ChainWindow::new(),
                    expected: 0,
                    ahead: FIRST_READ_AHEAD,
                };
                match self.nodes.iter().position(Option::is_none) {
                    Some(free) => {
                        self.nodes[free] = Some(node);
                        free
                    }
                    None => {
                        self.nodes.push(Some(node));
                        self.nodes.len() - 1
                    }
                }
            }
        };
        if let Some(node) = &mut self.nodes[node] {
            node.openings += 1;
            node.writers += u32::from(kind == OpeningKind::Write);
            node.direct += u32::from(kind == OpeningKind::Direct);
        }
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        self.openings[place] = Some(Opening { node, kind, generation });
        Ok(FileId(u64::from(generation) << 32 | place as u64))
    }

    fn opening(&self, id: FileId) -> Result<(usize, Opening), Error> {
        let place = (id.0 & 0xffff_ffff) as usize;
        match self.openings.get(place) {
            Some(Some(opening)) if u64::from(opening.generation) == id.0 >> 32 => Ok((place, *opening)),
            _ => Err(Error::UnknownFile),
        }
    }

    pub(crate) fn close(&mut self, id: FileId) -> Result<(), Error> {
        let (place, opening) = self.opening(id)?;
        self.openings[place] = None;
        if let Some(node) = &mut self.nodes[opening.node] {
            node.openings -= 1;
            node.writers -= u32::from(opening.kind == OpeningKind::Write);
            node.direct -= u32::from(opening.kind == OpeningKind::Direct);
            if node.openings == 0 {
                self.nodes[opening.node] = None;
            }
        }
        Ok(())
    }

    /// The file that an opening is of.
    pub(crate) fn node_of(&self, id: FileId, to_write: bool) -> Result<usize, Error> {
        let (_, opening) = self.opening(id)?;
        if to_write && opening.kind != OpeningKind::Write {
            return Err(Error::NotOpenForWriting);
        }
        Ok(opening.node)
    }

    /// The open file with its record there.
    pub(crate) fn find(&self, location: Location) -> Option<usize> {
        self.nodes.iter().position(|node| node.as_ref().is_some_and(|node| node.location == location))
    }

    /// The record of a file has moved.
    pub(crate) fn moved(&mut self, from: Location, to: Location, path: &str) {
        if let Some(node) = self.find(from).and_then(|node| self.nodes[node].as_mut()) {
            node.location = to;
            node.path = path.into();
        }
    }

    pub(crate) fn node(&self, node: usize) -> Result<&Node, Error> {
        self.nodes.get(node).and_then(Option::as_ref).ok_or(Error::UnknownFile)
    }

    fn node_mut(&mut self, node: usize) -> Result<&mut Node, Error> {
        self.nodes.get_mut(node).and_then(Option::as_mut).ok_or(Error::UnknownFile)
    }
}

impl<D: BlockDevice> Mounted<D> {
    /// The cluster with number `index` of a file, and how many follow it on the disk, itself included.
    ///
    /// Goes on from the nearest place that is remembered; looks ahead so that runs are found as long as they are.
    async fn locate(&mut self, node: usize, index: u32) -> Result<(u32, u32), Error> {
        let cluster_bytes = self.geometry.cluster_bytes();
        let file = self.files.node_mut(node)?;
        let known = file.window.end();
        if let Some(found) = file.window.find(index).filter(|(_, run)| *run > 1 || index + 1 < known) {
            return Ok(found);
        }
        let (first, clusters) = (file.first_cluster, file.size.div_ceil(cluster_bytes));
        let mut window = core::mem::replace(&mut file.window, ChainWindow::new());
        let goal = index.saturating_add(LOOK_AHEAD).min(clusters.max(index + 1));
        if index < window.start || window.runs.is_empty() {
            self.check_first(first)?;
            window = ChainWindow::new();
            window.push(first);
            window.detector = Some(LoopDetector::new(first));
        }
        while window.end() < goal {
            let Some(last) = window.last() else { break };
            match self.follow(last).await {
                Ok(Link::Next(next)) => {
                    let detector = window.detector.get_or_insert(LoopDetector::new(last));
                    detector.step(next)?;
                    window.push(next);
                }
                Ok(Link::End) => break,
                // Damage further on is for whoever reads there.
                Err(Error::Damaged { .. }) if index < window.end() => break,
                Err(error) => return Err(error),
            }
        }
        let found = window.find(index);
        let clusters = window.end();
        self.files.node_mut(node)?.window = window;
        found.ok_or(Error::from(Damage::TooShort { first, clusters }))
    }

    /// Where a file lies on the disk, which has all of it when this is done.
    pub(crate) async fn layout(&mut self, node: usize) -> Result<FileLayout, Error> {
        self.cache.write_back(Class::Data, |_| true).await?;
        let file = self.files.node(node)?;
        let (first, length) = (file.first_cluster, u64::from(file.size));
        let chain = self.chain(first).await?;
        let per_cluster = u64::from(self.geometry.sectors_per_cluster);
        let runs =
            chain.iter().map(|run| (self.geometry.cluster_sector(run.first), u64::from(run.count) * per_cluster));
        let layout = FileLayout::new(runs, length);
        let whole = layout.sectors >= length / SECTOR_SIZE as u64;
        let clusters = chain.iter().map(|run| run.count).sum();
        if whole { Ok(layout) } else { Err(Error::from(Damage::TooShort { first, clusters })) }
    }

    fn clusters_of(&self, size: u32) -> u32 {
        size.div_ceil(self.geometry.cluster_bytes())
    }

    /// The sector of a byte of a file, and how many sectors follow on the disk, that one included.
    async fn sector_of(&mut self, node: usize, offset: u64) -> Result<(u64, u64), Error> {
        let bytes = u64::from(self.geometry.cluster_bytes());
        let (cluster, run) = self.locate(node, (offset / bytes) as u32).await?;
        let within = offset % bytes / SECTOR_SIZE as u64;
        let sectors = u64::from(run) * u64::from(self.geometry.sectors_per_cluster) - within;
        Ok((self.geometry.cluster_sector(cluster) + within, sectors))
    }

    /// Reads up to `length` bytes and hands them over piece by piece, straight from the cache. Says how many.
    pub(crate) async fn read_file(
        &mut self,
        node: usize,
        offset: u64,
        length: u64,
        mut sink: impl FnMut(&[u8]),
    ) -> Result<u64, Error> {
        let file = self.files.node(node)?;
        let in_order = file.expected == offset;
        let end = offset.saturating_add(length).min(u64::from(file.size));
        let mut at = offset;
        while at < end {
            let (sector, run) = self.sector_of(node, at).await?;
            if !self.cache.has(sector) {
                self.read_ahead(node, at, end, in_order).await?;
            }
            let within = (at % SECTOR_SIZE as u64) as usize;
            let wanted = (end - at).min(PAGE_SIZE as u64) as usize;
            let sectors = (within + wanted).div_ceil(SECTOR_SIZE).min(run.min(PAGE_SECTORS as u64) as usize);
            let bytes = self.cache.sectors(sector, sectors, Class::Data).await?;
            let piece = &bytes[within..bytes.len().min(within + wanted)];
            sink(piece);
            at += piece.len() as u64;
        }
        self.files.node_mut(node)?.expected = at;
        Ok(at.saturating_sub(offset))
    }

    /// Reads what is missing up to `end`, and more if reading goes on in order.
    async fn read_ahead(&mut self, node: usize, from: u64, end: u64, in_order: bool) -> Result<(), Error> {
        let most = self.cache.capacity() as u64 / 4 * PAGE_SIZE as u64;
        let file = self.files.node_mut(node)?;
        file.ahead = if in_order { (file.ahead * 2).min(LARGEST_READ_AHEAD) } else { FIRST_READ_AHEAD };
        let ahead = if in_order { file.ahead } else { 0 };
        let stop = (from + ahead).max(end).min(from + most).min(u64::from(file.size));
        let mut runs = Vec::new();
        let mut at = from;
        while at < stop {
            let sector_bytes = SECTOR_SIZE as u64;
            // What is not wanted yet may well be damaged: that is an error when it is wanted.
            let (sector, run) = match self.sector_of(node, at).await {
                Ok(found) => found,
                Err(Error::Damaged { .. }) if at > from => break,
                Err(error) => return Err(error),
            };
            let start = at / sector_bytes * sector_bytes;
            let count = run.min((stop - start).div_ceil(sector_bytes));
            runs.push((sector, count));
            at = start + count * sector_bytes;
        }
        self.cache.prefetch(&runs).await?;
        Ok(())
    }

    /// Writes `length` bytes at `offset`, taken piece by piece from `source`; what lies between the file's end and
    /// `offset` becomes zeros. Pieces come in order and without gaps.
    pub(crate) async fn write_file(
        &mut self,
        node: usize,
        offset: u64,
        length: u64,
        now: Timestamp,
        mut source: impl FnMut(&mut [u8]),
    ) -> Result<(), Error> {
        let end = offset.checked_add(length).filter(|end| *end <= MAX_LENGTH);
        let Some(end) = end else {
            return Err(Error::FileTooLarge { length: offset.saturating_add(length) });
        };
        if length == 0 {
            return Ok(());
        }
        self.begin_change().await?;
        self.reserve(node, end).await?;
        let size = u64::from(self.files.node(node)?.size);
        if size < offset {
            self.write_pieces(node, size, offset, now, &mut |bytes: &mut [u8]| bytes.fill(0)).await?;
        }
        self.write_pieces(node, offset, end, now, &mut source).await
    }

    /// Refuses at once what the disk has no room for.
    async fn reserve(&mut self, node: usize, end: u64) -> Result<(), Error> {
        let bytes = u64::from(self.geometry.cluster_bytes());
        let have = u64::from(self.clusters_of(self.files.node(node)?.size));
        let need = end.div_ceil(bytes).saturating_sub(have);
        if need > 0 && need > u64::from(self.free_clusters().await?) {
            return Err(Error::NoSpace);
        }
        Ok(())
    }

    async fn write_pieces(
        &mut self,
        node: usize,
        from: u64,
        end: u64,
        now: Timestamp,
        source: &mut impl FnMut(&mut [u8]),
    ) -> Result<(), Error> {
        let mut at = from;
        while at < end {
            let stop = (at / WRITE_PIECE + 1) * WRITE_PIECE;
            let stop = stop.min(end);
            let mut done = self.grow_chain(node, stop).await;
            if done.is_ok() {
                done = self.write_piece(node, at, stop, source).await;
            }
            if let Err(error) = done {
                // Clusters behind the file's end belong to nobody. If they cannot be freed either, the next mount's
                // repair will do it; the first error is the one that says what is wrong.
                let trimmed = self.trim_chain(node).await;
                if trimmed.is_err() {
                    self.keep_mark = true;
                }
                return Err(error);
            }
            let file = self.files.node_mut(node)?;
            file.size = file.size.max(stop as u32);
            self.update_record(node, now).await?;
            at = stop;
            self.relieve().await?;
        }
        Ok(())
    }

    /// Makes the chain long enough for `length` bytes.
    async fn grow_chain(&mut self, node: usize, length: u64) -> Result<(), Error> {
        let want = length.div_ceil(u64::from(self.geometry.cluster_bytes())) as u32;
        let file = self.files.node(node)?;
        let have = self.clusters_of(file.size);
        if want <= have {
            return Ok(());
        }
        let mut count = have;
        let mut last = if have == 0 { None } else { Some(self.locate(node, have - 1).await?.0) };
        if have == 0 && self.files.node(node)?.first_cluster != 0 {
            // An empty file with a chain: its clusters are as good as lost, and lost they become.
            self.files.node_mut(node)?.first_cluster = 0;
        }
        self.files.node_mut(node)?.window.truncate(have);
        while count < want {
            let run = match last {
                // A chain that is longer than its file, from an earlier crash: use what is there.
                Some(cluster) => match self.follow(cluster).await? {
                    Link::Next(next) => ClusterRun { first: next, count: 1 },
                    Link::End => self.allocate(Some(cluster), want - count).await?,
                },
                None => self.allocate(None, want - count).await?,
            };
            let file = self.files.node_mut(node)?;
            if last.is_none() {
                file.first_cluster = run.first;
            }
            if file.window.runs.is_empty() && count > 0 {
                file.window.start = count;
            }
            for cluster in run.first..run.first + run.count {
                file.window.push(cluster);
            }
            count += run.count;
            last = Some(run.first + run.count - 1);
        }
        Ok(())
    }

    /// Frees the clusters that a failed attempt to grow has left behind a file's end.
    async fn trim_chain(&mut self, node: usize) -> Result<(), Error> {
        let file = self.files.node(node)?;
        let keep = self.clusters_of(file.size);
        let first = file.first_cluster;
        let surplus = if keep == 0 {
            self.files.node_mut(node)?.first_cluster = 0;
            self.chain(first).await?
        } else {
            let last = self.locate(node, keep - 1).await?.0;
            match self.follow(last).await? {
                Link::End => Vec::new(),
                Link::Next(next) => {
                    let surplus = self.chain(next).await?;
                    self.cut_after(last).await?;
                    surplus
                }
            }
        };
        self.files.node_mut(node)?.window.truncate(keep);
        self.release(&surplus);
        Ok(())
    }

    /// Copies bytes into the cache; the chain is long enough.
    async fn write_piece(
        &mut self,
        node: usize,
        from: u64,
        end: u64,
        source: &mut impl FnMut(&mut [u8]),
    ) -> Result<(), Error> {
        let sector_bytes = SECTOR_SIZE as u64;
        let size = u64::from(self.files.node(node)?.size);
        let mut at = from;
        while at < end {
            let (sector, run) = self.sector_of(node, at).await?;
            let within = (at % sector_bytes) as usize;
            let start = at - within as u64;
            let in_page = PAGE_SECTORS as u64 - sector % PAGE_SECTORS as u64;
            let whole = ((end - start) / sector_bytes).min(run).min(in_page);
            let (bytes, taken) = if within == 0 && whole > 0 {
                (self.cache.replace(sector, whole as usize, Class::Data).await?, whole * sector_bytes)
            } else {
                let taken = (sector_bytes - within as u64).min(end - at);
                let bytes = if start >= size {
                    // Nothing of the file is in this sector yet.
                    self.cache.replace(sector, 1, Class::Data).await?
                } else {
                    self.cache.edit(sector, Class::Data).await?
                };
                (bytes, taken)
            };
            source(&mut bytes[within..within + taken as usize]);
            at += taken;
        }
        Ok(())
    }

    /// Brings a file's record up to date (in the cache).
    pub(crate) async fn update_record(&mut self, node: usize, now: Timestamp) -> Result<(), Error> {
        let file = self.files.node(node)?;
        let (location, first, size) = (file.location, file.first_cluster, file.size);
        let sector = self.cache.edit(location.sector, Class::Directory).await?;
        let record = &mut sector[location.offset..location.offset + 32];
        record[11] |= Attributes::ARCHIVE.bits();
        set_first_cluster(record, first);
        set_size(record, size);
        set_modified(record, now);
        let date = now.date();
        if le16(record, 18) < date {
            record[18..20].copy_from_slice(&date.to_le_bytes());
        }
        Ok(())
    }

    /// Makes a file this long: cuts it, or appends zeros.
    pub(crate) async fn resize(&mut self, node: usize, length: u64, now: Timestamp) -> Result<(), Error> {
        if length > MAX_LENGTH {
            return Err(Error::FileTooLarge { length });
        }
        let size = u64::from(self.files.node(node)?.size);
        if length > size {
            self.begin_change().await?;
            self.reserve(node, length).await?;
            return self.write_pieces(node, size, length, now, &mut |bytes: &mut [u8]| bytes.fill(0)).await;
        }
        if length == size {
            return Ok(());
        }
        self.begin_change().await?;
        let first = self.files.node(node)?.first_cluster;
        let keep = self.clusters_of(length as u32);
        // The chain must be sound to the end before anything is changed.
        let (last, surplus) = if keep == 0 {
            (None, self.chain(first).await?)
        } else {
            let last = self.locate(node, keep - 1).await?.0;
            match self.follow(last).await? {
                Link::Next(next) => (Some(last), self.chain(next).await?),
                Link::End => (None, Vec::new()),
            }
        };
        let file = self.files.node_mut(node)?;
        file.size = length as u32;
        file.window.truncate(keep);
        if keep == 0 {
            file.first_cluster = 0;
        }
        self.update_record(node, now).await?;
        if let Some(last) = last {
            // The record has to be the shorter one on the disk before the chain is cut there.
            self.cache.write_back_all().await?;
            self.cut_after(last).await?;
        }
        self.release(&surplus);
        Ok(())
    }
}
