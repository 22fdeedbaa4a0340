//! The state of a mounted volume, and the order in which its changes reach the disk.
//!
//! # What a crash may leave behind
//! Changes are collected in the cache and reach the disk in this order ([`Mounted::commit`]): data; FAT entries of
//! clusters that were taken; directory records; and only then the FAT entries of clusters that were freed. The mark
//! "not unmounted" precedes everything. Whenever the server dies, therefore, a record on the disk refers to complete
//! chains of clusters that hold its data; what may be wrong is the mark, the free count, clusters that nothing refers
//! to, a chain that is longer than its file, copies of the FAT that differ and, after an unlucky move between
//! folders, a file with two names. The next mount repairs all of these ([`recovery`](crate::recovery)).

use crate::boot::{FatKind, FirstSector, Geometry, Sector, identify, le32};
use crate::cache::{Cache, Class};
use crate::device::{BlockDevice, SECTOR_SIZE};
use crate::error::{Error, MountError};
use crate::file::FileTable;
use crate::table::ClusterRun;
use alloc::vec::Vec;

/// Lowest bit of the boot sector's state byte: the volume was not unmounted.
const STATE_DIRTY: u8 = 1;

/// A mounted volume.
pub(crate) struct Mounted<D: BlockDevice> {
    pub(crate) cache: Cache<D>,
    pub(crate) geometry: Geometry,
    pub(crate) read_only: bool,
    /// The disk says that it is not unmounted, because we said so.
    pub(crate) marked: bool,
    /// The disk said so before us, and nobody has repaired it: the mark stays.
    pub(crate) keep_mark: bool,
    /// Free clusters, counting those in `pending`; `None` until somebody counts.
    pub(crate) free: Option<u32>,
    /// Where to look for a free cluster first.
    pub(crate) search: u32,
    /// Clusters whose record is gone in the cache but perhaps not yet on the disk.
    pub(crate) pending: Vec<ClusterRun>,
    pub(crate) files: FileTable,
    /// An operation is under way. Found set by the next one, it was dropped before its end.
    pub(crate) busy: bool,
    pub(crate) unmounted: bool,
}

fn to_sector(bytes: &[u8]) -> Sector {
    let mut sector = [0; SECTOR_SIZE];
    sector.copy_from_slice(&bytes[..SECTOR_SIZE]);
    sector
}

/// Reads enough of the disk to know where its FAT volume is.
async fn find_volume<D: BlockDevice>(cache: &mut Cache<D>, sectors: u64) -> Result<Geometry, MountError> {
    let first = to_sector(cache.sector(0, Class::Summary).await?);
    let error = match identify(&first, sectors) {
        Ok(FirstSector::Volume(geometry)) => return Ok(geometry),
        Ok(FirstSector::Partition { start }) => {
            let boot = to_sector(cache.sector(start, Class::Summary).await?);
            match Geometry::parse(&boot, start, sectors) {
                Ok(geometry) => return Ok(geometry),
                Err(error) => error,
            }
        }
        Err(error) => error,
    };
    match error {
        MountError::DamagedBootSector { sector, field, value, expected, .. } => {
            // FAT32 keeps a copy of its boot sector in the volume's sector 6.
            let copy = sector + 6;
            let backup = if copy < sectors {
                let bytes = to_sector(cache.sector(copy, Class::Summary).await?);
                Geometry::parse(&bytes, sector, sectors).is_ok().then_some(copy)
            } else {
                None
            };
            Err(MountError::DamagedBootSector { sector, field, value, expected, backup })
        }
        MountError::Empty | MountError::NotFat => {
            for (sector, offset, magic, what) in [
                (2, 56, &b"\x53\xef"[..], "an ext2, ext3 or ext4 file system"),
                (1, 0, b"EFI PART", "a GPT partition table (partitions are found by an MBR table only)"),
                (64, 1, b"CD001", "an ISO 9660 image"),
                (0, 0, b"hsqs", "a squashfs image"),
                (0, 0, b"LUKS", "an encrypted (LUKS) volume"),
                (0, 0, b"XFSB", "an XFS file system"),
            ] {
                if sector < sectors {
                    let bytes = cache.sector(sector, Class::Summary).await?;
                    if bytes[offset..].starts_with(magic) {
                        return Err(MountError::Foreign { what });
                    }
                }
            }
            Err(error)
        }
        error => Err(error),
    }
}

impl<D: BlockDevice> Mounted<D> {
    /// Finds the volume and reads its state; changes nothing.
    pub(crate) async fn open(device: D, cache_bytes: usize, max_open: usize) -> Result<Self, MountError> {
        let disk = device.geometry();
        if disk.sectors < 4 {
            return Err(MountError::TooSmall { sectors: disk.sectors });
        }
        let mut cache = Cache::new(device, cache_bytes);
        let geometry = find_volume(&mut cache, disk.sectors).await?;
        let mut mounted = Self {
            cache,
            geometry,
            read_only: disk.read_only,
            marked: false,
            keep_mark: false,
            free: None,
            search: 2,
            pending: Vec::new(),
            files: FileTable::new(max_open),
            busy: false,
            unmounted: false,
        };
        let dirty = mounted.is_marked().await?;
        mounted.keep_mark = dirty;
        mounted.read_summary(!dirty).await?;
        Ok(mounted)
    }

    /// Whether the disk says that it was not unmounted.
    async fn is_marked(&mut self) -> Result<bool, MountError> {
        let boot = self.cache.sector(self.geometry.boot, Class::Summary).await?;
        if boot[self.geometry.state_offset] & STATE_DIRTY != 0 {
            return Ok(true);
        }
        let table = self.cache.sector(self.geometry.table, Class::Table).await?;
        Ok(match self.geometry.kind {
            FatKind::Fat12 => false,
            FatKind::Fat16 => table[3] & 0x80 == 0,
            FatKind::Fat32 => table[7] & 0x08 == 0,
        })
    }

    /// Sets or clears the mark "not unmounted", on the disk.
    async fn set_mark(&mut self, dirty: bool) -> Result<(), Error> {
        // The boot sector first when setting, last when clearing: one of the two always tells.
        let offset = self.geometry.state_offset;
        let boot = self.geometry.boot;
        for step in [dirty, !dirty] {
            if step {
                let sector = self.cache.edit(boot, Class::Summary).await?;
                sector[offset] = sector[offset] & !STATE_DIRTY | u8::from(dirty);
                self.cache.write_back(Class::Summary, |_| true).await?;
            } else {
                self.set_mark_in_table(dirty).await?;
            }
            self.cache.flush_device().await?;
        }
        self.marked = dirty;
        Ok(())
    }

    async fn set_mark_in_table(&mut self, dirty: bool) -> Result<(), Error> {
        let (at, bit) = match self.geometry.kind {
            FatKind::Fat12 => return Ok(()),
            FatKind::Fat16 => (3, 0x80),
            FatKind::Fat32 => (7, 0x08),
        };
        let mirrors = self.geometry.mirrors.into_iter().flatten();
        for table in core::iter::once(self.geometry.table).chain(mirrors) {
            let sector = self.cache.edit(table, Class::Table).await?;
            sector[at] = if dirty { sector[at] & !bit } else { sector[at] | bit };
            self.cache.write_page_of(table, Class::Table).await?;
        }
        Ok(())
    }

    /// Reads the free count and the place to look for free clusters, if the disk can be trusted about them.
    async fn read_summary(&mut self, trusted: bool) -> Result<(), MountError> {
        let Some(at) = self.geometry.summary else {
            return Ok(());
        };
        let sector = self.cache.sector(at, Class::Summary).await?;
        if le32(sector, 0) != 0x4161_5252 || le32(sector, 484) != 0x6141_7272 {
            self.geometry.summary = None;
            return Ok(());
        }
        let (free, next) = (le32(sector, 488), le32(sector, 492));
        if trusted && free <= self.geometry.clusters {
            self.free = Some(free);
        }
        if self.geometry.is_cluster(next) {
            self.search = next;
        }
        Ok(())
    }

    /// Writes the free count, if it is known and has changed.
    async fn write_summary(&mut self) -> Result<(), Error> {
        let (Some(at), Some(free)) = (self.geometry.summary, self.free) else {
            return Ok(());
        };
        let next = if self.geometry.is_cluster(self.search) { self.search } else { 2 };
        let sector = self.cache.sector(at, Class::Summary).await?;
        if le32(sector, 488) != free {
            let sector = self.cache.edit(at, Class::Summary).await?;
            sector[488..492].copy_from_slice(&free.to_le_bytes());
            sector[492..496].copy_from_slice(&next.to_le_bytes());
        }
        Ok(())
    }

    /// Has to come before any change: refuses on a read-only disk, and says on the disk that it is in use.
    pub(crate) async fn begin_change(&mut self) -> Result<(), Error> {
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        if !self.marked {
            self.set_mark(true).await?;
        }
        Ok(())
    }

    /// Brings all changes to the disk, in order, and frees what may be freed then.
    pub(crate) async fn commit(&mut self) -> Result<(), Error> {
        self.cache.write_back_all().await?;
        while let Some(run) = self.pending.last().copied() {
            self.mark_free(run).await?;
            self.pending.pop();
        }
        Ok(())
    }

    /// [`commit`](Self::commit), and makes everything durable. Costs nothing when nothing has changed.
    pub(crate) async fn sync(&mut self) -> Result<(), Error> {
        if !self.marked {
            return Ok(());
        }
        self.commit().await?;
        self.write_summary().await?;
        self.cache.write_back_all().await?;
        self.cache.flush_device().await?;
        Ok(())
    }

    /// Keeps part of the cache free of changes that have to go in order, so that an operation finds room.
    pub(crate) async fn relieve(&mut self) -> Result<(), Error> {
        let capacity = self.cache.capacity();
        if self.cache.dirty_pages(Class::Directory) + self.cache.dirty_pages(Class::Table) > capacity / 4 {
            self.commit().await?;
        } else if self.cache.dirty_pages(Class::Data) > capacity / 2 {
            self.cache.write_back(Class::Data, |_| true).await?;
        }
        Ok(())
    }

    /// Brings everything to the disk and says there that it is complete. The next change takes that back.
    pub(crate) async fn rest(&mut self) -> Result<(), Error> {
        self.sync().await?;
        if self.marked && !self.keep_mark {
            self.set_mark(false).await?;
        }
        Ok(())
    }
}
