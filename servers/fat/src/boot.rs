//! Finding the FAT volume on a disk, and what its boot sector says about it.
//!
//! Offsets and names are those of Microsoft's "FAT32 File System Specification" (2000), sections "Boot Sector and
//! BPB" and "FAT Type Determination".

use crate::device::SECTOR_SIZE;
use crate::error::MountError;

pub(crate) type Sector = [u8; SECTOR_SIZE];

/// Which of the three formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FatKind {
    /// Entries of 12 bits.
    Fat12,
    /// Entries of 16 bits.
    Fat16,
    /// Entries of 32 bits, of which 28 count.
    Fat32,
}

/// Where the root folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    /// FAT12 and FAT16: a run of sectors between the FATs and the clusters.
    Fixed { sector: u64, sectors: u64 },
    /// FAT32: a chain of clusters.
    Cluster(u32),
}

/// Where everything is. Sector numbers count from the start of the disk, not of the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) kind: FatKind,
    /// The boot sector.
    pub(crate) boot: u64,
    pub(crate) sectors_per_cluster: u32,
    /// First sector of the FAT that counts.
    pub(crate) table: u64,
    /// Sectors in one copy of the FAT.
    pub(crate) table_sectors: u64,
    /// Where the other copies start, if they are kept equal.
    pub(crate) mirrors: [Option<u64>; 3],
    pub(crate) root: Root,
    /// First sector of cluster 2.
    pub(crate) data: u64,
    /// Number of clusters; they are numbered from 2.
    pub(crate) clusters: u32,
    /// The sector with the free count (FAT32).
    pub(crate) summary: Option<u64>,
    /// Offset in the boot sector of the byte whose lowest bit says "not unmounted".
    pub(crate) state_offset: usize,
    pub(crate) serial: u32,
}

pub(crate) fn le16(bytes: &[u8], at: usize) -> u16 {
    match bytes.get(at..at + 2) {
        Some(&[a, b]) => u16::from_le_bytes([a, b]),
        _ => 0,
    }
}

pub(crate) fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from(le16(bytes, at)) | u32::from(le16(bytes, at + 2)) << 16
}

impl Geometry {
    pub(crate) fn last_cluster(&self) -> u32 {
        self.clusters + 1
    }

    pub(crate) fn is_cluster(&self, number: u32) -> bool {
        (2..=self.last_cluster()).contains(&number)
    }

    pub(crate) fn cluster_bytes(&self) -> u32 {
        self.sectors_per_cluster * SECTOR_SIZE as u32
    }

    /// First sector of a cluster that [`is_cluster`](Self::is_cluster).
    pub(crate) fn cluster_sector(&self, cluster: u32) -> u64 {
        self.data + u64::from(cluster.saturating_sub(2)) * u64::from(self.sectors_per_cluster)
    }

    /// Reads the boot sector `sector`, which is number `at` on a disk of `disk_sectors`.
    pub(crate) fn parse(sector: &Sector, at: u64, disk_sectors: u64) -> Result<Self, MountError> {
        let damaged = |field, value: u64, expected| MountError::DamagedBootSector {
            sector: at,
            field,
            value,
            expected,
            backup: None,
        };
        let bytes_per_sector = le16(sector, 11);
        match bytes_per_sector {
            512 => {}
            1024 | 2048 | 4096 => return Err(MountError::SectorSize { bytes: bytes_per_sector }),
            other => return Err(damaged("the sector size", u64::from(other), "512")),
        }
        let sectors_per_cluster = u32::from(sector[13]);
        if !sectors_per_cluster.is_power_of_two() {
            let value = u64::from(sectors_per_cluster);
            return Err(damaged("the cluster size in sectors", value, "a power of two up to 128"));
        }
        let reserved = u64::from(le16(sector, 14));
        if reserved == 0 {
            return Err(damaged("the number of reserved sectors", 0, "at least 1"));
        }
        let fats = sector[16];
        if !(1..=4).contains(&fats) {
            return Err(damaged("the number of FATs", u64::from(fats), "1 to 4"));
        }
        let root_entries = u64::from(le16(sector, 17));
        let total = match le16(sector, 19) {
            0 => u64::from(le32(sector, 32)),
            small => u64::from(small),
        };
        // Only FAT32 has no 16-bit FAT size. Linux and fsck.fat tell FAT32 by this and not by the number of clusters.
        let is_fat32 = le16(sector, 22) == 0;
        let table_sectors = if is_fat32 { u64::from(le32(sector, 36)) } else { u64::from(le16(sector, 22)) };
        if table_sectors == 0 {
            return Err(damaged("the size of the FAT in sectors", 0, "at least 1"));
        }
        if is_fat32 && root_entries != 0 {
            return Err(damaged("the number of root folder slots", root_entries, "0 on FAT32"));
        }
        if !is_fat32 && root_entries == 0 {
            return Err(damaged("the number of root folder slots", 0, "at least 1"));
        }
        let root_sectors = (root_entries * 32).div_ceil(SECTOR_SIZE as u64);
        let root_start = reserved + u64::from(fats) * table_sectors;
        let data_start = root_start + root_sectors;
        if total <= data_start {
            return Err(damaged("the number of sectors", total, "more than FATs and root folder take"));
        }
        let present = disk_sectors.saturating_sub(at);
        if total > present {
            return Err(MountError::Truncated { claimed: total, present });
        }
        let clusters = (total - data_start) / u64::from(sectors_per_cluster);
        let kind = match clusters {
            _ if is_fat32 => FatKind::Fat32,
            ..4085 => FatKind::Fat12,
            _ => FatKind::Fat16,
        };
        let (limit, bits) = match kind {
            FatKind::Fat12 => (4084, 12),
            FatKind::Fat16 => (65_524, 16),
            FatKind::Fat32 => (0x0fff_fff4, 32),
        };
        let entries = table_sectors * SECTOR_SIZE as u64 * 8 / bits;
        if clusters == 0 || clusters > limit || entries < 3 {
            return Err(damaged("the number of clusters", clusters, "1 to the most that the FAT type allows"));
        }
        if entries < clusters + 2 {
            return Err(damaged("the size of the FAT in sectors", table_sectors, "an entry for every cluster"));
        }
        let table_at = |copy: u64| at + reserved + copy * table_sectors;
        let flags = if is_fat32 { le16(sector, 40) } else { 0 };
        let mut mirrors = [None; 3];
        let active = if flags & 0x80 != 0 { u64::from(flags & 15) } else { 0 };
        if active >= u64::from(fats) {
            return Err(damaged("the number of the active FAT", active, "below the number of FATs"));
        }
        if flags & 0x80 == 0 {
            for (mirror, copy) in mirrors.iter_mut().zip(1..u64::from(fats)) {
                *mirror = Some(table_at(copy));
            }
        }
        let clusters = clusters as u32;
        let root = if is_fat32 {
            let cluster = le32(sector, 44) & 0x0fff_ffff;
            if !(2..clusters + 2).contains(&cluster) {
                let value = u64::from(cluster);
                return Err(damaged("the root folder's cluster", value, "a cluster of the volume"));
            }
            Root::Cluster(cluster)
        } else {
            Root::Fixed { sector: at + root_start, sectors: root_sectors }
        };
        let summary = u64::from(le16(sector, 48));
        Ok(Self {
            kind,
            boot: at,
            sectors_per_cluster,
            table: table_at(active),
            table_sectors,
            mirrors,
            root,
            data: at + data_start,
            clusters,
            summary: (is_fat32 && summary > 0 && summary < reserved).then_some(at + summary),
            state_offset: if is_fat32 { 65 } else { 37 },
            serial: le32(sector, if is_fat32 { 67 } else { 39 }),
        })
    }
}

/// What sector 0 turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FirstSector {
    /// The boot sector of a FAT volume.
    Volume(Geometry),
    /// A partition table; the first FAT partition starts at this sector.
    Partition { start: u64 },
}

/// Decides what sector 0 is.
pub(crate) fn identify(sector: &Sector, disk_sectors: u64) -> Result<FirstSector, MountError> {
    for (oem, what) in [
        (b"EXFAT   ", "an exFAT file system"),
        (b"NTFS    ", "an NTFS file system"),
        (b"-FVE-FS-", "a BitLocker volume"),
    ] {
        if &sector[3..11] == oem {
            return Err(MountError::Foreign { what });
        }
    }
    let signed = le16(sector, 510) == 0xaa55;
    let jump = (sector[0] == 0xeb && sector[2] == 0x90) || sector[0] == 0xe9;
    let labelled = sector[54..57] == *b"FAT" || sector[82..87] == *b"FAT32";
    let parsed = Geometry::parse(sector, 0, disk_sectors);
    match parsed {
        Ok(volume) if jump || signed || labelled => return Ok(FirstSector::Volume(volume)),
        Err(error @ (MountError::Truncated { .. } | MountError::SectorSize { .. })) if jump && (signed || labelled) => {
            return Err(error);
        }
        _ => {}
    }
    if signed && !labelled {
        let entries: [[u8; 16]; 4] =
            core::array::from_fn(|index| core::array::from_fn(|byte| sector[446 + index * 16 + byte]));
        let plausible = entries.iter().all(|entry| entry[0] & 0x7f == 0);
        let types = entries.map(|entry| entry[4]);
        if plausible && types.iter().any(|kind| *kind != 0) {
            let fat = entries.iter().find(|entry| {
                let (start, length) = (u64::from(le32(&entry[..], 8)), u64::from(le32(&entry[..], 12)));
                matches!(entry[4], 0x01 | 0x04 | 0x06 | 0x0b | 0x0c | 0x0e | 0xef)
                    && start != 0
                    && length != 0
                    && start < disk_sectors
            });
            return match fat {
                Some(entry) => Ok(FirstSector::Partition { start: u64::from(le32(&entry[..], 8)) }),
                None if types.contains(&0xee) => Err(MountError::Foreign {
                    what: "a GPT partition table (partitions are found by an MBR table only)",
                }),
                None => Err(MountError::NoFatPartition { types }),
            };
        }
    }
    match parsed {
        Err(error) if labelled || (jump && signed) => Err(error),
        _ if sector.iter().all(|byte| *byte == 0) => Err(MountError::Empty),
        _ => Err(MountError::NotFat),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot_sector() -> Sector {
        let mut sector = [0; SECTOR_SIZE];
        sector[..3].copy_from_slice(&[0xeb, 0x3c, 0x90]);
        sector[11..13].copy_from_slice(&512u16.to_le_bytes());
        sector[13] = 4;
        sector[14] = 1;
        sector[16] = 2;
        sector[17..19].copy_from_slice(&512u16.to_le_bytes());
        sector[19..21].copy_from_slice(&40_000u16.to_le_bytes());
        sector[21] = 0xf8;
        sector[22] = 40;
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector
    }

    fn partition_table(kind: u8, start: u32) -> Sector {
        let mut sector = [0; SECTOR_SIZE];
        sector[450] = kind;
        sector[454..458].copy_from_slice(&start.to_le_bytes());
        sector[458..462].copy_from_slice(&1000u32.to_le_bytes());
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector
    }

    #[test]
    fn a_boot_sector_says_where_everything_is() {
        let FirstSector::Volume(volume) = identify(&boot_sector(), 40_000).expect("it is sound") else {
            panic!("a boot sector is no partition table");
        };
        assert_eq!(volume.kind, FatKind::Fat16);
        assert_eq!((volume.table, volume.mirrors[0]), (1, Some(41)));
        assert_eq!(volume.root, Root::Fixed { sector: 81, sectors: 32 });
        assert_eq!((volume.data, volume.clusters), (113, (40_000 - 113) / 4));
    }

    #[test]
    fn a_volume_larger_than_its_disk_was_cut_off() {
        let error = identify(&boot_sector(), 39_999).expect_err("a sector is missing");
        assert_eq!(error, MountError::Truncated { claimed: 40_000, present: 39_999 });
    }

    #[test]
    fn each_senseless_field_is_named() {
        for (offset, value, name) in [
            (13, 3, "the cluster size in sectors"),
            (14, 0, "the number of reserved sectors"),
            (16, 0, "the number of FATs"),
            (22, 1, "the size of the FAT in sectors"),
        ] {
            let mut sector = boot_sector();
            sector[offset] = value;
            match identify(&sector, 40_000) {
                Err(MountError::DamagedBootSector { field, .. }) => assert_eq!(field, name),
                other => panic!("offset {offset}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_first_fat_partition_is_found() {
        let found = identify(&partition_table(0x0c, 63), 2000);
        assert_eq!(found, Ok(FirstSector::Partition { start: 63 }));
    }

    #[test]
    fn other_partition_tables_are_named() {
        let linux = identify(&partition_table(0x83, 63), 2000);
        assert_eq!(linux, Err(MountError::NoFatPartition { types: [0x83, 0, 0, 0] }));
        let gpt = identify(&partition_table(0xee, 1), 2000);
        assert!(matches!(gpt, Err(MountError::Foreign { what }) if what.contains("GPT")));
        let beyond = identify(&partition_table(0x0c, 2000), 2000);
        assert!(matches!(beyond, Err(MountError::NoFatPartition { .. })));
    }

    #[test]
    fn an_empty_disk_and_a_foreign_one_are_told_apart() {
        assert_eq!(identify(&[0; SECTOR_SIZE], 2000), Err(MountError::Empty));
        assert_eq!(identify(&[0x5a; SECTOR_SIZE], 2000), Err(MountError::NotFat));
        let mut ntfs = boot_sector();
        ntfs[3..11].copy_from_slice(b"NTFS    ");
        assert!(matches!(identify(&ntfs, 40_000), Err(MountError::Foreign { .. })));
    }
}
